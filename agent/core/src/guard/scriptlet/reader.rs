//! Reading the commands of one script for harm.

use super::words::{base, harm, is_short, positional, show, unwrap};
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
    /// Where a relative path may begin: `/`, which package managers run scripts in, and where the script changes to.
    pub directories: Vec<String>,
}
/// Programs of other languages, which are given their script as a word or a here-document.
const LANGUAGES: [&str; 9] = ["python", "perl", "ruby", "lua", "awk", "gawk", "mawk", "php", "tclsh"];
/// Words of such a script that act.
const ACTS: [&str; 10] =
    ["system", "exec", "popen", "subprocess", "kill", "unlink", "rmtree", "remove", "rename", "`"];
/// Programs that look at their words or show them, and do nothing of what these say.
const INERT: [&str; 14] = [
    "echo",
    "printf",
    "logger",
    "which",
    "type",
    "hash",
    "grep",
    "egrep",
    "fgrep",
    "ls",
    "test",
    "db_subst",
    "man",
    "dpkg-query",
];
/// Programs that harm by what their words say, whichever program runs them.
const ACTORS: [&str; 20] = [
    "systemctl",
    "service",
    "invoke-rc.d",
    "deb-systemd-invoke",
    "initctl",
    "virsh",
    "machinectl",
    "kill",
    "pkill",
    "killall",
    "rm",
    "cp",
    "dd",
    "sh",
    "bash",
    "dash",
    "reboot",
    "poweroff",
    "start-stop-daemon",
    "env",
];
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
        harms.extend(self.kept_script(program, command, depth));
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
            "invoke-rc.d" => {
                // Forced, it asks nobody.
                let forced = arguments.iter().flatten().any(|word| word == "--force");
                self.service(arguments, command, !forced)
            }
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
            "killall5" => vec![harm(Kind::EndsGuests, name, command, false)],
            "kill" | "pkill" | "killall" | "fuser" | "skill" | "snice" => self.kill(name, arguments, command),
            "busctl" | "dbus-send" | "gdbus" => self.bus(arguments, command),
            "needrestart" => self.words_of(arguments, &["-ra", "a"], "every daemon", Kind::Daemon, command),
            "trap" => {
                let text = arguments.first().map(|word| word.join("\n")).unwrap_or_default();
                self.nested(&text, command, depth)
            }
            "at" | "batch" => self.suspect(show(command), command.line).into_iter().collect(),
            _ if name.starts_with("libvirt-guests") => {
                self.words_of(arguments, &["stop", "restart"], "libvirt-guests", Kind::EndsGuests, command)
            }
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
            "rm" | "rmdir" | "unlink" | "shred" => {
                let mut harms = self.removes(arguments, command);
                // What `xargs` is given, and that alone, is known only when it runs.
                let blind =
                    positional(arguments, &[]).iter().flatten().all(|word| word.chars().all(|c| c == ANY));
                if blind && base(command.words.first().map_or("", |word| word[0].as_str())) == "xargs" {
                    harms.extend(self.suspect(show(command), command.line));
                }
                harms
            }
            "umount" => self.removes(arguments, command),
            "mv" | "dpkg-divert" => self.moves(name, arguments, command),
            "mount" => self.mounts(arguments, command),
            "find" => self.find(arguments, command, depth),
            "eval" => self.nested(
                &arguments.iter().map(|w| w.join(" ")).collect::<Vec<_>>().join(" "),
                command,
                depth,
            ),
            _ if SHELLS.contains(&name) || matches!(name, "su" | "runuser") => {
                self.shell(arguments, command, depth)
            }
            _ if LANGUAGES.contains(&name.trim_end_matches(|c: char| c.is_ascii_digit() || c == '.')) => {
                self.language(arguments, command)
            }
            _ => {
                let mut harms = self.writer(name, arguments, command);
                harms.extend(self.carried(name, arguments, command, depth));
                harms
            }
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
            // It reads what the pipe brings.
            None if positional(arguments, &[]).is_empty() => {
                self.suspect(show(command), command.line).into_iter().collect()
            }
            None => Vec::new(),
        }
    }

    /// `flock FILE systemctl …`, or a function that runs its arguments.
    fn carried(&self, name: &str, arguments: &[Vec<String>], command: &Command, depth: usize) -> Vec<Harm> {
        if depth >= DEPTH_MAX || INERT.contains(&name) {
            return Vec::new();
        }
        let at = arguments.iter().position(|word| word.iter().any(|word| ACTORS.contains(&base(word))));
        let Some(at) = at else { return Vec::new() };
        let inner =
            Command { words: arguments[at..].to_vec(), writes: Vec::new(), here: None, line: command.line };
        self.command(&inner, depth + 1)
            .into_iter()
            .map(|harm| Harm { command: show(command), ..harm })
            .collect()
    }

    /// A script in another language, as far as its words tell.
    fn language(&self, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
        let words = arguments.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" ");
        let text = format!("{words}\n{}", command.here.as_deref().unwrap_or_default());
        if !ACTS.iter().any(|act| text.contains(act)) {
            return Vec::new();
        }
        let inner = Reader { situation: self.situation, text: &text, directories: Vec::new() };
        inner.suspect(show(command), command.line).into_iter().collect()
    }

    /// A here-document that is kept in a file, where it is a script that would harm once it is run.
    fn kept_script(&self, program: &[String], command: &Command, depth: usize) -> Vec<Harm> {
        let keeps = program.iter().any(|program| matches!(base(program), "cat" | "tee" | "dd" | "install"));
        let Some(text) = command.here.as_deref().filter(|_| keeps && depth < DEPTH_MAX) else {
            return Vec::new();
        };
        let Ok(commands) = shell::commands(text, None) else { return Vec::new() };
        let harmful = commands.iter().flat_map(|inner| self.command(inner, depth + 1)).next();
        harmful.map(|harm| Harm { kind: Kind::CannotTell, line: command.line, ..harm }).into_iter().collect()
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
            let removes =
                arguments.get(at + 1).is_some_and(|word| word.iter().any(|word| base(word) == "rm"));
            if removes {
                return self.removes(&arguments[..1], command);
            }
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
