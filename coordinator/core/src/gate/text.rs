//! The sentences of gates, waits and halts, and how instants and spans are written.

use super::ceph::{daemon_names, mon_names, osd_names, prefixed, some, stop_names};
use super::{Gate, HaltReason, Verdict, WaitReason};
use replank_common::UnixMs;
use std::fmt;

/// `2026-11-24 04:12:07.250 UTC`.
pub fn utc(at_ms: UnixMs) -> String {
    let stamp = i64::try_from(at_ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    match stamp {
        Some(stamp) => stamp.strftime("%Y-%m-%d %H:%M:%S%.3f UTC").to_string(),
        None => format!("{at_ms} ms after 1970"),
    }
}

/// A span with units, to two places: `850 ms`, `4.2 s`, `3 min 05 s`, `2 h 07 min`, `3 d 04 h`.
pub fn duration(span_ms: u64) -> String {
    let seconds = span_ms / 1000;
    match seconds {
        0 => format!("{span_ms} ms"),
        1..60 => format!("{seconds}.{} s", span_ms % 1000 / 100),
        60..3600 => format!("{} min {:02} s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{} h {:02} min", seconds / 3600, seconds % 3600 / 60),
        _ => format!("{} d {:02} h", seconds / 86_400, seconds % 86_400 / 3600),
    }
}

/// How many more there are, if any.
struct And(u32);

impl fmt::Display for And {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            0 => Ok(()),
            more => write!(f, "; and {more} more"),
        }
    }
}

impl fmt::Display for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CensusHolds => f.write_str("the census agrees and every guest is the same incarnation"),
            Self::NoGuestJobs => f.write_str("no guest has a job in flight"),
            Self::LibvirtdIs { version } => write!(f, "the running libvirtd is {version}"),
            Self::NewGuestsGet { virt_type, emulator } => {
                write!(f, "a new {virt_type} guest gets {}", emulator.display())
            }
            Self::LibvirtTcpAnswers { from, address, port, tls } => {
                let over = if *tls { "TLS" } else { "TCP" };
                write!(f, "libvirtd answers at {address}:{port} over {over}, as seen from {from}")
            }
            Self::OsdsMayStop { osds, mons, consents, via: _ } => {
                write!(f, "{} may be down at once", stop_names(osds, mons))?;
                match consents.as_slice() {
                    [] => Ok(()),
                    pools => write!(f, "; thin redundancy is accepted of {}", pools.join(", ")),
                }
            }
            Self::OsdsSettled { osds, version, via: _ } => write!(
                f,
                "{} run {version}, and their placement groups are clean, twice and since the restart",
                osd_names(osds)
            ),
            Self::MonsInQuorum { mons, via: _ } => write!(f, "{} in quorum", mon_names(mons)),
            Self::MdsMayStop { mds, alone: true, via: _ } => write!(
                f,
                "every rank of every file system is served, and would be again once {}",
                some(&prefixed("mds", mds), " is back", " are back")
            ),
            Self::MdsMayStop { mds, alone: false, via: _ } => write!(
                f,
                "every rank of every file system is served, and would be without {}",
                daemon_names("mds", mds)
            ),
            Self::MdsBack { mds, via: _ } => write!(
                f,
                "{} known to the cluster, and every rank of every file system is served",
                some(&prefixed("mds", mds), " is", " are")
            ),
            Self::CephDaemonsAre { daemons, version } => {
                let names: Vec<String> = daemons.iter().map(ToString::to_string).collect();
                write!(f, "the running {} {version}", some(&names, " is", " are"))
            }
            Self::CephHealthKnown { allowed, via: _ } if allowed.is_empty() => {
                f.write_str("the cluster complains of nothing")
            }
            Self::CephHealthKnown { allowed, via: _ } => {
                write!(f, "the cluster complains of nothing but {}", allowed.join(", "))
            }
            Self::NoScrub { via: _ } => f.write_str("no placement group is being scrubbed"),
            Self::EveryOsdIs { version, via: _ } => {
                write!(f, "every OSD that exists, up or down, is {version}")
            }
            Self::Required { what, via: _ } => write!(f, "the cluster has {what}"),
        }
    }
}

