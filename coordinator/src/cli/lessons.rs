//! What `--help` and the man pages teach beyond the options: what a command changes, examples, and how it can end.

use super::exit::Exit;
use Exit::{
    BadFile, Blocked, Deposed, Done, Halted, Refused, SimulationBroke, SimulationHeld, Unexpected,
    Unreachable, Unsound, Usage, Waits,
};
use replank_cli::Lesson;

/// How every command can end.
pub const EVERYWHERE: &[Exit] = &[Done, Unexpected, Usage];

/// Commands that ask the coordinator: a bad operator.toml, a refusal, no connection.
const ONLINE: &[Exit] = &[BadFile, Refused, Unreachable];

pub const LESSONS: &[Lesson<Exit>] = &[
    Lesson {
        path: "",
        does: "Upgrades the layers below running guests, plank by plank, and proves that no guest was lost. A fleet file says what the \
               hosts are to become; `check` finds what stands in the way, `plan` computes every step, `apply` starts the run, `watch` and \
               `why` say where it is and what it waits for, and `report` proves what became of each guest.",
        changes: "Only `apply` and the commands that decide about a run (approve, resume, retry, abort, rollback) let hosts be changed.",
        examples: &[
            "replank check -f fleet.toml",
            "replank plan -f fleet.toml -o plan.json",
            "replank apply plan.json --watch",
            "replank why",
        ],
        exits: Exit::ALL,
    },
    Lesson {
        path: "init",
        does: "Makes the coordinator's folder: a certificate authority of the fleet's own, coordinator.toml, and the certificate and \
               settings of the first operator, an admin. Nothing that is there already is overwritten.",
        changes: "The folder DIR. Keep it as you keep a root password: who has the authority's key commands every host.",
        examples: &[
            "replank init --dir /var/lib/replank-coordinator",
            "export REPLANK_CONFIG=/var/lib/replank-coordinator/operator.toml",
        ],
        exits: &[BadFile],
    },
    Lesson {
        path: "serve",
        does: "Runs the coordinator in the foreground until it is told to stop (SIGTERM or Ctrl-C). Agents and operators connect to it. Runs \
               that were under way go on where their journals end. The unit replank-coordinator.service does this.",
        changes: "The store in DIR; through the agents, what the plans of its runs say.",
        examples: &[
            "replank serve --dir /var/lib/replank-coordinator",
            "systemctl enable --now replank-coordinator",
        ],
        exits: &[BadFile, Deposed],
    },
    Lesson {
        path: "host",
        does: "Says which hosts belong to the fleet.",
        changes: "`token` and `revoke` change who may connect; `list` changes nothing.",
        examples: &["replank host token compute1", "replank host list"],
        exits: ONLINE,
    },
    Lesson {
        path: "host token",
        does: "Makes a join token and prints it. The agent of that host gives it once to prove who it is and gets a certificate of its own. \
               For admins.",
        changes: "The coordinator keeps a digest of the token until it is used or expires. No host is touched.",
        examples: &["replank host token compute1", "replank host token compute1 --minutes 10 > token"],
        exits: ONLINE,
    },
    Lesson {
        path: "host list",
        does: "Lists every enrolled host: whether its agent is linked, since when it was last heard, how many guests it counts, and until when \
               its certificate is good.",
        changes: "Nothing.",
        examples: &[
            "replank host list",
            "replank host list --json | jq '.hosts[] | select(.linked | not) | .name'",
        ],
        exits: ONLINE,
    },
    Lesson {
        path: "host revoke",
        does: "Revokes every certificate of a host and cuts its link at once. The host needs a new token to come back. For admins.",
        changes: "Who may connect. The host itself and its guests are not touched; a run that needs the host waits.",
        examples: &["replank host revoke compute1"],
        exits: ONLINE,
    },
    Lesson {
        path: "operator",
        does: "Says who may ask the coordinator, and what: a viewer looks, an operator also starts runs and decides about them, an admin also says \
               which hosts and operators belong.",
        changes: "`add` and `revoke` change who may connect, `renew` your own identity file; `list` changes nothing.",
        examples: &["replank operator add alice --level operator -o alice.pem", "replank operator list"],
        exits: ONLINE,
    },
    Lesson {
        path: "operator add",
        does: "Makes a key here, has the coordinator sign a certificate for it and writes both as one file, readable by you alone. The key itself \
               travels nowhere. The settings that go with it are printed; with --settings they are written, with the authority's certificate as \
               authority.pem beside them, so that the three files can be handed over. One name has one holder: revoke it before you give it \
               to another key or another level. For admins.",
        changes: "The files, none of which may be there, and who may connect.",
        examples: &[
            "replank operator add alice --level operator -o alice.pem",
            "replank operator add bob --level viewer -o bob/operator.pem --settings bob/operator.toml",
        ],
        exits: ONLINE,
    },
    Lesson {
        path: "operator list",
        does: "Lists everybody who ever had an operator's certificate: its level, whether it holds, was revoked or has ended, and until when it is \
               good. For admins.",
        changes: "Nothing.",
        examples: &[
            "replank operator list",
            "replank operator list --json | jq -r '.operators[] | select(.state == \"good\") | .name'",
        ],
        exits: ONLINE,
    },
    Lesson {
        path: "operator revoke",
        does: "Revokes every certificate of an operator: its next call is refused and what it watches ends. Runs that it began go on. The last admin \
               cannot revoke itself. For admins.",
        changes: "Who may connect. No run and no host is touched.",
        examples: &["replank operator revoke alice"],
        exits: ONLINE,
    },
    Lesson {
        path: "operator renew",
        does: "Makes a new key and has it signed for the name and level that you have, and puts both in the place of the identity file that \
               operator.toml names; the old file stays until the new one is on disk. For every level, as long as the old certificate holds: every \
               command warns when less than 30 days are left.",
        changes: "Your identity file. Copies of the old one are good until they end or you are revoked.",
        examples: &["replank operator renew", "replank --config alice.toml operator renew"],
        exits: ONLINE,
    },
    Lesson {
        path: "guests",
        does: "Lists every guest by host from the newest census: its process, its state, and the qemu that it really runs on, which may be \
               older than the one that is installed.",
        changes: "Nothing.",
        examples: &["replank guests", "replank guests --json | jq '.guests[] | select(.emulator_deleted)'"],
        exits: ONLINE,
    },
    Lesson {
        path: "inventory",
        does: "Asks every linked host for its facts now and writes one JSON file. Hosts that did not answer are named in it, and on standard \
               error.",
        changes: "Nothing but the file.",
        examples: &[
            "replank inventory -o inventory.json",
            "replank plan -f fleet.toml --inventory inventory.json",
        ],
        exits: ONLINE,
    },
    Lesson {
        path: "check",
        does: "Looks for everything that stands in the way of the upgrade that the fleet file describes, on every host, and says for each \
               blocker the host, the cause and the remedy; then what the plan would neutralise by itself, and what is worth knowing. With \
               --inventory it works without a coordinator.",
        changes: "Nothing.",
        examples: &[
            "replank check -f fleet.toml",
            "replank check -f fleet.toml --inventory inventory.json --json",
        ],
        exits: &[BadFile, Blocked, Refused, Unreachable],
    },
    Lesson {
        path: "plan",
        does: "Computes the plan from the fleet file, the inventory and the catalog, and shows it: what happens in which order, where it waits \
               for you, what cannot be taken back, how long it takes. The same input gives the same plan, byte by byte. With -o the plan file \
               is written; with --json it is printed. With --inventory it works without a coordinator. Blockers are shown instead of a plan.",
        changes: "Nothing but the file. The last line is the command that applies the plan.",
        examples: &[
            "replank plan -f fleet.toml -o plan.json",
            "replank plan -f fleet.toml --inventory inventory.json -o plan.json",
            "replank plan -f fleet.toml --parent sha256:… -o plan.json",
        ],
        exits: &[BadFile, Blocked, Refused, Unreachable, Unsound],
    },
    Lesson {
        path: "show",
        does: "Shows a plan file, a plan that the coordinator has (sha256:…), or a run (run-…) followed by its plan. A plan file that was \
               changed by as much as a blank is refused.",
        changes: "Nothing.",
        examples: &["replank show plan.json", "replank show run-0193…"],
        exits: ONLINE,
    },
    Lesson {
        path: "lint",
        does: "Derives the promises again from the finished plan alone, with none of the planner's code, and lists what the plan would break. \
               `plan` and `apply` do the same; a plan with a fatal note cannot be applied.",
        changes: "Nothing.",
        examples: &["replank lint plan.json"],
        exits: &[BadFile, Refused, Unreachable, Unsound],
    },
    Lesson {
        path: "simulate",
        does: "Carries the plan out against a simulated fleet: the plan's hosts and as many guests as it counted, or the Ceph cluster that \
               it names, with the code that production uses, while messages are lost, agents, hosts and coordinators die and guests come and go, by the chances of a profile: calm, \
               nothing goes wrong; rough, a bad week; storm, everything at once. Then nothing new goes wrong, and the run must end or say what \
               holds it. Shows what happened on the way and how it ended. It tells what replank would do, not whether your packages work.",
        changes: "Nothing. No host is asked or touched; a plan's id is read from the coordinator.",
        examples: &[
            "replank simulate plan.json --seed 7 --faults rough",
            "replank simulate plan.json --seeds 1000 --faults storm",
            "replank simulate ceph.json --inventory inventory.json --seed 7",
        ],
        exits: &[BadFile, Refused, Unreachable, Unsound, SimulationHeld, SimulationBroke],
    },
    Lesson {
        path: "apply",
        does: "Gives the plan to the coordinator, starts a run of it and prints the run's id. The coordinator carries the run: nothing depends \
               on this command or on this machine afterwards. With --watch it then follows the run.",
        changes: "The hosts, as `replank show PLAN` says, up to the first hold.",
        examples: &["replank apply plan.json --watch", "RUN=$(replank apply plan.json)"],
        exits: &[BadFile, Refused, Unreachable, Halted, Waits, Unsound],
    },
    Lesson {
        path: "status",
        does: "Shows where a run is: each host and its step, each hold, the time left, and what the run waits for.",
        changes: "Nothing.",
        examples: &["replank status", "replank status --json | jq -r .phase"],
        exits: &[BadFile, Refused, Unreachable, Halted],
    },
    Lesson {
        path: "watch",
        does: "Follows a run, event by event, until it ends or is halted. On a terminal a bar for the run and one for each host at work stay at \
               the bottom, with the time left. After a lost connection it goes on with the first event that it has not shown. Ctrl-C ends the \
               watching and nothing else.",
        changes: "Nothing. The run does not need anybody to watch it.",
        examples: &[
            "replank watch",
            "replank watch run-0193… --until-hold",
            "replank watch --json | jq -c '.event // empty'",
        ],
        exits: &[BadFile, Refused, Unreachable, Halted, Waits],
    },
    Lesson {
        path: "why",
        does: "Says what exactly a run waits for: which guest, host, unit, gate or hold, since when, and what can be done about it.",
        changes: "Nothing.",
        examples: &["replank why", "replank why --json | jq -r '.waits[].text'"],
        exits: ONLINE,
    },
    Lesson {
        path: "approve",
        does: "Approves a hold that the run has reached. The operator's name is kept in the run's journal.",
        changes: "The run goes past the hold: the steps behind it begin.",
        examples: &["replank approve run-0193… after-canary"],
        exits: ONLINE,
    },
    Lesson {
        path: "pause",
        does: "Stops a run from starting steps. What is in flight is finished, so that nothing is left half done.",
        changes: "The run, until it is resumed.",
        examples: &["replank pause run-0193…"],
        exits: ONLINE,
    },
    Lesson {
        path: "resume",
        does: "Lets a run go on after a pause or a halt. Read `replank why` first: a halt has a reason. After a guest was lost, the run goes on only \
               when each such guest is named with --acknowledge-lost; who does so is kept in the run's journal.",
        changes: "The run goes on: steps begin again.",
        examples: &["replank resume run-0193…", "replank resume run-0193… --acknowledge-lost web1 db2"],
        exits: ONLINE,
    },
    Lesson {
        path: "retry",
        does: "Tries a step again that was refused or failed, after its cause is gone.",
        changes: "The step's host, as the plan says.",
        examples: &["replank retry run-0193… compute2.install-qemu"],
        exits: ONLINE,
    },
    Lesson {
        path: "abort",
        does: "Ends a run where it is: no further step starts, and what was borrowed (pins, masks, drop-ins) is given back. What is done stays \
               done.",
        changes: "The hosts: what the run borrowed is given back.",
        examples: &["replank abort run-0193…"],
        exits: ONLINE,
    },
    Lesson {
        path: "rollback",
        does: "Takes the steps of a run back from the agents' records, host by host in the opposite order: packages, files, units, pins and \
               masks become what they were. Where going back would endanger a guest it is refused before anything is changed, with the reason \
               and the safe alternative. --to keeps the stages up to STAGE done.",
        changes: "The hosts: what the run did is undone.",
        examples: &["replank rollback run-0193…", "replank rollback run-0193… --to install"],
        exits: ONLINE,
    },
    Lesson {
        path: "report",
        does: "Shows what a run did on each host, how long each step took, every halt with the time from death to halt, and the proof per \
               guest: its incarnation and its qemu before and after. The last line is `guests lost: N`.",
        changes: "Nothing.",
        examples: &["replank report run-0193…", "replank report run-0193… --beats beats.json"],
        exits: ONLINE,
    },
    Lesson {
        path: "runs",
        does: "Lists all runs, the latest last.",
        changes: "Nothing.",
        examples: &["replank runs", "replank runs --json | jq -r '.runs[-1].run'"],
        exits: ONLINE,
    },
    Lesson {
        path: "ceph",
        does: "Says what of a Ceph cluster may stop, worked out from documents that the cluster printed itself, of any release from Hammer on. No cluster \
               and no coordinator is asked.",
        changes: "Nothing.",
        examples: &[
            "ceph pg dump --format json > pg.json; ceph osd dump --format json > osd.json",
            "replank ceph safe-to-stop --pg-dump pg.json --osd-dump osd.json osd.1 osd.2",
        ],
        exits: &[BadFile, Blocked],
    },
    Lesson {
        path: "ceph safe-to-stop",
        does: "Says whether all of these OSDs and MONs may be down at the same time. An OSD may stop if every placement group that it is in keeps enough \
               complete copies without it: max(min_size, 2) of a replicated pool, max(min_size, k + 1) of an erasure-coded one. Each group that \
               objects is named with its pool, its OSDs, the copies left and the copies needed. What the documents do not tell is no. Take the list of \
               groups first, the OSD map after it.",
        changes: "Nothing. Exit code 0 means safe, and nothing else does.",
        examples: &[
            "replank ceph safe-to-stop --pg-dump pg.json --osd-dump osd.json osd.1 osd.2",
            "replank ceph safe-to-stop --pg-dump pg.json --osd-dump osd.json --quorum quorum.json mon.a osd.3",
            "replank ceph safe-to-stop --pg-dump pg.json --osd-dump osd.json --consent scratch osd.1 && systemctl stop ceph-osd@1",
        ],
        exits: &[BadFile, Blocked],
    },
    Lesson {
        path: "ceph waves",
        does: "Cuts all OSDs that are up into sets that may each be down at once, one set after another, machine by machine, and shows beside their number the \
               least that any such sequence has, and why. The waves hold for the documents as they are: ask `safe-to-stop` with new ones before each. \
               Without --osd-tree, machines are told apart by the addresses of their OSDs.",
        changes: "Nothing. Exit code 0 means that every OSD is in a wave.",
        examples: &[
            "replank ceph waves --pg-dump pg.json --osd-dump osd.json --osd-tree tree.json --quorum quorum.json",
            "replank ceph waves --pg-dump pg.json --osd-dump osd.json --json | jq -c '.waves[].units'",
        ],
        exits: &[BadFile, Blocked],
    },
    Lesson {
        path: "completions",
        does: "Prints a script that completes commands and options in a shell.",
        changes: "Nothing.",
        examples: &["replank completions bash > /usr/share/bash-completion/completions/replank"],
        exits: &[],
    },
    Lesson {
        path: "man",
        does: "Writes a man page for `replank` and one for each command.",
        changes: "The files replank*.1 in DIR.",
        examples: &["replank man --dir /usr/share/man/man1"],
        exits: &[],
    },
];
