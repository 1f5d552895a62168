//! Who ended a guest: libvirt's word, the exit, and what had happened to libvirtd, weighed. Pure.
//!
//! Only what was certainly the owner's doing is attributed; everything else counts as lost (P1). The rules, and why:
//!
//! | libvirt says | and | cause |
//! | --- | --- | --- |
//! | `Stopped Shutdown` | not announced as `Shutdown … host request` | the guest shut itself down |
//! | `Stopped Shutdown` | announced as `Shutdown … host request` | unattributed: qemu got a signal, from the end of its scope for instance |
//! | `Stopped Destroyed` | libvirtd has run for [`steady_ms`] | asked of libvirt |
//! | `Stopped Destroyed` | libvirtd is younger, or gone | unattributed: a starting libvirtd ends guests that it cannot take over |
//! | `Stopped Migrated` | | left by migration |
//! | `Stopped Failed`, `Crashed`, `Saved`, anything else, or nothing | | unattributed, with what is known |
//!
//! `Saved` is what `libvirt-guests` does to every guest of a host when it is stopped; so it is not taken for the owner's doing.

use super::pidfd::Exit;
use replank_common::UnixMs;
use replank_common::census::{EndCause, GuestEnd, Incarnation};
use replank_common::ids::GuestUuid;
use replank_common::planted::{self, Planted};
use std::collections::VecDeque;

/// How long the word of a running libvirtd is waited for once a process has ended. What comes later corrects the cause.
///
/// libvirtd looks every 200 ms whether a process that it ended is gone (libvirt's `virProcessKillPainfully`), and only then
/// tidies up and speaks; so its word comes 200 ms after the end and some more. Where nobody can speak nothing is waited for.
pub const WAIT_FOR_LIBVIRT_MS: u64 = 600;
/// How long events are kept for an end that is noticed after them.
const KEEP_EVENTS_MS: u64 = 30_000;
/// How long an unexplained end can still be corrected.
const CORRECT_MS: u64 = 60_000;
/// After this time since its start, libvirtd does not end a guest because it cannot take it over. What it so ends, it ends within its own
/// limit for connecting to the guest's monitor: 30 s and, since libvirt 3.2, one more for each GiB of the guest (`qemuConnectMonitor`). `memory_mib`: the guest's memory; `None` when it cannot be told, which is taken for 1 TiB.
pub fn steady_ms(memory_mib: Option<u64>) -> u64 {
    let gib = memory_mib.unwrap_or(1 << 20).div_ceil(1024);
    gib.saturating_add(30).saturating_mul(1000)
}

/// One of libvirt's lifecycle events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LifecycleEvent {
    /// The guest's name; libvirt's client does not print the uuid.
    pub name: String,
    /// `Stopped`, `Shutdown`, `Started`, …
    pub event: String,
    /// `Destroyed`, `Finished after guest request`, …
    pub detail: String,
}

/// How libvirtd stood when an end was judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DaemonThen {
    /// It had run for this long.
    RunsFor {
        ms: u64,
    },
    Absent,
}

/// A guest whose process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    pub uuid: GuestUuid,
    pub name: String,
    pub incarnation: Incarnation,
    pub at_ms: UnixMs,
    pub exit: Option<Exit>,
    /// See [`steady_ms`].
    pub steady_ms: u64,
}

/// Brings ends and events together, in whichever order they come. Times are of one monotonic clock, in milliseconds.
#[derive(Debug, Default)]
pub struct Attributor {
    events: VecDeque<(u64, LifecycleEvent)>,
    pending: Vec<(u64, Death)>,
    unexplained: Vec<(u64, Death)>,
}

impl Attributor {
    /// A process ended.
    pub fn died(&mut self, now: u64, death: Death) {
        self.pending.push((now, death));
    }

    /// libvirt said something.
    pub fn happened(&mut self, now: u64, event: LifecycleEvent) {
        // A new life of the same name: what was said of the former is not about this one.
        if event.event == "Started" {
            self.events.retain(|(_, earlier)| earlier.name != event.name);
        }
        self.events.push_back((now, event));
        self.events.retain(|(at, _)| now.saturating_sub(*at) <= KEEP_EVENTS_MS);
    }

    /// The ends whose cause is now known, or will not be waited for longer. An end that was given as unattributed is given again when
    /// libvirt's word comes after all.
    pub fn decided(&mut self, now: u64, daemon: DaemonThen) -> Vec<GuestEnd> {
        let mut ends = Vec::new();
        for (died, death) in std::mem::take(&mut self.pending) {
            let said = self.take_words(&death.name);
            if said.stopped.is_some() {
                ends.push(end(&death, cause(&said, daemon, &death)));
            } else if daemon == DaemonThen::Absent || now.saturating_sub(died) >= WAIT_FOR_LIBVIRT_MS {
                ends.push(end(&death, cause(&said, daemon, &death)));
                self.put_back(now, &death.name, &said);
                self.unexplained.push((now, death));
            } else {
                self.put_back(now, &death.name, &said);
                self.pending.push((died, death));
            }
        }
        for (decided, death) in std::mem::take(&mut self.unexplained) {
            let said = self.take_words(&death.name);
            if said.stopped.is_some() {
                ends.push(end(&death, cause(&said, daemon, &death)));
            } else {
                self.put_back(now, &death.name, &said);
                if now.saturating_sub(decided) < CORRECT_MS {
                    self.unexplained.push((decided, death));
                }
            }
        }
        ends
    }

