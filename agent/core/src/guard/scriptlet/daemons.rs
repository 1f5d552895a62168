//! Commands that stop or restart daemons, or send signals.

use super::reader::Reader;
use super::words::{base, harm, is_short, positional, show};
use super::{Harm, Kind};
use crate::guard::shell::{ANY, Command, may_be};

/// Units whose stop or restart hurts guests or takes their network, without suffix; and all of `machine.slice`.
const UNITS: [&str; 21] = [
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
    "virtqemud-ro",
    "virtqemud-admin",
    "virt-guest-shutdown.target",
    "machines.target",
    "machine.slice",
    "system.slice",
    "-.slice",
];

impl Reader<'_> {
    pub(super) fn systemctl(&self, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
        let now = arguments.iter().flatten().any(|word| word == "--now");
        let plain: Vec<Vec<String>> = positional(arguments, &["-H", "-M", "-t", "-p", "-s", "-n", "-o"]);
        // An option's value may stand before the verb, so any word may be it.
        let starts = plain.iter().flatten().any(|word| word == "start");
        let ends =
            |word: &&String| ends_host(word) || starts && word.strip_suffix(".target").is_some_and(ends_host);
        if let Some(verb) = plain.iter().flatten().find(ends) {
            return vec![harm(Kind::EndsGuests, verb, command, false)];
        }
        let at = plain.iter().position(|word| word.iter().any(|word| is_harmful_verb(word)));
        let Some((verbs, units)) = plain[at.unwrap_or(0).min(plain.len())..].split_first() else {
            return Vec::new();
        };
        let ends = now && verbs.iter().any(|verb| matches!(verb.as_str(), "disable" | "mask" | "reenable"));
        if !ends && !verbs.iter().any(|verb| is_harmful_verb(verb)) {
            return Vec::new();
        }
        units.iter().flat_map(|unit| self.daemon(unit, command, false)).collect()
    }

    /// `verb unit…`.
    pub(super) fn units(&self, arguments: &[Vec<String>], command: &Command, asks_policy: bool) -> Vec<Harm> {
        let plain = positional(arguments, &[]);
        let Some((verbs, units)) = plain.split_first() else { return Vec::new() };
        if !verbs.iter().any(|verb| is_harmful_verb(verb)) {
            return Vec::new();
        }
        units.iter().flat_map(|unit| self.daemon(unit, command, asks_policy)).collect()
    }

    /// `name verb`, and Upstart's `verb name`.
    pub(super) fn service(
        &self,
        arguments: &[Vec<String>],
        command: &Command,
        asks_policy: bool,
    ) -> Vec<Harm> {
        let plain = positional(arguments, &[]);
        if let (Some(name), true) = (plain.first(), arguments.iter().flatten().any(|w| w == "--full-restart"))
        {
            return self.daemon(name, command, asks_policy);
        }
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
    pub(super) fn update_helper(&self, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
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

    pub(super) fn start_stop(&self, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
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

    pub(super) fn kill(&self, name: &str, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
        let words = || arguments.iter().flatten();
        // Signal 0 asks whether the process is there.
        if words().any(|word| word == "-0") {
            return Vec::new();
        }
        if name == "fuser" && !words().any(|word| word.starts_with("--kill") || is_short(word, 'k')) {
            return Vec::new();
        }
        // Every process at once.
        if name == "kill" && arguments.len() > 1 && arguments.last().is_some_and(|last| last == &["-1"]) {
            return vec![harm(Kind::EndsGuests, "-1", command, false)];
        }
        let named = |word: &&String| {
            let name = base(word);
            // Patterns are read for what they would find: `[q]emu`.
            let bare: String = word.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').collect();
            bare.contains("qemu")
                || bare.contains("libvirt")
                || name == "kvm"
                || word.contains("/dev/kvm")
                || unit_of(name).is_some()
        };
        let mut found: Vec<Harm> =
            words().filter(named).map(|word| harm(Kind::EndsGuests, word, command, false)).collect();
        if name == "fuser" && found.is_empty() {
            let used = words().find_map(|word| self.used_at(word));
            found.extend(used.map(|used| harm(Kind::EndsGuests, &used, command, false)));
        }
        if found.is_empty() && words().any(|word| word.contains(ANY)) {
            // `kill $(cat /run/libvirtd.pid)`: whose pid it is can be told from what is read around it, if at all.
            found.extend(self.suspect(show(command), command.line));
        }
        found
    }

    /// systemd and machined over D-Bus.
    pub(super) fn bus(&self, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
        let acts = ["Stop", "Restart", "Kill", "Terminate", "PowerOff", "Reboot", "Freeze"];
        if !arguments.iter().flatten().any(|word| acts.iter().any(|act| word.contains(act))) {
            return Vec::new();
        }
        let named: Vec<String> = arguments
            .iter()
            .flatten()
            .filter_map(|word| self.unit(word.strip_prefix("string:").unwrap_or(word)))
            .collect();
        if named.is_empty() {
            return self.suspect(show(command), command.line).into_iter().collect();
        }
        named.iter().map(|unit| harm(Kind::Daemon, unit, command, false)).collect()
    }

    /// A unit that guests depend on: one of the known, or the scope of a guest.
    fn unit(&self, name: &str) -> Option<String> {
        let guests = || self.situation.usage.scopes.iter().any(|scope| may_be(name, scope));
        // Without a letter only a glob says something: every unit.
        let says =
            name.chars().any(|c| c.is_ascii_alphanumeric()) || name.contains('*') && !name.contains(ANY);
        unit_of(name).or_else(|| (says && guests()).then(|| name.replace(ANY, "…")))
    }

    pub(super) fn daemon(&self, values: &[String], command: &Command, asks_policy: bool) -> Vec<Harm> {
        let mut harms = Vec::new();
        for value in values {
            if value.chars().all(|c| c == ANY) {
                let unit = self.suspect(show(command), command.line);
                harms.extend(unit.map(|harm| Harm { asks_policy, ..harm }));
            } else if let Some(unit) = self.unit(value) {
                harms.push(harm(Kind::Daemon, &unit, command, asks_policy));
            }
        }
        harms
    }
}

/// Verbs of systemctl, and names of targets to start, that end everything on the host or make it sleep.
fn ends_host(word: &str) -> bool {
    matches!(
        word,
        "isolate"
            | "rescue"
            | "emergency"
            | "halt"
            | "poweroff"
            | "reboot"
            | "kexec"
            | "soft-reboot"
            | "suspend"
            | "hibernate"
            | "hybrid-sleep"
            | "suspend-then-hibernate"
            | "switch-root"
    )
}

pub(super) fn is_harmful_verb(verb: &str) -> bool {
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
            | "freeze"
            | "clean"
    ) || verb.chars().all(|c| c == ANY)
}

/// The unit of [`UNITS`] that a name, pattern or partly known name may mean.
pub(super) fn unit_of(name: &str) -> Option<String> {
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
