//! What a fleet file means.

use crate::plan::Way;
use replank_common::action::{PackagePin, Repository};
use replank_common::ids::HostName;
use replank_common::version::Version;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

/// The sentence that opening libvirt to a network without authentication must be accepted with, word for word. Whoever
/// can reach such a libvirtd is root on its host (libvirt's own libvirtd.conf says so of `auth_tcp = "none"`).
pub const OPEN_TCP_SENTENCE: &str = "everyone on this network is root on every host";

/// A fleet and where it shall go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FleetFile {
    pub name: String,
    /// Ids of the catalog's hops: one for qemu and one for libvirt, or one for Ceph; none for a change of owner, which leaves every release as it is.
    pub hops: Vec<String>,
    pub pace: Pace,
    pub goal: Goal,
    pub repositories: BTreeMap<String, Repository>,
    /// In the file's order, which is the order in which hosts are passed.
    pub hosts: Vec<FleetHost>,
}

impl FleetFile {
    /// Whether this voyage changes the host, or asks the cluster there.
    pub fn takes_part(&self, host: &FleetHost) -> bool {
        self.goal.takes(host)
    }
}

/// What the voyage changes. One of them at a time: a fleet with both has two fleet files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Goal {
    /// qemu and libvirt of the hosts that run guests.
    Guests(Box<GuestsTarget>),
    /// The daemons of one Ceph cluster.
    Ceph(CephTarget),
    /// Whom the files of a cluster's daemons belong to.
    CephOwnership(OwnershipTarget),
}

impl Goal {
    /// Whether a voyage to this goal changes the host, or asks the cluster there.
    pub fn takes(&self, host: &FleetHost) -> bool {
        !host.reserved
            && match self {
                Self::Guests(_) => host.roles.iter().any(|role| role.runs_guests()),
                Self::Ceph(CephTarget { admin, .. }) | Self::CephOwnership(OwnershipTarget { admin, .. }) => {
                    host.roles.iter().any(|role| role.serves_ceph()) || admin.contains(&host.name)
                }
            }
    }

    /// Hosts whose agents may ask the cluster, and the section that names them.
    pub(super) fn admin(&self) -> Option<(&[HostName], &'static str)> {
        match self {
            Self::Guests(_) => None,
            Self::Ceph(ceph) => Some((&ceph.admin, "ceph")),
            Self::CephOwnership(ownership) => Some((&ownership.admin, "ceph-ownership")),
        }
    }

    /// What a host must be to take part, for people.
    pub(super) fn who(&self) -> &'static str {
        match self {
            Self::Guests(_) => "role compute or spare",
            Self::Ceph(_) | Self::CephOwnership(_) => "role of Ceph",
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct GuestsTarget {
    pub qemu: QemuTarget,
    pub libvirt: LibvirtTarget,
}

/// How fast a run may go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Pace {
    /// Hosts that may be changed at the same time, within one wave. At least 1. Of a Ceph cluster, redundancy decides, and this is a bound on it.
    pub parallel_hosts: u32,
    /// Hosts that may download and try at the same time. At least 1.
    pub staging_parallel: u32,
    pub canary: Canary,
    /// Bytes that stay available on every file system that is written to.
    pub spare_bytes: u64,
    /// Every deadline of the catalog, in percent of itself: 200 doubles it. At least 100.
    pub deadline_percent: u32,
}

/// The hosts that go first, before a hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Canary {
    /// The first so many of the file's hosts that this voyage changes. At least 1.
    Count(u32),
    /// In the file's order.
    Hosts(Vec<HostName>),
}

/// The relocated qemu.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct QemuTarget {
    pub version: Version,
    /// Names a repository of the file.
    pub repository: String,
    pub package: PackagePin,
    /// Such as `/opt/qemu/10.0.2`: the package owns nothing outside.
    pub prefix: PathBuf,
    /// Where its emulators are, below `prefix`.
    pub bin_directory: PathBuf,
    /// Ids of the catalog's requirements that the operator says this build meets.
    pub build_has: BTreeSet<String>,
}

