//! The store's threads: one that writes, one that reads, so that a long reading never holds up a journal.

use super::{Database, StoreError};
use crate::config::Folder;
use std::fs::{File, TryLockError};
use std::path::Path;
use std::sync::Arc;
use tokio::sync::{mpsc, oneshot};

/// How many pieces of work may wait for a thread before those who bring more wait themselves.
const QUEUE_MAX: usize = 256;

type Work = Box<dyn FnOnce(&mut Database) + Send>;

/// The store, for everybody. Cheap to clone; the threads end with the last one.
#[derive(Clone, Debug)]
pub struct Store {
    writer: mpsc::Sender<Work>,
    reader: mpsc::Sender<Work>,
    /// Held by the writing thread too: the folder is free only when its last write has ended.
    _lock: Arc<File>,
}

impl Store {
    /// Opens the folder's store, alone.
    ///
    /// # Errors
    /// [`StoreError::Locked`] while another coordinator lives; otherwise as [`Database::open`].
    pub fn open(folder: &Folder) -> Result<Self, StoreError> {
        let path = folder.lock();
        let lock = Arc::new(lock(&path)?);
        let writer = Database::open(&folder.database())?;
        let reader = Database::open(&folder.database())?.reading_only()?;
        let (writing, reading) =
            (thread("replank-store", writer, lock.clone()), thread("replank-read", reader, lock.clone()));
        Ok(Self { writer: writing?, reader: reading?, _lock: lock })
    }

    /// Does `work` on the writing thread. What it committed is durable when this returns.
    ///
    /// # Errors
    /// Those of `work`, or [`StoreError::Closed`].
    pub async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Database) -> Result<T, StoreError> + Send + 'static,
    {
        ask(&self.writer, work).await
    }

    /// Does `work` on the reading thread, which cannot change anything.
    ///
    /// # Errors
    /// Those of `work`, or [`StoreError::Closed`].
    pub async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Database) -> Result<T, StoreError> + Send + 'static,
    {
        ask(&self.reader, |database: &mut Database| work(database)).await
    }
}

async fn ask<T, F>(thread: &mpsc::Sender<Work>, work: F) -> Result<T, StoreError>
where
    T: Send + 'static,
    F: FnOnce(&mut Database) -> Result<T, StoreError> + Send + 'static,
{
    let (answer, answered) = oneshot::channel();
    let work: Work = Box::new(move |database| {
        // Nobody waits any more for an answer that cannot be delivered.
        drop(answer.send(work(database)));
    });
    thread.send(work).await.map_err(|_| StoreError::Closed)?;
    answered.await.map_err(|_| StoreError::Closed)?
}

fn thread(name: &str, mut database: Database, lock: Arc<File>) -> Result<mpsc::Sender<Work>, StoreError> {
    let (sender, mut receiver) = mpsc::channel::<Work>(QUEUE_MAX);
    std::thread::Builder::new()
        .name(name.to_owned())
        .spawn(move || {
            while let Some(work) = receiver.blocking_recv() {
                work(&mut database);
            }
            drop(database);
            drop(lock);
        })
        .map_err(|error| StoreError::Form { what: "start a thread for the store", why: error.to_string() })?;
    Ok(sender)
}

fn lock(path: &Path) -> Result<File, StoreError> {
    let form = |error: std::io::Error| StoreError::Form {
        what: "lock the coordinator's folder",
        why: error.to_string(),
    };
    let file = File::options().create(true).write(true).truncate(false).open(path).map_err(form)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::Locked { path: path.to_owned() }),
        Err(TryLockError::Error(error)) => Err(form(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use replank_common::ids::Epoch;

    #[tokio::test]
    async fn a_folder_has_one_coordinator_and_readers_cannot_write() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::new(dir.path());
        let store = Store::open(&folder).unwrap();
        assert!(matches!(Store::open(&folder), Err(StoreError::Locked { .. })));
        assert_eq!(store.write(Database::next_epoch).await.unwrap(), Epoch(1));
        let hosts = store.read(|database| database.hosts()).await.unwrap();
        assert!(hosts.is_empty());
    }
}
