//! Journals: appended as a whole and synced, or not at all; listed, and shown. Read back in `reading`.
//!
//! Each line is hashed together with the hash of the line before it, and the run's row holds the hash of the last one. So an edited,
//! removed, swapped or torn line shows, at the end of the journal too.
//!
//! A crash: before the commit, nothing was written, and nothing was sent on the strength of it; after the commit and before the
//! caller knew, the lines are there, and the next coordinator sends what follows from them under the same ids (P5).

use super::database::{read_epochs, signed};
use super::{Database, StoreError};
use replank_common::UnixMs;
use replank_common::ids::{Epoch, PlanId, RunId};
use replank_common::planted::{self, Planted};
use replank_core::run::Event;
use replank_core::runs::{Append, Standing};
use rusqlite::{OptionalExtension, Transaction, TransactionBehavior, params};
use sha2::{Digest, Sha256};

const HASH_DOMAIN: &[u8] = b"replank journal v1\0";

/// One run of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunRow {
    pub run: RunId,
    pub plan: PlanId,
    pub created_ms: UnixMs,
    pub standing: Standing,
}

/// One line of a journal as text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    pub seq: u64,
    pub at_ms: UnixMs,
    /// JSON.
    pub event: String,
}

pub(super) struct Head {
    pub(super) seq: u64,
    pub(super) hash: Vec<u8>,
}

impl Database {
    /// Appends to any number of runs in one transaction, synced when this returns.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] when a later epoch was begun in this store, [`StoreError::MovedOn`] when a journal does not end where
    /// the caller thinks; nothing was appended in any case but a lost answer of the disk, which the caller cannot tell apart and
    /// therefore answers by reading everything again.
    pub fn append(&mut self, own: Epoch, appends: &[Append]) -> Result<(), StoreError> {
        const WHAT: &str = "append to a journal";
        let failed = StoreError::failed(WHAT);
        boundary("before", appends);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
        let epochs = read_epochs(&transaction).map_err(&failed)?;
        if !epochs.is_led_by(own) {
            return Err(StoreError::Overtaken { own, found: epochs.last });
        }
        for append in appends {
            append_one(&transaction, append)?;
        }
        boundary("uncommitted", appends);
        if planted::is(Planted::AppendUncommitted) {
            return Ok(());
        }
        transaction.commit().map_err(&failed)?;
        boundary("after", appends);
        Ok(())
    }

    /// At most `limit` lines from `since` on, for showing.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`].
    pub fn lines(&self, run: &RunId, since: u64, limit: u32) -> Result<Vec<Line>, StoreError> {
        let failed = StoreError::failed("read lines of a journal");
        let known: bool = self
            .connection
            .query_row("SELECT EXISTS (SELECT 1 FROM runs WHERE id = ?1)", [run.as_str()], |row| row.get(0))
            .map_err(&failed)?;
        if !known {
            return Err(StoreError::UnknownRun { run: run.clone() });
        }
        let mut statement = self
            .connection
            .prepare_cached(
                "SELECT seq, at_ms, body FROM events WHERE run = ?1 AND seq >= ?2 ORDER BY seq LIMIT ?3",
            )
            .map_err(&failed)?;
        let rows = statement
            .query_map(params![run.as_str(), signed(since), limit], |row| {
                Ok(Line { seq: unsigned(row.get(0)?), at_ms: unsigned(row.get(1)?), event: row.get(2)? })
            })
            .map_err(&failed)?;
        rows.collect::<Result<_, _>>().map_err(&failed)
    }

    /// Every run, the oldest first.
    ///
    /// # Errors
    /// [`StoreError::Failed`] or [`StoreError::Form`].
    pub fn runs(&self) -> Result<Vec<RunRow>, StoreError> {
        const WHAT: &str = "list the runs";
        let failed = StoreError::failed(WHAT);
        let mut statement = self
            .connection
            .prepare(
                "SELECT id, plan, created_ms, finished, phase, steps_done, steps_total FROM runs ORDER BY created_ms, id",
            )
            .map_err(&failed)?;
        let rows = statement
            .query_map([], |row| {
                let standing = Standing {
                    finished: row.get(3)?,
                    phase: row.get(4)?,
                    steps_done: row.get(5)?,
                    steps_total: row.get(6)?,
                };
                let ids: (String, String) = (row.get(0)?, row.get(1)?);
                Ok((ids, unsigned(row.get(2)?), standing))
            })
            .map_err(&failed)?;
        let mut runs = Vec::new();
        for row in rows {
            let ((run, plan), created_ms, standing) = row.map_err(&failed)?;
            let form =
                |error: replank_common::ids::BadId| StoreError::Form { what: WHAT, why: error.to_string() };
            runs.push(RunRow {
                run: RunId::new(run).map_err(form)?,
                plan: PlanId::new(plan).map_err(form)?,
                created_ms,
                standing,
            });
        }
        Ok(runs)
    }
}

