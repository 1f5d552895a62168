//! Whether OSDs that were restarted are behind us.

use crate::OsdId;
use crate::documents::{OsdDump, OsdMetadata, Pg, PgCut, PgDump};
use crate::settled::{Booted, Unsettled, may_miss_one, newest_boot, unsettled_as};
use replank_common::version::Version;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// Two looks count when they are this far apart: longer than groups take to be reported. Milliseconds.
pub const LOOKS_APART_MS: u64 = 5_000;

/// An agent looks again and again for about this long before it answers with what is missing. Milliseconds.
pub const LOOKING_MS: u64 = 10_000;

/// Groups that may be of the OSDs, and whose last report does not say so: one is enough to wait, the others are named to people.
const DOUBTFUL_KEPT: usize = 8;

/// One look, or the first and the last of several that missed nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settle {
    pub looks: Vec<Look>,
}

/// The documents at one moment, cut down to the OSDs that are waited for. The map is to be taken before the list of groups.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Look {
    /// Since the agent began to look, by a clock that only goes forward.
    pub after_ms: u64,
    pub osds: OsdDump,
    pub metadata: BTreeMap<OsdId, OsdMetadata>,
    pub pgs: PgDump,
}

impl Look {
    /// Cuts the documents down to the OSDs `of`, their groups, and a few that may be theirs.
    pub fn new(
        after_ms: u64,
        mut osds: OsdDump,
        mut metadata: BTreeMap<OsdId, OsdMetadata>,
        pgs: PgDump,
        of: &BTreeSet<OsdId>,
    ) -> Self {
        osds.osds.retain(|osd, _| of.contains(osd));
        metadata.retain(|osd, _| of.contains(osd));
        let newest = newest_boot(of, &osds);
        let theirs = |pg: &Pg| pg.up.iter().chain(&pg.acting).flatten().any(|osd| of.contains(osd));
        let doubtful = pgs.pgs.iter().filter(|pg| !theirs(pg) && may_miss_one(pg, &osds, newest));
        let doubtful: Vec<Pg> = doubtful.take(DOUBTFUL_KEPT).cloned().collect();
        let mut pgs = PgCut::new(pgs, of.clone()).pgs;
        pgs.pgs.retain(theirs);
        pgs.pgs.extend(doubtful);
        pgs.pgs.sort_by_key(|pg| pg.id);
        Self { after_ms, osds, metadata, pgs }
    }

    /// What it misses of these OSDs as daemons of `version` whose groups are clean.
    pub fn misses(&self, osds: &BTreeSet<OsdId>, version: &Version) -> Vec<Unsettled> {
        let booted = Booted { osds, version, metadata: &self.metadata };
        unsettled_as(booted, &self.osds, &self.pgs)
    }
}

/// What several looks come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settling<'a> {
    Settled,
    /// What this look misses; at least one.
    Misses(&'a Look, Vec<Unsettled>),
    /// Nothing is missing, and it has not been seen for long enough: how long it has.
    TooShort {
        ms: u64,
    },
    NoLook,
}

impl Settle {
    pub fn judge(&self, osds: &BTreeSet<OsdId>, version: &Version) -> Settling<'_> {
        // The last look first: it is the newest word.
        for look in self.looks.iter().rev() {
            let misses = look.misses(osds, version);
            if !misses.is_empty() {
                return Settling::Misses(look, misses);
            }
        }
        let (Some(first), Some(last)) = (self.looks.first(), self.looks.last()) else {
            return Settling::NoLook;
        };
        let ms = last.after_ms.saturating_sub(first.after_ms);
        if ms < LOOKS_APART_MS { Settling::TooShort { ms } } else { Settling::Settled }
    }
}
