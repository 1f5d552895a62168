//! Journals read back, only if every line is as it was written: proved on this thread, line for line, and handed out in pieces, which
//! somebody else makes events of meanwhile.

use super::journal::{Head, StoredLine, first_hash, unsigned};
use super::{Database, StoreError};
use replank_common::UnixMs;
use replank_common::ids::{Epoch, PlanId, RunId};
use replank_common::planted::{self, Planted};
use replank_core::run::{JOURNAL_FORMAT, Record};
use rusqlite::OptionalExtension;

/// A piece is handed out once it has so much text.
const PIECE_BYTES: usize = 1 << 20;

/// Consecutive lines of a journal, each proved to follow from the one before it. That the journal ends where it should is known only
/// when all of it was read.
#[derive(Debug, Default)]
pub struct Piece {
    lines: Vec<PieceLine>,
    bodies: String,
}

#[derive(Debug)]
struct PieceLine {
    seq: u64,
    at_ms: UnixMs,
    epoch: u64,
    format: u32,
    /// Where its event ends among the bodies.
    end: usize,
}

impl Piece {
    /// # Errors
    /// [`StoreError::Damaged`]: within its format, a line holds what that format does not have.
    pub fn records(&self, run: &RunId) -> Result<Vec<Record>, StoreError> {
        let mut begin = 0;
        let mut records = Vec::with_capacity(self.lines.len());
        for PieceLine { seq, at_ms, epoch, format, end } in &self.lines {
            let event = serde_json::from_str(&self.bodies[begin..*end]).map_err(|error| {
                StoreError::Damaged { run: run.clone(), why: format!("line {seq} cannot be read: {error}") }
            })?;
            begin = *end;
            records.push(Record { seq: *seq, at_ms: *at_ms, epoch: Epoch(*epoch), format: *format, event });
        }
        Ok(records)
    }
}

impl Database {
    /// The whole journal of a run, and its plan's id.
    ///
    /// # Errors
    /// As [`Self::read_journal`].
    pub fn journal(&self, run: &RunId) -> Result<(PlanId, Vec<Record>), StoreError> {
        let mut pieces = Vec::new();
        let plan = self.read_journal(run, |piece| {
            pieces.push(piece);
            true
        })?;
        let mut records = Vec::new();
        for piece in pieces {
            records.append(&mut piece.records(run)?);
        }
        Ok((plan, records))
    }

    /// The plan that a run is of.
    ///
    /// # Errors
    /// [`StoreError::UnknownRun`].
    pub fn plan_of(&self, run: &RunId) -> Result<PlanId, StoreError> {
        Ok(self.run_row(run)?.0)
    }

    /// Reads the journal of a run in pieces, in order, until `piece` says that nobody wants more. Its plan's id, once all of it is proved.
    ///
    /// # Errors
    /// [`StoreError::Damaged`] when it is not, line for line, what was appended; [`StoreError::NewerJournal`] when it is, and holds lines
    /// that only a newer replank understands. What the pieces held is then worth nothing.
    pub fn read_journal(
        &self,
        run: &RunId,
        mut piece: impl FnMut(Piece) -> bool,
    ) -> Result<PlanId, StoreError> {
        let failed = StoreError::failed("read a journal");
        let damaged = |why: String| StoreError::Damaged { run: run.clone(), why };
        // One snapshot for the row and the lines: another thread may be appending.
        let snapshot = self.connection.unchecked_transaction().map_err(&failed)?;
        let (plan, head) = self.run_row(run)?;
        let mut statement = snapshot
            .prepare(
                "SELECT seq, at_ms, epoch, format, body, prev_hash FROM events WHERE run = ?1 ORDER BY seq",
            )
            .map_err(&failed)?;
        let mut rows = statement.query([run.as_str()]).map_err(&failed)?;
        let mut hash = first_hash(run, &plan);
        let mut newer = None;
        let mut filling = Piece::default();
        let mut seq = 0;
        while let Some(row) = rows.next().map_err(&failed)? {
            seq += 1;
            let text = |error: rusqlite::types::FromSqlError| failed(error.into());
            let line = StoredLine {
                seq: unsigned(row.get(0).map_err(&failed)?),
                at_ms: unsigned(row.get(1).map_err(&failed)?),
                epoch: unsigned(row.get(2).map_err(&failed)?),
                format: row.get(3).map_err(&failed)?,
                body: row.get_ref(4).map_err(&failed)?.as_str().map_err(text)?,
                prev_hash: row.get_ref(5).map_err(&failed)?.as_blob().map_err(text)?,
            };
            if line.seq != seq {
                return Err(damaged(format!("line {seq} is missing, line {} follows", line.seq)));
            }
            if line.prev_hash != hash && !planted::is(Planted::ChainUnread) {
                return Err(damaged(format!("line {seq} does not follow from the one before it")));
            }
            hash = line.hash().to_vec();
            // Not looked into: what it holds may mean anything. That it is undamaged can be told all the same.
            if line.format > JOURNAL_FORMAT {
                newer = newer.max(Some(line.format));
            }
            if newer.is_some() {
                continue;
            }
            if filling.lines.is_empty() {
                filling.bodies.reserve(PIECE_BYTES + line.body.len());
            }
            filling.bodies.push_str(line.body);
            let StoredLine { at_ms, epoch, format, .. } = line;
            filling.lines.push(PieceLine { seq, at_ms, epoch, format, end: filling.bodies.len() });
            if filling.bodies.len() >= PIECE_BYTES && !piece(std::mem::take(&mut filling)) {
                return Err(StoreError::Closed);
            }
        }
        let ends_there = hash == head.hash || planted::is(Planted::ChainUnread);
        if seq != head.seq || !ends_there {
            return Err(damaged(format!("it ends at line {seq} and was written up to line {}", head.seq)));
        }
        if let Some(found) = newer {
            return Err(StoreError::NewerJournal { run: run.clone(), found, known: JOURNAL_FORMAT });
        }
        piece(filling);
        Ok(plan)
    }

    fn run_row(&self, run: &RunId) -> Result<(PlanId, Head), StoreError> {
        let (plan, head): (String, Head) = self
            .connection
            .query_row("SELECT plan, head_seq, head_hash FROM runs WHERE id = ?1", [run.as_str()], |row| {
                Ok((row.get(0)?, Head { seq: unsigned(row.get(1)?), hash: row.get(2)? }))
            })
            .optional()
            .map_err(StoreError::failed("read a journal"))?
            .ok_or_else(|| StoreError::UnknownRun { run: run.clone() })?;
        let damaged = |why: String| StoreError::Damaged { run: run.clone(), why };
        Ok((PlanId::new(plan).map_err(|error| damaged(error.to_string()))?, head))
    }
}
