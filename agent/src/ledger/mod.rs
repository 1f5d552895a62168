//! The ledger: the agent's own durable record of every action.
//!
//! Owns the file `ledger.sqlite` in the agent's directory: the highest epoch obeyed and whose it was, and per command its intent, undo
//! record and outcome. It is written before the change that it speaks of (P4), and an id that it knows is answered from it (P5). Which entry may follow
//! which is said in `replank_agent_core::ledger`. Never touches the host, and never begins anew by itself when it is damaged
//! or gone: an agent without its memory could do a thing twice.

mod file;

pub use file::{Ledger, LedgerError};
pub use replank_agent_core::ledger::{Entry, IllegalEntry, NewIntent, Stage, Unbegun, Work};
