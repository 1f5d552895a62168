//! The store that the coordinator processes share: it is fenced by the epoch, appends a batch as a whole, and is sometimes full.

use super::{Fleet, START_MS};
use crate::fault::Fault;
use crate::promise::Promise;
use crate::told::{What, is_worth_telling};
use replank_core::run::{Event, Record};
use replank_core::runs::Append;
use sha2::Digest;

/// Why nothing was appended, or the process died over it. Either way it is over with the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum NotAppended {
    /// A later coordinator took the store over.
    Overtaken,
    /// The disk is full.
    Full,
    /// It died at a record; a part of the batch may be durable.
    Died,
}

impl Fleet {
    /// Makes what a process has decided durable.
    pub(super) fn append_all(&mut self, by: u64, appends: &[Append]) -> Result<(), NotAppended> {
        let records: Vec<Record> = appends.iter().flat_map(|append| append.records.iter().cloned()).collect();
        let Some(seat) = self.seats.get(&by).filter(|_| !records.is_empty()) else { return Ok(()) };
        let epoch = seat.epoch;
        self.check_not_early(by, &records);
        if self.now < self.store_full_until {
            self.say("coordinator", "cannot write its store");
            self.fold(by, &records);
            return Err(NotAppended::Full);
        }
        if epoch.0 != self.epoch {
            let kind = &records[0].event;
            let text =
                format!("of epoch {epoch} is refused by the store, with {} records: {kind:?}", records.len());
            self.say("coordinator", text);
            self.injected(Fault::JournalConflict);
            self.fold(by, &records);
            return Err(NotAppended::Overtaken);
        }
        let dies_at = self.dies_at.filter(|_| self.leads == Some(by));
        if let Some(dies_at) = dies_at.filter(|at| *at < self.journal.len() + records.len()) {
            let mut kept = dies_at.saturating_sub(self.journal.len());
            if kept == 0 || !self.struck(Fault::CoordinatorTornTail) {
                // A batch is durable as a whole or not at all, where the store keeps its word.
                kept = if self.below(2) == 0 { 0 } else { records.len() };
            }
            self.injected(Fault::CoordinatorKilled);
            self.fold(by, &records);
            for record in &records[..kept] {
                self.append(by, record);
            }
            return Err(NotAppended::Died);
        }
        for record in &records {
            self.append(by, record);
        }
        Ok(())
    }

    fn append(&mut self, by: u64, record: &Record) {
        let line = serde_json::to_vec(record).unwrap_or_default();
        // What is written is what is read back; in a large fleet, of some.
        if self.hosts.len() < 200 || record.seq.is_multiple_of(16) {
            let back: Option<Record> = serde_json::from_slice(&line).ok();
            self.judge.check(Promise::Sound, back.as_ref() == Some(record), || {
                format!("record {} is not read back as it was written", record.seq)
            });
        }
        let follows = record.seq == self.journal.len() as u64 + 1;
        self.judge.check(Promise::Sound, follows, || {
            format!("record {} follows {} others", record.seq, self.journal.len())
        });
        self.hasher.update(&line);
        self.hasher.update(b"\n");
        self.trace.record(self.now - START_MS, record);
        self.against_the_world(by, record);
        self.watcher.read(record, self.now, &mut self.judge);
        if is_worth_telling(&record.event) {
            self.tell(None, || What::Record(Box::new(record.event.clone())));
        }
        self.journal.push(record.clone());
    }

    /// P4: what is not durable yet is not wanted yet.
    fn check_not_early(&mut self, by: u64, records: &[Record]) {
        let Some(machine) = self.seats.get(&by).and_then(|seat| seat.machine(&self.run)) else { return };
        let index = self.index.clone();
        let early = records.iter().any(|record| match &record.event {
            Event::Sent { step, .. } => {
                let step = self.watcher.step(index.plan(), step);
                step.is_some_and(|step| !machine.wants_of(&step.host).commands.is_empty())
            }
            _ => false,
        });
        self.judge.check(Promise::P4, !early, || "commands before their intent is durable".to_owned());
    }
}