impl fmt::Display for WaitReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LinkDown { host, since_ms: Some(since_ms) } => {
                write!(f, "{host}: the agent cannot be heard since {}", utc(*since_ms))
            }
            Self::LinkDown { host, since_ms: None } => {
                write!(f, "{host}: the agent has not linked since this coordinator started")
            }
            Self::NoReadingYet { host, of } => write!(f, "{host}: asked for {of}, no answer yet"),
            Self::CannotTell { host, of, why } => write!(f, "{host}: {of} cannot be told: {why}"),
            Self::CensusDisagrees { host, lines } => {
                write!(f, "{host}: the four sources of the census do not agree: {}", lines.join("; "))
            }
            Self::GuestJob { host, guest, job } => {
                write!(f, "{host}: guest {guest} has a job in flight: {job}")
            }
            Self::LibvirtdNotActive { host, state } => {
                write!(f, "{host}: libvirtd's unit is `{state}`, not `active`")
            }
            Self::LibvirtdVersion { host, expected, found: Some(found) } => {
                write!(f, "{host}: the running libvirtd says that it is {found}, not {expected}")
            }
            Self::LibvirtdVersion { host, expected, found: None } => {
                write!(f, "{host}: libvirtd does not say its version; {expected} is expected")
            }
            Self::WrongEmulator { host, expected, found } => {
                write!(f, "{host}: a new guest would get {}, not {}", found.display(), expected.display())
            }
            Self::NoTcpAnswer { host, from, detail } => {
                write!(f, "{host}: libvirtd does not answer over TCP as seen from {from}: {detail}")
            }
            Self::CephMayNotStop { host, what, code: _, lines, more } => {
                write!(
                    f,
                    "{what} may not stop, as {host} sees the cluster: {}{}",
                    lines.join("; "),
                    And(*more)
                )
            }
            Self::OsdsUnsettled { host, what, lines, more } => {
                write!(
                    f,
                    "not settled yet, as {host} sees the cluster: {what}: {}{}",
                    lines.join("; "),
                    And(*more)
                )
            }
            Self::OsdsSettling { host, what, ms } => write!(
                f,
                "settled for {} only, as {host} sees the cluster, and looked at once more: {what}",
                duration(*ms)
            ),
            Self::MonsOutOfQuorum { host, mons, in_quorum } => write!(
                f,
                "{} not in quorum, as {host} sees the cluster; in it: {}",
                mon_names(mons),
                if in_quorum.is_empty() { "none".to_owned() } else { in_quorum.join(", ") }
            ),
            Self::RanksNotServed { host, lines, more } => write!(
                f,
                "clients of a file system wait or would, as {host} sees the cluster: {}{}",
                lines.join("; "),
                And(*more)
            ),
            Self::CephDaemonIsNot { host, daemon, expected, found, detail } => {
                match found {
                    Some(found) => write!(f, "{host}: the running {daemon} is {found}, not {expected}")?,
                    None => write!(f, "{host}: {daemon} is not seen to run {expected}")?,
                }
                if detail.is_empty() { Ok(()) } else { write!(f, ": {detail}") }
            }
            Self::CephHealthUnknown { host, reasons } => write!(
                f,
                "the cluster complains of what is not expected, as {host} sees it: {}",
                reasons.join("; ")
            ),
            Self::Scrubbing { host, groups, named } => {
                let (are, and) = if *groups == 1 { ("group is", "") } else { ("groups are", " …") };
                let all = usize::try_from(*groups).is_ok_and(|groups| groups <= named.len());
                let and = if all { "" } else { and };
                write!(
                    f,
                    "{groups} placement {are} being scrubbed, as {host} sees the cluster: {}{and}",
                    named.join(", ")
                )
            }
            Self::OsdsOfOtherVersions { host, expected, osds, more } => write!(
                f,
                "OSDs exist that are not {expected}, as {host} sees the cluster: {}{}",
                osds.join("; "),
                And(*more)
            ),
            Self::NotRequired { host, what, found } => {
                write!(f, "the cluster does not have {what} yet, as {host} sees it: {found}")
            }
        }
    }
}

