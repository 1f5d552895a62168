//! The words of Ceph that both sides share: daemons, flags of the OSD map, settings, and what may be required of every OSD.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

/// The kinds of daemons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CephKind {
    Mon,
    Mgr,
    Osd,
    Mds,
    Rgw,
}

impl CephKind {
    pub const ALL: [Self; 5] = [Self::Mon, Self::Mgr, Self::Osd, Self::Mds, Self::Rgw];

    /// As daemons are named by it: `osd` in `osd.3`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Mon => "mon",
            Self::Mgr => "mgr",
            Self::Osd => "osd",
            Self::Mds => "mds",
            Self::Rgw => "rgw",
        }
    }

    /// The type that the cluster knows them as, which is also the section of `ceph.conf` for all of the kind: gateways are clients.
    pub fn entity_type(self) -> &'static str {
        match self {
            Self::Mon | Self::Mgr | Self::Osd | Self::Mds => self.as_str(),
            Self::Rgw => "client",
        }
    }

    /// The directory of the data directories of all of the kind.
    pub fn directory(self) -> PathBuf {
        Path::new("/var/lib/ceph").join(match self {
            Self::Mon | Self::Mgr | Self::Osd | Self::Mds => self.as_str(),
            Self::Rgw => "radosgw",
        })
    }
}

/// The name of every cluster that replank changes. One that is called otherwise has files of its own,
/// directories and words to its units; the preflight refuses it.
pub const CLUSTER: &str = "ceph";

/// Gateways are called by one of these two behind `client.`: what `ceph-deploy` and later tools make, and what Hammer's manual and init script ask for
/// (ceph 0.94, src/init-radosgw.sysv: `PREFIX='client.radosgw.'`).
const GATEWAY: &str = "rgw.";
const OLD_GATEWAY: &str = "radosgw.";

/// One daemon, written `osd.3`, `mon.a`. The id of an OSD is its number; `rgw.radosgw.gateway` is the gateway `client.radosgw.gateway`, and any other `rgw.zone` is
/// `client.rgw.zone`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CephDaemon {
    pub kind: CephKind,
    pub id: String,
}

impl CephDaemon {
    pub fn osd(number: u32) -> Self {
        Self { kind: CephKind::Osd, id: number.to_string() }
    }

    pub fn mon(id: impl Into<String>) -> Self {
        Self { kind: CephKind::Mon, id: id.into() }
    }

    /// The daemon of this kind whose [`CephDaemon::instance`] this is; `None` where no daemon is called so.
    pub fn of_instance(kind: CephKind, instance: &str) -> Option<Self> {
        let id = match kind {
            CephKind::Rgw if !instance.starts_with(OLD_GATEWAY) => instance.strip_prefix(GATEWAY)?,
            CephKind::Mon | CephKind::Mgr | CephKind::Osd | CephKind::Mds | CephKind::Rgw => instance,
        };
        let daemon: Self = format!("{}.{id}", kind.as_str()).parse().ok()?;
        (daemon.instance() == instance).then_some(daemon)
    }

    /// What systemd's unit has behind its `@`, the data directory behind the cluster's name, and the daemon itself for `$id` in `ceph.conf`: the id, and of a gateway all
    /// that stands behind `client.` in the name that it authenticates with (ceph 10.2, systemd/ceph-radosgw@.service: `--name client.%i`; src/common/config_opts.h:
    /// `rgw_data` is `/var/lib/ceph/radosgw/$cluster-$id`).
    pub fn instance(&self) -> String {
        match self.kind {
            CephKind::Rgw if !self.id.starts_with(OLD_GATEWAY) => format!("{GATEWAY}{}", self.id),
            CephKind::Mon | CephKind::Mgr | CephKind::Osd | CephKind::Mds | CephKind::Rgw => self.id.clone(),
        }
    }

    /// As the cluster knows it, and `--name` takes it: `osd.3`, `client.rgw.zone`. Also its own section of `ceph.conf`.
    pub fn entity(&self) -> String {
        format!("{}.{}", self.kind.entity_type(), self.instance())
    }

    /// The unit that Jewel and later releases run it under.
    pub fn unit(&self) -> String {
        let template = match self.kind {
            CephKind::Mon | CephKind::Mgr | CephKind::Osd | CephKind::Mds => self.kind.as_str(),
            CephKind::Rgw => "radosgw",
        };
        format!("ceph-{template}@{}.service", self.instance())
    }

