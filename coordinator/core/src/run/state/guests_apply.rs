//! Transitions of guests: joining the baseline, leaving it, being lost.

use super::{Course, Fate, IllegalEvent, OpenLoss, State, Track, Watch};
use crate::gate::HaltReason;
use crate::run::event::Life;
use replank_common::UnixMs;
use replank_common::census::{EndCause, Incarnation};
use replank_common::ids::{BootId, GuestUuid, HostName, StepId};
use std::sync::Arc;

impl State {
    pub(super) fn on_baseline(
        &mut self,
        name: &HostName,
        boot_id: BootId,
        guests: &[Arc<Life>],
        at_ms: UnixMs,
    ) -> Result<(), IllegalEvent> {
        let host = self.known_host(name)?;
        self.not_finished("a baseline")?;
        if !self.hosts[host].baseline_due {
            return Err(IllegalEvent::Order { event: "a baseline", why: "the host has one" });
        }
        let state = &mut self.hosts[host];
        state.watch.get_or_insert_with(|| Watch::new(boot_id)).renew(boot_id, guests.to_vec(), at_ms);
        state.baseline_due = false;
        self.unbased.remove(&host);
        Ok(())
    }

    pub(super) fn on_appeared(
        &mut self,
        name: &HostName,
        life: &Life,
        at_ms: UnixMs,
    ) -> Result<(), IllegalEvent> {
        let watch = self.watch_mut(name)?;
        if watch.present_of(life.uuid).is_some() {
            return Err(IllegalEvent::Order {
                event: "a guest's appearance",
                why: "an earlier life of it has not ended",
            });
        }
        watch.join(Arc::new(life.clone()), at_ms, true);
        Ok(())
    }

    pub(super) fn on_left(
        &mut self,
        name: &HostName,
        guest: GuestUuid,
        incarnation: Incarnation,
        cause: &EndCause,
        left_ms: UnixMs,
    ) -> Result<(), IllegalEvent> {
        if !cause.is_owners_doing() {
            return Err(IllegalEvent::Order {
                event: "a guest's leaving",
                why: "its end is nobody's doing: it is lost",
            });
        }
        self.present_mut(name, guest, incarnation)?.fate =
            Fate::Left { cause: cause.clone(), at_ms: left_ms };
        Ok(())
    }

    pub(super) fn on_moved(
        &mut self,
        name: &HostName,
        guest: GuestUuid,
        incarnation: Incarnation,
        to: &HostName,
        at_ms: UnixMs,
    ) -> Result<(), IllegalEvent> {
        self.known_host(to)?;
        self.present_mut(name, guest, incarnation)?.fate = Fate::Moved { to: to.clone(), at_ms };
        Ok(())
    }

    pub(super) fn on_lost(
        &mut self,
        name: &HostName,
        (guest, incarnation): (GuestUuid, Incarnation),
        known: &str,
        died_at_ms: Option<UnixMs>,
        during: &[StepId],
        at_ms: UnixMs,
    ) -> Result<(), IllegalEvent> {
        let track = self.present_mut(name, guest, incarnation)?;
        track.fate = Fate::Lost { known: known.to_owned(), died_at_ms, recorded_at_ms: at_ms };
        let called = track.first.name.clone();
        self.unhalted += 1;
        self.open.push(OpenLoss {
            reason: HaltReason::GuestLost {
                host: name.clone(),
                guest,
                name: called.clone(),
                known: known.to_owned(),
                at_ms: died_at_ms.unwrap_or(at_ms),
            },
            guests: vec![(guest, called)],
            during: during.to_vec(),
            halted: false,
        });
        Ok(())
    }

    pub(super) fn on_twice(
        &mut self,
        guest: GuestUuid,
        name: &str,
        hosts: &[HostName],
        during: &[StepId],
    ) -> Result<(), IllegalEvent> {
        self.not_finished("a guest running twice")?;
        for host in hosts {
            self.known_host(host)?;
        }
        if hosts.len() < 2 {
            return Err(IllegalEvent::Order { event: "a guest running twice", why: "it is on one host" });
        }
        self.unhalted += 1;
        self.open.push(OpenLoss {
            reason: HaltReason::GuestTwice { guest, name: name.to_owned(), hosts: hosts.to_vec() },
            guests: vec![(guest, name.to_owned())],
            during: during.to_vec(),
            halted: false,
        });
        Ok(())
    }

    /// A reboot ends every guest of the host at once; a host without guests only gets its new boot id.
    pub(super) fn on_rebooted(
        &mut self,
        name: &HostName,
        boot_id: BootId,
        during: &[StepId],
        at_ms: UnixMs,
    ) -> Result<(), IllegalEvent> {
        let watch = self.watch_mut(name)?;
        if watch.boot_id == boot_id {
            return Err(IllegalEvent::Order { event: "a reboot", why: "the boot id is the same" });
        }
        watch.boot_id = boot_id;
        let mut guests = Vec::new();
        for lives in watch.guests.values_mut() {
            if let Some(track) = lives.last_mut().filter(|track| track.fate == Fate::Present) {
                let known = format!("{name} rebooted");
                track.fate = Fate::Lost { known, died_at_ms: None, recorded_at_ms: at_ms };
                guests.push((track.first.uuid, track.first.name.clone()));
            }
        }
        if !guests.is_empty() {
            let reason = HaltReason::HostRebooted { host: name.clone() };
            self.unhalted += 1;
            self.open.push(OpenLoss { reason, guests, during: during.to_vec(), halted: false });
        }
        Ok(())
    }

    pub(super) fn on_recounted(&mut self, name: &HostName, guests: &[Arc<Life>]) -> Result<(), IllegalEvent> {
        let host = self.known_host(name)?;
        match &self.course {
            Course::Closing { .. } => {}
            Course::Forward
            | Course::Guarding { .. }
            | Course::RollingBack { .. }
            | Course::Finished { .. } => {
                return Err(IllegalEvent::Order { event: "a last count", why: "the run is not closing" });
            }
        }
        if self.unclosed.contains(&host) || self.stopped() {
            return Err(IllegalEvent::Order {
                event: "a last count",
                why: "something is still to be done on the host",
            });
        }
        let watch = self.watch_mut(name)?;
        for life in guests {
            if let Some(track) = watch.present_mut(life.uuid, life.incarnation) {
                track.last = Some(life.clone());
            }
        }
        self.hosts[host].recounted = true;
        self.uncounted.remove(&host);
        Ok(())
    }

    /// The watch of a host that has its baseline, in a run that still watches.
    fn watch_mut(&mut self, name: &HostName) -> Result<&mut Watch, IllegalEvent> {
        self.not_finished("a guest's change")?;
        let host = self.known_host(name)?;
        let due = self.hosts[host].baseline_due;
        match &mut self.hosts[host].watch {
            Some(watch) if !due => Ok(watch),
            Some(_) | None => Err(IllegalEvent::NoBaseline { host: name.clone() }),
        }
    }

    fn present_mut(
        &mut self,
        name: &HostName,
        guest: GuestUuid,
        incarnation: Incarnation,
    ) -> Result<&mut Track, IllegalEvent> {
        self.watch_mut(name)?
            .present_mut(guest, incarnation)
            .ok_or_else(|| IllegalEvent::NotWatched { host: name.clone() })
    }
}
