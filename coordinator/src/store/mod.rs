//! What must survive: journals, plans, tokens, certificates and revocations, in one SQLite file.
//!
//! Owns the file, its form and the proof that a journal is as it was written. Decides nothing: what is stored is what the caller says.
//! Everything that [`Store::write`] returns `Ok` for is on disk (WAL, `synchronous=FULL`).

mod database;
mod error;
mod handle;
mod journal;
mod operators;
mod plans;
mod reading;
mod roster;

pub use database::Database;
pub use error::StoreError;
pub use handle::Store;
pub(crate) use journal::kinds;
pub use journal::{Line, RunRow};
pub use operators::{Asker, Dismissal, OperatorCertificate, Signing};
pub use plans::PackedPlan;
pub use reading::Piece;
pub use roster::{Certificate, Claim};
