//! The links to the agents, and the one listener that agents and operators come to.
//!
//! Owns the accept loop with its TLS, who a caller is, enrolment and renewal of hosts, the certificates of operators, revocation, and one
//! session per host. Decides nothing about a run: what an agent says becomes an [`Event`](replank_core::runs::Event) for the drive, and what the drive wants of a host
//! becomes a message.
//!
//! | the link of a host | what happens |
//! | --- | --- |
//! | a second one comes up | the first is cut; the newer one speaks for the host (RP6109) |
//! | is silent for longer than the limit | it is cut (RP6108); the drive hears that it is down |
//! | takes no messages | it is cut when its queue is full (RP6110); the drive never waits for it |
//! | the host is revoked | it is cut at once, and TLS refuses the next one |
//! | a message that is not understood | logged and passed over if it is of a kind unknown here, else the link is cut (RP6107) |

mod authority;
mod handle;
mod listen;
mod operators;
mod peer;
mod registry;
mod service;
mod session;

pub use handle::{AskError, Handle, HostStatus, LinkSeen, LinksError, NewToken};
pub use listen::{Links, LinksFailed};
pub use operators::{OperatorError, OperatorStatus, Operators};
pub use peer::{OperatorCaller, caller_of, operator_of, peer_of};
pub use registry::Events;
