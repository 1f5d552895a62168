//! Why a set may not stop.

use super::need::{Need, Thin};
use crate::codes;
use crate::documents::PgState;
use crate::{OsdId, PgId, PoolId};
use serde::Serialize;

/// One reason. Those of which [`Objection::certain`] is false are "cannot tell".
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Objection {
    /// An OSD outside the set is down, and data is placed on it.
    OsdDown {
        osd: OsdId,
    },
    /// The map does not say whether an OSD outside the set is up.
    OsdUnclear {
        osd: OsdId,
    },
    /// An OSD of the set is not in the map.
    OsdUnknown {
        osd: OsdId,
    },
    /// The list was cut down to other OSDs.
    OsdBeyondCut {
        osd: OsdId,
    },
    Pg(PgObjection),
    /// Groups are missing from the list, or it has too many.
    PgsAbsent {
        pool: PoolId,
        name: String,
        pg_num: Option<u32>,
        listed: u32,
    },
    /// Groups of a pool that the map does not have.
    PoolAbsent {
        pool: PoolId,
        listed: u32,
    },
    /// Nobody knows where a group is: it may be anywhere.
    PgNowhere {
        pg: PgId,
    },
    /// The map is older than the list of groups.
    MapOlder {
        map_epoch: u32,
        pgs_epoch: u32,
    },
    /// Too few MONs would be left.
    MonQuorum {
        stopping: Vec<String>,
        in_quorum: usize,
        majority: usize,
        mons: usize,
    },
    /// MONs on more than one machine.
    MonHosts {
        stopping: Vec<String>,
    },
    /// A MON without an address: it may be on any machine.
    MonUnclear {
        mon: String,
    },
}

/// A placement group that objects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PgObjection {
    pub pg: PgId,
    pub pool: PoolId,
    pub pool_name: String,
    pub state: Option<PgState>,
    pub acting: Vec<OsdId>,
    /// Its members, now or to be, that would stop.
    pub stopping: Vec<OsdId>,
    #[serde(flatten)]
    pub cause: PgCause,
}

#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(tag = "cause", rename_all = "kebab-case")]
pub enum PgCause {
    /// Complete copies left, and those needed.
    TooFew {
        left: u32,
        needed: u32,
        short: Shortage,
    },
    Unsettled,
    Damaged,
    Stale,
    /// Unknown to whoever was asked, or not said.
    NoState,
    /// The state has a word that no release known here uses.
    StrangeState,
    NoMembers,
    /// A member that the map does not have.
    NoOsd {
        osd: OsdId,
    },
    ReportTooOld {
        osd: OsdId,
        up_from: u32,
        reported_epoch: u32,
    },
    CopiesUnclear,
    NoPool,
    /// Size, `min_size`, kind or erasure code of the pool are absent or contradict each other.
    PoolUnclear,
}

/// What would have to change for the copies to be enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Shortage {
    /// Fewer OSDs at once, or full health first.
    Set,
    /// The operator's consent to thin redundancy.
    Consent(Thin),
    /// The pool's `min_size`, or its size.
    MinSize,
}

impl Shortage {
    pub(super) fn of(need: &Need) -> Self {
        match need.thin {
            Some(thin) if !need.consented => Self::Consent(thin),
            Some(_) | None if need.never() => Self::MinSize,
            Some(_) | None => Self::Set,
        }
    }
}

impl PgCause {
    pub fn certain(&self) -> bool {
        match self {
            Self::TooFew { .. } | Self::Unsettled | Self::Damaged => true,
            Self::Stale
            | Self::NoState
            | Self::StrangeState
            | Self::NoMembers
            | Self::NoOsd { .. }
            | Self::ReportTooOld { .. }
            | Self::CopiesUnclear
            | Self::NoPool
            | Self::PoolUnclear => false,
        }
    }

    pub fn code(&self) -> &'static str {
        match self {
            Self::TooFew { short: Shortage::Set, .. } => codes::PG_COPIES,
            Self::TooFew { short: Shortage::Consent(_), .. } => codes::POOL_CONSENT,
            Self::TooFew { short: Shortage::MinSize, .. } => codes::POOL_NEVER,
            Self::Unsettled | Self::Stale => codes::PG_UNSETTLED,
            Self::Damaged => codes::PG_DAMAGED,
            Self::NoState
            | Self::StrangeState
            | Self::NoMembers
            | Self::ReportTooOld { .. }
            | Self::CopiesUnclear
            | Self::PoolUnclear => codes::PG_UNKNOWN,
            Self::NoOsd { .. } | Self::NoPool => codes::DOCUMENTS_APART,
        }
    }
}

impl Objection {
    /// The set is not safe. Otherwise nobody can tell.
    pub fn certain(&self) -> bool {
        match self {
            Self::OsdDown { .. } | Self::MonQuorum { .. } | Self::MonHosts { .. } => true,
            Self::Pg(pg) => pg.cause.certain(),
            Self::OsdUnclear { .. }
            | Self::OsdUnknown { .. }
            | Self::OsdBeyondCut { .. }
            | Self::PgsAbsent { .. }
            | Self::PoolAbsent { .. }
            | Self::PgNowhere { .. }
            | Self::MapOlder { .. }
            | Self::MonUnclear { .. } => false,
        }
    }

    /// `RP22xx`; its page is `docs/errors/<code>.md`.
    pub fn code(&self) -> &'static str {
        match self {
            Self::OsdDown { .. } => codes::OSD_DOWN,
            Self::Pg(pg) => pg.cause.code(),
            Self::PgsAbsent { .. } => codes::PG_ABSENT,
            Self::PgNowhere { .. } => codes::PG_UNKNOWN,
            Self::OsdUnclear { .. }
            | Self::OsdUnknown { .. }
            | Self::OsdBeyondCut { .. }
            | Self::PoolAbsent { .. }
            | Self::MapOlder { .. } => codes::DOCUMENTS_APART,
            Self::MonQuorum { .. } | Self::MonUnclear { .. } => codes::MON_QUORUM,
            Self::MonHosts { .. } => codes::MON_HOSTS,
        }
    }
}
