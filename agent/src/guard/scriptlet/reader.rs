//! Reading the commands of one script for harm.

use super::words::{base, harm, is_short, show, unwrap};
use super::{Harm, Kind, daemons};
use crate::guard::Situation;
use crate::guard::shell::{self, ANY, Command};

/// Names that make an unreadable script suspect.
const SUSPECT: [&str; 11] = [
    "libvirt",
    "virtqemud",
    "virtlogd",
    "virtlockd",
    "openvswitch",
    "ovs-vswitchd",
    "ovsdb-server",
    "machine.slice",
    "machine-qemu",
    "qemu",
    "librbd",
];
pub(super) struct Reader<'a> {
    pub situation: &'a Situation<'a>,
    pub text: &'a str,
}
/// `sh -c` inside `sh -c` and the like.
const DEPTH_MAX: usize = 4;
const SHELLS: [&str; 5] = ["sh", "bash", "dash", "ash", "ksh"];

impl Reader<'_> {
    /// Harm that cannot be told, when the script names anything that guests depend on.
    pub(super) fn suspect(&self, command: String, line: usize) -> Option<Harm> {
        let named = SUSPECT.iter().find(|name| self.text.contains(**name)).map(|name| (*name).to_owned());
        let used = || {
            let usage = self.situation.usage;
            let files = usage.files.keys().chain(usage.lazy.iter().map(|lazy| &lazy.directory));
            files
                .map(|path| path.to_string_lossy().into_owned())
                .find(|path| self.text.contains(path.as_str()))
        };
        let subject = named.or_else(used)?;
        Some(Harm { kind: Kind::CannotTell, subject, command, line, asks_policy: false })
    }

    pub(super) fn command(&self, command: &Command, depth: usize) -> Vec<Harm> {
        let mut harms: Vec<Harm> = Vec::new();
        for target in &command.writes {
            harms.extend(self.writes(target, command));
        }
        let words = unwrap(&command.words);
        let Some(program) = words.first() else { return harms };
        for program in program {
            let name = base(program);
            let arguments = &words[1..];
            if program.contains(ANY) {
                // A program that is known only when it runs, with an argument that we care about.
                let cares = arguments
                    .iter()
                    .flatten()
                    .any(|word| !word.contains(ANY) && SUSPECT.iter().any(|s| word.contains(s)));
                let harmful = arguments.iter().flatten().any(|word| daemons::is_harmful_verb(word));
                if cares && harmful {
                    harms.extend(self.suspect(show(command), command.line));
                }
                continue;
            }
            harms.extend(self.program(program, name, arguments, command, depth));
        }
        harms
    }

    fn program(
        &self,
        program: &str,
        name: &str,
        arguments: &[Vec<String>],
        command: &Command,
        depth: usize,
    ) -> Vec<Harm> {
        match name {
            "systemctl" => self.systemctl(arguments, command),
            "deb-systemd-invoke" => self.units(arguments, command, true),
            "invoke-rc.d" => self.service(arguments, command, true),
            "service" | "rc-service" | "initctl" => self.service(arguments, command, false),
            "restart" | "stop" if arguments.len() == 1 => self.daemon(&arguments[0], command, false),
            "systemd-update-helper" => self.update_helper(arguments, command),
            "ovs-ctl" => self.words_of(
                arguments,
                &["stop", "restart", "force-reload-kmod"],
                "openvswitch",
                Kind::Daemon,
                command,
            ),
            "start-stop-daemon" => self.start_stop(arguments, command),
            _ if program.contains("/init.d/") => {
                let verbs = arguments
                    .first()
                    .is_some_and(|verb| verb.iter().any(|verb| daemons::is_harmful_verb(verb)));
                if verbs { self.daemon(&[name.to_owned()], command, false) } else { Vec::new() }
            }
            "kill" | "pkill" | "killall" | "killall5" => self.kill(arguments, command),
            "virsh" => self.words_of(
                arguments,
                &[
                    "destroy",
                    "shutdown",
                    "reboot",
                    "reset",
                    "suspend",
                    "save",
                    "managedsave",
                    "undefine",
                    "migrate",
                    "qemu-monitor-command",
                ],
                "virsh",
                Kind::EndsGuests,
                command,
            ),
            "machinectl" => self.words_of(
                arguments,
                &["terminate", "poweroff", "reboot", "kill", "stop"],
                "machinectl",
                Kind::EndsGuests,
                command,
            ),
            "reboot" | "poweroff" | "halt" | "shutdown" => vec![harm(Kind::EndsGuests, name, command, false)],
            "rmmod" | "modprobe" => {
                let removes = name == "rmmod"
                    || arguments.iter().flatten().any(|word| word == "-r" || word == "--remove");
                let kvm = arguments
                    .iter()
                    .flatten()
                    .any(|word| word.starts_with("kvm") || word.starts_with("vhost"));
                if removes && kvm { vec![harm(Kind::EndsGuests, "kvm", command, false)] } else { Vec::new() }
            }
            "rm" | "rmdir" | "unlink" | "shred" => self.removes(arguments, command),
            "find" => self.find(arguments, command, depth),
            "eval" => self.nested(
                &arguments.iter().map(|w| w.join(" ")).collect::<Vec<_>>().join(" "),
                command,
                depth,
            ),
            _ if SHELLS.contains(&name) || matches!(name, "su" | "runuser") => {
                self.shell(arguments, command, depth)
            }
            _ => self.writer(name, arguments, command),
        }
    }

    fn nested(&self, text: &str, command: &Command, depth: usize) -> Vec<Harm> {
        if depth >= DEPTH_MAX || text.contains(ANY) {
            return self.suspect(show(command), command.line).into_iter().collect();
        }
        match shell::commands(text, None) {
            Ok(commands) => commands.iter().flat_map(|inner| self.command(inner, depth + 1)).collect(),
            Err(_) => self.suspect(show(command), command.line).into_iter().collect(),
        }
    }

    fn shell(&self, arguments: &[Vec<String>], command: &Command, depth: usize) -> Vec<Harm> {
        if let Some(at) = arguments.iter().position(|word| word.iter().any(|word| is_short(word, 'c'))) {
            return arguments
                .get(at + 1)
                .into_iter()
                .flatten()
                .flat_map(|text| self.nested(text, command, depth))
                .collect();
        }
        match &command.here {
            Some(text) => self.nested(text, command, depth),
            None => Vec::new(),
        }
    }
    pub(super) fn words_of(
        &self,
        arguments: &[Vec<String>],
        verbs: &[&str],
        subject: &str,
        kind: Kind,
        command: &Command,
    ) -> Vec<Harm> {
        let hit = arguments.iter().flatten().any(|word| verbs.contains(&word.as_str()));
        if hit { vec![harm(kind, subject, command, false)] } else { Vec::new() }
    }

    fn find(&self, arguments: &[Vec<String>], command: &Command, depth: usize) -> Vec<Harm> {
        let at = arguments
            .iter()
            .position(|word| word.iter().any(|word| matches!(word.as_str(), "-exec" | "-execdir" | "-ok")));
        if let Some(at) = at {
            let inner = arguments[at + 1..]
                .iter()
                .map(|word| word.iter().map(|w| w.replace("{}", &ANY.to_string())).collect())
                .collect();
            return self.command(
                &Command { words: inner, writes: Vec::new(), here: None, line: command.line },
                depth + 1,
            );
        }
        if arguments.iter().flatten().any(|word| word == "-delete") {
            return self.removes(&arguments[..1], command);
        }
        Vec::new()
    }
}
