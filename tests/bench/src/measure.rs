//! The measurements, one after another on one fleet.

use crate::calm::{run_id, sail};
use crate::figures::Figures;
use crate::process::restarts;
use crate::world::World;
use anyhow::{Context, Result, ensure};
use replank_common::ids::PlanId;
use replank_coordinator::config::Folder;
use replank_coordinator::drive::{Clock, Drive};
use replank_coordinator::init;
use replank_coordinator::store::{Database, PackedPlan, Store};
use replank_core::run::Index;
use rusqlite::{Connection, TransactionBehavior};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

/// So much of all steps is done when the run is resumed.
const HALF_PERMILLE: usize = 500;

/// What is to be measured.
#[derive(Debug, Clone)]
pub struct Wanted {
    pub hosts: u32,
    /// On each host.
    pub guests: u32,
    /// The binary that is killed and started. Without one, restarts are not measured.
    pub replank: Option<PathBuf>,
    /// How often.
    pub restarts: usize,
}

/// Measures. `tell` hears what is being done.
///
/// # Errors
/// Whatever keeps one of the measurements from being what it says that it is.
pub fn measure(wanted: &Wanted, tell: impl Fn(&str)) -> Result<Figures> {
    let &Wanted { hosts, guests, .. } = wanted;
    let world = World::of(hosts, guests)?;
    tell("planning");
    let (plan, planning) = timed(|| world.plan())?;
    let (id, bytes) = (plan.id(), plan.to_bytes());
    let steps = plan.steps.len();
    let index = Arc::new(Index::new(id.clone(), plan)?);

    let dir = tempfile::tempdir().context("a folder for the coordinator")?;
    let folder = coordinator_folder(&dir.path().join("coordinator"))?;
    tell("sailing half of the voyage");
    let written = write_journal(&folder, &index, &id, &bytes, &world)?;
    tell("inserting the same without anything else");
    let bare = dir.path().join("bare.db");
    let append_bare = insert_bare(&bare, &folder, &written.batches)?;
    tell("reading the same");
    let read_bare = read_bare(&bare, &bytes)?;
    tell("resuming in this process");
    let resume = resume(&folder)?;
    let restart = match &wanted.replank {
        Some(replank) => {
            tell("killing and starting the binary");
            restarts(replank, &folder, wanted.restarts)?
        }
        None => Vec::new(),
    };
    Ok(Figures {
        format: Figures::FORMAT,
        hosts,
        guests,
        steps,
        plan_bytes: bytes.len(),
        planning,
        journal_lines: written.batches.iter().sum(),
        journal_bytes: written.bytes,
        append: written.took,
        append_bare,
        resume,
        read_bare,
        restart,
    })
}

fn timed<T>(work: impl FnOnce() -> Result<T>) -> Result<(T, f64)> {
    let began = Instant::now();
    let made = work()?;
    Ok((made, began.elapsed().as_secs_f64()))
}

/// As `replank init` makes it, listening where nobody else does.
fn coordinator_folder(dir: &Path) -> Result<Folder> {
    let anywhere = SocketAddr::from(([127, 0, 0, 1], 0));
    let names = vec!["localhost".to_owned()];
    let options = init::Options { listen: anywhere, metrics: anywhere, names, ..Default::default() };
    init::run(dir, &options, Clock::start().now_ms())?;
    Ok(Folder::new(dir))
}

struct Written {
    /// Lines of each transaction.
    batches: Vec<usize>,
    /// Of the events, without what the store puts beside them.
    bytes: usize,
    took: f64,
}

fn write_journal(
    folder: &Folder,
    index: &Arc<Index>,
    id: &PlanId,
    bytes: &[u8],
    world: &World,
) -> Result<Written> {
    let mut database = Database::open(&folder.database())?;
    let epoch = database.next_epoch()?;
    database.put_plan(&PackedPlan::of(id, bytes), Clock::start().now_ms())?;
    let mut written = Written { batches: Vec::new(), bytes: 0, took: 0.0 };
    sail(index, &world.inventory, HALF_PERMILLE, |appends| {
        let ((), took) = timed(|| Ok(database.append(epoch, &appends)?))?;
        written.took += took;
        written.batches.push(appends.iter().map(|append| append.records.len()).sum());
        Ok(())
    })?;
    drop(database);
    let connection = Connection::open(folder.database())?;
    let (lines, text): (i64, i64) =
        connection.query_row("SELECT count(*), sum(length(CAST(body AS BLOB))) FROM events", [], |row| {
            Ok((row.get(0)?, row.get(1)?))
        })?;
    ensure!(
        usize::try_from(lines)? == written.batches.iter().sum::<usize>(),
        "{lines} lines are in the journal"
    );
    written.bytes = usize::try_from(text)?;
    Ok(written)
}

/// The texts of the journal, in the same transactions with the same durability, into a table that has nothing else.
fn insert_bare(path: &Path, folder: &Folder, batches: &[usize]) -> Result<f64> {
    let source = Connection::open(folder.database())?;
    let mut bodies = source.prepare("SELECT body FROM events ORDER BY seq")?;
    let bodies: Vec<String> = bodies.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
    let mut bare = Connection::open(path)?;
    bare.pragma_update(None, "journal_mode", "WAL")?;
    bare.pragma_update(None, "synchronous", "FULL")?;
    bare.execute_batch("CREATE TABLE bare (seq INTEGER PRIMARY KEY, body TEXT NOT NULL) STRICT")?;
    let mut bodies = bodies.iter();
    let ((), took) = timed(|| {
        for lines in batches {
            let transaction = bare.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut insert = transaction.prepare_cached("INSERT INTO bare (body) VALUES (?1)")?;
            for body in bodies.by_ref().take(*lines) {
                insert.execute([body])?;
            }
            drop(insert);
            transaction.commit()?;
        }
        Ok(())
    })?;
    let lines: i64 = bare.query_row("SELECT count(*) FROM bare", [], |row| row.get(0))?;
    ensure!(usize::try_from(lines)? == batches.iter().sum::<usize>(), "{lines} lines were inserted");
    Ok(took)
}

/// Plan file and lines read from tables that have nothing else, and hashed as they are.
fn read_bare(path: &Path, plan: &[u8]) -> Result<f64> {
    let connection = Connection::open(path)?;
    connection.execute_batch("CREATE TABLE plan (bytes BLOB NOT NULL) STRICT")?;
    connection.execute("INSERT INTO plan VALUES (?1)", [plan])?;
    // What a start finds is in the database, and not beside it.
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
    let (hashed, took) = timed(|| {
        let plan: Vec<u8> = connection.query_row("SELECT bytes FROM plan", [], |row| row.get(0))?;
        let mut hasher = Sha256::new().chain_update(&plan);
        let mut hashed = plan.len();
        let mut lines = connection.prepare("SELECT body FROM bare ORDER BY seq")?;
        let mut rows = lines.query([])?;
        while let Some(row) = rows.next()? {
            let body = row.get_ref(0)?.as_str()?;
            hasher.update(body);
            hashed += body.len();
        }
        std::hint::black_box(hasher.finalize());
        Ok(hashed)
    })?;
    ensure!(hashed > plan.len(), "no lines were read");
    Ok(took)
}

/// What a start of the coordinator does before it leads.
fn resume(folder: &Folder) -> Result<f64> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let store = Store::open(folder)?;
    let (drive, took) = timed(|| Ok(runtime.block_on(Drive::begin(store, Clock::start()))?))?;
    ensure!(drive.holds(&run_id()), "the run was not brought back");
    Ok(took)
}
