//! Plan files, by their content address: kept in pieces ([`replank_core::plan::cut`]), each packed for itself, so that a large one is read,
//! proved and made a plan of without ever being in memory as a whole.
//!
//! What is unpacked is the file, byte for byte. Nothing here proves that: whoever reads holds it against its id.

use super::database::signed;
use super::journal::unsigned;
use super::{Database, StoreError};
use lz4_flex::block::{compress, decompress_into};
use replank_common::UnixMs;
use replank_common::ids::PlanId;
use replank_core::plan::cut;
use rusqlite::{Connection, OptionalExtension, Transaction, params};

/// An LZ4 block never says more than so many bytes with one of its own.
const UNPACKED_MAX: usize = 255;

/// A plan file as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackedPlan {
    id: PlanId,
    pieces: Vec<PackedPiece>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct PackedPiece {
    /// In bytes, unpacked.
    length: usize,
    packed: Vec<u8>,
}

impl PackedPlan {
    /// Of the bytes of the plan file of `id`.
    pub fn of(id: &PlanId, bytes: &[u8]) -> Self {
        let packed = |piece: &[u8]| PackedPiece { length: piece.len(), packed: compress(piece) };
        Self { id: id.clone(), pieces: cut(bytes).into_iter().map(packed).collect() }
    }

    pub fn id(&self) -> &PlanId {
        &self.id
    }

    /// How many pieces there are.
    pub fn pieces(&self) -> usize {
        self.pieces.len()
    }

    /// Hands out one piece of the file after the other, until the first error.
    ///
    /// # Errors
    /// [`StoreError::DamagedPlan`], and those of `each`.
    pub fn unpack<E: From<StoreError>>(&self, mut each: impl FnMut(&[u8]) -> Result<(), E>) -> Result<(), E> {
        let mut room = Vec::new();
        for (at, PackedPiece { length, packed }) in self.pieces.iter().enumerate() {
            let damaged = |why: String| StoreError::DamagedPlan {
                plan: self.id.clone(),
                why: format!("piece {at} {why}"),
            };
            if *length > packed.len().saturating_mul(UNPACKED_MAX) {
                return Err(damaged(format!("cannot have {length} bytes")).into());
            }
            if room.len() < *length {
                room.resize(*length, 0);
            }
            let unpacked = decompress_into(packed, &mut room[..*length])
                .map_err(|error| damaged(format!("cannot be unpacked: {error}")))?;
            if unpacked != *length {
                return Err(damaged(format!("has {unpacked} bytes instead of {length}")).into());
            }
            each(&room[..*length])?;
        }
        Ok(())
    }

    /// The bytes of the file.
    ///
    /// # Errors
    /// [`StoreError::DamagedPlan`].
    pub fn bytes(&self) -> Result<Vec<u8>, StoreError> {
        let mut bytes = Vec::new();
        self.unpack(|piece| {
            bytes.extend_from_slice(piece);
            Ok::<_, StoreError>(())
        })?;
        Ok(bytes)
    }
}

impl Database {
    /// Keeps a plan file that the caller has checked. The same plan twice is the same as once.
    ///
    /// # Errors
    /// [`StoreError::Failed`]; nothing is kept.
    pub fn put_plan(&mut self, plan: &PackedPlan, now_ms: UnixMs) -> Result<(), StoreError> {
        let failed = StoreError::failed("store a plan");
        let transaction = self.connection.transaction().map_err(&failed)?;
        let put = transaction
            .execute(
                "INSERT INTO plans (id, stored_ms) VALUES (?1, ?2) ON CONFLICT (id) DO NOTHING",
                params![plan.id.as_str(), signed(now_ms)],
            )
            .map_err(&failed)?;
        if put > 0 {
            insert_pieces(&transaction, plan).map_err(&failed)?;
        }
        transaction.commit().map_err(&failed)
    }

    /// # Errors
    /// [`StoreError::UnknownPlan`]. That it is as it was put is for the caller to prove.
    pub fn plan(&self, id: &PlanId) -> Result<PackedPlan, StoreError> {
        const WHAT: &str = "read a plan";
        let failed = StoreError::failed(WHAT);
        let known = self
            .connection
            .query_row("SELECT 1 FROM plans WHERE id = ?1", [id.as_str()], |_| Ok(()))
            .optional()
            .map_err(&failed)?;
        if known.is_none() {
            return Err(StoreError::UnknownPlan { plan: id.clone() });
        }
        let mut statement = self
            .connection
            .prepare_cached("SELECT length, packed FROM plan_pieces WHERE plan = ?1 ORDER BY at")
            .map_err(&failed)?;
        let pieces = statement
            .query_map([id.as_str()], |row| {
                let length = usize::try_from(unsigned(row.get(0)?)).unwrap_or(usize::MAX);
                Ok(PackedPiece { length, packed: row.get(1)? })
            })
            .map_err(&failed)?;
        Ok(PackedPlan { id: id.clone(), pieces: pieces.collect::<Result<_, _>>().map_err(&failed)? })
    }
}

fn insert_pieces(connection: &Connection, plan: &PackedPlan) -> Result<(), rusqlite::Error> {
    let mut insert = connection.prepare_cached("INSERT INTO plan_pieces VALUES (?1, ?2, ?3, ?4)")?;
    for (at, PackedPiece { length, packed }) in (0_i64..).zip(&plan.pieces) {
        insert.execute(params![plan.id.as_str(), at, signed(*length as u64), packed])?;
    }
    Ok(())
}

