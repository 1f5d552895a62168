//! The ledger's file: SQLite in WAL mode with `synchronous=FULL`, so that what a call has returned from survives power loss.

use replank_agent_core::ledger::{Entry, IllegalEntry, NewIntent, Stage, Unbegun, rules};
use replank_common::UnixMs;
use replank_common::ids::{ActionId, CoordinatorId, Epoch, RunId, StepId};
use replank_common::leader::Leader;
use replank_common::outcome::Outcome;
use rusqlite::{Connection, OpenFlags, OptionalExtension, Transaction, TransactionBehavior, params};
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// "rpkl", so that `file` and a curious engineer can tell what it is.
const APPLICATION_ID: i32 = 0x7270_6b6c;
/// Grows with each change of the tables; a higher one is refused.
const VERSION: i32 = 2;

const TABLES: &str = "
CREATE TABLE epoch (
    only_row    INTEGER PRIMARY KEY CHECK (only_row = 1),
    highest     INTEGER NOT NULL CHECK (highest >= 0),
    coordinator TEXT
) STRICT;
INSERT INTO epoch VALUES (1, 0, NULL);
CREATE TABLE entry (
    sequence    INTEGER PRIMARY KEY AUTOINCREMENT,
    id          TEXT NOT NULL UNIQUE,
    run         TEXT NOT NULL,
    step        TEXT NOT NULL,
    ended       INTEGER NOT NULL CHECK (ended IN (0, 1)),
    body        TEXT NOT NULL
) STRICT;
CREATE INDEX entry_of_step ON entry (run, step);
CREATE INDEX entry_open ON entry (ended) WHERE ended = 0;
";

/// From version 1, which did not keep apart two coordinators of one epoch.
const FROM_VERSION_1: &str = "ALTER TABLE epoch ADD COLUMN coordinator TEXT";

