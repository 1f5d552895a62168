//! The guests that a run answers for: every life, from the first census that counted it to its end.

use crate::run::event::Life;
use replank_common::UnixMs;
use replank_common::census::{EndCause, Incarnation};
use replank_common::ids::{BootId, GuestUuid, HostName};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What became of one life of a guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Running, as far as the journal knows.
    Present,
    /// Ended by its owner.
    Left { cause: EndCause, at_ms: UnixMs },
    /// Moved by the run to the host that the plan named.
    Moved { to: HostName, at_ms: UnixMs },
    /// Gone, and nobody's doing explains it (P1).
    Lost { known: String, died_at_ms: Option<UnixMs>, recorded_at_ms: UnixMs },
    /// Gone between two voyages of the run, while no run watched.
    Unwatched,
}

/// One life of a guest on one host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Track {
    pub first: Arc<Life>,
    pub since_ms: UnixMs,
    /// Started during the run instead of being there before it.
    pub appeared: bool,
    /// As the last count saw it.
    pub last: Option<Arc<Life>>,
    pub fate: Fate,
}

/// The guests of one host since its baseline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Watch {
    pub boot_id: BootId,
    /// By uuid, the oldest life first; only the last one can be present.
    pub guests: BTreeMap<GuestUuid, Vec<Track>>,
}

impl Watch {
    pub(super) fn new(boot_id: BootId) -> Self {
        Self { boot_id, guests: BTreeMap::new() }
    }

    /// The lives that the run answers for now.
    pub fn present(&self) -> impl Iterator<Item = &Track> {
        self.guests.values().filter_map(|lives| lives.last()).filter(|track| track.fate == Fate::Present)
    }

    pub(super) fn present_mut(&mut self, uuid: GuestUuid, incarnation: Incarnation) -> Option<&mut Track> {
        self.guests
            .get_mut(&uuid)?
            .last_mut()
            .filter(|track| track.fate == Fate::Present && track.first.incarnation == incarnation)
    }

    /// Whether the run answers for this life.
    pub fn watches(&self, uuid: GuestUuid, incarnation: Incarnation) -> bool {
        self.present_of(uuid).is_some_and(|track| track.first.incarnation == incarnation)
    }

    pub fn present_of(&self, uuid: GuestUuid) -> Option<&Track> {
        self.guests.get(&uuid)?.last().filter(|track| track.fate == Fate::Present)
    }

    pub(super) fn join(&mut self, life: Arc<Life>, since_ms: UnixMs, appeared: bool) {
        let track = Track { first: life, since_ms, appeared, last: None, fate: Fate::Present };
        // Nearly every guest has one life.
        self.guests.entry(track.first.uuid).or_insert_with(|| Vec::with_capacity(1)).push(track);
    }

    /// A new baseline over an older one: the same lives go on, others ended while nobody watched.
    pub(super) fn renew(&mut self, boot_id: BootId, guests: Vec<Arc<Life>>, now_ms: UnixMs) {
        self.boot_id = boot_id;
        let there: BTreeMap<GuestUuid, Incarnation> =
            guests.iter().map(|life| (life.uuid, life.incarnation)).collect();
        for (uuid, lives) in &mut self.guests {
            if let Some(track) = lives.last_mut()
                && track.fate == Fate::Present
                && there.get(uuid) != Some(&track.first.incarnation)
            {
                track.fate = Fate::Unwatched;
            }
        }
        for life in guests {
            if !self.watches(life.uuid, life.incarnation) {
                self.join(life, now_ms, false);
            }
        }
    }
}
