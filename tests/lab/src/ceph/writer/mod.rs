//! A client that writes numbered records the whole time, and the judgement of what became of them.
//!
//! The program on the client is `recipes/ceph/numbered_records.py`. It writes to an image on each pool, to the file system
//! where there is one, and to a bucket where there are gateways, two lanes in each; and to a pool, as twenty clients that write
//! now and then, while snapshots come and go and make them be behind the OSD map. In a lane it is one record after the other,
//! each acknowledged by the cluster before the next is sent. [`Log`] reads what it has written down, [`Found`] what a new client
//! then reads, [`Verdict`] compares the two.

mod found;
mod log;
mod verdict;

use std::time::Duration;

use super::mds::FILE_SYSTEM;
use super::{CODED_POOL, Cluster, POOL, gateways};
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
/// Pause between two records of a lane of an image: about a hundred records a second in all.
const EVERY_MS: u64 = 40;
/// So many times longer is the pause between two files, and between two objects of a bucket: each costs many times what a piece of an image does.
const SLOWER: u64 = 10;
/// And so many times, in the middle, between two of a client that writes rarely: it hears of a new map by chance only.
const RARER: u64 = 75;
/// How long a record that is under way when the writer is told to end may still take.
const END_LIMIT: Duration = Duration::from_secs(90);
/// How long reading everything back may take.
const READ_LIMIT: Duration = Duration::from_secs(300);

/// The client's program while it writes.
#[derive(Debug)]
pub struct Writer {
    host: Host,
    places: Vec<Place>,
}

/// Something that is written to.
#[derive(Debug, Clone)]
struct Place {
    /// As the program takes it.
    text: String,
    /// How many lanes the program has in it.
    lanes: usize,
    /// How many times longer the pause is than between two records of an image.
    slower: u64,
}

impl Writer {
    /// Makes what is written to, and starts to write, on the client of a cluster.
    ///
    /// # Errors
    /// When there is no client, a place is refused, or no lane has a record acknowledged in time.
    pub fn start(cluster: &Cluster) -> Result<Self> {
        let host = cluster.client()?.clone();
        host.write(PROGRAM, PROGRAM_TEXT.as_bytes(), 0o755)?;
        let places = places(cluster);
        host.must(&with_places(&[PROGRAM, "create"], &places))?;
        let every = format!("{EVERY_MS}:{}:{}", EVERY_MS * SLOWER, EVERY_MS * RARER);
        let limit = format!("--property=TimeoutStopSec={}", END_LIMIT.as_secs());
        let run = ["systemd-run", "--quiet", "--unit", UNIT, &limit, PROGRAM, "write", LOG, &every];
        host.must(&with_places(&run, &places))?;
        let writer = Self { host, places };
        writer.wait_for_acks(1, Duration::from_secs(60))?;
        // With the first object gateways make the last of their pools.
        cluster.wait_for_clean(Duration::from_secs(60))?;
        Ok(writer)
    }

    /// What is written down so far.
    ///
    /// # Errors
    /// When the log cannot be read.
    pub fn log(&self) -> Result<Log> {
        Log::parse(&String::from_utf8_lossy(&self.host.read(LOG)?))
    }

    /// Waits until every lane of an image has so many more records acknowledged than it has now, and every other lane as many as come in that
    /// time: writes do go on.
    ///
    /// # Errors
    /// When they do not in time.
    pub fn wait_for_acks(&self, more: u64, limit: Duration) -> Result<()> {
        let slower: Vec<u64> = self.places.iter().flat_map(|place| vec![place.slower; place.lanes]).collect();
        let highest = |log: &Log| (0..).zip(&slower).map(|(lane, _)| log.highest(lane)).collect::<Vec<_>>();
        let from = if self.host.run(&["test", "-e", LOG])?.status.success() {
            highest(&self.log()?)
        } else {
            vec![0; slower.len()]
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
            let all = now
                .iter()
                .zip(&from)
                .zip(&slower)
                .all(|((now, from), slower)| *now >= from + more.div_ceil(*slower));
            Ok(if all { Ok(()) } else { Err(format!("from {from:?} to {now:?}")) })
        })
    }

    /// Ends the writing, reads everything back with a new client, and judges.
    ///
    /// # Errors
    /// When the writer does not end, or a place cannot be read.
    pub fn finish(self) -> Result<Verdict> {
        let output =
            self.host.run_within(&["systemctl", "stop", UNIT], END_LIMIT + Duration::from_secs(30))?;
        if !output.status.success() {
            return Err(crate::command::failed("end of the writer".to_owned(), output.status, &output));
        }
        let log = self.log()?;
        let output = self.host.run_within(&with_places(&[PROGRAM, "read"], &self.places), READ_LIMIT)?;
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

/// What there is to write to. Both images have their names in the pool with copies.
fn places(cluster: &Cluster) -> Vec<Place> {
    let place = |text: String, lanes: usize, slower: u64| Place { text, lanes, slower };
    let mut places = vec![
        place(format!("rbd:{POOL}/plain"), 2, 1),
        place(format!("rbd:{POOL}/coded={CODED_POOL}"), 2, 1),
        place(format!("rados:{POOL}"), 20, RARER),
        place(format!("snap:{POOL}/stirred"), 0, 1),
    ];
    if cluster.spec().mds > 0 {
        places.push(place(format!("fs:{FILE_SYSTEM}"), 2, SLOWER));
    }
    let gateways: Vec<String> =
        cluster.gateways().map(|host| format!("{}:{}", host.address(), gateways::PORT)).collect();
    if !gateways.is_empty() {
        let (key, secret) = gateways::USER;
        places.push(place(format!("s3:{key}:{secret}@{}/records", gateways.join(",")), 2, SLOWER));
    }
    places
}

fn with_places<'a>(words: &[&'a str], places: &'a [Place]) -> Vec<&'a str> {
    words.iter().copied().chain(places.iter().map(|place| place.text.as_str())).collect()
}
