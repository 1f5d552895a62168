//! The sentences of gates, waits and halts, and how instants and spans are written.

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
                Self::LinkDown { .. }
                | Self::NoReadingYet { .. }
                | Self::CannotTell { .. }
                | Self::CensusDisagrees { .. }
                | Self::GuestJob { .. }
                | Self::LibvirtdNotActive { .. }
                | Self::LibvirtdVersion { .. }
                | Self::WrongEmulator { .. }
                | Self::NoTcpAnswer { .. },
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
