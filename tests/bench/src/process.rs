//! The coordinator's binary, killed and started.

use crate::calm::run_id;
use anyhow::{Context, Result, bail, ensure};
use replank_coordinator::config::Folder;
use rusqlite::{Connection, OpenFlags};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Longer is a failure, not a figure.
const START_MAX: Duration = Duration::from_secs(300);
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// Killed when the measurement ends, however it does.
struct Serving(Child);

impl Drop for Serving {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// Starts the binary, waits until it leads the run, kills it, and so on: how long each start took, in seconds. The first one, which finds what
/// no coordinator has led yet, is not counted.
///
/// # Errors
/// It does not start, ends by itself, or does not lead in time.
pub(crate) fn restarts(replank: &Path, folder: &Folder, times: usize) -> Result<Vec<f64>> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let journal = Connection::open_with_flags(folder.database(), flags)?;
    let mut took = Vec::new();
    for _ in 0..=times {
        let led_before = last_line(&journal)?;
        let began = Instant::now();
        let mut serve = Command::new(replank);
        serve.arg("serve").arg("--dir").arg(folder.root()).env("RUST_LOG", "error").stdin(Stdio::null());
        let child = serve.spawn().with_context(|| format!("failed to start {}", replank.display()))?;
        let mut serving = Serving(child);
        while last_line(&journal)? == led_before {
            if let Some(status) = serving.0.try_wait()? {
                bail!("{} ended by itself: {status}", replank.display());
            }
            ensure!(began.elapsed() < START_MAX, "it does not lead after {} s", START_MAX.as_secs());
            sleep(LOOK_EVERY);
        }
        took.push(began.elapsed().as_secs_f64());
        serving.0.kill().context("failed to kill it")?;
    }
    took.remove(0);
    Ok(took)
}

/// The last line of the run's journal. A coordinator that leads it writes one more: that it does.
fn last_line(journal: &Connection) -> Result<i64> {
    let line = journal
        .query_row("SELECT head_seq FROM runs WHERE id = ?1", [run_id().as_str()], |row| row.get(0))?;
    Ok(line)
}
