//! What this coordinator process has seen and no journal keeps: links, the newest censuses, open questions. Lost on a restart, and then asked
//! for again.

use crate::gate::LinkSeen;
use crate::run::event::When;
use replank_ceph::seen::{ANSWER_MS, LOOKING_MS};
use replank_common::UnixMs;
use replank_common::census::{Census, GuestState, Incarnation};
use replank_common::ids::{ActionId, GuestUuid};
use replank_common::reading::{Reading, ReadingRequest};
use std::collections::{BTreeMap, BTreeSet};

use crate::gate::WaitReason;

/// An answer older than this does not count, unless it took long ([`max_reading_age_ms`]): the gates of one step must pass within one such
/// span. Milliseconds.
pub const MAX_READING_AGE_MS: u64 = 30_000;
/// A question without an answer is asked again after this long, unless it takes longer by its nature. Milliseconds.
pub const READING_DEADLINE_MS: u64 = 15_000;
/// What did not pass is measured again after this long. Milliseconds.
pub const RECHECK_MS: u64 = 2_000;
/// A missing answer is worth a record only after this long. Milliseconds.
pub const NOTE_AFTER_MS: u64 = 5_000;
/// Causes that take turns are recorded at most this often for one step. Milliseconds.
pub const NOTE_EVERY_MS: u64 = 30_000;

/// How long an answer to `request` may take before it is asked for again. Milliseconds.
pub fn reading_deadline_ms(request: &ReadingRequest) -> u64 {
    if request.is_of_a_cluster() { ANSWER_MS } else { READING_DEADLINE_MS }
}

/// How old an answer to `request` may be that took `took_ms`. Milliseconds.
///
/// Where answers take longer than they may be old, one is asked for anew before the other has come, and they count together by chance alone. So
/// one of a cluster may be older by as long as it took, which an agent bounds by [`ANSWER_MS`]. What a stop may not be based on for so long, the agent asks of
/// the cluster itself, right before it. What is asked of a host alone takes no such time, and guests come and go there: it may not.
pub fn max_reading_age_ms(request: &ReadingRequest, took_ms: u64) -> u64 {
    let longer_ms = if request.is_of_a_cluster() { took_ms.min(ANSWER_MS) } else { 0 };
    MAX_READING_AGE_MS + longer_ms
}

/// How long an answer to `request` takes by its nature, so that its absence is worth no record before. Milliseconds.
pub(in crate::run) fn measuring_ms(request: &ReadingRequest) -> u64 {
    if matches!(request, ReadingRequest::CephSettle { .. }) { LOOKING_MS } else { 0 }
}

/// A linked host from which no census came for this long is asked for one: an agent tells of each change, but what it told may be
/// lost. Milliseconds.
pub const WATCH_MS: u64 = 30_000;
/// An aborted run waits this long for a host that cannot be heard before it ends without its count. Milliseconds.
pub const ABORT_PATIENCE_MS: u64 = 300_000;

/// Who waits for an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::run) enum Asker {
    /// The gates of this host's step.
    Gates(usize),
    /// The baseline or the last count of this host.
    Count(usize),
    /// The watch over this host's guests: a census that is not older than [`WATCH_MS`].
    Watch(usize),
    /// The suspicion that this guest runs twice.
    Twice(GuestUuid),
}

/// One measurement wanted of one host.
#[derive(Debug, Clone)]
pub(in crate::run) struct Question {
    pub(in crate::run) ask: u64,
    pub(in crate::run) asked_ms: UnixMs,
    pub(in crate::run) answer: Option<Answer>,
    pub(in crate::run) askers: BTreeSet<Asker>,
}

#[derive(Debug, Clone)]
pub(in crate::run) struct Answer {
    pub(in crate::run) reading: Reading,
    pub(in crate::run) received_ms: UnixMs,
    /// From the question to the answer.
    pub(in crate::run) took_ms: u64,
}

impl Answer {
    pub(in crate::run) fn is_old(&self, now_ms: UnixMs) -> bool {
        let age_ms = now_ms.saturating_sub(self.received_ms);
        age_ms > max_reading_age_ms(&self.reading.request, self.took_ms)
    }
}

/// The gates of a step being asked.
#[derive(Debug, Clone)]
pub(in crate::run) struct Asking {
    pub(in crate::run) step: usize,
    pub(in crate::run) when: When,
    /// Answers to earlier questions than this do not count.
    pub(in crate::run) mark: u64,
    pub(in crate::run) begun_ms: UnixMs,
    /// When a record of a wait was last written.
    pub(in crate::run) noted_ms: Option<UnixMs>,
    /// The newest reason, with its detail.
    pub(in crate::run) latest: Option<WaitReason>,
}

