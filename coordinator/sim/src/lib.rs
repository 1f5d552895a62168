//! A simulated fleet: the real execution of a real plan, against simulated hosts, a simulated network, simulated clocks and operators.
//!
//! One seed decides everything: the same seed gives the same bytes of journal and trace. A [`Voyage`] has two phases. In the first, faults
//! strike by the chances of a [`Profile`]. In the second nothing new goes wrong, and the run must come to an end, or be held with a reason
//! that names what stands in the way. Every record, command and action is judged on the way ([`Promise`]).
//!
//! The room never reads a clock, does I/O or starts a thread; a broken promise and a panic of the code under test come back as
//! [`Voyage::broken`].

mod ceph;
mod fault;
mod fetched;
mod fleet;
mod host;
mod operator;
pub mod plans;
mod profile;
mod promise;
mod seat;
mod told;
mod trace;
mod trouble;
mod voyage;
mod watcher;

pub use ceph::{Afloat, Layout, NotEnough, Origin};
pub use fault::Fault;
pub use fleet::START_MS;
pub use profile::Profile;
pub use promise::{Broken, Promise};
pub use told::{Told, What};
pub use voyage::{Ended, Voyage, replay, sail, sail_as_planned, scale, storm};
