//! A coordinator process in the lab's network, and the operator's command line beside it.

use crate::packages::Packages;
use anyhow::{Context, Result, bail, ensure};
use replank_lab::Lab;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

/// The port at which agents and operators find the coordinator.
pub const PORT: u16 = 7443;

/// One coordinator: its directory, and its process while it runs.
#[derive(Debug)]
pub struct Coordinator {
    binary: PathBuf,
    directory: PathBuf,
    process: Option<Child>,
    /// Set in the environment of every start.
    environment: Vec<(String, String)>,
}

impl Coordinator {
    /// Makes the authority and the certificates (`replank init`).
    ///
    /// # Errors
    /// What `replank init` said.
    pub fn init(lab: &Lab, packages: &Packages, directory: &Path) -> Result<Self> {
        Self::init_at(lab, packages, directory, &format!("0.0.0.0:{PORT}"), "127.0.0.1:9748")
    }

    /// As [`Coordinator::init`], for a second one: it listens elsewhere.
    ///
    /// # Errors
    /// What `replank init` said.
    pub fn init_at(
        lab: &Lab,
        packages: &Packages,
        directory: &Path,
        listen: &str,
        metrics: &str,
    ) -> Result<Self> {
        let own = Self {
            binary: packages.replank(),
            directory: directory.to_owned(),
            process: None,
            environment: Vec::new(),
        };
        let dir = own.directory.to_string_lossy().into_owned();
        let address = lab.coordinator_address().to_string();
        let output = lab
            .command(
                &own.binary.to_string_lossy(),
                &[
                    "init",
                    "--dir",
                    &dir,
                    // The first is the one that the operator's command line calls: the machine resolves no name of the lab.
                    "--name",
                    &address,
                    "--name",
                    "coordinator",
                    "--listen",
                    listen,
                    "--metrics",
                    metrics,
                ],
            )
            .output()
            .context("cannot start replank init")?;
        said("replank init", &output)?;
        Ok(own)
    }

    /// What every later start gets in its environment.
    pub fn set_environment(&mut self, name: &str, value: &str) {
        self.environment.retain(|(had, _)| had != name);
        self.environment.push((name.to_owned(), value.to_owned()));
    }

    /// Starts the coordinator and waits until it answers its operator.
    ///
    /// # Errors
    /// It ended, or did not answer within half a minute; with its last lines.
    pub fn start(&mut self, lab: &Lab) -> Result<()> {
        self.start_unasked(lab)?;
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if self.replank(lab, &["host", "list"])?.status.success() {
                return Ok(());
            }
            if let Some(status) = self.ended()? {
                bail!("the coordinator ended with {status}:\n{}", self.log_tail());
            }
            if Instant::now() > deadline {
                bail!("the coordinator does not answer:\n{}", self.log_tail());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Starts the coordinator and waits for nothing.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn start_unasked(&mut self, lab: &Lab) -> Result<()> {
        assert!(self.process.is_none(), "one coordinator at a time");
        let log = File::options().create(true).append(true).open(self.log())?;
        let dir = self.directory.to_string_lossy().into_owned();
        let mut command = lab.command(&self.binary.to_string_lossy(), &["serve", "--dir", &dir]);
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        self.process = Some(command.spawn().context("cannot start replank serve")?);
        Ok(())
    }

    /// `kill -9`.
    ///
    /// # Errors
    /// It does not run.
    pub fn kill(&mut self) -> Result<()> {
        let mut process = self.process.take().context("the coordinator does not run")?;
        process.kill()?;
        process.wait()?;
        Ok(())
    }

    /// `kill -STOP`: it does nothing, and holds what it holds.
    ///
    /// # Errors
    /// It does not run.
    pub fn pause(&self) -> Result<()> {
        self.signal("STOP")
    }

    /// `kill -CONT`.
    ///
    /// # Errors
    /// It does not run.
    pub fn wake(&self) -> Result<()> {
        self.signal("CONT")
    }

    fn signal(&self, name: &str) -> Result<()> {
        let process = self.process.as_ref().context("the coordinator does not run")?;
        let status = Command::new("kill").args(["-s", name, &process.id().to_string()]).status()?;
        ensure!(status.success(), "kill -s {name}: {status}");
        Ok(())
    }

    /// Puts `to` in the place of `from` in `coordinator.toml` and `operator.toml`, for the next start.
    ///
    /// # Errors
    /// A file cannot be read or written, or none has `from`.
    pub fn set(&self, from: &str, to: &str) -> Result<()> {
        let mut found = false;
        for name in ["coordinator.toml", "operator.toml"] {
            let path = self.directory.join(name);
            let text = std::fs::read_to_string(&path)?;
            found |= text.contains(from);
            std::fs::write(&path, text.replace(from, to))?;
        }
        ensure!(found, "no setting has {from}");
        Ok(())
    }

    /// The folder, brought to another directory as from a backup of this instant. Nothing is started there.
    ///
    /// # Errors
    /// A file cannot be copied.
    pub fn copied_to(&self, directory: &Path) -> Result<Self> {
        std::fs::create_dir(directory)?;
        for entry in std::fs::read_dir(&self.directory)? {
            let entry = entry?;
            if entry.path() != self.log() {
                std::fs::copy(entry.path(), directory.join(entry.file_name()))?;
            }
        }
        Ok(Self {
            binary: self.binary.clone(),
            directory: directory.to_owned(),
            process: None,
            environment: Vec::new(),
        })
    }

    /// Its exit status, once it has ended by itself.
    ///
    /// # Errors
    /// The process cannot be asked.
    pub fn ended(&mut self) -> Result<Option<std::process::ExitStatus>> {
        let Some(process) = &mut self.process else { return Ok(None) };
        let status = process.try_wait()?;
        if status.is_some() {
            self.process = None;
        }
        Ok(status)
    }

    pub fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// Runs the operator's command line in the lab's network.
    ///
    /// # Errors
    /// It cannot be started.
    pub fn replank(&self, lab: &Lab, arguments: &[&str]) -> Result<Output> {
        let config = self.directory.join("operator.toml").to_string_lossy().into_owned();
        let mut all = vec!["--config", &config];
        all.extend(arguments);
        lab.command(&self.binary.to_string_lossy(), &all)
            .stdin(Stdio::null())
            .output()
            .context("cannot start replank")
    }

    /// As [`Coordinator::replank`], and must exit with 0; gives its standard output.
    ///
    /// # Errors
    /// What it said.
    pub fn must(&self, lab: &Lab, arguments: &[&str]) -> Result<String> {
        said(&format!("replank {}", arguments.join(" ")), &self.replank(lab, arguments)?)
    }

    pub fn directory(&self) -> &Path {
        &self.directory
    }

    pub fn log(&self) -> PathBuf {
        self.directory.join("coordinator.log")
    }

    pub fn log_tail(&self) -> String {
        let log = std::fs::read_to_string(self.log()).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

impl Drop for Coordinator {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

fn said(what: &str, output: &Output) -> Result<String> {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        bail!("{what}: {}\n{stdout}{}", output.status, String::from_utf8_lossy(&output.stderr));
    }
    Ok(stdout)
}