    /// Whether an end waits for its cause.
    pub fn waits(&self) -> bool {
        !self.pending.is_empty()
    }

    fn take_words(&mut self, name: &str) -> Words {
        let mut words = Words::default();
        self.events.retain(|(_, event)| {
            if event.name != name {
                return true;
            }
            match event.event.as_str() {
                "Stopped" | "Crashed" => words.stopped = Some((event.event.clone(), event.detail.clone())),
                "Shutdown" => words.shutdown = Some(event.detail.clone()),
                _ => {}
            }
            false
        });
        words
    }

    /// An announced shutdown is still needed when the end itself is said later.
    fn put_back(&mut self, now: u64, name: &str, words: &Words) {
        if let Some(detail) = &words.shutdown {
            let event = LifecycleEvent {
                name: name.to_owned(),
                event: "Shutdown".to_owned(),
                detail: detail.clone(),
            };
            self.events.push_back((now, event));
        }
    }
}

/// What libvirt said of one guest.
#[derive(Debug, Default)]
struct Words {
    stopped: Option<(String, String)>,
    shutdown: Option<String>,
}

fn end(death: &Death, cause: EndCause) -> GuestEnd {
    GuestEnd {
        uuid: death.uuid,
        name: death.name.clone(),
        incarnation: death.incarnation,
        at_ms: death.at_ms,
        cause,
    }
}

fn cause(words: &Words, daemon: DaemonThen, death: &Death) -> EndCause {
    let asked_by_host = words.shutdown.as_deref().is_some_and(|detail| detail.contains("host request"));
    let said = words.stopped.as_ref().map(|(event, detail)| (event.as_str(), detail.as_str()));
    let why = match (said, daemon) {
        (Some(("Stopped", "Shutdown")), _) if !asked_by_host => return EndCause::GuestShutdown,
        (Some(("Stopped", "Migrated")), _) => return EndCause::Migrated,
        (Some(("Stopped", "Destroyed")), DaemonThen::RunsFor { ms })
            if ms >= death.steady_ms || planted::is(Planted::EveryDestructionIsTheOwners) =>
        {
            return EndCause::AskedOfLibvirt { who: None };
        }
        (Some(("Stopped", "Destroyed")), DaemonThen::RunsFor { ms }) => format!(
            "libvirt says `Stopped Destroyed`, and libvirtd had started {} s before, which may itself end guests that it \
             cannot take over",
            ms / 1000
        ),
        (Some(("Stopped", "Destroyed")), DaemonThen::Absent) => {
            "libvirt said `Stopped Destroyed`, and libvirtd has ended since".to_owned()
        }
        (Some(("Stopped", "Shutdown")), _) => {
            "libvirt says that qemu was shut down by a request of the host, a signal for instance".to_owned()
        }
        (Some((event, detail)), _) => format!("libvirt says `{event} {detail}`"),
        (None, DaemonThen::Absent) => "libvirtd does not run, so nobody says why".to_owned(),
        (None, DaemonThen::RunsFor { ms }) if ms < death.steady_ms => {
            format!("libvirt has not said why; libvirtd had started {} s before", ms / 1000)
        }
        (None, DaemonThen::RunsFor { .. }) => {
            format!("libvirt has not said why within {WAIT_FOR_LIBVIRT_MS} ms")
        }
    };
    let known = match death.exit {
        Some(exit) => format!("{exit}; {why}"),
        None => why,
    };
    EndCause::Unattributed { known }
}

#[cfg(test)]
mod tests {
    use super::*;
    use replank_common::ids::BootId;
    use uuid::Uuid;

    const STEADY: DaemonThen = DaemonThen::RunsFor { ms: 100_000 };

    fn death() -> Death {
        let incarnation = Incarnation { boot_id: BootId(Uuid::nil()), pid: 4, start_ticks: 5 };
        Death {
            uuid: GuestUuid(Uuid::nil()),
            name: "web".to_owned(),
            incarnation,
            at_ms: 1,
            exit: Some(Exit::Signal(9)),
            steady_ms: steady_ms(Some(1024)),
        }
    }

    /// libvirt gives a large guest's monitor longer, and ends the guest after that.
    #[test]
    fn a_large_guest_that_a_young_libvirtd_ends_is_not_its_owners_doing() {
        let large = Death { steady_ms: steady_ms(Some(256 << 10)), ..death() };
        let mut attributor = Attributor::default();
        attributor.died(0, large);
        attributor.happened(1, says("Stopped", "Destroyed"));
        let ends = attributor.decided(2, DaemonThen::RunsFor { ms: 250_000 });
        assert!(matches!(&ends[0].cause, EndCause::Unattributed { .. }), "{ends:?}");
        assert!(steady_ms(None) > steady_ms(Some(256 << 10)));
    }

