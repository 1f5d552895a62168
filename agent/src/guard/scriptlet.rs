//! What a maintainer script or scriptlet would do to live guests.
//!
//! Four kinds of harm: a daemon that guests depend on is stopped or restarted; a file that guests have mapped is written in place; something
//! that guests use is removed; a guest is ended outright. A script that cannot be read, or says what it acts on only when it
//! runs, is taken for harmful if it names anything of these at all.

use super::shell::{self, ANY, Command, may_be};
use super::{Scriptlet, Situation, TransactionItem};
use replank_common::facts::PackageManager;
use std::path::{Path, PathBuf};

/// A harm that a script would do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Harm {
    pub kind: Kind,
    /// The unit, path or command.
    pub subject: String,
    /// The command as written.
    pub command: String,
    pub line: usize,
    /// Through `invoke-rc.d` or `deb-systemd-invoke`, which ask `policy-rc.d`.
    pub asks_policy: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Daemon,
    WritesInPlace,
    Removes,
    EndsGuests,
    CannotTell,
}

/// Units whose stop or restart hurts guests or takes their network, without suffix; and all of `machine.slice`.
const UNITS: [&str; 14] = [
    "libvirtd",
    "virtqemud",
    "libvirt-bin",
    "libvirtd-tcp",
    "libvirtd-tls",
    "libvirtd-ro",
    "libvirtd-admin",
    "virtlogd",
    "virtlockd",
    "libvirt-guests",
    "openvswitch",
    "openvswitch-switch",
    "ovs-vswitchd",
    "ovsdb-server",
];
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

/// The harms of one script in the transaction it would run in.
pub(super) fn harms(
    manager: PackageManager,
    item: &TransactionItem,
    script: &Scriptlet,
    situation: &Situation<'_>,
) -> Vec<Harm> {
    let reader = Reader { situation, text: &script.text };
    if let Some(interpreter) = foreign_interpreter(&script.text) {
        return reader.suspect(format!("a script for {interpreter}"), 1).into_iter().collect();
    }
    let first = occasions(manager, item, script);
    let mut harms = match shell::commands(&script.text, first.as_deref()) {
        Ok(commands) => commands.iter().flat_map(|command| reader.command(command, 0)).collect(),
        Err(error) => reader
            .suspect(format!("a script that cannot be read ({error})"), error.line)
            .into_iter()
            .collect::<Vec<_>>(),
    };
    // `if invoke-rc.d is there … else /etc/init.d/x restart`: where it is there, the other branch is not taken.
    let asked: Vec<String> =
        harms.iter().filter(|harm| harm.asks_policy).map(|harm| harm.subject.clone()).collect();
    for harm in &mut harms {
        if manager == PackageManager::Apt
            && harm.command.contains("/etc/init.d/")
            && asked.contains(&harm.subject)
        {
            harm.asks_policy = true;
        }
    }
    one_a_command(harms)
}

/// The harms of one command as one, which names every subject.
fn one_a_command(harms: Vec<Harm>) -> Vec<Harm> {
    let mut merged: Vec<(Harm, Vec<String>)> = Vec::new();
    for harm in harms {
        let same = merged.iter_mut().find(|(known, _)| {
            known.line == harm.line && known.command == harm.command && known.asks_policy == harm.asks_policy
        });
        match same {
            // What can be told says more than that something cannot.
            Some((known, _)) if harm.kind == Kind::CannotTell && known.kind != Kind::CannotTell => {}
            Some(same) if same.0.kind == Kind::CannotTell && harm.kind != Kind::CannotTell => {
                *same = (harm.clone(), vec![harm.subject]);
            }
            Some((known, subjects)) if known.kind == harm.kind => {
                if !subjects.contains(&harm.subject) {
                    subjects.push(harm.subject);
                }
            }
            Some(_) | None => merged.push((harm.clone(), vec![harm.subject])),
        }
    }
    merged.into_iter().map(|(harm, subjects)| Harm { subject: subjects.join(", "), ..harm }).collect()
}

/// What `$1` is when the script runs; Debian Policy 6.5. `None`: cannot be told.
fn occasions(
    manager: PackageManager,
    item: &TransactionItem,
    script: &Scriptlet,
) -> Option<Vec<&'static str>> {
    if manager != PackageManager::Apt {
        return None;
    }
    let stays = item.after.is_some();
    Some(match (script.name.as_str(), script.of_old_package) {
        ("preinst", false) => vec!["install", "upgrade"],
        ("postinst", false) => vec!["configure", "triggered"],
        ("postinst", true) => vec!["triggered"],
        ("prerm", true) if stays => vec!["upgrade", "deconfigure"],
        ("prerm", true) => vec!["remove"],
        ("postrm", true) if stays => vec!["upgrade"],
        ("postrm", true) => vec!["remove"],
        _ => return None,
    })
}