/// Why the ledger cannot be used. An agent that meets one refuses every action.
#[derive(Debug, thiserror::Error)]
pub enum LedgerError {
    #[error(
        "{path} is gone, and {marker} says that it was there; bring it back from a backup, or, when no run that this host takes part in will go on, remove {marker}"
    )]
    Gone { path: PathBuf, marker: PathBuf },
    #[error("{path} is damaged: {why}; keep it for the report, and bring it back from a backup")]
    Damaged { path: PathBuf, why: String },
    #[error(
        "{path} is a ledger of version {found}, and this agent knows {VERSION} at most; install the newer agent again"
    )]
    Newer { path: PathBuf, found: i32 },
    #[error("{path} is not a ledger of replank; set another `state_dir`, or move the file away")]
    Foreign { path: PathBuf },
    #[error(
        "the ledger {path} cannot be read or written: {source}; look at the space and the health of the disk"
    )]
    Sqlite {
        path: PathBuf,
        #[source]
        source: rusqlite::Error,
    },
    #[error("{path} cannot be written: {source}")]
    Io {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    #[error(transparent)]
    Illegal(#[from] IllegalEntry),
}

/// The open ledger. One connection, one writer; cheap to share.
#[derive(Debug)]
pub struct Ledger {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Ledger {
    /// Opens the ledger in the agent's directory, and makes one on the first use of that directory.
    ///
    /// # Errors
    /// It was there and is gone, is damaged, foreign, newer, or cannot be written.
    pub fn open(state_dir: &Path) -> Result<Self, LedgerError> {
        let path = state_dir.join("ledger.sqlite");
        let marker = state_dir.join("ledger.made");
        let fresh = !path.exists();
        if fresh && marker.exists() {
            return Err(LedgerError::Gone { path, marker });
        }
        let sqlite = |source| LedgerError::Sqlite { path: path.clone(), source };
        let mut connection = Connection::open_with_flags(
            &path,
            OpenFlags::SQLITE_OPEN_READ_WRITE
                | OpenFlags::SQLITE_OPEN_CREATE
                | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )
        .map_err(sqlite)?;
        if !fresh {
            check(&path, &connection)?;
        }
        connection
            .execute_batch("PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA foreign_keys=ON; PRAGMA busy_timeout=5000;")
            .map_err(sqlite)?;
        let version: i32 =
            connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(sqlite)?;
        if version < VERSION {
            let transaction =
                connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(sqlite)?;
            let tables = if version == 0 { TABLES } else { FROM_VERSION_1 };
            transaction.execute_batch(tables).map_err(sqlite)?;
            transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(sqlite)?;
            transaction.pragma_update(None, "user_version", VERSION).map_err(sqlite)?;
            transaction.commit().map_err(sqlite)?;
        }
        if !marker.exists() {
            mark(&marker).map_err(|source| LedgerError::Io { path: marker.clone(), source })?;
        }
        Ok(Self { path, connection: Mutex::new(connection) })
    }

    /// Opens the ledger beside an agent that may be at work, to read it. `None`: there is none, and none is made.
    ///
    /// # Errors
    /// It was there and is gone, is damaged, foreign, newer, or cannot be read.
    pub fn open_to_read(state_dir: &Path) -> Result<Option<Self>, LedgerError> {
        let path = state_dir.join("ledger.sqlite");
        let marker = state_dir.join("ledger.made");
        match (path.exists(), marker.exists()) {
            (false, true) => return Err(LedgerError::Gone { path, marker }),
            (false, false) => return Ok(None),
            (true, _) => {}
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let sqlite = |source| LedgerError::Sqlite { path: path.clone(), source };
        let connection = Connection::open_with_flags(&path, flags).map_err(sqlite)?;
        connection.execute_batch("PRAGMA busy_timeout=5000;").map_err(sqlite)?;
        check(&path, &connection)?;
        Ok(Some(Self { path, connection: Mutex::new(connection) }))
    }

    fn connection(&self) -> MutexGuard<'_, Connection> {
        // A panic while the lock was held left at most an open transaction, which its drop rolled back.
        self.connection.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sqlite(&self, source: rusqlite::Error) -> LedgerError {
        LedgerError::Sqlite { path: self.path.clone(), source }
    }

    /// Everything, oldest first.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn entries(&self) -> Result<Vec<Entry>, LedgerError> {
        self.select("SELECT body FROM entry ORDER BY sequence", &[])
    }

    /// Looks and writes in one transaction: nobody comes between what a rule was told and what is written. Durable when this returns.
    fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let mut connection = self.connection();
        let transaction = connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|source| self.sqlite(source))?;
        let done = work(&transaction)?;
        transaction.commit().map_err(|source| self.sqlite(source))?;
        Ok(done)
    }

    fn known(&self, connection: &Connection, id: &ActionId) -> Result<Option<Entry>, LedgerError> {
        let body: Option<String> = connection
            .query_row("SELECT body FROM entry WHERE id = ?1", [id.to_string()], |row| row.get(0))
            .optional()
            .map_err(|source| self.sqlite(source))?;
        body.map(|body| self.decode(&body)).transpose()
    }

    /// Under one lock: whom it obeys, and from now on.
    fn follow(&self, after: impl FnOnce(Leader) -> Option<Leader>) -> Result<bool, LedgerError> {
        let connection = self.connection();
        let leader = read_leader(&connection).map_err(|source| self.sqlite(source))?;
        let Some(next) = after(leader) else { return Ok(false) };
        if next != leader {
            let number = i64::try_from(next.epoch.0).unwrap_or(i64::MAX);
            connection
                .execute(
                    "UPDATE epoch SET highest = ?1, coordinator = ?2 WHERE only_row = 1",
                    params![number, next.coordinator.map(|coordinator| coordinator.to_string())],
                )
                .map_err(|source| self.sqlite(source))?;
        }
        Ok(true)
    }

    fn highest(&self, connection: &Connection) -> Result<Epoch, LedgerError> {
        read_epoch(connection).map_err(|source| self.sqlite(source))
    }

    fn insert(&self, connection: &Connection, entry: &Entry) -> Result<(), LedgerError> {
        let ended = matches!(entry.stage, Stage::Ended { .. });
        connection
            .execute(
                "INSERT INTO entry (id, run, step, ended, body) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![
                    entry.id.to_string(),
                    entry.id.run.as_str(),
                    entry.id.step.as_str(),
                    ended,
                    encode(entry)
                ],
            )
            .map_err(|source| self.sqlite(source))?;
        Ok(())
    }

    fn select(&self, query: &str, values: &[&str]) -> Result<Vec<Entry>, LedgerError> {
        let bodies: Vec<String> = {
            let connection = self.connection();
            let mut statement = connection.prepare(query).map_err(|source| self.sqlite(source))?;
            let rows = statement
                .query_map(rusqlite::params_from_iter(values), |row| row.get(0))
                .map_err(|source| self.sqlite(source))?;
            rows.collect::<Result<_, _>>().map_err(|source| self.sqlite(source))?
        };
        bodies.iter().map(|body| self.decode(body)).collect()
    }

    fn decode(&self, body: &str) -> Result<Entry, LedgerError> {
        serde_json::from_str(body)
            .map_err(|error| LedgerError::Damaged { path: self.path.clone(), why: error.to_string() })
    }
}

