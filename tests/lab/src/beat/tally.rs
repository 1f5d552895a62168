//! Arrivals of beats, and what they tell of each guest. Pure: time comes with the arrivals.

use std::collections::{BTreeMap, VecDeque};
use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

/// Beats kept per guest for questions about a window: two hours at 100 Hz. Older ones count in the totals alone.
const KEPT: usize = 720_000;
/// Sources remembered per guest, the newest.
const SOURCES: usize = 64;

/// One beat as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Arrival {
    /// The guest's number in the lab.
    pub guest: u8,
    /// Beats since that guest's boot sector started, 28 bits wide.
    pub count: u32,
    /// When the kernel took the datagram, in nanoseconds since the epoch.
    pub at_ns: i64,
    /// Whence: a qemu process keeps its port for life.
    pub source: SocketAddr,
}

#[derive(Debug, Clone, Copy)]
struct Kept {
    at_ns: i64,
    restarted: bool,
    twice: bool,
}

#[derive(Debug)]
struct Track {
    kept: VecDeque<Kept>,
    report: GuestReport,
    last_ns: i64,
    sources: VecDeque<SocketAddr>,
}

/// All that is known of one guest since it was first heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestReport {
    /// The guest's number in the lab.
    pub guest: u8,
    /// Beats that arrived.
    pub beats: u64,
    /// The count of the newest.
    pub last_count: u32,
    /// When the newest arrived, in milliseconds since the epoch.
    pub last_at_ms: i64,
    /// How long it has been silent at the time of the report, in milliseconds.
    pub silent_ms: i64,
    /// The longest time between two beats, in milliseconds.
    pub longest_gap_ms: i64,
    /// When that gap began, in milliseconds since the epoch.
    pub longest_gap_at_ms: i64,
    /// How often the count went back: each is a new life of the guest.
    pub restarts: u32,
    /// Beats whose number never arrived: the guest went on, the datagram was lost.
    pub missed: u64,
    /// How many processes sent beats of this guest: a new one comes with a restart or a migration.
    pub sources: u32,
    /// Beats from a process after another one had already spoken for the guest: it runs twice.
    pub twice: u64,
}

/// What one guest did in a window of time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// Beats that arrived in it.
    pub beats: u64,
    /// The longest silence that reaches into the window, in milliseconds: from the beat before to the beat after
    /// it, or to the window's end.
    pub longest_gap_ms: i64,
    /// Silence at the window's end, in milliseconds: from the last beat in or before it.
    pub silent_at_end_ms: i64,
    /// New lives that began in it.
    pub restarts: u32,
    /// Beats in it that show the guest to run twice.
    pub twice: u64,
    /// False when the window reaches back to before the first beat kept: the figures are then of its part from
    /// there on.
    pub complete: bool,
}

/// From when a silence counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// A gap of at least this many milliseconds is a pause.
    pub pause_ms: i64,
    /// Silence of at least this many milliseconds up to the window's end is a loss.
    pub lost_ms: i64,
}

impl Default for Limits {
    fn default() -> Self {
        // Fifty missed ticks: no busy test machine holds a guest back for so long. And a loss is ten pauses.
        Self { pause_ms: 500, lost_ms: 5_000 }
    }
}

/// What happened to a guest in a window, the worst first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "what")]
pub enum Judgement {
    /// No beat in the window or before it: nothing can be told.
    Unheard,
    /// Two processes sent its beats in turn.
    Twice,
    /// Silent up to the window's end.
    Lost {
        /// For so long, in milliseconds.
        silent_ms: i64,
    },
    /// Its count began again.
    Restarted {
        /// So many times.
        times: u32,
    },
    /// It stood still, and went on with the next number.
    Paused {
        /// For so long at most, in milliseconds.
        gap_ms: i64,
    },
    /// It beat all the time.
    Beating,
}

impl Window {
    /// Judges the window by these limits.
    #[must_use]
    pub fn judge(&self, limits: Limits) -> Judgement {
        if self.twice > 0 {
            Judgement::Twice
        } else if self.silent_at_end_ms >= limits.lost_ms {
            Judgement::Lost { silent_ms: self.silent_at_end_ms }
        } else if self.restarts > 0 {
            Judgement::Restarted { times: self.restarts }
        } else if self.longest_gap_ms >= limits.pause_ms {
            Judgement::Paused { gap_ms: self.longest_gap_ms }
        } else {
            Judgement::Beating
        }
    }
}

/// The arrivals of all guests of a lab.
#[derive(Debug, Default)]
pub struct Tally {
    guests: BTreeMap<u8, Track>,
}

impl Tally {
    /// Takes one beat. Beats of a guest are expected in the order of their arrival.
    pub fn record(&mut self, beat: Arrival) {
        let Some(track) = self.guests.get_mut(&beat.guest) else {
            self.guests.insert(beat.guest, Track::begin(beat));
            return;
        };
        track.record(beat);
    }

    /// The numbers of the guests heard so far.
    #[must_use]
    pub fn heard(&self) -> Vec<u8> {
        self.guests.keys().copied().collect()
    }