/// An instant at which the crash tests kill the coordinator: `journal.append.before sent outcome`, named by what is appended.
fn boundary(what: &str, appends: &[Append]) {
    if cfg!(feature = "crash-points") {
        replank_crash::reach(&format!("journal.append.{what} {}", kinds(appends)));
    }
}

/// What is appended, by the names of its events.
pub(crate) fn kinds(appends: &[Append]) -> String {
    let kinds: Vec<String> =
        appends.iter().flat_map(|append| &append.records).map(|record| kind(&record.event)).collect();
    kinds.join(" ")
}

/// An event's name in the journal.
fn kind(event: &Event) -> String {
    match serde_json::to_value(event) {
        Ok(serde_json::Value::Object(fields)) => fields.keys().next().cloned().unwrap_or_default(),
        Ok(_) | Err(_) => String::new(),
    }
}

fn append_one(transaction: &Transaction<'_>, append: &Append) -> Result<(), StoreError> {
    const WHAT: &str = "append to a journal";
    let failed = StoreError::failed(WHAT);
    let run = &append.run;
    let Some(first) = append.records.first() else { return Ok(()) };
    let head = transaction
        .query_row("SELECT head_seq, head_hash FROM runs WHERE id = ?1", [run.as_str()], |row| {
            Ok(Head { seq: unsigned(row.get(0)?), hash: row.get(1)? })
        })
        .optional()
        .map_err(&failed)?;
    let mut head = match (head, &append.begins) {
        (Some(head), None) => head,
        (Some(_), Some(_)) => return Err(StoreError::MovedOn { why: format!("{run} has begun already") }),
        (None, None) => return Err(StoreError::UnknownRun { run: run.clone() }),
        (None, Some(plan)) => {
            let hash = first_hash(run, plan);
            transaction
                .execute(
                    "INSERT INTO runs VALUES (?1, ?2, ?3, 0, ?4, 0, '', 0, 0)",
                    params![run.as_str(), plan.as_str(), signed(first.at_ms), hash],
                )
                .map_err(&failed)?;
            Head { seq: 0, hash }
        }
    };
    let mut insert = transaction
        .prepare_cached("INSERT INTO events VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)")
        .map_err(&failed)?;
    for record in &append.records {
        if record.seq != head.seq + 1 {
            let why = format!("{run} ends at line {}, and line {} was to be written", head.seq, record.seq);
            return Err(StoreError::MovedOn { why });
        }
        let body = serde_json::to_string(&record.event)
            .map_err(|error| StoreError::Form { what: WHAT, why: error.to_string() })?;
        let line = StoredLine {
            seq: record.seq,
            at_ms: record.at_ms,
            epoch: record.epoch.0,
            format: record.format,
            body: &body,
            prev_hash: &head.hash,
        };
        insert
            .execute(params![
                run.as_str(),
                signed(line.seq),
                signed(line.at_ms),
                signed(line.epoch),
                line.format,
                line.body,
                line.prev_hash
            ])
            .map_err(&failed)?;
        head = Head { seq: record.seq, hash: line.hash().to_vec() };
    }
    let Standing { finished, phase, steps_done, steps_total } = &append.standing;
    transaction
        .execute(
            "UPDATE runs SET head_seq = ?2, head_hash = ?3, finished = ?4, phase = ?5, steps_done = ?6, steps_total = ?7 \
             WHERE id = ?1",
            params![run.as_str(), signed(head.seq), head.hash, finished, phase, steps_done, steps_total],
        )
        .map_err(&failed)?;
    Ok(())
}

