//! What a gate asks for and what it may answer.

use replank_common::UnixMs;
use replank_common::ceph::{CephDaemon, Requirement};
use replank_common::ids::{GuestUuid, HostName};
use replank_common::version::Version;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// A condition on the step's host.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Gate {
    /// A census taken after the gate was first asked: the four sources agree, and every guest of the run's baseline is the same
    /// incarnation, or left by its owner's doing (P1).
    CensusHolds,
    /// No guest of the host migrates, or has a block job or a save in flight.
    NoGuestJobs,
    /// The running libvirtd is active and says that it is this version.
    LibvirtdIs { version: Version },
    /// A new guest of this type would get this emulator.
    NewGuestsGet { virt_type: String, emulator: PathBuf },
    /// libvirtd of the step's host answers over TCP as seen from `from`.
    LibvirtTcpAnswers { from: HostName, address: String, port: u16, tls: bool },
    /// These OSDs and MONs may be down at the same time: every placement group keeps its copies, no OSD outside the set is down, and the
    /// MONs keep a quorum (P10). `consents`: pools whose thin redundancy the operator accepts. `via`: the host that asks the cluster, here and below.
    OsdsMayStop { osds: Vec<u32>, mons: Vec<String>, consents: Vec<String>, via: HostName },
    /// Each of these OSDs is up as `version`, and every placement group of it has been reported since and is clean where it belongs, seen twice.
    OsdsSettled { osds: Vec<u32>, version: Version, via: HostName },
    /// These MONs are in quorum.
    MonsInQuorum { mons: Vec<String>, via: HostName },
    /// Every rank of every file system is served, and each rank that one of these MDS holds would be taken over by another, which has to wait for no manager that is gone. `alone`: no
    /// other is there to be asked for, and they come back to their ranks themselves.
    MdsMayStop {
        mds: Vec<String>,
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        alone: bool,
        via: HostName,
    },
    /// These MDS are known to the cluster again, and every rank of every file system is served.
    MdsBack { mds: Vec<String>, via: HostName },
    /// The running processes of these daemons of the step's host are `version`.
    CephDaemonsAre { daemons: Vec<CephDaemon>, version: Version },
    /// Every reason for which the cluster says that it is not well is one of these: a check's code, or before Luminous the text, in which `#` is any number.
    CephHealthKnown { allowed: Vec<String>, via: HostName },
    /// No placement group is being scrubbed.
    NoScrub { via: HostName },
    /// Every OSD that exists, up or down, booted last as `version`.
    EveryOsdIs { version: Version, via: HostName },
    /// The cluster asks this of its members.
    Required { what: Requirement, via: HostName },
}

/// The judgement of one gate.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verdict {
    Pass,
    /// Not now; ask again.
    Wait(WaitReason),
    /// Never by waiting: the fleet halts.
    Halt(HaltReason),
}

/// Why something waits, exactly enough for an operator to act on it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum WaitReason {
    LinkDown {
        host: HostName,
        since_ms: Option<UnixMs>,
    },
    NoReadingYet {
        host: HostName,
        of: String,
    },
    CannotTell {
        host: HostName,
        of: String,
        why: String,
    },
    CensusDisagrees {
        host: HostName,
        lines: Vec<String>,
    },
    GuestJob {
        host: HostName,
        guest: String,
        job: String,
    },
    LibvirtdNotActive {
        host: HostName,
        state: String,
    },
    LibvirtdVersion {
        host: HostName,
        expected: Version,
        found: Option<Version>,
    },
    WrongEmulator {
        host: HostName,
        expected: PathBuf,
        found: PathBuf,
    },
    NoTcpAnswer {
        host: HostName,
        from: HostName,
        detail: String,
    },
    /// `code`: of the first line. `more`: objections beyond `lines`. `host`, of these and those below: who asked the cluster.
    CephMayNotStop {
        host: HostName,
        what: String,
        code: String,
        lines: Vec<String>,
        more: u32,
    },
    OsdsUnsettled {
        host: HostName,
        what: String,
        lines: Vec<String>,
        more: u32,
    },
    /// Nothing is missing, and that has been so for this long only.
    OsdsSettling {
        host: HostName,
        what: String,
        ms: u64,
    },
    MonsOutOfQuorum {
        host: HostName,
        mons: Vec<String>,
        in_quorum: Vec<String>,
    },
    /// `lines`: which rank of which file system, and which MDS.
    RanksNotServed {
        host: HostName,
        lines: Vec<String>,
        more: u32,
    },
    /// `host`: the daemon's own.
    CephDaemonIsNot {
        host: HostName,
        daemon: CephDaemon,
        expected: Version,
        found: Option<Version>,
        detail: String,
    },
    CephHealthUnknown {
        host: HostName,
        reasons: Vec<String>,
    },
    Scrubbing {
        host: HostName,
        groups: u32,
        named: Vec<String>,
    },
    OsdsOfOtherVersions {
        host: HostName,
        expected: Version,
        osds: Vec<String>,
        more: u32,
    },
    NotRequired {
        host: HostName,
        what: Requirement,
        found: String,
    },
}

/// Why the fleet stops.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum HaltReason {
    GuestLost {
        host: HostName,
        guest: GuestUuid,
        name: String,
        known: String,
        at_ms: UnixMs,
    },
    /// The same uuid is active on two hosts outside a migration (P2).
    GuestTwice {
        guest: GuestUuid,
        name: String,
        hosts: Vec<HostName>,
    },
    HostRebooted {
        host: HostName,
    },
}
