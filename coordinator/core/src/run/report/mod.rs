//! What a run did, how long it took, and the proof per guest. Made of the journal's fold alone, so that the same journal gives
//! the same report on any machine.

mod build;
mod model;
mod osd_waves;
mod text;

pub use model::*;
pub use text::ExtraColumn;