impl replank_agent_core::Ledger for Ledger {
    type Error = LedgerError;

    fn illegal(error: &LedgerError) -> Option<&IllegalEntry> {
        match error {
            LedgerError::Illegal(illegal) => Some(illegal),
            LedgerError::Gone { .. }
            | LedgerError::Damaged { .. }
            | LedgerError::Newer { .. }
            | LedgerError::Foreign { .. }
            | LedgerError::Sqlite { .. }
            | LedgerError::Io { .. } => None,
        }
    }

    fn epoch(&self) -> Result<Epoch, LedgerError> {
        self.highest(&self.connection())
    }

    fn leader(&self) -> Result<Leader, LedgerError> {
        read_leader(&self.connection()).map_err(|source| self.sqlite(source))
    }

    fn obey(&self, epoch: Epoch) -> Result<bool, LedgerError> {
        self.follow(|leader| leader.after_command(epoch))
    }

    fn obey_welcome(&self, epoch: Epoch, coordinator: Option<CoordinatorId>) -> Result<bool, LedgerError> {
        self.follow(|leader| leader.after_welcome(epoch, coordinator))
    }

    fn look_up(&self, id: &ActionId) -> Result<Option<Entry>, LedgerError> {
        self.known(&self.connection(), id)
    }

    fn of_step(&self, run: &RunId, step: &StepId) -> Result<Vec<Entry>, LedgerError> {
        self.select(
            "SELECT body FROM entry WHERE run = ?1 AND step = ?2 ORDER BY sequence",
            &[run.as_str(), step.as_str()],
        )
    }

    fn unfinished(&self) -> Result<Vec<Entry>, LedgerError> {
        self.select("SELECT body FROM entry WHERE ended = 0 ORDER BY sequence", &[])
    }

    fn count(&self) -> Result<u64, LedgerError> {
        let count: i64 = self
            .connection()
            .query_row("SELECT count(*) FROM entry", [], |row| row.get(0))
            .map_err(|source| self.sqlite(source))?;
        Ok(u64::try_from(count).unwrap_or(0))
    }

    fn intend(&self, new: NewIntent) -> Result<Entry, LedgerError> {
        self.write(|transaction| {
            let known = self.known(transaction, &new.id)?;
            let entry = rules::intended(new, self.highest(transaction)?, known.as_ref())?;
            self.insert(transaction, &entry)?;
            Ok(entry)
        })
    }

    fn go_on(&self, id: &ActionId, epoch: Epoch) -> Result<Entry, LedgerError> {
        // Two readings under one lock: `obey` takes it too.
        let connection = self.connection();
        Ok(rules::gone_on(id, epoch, self.highest(&connection)?, self.known(&connection, id)?)?)
    }

    fn end(&self, id: &ActionId, outcome: Outcome, at_ms: UnixMs) -> Result<Entry, LedgerError> {
        self.write(|transaction| {
            let entry = rules::ended(id, self.known(transaction, id)?, outcome, at_ms)?;
            transaction
                .execute(
                    "UPDATE entry SET ended = 1, body = ?2 WHERE id = ?1",
                    params![entry.id.to_string(), encode(&entry)],
                )
                .map_err(|source| self.sqlite(source))?;
            Ok(entry)
        })
    }