    /// Where its data is, in a cluster of the usual name.
    pub fn data_directory(&self) -> PathBuf {
        self.kind.directory().join(format!("{CLUSTER}-{}", self.instance()))
    }

    /// A value of `ceph.conf` as the daemon reads it, with what stands for its names filled in.
    pub fn filled(&self, value: &str) -> String {
        value
            .replace("$cluster", CLUSTER)
            .replace("$type", self.kind.entity_type())
            .replace("$name", &self.entity())
            .replace("$id", &self.instance())
    }

    /// Whether this value of `setuser match path` has the daemon ask its own directory whom to run as (ceph 10.2, src/global/global_init.cc).
    pub fn is_matched_by(&self, value: &str) -> bool {
        Path::new(self.filled(value).trim_end_matches('/')) == self.data_directory()
    }

    /// The number of an OSD; `None` of every other kind.
    pub fn osd_number(&self) -> Option<u32> {
        match self.kind {
            CephKind::Osd => self.id.parse().ok(),
            CephKind::Mon | CephKind::Mgr | CephKind::Mds | CephKind::Rgw => None,
        }
    }
}

impl fmt::Display for CephDaemon {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.kind.as_str(), self.id)
    }
}

/// A text that names no daemon.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a daemon of Ceph such as `osd.3` or `mon.a`")]
pub struct NotADaemon(pub String);

impl FromStr for CephDaemon {
    type Err = NotADaemon;

    fn from_str(text: &str) -> Result<Self, NotADaemon> {
        let parsed = || {
            let (kind, id) = text.split_once('.')?;
            let kind = CephKind::ALL.into_iter().find(|known| known.as_str() == kind)?;
            // What goes into the name of a unit and of a directory.
            let plain = !id.is_empty()
                && id.len() <= 128
                && id.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
            let numbered =
                kind != CephKind::Osd || id.parse::<u32>().is_ok_and(|number| number.to_string() == id);
            (plain && numbered).then(|| Self { kind, id: id.to_owned() })
        };
        parsed().ok_or_else(|| NotADaemon(text.to_owned()))
    }
}

impl TryFrom<String> for CephDaemon {
    type Error = NotADaemon;
    fn try_from(text: String) -> Result<Self, NotADaemon> {
        text.parse()
    }
}

impl From<CephDaemon> for String {
    fn from(daemon: CephDaemon) -> Self {
        daemon.to_string()
    }
}

/// Flags of the OSD map that an operator may set and unset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CephFlag {
    Noout,
    Noscrub,
    NodeepScrub,
    Norebalance,
    Norecover,
    Nobackfill,
    Nodown,
    Noup,
    Noin,
    Notieragent,
}

impl CephFlag {
    pub const ALL: [Self; 10] = [
        Self::Noout,
        Self::Noscrub,
        Self::NodeepScrub,
        Self::Norebalance,
        Self::Norecover,
        Self::Nobackfill,
        Self::Nodown,
        Self::Noup,
        Self::Noin,
        Self::Notieragent,
    ];

    /// As `ceph osd set` takes it and the OSD map shows it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Noout => "noout",
            Self::Noscrub => "noscrub",
            Self::NodeepScrub => "nodeep-scrub",
            Self::Norebalance => "norebalance",
            Self::Norecover => "norecover",
            Self::Nobackfill => "nobackfill",
            Self::Nodown => "nodown",
            Self::Noup => "noup",
            Self::Noin => "noin",
            Self::Notieragent => "notieragent",
        }
    }
}

impl fmt::Display for CephFlag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// How a setting reaches daemons that run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ConfigWay {
    /// `ceph config set`: kept by the MONs, for daemons that start later too (Mimic and later).
    Central,
    /// `ceph tell … injectargs`: in the memory of those that run now.
    Inject,
}

/// What the cluster may be told to require of every OSD, for good.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Requirement {
    /// `ceph osd set sortbitwise`.
    SortBitwise,
    /// `ceph osd set require_jewel_osds`.
    RequireJewelOsds,
    /// `ceph osd require-osd-release <release>` (Luminous and later).
    RequireOsdRelease { release: String },
    /// `ceph mon enable-msgr2` (Nautilus and later).
    EnableMsgr2,
}