    fn says(event: &str, detail: &str) -> LifecycleEvent {
        LifecycleEvent { name: "web".to_owned(), event: event.to_owned(), detail: detail.to_owned() }
    }

    /// The cause when libvirt said `events` and the process ended then.
    fn cause_of(events: &[(&str, &str)], daemon: DaemonThen) -> EndCause {
        let mut attributor = Attributor::default();
        for (event, detail) in events {
            attributor.happened(0, says(event, detail));
        }
        attributor.died(1, death());
        let mut ends = attributor.decided(1 + WAIT_FOR_LIBVIRT_MS, daemon);
        assert_eq!(ends.len(), 1);
        ends.remove(0).cause
    }

    #[test]
    fn only_what_was_certainly_the_owners_doing_is_attributed() {
        assert_eq!(cause_of(&[("Stopped", "Migrated")], STEADY), EndCause::Migrated);
        assert_eq!(cause_of(&[("Stopped", "Destroyed")], STEADY), EndCause::AskedOfLibvirt { who: None });
        for announced in ["Finished", "Finished after guest request"] {
            let said = [("Shutdown", announced), ("Stopped", "Shutdown")];
            assert_eq!(cause_of(&said, STEADY), EndCause::GuestShutdown);
        }
        assert_eq!(cause_of(&[("Stopped", "Shutdown")], STEADY), EndCause::GuestShutdown);
        for said in [
            &[("Shutdown", "Finished after host request"), ("Stopped", "Shutdown")][..],
            &[("Stopped", "Failed")],
            &[("Stopped", "Crashed")],
            &[("Stopped", "Saved")],
            &[("Crashed", "Panicked")],
            &[("Shutdown", "Finished after guest request")],
            &[],
        ] {
            assert!(!cause_of(said, STEADY).is_owners_doing(), "{said:?}");
        }
    }

    #[test]
    fn a_libvirtd_that_has_just_started_or_is_gone_does_not_vouch_for_a_destruction() {
        let young = DaemonThen::RunsFor { ms: death().steady_ms - 1 };
        for daemon in [young, DaemonThen::Absent] {
            assert!(!cause_of(&[("Stopped", "Destroyed")], daemon).is_owners_doing());
        }
        assert_eq!(cause_of(&[("Stopped", "Migrated")], young), EndCause::Migrated);
    }

    #[test]
    fn what_is_known_is_told() {
        let EndCause::Unattributed { known } = cause_of(&[("Stopped", "Failed")], STEADY) else { panic!() };
        assert_eq!(known, "its process was ended by signal 9 (SIGKILL); libvirt says `Stopped Failed`");
    }

    #[test]
    fn an_end_waits_for_libvirts_word_and_no_longer_than_it_may() {
        let mut attributor = Attributor::default();
        attributor.died(1000, death());
        assert_eq!(attributor.decided(1000 + WAIT_FOR_LIBVIRT_MS - 1, STEADY), []);
        assert!(attributor.waits());
        attributor.happened(1100, says("Stopped", "Destroyed"));
        let ends = attributor.decided(1100, STEADY);
        assert_eq!(ends[0].cause, EndCause::AskedOfLibvirt { who: None });
        assert!(!attributor.waits());
        assert_eq!(attributor.decided(9000, STEADY), [], "told once");
    }

    #[test]
    fn nobody_is_waited_for_where_libvirtd_does_not_run() {
        let mut attributor = Attributor::default();
        attributor.died(1000, death());
        assert!(!attributor.decided(1000, DaemonThen::Absent)[0].cause.is_owners_doing());
    }

    #[test]
    fn a_late_word_corrects_the_cause() {
        let mut attributor = Attributor::default();
        attributor.happened(900, says("Shutdown", "Finished after host request"));
        attributor.died(1000, death());
        let first = attributor.decided(1000 + WAIT_FOR_LIBVIRT_MS, STEADY);
        assert!(!first[0].cause.is_owners_doing());
        attributor.happened(2000, says("Stopped", "Destroyed"));
        let again = attributor.decided(2000, STEADY);
        assert_eq!(again[0].cause, EndCause::AskedOfLibvirt { who: None });
        assert_eq!(again[0].incarnation, first[0].incarnation);
    }

    #[test]
    fn an_earlier_life_of_the_same_name_explains_nothing() {
        let mut attributor = Attributor::default();
        attributor.happened(0, says("Stopped", "Destroyed"));
        attributor.happened(10, says("Started", "Booted"));
        attributor.died(20, death());
        let ends = attributor.decided(20 + WAIT_FOR_LIBVIRT_MS, STEADY);
        assert!(!ends[0].cause.is_owners_doing());
        let mut attributor = Attributor::default();
        attributor.happened(0, says("Stopped", "Destroyed"));
        attributor.happened(KEEP_EVENTS_MS + 1, says("Resumed", "Unpaused"));
        attributor.died(KEEP_EVENTS_MS + 2, death());
        let ends = attributor.decided(KEEP_EVENTS_MS + 2 + WAIT_FOR_LIBVIRT_MS, STEADY);
        assert!(!ends[0].cause.is_owners_doing());
    }
}
