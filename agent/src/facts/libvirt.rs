//! What the host's libvirtd is and would do.

use super::Errors;
use crate::host::Host;
use crate::host::libvirt::{DAEMONS, Libvirt, hooks};
use replank_common::census::Census;
use replank_common::facts::{AutostartFact, LibvirtFacts};
use replank_conf::{Dialect, Document, Value};
use std::collections::BTreeMap;
use std::fs;

const VIRT_TYPES: [&str; 2] = ["kvm", "qemu"];
const KEYS: [&str; 5] = ["listen_tcp", "listen_tls", "auth_tcp", "tcp_port", "listen_addr"];

/// `None` when there is no unit of libvirt's hypervisor daemon.
pub(super) fn collect(host: &Host, census: &Census, errors: &mut Errors) -> Option<LibvirtFacts> {
    let unit = unit(host, errors)?;
    let libvirt = Libvirt::new(host);
    let running_version = errors.keep("libvirt version", libvirt.running_version());
    let mut facts = LibvirtFacts {
        running_version,
        default_emulators: BTreeMap::new(),
        autostart: Vec::new(),
        hooks: hooks::try_reconnect(host).into_iter().map(|hook| hook.fact).collect(),
        config: config(host, &unit, errors),
        jobs: Vec::new(),
        unit,
    };
    if facts.running_version.is_none() {
        // It was asked once; the other questions would wait as long each.
        return Some(facts);
    }
    for virt_type in VIRT_TYPES {
        let answer = libvirt.default_emulator(virt_type);
        if let Some(Some(path)) = errors.keep(&format!("default emulator for {virt_type}"), answer) {
            facts.default_emulators.insert(virt_type.to_owned(), path);
        }
    }
    let names = errors.keep("autostarted domains", libvirt.autostarted()).unwrap_or_default();
    facts.autostart = names
        .into_iter()
        .map(|name| AutostartFact { active: census.guests.values().any(|guest| guest.name == name), name })
        .collect();
    facts.jobs = errors.keep("jobs of guests", libvirt.jobs()).unwrap_or_default();
    Some(facts)
}

/// The daemon that runs, else the one that is there.
pub(crate) fn unit_of(host: &Host) -> Result<Option<String>, crate::host::systemd::SystemdError> {
    let mut there = None;
    for unit in DAEMONS {
        let status = host.systemd.status(unit)?;
        if status.is_active() {
            return Ok(Some(unit.to_owned()));
        }
        if status.exists() && there.is_none() {
            there = Some(unit.to_owned());
        }
    }
    Ok(there)
}

fn unit(host: &Host, errors: &mut Errors) -> Option<String> {
    errors.keep("libvirt's unit", unit_of(host)).flatten()
}

/// Settings of the daemon's configuration that an upgrade looks at, as the file has them; what it does not say is not here.
fn config(host: &Host, unit: &str, errors: &mut Errors) -> BTreeMap<String, String> {
    let stem = unit.strip_suffix(".service").unwrap_or(unit);
    let path = format!("/etc/libvirt/{stem}.conf");
    let bytes = match fs::read(host.at(&path)) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return BTreeMap::new(),
        Err(error) => {
            errors.add(path, error);
            return BTreeMap::new();
        }
    };
    let document = Document::parse(Dialect::Libvirt, &bytes);
    for problem in document.problems() {
        errors.add(path.clone(), problem);
    }
    let mut config = BTreeMap::new();
    for key in KEYS {
        match document.get(None, key).map(|found| (found, found.value())) {
            None => {}
            Some((_, Some(Value::Text(text)))) => {
                config.insert(key.to_owned(), text.clone());
            }
            Some((_, Some(value))) => {
                config.insert(key.to_owned(), value.to_string());
            }
            Some((found, None)) => {
                errors.add(path.clone(), format!("the value of {key} cannot be told: {found:?}"))
            }
        }
    }
    config
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing::World;
    use pretty_assertions::assert_eq;

    #[test]
    fn the_daemons_settings_are_those_of_its_file() {
        let world = World::new();
        let mut errors = Errors::default();
        assert_eq!(config(&world.host, "libvirtd.service", &mut errors), BTreeMap::new());
        world.file(
            "/etc/libvirt/libvirtd.conf",
            "#listen_tls = 0\nlisten_tcp = 1\nauth_tcp = \"none\"\nmax_clients = 5\n",
        );
        let found = config(&world.host, "libvirtd.service", &mut errors);
        let expected = [("auth_tcp", "none"), ("listen_tcp", "1")];
        assert_eq!(found, expected.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
        assert!(errors.0.is_empty());
    }

    #[test]
    fn a_daemon_that_is_down_is_an_error_and_is_not_started_by_asking() {
        let world = World::new();
        world.unit_file("libvirtd.service", "/lib/systemd/system/libvirtd.service");
        let mut errors = Errors::default();
        let census = world.host.guests.census();
        let facts = collect(&world.host, &census, &mut errors).unwrap();
        assert_eq!((facts.unit.as_str(), facts.running_version), ("libvirtd.service", None));
        assert!(errors.0[0].why.contains("does not run"), "{errors:?}");
    }
}
