//! What the cluster says of itself when it is asked: the map as it is, and groups as their primaries reported them last.

use super::groups::Reported;
use super::{Cluster, Place, Required};
use crate::fault::Fault;
use replank_ceph::OsdId;
use replank_ceph::documents::{
    Bucket, Counts, HealthReason, Leaf, MdsMap, Osd, OsdDump, OsdMetadata, OsdTree, Pg, PgDump, PgState,
    Pool, QuorumStatus, Word,
};
use replank_common::ceph::CephKind;
use replank_common::version::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr};

/// One answer to all that is asked of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Documents {
    pub(crate) osds: OsdDump,
    pub(crate) tree: OsdTree,
    /// `None`: the MGR has heard of no group yet.
    pub(crate) groups: Option<PgDump>,
    pub(crate) quorum: QuorumStatus,
    pub(crate) election_epoch: u32,
    /// What each OSD was at its last boot.
    pub(crate) booted: BTreeMap<OsdId, Version>,
    pub(crate) mons: BTreeMap<String, Version>,
    pub(crate) health: Vec<HealthReason>,
    pub(crate) required: Required,
}

impl Documents {
    /// As `osd metadata` has it.
    pub(crate) fn metadata(&self) -> BTreeMap<OsdId, OsdMetadata> {
        let of = |(osd, version): (&OsdId, &Version)| {
            let version = Some(format!("ceph version {version} (0123456789abcdef) stable"));
            (*osd, OsdMetadata { version, host: None })
        };
        self.booted.iter().map(of).collect()
    }
}

impl Cluster {
    /// Somebody asks: what keeps it from answering is met.
    pub(crate) fn is_asked(&mut self) {
        if self.now < self.silent_until {
            self.met.push(Fault::ClusterSilent);
        } else if self.now < self.groups_known_from {
            self.met.push(Fault::GroupsUnknown);
        }
    }

    /// # Errors
    /// There is no quorum, or the command hangs until it is killed.
    pub(crate) fn documents(&self) -> Result<Documents, String> {
        if !self.answers() {
            return Err("the cluster does not answer within 10 s".to_owned());
        }
        Ok(Documents {
            osds: self.osd_dump(),
            tree: self.osd_tree(),
            groups: (self.now >= self.groups_known_from && self.has_manager()).then(|| self.pg_dump()),
            quorum: QuorumStatus {
                mons: self.mons.iter().map(|mon| (mon.name.clone(), Some(address(mon.host)))).collect(),
                in_quorum: self.quorum.iter().map(|mon| self.mons[*mon].name.clone()).collect(),
            },
            election_epoch: self.election_epoch,
            booted: self.listed().map(|osd| (osd, self.osd(osd).booted.clone())).collect(),
            mons: self.mons.iter().map(|mon| (mon.name.clone(), mon.version.clone())).collect(),
            health: self.health(),
            required: self.required.clone(),
        })
    }

    /// Its MDS stand by for each other, and no file system is simulated.
    pub(crate) fn mds(&self) -> MdsMap {
        let mds = self.others.iter().filter(|other| other.running && other.daemon.kind == CephKind::Mds);
        MdsMap { standing_by: mds.map(|mds| mds.daemon.id.clone()).collect(), ..MdsMap::default() }
    }

    /// Those that the map has.
    fn listed(&self) -> impl Iterator<Item = OsdId> {
        self.ids().filter(|osd| !self.osd(*osd).removed)
    }

    fn osd_dump(&self) -> OsdDump {
        let of = |id: OsdId| {
            let osd = self.osd(id);
            let said = Osd {
                up: Some(osd.up),
                placed: Some(osd.placed),
                up_from: Some(osd.up_from),
                address: Some(address(osd.host)),
                destroyed: false,
                features: None,
            };
            (id, said)
        };
        OsdDump {
            epoch: self.epoch,
            fsid: None,
            flags: self.flags.all().union(&self.required.flags).cloned().collect(),
            require_osd_release: self.required.release.clone(),
            pools: self.layout.pools.iter().map(|pool: &Pool| (pool.id, pool.clone())).collect(),
            osds: self.listed().map(of).collect(),
        }
    }