/// A line as it is stored, for its hash.
pub(super) struct StoredLine<'a> {
    pub(super) seq: u64,
    pub(super) at_ms: u64,
    pub(super) epoch: u64,
    pub(super) format: u32,
    pub(super) body: &'a str,
    pub(super) prev_hash: &'a [u8],
}

impl StoredLine<'_> {
    pub(super) fn hash(&self) -> [u8; 32] {
        let Self { seq, at_ms, epoch, format, body, prev_hash } = self;
        let head = format!("{seq} {at_ms} {epoch} {format} ");
        Sha256::new()
            .chain_update(HASH_DOMAIN)
            .chain_update(prev_hash)
            .chain_update(head)
            .chain_update(body)
            .finalize()
            .into()
    }
}

/// Binds a journal to its run and plan, so that one cannot be put in another's place.
pub(super) fn first_hash(run: &RunId, plan: &PlanId) -> Vec<u8> {
    Sha256::new().chain_update(HASH_DOMAIN).chain_update(format!("{run} {plan}")).finalize().to_vec()
}

/// A negative number where none can be is a damaged file; zero fails the next check.
pub(super) fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::PackedPlan;
    use replank_core::run::{Event, JOURNAL_FORMAT, Record};
    use rusqlite::Connection;
    use std::path::PathBuf;

    fn run() -> RunId {
        RunId::new(format!("run-{:032x}", 7)).unwrap()
    }

    fn plan() -> PlanId {
        PlanId::new(format!("sha256:{:064x}", 9)).unwrap()
    }

    fn record(seq: u64) -> Record {
        let event = match seq {
            1 => Event::Created { run: run(), plan: plan(), by: "alice".to_owned() },
            _ => Event::Paused { by: format!("alice {seq}") },
        };
        Record { seq, at_ms: 1_000 + seq, epoch: Epoch(1), format: 1, event }
    }

    fn append(seqs: std::ops::RangeInclusive<u64>) -> Append {
        let standing =
            Standing { finished: false, phase: "running".to_owned(), steps_done: 0, steps_total: 3 };
        let begins = (*seqs.start() == 1).then(plan);
        Append { run: run(), begins, records: seqs.map(record).collect(), standing }
    }

    struct Case {
        _dir: tempfile::TempDir,
        path: PathBuf,
        database: Database,
    }

    /// A store with a plan, and no run of it yet.
    fn empty() -> Case {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("replank.db");
        let mut database = Database::open(&path).unwrap();
        assert_eq!(database.next_epoch().unwrap(), Epoch(1));
        database.put_plan(&PackedPlan::of(&plan(), b"{}"), 1).unwrap();
        Case { _dir: dir, path, database }
    }

    fn case() -> Case {
        let mut case = empty();
        case.database.append(Epoch(1), &[append(1..=3)]).unwrap();
        case.database.append(Epoch(1), &[append(4..=5)]).unwrap();
        case
    }

    #[test]
    fn a_journal_is_read_back_as_written() {
        let case = case();
        let (found, records) = case.database.journal(&run()).unwrap();
        assert_eq!(found, plan());
        assert_eq!(records, (1..=5).map(record).collect::<Vec<_>>());
        assert_eq!(case.database.lines(&run(), 4, 10).unwrap().len(), 2);
        assert_eq!(case.database.runs().unwrap()[0].created_ms, 1_001);
    }

    #[test]
    fn a_batch_is_appended_whole_where_the_journal_ends_or_not_at_all() {
        let mut case = case();
        for wrong in [append(5..=6), append(8..=9), append(1..=2)] {
            let both = [append(6..=6), wrong];
            assert!(matches!(case.database.append(Epoch(1), &both), Err(StoreError::MovedOn { .. })));
            assert_eq!(case.database.journal(&run()).unwrap().1.len(), 5);
        }
        case.database.append(Epoch(1), &[append(6..=6)]).unwrap();
    }

    #[test]
    fn an_overtaken_coordinator_writes_nothing() {
        let mut case = case();
        assert_eq!(Database::open(&case.path).unwrap().next_epoch().unwrap(), Epoch(2));
        let refused = case.database.append(Epoch(1), &[append(6..=6)]);
        assert!(matches!(refused, Err(StoreError::Overtaken { found: Epoch(2), .. })));
    }

    #[test]
    fn every_kind_of_damage_shows() {
        for damage in [
            "UPDATE events SET body = replace(body, 'alice 3', 'mallory') WHERE seq = 3",
            "UPDATE events SET body = replace(body, 'alice 5', 'mallory') WHERE seq = 5",
            "UPDATE events SET at_ms = at_ms + 1 WHERE seq = 2",
            "UPDATE events SET epoch = 2 WHERE seq = 5",
            "DELETE FROM events WHERE seq = 5",
            "DELETE FROM events WHERE seq = 2",
            "DELETE FROM events",
            "UPDATE events SET seq = 6 WHERE seq = 5",
            "UPDATE runs SET head_seq = 4",
            "UPDATE events SET prev_hash = zeroblob(32) WHERE seq = 1",
        ] {
            let case = case();
            Connection::open(&case.path).unwrap().execute_batch(damage).unwrap();
            let found = case.database.journal(&run());
            assert!(matches!(found, Err(StoreError::Damaged { .. })), "{damage}: {found:?}");
        }
    }

    /// A line of `format` with what only that format knows, appended as today's rules append.
    fn append_text(case: &Case, format: u32, body: &str) {
        let connection = Connection::open(&case.path).unwrap();
        let (seq, prev_hash): (i64, Vec<u8>) = connection
            .query_row("SELECT head_seq + 1, head_hash FROM runs", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        let line = StoredLine { seq: unsigned(seq), at_ms: 9, epoch: 1, format, body, prev_hash: &prev_hash };
        let id = run();
        connection
            .execute(
                "INSERT INTO events VALUES (?1, ?2, 9, 1, ?3, ?4, ?5)",
                params![id.as_str(), seq, format, line.body, line.prev_hash],
            )
            .unwrap();
        connection
            .execute("UPDATE runs SET head_seq = ?1, head_hash = ?2", params![seq, line.hash()])
            .unwrap();
    }

    #[test]
    fn a_line_of_a_newer_format_is_not_taken_for_damage() {
        let case = case();
        append_text(&case, JOURNAL_FORMAT + 1, r#"{"sang": {"by": "bob"}}"#);
        append_text(&case, JOURNAL_FORMAT + 4, "[]");
        let found = case.database.journal(&run()).unwrap_err();
        assert_eq!(found.code(), "RP6012");
        assert!(found.to_string().contains("format 5, this replank reads up to 1; "), "{found}");
        // Damage is told first, wherever it is.
        Connection::open(&case.path)
            .unwrap()
            .execute_batch("UPDATE events SET at_ms = 8 WHERE seq = 7")
            .unwrap();
        assert_eq!(case.database.journal(&run()).unwrap_err().code(), "RP6008");
    }

    #[test]
    fn what_the_format_does_not_have_is_an_error_within_it() {
        for body in [
            r#"{"sang": {"by": "bob"}}"#,
            r#"{"paused": {"by": "bob", "because": "lunch"}}"#,
            r#"{"closing": {"end": {"rolled-back": {"to": null, "half": true}}}}"#,
        ] {
            let case = case();
            append_text(&case, JOURNAL_FORMAT, body);
            assert_eq!(case.database.journal(&run()).unwrap_err().code(), "RP6008", "{body}");
        }
    }

    /// The hashes of the store's form of today over a journal of format 1. A store on disk was written with them: they never change
    /// within that form.
    #[test]
    fn the_hashes_of_a_committed_journal_are_the_same_as_ever() {
        let text = include_str!("../../core/tests/run/fixtures/journal-1.jsonl");
        let records: Vec<Record> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let mut case = empty();
        let database = &mut case.database;
        let written = Append { records: records.clone(), ..append(1..=1) };
        database.append(Epoch(1), &[written]).unwrap();
        let hash: Vec<u8> =
            database.connection.query_row("SELECT head_hash FROM runs", [], |row| row.get(0)).unwrap();
        assert_eq!(
            data_encoding::HEXLOWER.encode(&hash),
            "fedd1e4ab959017a705760587e9db27f20576a1bfc17aa002344b23cf341edd3"
        );
        assert_eq!(database.journal(&run()).unwrap().1, records);
    }
}
