//! What a cluster was made of and what became of it, for whoever tells of a voyage.

use super::{Cluster, Origin};
use replank_common::version::Version;

/// A simulated cluster at the end of its voyage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Afloat {
    pub origin: Origin,
    pub osds: usize,
    /// No group has two members in one of them.
    pub domains: usize,
    pub mons: usize,
    pub managers: usize,
    /// MDS and gateways.
    pub others: usize,
    pub pools: usize,
    pub groups: usize,
    pub to: Version,
    /// Daemons that run `to`, and all that there are.
    pub renewed: usize,
    pub daemons: usize,
    /// Daemons that do not run, by name.
    pub down: Vec<String>,
    /// Groups that are not clean, by name.
    pub unclean: Vec<String>,
    /// Groups of which nobody has every acknowledged write any more.
    pub lost: Vec<String>,
}

impl Cluster {
    pub(crate) fn afloat(&self) -> Afloat {
        let layout = &self.layout;
        let osds = self.osds.iter().map(|(id, osd)| (id.to_string(), osd.running, &osd.version));
        let mons = self.mons.iter().map(|mon| (format!("mon.{}", mon.name), mon.running, &mon.version));
        let mgrs = self.mgrs.iter().map(|mgr| (format!("mgr.{}", mgr.name), mgr.running, &mgr.version));
        let others =
            self.others.iter().map(|other| (other.daemon.to_string(), other.running, &other.version));
        let all: Vec<(String, bool, &Version)> = mons.chain(mgrs).chain(osds).chain(others).collect();
        let named = |group: &&super::groups::Group| group.id.to_string();
        let lost = |group: &&super::groups::Group| group.is_lost(&layout.pools[group.pool]);
        Afloat {
            origin: layout.origin.clone(),
            osds: self.osds.len(),
            domains: layout.domains.len(),
            mons: self.mons.len(),
            managers: self.mgrs.len(),
            others: self.others.len(),
            pools: layout.pools.len(),
            groups: self.groups.len(),
            to: layout.to.clone(),
            renewed: all.iter().filter(|(_, runs, version)| *runs && **version == layout.to).count(),
            daemons: all.len(),
            down: all.iter().filter(|(_, runs, _)| !runs).map(|(name, ..)| name.clone()).collect(),
            unclean: self
                .groups
                .iter()
                .filter(|group| !group.is_clean())
                .map(|group| named(&group))
                .collect(),
            lost: self.groups.iter().filter(lost).map(|group| named(&group)).collect(),
        }
    }
}
