//! A client that writes numbered records the whole time, and the judgement of what became of them.
//!
//! The program on the client is `recipes/ceph/numbered_records.py`: one image on each pool, two lanes in each image, in
//! a lane one record after the other, each acknowledged by the cluster before the next is sent. [`Log`] reads what it
//! has written down, [`Found`] what a new client then reads from the images, [`Verdict`] compares the two.

mod found;
mod log;
mod verdict;

use std::time::Duration;

use super::{CODED_POOL, Cluster, POOL};
use crate::command::wait_for;
use crate::error::{LabError, Result};
use crate::host::Host;

pub use found::Found;
pub use log::{Ack, Log};
pub use verdict::{Stall, Verdict};

const PROGRAM_TEXT: &str = include_str!("../../../recipes/ceph/numbered_records.py");
const PROGRAM: &str = "/usr/local/bin/numbered-records";
const LOG: &str = "/var/log/numbered-records";
const UNIT: &str = "numbered-records.service";
/// Pause between two records of a lane: about a hundred records a second in all.
const EVERY_MS: u32 = 40;
/// How long a record that is under way when the writer is told to end may still take.
const END_LIMIT: Duration = Duration::from_secs(90);
/// How long reading everything back may take.
const READ_LIMIT: Duration = Duration::from_secs(300);

/// The client's program while it writes.
#[derive(Debug)]
pub struct Writer {
    host: Host,
}

impl Writer {
    /// Makes the images and starts to write, on the client of a cluster.
    ///
    /// # Errors
    /// When there is no client, an image is refused, or no lane has a record acknowledged in time.
    pub fn start(cluster: &Cluster) -> Result<Self> {
        let host = cluster.client()?.clone();
        host.write(PROGRAM, PROGRAM_TEXT.as_bytes(), 0o755)?;
        let [plain, coded] = images();
        host.must(&[PROGRAM, "create", &plain, &format!("{coded}={CODED_POOL}")])?;
        let every = EVERY_MS.to_string();
        let limit = format!("--property=TimeoutStopSec={}", END_LIMIT.as_secs());
        host.must(&[
            "systemd-run",
            "--quiet",
            "--unit",
            UNIT,
            &limit,
            PROGRAM,
            "write",
            LOG,
            &every,
            &plain,
            &coded,
        ])?;
        let writer = Self { host };
        writer.wait_for_acks(1, Duration::from_secs(60))?;
        Ok(writer)
    }

    /// What is written down so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<Log> {
        Log::parse(&String::from_utf8_lossy(&self.host.read(LOG)?))
    }

    /// Waits until every lane has so many more records acknowledged than it has now: writes do go on.
    ///
    /// # Errors
    /// When they do not in time.
    pub fn wait_for_acks(&self, more: u64, limit: Duration) -> Result<()> {
        let lanes = u32::try_from(images().len()).unwrap_or_default() * log::LANES_PER_IMAGE;
        let highest = |log: &Log| (0..lanes).map(|lane| log.highest(lane)).collect::<Vec<_>>();
        let from = if self.host.run(&["test", "-e", LOG])?.status.success() {
            highest(&self.log()?)
        } else {
            vec![0; lanes as usize]
        };
        wait_for("acknowledged records in every lane", limit, || {
            if !self.host.run(&["systemctl", "--quiet", "is-active", UNIT])?.status.success() {
                let said = self.host.run(&["journalctl", "--no-pager", "-n", "20", "-u", UNIT])?;
                return Err(LabError::Refused(format!(
                    "the writer has ended: {}",
                    String::from_utf8_lossy(&said.stdout)
                )));
            }
            let Ok(log) = self.log() else { return Ok(Err("no log yet".to_owned())) };
            let now = highest(&log);
            let all = now.iter().zip(&from).all(|(now, from)| *now >= from + more);
            Ok(if all { Ok(()) } else { Err(format!("from {from:?} to {now:?}")) })
        })
    }

    /// Ends the writing, reads everything back with a new client, and judges.
    ///
    /// # Errors
    /// When the writer does not end, or the images cannot be read.
    pub fn finish(self) -> Result<Verdict> {
        let output =
            self.host.run_within(&["systemctl", "stop", UNIT], END_LIMIT + Duration::from_secs(30))?;
        if !output.status.success() {
            return Err(crate::command::failed("end of the writer".to_owned(), output.status, &output));
        }
        let log = self.log()?;
        let [plain, coded] = images();
        let output = self.host.run_within(&[PROGRAM, "read", &plain, &coded], READ_LIMIT)?;
        if !output.status.success() {
            return Err(crate::command::failed(
                "reading the records back".to_owned(),
                output.status,
                &output,
            ));
        }
        Ok(Verdict::of(&log, &Found::parse(&output.stdout)?))
    }
}

/// The images as `POOL/NAME`; both have their names in the pool with copies.
fn images() -> [String; 2] {
    ["plain", "coded"].map(|image| format!("{POOL}/{image}"))
}