impl fmt::Display for Requirement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SortBitwise => f.write_str("sortbitwise"),
            Self::RequireJewelOsds => f.write_str("require_jewel_osds"),
            Self::RequireOsdRelease { release } => write!(f, "require-osd-release {release}"),
            Self::EnableMsgr2 => f.write_str("enable-msgr2"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn daemons_are_read_as_they_are_written_and_nothing_else() {
        for text in ["osd.3", "mon.a", "mgr.ceph1", "rgw.zone-1.host", "mds.cephfs_a"] {
            assert_eq!(text.parse::<CephDaemon>().unwrap().to_string(), text);
        }
        assert_eq!("osd.3".parse(), Ok(CephDaemon::osd(3)));
        assert_eq!(CephDaemon::mon("a").osd_number(), None);
        for text in ["", "osd", "osd.", "osd.x", "osd.03", "osd.-1", "mon.", "mon.a/b", "mon.a b", "sod.3"] {
            assert!(text.parse::<CephDaemon>().is_err(), "{text}");
        }
    }

    #[test]
    fn a_gateway_is_called_by_what_stands_behind_client() {
        let names = |name: &str| {
            let daemon: CephDaemon = name.parse().unwrap();
            (daemon.entity(), daemon.unit(), daemon.instance())
        };
        let told = |entity: &str, unit: &str, instance: &str| {
            (entity.to_owned(), unit.to_owned(), instance.to_owned())
        };
        assert_eq!(names("osd.3"), told("osd.3", "ceph-osd@3.service", "3"));
        assert_eq!(names("mgr.ceph1"), told("mgr.ceph1", "ceph-mgr@ceph1.service", "ceph1"));
        assert_eq!(names("rgw.zone"), told("client.rgw.zone", "ceph-radosgw@rgw.zone.service", "rgw.zone"));
        assert_eq!(
            names("rgw.radosgw.gateway"),
            told("client.radosgw.gateway", "ceph-radosgw@radosgw.gateway.service", "radosgw.gateway")
        );
    }

    #[test]
    fn a_daemon_is_matched_by_its_own_directory_and_by_no_other() {
        let is = |name: &str, value: &str| name.parse::<CephDaemon>().unwrap().is_matched_by(value);
        let usual = "/var/lib/ceph/$type/$cluster-$id/";
        assert!(is("osd.3", usual) && is("mon.a", usual) && is("osd.3", "/var/lib/ceph/osd/ceph-3"));
        assert!(!is("rgw.zone", usual) && !is("osd.3", "/var/lib/ceph/osd/ceph-33") && !is("osd.3", ""));
        for name in ["rgw.zone", "rgw.radosgw.gateway"] {
            assert!(is(name, "/var/lib/ceph/radosgw/$cluster-$id") && !is(name, "/var/lib/ceph/radosgw"));
        }
    }

    #[test]
    fn every_instance_is_one_daemons_and_nobody_elses() {
        let of = |kind, instance: &str| CephDaemon::of_instance(kind, instance).map(String::from);
        for (kind, instance, name) in [
            (CephKind::Osd, "3", Some("osd.3")),
            (CephKind::Mon, "rgw.a", Some("mon.rgw.a")),
            (CephKind::Rgw, "rgw.zone", Some("rgw.zone")),
            (CephKind::Rgw, "rgw.radosgw-1", Some("rgw.radosgw-1")),
            (CephKind::Rgw, "radosgw.gateway", Some("rgw.radosgw.gateway")),
            // It would be told apart from `radosgw.gateway` by nothing.
            (CephKind::Rgw, "rgw.radosgw.gateway", None),
            (CephKind::Rgw, "gateway", None),
            (CephKind::Rgw, "rgw.", None),
            (CephKind::Osd, "3.old", None),
        ] {
            assert_eq!(of(kind, instance).as_deref(), name, "{instance}");
        }
        for name in ["osd.3", "mon.a", "rgw.zone", "rgw.radosgw.gateway"] {
            let daemon: CephDaemon = name.parse().unwrap();
            assert_eq!(CephDaemon::of_instance(daemon.kind, &daemon.instance()), Some(daemon));
        }
    }

    #[test]
    fn flags_are_written_as_ceph_writes_them() {
        for flag in CephFlag::ALL {
            assert_eq!(serde_json::to_string(&flag).unwrap(), format!("\"{flag}\""));
        }
    }
}