    fn osd_tree(&self) -> OsdTree {
        let leaf = |osd: OsdId| {
            let Place { host, domain } = self.layout.osds[&osd];
            let bucket = |number: usize, name: String, kind: &str| Bucket {
                id: -i64::try_from(number).unwrap_or(0),
                name,
                kind: kind.to_owned(),
            };
            let mut above = vec![bucket(2 + 2 * host, self.layout.hosts[host].to_string(), "host")];
            if self.layout.racks {
                above.push(bucket(3 + 2 * domain, format!("rack{}", domain + 1), "rack"));
            }
            above.push(bucket(1, "default".to_owned(), "root"));
            Leaf { osd, above }
        };
        OsdTree { leaves: self.listed().map(leaf).collect(), stray: BTreeSet::new() }
    }

    fn pg_dump(&self) -> PgDump {
        let of = |group: &super::groups::Group| {
            let Reported { state, up, acting, complete, degraded, epoch } = &group.reported;
            // The MONs know which primary is gone before anybody reports in its place.
            let gone = acting.first().is_none_or(|primary| !self.osd(*primary).up);
            let state = if gone { PgState::new(&format!("stale+{state}")) } else { state.clone() };
            Pg {
                id: group.id,
                state: Some(state),
                up: Some(up.clone()),
                acting: Some(acting.clone()),
                counts: Some(Counts { degraded: *degraded, ..Counts::default() }),
                complete: Some(complete.clone()),
                reported_epoch: Some(*epoch),
            }
        };
        PgDump { pgs: self.groups.iter().map(of).collect(), last_osdmap_epoch: None }
    }

    pub(super) fn health(&self) -> Vec<HealthReason> {
        let mut reasons = Vec::new();
        let mut add = |check: &str, level: &str, text: String| {
            let check = self.layout.health_has_codes.then(|| check.to_owned());
            let level = level.to_owned();
            reasons.push(HealthReason { check, level, text, muted: false });
        };
        if !self.flags.all().is_empty() {
            let mut flags: Vec<&str> = self.flags.all().iter().map(String::as_str).collect();
            if !self.layout.health_has_codes {
                // Without codes every flag of the map is listed, once one is a reason to complain.
                flags.extend(self.required.flags.iter().map(String::as_str));
                flags.sort_by_key(|flag| BITS.iter().position(|bit| bit == flag));
            }
            add("OSDMAP_FLAGS", "HEALTH_WARN", format!("{} flag(s) set", flags.join(",")));
        }
        let down = self.listed().filter(|osd| self.osd(*osd).placed && !self.osd(*osd).up).count();
        if down > 0 {
            add("OSD_DOWN", "HEALTH_WARN", format!("{down} osds down"));
        }
        let absent = self.mons.len() - self.quorum.len();
        if absent > 0 {
            add("MON_DOWN", "HEALTH_WARN", format!("{absent}/{} mons down", self.mons.len()));
        }
        let full = self.listed().filter(|osd| self.osd(*osd).full).count();
        if full > 0 {
            add("OSD_BACKFILLFULL", "HEALTH_WARN", format!("{full} backfillfull osd(s)"));
        }
        let has = |words: &[Word]| self.groups.iter().any(|group| group.reported.state.has_any(words));
        if has(&[Word::Degraded, Word::Undersized]) {
            add("PG_DEGRADED", "HEALTH_WARN", "Degraded data redundancy".to_owned());
        }
        if has(&[Word::Peering, Word::Peered, Word::Down]) {
            add("PG_AVAILABILITY", "HEALTH_WARN", "Reduced data availability".to_owned());
        }
        reasons
    }
}

/// In the order in which Ceph prints them (src/osd/OSDMap.cc `get_flag_string`).
const BITS: [&str; 7] =
    ["noout", "nobackfill", "norecover", "noscrub", "nodeep-scrub", "sortbitwise", "require_jewel_osds"];

fn address(host: usize) -> IpAddr {
    let number = u32::try_from(host + 1).unwrap_or(u32::MAX);
    IpAddr::V4(Ipv4Addr::from_bits(Ipv4Addr::new(10, 1, 0, 0).to_bits().saturating_add(number)))
}
