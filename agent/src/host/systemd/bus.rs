//! The manager over a D-Bus connection, made when first needed and made again when it broke.
//!
//! Callers are blocking. The connection lives on a small runtime of its own, so that it can be used from any thread, one that
//! belongs to another runtime included.

use super::proxy::{Changes, ManagerProxy};
use super::{LinkChange, Systemd, SystemdError, UnitStatus, may_stop};
use futures::StreamExt;
use std::collections::HashMap;
use std::future::Future;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError, mpsc};
use std::time::Duration;
use tokio::runtime::Runtime;
use zbus::Connection;
use zbus::fdo::PropertiesProxy;
use zbus::wire::OwnedVariant;

/// For calls that only ask.
const ASK: Duration = Duration::from_secs(20);
/// For a reload of all unit files, which systemd answers when it is done.
const RELOAD: Duration = Duration::from_secs(90);
/// systemd's job mode: replace a queued job that conflicts, as `systemctl` does.
const MODE: &str = "replace";

const NO_SUCH_UNIT: &str = "org.freedesktop.systemd1.NoSuchUnit";
const ALREADY_SUBSCRIBED: &str = "org.freedesktop.systemd1.AlreadySubscribed";

/// systemd's manager on the system bus.
#[derive(Debug)]
pub struct Bus {
    runtime: Option<Runtime>,
    connection: Mutex<Option<Connection>>,
    /// Makes connections; the system bus, or a test's.
    address: Address,
}

#[derive(Debug)]
enum Address {
    System,
    #[cfg(test)]
    Given,
}

impl Bus {
    /// Connects when first used.
    ///
    /// # Errors
    /// The operating system gives no thread or no event queue.
    pub fn system() -> std::io::Result<Self> {
        Ok(Self { runtime: Some(runtime()?), connection: Mutex::new(None), address: Address::System })
    }

    /// Over a connection of a test.
    #[cfg(test)]
    pub(super) fn over(stream: std::os::unix::net::UnixStream) -> Self {
        let runtime = runtime().unwrap();
        let connection = runtime
            .block_on(async { zbus::connection::Builder::unix_stream(stream).p2p().build().await.unwrap() });
        Self { runtime: Some(runtime), connection: Mutex::new(Some(connection)), address: Address::Given }
    }

    /// Runs `work` on the runtime and waits for it here, at most `deadline` and a little.
    fn wait<T, F>(&self, what: &str, deadline: Duration, work: F) -> Result<T, SystemdError>
    where
        T: Send + 'static,
        F: Future<Output = zbus::Result<T>> + Send + 'static,
    {
        let timed_out = || SystemdError::TimedOut { what: what.to_owned(), deadline };
        let runtime = self.runtime.as_ref().ok_or_else(timed_out)?;
        let (sender, receiver) = mpsc::channel();
        runtime.spawn(async move {
            let answer = tokio::time::timeout(deadline, work).await;
            drop(sender.send(answer));
        });
        match receiver.recv_timeout(deadline + Duration::from_secs(2)) {
            Ok(Ok(Ok(value))) => Ok(value),
            Ok(Ok(Err(error))) => Err(self.translate(what, &error)),
            Ok(Err(_)) | Err(_) => Err(timed_out()),
        }
    }

    /// An error reply is systemd's answer; anything else is a broken connection, which is made anew for the next call.
    fn translate(&self, what: &str, error: &zbus::Error) -> SystemdError {
        let refused = |why: String| SystemdError::Refused { what: what.to_owned(), why };
        match error {
            zbus::Error::MethodError(name, text, _) => {
                refused(text.clone().unwrap_or_else(|| name.to_string()))
            }
            zbus::Error::FDO(error) => refused(error.to_string()),
            other => {
                *self.connection.lock().unwrap_or_else(PoisonError::into_inner) = None;
                SystemdError::Unreachable { why: other.to_string() }
            }
        }
    }

    fn connection(&self) -> Result<Connection, SystemdError> {
        let mut connection = self.connection.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = &*connection {
            return Ok(connection.clone());
        }
        let made = match self.address {
            Address::System => self.wait_unlocked(Connection::system())?,
            #[cfg(test)]
            Address::Given => {
                return Err(SystemdError::Unreachable { why: "the test's connection broke".to_owned() });
            }
        };
        *connection = Some(made.clone());
        Ok(made)
    }

    /// As [`Bus::wait`], for connecting itself, while the connection's lock is held.
    fn wait_unlocked<F>(&self, work: F) -> Result<Connection, SystemdError>
    where
        F: Future<Output = zbus::Result<Connection>> + Send + 'static,
    {
        let unreachable = |why: String| SystemdError::Unreachable { why };
        let runtime = self.runtime.as_ref().ok_or_else(|| unreachable("shutting down".to_owned()))?;
        let (sender, receiver) = mpsc::channel();
        runtime.spawn(async move { drop(sender.send(work.await)) });
        match receiver.recv_timeout(ASK) {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(error)) => Err(unreachable(error.to_string())),
            Err(_) => Err(unreachable(format!("no connection within {} s", ASK.as_secs()))),
        }
    }

    /// Queues a job and waits for its end. The signal is subscribed to before the job exists, so its end cannot be missed.
    fn job(&self, verb: Verb, unit: &str, deadline: Duration) -> Result<(), SystemdError> {
        let connection = self.connection()?;
        let what = format!("{} `{unit}`", verb.as_str());
        let name = unit.to_owned();
        let result = self.wait(&what, deadline, async move {
            let manager = ManagerProxy::new(&connection).await?;
            match manager.subscribe().await {
                // A connection stays subscribed from its first job on.
                Err(zbus::Error::MethodError(name, ..)) if name.as_str() == ALREADY_SUBSCRIBED => {}
                other => other?,
            }
            let mut removed = manager.receive_job_removed().await?;
            let job = match verb {
                Verb::Start => manager.start_unit(&name, MODE).await?,
                Verb::Stop => manager.stop_unit(&name, MODE).await?,
            };
            while let Some(signal) = removed.next().await {
                let arguments = signal.args()?;
                if arguments.job == job {
                    return Ok(arguments.result);
                }
            }
            Err(zbus::Error::InputOutput(std::sync::Arc::new(std::io::Error::other(
                "the bus closed before the job ended",
            ))))
        })?;
        match result.as_str() {
            "done" => Ok(()),
            _ => Err(SystemdError::Job { what, result }),
        }
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        // Dropping a runtime inside another one is not allowed; leaving it to end by itself is.
        if let Some(runtime) = self.runtime.take() {
            runtime.shutdown_background();
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Verb {
    Start,
    Stop,
}

impl Verb {
    fn as_str(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Stop => "stop",
        }
    }
}

fn runtime() -> std::io::Result<Runtime> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).thread_name("systemd").enable_all().build()
}

