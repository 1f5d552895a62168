//! What became of the records.

use std::fmt;

use super::found::{Found, Lane, count};
use super::log::Log;

/// No lane pauses for so long between an acknowledgement and the next record, or its end. Milliseconds.
const PAUSE_MS: u64 = 5_000;

/// The longest time that a record was under way, or that a lane did nothing, where that is longer than it pauses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// Where: an image, a pool, a file system or a bucket.
    pub place: String,
    /// The lane.
    pub lane: u32,
    /// When the record was sent, or the one before was acknowledged, in microseconds of the epoch.
    pub from_us: u64,
    /// How long it was.
    pub ms: u64,
}

/// What was written, acknowledged, and is there.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Verdict {
    /// Records that are there, whole.
    pub written: u64,
    /// Records that the cluster has acknowledged.
    pub acknowledged: u64,
    /// Acknowledged, and not there: place, lane and number.
    pub lost: Vec<(String, u32, u64)>,
    /// There, and the one before it in the lane is not, though that one was acknowledged before this was sent.
    pub reordered: Vec<(String, u32, u64)>,
    /// Places that hold something else than their record.
    pub torn: u64,
    /// What was refused, and lanes that did not end as they were told.
    pub errors: Vec<String>,
    /// The longest stall of each place.
    pub stalls: Vec<Stall>,
}

impl Verdict {
    /// Compares what the client was told with what is there.
    #[must_use]
    pub fn of(log: &Log, found: &Found) -> Self {
        let mut verdict = Self { errors: log.errors.clone(), ..Self::default() };
        for lane in &found.lanes {
            verdict.add(log, lane);
        }
        verdict
    }

    fn add(&mut self, log: &Log, lane: &Lane) {
        let name = |number: u64| (lane.place.clone(), lane.lane, number);
        self.written += lane.written();
        self.torn += count(&lane.torn);
        self.acknowledged += u64::try_from(log.of(lane.lane).count()).unwrap_or(u64::MAX);
        self.lost
            .extend(log.of(lane.lane).map(|ack| ack.number).filter(|number| !lane.has(*number)).map(name));
        self.reordered.extend(lane.without_predecessor().map(name));
        let ended = log.ends.iter().find(|(of, _)| *of == lane.lane).map(|(_, at)| *at);
        if ended.is_none() {
            self.errors.push(format!("lane {} of {} did not end as it was told to", lane.lane, lane.place));
        }
        // The time from an acknowledgement to the next record, or to the end of the lane, counts too where the lane may have hung there.
        let acks: Vec<_> = log.of(lane.lane).collect();
        let sent = acks.iter().skip(1).map(|ack| ack.issued_us).chain(ended);
        let idle = acks.iter().map(|ack| ack.acked_us).zip(sent);
        let under_way = acks.iter().map(|ack| (ack.issued_us, ack.acked_us));
        let length = |(from, to): (u64, u64)| (from, to.saturating_sub(from) / 1000);
        let times = under_way.map(length).chain(idle.map(length).filter(|(_, ms)| *ms > PAUSE_MS));
        for (from_us, ms) in times {
            let stall = Stall { place: lane.place.clone(), lane: lane.lane, from_us, ms };
            match self.stalls.iter_mut().find(|known| known.place == stall.place) {
                Some(known) if known.ms < stall.ms => *known = stall,
                Some(_) => {}
                None => self.stalls.push(stall),
            }
        }
    }

    /// The longest stall of all.
    #[must_use]
    pub fn longest_stall(&self) -> Option<&Stall> {
        self.stalls.iter().max_by_key(|stall| stall.ms)
    }

    /// Whether the client got all that it was promised.
    ///
    /// # Errors
    /// Says what it did not get.
    pub fn sound(&self) -> Result<(), String> {
        let kept =
            self.lost.is_empty() && self.reordered.is_empty() && self.torn == 0 && self.errors.is_empty();
        if kept && self.acknowledged > 0 { Ok(()) } else { Err(self.to_string()) }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "writes on disk: {}", self.written)?;
        writeln!(f, "writes acknowledged: {}", self.acknowledged)?;
        writeln!(f, "writes lost: {}{}", self.lost.len(), first_of(&self.lost))?;
        writeln!(f, "writes reordered: {}{}", self.reordered.len(), first_of(&self.reordered))?;
        writeln!(f, "writes torn: {}", self.torn)?;
        for stall in &self.stalls {
            let Stall { place, lane, from_us, ms } = stall;
            let (seconds, millis) = (from_us / 1_000_000, from_us / 1000 % 1000);
            writeln!(f, "longest stall of {place}: {ms} ms (lane {lane}, from {seconds}.{millis:03})")?;
        }
        self.errors.iter().try_for_each(|error| writeln!(f, "client's error: {error}"))
    }
}