    fn end_unbegun(&self, new: Unbegun) -> Result<Entry, LedgerError> {
        self.write(|transaction| {
            let known = self.known(transaction, &new.id)?;
            let entry = rules::ended_unbegun(new, known.as_ref())?;
            self.insert(transaction, &entry)?;
            Ok(entry)
        })
    }
}

fn encode(entry: &Entry) -> String {
    serde_json::to_string(entry).expect("an entry is plain data with text keys, which JSON can always hold")
}

fn read_epoch(connection: &Connection) -> Result<Epoch, rusqlite::Error> {
    let number: i64 =
        connection.query_row("SELECT highest FROM epoch WHERE only_row = 1", [], |row| row.get(0))?;
    Ok(Epoch(u64::try_from(number).unwrap_or(0)))
}

fn read_leader(connection: &Connection) -> Result<Leader, rusqlite::Error> {
    connection.query_row("SELECT highest, coordinator FROM epoch WHERE only_row = 1", [], |row| {
        let (number, coordinator): (i64, Option<String>) = (row.get(0)?, row.get(1)?);
        Ok(Leader {
            epoch: Epoch(u64::try_from(number).unwrap_or(0)),
            // Written by this agent alone; what is not a UUID names nobody.
            coordinator: coordinator.and_then(|text| text.parse().ok()),
        })
    })
}

fn check(path: &Path, connection: &Connection) -> Result<(), LedgerError> {
    let damaged = |why: String| LedgerError::Damaged { path: path.to_owned(), why };
    let said: String = connection
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(|error| damaged(error.to_string()))?;
    if said != "ok" {
        return Err(damaged(said));
    }
    let id: i32 = connection
        .query_row("PRAGMA application_id", [], |row| row.get(0))
        .map_err(|error| damaged(error.to_string()))?;
    let version: i32 = connection
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(|error| damaged(error.to_string()))?;
    // A crash while the first tables were made leaves a file without an id: nothing was ever recorded in it.
    if version == 0 && id == 0 {
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(|error| damaged(error.to_string()))?;
        return if tables == 0 { Ok(()) } else { Err(LedgerError::Foreign { path: path.to_owned() }) };
    }
    if id != APPLICATION_ID {
        return Err(LedgerError::Foreign { path: path.to_owned() });
    }
    if version > VERSION {
        return Err(LedgerError::Newer { path: path.to_owned(), found: version });
    }
    Ok(())
}

