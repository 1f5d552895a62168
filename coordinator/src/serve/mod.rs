//! `replank serve`: the coordinator as one process.
//!
//! Owns the start, the end and what stands between: the operators' service, the metrics, and the word with systemd. Decides nothing: runs
//! are the drive's, hosts are the links'.
//!
//! | what ends | what follows |
//! | --- | --- |
//! | SIGTERM or SIGINT | links are cut, calls end, the store is closed; runs go on at the next start |
//! | the drive or the links fail | the same, and the process ends with the reason, to be started again |
//! | `kill -9` | nothing is tidied up and nothing needs to be: the journals say where every run was |

mod inventory;
mod metrics;
mod operators;
mod systemd;
mod tally;

use crate::codes;
use crate::config::{Folder, Settings, SettingsError};
use crate::drive::{Clock, Drive, DriveError};
use crate::links::{Links, LinksFailed};
use crate::store::{Store, StoreError};
use operators::Operators;
use std::io::{self, IsTerminal as _};
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;

/// How long the parts may take to end after a stop. What is not ended then is as after a `kill -9`.
const STOP_TIME_MAX: Duration = Duration::from_secs(10);
/// What is logged when `RUST_LOG` says nothing else.
const LOG_FILTER: &str = "info";

/// Why the coordinator did not start, or ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    #[error(transparent)]
    Settings(#[from] SettingsError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(
        "failed to listen on {address} for {what}; see who uses it with `ss -ltnp`, or change `{key}` in coordinator.toml"
    )]
    Listen { what: &'static str, key: &'static str, address: SocketAddr, source: io::Error },
    #[error("failed to start the coordinator's runtime")]
    Runtime { source: io::Error },
    #[error(transparent)]
    Drive(#[from] DriveError),
    #[error(transparent)]
    Links(#[from] LinksFailed),
    #[error("{part} ended by itself; read the lines before this one in the journal")]
    Ended { part: &'static str },
}

impl ServeError {
    /// The code whose page tells more.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Settings(error) => error.code(),
            Self::Store(error) => error.code(),
            Self::Listen { .. } => codes::LISTEN,
            Self::Runtime { .. } | Self::Ended { .. } => codes::NOT_SERVING,
            Self::Drive(error) => error.code(),
            Self::Links(error) => error.code(),
        }
    }
}

/// Runs the coordinator of the folder `dir` until SIGTERM or SIGINT.
///
/// # Errors
/// [`ServeError`]: it could not start, or it ended by itself.
pub fn run(dir: &Path) -> Result<(), ServeError> {
    log();
    // The folder before anything else: a mistake in it needs no runtime to be told.
    let folder = Folder::new(dir);
    let settings = Settings::read(&folder.settings())?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|source| ServeError::Runtime { source })?;
    runtime.block_on(serve(&folder, &settings))
}

/// Lines to standard error, which is where systemd takes them from; with the time only where nobody else adds it.
fn log() {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env().unwrap_or_else(|_| LOG_FILTER.into());
    let lines = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(io::stderr().is_terminal());
    let set = if std::env::var_os("JOURNAL_STREAM").is_some() {
        lines.without_time().try_init()
    } else {
        lines.try_init()
    };
    // Somebody set one already, in a test: that one stays.
    drop(set);
}

async fn serve(folder: &Folder, settings: &Settings) -> Result<(), ServeError> {
    let unstarted = |source| ServeError::Runtime { source };
    let mut terminate = signal(SignalKind::terminate()).map_err(unstarted)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(unstarted)?;
    let stop = CancellationToken::new();
    let ends = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("told to stop; runs go on at the next start");
        ends.cancel();
    });
    let store = Store::open(folder)?;
    // Before an epoch is begun: a coordinator that cannot be reached must not depose one that can.
    let listener = listen("agents and operators", "listen", settings.listen).await?;
    let scraped = listen("Prometheus", "metrics", settings.metrics).await?;
    let result = parts(folder, settings, store, listener, scraped, stop.clone()).await;
    stop.cancel();
    if let Err(error) = &result {
        tracing::error!(code = error.code(), error = %crate::cli::chain(error), "the coordinator ends");
    }
    result
}

async fn listen(
    what: &'static str,
    key: &'static str,
    address: SocketAddr,
) -> Result<TcpListener, ServeError> {
    TcpListener::bind(address).await.map_err(|source| ServeError::Listen { what, key, address, source })
}

/// Starts every part and waits for their ends. The first one that ends stops the others.
async fn parts(
    folder: &Folder,
    settings: &Settings,
    store: Store,
    listener: TcpListener,
    scraped: TcpListener,
    stop: CancellationToken,
) -> Result<(), ServeError> {
    let clock = Clock::start();
    let drive = Drive::begin(store.clone(), clock).await?;
    let (links, events) = Links::open(folder, settings, store.clone(), clock, drive.epoch()).await?;
    let (runs, hosts, epoch) = (drive.handle(), links.handle(), drive.epoch());
    let operators = Operators::new(runs.clone(), hosts.clone(), links.operators(), clock);
    let shown = metrics::Shown::new(runs.clone(), hosts.clone(), store, clock);

    let mut driving = tokio::spawn(drive.run(hosts.clone(), events, stop.clone()));
    let mut linking = tokio::spawn(links.serve(listener, Routes::new(operators.service()), stop.clone()));
    let scraping = tokio::spawn(metrics::serve(scraped, shown, stop.clone()));
    let watching = tokio::spawn(systemd::keep_told(runs, hosts, stop.clone()));
    tracing::info!(%epoch, listen = %settings.listen, metrics = %settings.metrics, "the coordinator leads");

    let first = tokio::select! {
        ended = &mut driving => Some(drive_ended(ended)),
        ended = &mut linking => Some(links_ended(ended)),
        () = stop.cancelled() => None,
    };
    let asked_to = stop.is_cancelled();
    stop.cancel();
    systemd::stopping();
    let rest = async {
        if !driving.is_finished() {
            drop((&mut driving).await);
        }
        if !linking.is_finished() {
            drop((&mut linking).await);
        }
        drop((scraping.await, watching.await));
    };
    if tokio::time::timeout(STOP_TIME_MAX, rest).await.is_err() {
        tracing::warn!("not everything ended in time; nothing is lost by that");
    }
    match first {
        None => Ok(()),
        Some(Err(error)) => Err(error),
        Some(Ok(())) if asked_to => Ok(()),
        Some(Ok(())) => Err(ServeError::Ended { part: "a part of the coordinator" }),
    }
}

type Joined<E> = Result<Result<(), E>, tokio::task::JoinError>;

fn drive_ended(ended: Joined<DriveError>) -> Result<(), ServeError> {
    ended.map_err(|_| ServeError::Ended { part: "the drive" })?.map_err(ServeError::from)
}

fn links_ended(ended: Joined<LinksFailed>) -> Result<(), ServeError> {
    ended.map_err(|_| ServeError::Ended { part: "the listener" })?.map_err(ServeError::from)
}