/// The libvirt that is installed in place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LibvirtTarget {
    pub repository: String,
    /// Sorted by name.
    pub packages: Vec<PackagePin>,
    pub build_has: BTreeSet<String>,
    /// `None`: libvirtd's remote access is left as it is.
    pub tcp: Option<LibvirtTcp>,
}

/// The Ceph release that every daemon of the cluster is brought to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CephTarget {
    /// The exact point release.
    pub version: Version,
    /// Names a repository of the file.
    pub repository: String,
    /// Sorted by name.
    pub packages: Vec<PackagePin>,
    /// Names of packages that may go from a host: libraries that the new packages have under another name.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub removals: BTreeSet<String>,
    /// Hosts with an admin keyring, whose agents may ask and change the cluster. The first that is linked when the plan is made is taken.
    pub admin: Vec<HostName>,
    /// Names of pools whose thin redundancy the operator accepts for the while.
    pub consent: BTreeSet<String>,
}

/// Every daemon of the cluster runs as the user `ceph`, and its files are that user's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OwnershipTarget {
    /// As [`CephTarget::admin`].
    pub admin: Vec<HostName>,
    /// As [`CephTarget::consent`].
    pub consent: BTreeSet<String>,
    /// Files that are looked at in a second while their daemon runs; 0: no bound.
    pub files_per_second: u32,
    /// How long the files of a daemon that is down may take. At least 1.
    pub down_seconds: u32,
}

/// libvirtd's remote access.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LibvirtTcp {
    pub listen: Listen,
    pub port: u16,
    pub auth: TcpAuth,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Listen {
    /// Each host on its own `address`.
    OwnAddress,
    /// On this address, the same on every host: `0.0.0.0` or `::`.
    Everywhere(IpAddr),
}

/// Who may command libvirtd over the network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum TcpAuth {
    /// Users of SASL, over plain TCP.
    Sasl,
    /// Holders of a client certificate, over TLS.
    Tls,
    /// Everybody; accepted with [`OPEN_TCP_SENTENCE`].
    None,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FleetHost {
    pub name: HostName,
    pub roles: BTreeSet<Role>,
    pub way: Way,
    /// Where peers reach it: an IP address or a name.
    pub address: Option<String>,
    /// Keep off: the plan leaves the host untouched.
    pub reserved: bool,
}

/// What a host is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    Controller,
    Compute,
    Spare,
    CephMon,
    CephMgr,
    CephOsd,
    CephMds,
    CephRgw,
}

impl Role {
    pub const ALL: [Self; 8] = [
        Self::Controller,
        Self::Compute,
        Self::Spare,
        Self::CephMon,
        Self::CephMgr,
        Self::CephOsd,
        Self::CephMds,
        Self::CephRgw,
    ];

    pub fn as_str(self) -> &'static str {
        match self {
            Self::Controller => "controller",
            Self::Compute => "compute",
            Self::Spare => "spare",
            Self::CephMon => "ceph-mon",
            Self::CephMgr => "ceph-mgr",
            Self::CephOsd => "ceph-osd",
            Self::CephMds => "ceph-mds",
            Self::CephRgw => "ceph-rgw",
        }
    }

    /// Whether a host of this role has daemons of Ceph.
    pub fn serves_ceph(self) -> bool {
        match self {
            Self::CephMon | Self::CephMgr | Self::CephOsd | Self::CephMds | Self::CephRgw => true,
            Self::Controller | Self::Compute | Self::Spare => false,
        }
    }

    /// Whether a host of this role has a qemu and a libvirt to replace.
    pub fn runs_guests(self) -> bool {
        match self {
            Self::Compute | Self::Spare => true,
            Self::Controller
            | Self::CephMon
            | Self::CephMgr
            | Self::CephOsd
            | Self::CephMds
            | Self::CephRgw => false,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}
