//! What was measured, for people and for machines.

use serde::Serialize;
use std::fmt;

/// The figures of one fleet. Times are in seconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figures {
    /// Of this JSON.
    pub format: u32,
    pub hosts: u32,
    /// On each host.
    pub guests: u32,
    pub steps: usize,
    pub plan_bytes: usize,
    /// From fleet file, inventory and catalog to the plan.
    pub planning: f64,
    /// Of the half of the voyage that is in the journal.
    pub journal_lines: usize,
    pub journal_bytes: usize,
    /// Appending the journal, in as many transactions as the drive makes.
    pub append: f64,
    /// Inserting the same texts in the same transactions into a table without anything else.
    pub append_bare: f64,
    /// Bringing the run back from plan and journal, in this process.
    pub resume: f64,
    /// Reading the same plan and lines with SQLite and hashing them, which no proof of them can do without.
    pub read_bare: f64,
    /// From the start of the binary, which was killed before, to the durable record that it leads the run again: each time, in order.
    pub restart: Vec<f64>,
}

impl Figures {
    pub const FORMAT: u32 = 1;

    /// The middle one of the restarts.
    fn middle_restart(&self) -> Option<f64> {
        let mut sorted = self.restart.clone();
        sorted.sort_by(f64::total_cmp);
        sorted.get(sorted.len() / 2).copied()
    }
}

impl fmt::Display for Figures {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { hosts, guests, steps, planning, journal_lines, append, resume, .. } = self;
        writeln!(f, "fleet     {hosts} hosts with {guests} guests each, {steps} steps")?;
        writeln!(f, "plan      made in {planning:.2} s, {:.1} MB", megabytes(self.plan_bytes))?;
        let rate = *journal_lines as f64 / append;
        writeln!(
            f,
            "journal   {journal_lines} lines, {:.1} MB, half of the voyage; {rate:.0} lines/s, {:.1} times the time of bare inserts",
            megabytes(self.journal_bytes),
            append / self.append_bare
        )?;
        writeln!(
            f,
            "resume    {resume:.2} s in one process, {:.1} times the time of reading and hashing the same bytes",
            resume / self.read_bare
        )?;
        let Some(middle) = self.middle_restart() else { return Ok(()) };
        let (least, most) = (
            self.restart.iter().copied().fold(f64::INFINITY, f64::min),
            self.restart.iter().copied().fold(0.0, f64::max),
        );
        writeln!(
            f,
            "restart   {middle:.2} s from the start of the killed binary until it leads again ({} times: {least:.2} to {most:.2} s)",
            self.restart.len()
        )
    }
}

fn megabytes(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}
