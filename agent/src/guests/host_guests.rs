//! The guests of this host as one thing: the censuses taken so far, the ends that the watch saw, and how they go together.
//!
//! Every guest that was in a census and is not in the next has an entry in `ended`: by the watch, or, should the watch not
//! have seen it in time, as an end that nobody explains.

use super::Roots;
use super::attribution::WAIT_FOR_LIBVIRT_MS;
use super::census;
use super::usage::{self, Usage};
use super::version::Versions;
use crate::clock::now_ms;
use crate::guard::{self, Situation, Transaction};
use crate::host::command::Programs;
use crate::host::dirs::Directories;
use crate::host::{self};
use replank_common::UnixMs;
use replank_common::action::Action;
use replank_common::census::{Census, EndCause, GuestEnd, Incarnation};
use replank_common::finding::Finding;
use replank_common::ids::{BootId, GuestUuid, HostName};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::watch;
use uuid::Uuid;

/// How many ends a census carries.
const ENDED_MAX: usize = 1024;
/// How long a census waits for the watch to say why a guest of the last census is gone.
const WAIT_FOR_WATCH: Duration = Duration::from_millis(WAIT_FOR_LIBVIRT_MS + 300);

/// The guests of this host.
#[derive(Debug)]
pub struct HostGuests {
    host: HostName,
    boot_id: BootId,
    agent_start_ms: UnixMs,
    roots: Roots,
    directories: Directories,
    programs: Arc<dyn Programs>,
    versions: Versions,
    /// One census at a time, so that sequence numbers grow with time.
    taking: Mutex<()>,
    state: Mutex<State>,
    ended: Condvar,
    changes: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct State {
    sequence: u64,
    last: Option<Census>,
    last_settled_ms: Option<UnixMs>,
    /// Oldest first.
    ended: Vec<GuestEnd>,
    watched: bool,
    /// An end was recorded and not yet given out.
    has_news: bool,
}

impl HostGuests {
    /// # Errors
    /// The boot id cannot be read.
    pub fn new(
        host: HostName,
        roots: Roots,
        directories: Directories,
        programs: Arc<dyn Programs>,
    ) -> Result<Self, String> {
        let boot_id = boot_id(&roots.proc)?;
        Ok(Self {
            host,
            boot_id,
            agent_start_ms: now_ms(),
            roots,
            directories,
            programs,
            versions: Versions::default(),
            taking: Mutex::new(()),
            state: Mutex::new(State::default()),
            ended: Condvar::new(),
            changes: watch::Sender::new(0),
        })
    }

    pub fn host(&self) -> &HostName {
        &self.host
    }

    pub fn roots(&self) -> &Roots {
        &self.roots
    }

    pub fn boot_id(&self) -> BootId {
        self.boot_id
    }

    pub fn agent_start_ms(&self) -> UnixMs {
        self.agent_start_ms
    }

    /// Grows whenever a guest appeared or an end was recorded.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// When the last settled census was taken.
    pub fn last_census_ms(&self) -> Option<UnixMs> {
        self.state().last_settled_ms
    }

    /// The last census, without another look.
    pub fn last_census(&self) -> Option<Census> {
        self.state().last.clone()
    }

    /// What guests use now.
    ///
    /// # Errors
    /// What cannot be read, so that nothing can be said.
    pub fn usage(&self) -> Result<Usage, String> {
        usage::collect(&self.roots, self.directories.root())
    }

    /// Takes a settled census. Blocking, for about two seconds at most.
    pub fn take(&self) -> Census {
        let _one = self.taking.lock().unwrap_or_else(PoisonError::into_inner);
        let (seen, compared) = census::take(&self.roots, self.boot_id, &self.versions, &*self.programs);
        let mut state = self.state();
        let guests = compared.guests;
        let gone = |state: &State| -> Vec<GuestEnd> {
            let Some(last) = &state.last else { return Vec::new() };
            last.guests
                .values()
                .filter(|guest| {
                    guests.get(&guest.uuid).is_none_or(|now| now.incarnation != guest.incarnation)
                })
                .filter(|guest| !has_ended(&state.ended, guest.uuid, guest.incarnation))
                .map(|guest| unexplained(guest.uuid, &guest.name, guest.incarnation))
                .collect()
        };
        if seen.processes.is_ok() {
            let until = Instant::now() + WAIT_FOR_WATCH;
            while state.watched && !gone(&state).is_empty() && Instant::now() < until {
                let left = until.saturating_duration_since(Instant::now());
                state = self.ended.wait_timeout(state, left).unwrap_or_else(PoisonError::into_inner).0;
            }
            for end in gone(&state) {
                push(&mut state.ended, end);
            }
        }
        // The sources may have been read before an end that is recorded by now.
        let ended = state.ended.clone();
        let guests =
            guests.into_iter().filter(|(uuid, guest)| !has_ended(&ended, *uuid, guest.incarnation)).collect();
        state.sequence += 1;
        let census = Census {
            host: self.host.clone(),
            boot_id: self.boot_id,
            sequence: state.sequence,
            agent_start_ms: self.agent_start_ms,
            taken_at_ms: now_ms(),
            guests,
            ended,
            disagreements: compared.disagreements,
        };
        state.last_settled_ms = Some(census.taken_at_ms);
        state.last = Some(census.clone());
        census
    }

