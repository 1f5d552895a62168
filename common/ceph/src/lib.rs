//! What of a Ceph cluster may stop, worked out from the cluster's own documents (P10).
//!
//! `documents` reads what `ceph … --format json` prints, of every release, into plain values; `redundancy` says for a set of OSDs whether
//! it may stop, and for each placement group that objects why; `quorum` says the same of MONs; `waves` cuts all OSDs into the fewest
//! sets that may stop one after another; `mds` says it of metadata servers; `last_word` is what is judged on the machine itself, right before; `settled` says when a wave
//! that came back is behind us; `seen` is what an agent tells the core of all this. Never asks a cluster and never reads a file. What a document
//! does not tell, or tells in two ways, is "cannot tell", and that blocks.

pub mod codes;
pub mod documents;
mod ids;
pub mod last_word;
pub mod mds;
pub mod quorum;
pub mod redundancy;
pub mod require;
pub mod seen;
pub mod settled;
pub mod waves;

pub use ids::*;
