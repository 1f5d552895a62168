//! What `--help` and the man pages teach beyond the options: what a command changes, examples, and how it can end.

use super::exit::Exit;
use Exit::{BadFile, Disagreement, Done, Identity, Ledger, NotRoot, Refused, Unexpected, Unreachable, Usage};

/// One command's lesson.
#[derive(Debug)]
pub struct Lesson {
    /// The word after `replank-agent`; empty for `replank-agent` itself.
    pub command: &'static str,
    /// What it does, in sentences.
    pub does: &'static str,
    pub changes: &'static str,
    /// Each a line that can be typed.
    pub examples: &'static [&'static str],
    /// Beside those of every command: [`EVERYWHERE`].
    pub exits: &'static [Exit],
}

/// How every command can end.
const EVERYWHERE: &[Exit] = &[Done, Unexpected, Usage];

impl Lesson {
    /// All ways to end, in ascending order of code.
    pub fn all_exits(&self) -> Vec<Exit> {
        let mut exits = [EVERYWHERE, self.exits].concat();
        exits.sort();
        exits.dedup();
        exits
    }

    /// The end of `--help`.
    pub fn text(&self) -> String {
        let mut text = format!("Changes:\n  {}\n\nExamples:\n", self.changes);
        for example in self.examples {
            text.push_str(&format!("  {example}\n"));
        }
        text.push_str("\nExit codes:\n");
        for exit in self.all_exits() {
            text.push_str(&format!("  {}  {}\n", exit.code(), exit.title()));
        }
        text
    }
}

/// The lesson of a command.
pub fn of(command: &str) -> Option<&'static Lesson> {
    LESSONS.iter().find(|lesson| lesson.command == command)
}

pub const LESSONS: &[Lesson] = &[
    Lesson {
        command: "",
        does: "The agent of one host. It counts the guests from four sources that must agree, keeps a durable record of every action, and \
               performs typed actions that its coordinator commands, after the host's own policy and its own guard have agreed. It \
               stops, pauses or destroys no guest, and starting, stopping or upgrading it touches none.",
        changes: "`run` performs what the coordinator commands; `enrol` writes this host's identity; the others change nothing.",
        examples: &[
            "replank-agent enrol --coordinator coordinator.example:7443 --token rpk1.…",
            "systemctl enable --now replank-agent",
            "replank-agent census",
        ],
        exits: Exit::ALL,
    },
    Lesson {
        command: "run",
        does: "Runs the agent in the foreground; the unit replank-agent.service does this. It dials its coordinator and dials again \
               whenever the link ends. SIGTERM finishes the action at work, for at most 110 s, and ends; a second one ends at once, and \
               the next start goes on from the ledger. SIGHUP reads policy and identity again and keeps the old ones when the new cannot \
               be used. The variable REPLANK_LOG sets what is logged, such as `debug`.",
        changes: "What the coordinator commands and policy.toml allows; /var/lib/replank.",
        examples: &[
            "systemctl enable --now replank-agent",
            "systemctl reload replank-agent",
            "replank-agent run",
        ],
        exits: &[BadFile, Identity, Refused, Ledger, NotRoot],
    },
    Lesson {
        command: "enrol",
        does: "Makes a key on this host, has the coordinator sign it for the join token, and keeps the identity in the agent's directory. \
               The coordinator's address and this host's name are written to conf.d/10-enrolled.toml beside agent.toml. The token holds the \
               fingerprint of the fleet's authority, so no other coordinator can answer. The same command can be given again when its answer \
               was lost.",
        changes: "/var/lib/replank/identity and /etc/replank/conf.d/10-enrolled.toml.",
        examples: &[
            "replank-agent enrol --coordinator coordinator.example:7443 --token rpk1.…",
            "REPLANK_TOKEN=$(cat token) replank-agent enrol --coordinator 10.0.0.5:7443 --host compute1",
        ],
        exits: &[BadFile, Identity, Refused, Unreachable, NotRoot],
    },
    Lesson {
        command: "census",
        does: "Asks /proc, libvirt's status files, libvirt's API and the cgroup scopes for the guests of this host, now and in this process, \
               whether or not the agent runs. A guest that is just starting or ending gets a moment before its sources are said to \
               disagree.",
        changes: "Nothing.",
        examples: &[
            "replank-agent census",
            "replank-agent census --json | jq '.guests[] | select(.emulator_deleted) | .name'",
        ],
        exits: &[BadFile, Disagreement, NotRoot],
    },
    Lesson {
        command: "facts",
        does: "Collects what the planner would be told of this host: operating system, packages, units, libvirt, emulators, guests, space. What \
               could not be learned is listed under `errors`.",
        changes: "Nothing.",
        examples: &["replank-agent facts", "replank-agent facts | jq .errors"],
        exits: &[BadFile, NotRoot],
    },
    Lesson {
        command: "ledger",
        does: "Lists every command that this host was given, oldest first: when, its id, what it was, and what became of it. One without an \
               outcome has begun and not ended: it is at work, or is finished when the coordinator asks again.",
        changes: "Nothing.",
        examples: &[
            "replank-agent ledger",
            "replank-agent ledger --json | jq '.[] | select(.stage.intended)'",
        ],
        exits: &[BadFile, Ledger, NotRoot],
    },
    Lesson {
        command: "check-config",
        does: "Reads agent.toml, its drop-ins and policy.toml as `run` would, and says in sentences what they mean.",
        changes: "Nothing.",
        examples: &["replank-agent check-config"],
        exits: &[BadFile],
    },
    Lesson {
        command: "completions",
        does: "Prints a completion script for a shell. The package installs those of bash, zsh and fish.",
        changes: "Nothing.",
        examples: &["replank-agent completions bash > /usr/share/bash-completion/completions/replank-agent"],
        exits: &[],
    },
    Lesson {
        command: "man",
        does: "Writes the man pages, one for the program and one for each of its commands. The package installs them.",
        changes: "The folder DIR.",
        examples: &["replank-agent man --dir /usr/share/man/man1"],
        exits: &[],
    },
];