impl WaitReason {
    /// Whether two reasons are of the same cause, so that only the detail differs (an error text, the guest of many that is
    /// named first). A journal records a change of cause, not of detail.
    pub fn same_cause(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::LinkDown { host: a, .. }, Self::LinkDown { host: b, .. })
            | (Self::CensusDisagrees { host: a, .. }, Self::CensusDisagrees { host: b, .. })
            | (Self::GuestJob { host: a, .. }, Self::GuestJob { host: b, .. })
            | (Self::LibvirtdNotActive { host: a, .. }, Self::LibvirtdNotActive { host: b, .. })
            | (Self::LibvirtdVersion { host: a, .. }, Self::LibvirtdVersion { host: b, .. })
            | (Self::WrongEmulator { host: a, .. }, Self::WrongEmulator { host: b, .. }) => a == b,
            (Self::NoReadingYet { host: a, of: x }, Self::NoReadingYet { host: b, of: y })
            | (Self::CannotTell { host: a, of: x, .. }, Self::CannotTell { host: b, of: y, .. }) => {
                a == b && x == y
            }
            (Self::NoTcpAnswer { host: a, from: x, .. }, Self::NoTcpAnswer { host: b, from: y, .. }) => {
                a == b && x == y
            }
            (
                Self::CephMayNotStop { host: a, what: x, code: c, .. },
                Self::CephMayNotStop { host: b, what: y, code: d, .. },
            ) => (a, x, c) == (b, y, d),
            (Self::OsdsUnsettled { host: a, what: x, .. }, Self::OsdsUnsettled { host: b, what: y, .. })
            | (Self::OsdsSettling { host: a, what: x, .. }, Self::OsdsSettling { host: b, what: y, .. }) => {
                (a, x) == (b, y)
            }
            (
                Self::MonsOutOfQuorum { host: a, mons: x, .. },
                Self::MonsOutOfQuorum { host: b, mons: y, .. },
            ) => (a, x) == (b, y),
            (
                Self::CephDaemonIsNot { host: a, daemon: x, .. },
                Self::CephDaemonIsNot { host: b, daemon: y, .. },
            ) => (a, x) == (b, y),
            (
                Self::RanksNotServed { host: a, lines: x, .. },
                Self::RanksNotServed { host: b, lines: y, .. },
            ) => (a, x) == (b, y),
            (Self::CephHealthUnknown { host: a, .. }, Self::CephHealthUnknown { host: b, .. })
            | (Self::Scrubbing { host: a, .. }, Self::Scrubbing { host: b, .. })
            | (Self::OsdsOfOtherVersions { host: a, .. }, Self::OsdsOfOtherVersions { host: b, .. }) => {
                a == b
            }
            (Self::NotRequired { host: a, what: x, .. }, Self::NotRequired { host: b, what: y, .. }) => {
                (a, x) == (b, y)
            }
            (
                Self::LinkDown { .. }
                | Self::NoReadingYet { .. }
                | Self::CannotTell { .. }
                | Self::CensusDisagrees { .. }
                | Self::GuestJob { .. }
                | Self::LibvirtdNotActive { .. }
                | Self::LibvirtdVersion { .. }
                | Self::WrongEmulator { .. }
                | Self::NoTcpAnswer { .. }
                | Self::CephMayNotStop { .. }
                | Self::OsdsUnsettled { .. }
                | Self::OsdsSettling { .. }
                | Self::MonsOutOfQuorum { .. }
                | Self::RanksNotServed { .. }
                | Self::CephDaemonIsNot { .. }
                | Self::CephHealthUnknown { .. }
                | Self::Scrubbing { .. }
                | Self::OsdsOfOtherVersions { .. }
                | Self::NotRequired { .. },
                _,
            ) => false,
        }
    }
}

impl fmt::Display for HaltReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::GuestLost { host, guest, name, known, at_ms } => {
                write!(f, "guest {name} ({guest}) on {host} was lost at {}: {known}", utc(*at_ms))
            }
            Self::GuestTwice { guest, name, hosts } => {
                write!(f, "guest {name} ({guest}) runs on more than one host:")?;
                for host in hosts {
                    write!(f, " {host}")?;
                }
                Ok(())
            }
            Self::HostRebooted { host } => write!(f, "{host} rebooted, and its guests with it"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Pass => f.write_str("passes"),
            Self::Wait(reason) => write!(f, "waits: {reason}"),
            Self::Halt(reason) => write!(f, "halts: {reason}"),
        }
    }
}
