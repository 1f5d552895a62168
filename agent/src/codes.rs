//! Every code that an agent puts into a refusal, a failure or a finding, with its one-line meaning. Each has a page
//! `docs/errors/<code>.md`.
//!
//! | range | of |
//! | --- | --- |
//! | RP40xx–RP49xx | census, guard, policy, ledger, link |
//! | RP50xx | repositories |
//! | RP51xx | packages |
//! | RP52xx | trees |
//! | RP53xx | files |
//! | RP54xx | units |
//! | RP55xx | libvirt |

/// Code and meaning, in ascending order of code.
pub const TABLE: &[(&str, &str)] = &[];