    /// The last census with the ends recorded since, without another look at the sources: what is sent at once when a
    /// guest ends. `None` before the first census.
    pub fn report(&self) -> Option<Census> {
        let mut state = self.state();
        let mut census = state.last.clone()?;
        state.sequence += 1;
        census.sequence = state.sequence;
        census.taken_at_ms = now_ms();
        census.ended = state.ended.clone();
        census.guests.retain(|uuid, guest| !has_ended(&census.ended, *uuid, guest.incarnation));
        state.last = Some(census.clone());
        Some(census)
    }

    /// What to give out when [`HostGuests::changes`] tells of a change: after an end the report of it, at once, and a settled
    /// census with the next change, which is told right away; else a settled census. Blocking.
    pub fn news(&self) -> Census {
        let has_news = std::mem::take(&mut self.state().has_news);
        let report = if has_news { self.report() } else { None };
        match report {
            Some(report) => {
                self.changed();
                report
            }
            None => self.take(),
        }
    }

    /// What the agent's watch has to follow: the guests of the last census.
    pub(super) fn in_census(&self) -> BTreeMap<Incarnation, (GuestUuid, String)> {
        let state = self.state();
        let guests = state.last.iter().flat_map(|census| census.guests.values());
        guests.map(|guest| (guest.incarnation, (guest.uuid, guest.name.clone()))).collect()
    }

    /// From now on a watch explains ends.
    pub(super) fn set_watched(&self) {
        self.state().watched = true;
    }

    /// Records an end, or corrects the cause of one that is recorded. Ends of processes that no census ever listed are not
    /// recorded: they were no guests.
    pub(super) fn record(&self, end: GuestEnd) -> bool {
        let mut state = self.state();
        let known = state.ended.iter_mut().find(|known| is_same(known, end.uuid, end.incarnation));
        match known {
            Some(known) if known.cause == end.cause => return false,
            Some(known) => known.cause = end.cause,
            None => {
                let listed = state.last.as_ref().and_then(|census| census.guests.get(&end.uuid));
                if listed.is_none_or(|guest| guest.incarnation != end.incarnation) {
                    return false;
                }
                push(&mut state.ended, end);
            }
        }
        state.has_news = true;
        drop(state);
        self.ended.notify_all();
        self.changed();
        true
    }

    /// Tells those who wait for changes.
    pub(super) fn changed(&self) {
        self.changes.send_modify(|generation| *generation += 1);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl host::Guests for HostGuests {
    fn census(&self) -> Census {
        self.take()
    }

    fn usage(&self) -> Result<Usage, String> {
        self.usage()
    }

    fn judge(&self, transaction: &Transaction) -> Result<Vec<Finding>, String> {
        let usage = self.usage()?;
        let root = self.directories.root();
        let kept = guard::kept(root, &self.directories.retained())?;
        let situation = Situation {
            host: &self.host,
            usage: &usage,
            kept: &kept,
            resolve: &|path| guard::resolve_below(root, path),
            follow: &|path| guard::follow_below(root, path),
        };
        Ok(guard::judge(transaction, &situation))
    }

    fn judge_action(&self, action: &Action) -> Result<Vec<Finding>, String> {
        let usage = if guard::needs_usage(action) { self.usage()? } else { Usage::default() };
        let root = self.directories.root();
        let mut findings =
            guard::judge_action(&self.host, action, &usage, &|path| guard::resolve_below(root, path));
        if guard::needs_agreement(action) {
            findings.extend(guard::of_census(&self.take()));
        }
        Ok(findings)
    }
}

fn is_same(end: &GuestEnd, uuid: GuestUuid, incarnation: Incarnation) -> bool {
    end.uuid == uuid && end.incarnation == incarnation
}

fn has_ended(ended: &[GuestEnd], uuid: GuestUuid, incarnation: Incarnation) -> bool {
    ended.iter().any(|end| is_same(end, uuid, incarnation))
}

fn push(ended: &mut Vec<GuestEnd>, end: GuestEnd) {
    if ended.len() == ENDED_MAX {
        ended.remove(0);
    }
    ended.push(end);
}

fn unexplained(uuid: GuestUuid, name: &str, incarnation: Incarnation) -> GuestEnd {
    let known = "it was gone between two looks, and nobody said why".to_owned();
    GuestEnd {
        uuid,
        name: name.to_owned(),
        incarnation,
        at_ms: now_ms(),
        cause: EndCause::Unattributed { known },
    }
}

fn boot_id(proc: &Path) -> Result<BootId, String> {
    let path = proc.join("sys/kernel/random/boot_id");
    let text = std::fs::read_to_string(&path)
        .map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    Uuid::parse_str(text.trim()).map(BootId).map_err(|_| format!("{} holds no uuid", path.display()))
}
