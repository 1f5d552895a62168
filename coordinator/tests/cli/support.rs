//! A directory of its own for each test, and the binary run in it.

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

pub const DEBIAN_TOML: &str = include_str!("../../core/tests/fixtures/debian.toml");
pub const DEBIAN_JSON: &str = include_str!("../../core/tests/fixtures/debian.inventory.json");

/// A working directory that is an operator's.
#[derive(Debug)]
pub struct Desk {
    dir: tempfile::TempDir,
}

/// What the binary said, and how it ended.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub out: String,
    pub err: String,
}

impl Desk {
    /// With `fleet.toml` and `inventory.json` of the three Debian hosts.
    pub fn new() -> Self {
        let desk = Self { dir: tempfile::tempdir().unwrap() };
        desk.write("fleet.toml", DEBIAN_TOML);
        desk.write("inventory.json", DEBIAN_JSON);
        desk
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path(name), text).unwrap();
    }

    pub fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap()
    }

    /// The binary, in this directory and in nobody's environment.
    pub fn command(&self, arguments: &[&str]) -> Command {
        command(self.dir.path(), arguments)
    }

    pub fn run(&self, arguments: &[&str]) -> Said {
        said(&self.command(arguments).output().unwrap())
    }

    /// A run that must end well.
    pub fn must(&self, arguments: &[&str]) -> String {
        let said = self.run(arguments);
        assert_eq!(said.code, 0, "replank {}: {said:#?}", arguments.join(" "));
        said.out
    }

    pub fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.must(arguments)).unwrap()
    }

    /// A run that must be refused with this exit code and this documented code, told in one line to people and as JSON to machines.
    pub fn refused(&self, arguments: &[&str], exit: i32, code: &str) -> Said {
        let said = self.run(arguments);
        let what = format!("replank {}: {said:#?}", arguments.join(" "));
        assert_eq!(said.code, exit, "{what}");
        let lines: Vec<&str> = said.err.lines().collect();
        let [.., error, page] = lines.as_slice() else { panic!("{what}") };
        assert!(error.starts_with(&format!("error: {code}: ")), "{what}");
        assert_eq!(*page, format!("  see docs/errors/{code}.md"), "{what}");
        assert_eq!(said.err.matches(&format!("{code}: ")).count(), 1, "the code is told once: {what}");

        let mut for_machines = arguments.to_vec();
        for_machines.push("--json");
        let told = self.run(&for_machines);
        assert_eq!(told.code, exit, "{told:#?}");
        let last = told.err.lines().last().unwrap_or_default();
        let value: Value = serde_json::from_str(last).unwrap_or_else(|error| panic!("{error}: {told:#?}"));
        assert_eq!(value["error"]["code"], code, "{value}");
        assert_eq!(value["error"]["exit"], exit, "{value}");
        said
    }
}

pub fn command(dir: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_replank"));
    command.args(arguments).current_dir(dir).env_clear();
    command
}

pub fn said(output: &Output) -> Said {
    Said {
        code: output.status.code().unwrap_or(-1),
        out: String::from_utf8(output.stdout.clone()).unwrap(),
        err: String::from_utf8(output.stderr.clone()).unwrap(),
    }
}
