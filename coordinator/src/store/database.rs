//! The file: opened, recognised, brought to today's form.

use super::StoreError;
use super::plans::cut_plans;
use replank_common::ids::Epoch;
use replank_core::runs::Epochs;
use rusqlite::{Connection, Transaction, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// `RPLK`: how `file` and SQLite know whose database this is.
const APPLICATION_ID: i64 = 0x5250_4c4b;

/// What brings the form one further.
enum Migration {
    Sql(&'static str),
    Code(fn(&Transaction<'_>) -> Result<(), rusqlite::Error>),
}

/// Each entry brings the form from its index to the next. Entries are only added.
const MIGRATIONS: &[Migration] = &[Migration::Sql("
    CREATE TABLE epoch (one INTEGER PRIMARY KEY CHECK (one = 1), epoch INTEGER NOT NULL, heard INTEGER NOT NULL) STRICT;
    INSERT INTO epoch VALUES (1, 0, 0);
    CREATE TABLE plans (id TEXT PRIMARY KEY, bytes BLOB NOT NULL, stored_ms INTEGER NOT NULL) STRICT;
    CREATE TABLE runs (
        id TEXT PRIMARY KEY, plan TEXT NOT NULL REFERENCES plans(id), created_ms INTEGER NOT NULL,
        head_seq INTEGER NOT NULL, head_hash BLOB NOT NULL,
        finished INTEGER NOT NULL, phase TEXT NOT NULL, steps_done INTEGER NOT NULL, steps_total INTEGER NOT NULL
    ) STRICT;
    CREATE TABLE events (
        run TEXT NOT NULL REFERENCES runs(id), seq INTEGER NOT NULL, at_ms INTEGER NOT NULL, epoch INTEGER NOT NULL,
        format INTEGER NOT NULL, body TEXT NOT NULL, prev_hash BLOB NOT NULL, PRIMARY KEY (run, seq)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE tokens (id TEXT PRIMARY KEY, host TEXT NOT NULL, used INTEGER NOT NULL, record TEXT NOT NULL) STRICT;
    CREATE INDEX tokens_of_host ON tokens (host);
    CREATE TABLE certificates (
        serial TEXT PRIMARY KEY, role TEXT NOT NULL, host TEXT, fingerprint TEXT NOT NULL,
        not_before INTEGER NOT NULL, not_after INTEGER NOT NULL, issued_ms INTEGER NOT NULL
    ) STRICT;
    CREATE INDEX certificates_of_host ON certificates (host);
    CREATE TABLE revoked_hosts (host TEXT PRIMARY KEY, by_whom TEXT NOT NULL, at_ms INTEGER NOT NULL) STRICT;
    CREATE TABLE revoked_serials (serial TEXT PRIMARY KEY, at_ms INTEGER NOT NULL) STRICT;
"), Migration::Code(cut_plans)];

/// The store, used from one thread. [`super::Store`] is its handle for everybody.
#[derive(Debug)]
pub struct Database {
    pub(super) connection: Connection,
}

impl Database {
    /// Opens the store at `path`, or makes it, and brings it to today's form.
    ///
    /// # Errors
    /// [`StoreError::Foreign`] and [`StoreError::Newer`] for a file that is not ours to write to.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let failed = |source| StoreError::Open { path: path.to_owned(), source };
        let mut connection = Connection::open(path).map_err(failed)?;
        connection.busy_timeout(Duration::from_secs(5)).map_err(failed)?;
        let pragma = |name: &str| connection.pragma_query_value(None, name, |row| row.get::<_, i64>(0));
        let (application, form) = match (pragma("application_id"), pragma("user_version")) {
            (Ok(application), Ok(form)) => (application, form),
            (Err(error), _) | (_, Err(error)) if not_a_database(&error) => {
                return Err(StoreError::Foreign { path: path.to_owned() });
            }
            (Err(error), _) | (_, Err(error)) => return Err(failed(error)),
        };
        let known = MIGRATIONS.len() as i64;
        let tables: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema", [], |row| row.get(0))
            .map_err(failed)?;
        let new = application == 0 && form == 0 && tables == 0;
        if application != APPLICATION_ID && !new {
            return Err(StoreError::Foreign { path: path.to_owned() });
        }
        if form > known {
            return Err(StoreError::Newer { path: path.to_owned(), found: form, known });
        }
        connection.pragma_update(None, "journal_mode", "WAL").map_err(failed)?;
        connection.pragma_update(None, "synchronous", "FULL").map_err(failed)?;
        connection.pragma_update(None, "foreign_keys", true).map_err(failed)?;
        let transaction =
            connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(failed)?;
        for migration in MIGRATIONS.iter().skip(usize::try_from(form).unwrap_or(0)) {
            match migration {
                Migration::Sql(text) => transaction.execute_batch(text),
                Migration::Code(migrate) => migrate(&transaction),
            }
            .map_err(failed)?;
        }
        transaction.pragma_update(None, "application_id", APPLICATION_ID).map_err(failed)?;
        transaction.pragma_update(None, "user_version", known).map_err(failed)?;
        transaction.commit().map_err(failed)?;
        Ok(Self { connection })
    }

    /// Makes this connection one that cannot change anything.
    pub(super) fn reading_only(self) -> Result<Self, StoreError> {
        let failed = StoreError::failed("make a connection to the store read-only");
        self.connection.pragma_update(None, "query_only", true).map_err(failed)?;
        Ok(self)
    }

    /// Begins a new term of office: one higher than any before it (P9).
    ///
    /// # Errors
    /// [`StoreError::Failed`]; nothing has begun.
    pub fn next_epoch(&mut self) -> Result<Epoch, StoreError> {
        Ok(self.change_epochs("begin a new epoch in the store", Epochs::next)?.last)
    }

    /// Whether the store is still led by this term of office.
    ///
    /// # Errors
    /// [`StoreError::Overtaken`] when a later one was begun.
    pub fn is_led_by(&self, own: Epoch) -> Result<(), StoreError> {
        let epochs =
            read_epochs(&self.connection).map_err(StoreError::failed("read the epoch of the store"))?;
        if epochs.is_led_by(own) { Ok(()) } else { Err(StoreError::Overtaken { own, found: epochs.last }) }
    }

    /// Remembers that an agent says to have obeyed a coordinator of epoch `heard`: the next term of this one, which somebody starts on
    /// purpose, is higher. An epoch that no coordinator reaches in its life is an agent's invention and is not taken over.
    ///
    /// # Errors
    /// [`StoreError::Failed`]; nothing has changed.
    pub fn heard_of(&mut self, heard: Epoch) -> Result<(), StoreError> {
        self.change_epochs("remember a later epoch in the store", |epochs| epochs.hear(heard)).map(drop)
    }

    fn change_epochs(
        &mut self,
        what: &'static str,
        change: impl FnOnce(Epochs) -> Epochs,
    ) -> Result<Epochs, StoreError> {
        let failed = StoreError::failed(what);
        let transaction =
            self.connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(&failed)?;
        let before = read_epochs(&transaction).map_err(&failed)?;
        let after = change(before);
        if after != before {
            let numbers = [signed(after.last.0), signed(after.heard.0)];
            transaction
                .execute("UPDATE epoch SET epoch = ?1, heard = ?2 WHERE one = 1", numbers)
                .map_err(&failed)?;
        }
        transaction.commit().map_err(&failed)?;
        Ok(after)
    }
}

pub(super) fn read_epochs(connection: &Connection) -> Result<Epochs, rusqlite::Error> {
    connection.query_row("SELECT epoch, heard FROM epoch WHERE one = 1", [], |row| {
        let epoch = |at: usize| row.get::<_, i64>(at).map(|number| Epoch(u64::try_from(number).unwrap_or(0)));
        Ok(Epochs { last: epoch(0)?, heard: epoch(1)? })
    })
}

fn not_a_database(error: &rusqlite::Error) -> bool {
    error.sqlite_error_code() == Some(rusqlite::ErrorCode::NotADatabase)
}

/// SQLite's integers are signed; every number of ours fits by far.
pub(super) fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_term_is_later_than_any_that_was_heard_of() {
        let dir = tempfile::tempdir().unwrap();
        let mut database = Database::open(&dir.path().join("replank.db")).unwrap();
        for (heard, next) in [(9, 10), (3, 11), (u64::MAX, 12)] {
            database.heard_of(Epoch(heard)).unwrap();
            assert_eq!(database.next_epoch().unwrap(), Epoch(next));
        }
    }

    #[test]
    fn the_store_says_whose_it_is() {
        let dir = tempfile::tempdir().unwrap();
        let mut database = Database::open(&dir.path().join("replank.db")).unwrap();
        let first = database.next_epoch().unwrap();
        database.is_led_by(first).unwrap();
        let second = database.next_epoch().unwrap();
        let refused = database.is_led_by(first);
        assert!(matches!(refused, Err(StoreError::Overtaken { found, .. }) if found == second));
    }

    #[test]
    fn epochs_grow_over_openings() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("replank.db");
        for expected in 1..4 {
            assert_eq!(Database::open(&path).unwrap().next_epoch().unwrap(), Epoch(expected));
        }
    }

    #[test]
    fn foreign_and_newer_files_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let text = dir.path().join("text");
        std::fs::write(&text, "not a database, and longer than a header of one would be: ".repeat(20))
            .unwrap();
        assert!(matches!(Database::open(&text), Err(StoreError::Foreign { .. })));
        let other = dir.path().join("other.db");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (x)").unwrap();
        assert!(matches!(Database::open(&other), Err(StoreError::Foreign { .. })));
        let newer = dir.path().join("newer.db");
        Database::open(&newer).unwrap().connection.pragma_update(None, "user_version", 99).unwrap();
        assert!(matches!(Database::open(&newer), Err(StoreError::Newer { found: 99, .. })));
    }
}
