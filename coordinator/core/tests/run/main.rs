//! Runs against a small simulated fleet: one seed decides everything.
//!
//! The plans are those of `replank-sim`, `host` is a simulated host with its agent, `fleet` the network, the clock and a coordinator that crashes,
//! `watcher` a second reader of the journal that knows nothing of the machine.
//! `runs` looks at all runs of one coordinator process, without that fleet.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod fleet;
mod growth;
mod guests;
mod host;
mod journal;
mod operator;
mod runs;
mod sweep;
mod view;
mod watcher;

use replank_sim::plans;