fn mark(marker: &Path) -> io::Result<()> {
    File::create(marker)?.sync_all()?;
    match marker.parent() {
        Some(parent) => File::open(parent)?.sync_all(),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use replank_agent_core::Ledger as _;
    use replank_agent_core::ledger::{Work, conformance, standing_record};
    use replank_common::action::UnitMask;
    use replank_common::ids::PlanId;
    use replank_common::outcome::{How, Refusal};
    use replank_common::undo::UndoRecord;
    use std::fs;

    fn id(direction: &str, attempt: u32) -> ActionId {
        format!("run-0192aabbccddeeff0011223344556677/h1.mask/{direction}/{attempt}").parse().unwrap()
    }

    fn plan() -> PlanId {
        PlanId::new(format!("sha256:{}", "a".repeat(64))).unwrap()
    }

    fn mask() -> Work {
        Work::Do(replank_common::action::Action::UnitMask(UnitMask {
            unit: "x.service".into(),
            runtime: false,
        }))
    }

    fn intent(attempt: u32, undo: UndoRecord) -> NewIntent {
        NewIntent { epoch: Epoch(0), id: id("do", attempt), plan: plan(), work: mask(), undo, at_ms: 1 }
    }

    fn done() -> Outcome {
        Outcome::Done { how: How::Applied, took_ms: 1, changes: vec![], findings: vec![] }
    }

    fn tree(path: &str) -> UndoRecord {
        UndoRecord::Tree { path: path.into() }
    }

    #[test]
    fn it_answers_as_every_ledger_does() {
        let again = |dir: &Path| {
            let dir = dir.to_owned();
            move |ledger: Ledger| {
                drop(ledger);
                Ledger::open(&dir).unwrap()
            }
        };
        let dir = tempfile::tempdir().unwrap();
        conformance::check(Ledger::open(dir.path()).unwrap(), again(dir.path()));
        for seed in 0..4 {
            let dir = tempfile::tempdir().unwrap();
            let ledger = Ledger::open(dir.path()).unwrap();
            conformance::check_against_memory(ledger, seed, again(dir.path()));
        }
    }

    #[test]
    fn an_intent_survives_reopening_and_ends_once() {
        let dir = tempfile::tempdir().unwrap();
        {
            let ledger = Ledger::open(dir.path()).unwrap();
            ledger.intend(intent(1, tree("/a"))).unwrap();
        }
        let ledger = Ledger::open(dir.path()).unwrap();
        assert_eq!(ledger.unfinished().unwrap().len(), 1);
        assert!(matches!(
            ledger.intend(intent(1, tree("/b"))),
            Err(LedgerError::Illegal(IllegalEntry::IntendedTwice(_)))
        ));
        ledger.end(&id("do", 1), done(), 2).unwrap();
        assert!(matches!(
            ledger.end(&id("do", 1), done(), 3),
            Err(LedgerError::Illegal(IllegalEntry::EndedTwice(_)))
        ));
        let entry = ledger.look_up(&id("do", 1)).unwrap().unwrap();
        assert_eq!((entry.undo(), entry.outcome()), (Some(&tree("/a")), Some(&done())));
        assert!(ledger.unfinished().unwrap().is_empty());
    }

    #[test]
    fn an_old_epoch_is_refused_also_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        assert!(ledger.obey(Epoch(7)).unwrap());
        drop(ledger);
        let ledger = Ledger::open(dir.path()).unwrap();
        assert!(!ledger.obey(Epoch(6)).unwrap());
        let late = NewIntent { epoch: Epoch(6), ..intent(1, tree("/a")) };
        let refused = ledger.intend(late);
        assert!(matches!(refused, Err(LedgerError::Illegal(IllegalEntry::OldEpoch(_)))), "{refused:?}");
        assert_eq!(ledger.count().unwrap(), 0);
        assert!(ledger.obey(Epoch(7)).unwrap());
        assert_eq!(ledger.epoch().unwrap(), Epoch(7));
    }

    #[test]
    fn of_one_epoch_one_coordinator_is_obeyed_also_after_reopening() {
        let dir = tempfile::tempdir().unwrap();
        let [one, two] = [1, 2].map(|number| Some(CoordinatorId(uuid::Uuid::from_u128(number))));
        assert!(Ledger::open(dir.path()).unwrap().obey_welcome(Epoch(7), one).unwrap());
        let ledger = Ledger::open(dir.path()).unwrap();
        assert!(!ledger.obey_welcome(Epoch(7), two).unwrap());
        assert!(ledger.obey_welcome(Epoch(7), one).unwrap() && ledger.obey(Epoch(7)).unwrap());
        assert_eq!(ledger.leader().unwrap(), Leader { epoch: Epoch(7), coordinator: one });
        assert!(ledger.obey_welcome(Epoch(8), two).unwrap());
        assert!(!ledger.obey(Epoch(7)).unwrap());
    }

    #[test]
    fn a_ledger_of_the_first_version_is_brought_to_this_one() {
        let dir = tempfile::tempdir().unwrap();
        let first = Connection::open(dir.path().join("ledger.sqlite")).unwrap();
        let tables = TABLES.replace(",\n    coordinator TEXT\n", "\n").replace("0, NULL", "7");
        first.execute_batch(&tables).unwrap();
        first.pragma_update(None, "application_id", APPLICATION_ID).unwrap();
        first.pragma_update(None, "user_version", 1).unwrap();
        drop(first);
        let one = Some(CoordinatorId(uuid::Uuid::from_u128(1)));
        for _ in 0..2 {
            let ledger = Ledger::open(dir.path()).unwrap();
            assert_eq!(ledger.epoch().unwrap(), Epoch(7));
            assert!(!ledger.obey(Epoch(6)).unwrap());
            assert!(ledger.obey_welcome(Epoch(7), one).unwrap());
        }
    }

    #[test]
    fn a_ledger_that_is_gone_damaged_foreign_or_newer_is_never_begun_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ledger.sqlite");
        drop(Ledger::open(dir.path()).unwrap());
        let good = fs::read(&path).unwrap();

        fs::remove_file(&path).unwrap();
        assert!(matches!(Ledger::open(dir.path()), Err(LedgerError::Gone { .. })));

        let mut torn = good.clone();
        torn[4096..].fill(0x55);
        fs::write(&path, &torn).unwrap();
        assert!(matches!(Ledger::open(dir.path()), Err(LedgerError::Damaged { .. })));

        fs::write(&path, b"this is a text file of somebody else, longer than SQLite's own header of a hundred bytes, is it not? Yes.").unwrap();
        assert!(matches!(Ledger::open(dir.path()), Err(LedgerError::Damaged { .. })));

        fs::remove_file(&path).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute_batch("CREATE TABLE t (x)").unwrap();
        drop(other);
        assert!(matches!(Ledger::open(dir.path()), Err(LedgerError::Foreign { .. })));

        fs::write(&path, &good).unwrap();
        let newer = Connection::open(&path).unwrap();
        newer.pragma_update(None, "user_version", VERSION + 1).unwrap();
        drop(newer);
        assert!(
            matches!(Ledger::open(dir.path()), Err(LedgerError::Newer { found, .. }) if found == VERSION + 1)
        );
    }

    #[test]
    fn the_first_record_of_a_step_stands_until_it_is_taken_back() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        let of_step = || ledger.of_step(&id("do", 1).run, &id("do", 1).step).unwrap();
        ledger.intend(intent(1, tree("/first"))).unwrap();
        let failed = |restored| Outcome::Failed {
            code: "RP5111".into(),
            error: "e".into(),
            remedy: "r".into(),
            restored,
            took_ms: 1,
        };
        ledger.end(&id("do", 1), failed(false), 2).unwrap();
        ledger.intend(intent(2, tree("/second"))).unwrap();
        assert_eq!(standing_record(&of_step()), Some(&tree("/first")));
        ledger.end(&id("do", 2), failed(true), 2).unwrap();
        assert_eq!(standing_record(&of_step()), None, "the agent put everything back itself");
        ledger.intend(intent(3, tree("/third"))).unwrap();
        ledger.end(&id("do", 3), done(), 2).unwrap();
        let undo = NewIntent {
            epoch: Epoch(0),
            id: id("undo", 1),
            plan: plan(),
            work: Work::Undo(id("do", 3)),
            undo: tree("/third"),
            at_ms: 4,
        };
        ledger.intend(undo).unwrap();
        assert_eq!(standing_record(&of_step()), Some(&tree("/third")));
        ledger.end(&id("undo", 1), done(), 5).unwrap();
        assert_eq!(standing_record(&of_step()), None);
    }

    #[test]
    fn what_never_began_ends_refused_or_found_done_and_never_failed() {
        let dir = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(dir.path()).unwrap();
        let refused = Outcome::Refused(Refusal {
            code: "RP4101".into(),
            reason: "no".into(),
            remedy: "ask".into(),
            findings: vec![],
        });
        let unbegun = |attempt, outcome| Unbegun {
            id: id("do", attempt),
            plan: plan(),
            work: mask(),
            undo: None,
            outcome,
            at_ms: 1,
        };
        ledger.end_unbegun(unbegun(1, refused.clone())).unwrap();
        assert_eq!(ledger.look_up(&id("do", 1)).unwrap().unwrap().outcome(), Some(&refused));
        let failed = Outcome::Failed {
            code: "RP5111".into(),
            error: "e".into(),
            remedy: "r".into(),
            restored: false,
            took_ms: 0,
        };
        assert!(ledger.end_unbegun(unbegun(2, failed)).is_err());
    }
}
