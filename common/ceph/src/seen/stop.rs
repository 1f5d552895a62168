//! What decides whether a set of OSDs and MONs may stop (P10).

use crate::OsdId;
use crate::documents::{OsdDump, OsdTree, Pg, PgCut, PgDump, QuorumStatus};
use crate::quorum::Machines;
use crate::redundancy::{NameError, Redundancy, StopSet, Verdict, consents};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// The documents, cut down to a set of OSDs. The list of groups is to be taken before the map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// Without OSDs that are up and no member of a group in `pgs`: they have no say.
    pub osds: OsdDump,
    pub pgs: PgCut,
    pub quorum: QuorumStatus,
    /// The leaves of the set alone: they tell which MONs are on their machines.
    pub tree: Option<OsdTree>,
}

impl Stop {
    /// Cuts the documents down to the set `of`.
    pub fn new(
        mut osds: OsdDump,
        pgs: PgDump,
        quorum: QuorumStatus,
        tree: Option<OsdTree>,
        of: BTreeSet<OsdId>,
    ) -> Self {
        let pgs = PgCut::new(pgs, of);
        let of = &pgs.of;
        let members = |pg: &Pg| pg.acting.iter().chain(&pg.up).flatten().copied().collect::<Vec<_>>();
        let named: BTreeSet<OsdId> = pgs.pgs.pgs.iter().flat_map(members).collect();
        osds.osds.retain(|id, osd| of.contains(id) || named.contains(id) || osd.up != Some(true));
        let tree = tree.map(|mut tree| {
            tree.leaves.retain(|leaf| of.contains(&leaf.osd));
            tree.stray.retain(|osd| of.contains(osd));
            tree
        });
        Self { osds, pgs, quorum, tree }
    }

    /// May `osds` and `mons` be down at the same time, thin redundancy of the pools `consented` being accepted?
    ///
    /// # Errors
    /// A pool that the map does not have.
    pub fn judge(
        &self,
        osds: &BTreeSet<OsdId>,
        mons: &BTreeSet<String>,
        consented: &[String],
    ) -> Result<Verdict, NameError> {
        let consents = consents(&self.osds, consented)?;
        let machines = Machines::new(&self.osds, self.tree.as_ref());
        let set = StopSet { osds: osds.clone(), mons: mons.clone() };
        Ok(Redundancy::of_cut(&self.osds, &self.pgs, &consents).judge(&set, Some((&self.quorum, &machines))))
    }
}
