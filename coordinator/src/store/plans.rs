//! Plan files, by their content address.

use super::database::signed;
use super::{Database, StoreError};
use replank_common::UnixMs;
use replank_common::ids::PlanId;
use rusqlite::{OptionalExtension, params};

impl Database {
    /// Keeps the bytes of a plan file that the caller has checked. The same plan twice is the same as once.
    ///
    /// # Errors
    /// [`StoreError::Failed`].
    pub fn put_plan(&mut self, id: &PlanId, bytes: &[u8], now_ms: UnixMs) -> Result<(), StoreError> {
        self.connection
            .execute(
                "INSERT INTO plans VALUES (?1, ?2, ?3) ON CONFLICT (id) DO NOTHING",
                params![id.as_str(), bytes, signed(now_ms)],
            )
            .map_err(StoreError::failed("store a plan"))?;
        Ok(())
    }

    /// # Errors
    /// [`StoreError::UnknownPlan`].
    pub fn plan(&self, id: &PlanId) -> Result<Vec<u8>, StoreError> {
        self.connection
            .query_row("SELECT bytes FROM plans WHERE id = ?1", [id.as_str()], |row| row.get(0))
            .optional()
            .map_err(StoreError::failed("read a plan"))?
            .ok_or_else(|| StoreError::UnknownPlan { plan: id.clone() })
    }
}
