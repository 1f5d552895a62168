//! The client's own record of what the cluster acknowledged.

use crate::error::{LabError, Result};

/// One acknowledgement. Times are of the machine's clock, in microseconds of the epoch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ack {
    /// Which lane.
    pub lane: u32,
    /// Which record of it, from 1.
    pub number: u64,
    /// When it was sent.
    pub issued_us: u64,
    /// When the cluster had it.
    pub acked_us: u64,
}

/// All that the client has written down.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Log {
    /// In the order of their arrival.
    pub acks: Vec<Ack>,
    /// What was refused, as text; the lane ended there.
    pub errors: Vec<String>,
    /// Lane and time of each lane that ended because it was told to.
    pub ends: Vec<(u32, u64)>,
}

impl Log {
    /// Reads the program's log. A last line without its end is one that was being written, and is left out.
    ///
    /// # Errors
    /// When a whole line is none of the program's.
    pub fn parse(text: &str) -> Result<Self> {
        let mut log = Self::default();
        for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
            let unknown =
                || LabError::Refused(format!("the writer's log has a line that it never writes: {line}"));
            let (word, rest) = line.split_once(' ').ok_or_else(unknown)?;
            let numbers =
                || rest.split(' ').map(str::parse).collect::<std::result::Result<Vec<u64>, _>>().ok();
            let lane = |number: u64| u32::try_from(number).map_err(|_| unknown());
            match (word, numbers().as_deref()) {
                ("ack", Some(&[of, number, issued_us, acked_us])) => {
                    log.acks.push(Ack { lane: lane(of)?, number, issued_us, acked_us });
                }
                ("end", Some(&[of, at])) => log.ends.push((lane(of)?, at)),
                ("error", _) => log.errors.push(rest.to_owned()),
                _ => return Err(unknown()),
            }
        }
        Ok(log)
    }

    /// The highest record of a lane that was acknowledged; 0 when none was.
    #[must_use]
    pub fn highest(&self, lane: u32) -> u64 {
        self.of(lane).map(|ack| ack.number).max().unwrap_or(0)
    }

    /// The acknowledgements of a lane.
    pub(super) fn of(&self, lane: u32) -> impl Iterator<Item = &Ack> {
        self.acks.iter().filter(move |ack| ack.lane == lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_cut_off_in_a_line_reads_up_to_it() {
        let log = Log::parse("ack 0 1 10 12\nerror 1 7 33 [errno 5] I/O error\nend 0 40\nack 0 2 4").unwrap();
        assert_eq!(log.acks, [Ack { lane: 0, number: 1, issued_us: 10, acked_us: 12 }]);
        assert_eq!(log.errors, ["1 7 33 [errno 5] I/O error"]);
        assert_eq!((log.ends.as_slice(), log.highest(0), log.highest(1)), (&[(0, 40)][..], 1, 0));
    }

    #[test]
    fn a_line_of_another_program_is_refused() {
        assert!(Log::parse("ack 0 1 10\n").unwrap_err().to_string().contains("ack 0 1 10"));
        assert!(Log::parse("Traceback\n").is_err());
    }
}