fn first_of(records: &[(String, u32, u64)]) -> String {
    records.first().map_or_else(String::new, |(place, lane, number)| {
        format!(" (the first: record {number} of lane {lane} of {place})")
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ceph::Ack;

    /// One lane whose records 1 to 5 were acknowledged a tenth of a second apart.
    fn log() -> Log {
        let ack = |number: u64| Ack {
            lane: 0,
            number,
            issued_us: number * 100_000 - 5_000,
            acked_us: number * 100_000,
        };
        Log { acks: (1..=5).map(ack).collect(), errors: Vec::new(), ends: vec![(0, 510_000)] }
    }

    fn found(whole: &[(u64, u64)], torn: &[(u64, u64)]) -> Found {
        let lane = Lane { place: "p/i".to_owned(), lane: 0, whole: whole.to_vec(), torn: torn.to_vec() };
        Found { lanes: vec![lane] }
    }

    fn record(number: u64) -> (String, u32, u64) {
        ("p/i".to_owned(), 0, number)
    }

    #[test]
    fn all_that_was_acknowledged_is_there() {
        let verdict = Verdict::of(&log(), &found(&[(1, 5)], &[]));
        assert_eq!((verdict.written, verdict.acknowledged, verdict.sound()), (5, 5, Ok(())));
        let stall = verdict.longest_stall().unwrap();
        assert_eq!((stall.ms, stall.from_us), (5, 95_000));
    }

    #[test]
    fn one_more_on_disk_than_acknowledged_is_fine() {
        assert!(Verdict::of(&log(), &found(&[(1, 6)], &[])).sound().is_ok());
    }

    #[test]
    fn a_lost_tail_is_lost_and_not_reordered() {
        let verdict = Verdict::of(&log(), &found(&[(1, 3)], &[]));
        assert_eq!((verdict.lost.as_slice(), verdict.reordered.len()), (&[record(4), record(5)][..], 0));
        assert!(
            verdict.sound().unwrap_err().contains("writes lost: 2 (the first: record 4 of lane 0 of p/i)")
        );
    }

    #[test]
    fn a_hole_is_a_loss_and_what_follows_it_is_reordered() {
        let verdict = Verdict::of(&log(), &found(&[(1, 2), (4, 5)], &[]));
        assert_eq!((verdict.lost, verdict.reordered), (vec![record(3)], vec![record(4)]));
        // Nothing acknowledged is missing, and still the order is wrong: 8 came to disk and 6 and 7 did not.
        let verdict = Verdict::of(&log(), &found(&[(1, 5), (8, 8)], &[]));
        assert_eq!((verdict.lost.len(), verdict.reordered.as_slice()), (0, &[record(8)][..]));
        assert!(verdict.sound().is_err());
    }

    #[test]
    fn another_record_in_its_place_is_torn_and_lost() {
        let verdict = Verdict::of(&log(), &found(&[(1, 4)], &[(5, 5)]));
        assert_eq!((verdict.lost, verdict.torn), (vec![record(5)], 1));
    }

    #[test]
    fn a_stall_is_the_time_of_a_record_and_not_the_pause_before_it() {
        let mut late = log();
        late.acks[3].issued_us = 320_000;
        let stall = Verdict::of(&late, &found(&[(1, 5)], &[])).longest_stall().unwrap().clone();
        assert_eq!((stall.ms, stall.from_us), (80, 320_000));
    }

    #[test]
    fn a_lane_that_hung_until_its_end_has_stalled() {
        let late = Log { ends: vec![(0, 9_500_000)], ..log() };
        assert_eq!(Verdict::of(&late, &found(&[(1, 5)], &[])).longest_stall().unwrap().ms, 9_000);
        let killed = Log { ends: Vec::new(), ..log() };
        assert!(Verdict::of(&killed, &found(&[(1, 5)], &[])).sound().unwrap_err().contains("did not end"));
    }

    #[test]
    fn a_client_that_never_wrote_proves_nothing() {
        let log = Log { acks: Vec::new(), ..log() };
        assert!(Verdict::of(&log, &found(&[], &[])).sound().is_err());
    }
}
