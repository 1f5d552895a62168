//! What a gate asks for and what it may answer.

use replank_common::UnixMs;
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
    LinkDown { host: HostName, since_ms: Option<UnixMs> },
    NoReadingYet { host: HostName, of: String },
    CannotTell { host: HostName, of: String, why: String },
    CensusDisagrees { host: HostName, lines: Vec<String> },
    GuestJob { host: HostName, guest: String, job: String },
    LibvirtdNotActive { host: HostName, state: String },
    LibvirtdVersion { host: HostName, expected: Version, found: Option<Version> },
    WrongEmulator { host: HostName, expected: PathBuf, found: PathBuf },
    NoTcpAnswer { host: HostName, from: HostName, detail: String },
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
