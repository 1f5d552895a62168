//! The codes of the refusals that the rules themselves speak. The agent's table has their titles, and its tests say that they are the same.

/// The command carries an old epoch (P9).
pub const OLD_EPOCH: &str = replank_common::outcome::OLD_EPOCH;
/// The action was called off before it began.
pub const CANCELLED: &str = "RP4022";
/// The ledger cannot be used.
pub const LEDGER: &str = "RP4201";
/// What guests use cannot be told.
pub const GUARD_USAGE_UNKNOWN: &str = "RP4314";
