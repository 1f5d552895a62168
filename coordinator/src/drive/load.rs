//! What is read before the drive is asked: plans from their bytes, finished runs from their journals. On threads of their own, for a plan has
//! megabytes and a journal of a large fleet a million lines.

use super::error::{DriveError, Refused, names};
use crate::store::{PackedPlan, Piece, Store, StoreError};
use replank_common::ids::RunId;
use replank_core::lint::{LintSeverity, lint};
use replank_core::plan::{Plan, Proof, Reader};
use replank_core::run::{End, Index, Machine};
use std::sync::{Arc, mpsc};
use std::thread::ScopedJoinHandle;

/// A plan file that may be stored.
pub(super) async fn checked(bytes: Vec<u8>) -> Result<PackedPlan, Refused> {
    aside(move || Ok(PackedPlan::of(sound(&bytes)?.id(), &bytes))).await
}

/// A plan that may be applied. Checked again: the rules may have grown since it was stored.
pub(super) async fn index(bytes: Vec<u8>) -> Result<Arc<Index>, Refused> {
    aside(move || Ok(Arc::new(sound(&bytes)?))).await
}

fn sound(bytes: &[u8]) -> Result<Index, Refused> {
    let (id, plan) = Plan::from_bytes(bytes).map_err(Refused::PlanFile)?;
    let mut notes = lint(&plan);
    notes.retain(|note| note.severity == LintSeverity::Fatal);
    if !notes.is_empty() {
        return Err(Refused::Lint { notes });
    }
    Index::new(id, plan).map_err(|source| Refused::Unsound { source })
}

async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refused> + Send + 'static,
) -> Result<T, Refused> {
    // Fails only when the work panicked or the runtime is ending.
    tokio::task::spawn_blocking(work).await.unwrap_or(Err(Refused::Stopped))
}

/// A run from its journal, led by nobody.
///
/// Four threads that wait for little: one reads and proves the journal and then, as nobody waits for it before the end, another one proves
/// the plan; one makes events of the journal; and one makes sense of the plan and then a run of the events.
pub(super) async fn replayed(store: &Store, run: &RunId) -> Result<Machine, DriveError> {
    let id = run.clone();
    let plan = store.read(move |database| database.plan(&database.plan_of(&id)?)).await?;
    let plan = Arc::new(plan);
    let (sender, pieces) = mpsc::channel();
    let (id, packed) = (run.clone(), plan.clone());
    let replaying = tokio::task::spawn_blocking(move || replay(&id, &packed, pieces));
    let id = run.clone();
    let read =
        store.read(move |database| database.read_journal(&id, |piece| sender.send(piece).is_ok())).await;
    let id = run.clone();
    let proof = ended(tokio::task::spawn_blocking(move || proved(&id, &plan)).await);
    let replayed = ended(replaying.await);
    match read {
        Ok(_) => {}
        // Whoever replays had enough of it, and says why.
        Err(StoreError::Closed) if replayed.is_err() => {}
        // What was replayed came of a journal that is refused.
        Err(error) => return Err(error.into()),
    }
    proof?;
    replayed
}

fn ended<T>(task: Result<T, tokio::task::JoinError>) -> T {
    task.unwrap_or_else(|panicked| std::panic::resume_unwind(panicked.into_panic()))
}

/// So many batches of events wait for the one who makes a run of them; further ones stay text, which is smaller.
const BATCHES_MAX: usize = 16;

/// Of a plan that somebody proves.
fn replay(run: &RunId, plan: &PackedPlan, pieces: mpsc::Receiver<Piece>) -> Result<Machine, DriveError> {
    let (sender, batches) = mpsc::sync_channel(BATCHES_MAX);
    std::thread::scope(|scope| {
        let machine = scope.spawn(move || -> Result<Machine, DriveError> {
            let index = indexed(run, plan)?;
            let records = batches.into_iter().flatten();
            Machine::replay(Arc::new(index), records)
                .map_err(|source| DriveError::Journal { run: run.clone(), source })
        });
        let mut read = Ok(());
        for piece in pieces {
            read = piece.records(run).map(|records| {
                // Whoever makes the run of them says why it wants no more.
                drop(sender.send(records));
            });
            if read.is_err() {
                break;
            }
        }
        drop(sender);
        let machine = joined(machine);
        read?;
        machine
    })
}

fn proved(run: &RunId, plan: &PackedPlan) -> Result<(), DriveError> {
    let changed = |source| DriveError::PlanFile { run: run.clone(), source };
    let mut proof = Proof::of(plan.id());
    plan.unpack(|piece| proof.add(piece).map_err(changed))?;
    proof.end().map_err(changed)
}

/// Of a plan that somebody proves.
fn indexed(run: &RunId, plan: &PackedPlan) -> Result<Index, DriveError> {
    let mut reader = Reader::of(plan.pieces());
    plan.unpack(|piece| {
        reader.add(piece);
        Ok::<_, DriveError>(())
    })?;
    let read = reader.end().map_err(|source| DriveError::PlanFile { run: run.clone(), source })?;
    Index::new(plan.id().clone(), read).map_err(|source| DriveError::Plan { run: run.clone(), source })
}

fn joined<T>(thread: ScopedJoinHandle<'_, T>) -> T {
    thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
}

/// As [`replayed`], for somebody who asked.
pub(super) async fn machine(store: &Store, run: &RunId) -> Result<Machine, Refused> {
    replayed(store, run).await.map_err(Refused::from)
}

/// Whether no later run has changed what this one changed.
pub(super) async fn unchanged_since(store: &Store, run: &RunId, machine: &Machine) -> Result<(), Refused> {
    let rows = store.read(|database| database.runs()).await?;
    for row in rows.iter().rev().take_while(|row| row.run != *run) {
        let later = self::machine(store, &row.run).await?;
        if later.state().finished() == Some(End::RolledBack { to: None }) {
            continue;
        }
        let both = machine.index().plan().hosts.iter().map(|host| &host.name).filter(|host| {
            let changed =
                |machine: &Machine| machine.state().host(host).is_some_and(|host| host.change_begun);
            changed(machine) && changed(&later)
        });
        let hosts = names(both);
        if !hosts.is_empty() {
            return Err(Refused::LaterRun { run: run.clone(), later: row.run.clone(), hosts });
        }
    }
    Ok(())
}