/// Form 1 of the store kept every plan file as one value. Not proved: one that was damaged is refused when it is used, as before.
pub(super) fn cut_plans(transaction: &Transaction<'_>) -> Result<(), rusqlite::Error> {
    transaction.execute_batch(
        "CREATE TABLE plan_pieces (
            plan TEXT NOT NULL REFERENCES plans(id), at INTEGER NOT NULL, length INTEGER NOT NULL, packed BLOB NOT NULL,
            PRIMARY KEY (plan, at)
        ) STRICT;",
    )?;
    let mut ids = transaction.prepare("SELECT id FROM plans")?;
    let ids = ids.query_map([], |row| row.get::<_, String>(0))?.collect::<Result<Vec<_>, _>>()?;
    for id in ids {
        let bytes: Vec<u8> =
            transaction.query_row("SELECT bytes FROM plans WHERE id = ?1", [&id], |row| row.get(0))?;
        let Ok(id) = PlanId::new(id) else { continue };
        insert_pieces(transaction, &PackedPlan::of(&id, &bytes))?;
    }
    transaction.execute_batch("ALTER TABLE plans DROP COLUMN bytes")
}

#[cfg(test)]
mod tests {
    use super::*;
    use replank_common::ids::RunId;
    use replank_core::plan::{Plan, Proof};
    use std::path::{Path, PathBuf};

    /// A store of form 1, as a replank of that form left it: a plan of one host and half of its voyage.
    const FORM_1: &[u8] = include_bytes!("fixtures/form-1.db");

    fn old() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("replank.db");
        std::fs::write(&path, FORM_1).unwrap();
        (dir, path)
    }

    fn change(path: &Path, sql: &str) {
        Connection::open(path).unwrap().execute_batch(sql).unwrap();
    }

    fn run() -> RunId {
        RunId::new(format!("run-{:032x}", 7)).unwrap()
    }

    /// The plan of the old store's run, if it is read and proved.
    fn plan(path: &Path) -> Result<Plan, &'static str> {
        let database = Database::open(path).unwrap();
        let packed = database.plan(&database.plan_of(&run()).unwrap()).map_err(|error| error.code())?;
        let mut proof = Proof::of(packed.id());
        packed
            .unpack(|piece| {
                proof.add(piece).map_err(|error| StoreError::DamagedPlan {
                    plan: packed.id().clone(),
                    why: error.to_string(),
                })
            })
            .map_err(|error| error.code())?;
        proof.end().map_err(|error| error.code())?;
        Plan::from_proved_bytes(&packed.bytes().map_err(|error| error.code())?).map_err(|error| error.code())
    }

    #[test]
    fn a_store_of_form_1_is_brought_to_the_form_of_today() {
        let (_dir, path) = old();
        let (id, bytes): (String, Vec<u8>) = Connection::open(&path)
            .unwrap()
            .query_row("SELECT id, bytes FROM plans", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap();
        for _ in 0..2 {
            let database = Database::open(&path).unwrap();
            let id = PlanId::new(id.clone()).unwrap();
            assert_eq!(database.plan(&id).unwrap().bytes().unwrap(), bytes);
            let (of, records) = database.journal(&run()).unwrap();
            assert_eq!((of, records.len()), (id, 44));
        }
        assert_eq!(plan(&path).unwrap().steps.len(), 25);
    }

    #[test]
    fn what_was_damaged_in_form_1_is_refused_in_the_form_of_today() {
        for damage in [
            "UPDATE plans SET bytes = CAST(replace(CAST(bytes AS TEXT), 'compute00000.keep', 'compute00000.kept') AS BLOB)",
            "UPDATE plans SET bytes = substr(bytes, 1, length(bytes) - 1)",
            "UPDATE plans SET bytes = x''",
            "UPDATE plans SET bytes = x'00ff'",
        ] {
            let (_dir, path) = old();
            change(&path, damage);
            assert!(plan(&path).is_err(), "{damage}");
        }
    }

    #[test]
    fn every_kind_of_damage_shows() {
        for damage in [
            "UPDATE plan_pieces SET length = length - 1 WHERE at = 1",
            "UPDATE plan_pieces SET length = length + 1 WHERE at = 1",
            "UPDATE plan_pieces SET length = 1 << 62 WHERE at = 1",
            "UPDATE plan_pieces SET length = -1 WHERE at = 2",
            "UPDATE plan_pieces SET packed = zeroblob(length(packed)) WHERE at = 1",
            "UPDATE plan_pieces SET packed = substr(packed, 1, length(packed) - 9) WHERE at = 1",
            "UPDATE plan_pieces SET at = 9 WHERE at = 1",
            "DELETE FROM plan_pieces WHERE at = 0",
            "DELETE FROM plan_pieces WHERE at = 1",
            "DELETE FROM plan_pieces WHERE at = 2",
            "DELETE FROM plan_pieces",
            "INSERT INTO plan_pieces SELECT plan, 9, length, packed FROM plan_pieces WHERE at = 2",
        ] {
            let (_dir, path) = old();
            drop(Database::open(&path).unwrap());
            change(&path, damage);
            assert!(plan(&path).is_err(), "{damage}");
        }
    }

    #[test]
    fn a_plan_is_kept_once_and_whole() {
        let dir = tempfile::tempdir().unwrap();
        let mut database = Database::open(&dir.path().join("replank.db")).unwrap();
        let id = PlanId::new(format!("sha256:{:064x}", 9)).unwrap();
        assert!(matches!(database.plan(&id), Err(StoreError::UnknownPlan { .. })));
        for _ in 0..2 {
            database.put_plan(&PackedPlan::of(&id, b"{}"), 1).unwrap();
        }
        let kept = database.plan(&id).unwrap();
        assert_eq!((kept.pieces(), kept.bytes().unwrap()), (1, b"{}".to_vec()));
    }
}
