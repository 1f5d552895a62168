//! Enrolment, as it is typed: an identity, and a drop-in that says whose it is.

use super::args::EnrolArgs;
use crate::config::{Address, Config, FILE};
use crate::failure::Failure;
use crate::host::boundary::Boundary;
use crate::host::files::{Attributes, make_directories, replace};
use crate::link::{self, Enrolment, IdentityFiles};
use replank_common::ids::HostName;
use std::path::{Path, PathBuf};

/// Read before a site's own drop-ins, which have the last word.
const DROP_IN: &str = "conf.d/10-enrolled.toml";

/// Enrols this host; gives what to say.
pub(super) async fn enrol(config: &Config, args: &EnrolArgs) -> Result<String, Failure> {
    let host = args.host.as_ref().unwrap_or(&config.host);
    let files = IdentityFiles::below(&config.state_directory);
    let enrolment = Enrolment {
        coordinator: &args.coordinator,
        token: &args.token,
        host,
        files: &files,
        force: args.force,
    };
    let enrolled = link::enrol(enrolment).await?;
    let drop_in = write_drop_in(&config.directory, &args.coordinator, host)?;
    let mut said = format!(
        "enrolled as {} with the coordinator at {} (certificate until {}, renewed by itself)\n",
        enrolled.host, args.coordinator, enrolled.until
    );
    let now = Config::load(&config.directory.join(FILE))?;
    if now.coordinator.as_ref() != Some(&args.coordinator) || now.host != enrolled.host {
        said.push_str(&format!(
            "another file in conf.d says otherwise than {} about `coordinator` or `host`, and has the last word; correct it\n",
            drop_in.display()
        ));
    }
    said.push_str("start the agent: systemctl enable --now replank-agent\n");
    Ok(said)
}

fn write_drop_in(directory: &Path, coordinator: &Address, host: &HostName) -> Result<PathBuf, Failure> {
    let path = directory.join(DROP_IN);
    // Neither a host name nor an address has a character that TOML would read as anything else.
    let text = format!(
        "# Written by `replank-agent enrol`. Files of a later name in this directory have the last word.\n\
         coordinator = \"{coordinator}\"\nhost = \"{host}\"\n"
    );
    make_directories(&path, &Boundary::none())?;
    replace(&path, text.as_bytes(), &Attributes::plain(0o644), &Boundary::none())?;
    Ok(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_drop_in_is_what_the_configuration_reads() {
        let directory = tempfile::tempdir().unwrap();
        for address in ["coordinator", "[2001:db8::1]:1234"] {
            let (address, host) = (address.parse().unwrap(), HostName::new("compute7").unwrap());
            write_drop_in(directory.path(), &address, &host).unwrap();
            let config = Config::load(&directory.path().join(FILE)).unwrap();
            assert_eq!((config.coordinator, config.host), (Some(address), host));
        }
    }
}