    /// Everything known of a guest; none when it was never heard.
    #[must_use]
    pub fn report(&self, guest: u8, now_ns: i64) -> Option<GuestReport> {
        let track = self.guests.get(&guest)?;
        Some(GuestReport { silent_ms: to_ms(now_ns - track.last_ns), ..track.report.clone() })
    }

    /// What a guest did between two times; none when it had not been heard by the end.
    #[must_use]
    pub fn between(&self, guest: u8, from_ns: i64, to_ns: i64) -> Option<Window> {
        let kept = &self.guests.get(&guest)?.kept;
        let begin = kept.partition_point(|beat| beat.at_ns < from_ns);
        let end = kept.partition_point(|beat| beat.at_ns <= to_ns);
        if end == 0 {
            return None;
        }
        let before = begin.checked_sub(1).and_then(|index| kept.get(index));
        let mut window = Window {
            beats: 0,
            longest_gap_ms: 0,
            silent_at_end_ms: 0,
            restarts: 0,
            twice: 0,
            complete: before.is_some(),
        };
        // A guest that had not spoken before was not silent: it was not there, or its beats are kept no longer.
        let mut last_ns = before.or_else(|| kept.get(begin)).map_or(from_ns, |beat| beat.at_ns);
        let mut longest_ns = 0;
        for beat in kept.range(begin.min(end)..end) {
            longest_ns = longest_ns.max(beat.at_ns - last_ns);
            last_ns = beat.at_ns;
            window.beats += 1;
            window.restarts += u32::from(beat.restarted);
            window.twice += u64::from(beat.twice);
        }
        // The gap that the window's end cuts is known to its other side if a beat came later.
        let after_ns = kept.get(end).map_or(to_ns, |beat| beat.at_ns);
        window.longest_gap_ms = to_ms(longest_ns.max(after_ns - last_ns));
        window.silent_at_end_ms = to_ms(to_ns - last_ns);
        Some(window)
    }

    /// The judgement of a window, [`Judgement::Unheard`] included.
    #[must_use]
    pub fn judge(&self, guest: u8, from_ns: i64, to_ns: i64, limits: Limits) -> Judgement {
        self.between(guest, from_ns, to_ns).map_or(Judgement::Unheard, |window| window.judge(limits))
    }
}

impl Track {
    fn begin(beat: Arrival) -> Self {
        Self {
            kept: VecDeque::from([Kept { at_ns: beat.at_ns, restarted: false, twice: false }]),
            report: GuestReport {
                guest: beat.guest,
                beats: 1,
                last_count: beat.count,
                last_at_ms: to_ms(beat.at_ns),
                silent_ms: 0,
                longest_gap_ms: 0,
                longest_gap_at_ms: to_ms(beat.at_ns),
                restarts: 0,
                missed: 0,
                sources: 1,
                twice: 0,
            },
            last_ns: beat.at_ns,
            sources: VecDeque::from([beat.source]),
        }
    }

    fn record(&mut self, beat: Arrival) {
        // The newest source speaks; an older one that speaks again did not end when the newest began.
        let current = self.sources.back() == Some(&beat.source);
        let twice = !current && self.sources.contains(&beat.source);
        if !current && !twice {
            self.sources.push_back(beat.source);
            self.report.sources += 1;
            if self.sources.len() > SOURCES {
                self.sources.pop_front();
            }
        }
        let restarted = !twice && beat.count <= self.report.last_count;
        let gap_ms = to_ms(beat.at_ns - self.last_ns);
        let report = &mut self.report;
        if gap_ms > report.longest_gap_ms {
            (report.longest_gap_ms, report.longest_gap_at_ms) = (gap_ms, to_ms(self.last_ns));
        }
        if !twice {
            if !restarted {
                report.missed += u64::from(beat.count - report.last_count - 1);
            }
            report.last_count = beat.count;
        }
        report.beats += 1;
        report.restarts += u32::from(restarted);
        report.twice += u64::from(twice);
        report.last_at_ms = to_ms(beat.at_ns);
        self.last_ns = beat.at_ns;
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.kept.push_back(Kept { at_ns: beat.at_ns, restarted, twice });
    }
}