/// The interpreter of a script that is not for a shell.
fn foreign_interpreter(text: &str) -> Option<String> {
    let line = text.lines().next()?.strip_prefix("#!")?.trim();
    let mut words = line.split_whitespace();
    let mut name = base(words.next()?);
    if name == "env" {
        name = base(words.find(|word| !word.starts_with('-'))?);
    }
    (!matches!(name, "sh" | "bash" | "dash" | "ksh" | "ash" | "zsh")).then(|| name.to_owned())
}

fn base(program: &str) -> &str {
    program.rsplit('/').next().unwrap_or(program)
}

struct Reader<'a> {
    situation: &'a Situation<'a>,
    text: &'a str,
}

/// `sh -c` inside `sh -c` and the like.
const DEPTH_MAX: usize = 4;
const SHELLS: [&str; 5] = ["sh", "bash", "dash", "ash", "ksh"];

impl Reader<'_> {
    /// Harm that cannot be told, when the script names anything that guests depend on.
    fn suspect(&self, command: String, line: usize) -> Option<Harm> {
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

    fn command(&self, command: &Command, depth: usize) -> Vec<Harm> {
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
                let harmful = arguments.iter().flatten().any(|word| is_harmful_verb(word));
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
                let verbs =
                    arguments.first().is_some_and(|verb| verb.iter().any(|verb| is_harmful_verb(verb)));
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

    fn systemctl(&self, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
        let now = arguments.iter().flatten().any(|word| word == "--now");
        let plain: Vec<Vec<String>> = positional(arguments, &["-H", "-M", "-t", "-p", "-s", "-n", "-o"]);
        let Some((verbs, units)) = plain.split_first() else { return Vec::new() };
        if verbs.iter().any(|verb| {
            matches!(
                verb.as_str(),
                "isolate" | "rescue" | "emergency" | "halt" | "poweroff" | "reboot" | "kexec"
            )
        }) {
            return vec![harm(Kind::EndsGuests, &verbs.join("/"), command, false)];
        }
        let ends = now && verbs.iter().any(|verb| matches!(verb.as_str(), "disable" | "mask"));
        if !ends && !verbs.iter().any(|verb| is_harmful_verb(verb)) {
            return Vec::new();
        }
        units.iter().flat_map(|unit| self.daemon(unit, command, false)).collect()
    }

    /// `verb unit…`.
    fn units(&self, arguments: &[Vec<String>], command: &Command, asks_policy: bool) -> Vec<Harm> {
        let plain = positional(arguments, &[]);
        let Some((verbs, units)) = plain.split_first() else { return Vec::new() };
        if !verbs.iter().any(|verb| is_harmful_verb(verb)) {
            return Vec::new();
        }
        units.iter().flat_map(|unit| self.daemon(unit, command, asks_policy)).collect()
    }

    /// `name verb`, and Upstart's `verb name`.
    fn service(&self, arguments: &[Vec<String>], command: &Command, asks_policy: bool) -> Vec<Harm> {
        let plain = positional(arguments, &[]);
        let [first, second, ..] = plain.as_slice() else { return Vec::new() };
        if second.iter().any(|verb| is_harmful_verb(verb)) {
            self.daemon(first, command, asks_policy)
        } else if first.iter().any(|verb| is_harmful_verb(verb) && !verb.contains(ANY)) {
            self.daemon(second, command, asks_policy)
        } else {
            Vec::new()
        }
    }

    /// systemd's helper for RPM macros: marks units that are restarted at the end of the transaction, or stops them at once.
    fn update_helper(&self, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
        let plain = positional(arguments, &[]);
        let Some((verbs, units)) = plain.split_first() else { return Vec::new() };
        let harmful = verbs.iter().any(|verb| {
            matches!(verb.as_str(), "mark-restart-system-units" | "remove-system-units" | "system-restart")
                || verb.contains(ANY)
        });
        if harmful {
            units.iter().flat_map(|unit| self.daemon(unit, command, false)).collect()
        } else {
            Vec::new()
        }
    }

    fn start_stop(&self, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
        let stops = arguments
            .iter()
            .flatten()
            .any(|word| matches!(word.as_str(), "--stop" | "-K" | "--signal" | "-s"));
        if !stops {
            return Vec::new();
        }
        let who: Vec<Vec<String>> =
            arguments.iter().map(|word| word.iter().map(|w| base(w).to_owned()).collect()).collect();
        who.iter().flat_map(|who| self.daemon(who, command, false)).collect()
    }

    fn kill(&self, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
        // Signal 0 asks whether the process is there.
        if arguments.iter().flatten().any(|word| word == "-0") {
            return Vec::new();
        }
        let named = |word: &String| {
            let name = base(word);
            name.starts_with("qemu") || name == "kvm" || unit_of(name).is_some()
        };
        let mut found: Vec<Harm> = arguments
            .iter()
            .flatten()
            .filter(|word| named(word))
            .map(|word| harm(Kind::EndsGuests, word, command, false))
            .collect();
        if found.is_empty() && arguments.iter().flatten().any(|word| word.contains(ANY)) {
            // `kill $(cat /run/libvirtd.pid)`: whose pid it is can be told from what is read around it, if at all.
            found.extend(self.suspect(show(command), command.line));
        }
        found
    }

    fn words_of(
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

    fn daemon(&self, values: &[String], command: &Command, asks_policy: bool) -> Vec<Harm> {
        let mut harms = Vec::new();
        for value in values {
            if value.chars().all(|c| c == ANY) {
                let unit = self.suspect(show(command), command.line);
                harms.extend(unit.map(|harm| Harm { asks_policy, ..harm }));
            } else if let Some(unit) = unit_of(value) {
                harms.push(harm(Kind::Daemon, &unit, command, asks_policy));
            }
        }
        harms
    }

    /// Something that guests use, by its present path; `None` when it is nothing of theirs.
    fn used_at(&self, path: &str) -> Option<String> {
        let path = (self.situation.resolve)(Path::new(path));
        let usage = self.situation.usage;
        let file = usage.file(&path).filter(|file| !file.deleted);
        let names = file.map(|file| file.guests.iter().cloned().collect::<Vec<_>>().join(", "));
        names.or_else(|| usage.lazy_of(&path).next().map(|lazy| format!("a file of {lazy}")))
    }

    fn writes(&self, target: &[String], command: &Command) -> Vec<Harm> {
        let mut harms = Vec::new();
        for target in target.iter().filter(|target| target.starts_with('/')) {
            if target.contains([ANY, '*', '?']) {
                if let Some(used) = self
                    .usage_paths()
                    .find(|used| may_be(target, &used.to_string_lossy()))
                    .filter(|_| target.len() > ANY.len_utf8() + 1)
                {
                    harms.push(harm(Kind::WritesInPlace, &used.to_string_lossy(), command, false));
                }
            } else if self.used_at(target).is_some() {
                harms.push(harm(Kind::WritesInPlace, target, command, false));
            }
        }
        harms
    }

    fn usage_paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.situation.usage.files.iter().filter(|(_, file)| !file.deleted).map(|(path, _)| path)
    }

    /// Programs that write into the file that is there. `install` removes the name first, yet a name that is gone for a moment or a
    /// half-written file is what a module load then meets, so it counts.
    fn writer(&self, name: &str, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
        let has = |wanted: &[&str]| arguments.iter().flatten().any(|word| wanted.contains(&word.as_str()));
        let all = |plain: Vec<Vec<String>>| {
            plain.iter().flat_map(|target| self.writes(target, command)).collect::<Vec<_>>()
        };
        match name {
            "cp" if has(&["--remove-destination", "-n", "--no-clobber"]) => Vec::new(),
            "cp" | "install" | "rsync" | "scp" => {
                if name == "rsync" && !has(&["--inplace", "--append", "--append-verify", "--write-devices"]) {
                    return Vec::new();
                }
                if name == "install"
                    && arguments.iter().flatten().any(|word| is_short(word, 'd') || word == "--directory")
                {
                    return Vec::new();
                }
                self.copies(arguments, command)
            }
            "dd" => arguments
                .iter()
                .flat_map(|word| {
                    let of: Vec<String> =
                        word.iter().filter_map(|word| word.strip_prefix("of=")).map(str::to_owned).collect();
                    self.writes(&of, command)
                })
                .collect(),
            "prelink" if arguments.iter().flatten().any(|word| is_short(word, 'a')) => self
                .usage_paths()
                .next()
                .map(|used| harm(Kind::WritesInPlace, &used.to_string_lossy(), command, false))
                .into_iter()
                .collect(),
            "strip" | "prelink" | "patchelf" | "chrpath" | "objcopy" | "execstack" | "tee" | "truncate"
            | "ed" | "ex" => all(positional(arguments, &["-o", "-s", "--set-rpath", "-r"])),
            "tar" | "bsdtar" | "cpio" | "unzip" => self.unpacks(name, arguments, command),
            _ => Vec::new(),
        }
    }

    fn copies(&self, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
        let directory = option(arguments, &["-t", "--target-directory"]);
        let mut plain = positional(
            arguments,
            &["-t", "--target-directory", "-m", "--mode", "-o", "--owner", "-g", "--group", "-S", "--suffix"],
        );
        let targets = match directory {
            Some(directory) => directory,
            None => plain.pop().unwrap_or_default(),
        };
        let mut harms = Vec::new();
        for target in &targets {
            harms.extend(self.writes(std::slice::from_ref(target), command));
            for source in plain.iter().flatten() {
                let inside =
                    format!("{}/{}", target.trim_end_matches('/'), base(source.trim_end_matches('/')));
                harms.extend(self.writes(&[inside], command));
                // `cp -a tree/. /usr/lib`: anything below may be written.
                if source.ends_with("/.")
                    || source.ends_with("/*")
                    || arguments
                        .iter()
                        .flatten()
                        .any(|w| is_short(w, 'r') || is_short(w, 'R') || is_short(w, 'a'))
                {
                    harms.extend(self.below(target, command));
                }
            }
        }
        harms
    }

    fn unpacks(&self, name: &str, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
        let first = arguments.first().into_iter().flatten();
        let extracts = match name {
            "tar" | "bsdtar" => {
                first
                    .into_iter()
                    .any(|word| word.trim_start_matches('-').contains('x') && !word.starts_with("--"))
                    || arguments
                        .iter()
                        .flatten()
                        .any(|word| is_short(word, 'x') || word == "--extract" || word == "--get")
            }
            _ => true,
        };
        let to = option(arguments, &["-C", "--directory", "-d", "-D"]).unwrap_or_default();
        if extracts { to.iter().flat_map(|to| self.below(to, command)).collect() } else { Vec::new() }
    }

    /// Writing anywhere below a directory that holds a file in use.
    fn below(&self, directory: &str, command: &Command) -> Vec<Harm> {
        if directory.contains(ANY) {
            return Vec::new();
        }
        let directory = (self.situation.resolve)(Path::new(directory));
        let used = self.usage_paths().find(|used| used.starts_with(&directory));
        used.map(|used| harm(Kind::WritesInPlace, &used.to_string_lossy(), command, false))
            .into_iter()
            .collect()
    }

    fn removes(&self, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
        positional(arguments, &[])
            .iter()
            .flatten()
            .filter_map(|target| self.removed(target))
            .map(|subject| harm(Kind::Removes, &subject, command, false))
            .collect()
    }

    /// What of the guests' would go with `target`.
    fn removed(&self, target: &str) -> Option<String> {
        if !target.starts_with('/') || target.chars().all(|c| matches!(c, '/' | ANY)) {
            return None;
        }
        let usage = self.situation.usage;
        let pattern = target.trim_end_matches('/');
        let resolved = (self.situation.resolve)(Path::new(pattern));
        let hit = |path: &Path| {
            let fixed = path.starts_with(&resolved);
            // A pattern, or a part that cannot be known: any of its parents may be meant.
            fixed
                || (pattern.contains([ANY, '*', '?'])
                    && path.ancestors().any(|up| may_be(pattern, &up.to_string_lossy())))
        };
        let files = usage
            .files
            .iter()
            .filter(|(_, file)| !file.deleted && file.role == crate::guests::usage::Role::Emulator)
            .map(|(path, _)| path);
        let lazy = usage.lazy.iter().map(|lazy| &lazy.directory).filter(|_| true);
        let held =
            files.chain(usage.sockets.keys()).find(|path| hit(path)).map(|path| path.display().to_string());
        let inside = || {
            usage
                .lazy
                .iter()
                .find(|lazy| lazy.prefix.is_empty() && lazy.holds(&resolved))
                .map(ToString::to_string)
        };
        let over = || lazy.clone().find(|directory| hit(directory)).map(|path| path.display().to_string());
        let state = || {
            let state =
                ["/run/libvirt/qemu", "/var/run/libvirt/qemu", "/var/lib/libvirt/qemu", "/etc/libvirt/qemu"];
            let live = !usage.guests.is_empty();
            state
                .iter()
                .find(|path| live && Path::new(path).starts_with(&resolved))
                .map(|path| (*path).to_owned())
        };
        held.or_else(over).or_else(inside).or_else(state)
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

fn harm(kind: Kind, subject: &str, command: &Command, asks_policy: bool) -> Harm {
    Harm { kind, subject: subject.to_owned(), command: show(command), line: command.line, asks_policy }
}

/// Characters of a command that a message shows.
const COMMAND_MAX: usize = 120;

fn show(command: &Command) -> String {
    let words: Vec<String> = command.words.iter().map(|word| word.join("|")).collect();
    let mut text = words.join(" ");
    for target in &command.writes {
        text.push_str(" > ");
        text.push_str(&target.join("|"));
    }
    let text = text.replace(ANY, "…").trim().to_owned();
    if text.chars().count() > COMMAND_MAX {
        text.chars().take(COMMAND_MAX).chain(['…']).collect()
    } else {
        text
    }
}

fn is_harmful_verb(verb: &str) -> bool {
    matches!(
        verb,
        "stop"
            | "restart"
            | "try-restart"
            | "condrestart"
            | "cond-restart"
            | "reload-or-restart"
            | "try-reload-or-restart"
            | "reload-or-try-restart"
            | "force-reload"
            | "force-restart"
            | "kill"
            | "killall"
            | "condstop"
    ) || verb.chars().all(|c| c == ANY)
}

/// The unit of [`UNITS`] that a name, pattern or partly known name may mean.
fn unit_of(name: &str) -> Option<String> {
    if name.starts_with("machine-") || name == "machine.slice" || name == "machines.target" {
        return Some(name.to_owned());
    }
    let bare = [".service", ".socket"].iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name);
    let names_something = bare.chars().any(|c| c.is_ascii_alphanumeric());
    if !names_something {
        return None;
    }
    let hit = UNITS.iter().any(|unit| may_be(bare, unit) || may_be(name, &format!("{unit}.service")));
    hit.then(|| name.replace(ANY, "…"))
}

/// Whether `word` is a bundle of short options with `letter` in it.
fn is_short(word: &str, letter: char) -> bool {
    word.strip_prefix('-').is_some_and(|bundle| {
        !bundle.starts_with('-') && bundle.chars().all(|c| c.is_ascii_alphabetic()) && bundle.contains(letter)
    })
}

/// Arguments that are no options; those of `with_value` take the next word along.
fn positional(arguments: &[Vec<String>], with_value: &[&str]) -> Vec<Vec<String>> {
    let mut found = Vec::new();
    let mut rest = arguments.iter();
    let mut options_end = false;
    while let Some(word) = rest.next() {
        let first = word.first().map(String::as_str).unwrap_or_default();
        if options_end || !first.starts_with('-') || first == "-" {
            found.push(word.clone());
        } else if first == "--" {
            options_end = true;
        } else if with_value.contains(&first) {
            rest.next();
        }
    }
    found
}

/// The value of an option, in the next word or behind `=`.
fn option(arguments: &[Vec<String>], names: &[&str]) -> Option<Vec<String>> {
    let mut rest = arguments.iter();
    while let Some(word) = rest.next() {
        for value in word {
            if names.contains(&value.as_str()) {
                return rest.next().cloned();
            }
            let joined = names.iter().filter(|name| name.starts_with("--"));
            if let Some(value) =
                joined.into_iter().find_map(|name| value.strip_prefix(name)?.strip_prefix('='))
            {
                return Some(vec![value.to_owned()]);
            }
        }
    }
    None
}

/// The command inside `env`, `nohup`, `timeout` and the like.
fn unwrap(words: &[Vec<String>]) -> &[Vec<String>] {
    let mut words = words;
    loop {
        let Some(program) = words.first().and_then(|word| word.first()) else { return words };
        let options_with_value: &[&str] = match base(program) {
            "exec" | "command" | "nohup" | "setsid" | "builtin" | "busybox" | "time" => &[],
            "env" => &["-u", "-C"],
            "nice" | "ionice" => &["-n", "-c", "-p"],
            "timeout" => &["-s", "-k"],
            "sudo" => &["-u", "-g"],
            "xargs" => &["-n", "-I", "-P", "-L", "-d"],
            "systemd-run" => &["-p", "-u", "--unit"],
            "chroot" => &[],
            _ => return words,
        };
        let takes_one = matches!(base(program), "timeout" | "chroot");
        let mut at = 1;
        while let Some(word) = words.get(at).and_then(|word| word.first()) {
            if options_with_value.contains(&word.as_str()) {
                at += 2;
            } else if word.starts_with('-') || (base(program) == "env" && word.contains('=')) {
                at += 1;
            } else {
                break;
            }
        }
        at += usize::from(takes_one);
        if at >= words.len() {
            return &words[words.len()..];
        }
        words = &words[at..];
    }
}