impl Systemd for Bus {
    fn status(&self, unit: &str) -> Result<UnitStatus, SystemdError> {
        let connection = self.connection()?;
        let name = unit.to_owned();
        let is_service = unit.ends_with(".service");
        let (general, service) = self.wait(&format!("tell the state of `{unit}`"), ASK, async move {
            let path = ManagerProxy::new(&connection).await?.load_unit(&name).await?;
            let properties = PropertiesProxy::builder(&connection)
                .destination("org.freedesktop.systemd1")
                .path(path)
                .build()
                .await?;
            let general = properties.get_all("org.freedesktop.systemd1.Unit".try_into()?).await?;
            let service = if is_service {
                properties.get_all("org.freedesktop.systemd1.Service".try_into()?).await?
            } else {
                HashMap::new()
            };
            Ok((general, service))
        })?;
        let text = |name: &str| general.get(name).and_then(|v| String::try_from(v.try_clone().ok()?).ok());
        let paths = |name: &str| -> Vec<PathBuf> {
            let list = general
                .get(name)
                .and_then(|v| v.try_clone().ok())
                .and_then(|v| Vec::<String>::try_from(v).ok());
            list.unwrap_or_default().into_iter().map(PathBuf::from).collect()
        };
        Ok(UnitStatus {
            name: unit.to_owned(),
            load_state: text("LoadState").unwrap_or_default(),
            active_state: text("ActiveState").unwrap_or_default(),
            sub_state: text("SubState").unwrap_or_default(),
            file_state: text("UnitFileState").unwrap_or_default(),
            fragment: text("FragmentPath").filter(|path| !path.is_empty()).map(PathBuf::from),
            drop_ins: paths("DropInPaths"),
            needs_reload: flag(&general, "NeedDaemonReload"),
            kill_mode: service.get("KillMode").and_then(|v| String::try_from(v.try_clone().ok()?).ok()),
            main_pid: service.get("MainPID").and_then(|v| u32::try_from(v).ok()).filter(|pid| *pid != 0),
        })
    }

    fn start(&self, unit: &str, deadline: Duration) -> Result<(), SystemdError> {
        self.job(Verb::Start, unit, deadline)
    }

    fn stop(&self, unit: &str, deadline: Duration) -> Result<(), SystemdError> {
        may_stop(unit, "stop")?;
        self.job(Verb::Stop, unit, deadline)
    }

    fn mask(&self, unit: &str, runtime: bool) -> Result<Vec<LinkChange>, SystemdError> {
        let connection = self.connection()?;
        let name = unit.to_owned();
        let changes = self.wait(&format!("mask `{unit}`"), ASK, async move {
            ManagerProxy::new(&connection).await?.mask_unit_files(&[&name], runtime, false).await
        })?;
        Ok(links(changes))
    }

    fn enable(&self, unit: &str) -> Result<Vec<LinkChange>, SystemdError> {
        let connection = self.connection()?;
        let name = unit.to_owned();
        let (_, changes) = self.wait(&format!("enable `{unit}`"), ASK, async move {
            ManagerProxy::new(&connection).await?.enable_unit_files(&[&name], false, false).await
        })?;
        Ok(links(changes))
    }

    fn disable(&self, unit: &str) -> Result<Vec<LinkChange>, SystemdError> {
        let connection = self.connection()?;
        let name = unit.to_owned();
        let changes = self.wait(&format!("disable `{unit}`"), ASK, async move {
            ManagerProxy::new(&connection).await?.disable_unit_files(&[&name], false).await
        })?;
        Ok(links(changes))
    }

    fn reset_failed(&self, unit: &str) -> Result<(), SystemdError> {
        let connection = self.connection()?;
        let name = unit.to_owned();
        self.wait(&format!("forget that `{unit}` failed"), ASK, async move {
            match ManagerProxy::new(&connection).await?.reset_failed_unit(&name).await {
                // A unit that is not loaded has nothing to forget.
                Err(zbus::Error::MethodError(name, ..)) if name.as_str() == NO_SUCH_UNIT => Ok(()),
                other => other,
            }
        })
    }

    fn reload(&self) -> Result<(), SystemdError> {
        let connection = self.connection()?;
        self.wait("reload its unit files", RELOAD, async move {
            ManagerProxy::new(&connection).await?.reload().await
        })
    }
}

fn flag(properties: &HashMap<String, OwnedVariant>, name: &str) -> bool {
    properties.get(name).is_some_and(|value| bool::try_from(value).unwrap_or(false))
}

fn links(changes: Changes) -> Vec<LinkChange> {
    changes
        .into_iter()
        .map(|(kind, path, target)| LinkChange { kind, path: path.into(), target: target.into() })
        .collect()
}