fn to_ms(ns: i64) -> i64 {
    ns / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: i64 = 1_000_000;

    fn source(port: u16) -> SocketAddr {
        SocketAddr::from(([10, 77, 0, 11], port))
    }

    /// Beats `counts` of guest 7, 10 ms apart, from `start_ms` on; gives the time of the last.
    fn beats(tally: &mut Tally, start_ms: i64, counts: std::ops::Range<u32>, port: u16) -> i64 {
        let mut at_ms = start_ms;
        for (step, count) in counts.enumerate() {
            at_ms = start_ms + 10 * i64::try_from(step).unwrap();
            tally.record(Arrival { guest: 7, count, at_ns: at_ms * MS, source: source(port) });
        }
        at_ms
    }

    fn judge(tally: &Tally, from_ms: i64, to_ms: i64) -> Judgement {
        tally.judge(7, from_ms * MS, to_ms * MS, Limits { pause_ms: 300, lost_ms: 2_000 })
    }

    #[test]
    fn a_guest_that_beats() {
        let mut tally = Tally::default();
        let end = beats(&mut tally, 1_000, 1..501, 40_000);
        assert_eq!(judge(&tally, 1_500, end), Judgement::Beating);
        let report = tally.report(7, (end + 30) * MS).unwrap();
        assert_eq!((report.beats, report.last_count, report.longest_gap_ms), (500, 500, 10));
        assert_eq!((report.restarts, report.missed, report.silent_ms), (0, 0, 30));
    }

    #[test]
    fn a_pause_goes_on_with_the_next_number() {
        let mut tally = Tally::default();
        let stood = beats(&mut tally, 1_000, 1..101, 40_000);
        let end = beats(&mut tally, stood + 1_000, 101..201, 40_000);
        assert_eq!(judge(&tally, 1_500, end), Judgement::Paused { gap_ms: 1_000 });
        let report = tally.report(7, end * MS).unwrap();
        assert_eq!((report.restarts, report.missed, report.longest_gap_at_ms), (0, 0, stood));
        // A window that ends or begins within the pause sees the whole of it.
        assert_eq!(judge(&tally, 1_500, stood + 400), Judgement::Paused { gap_ms: 1_000 });
        assert_eq!(judge(&tally, stood + 600, end), Judgement::Paused { gap_ms: 1_000 });
        // Before and after it all is well.
        assert_eq!(judge(&tally, 1_500, stood - 10), Judgement::Beating);
        assert_eq!(judge(&tally, stood + 1_100, end), Judgement::Beating);
    }

    #[test]
    fn a_restart_begins_to_count_again_from_another_process() {
        let mut tally = Tally::default();
        let died = beats(&mut tally, 1_000, 1..101, 40_000);
        let end = beats(&mut tally, died + 900, 1..101, 40_001);
        assert_eq!(judge(&tally, 1_500, end), Judgement::Restarted { times: 1 });
        let report = tally.report(7, end * MS).unwrap();
        assert_eq!((report.restarts, report.sources, report.twice, report.last_count), (1, 2, 0, 100));
        // Even if the new process got the old one's port, and was fast.
        let mut tally = Tally::default();
        let died = beats(&mut tally, 1_000, 1..101, 40_000);
        let end = beats(&mut tally, died + 10, 1..101, 40_000);
        assert_eq!(judge(&tally, 1_500, end), Judgement::Restarted { times: 1 });
    }

    #[test]
    fn a_loss_is_silence_up_to_the_end() {
        let mut tally = Tally::default();
        let died = beats(&mut tally, 1_000, 1..101, 40_000);
        assert_eq!(judge(&tally, 1_500, died + 200), Judgement::Beating);
        assert_eq!(judge(&tally, 1_500, died + 400), Judgement::Paused { gap_ms: 400 });
        assert_eq!(judge(&tally, 1_500, died + 2_000), Judgement::Lost { silent_ms: 2_000 });
        // A window wholly after the death has no beats at all, and is lost too.
        assert_eq!(judge(&tally, died + 100, died + 3_000), Judgement::Lost { silent_ms: 3_000 });
    }

    #[test]
    fn a_migration_goes_on_with_the_next_number_from_another_process() {
        let mut tally = Tally::default();
        let left = beats(&mut tally, 1_000, 1..101, 40_000);
        let end = beats(&mut tally, left + 60, 101..201, 50_000);
        assert_eq!(judge(&tally, 1_500, end), Judgement::Beating);
        let report = tally.report(7, end * MS).unwrap();
        assert_eq!((report.restarts, report.sources, report.twice), (0, 2, 0));
    }

    #[test]
    fn two_processes_in_turn_are_one_guest_twice() {
        let mut tally = Tally::default();
        let mut at_ms = beats(&mut tally, 1_000, 1..101, 40_000);
        for count in 1..50 {
            at_ms = beats(&mut tally, at_ms + 5, count..count + 1, 40_001);
            at_ms = beats(&mut tally, at_ms + 5, 100 + count..101 + count, 40_000);
        }
        assert_eq!(judge(&tally, 1_500, at_ms), Judgement::Twice);
    }

    #[test]
    fn lost_datagrams_are_not_the_guests_fault() {
        let mut tally = Tally::default();
        let at = beats(&mut tally, 1_000, 1..101, 40_000);
        let end = beats(&mut tally, at + 40, 104..201, 40_000);
        assert_eq!(judge(&tally, 1_500, end), Judgement::Beating);
        assert_eq!(tally.report(7, end * MS).unwrap().missed, 3);
    }

    #[test]
    fn a_guest_never_heard_cannot_be_judged() {
        let mut tally = Tally::default();
        assert_eq!(judge(&tally, 0, 10_000), Judgement::Unheard);
        beats(&mut tally, 20_000, 1..11, 40_000);
        assert_eq!(judge(&tally, 0, 10_000), Judgement::Unheard);
        // One that begins to beat has not been silent before.
        let window = tally.between(7, 0, 20_090 * MS).unwrap();
        assert!(!window.complete);
        assert_eq!((window.beats, window.longest_gap_ms, window.silent_at_end_ms), (10, 10, 0));
    }
}
