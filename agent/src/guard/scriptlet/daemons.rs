//! Commands that stop or restart daemons, or send signals.

use super::reader::Reader;
use super::words::{base, harm, positional, show};
use super::{Harm, Kind};
use crate::guard::shell::{ANY, Command, may_be};

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
impl Reader<'_> {
    pub(super) fn systemctl(&self, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
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

    pub(super) fn kill(&self, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
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

    pub(super) fn daemon(&self, values: &[String], command: &Command, asks_policy: bool) -> Vec<Harm> {
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
