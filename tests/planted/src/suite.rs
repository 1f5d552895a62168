//! The tests of other crates, built so that faults can be planted in them, and run one at a time.

use super::catcher::Test;
use anyhow::{Context, Result, bail};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use replank_common::planted::Planted;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// A test that takes longer is ended, and has not told anything.
const TEST_TIME_MAX: Duration = Duration::from_secs(120);

/// Built test binaries.
#[derive(Debug, Default)]
pub struct Suite {
    /// By package and target.
    binaries: BTreeMap<(String, Option<String>), Binary>,
}

#[derive(Debug, Clone)]
struct Binary {
    executable: PathBuf,
    /// Where the tests of a package expect to be run.
    folder: PathBuf,
}

/// What a test said.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Passed,
    Failed,
}

impl Suite {
    /// Builds these tests with the feature that lets faults be planted.
    ///
    /// # Errors
    /// They do not build.
    pub fn build(tests: &[Test]) -> Result<Self> {
        let packages: BTreeSet<&str> = tests.iter().map(|test| test.package).collect();
        let targets: BTreeSet<&str> = tests.iter().filter_map(|test| test.target).collect();
        if packages.is_empty() {
            return Ok(Self::default());
        }
        let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
        let mut command = Command::new(cargo);
        command.args(["test", "--locked", "--quiet", "--no-run", "--message-format=json-render-diagnostics"]);
        command.args(["--features", "replank-common/planted-faults", "-p", "replank-common", "--lib"]);
        command.args(packages.iter().flat_map(|package| ["-p", package]));
        command.args(targets.iter().flat_map(|target| ["--test", target]));
        let output =
            command.stdin(Stdio::null()).stderr(Stdio::inherit()).output().context("failed to run cargo")?;
        if !output.status.success() {
            bail!("the tests do not build: {}", output.status);
        }
        let mut suite = Self::default();
        for line in String::from_utf8_lossy(&output.stdout).lines() {
            let message: Value = serde_json::from_str(line).context("cargo said what is no JSON")?;
            suite.binaries.extend(binary(&message));
        }
        Ok(suite)
    }

    /// Runs one test, with a fault planted in its whole process or with none.
    ///
    /// # Errors
    /// There is no such test, or it neither passes nor fails in time.
    pub fn run(&self, test: &Test, fault: Option<Planted>) -> Result<Verdict> {
        let key = (test.package.to_owned(), test.target.map(str::to_owned));
        let Some(Binary { executable, folder }) = self.binaries.get(&key) else {
            bail!("{test}: there is no such test binary");
        };
        let mut command = Command::new(executable);
        command.current_dir(folder).args(["--exact", test.name, "--test-threads=1"]);
        // A snapshot that does not fit is not to be written beside the right one.
        command.env("CARGO_MANIFEST_DIR", folder).env("INSTA_UPDATE", "no").env_remove("REPLANK_PLANT");
        if let Some(fault) = fault {
            command.env("REPLANK_PLANT", fault.name());
        }
        let said = told(command).with_context(|| format!("{test}"))?;
        if said.contains("test result: ok. 1 passed") {
            Ok(Verdict::Passed)
        } else if said.contains("test result: FAILED. 0 passed; 1 failed") {
            Ok(Verdict::Failed)
        } else {
            let last = said.lines().rev().find(|line| !line.is_empty()).unwrap_or("nothing");
            bail!("{test}: it neither passed nor failed; it said: {last}");
        }
    }
}

/// What a program prints until it ends.
fn told(mut command: Command) -> Result<String> {
    // A group of its own: what a failing test leaves behind would keep its output open.
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null()).process_group(0);
    let mut child = command.spawn().context("failed to start the test binary")?;
    let group = Pid::from_raw(i32::try_from(child.id()).context("a process number is too large")?);
    let mut out = child.stdout.take().context("the test binary has no standard output")?;
    let reader = thread::spawn(move || {
        let mut bytes = Vec::new();
        out.read_to_end(&mut bytes).map(|_| bytes)
    });
    let began = Instant::now();
    let mut late = false;
    while !late && child.try_wait().context("failed to wait for the test binary")?.is_none() {
        late = began.elapsed() > TEST_TIME_MAX;
        thread::sleep(Duration::from_millis(5));
    }
    // Fails only when nothing of the group is left.
    let _ = killpg(group, Signal::SIGKILL);
    if late {
        child.wait().context("failed to wait for the test binary")?;
        bail!("it did not end within {} s", TEST_TIME_MAX.as_secs());
    }
    let bytes = reader.join().map_err(|_| anyhow::anyhow!("the reader of the test binary's words died"))?;
    Ok(String::from_utf8_lossy(&bytes.context("failed to read what the test binary says")?).into_owned())
}

/// A test binary, if that is what cargo has built.
fn binary(message: &Value) -> Option<((String, Option<String>), Binary)> {
    let executable = message["executable"].as_str()?;
    if message["profile"]["test"] != Value::Bool(true) {
        return None;
    }
    // `path+file:///…#name@version`
    let (_, package) = message["package_id"].as_str()?.rsplit_once('#')?;
    let package = package.split('@').next()?.to_owned();
    let kinds = message["target"]["kind"].as_array()?;
    let target = if kinds.iter().any(|kind| kind == "test") {
        Some(message["target"]["name"].as_str()?.to_owned())
    } else if kinds.iter().any(|kind| kind == "lib") {
        None
    } else {
        return None;
    };
    let folder = Path::new(message["manifest_path"].as_str()?).parent()?.to_owned();
    Some(((package, target), Binary { executable: executable.into(), folder }))
}