/// A guest in the newest census of a host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::run) struct SeenGuest {
    pub(in crate::run) name: String,
    pub(in crate::run) incarnation: Incarnation,
    /// Paused by a migration: the other end may run it.
    pub(in crate::run) migrating: bool,
}

#[derive(Debug, Clone)]
pub(in crate::run) struct CensusSeen {
    pub(in crate::run) sequence: u64,
    pub(in crate::run) received_ms: UnixMs,
    pub(in crate::run) disagreements: Vec<String>,
    pub(in crate::run) guests: BTreeMap<GuestUuid, SeenGuest>,
}

impl CensusSeen {
    pub(in crate::run) fn of(census: &Census, received_ms: UnixMs) -> Self {
        let seen = |guest: &replank_common::census::Guest| SeenGuest {
            name: guest.name.clone(),
            incarnation: guest.incarnation,
            migrating: is_migrating(&guest.state),
        };
        Self {
            sequence: census.sequence,
            received_ms,
            disagreements: census.disagreements.iter().map(ToString::to_string).collect(),
            guests: census.guests.iter().map(|(uuid, guest)| (*uuid, seen(guest))).collect(),
        }
    }
}

/// libvirt keeps a guest paused with a reason such as `migration` on the end that does not run it.
fn is_migrating(state: &GuestState) -> bool {
    match state {
        GuestState::Paused(reason) => reason.starts_with("migrat"),
        GuestState::Running | GuestState::Other(_) | GuestState::Unknown => false,
    }
}

/// How far the agent says that its action is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::run) struct ProgressSeen {
    pub(in crate::run) permille: Option<u32>,
    pub(in crate::run) text: String,
}

#[derive(Debug, Clone)]
pub(in crate::run) struct HostSeen {
    pub(in crate::run) link: LinkSeen,
    pub(in crate::run) link_since_ms: UnixMs,
    pub(in crate::run) agent_start_ms: Option<UnixMs>,
    pub(in crate::run) observe_only: bool,
    pub(in crate::run) census: Option<CensusSeen>,
    pub(in crate::run) questions: BTreeMap<ReadingRequest, Question>,
    pub(in crate::run) asking: Option<Asking>,
    /// Answers to earlier questions do not count for the last count.
    pub(in crate::run) count_mark: Option<u64>,
    /// Answers to earlier questions do not count for the watch; `None`: nothing is asked for it.
    pub(in crate::run) watch_mark: Option<u64>,
    /// Since when this process has known the command in flight.
    pub(in crate::run) flight_since: Option<(ActionId, UnixMs)>,
    pub(in crate::run) accepted: bool,
    pub(in crate::run) progress: Option<ProgressSeen>,
    pub(in crate::run) wake_ms: Option<UnixMs>,
}

impl HostSeen {
    pub(in crate::run) fn new() -> Self {
        Self {
            link: LinkSeen::Down { since_ms: None },
            link_since_ms: 0,
            agent_start_ms: None,
            observe_only: false,
            census: None,
            questions: BTreeMap::new(),
            asking: None,
            count_mark: None,
            watch_mark: None,
            flight_since: None,
            accepted: false,
            progress: None,
            wake_ms: None,
        }
    }

    pub(in crate::run) fn is_up(&self) -> bool {
        self.link == LinkSeen::Up
    }

    /// Whether it cannot be told that the host's guests are well: that takes a link, and a census that came over it and agrees. One from
    /// before the link tells nothing of the time between.
    pub(in crate::run) fn is_blind(&self) -> bool {
        let since_link = self.census.as_ref().filter(|census| census.received_ms >= self.link_since_ms);
        !self.is_up() || since_link.is_none_or(|census| !census.disagreements.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An agent ends a question to a cluster when [`ANSWER_MS`] have passed and not before; asked again earlier, it would have two at work.
    #[test]
    fn a_cluster_is_not_asked_again_while_an_agent_may_still_be_asking_it() {
        let version = replank_common::version::Version::new("16.2.15");
        for request in [
            ReadingRequest::CephStop { osds: vec![1] },
            ReadingRequest::CephSettle { osds: vec![1], version },
            ReadingRequest::CephMap,
            ReadingRequest::CephGroups,
            ReadingRequest::CephCluster,
        ] {
            assert!(reading_deadline_ms(&request) >= ANSWER_MS, "{request:?}");
        }
    }
}
