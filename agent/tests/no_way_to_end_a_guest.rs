//! P3, the backstop: the agent's own source has no words for ending, pausing or commanding a guest.
//!
//! The behaviour is tested where it is (the census and the watch ask libvirt read-only, and only while it runs; actions never signal a
//! guest). This test reads what no test may reach: a new line of code that calls `virsh destroy` fails here.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::fs;
use std::path::{Path, PathBuf};

/// A word that must not be in the source, and the files that may have it all the same, with the reason.
struct Rule {
    word: &'static str,
    except: &'static [(&'static str, &'static str)],
}

const OWN_PROGRAMS: (&str, &str) =
    ("host/command.rs", "ends the process group of a program that it started itself");
const OWN_CLIENT: (&str, &str) = ("guests/events.rs", "ends the libvirt client that it started itself");
const GUARD: (&str, &str) = ("guard/scriptlet/", "names these words to find them in the scripts of packages");
const BUS: (&str, &str) = ("host/systemd/bus.rs", "the connection to systemd, at a fixed address");
const TRIAL: (&str, &str) =
    ("host/libvirt/trial/", "a trial libvirtd in namespaces of its own, without guests");

const TRACER: (&str, &str) =
    ("host/opens.rs", "takes the stop with which a traced child of a program of its own begins");

const CEPH: (&str, &str) = (
    "host/ceph/daemon.rs",
    "asks a daemon of Ceph to end that its pid file names, if its program and its id are the daemon's",
);

const CEPH_SOCKET: (&str, &str) =
    ("host/ceph/socket.rs", "an admin socket of a daemon of Ceph, below /var/run/ceph and named after it");

const RULES: &[Rule] = &[
    Rule { word: "kill_process", except: &[OWN_PROGRAMS, TRIAL] },
    Rule { word: ".kill()", except: &[OWN_CLIENT, TRIAL] },
    Rule { word: "signal::kill", except: &[] },
    Rule { word: "pidfd_send_signal", except: &[CEPH] },
    Rule { word: "tgkill", except: &[] },
    Rule { word: "\"kill\"", except: &[GUARD] },
    Rule { word: "\"destroy\"", except: &[GUARD] },
    Rule { word: "\"shutdown\"", except: &[GUARD] },
    Rule { word: "\"reset\"", except: &[GUARD] },
    Rule { word: "\"suspend\"", except: &[GUARD] },
    Rule { word: "\"managedsave\"", except: &[GUARD] },
    Rule { word: "\"save\"", except: &[GUARD] },
    Rule { word: "\"undefine\"", except: &[GUARD] },
    Rule { word: "\"migrate\"", except: &[GUARD] },
    // Asking for a block job is; ending one is not.
    Rule { word: "\"--abort\"", except: &[] },
    Rule { word: "\"--pivot\"", except: &[] },
    Rule { word: "\"terminate\"", except: &[GUARD] },
    Rule { word: "qemu-monitor-command", except: &[GUARD] },
    Rule { word: "qemu-agent-command", except: &[] },
    Rule { word: "virDomain", except: &[TRIAL] },
    Rule { word: "monitor.sock", except: &[] },
    Rule { word: "UnixStream", except: &[BUS, CEPH_SOCKET] },
    Rule { word: "KillUnit", except: &[] },
    Rule { word: "TerminateMachine", except: &[] },
    Rule { word: "KillMachine", except: &[] },
    Rule { word: "SIGSTOP", except: &[TRACER] },
    Rule { word: "cgroup.kill", except: &[] },
    Rule { word: "cgroup.freeze", except: &[] },
    Rule { word: "freezer.state", except: &[] },
];

fn files(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
}

/// The code of a file that is compiled into the agent: without comments, and without the tests at its end.
fn code(text: &str) -> String {
    let end =
        text.find("#[cfg(test)]\nmod ").or_else(|| text.find("#[cfg(test)]\npub")).unwrap_or(text.len());
    let body = &text[..end];
    body.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

fn is_for_tests(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap();
    name.ends_with("tests.rs") || name == "testing.rs" || name == "sweep.rs" || path.contains("/tests/")
}

/// What in `text`, the file at `path`, breaks a rule.
fn broken(path: &str, text: &str) -> Vec<String> {
    let code = code(text);
    let rules = RULES.iter().filter(|rule| code.contains(rule.word));
    rules
        .filter(|rule| !rule.except.iter().any(|(except, _)| path.starts_with(except)))
        .map(|rule| format!("{path} has `{}`", rule.word))
        .collect()
}

#[test]
fn the_source_has_no_words_for_it() {
    let mut wrong = Vec::new();
    for (source, at_least) in [("src", 30), ("core/src", 8)] {
        let source = Path::new(env!("CARGO_MANIFEST_DIR")).join(source);
        let mut found = Vec::new();
        files(&source, &mut found);
        assert!(found.len() > at_least, "only {} files were looked at", found.len());
        for path in &found {
            let name = path.strip_prefix(&source).unwrap().to_string_lossy().into_owned();
            if !is_for_tests(&name) {
                wrong.extend(broken(&name, &fs::read_to_string(path).unwrap()));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn the_test_can_fail() {
    let planted = "fn end(name: &str) { virsh([\"destroy\", name]); }\n";
    assert_eq!(broken("actions/x.rs", planted).len(), 1);
    assert!(broken("guard/scriptlet/x.rs", planted).is_empty());
    assert!(broken("actions/x.rs", &format!("// {planted}")).is_empty());
    assert!(broken("actions/x.rs", &format!("#[cfg(test)]\nmod tests {{\n{planted}}}\n")).is_empty());
    assert_eq!(broken("guests/x.rs", "let s = UnixStream::connect(path)?;").len(), 1);
}
