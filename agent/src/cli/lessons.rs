//! What `--help` and the man pages teach beyond the options: what a command changes, examples, and how it can end.

use super::exit::Exit;
use Exit::{BadFile, Disagreement, Done, Identity, Ledger, NotRoot, Refused, Unexpected, Unreachable, Usage};
use replank_cli::Lesson;

/// How every command can end.
pub const EVERYWHERE: &[Exit] = &[Done, Unexpected, Usage];

pub const LESSONS: &[Lesson<Exit>] = &[
    Lesson {
        path: "",
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
        path: "run",
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
        path: "enrol",
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
        path: "census",
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
        path: "facts",
        does: "Collects what the planner would be told of this host: operating system, packages, units, libvirt, emulators, guests, space. What \
               could not be learned is listed under `errors`.",
        changes: "Nothing.",
        examples: &["replank-agent facts", "replank-agent facts | jq .errors"],
        exits: &[BadFile, NotRoot],
    },
    Lesson {
        path: "ledger",
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
        path: "check-config",
        does: "Reads agent.toml, its drop-ins and policy.toml as `run` would, and says in sentences what they mean.",
        changes: "Nothing.",
        examples: &["replank-agent check-config"],
        exits: &[BadFile],
    },
    Lesson {
        path: "completions",
        does: "Prints a completion script for a shell. The package installs those of bash, zsh and fish.",
        changes: "Nothing.",
        examples: &["replank-agent completions bash > /usr/share/bash-completion/completions/replank-agent"],
        exits: &[],
    },
    Lesson {
        path: "man",
        does: "Writes the man pages, one for the program and one for each of its commands. The package installs them.",
        changes: "The folder DIR.",
        examples: &["replank-agent man --dir /usr/share/man/man1"],
        exits: &[],
    },
];
