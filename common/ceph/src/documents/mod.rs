//! What `ceph … --format json` prints, read into plain values.
//!
//! One file a document. Each reads what is needed and no more, in the dialects of all releases from Hammer on: where a thing stands and how it is
//! spelled changed with nearly every one, and the same release spells it in two ways while a cluster is mixed. Numbers may be text and the other way
//! round; lines before the JSON (`dumped all in format json`) are skipped. Nothing is guessed: a field that is absent or contradicts
//! another is `None`, and whoever needs it cannot tell.

mod error;
mod fs_dump;
mod health;
mod json;
mod metadata;
mod mgr_dump;
mod osd_dump;
mod osd_tree;
mod pg_cut;
mod pg_dump;
mod pg_row;
mod pg_state;
mod quorum;
mod session_ls;

pub use error::*;
pub use fs_dump::*;
pub use health::*;
pub use metadata::*;
pub use mgr_dump::*;
pub use osd_dump::*;
pub use osd_tree::*;
pub use pg_cut::*;
pub use pg_dump::*;
pub use pg_state::*;
pub use quorum::*;
pub use session_ls::*;
