//! The parts of an agent, opened and checked in the order in which an operator would ask for them.

use crate::config::{self, Address, Config};
use crate::failure::Failure;
use crate::guests::{HostGuests, Roots};
use crate::host::Host;
use crate::host::boundary::Boundary;
use crate::host::command::RealPrograms;
use crate::host::dirs::Directories;
use crate::host::files::FileError;
use crate::ledger::Ledger;
use crate::link::{IdentityFiles, LinkError, Settings};
use crate::perform::{Performer, PerformerSettings};
use crate::policy::Policy;
use crate::{clock, codes};
use replank_identity::{CredentialStore, UnixSeconds};
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

/// Everything that an agent runs with.
#[derive(Debug)]
pub struct Assembly {
    pub config: Config,
    pub address: Address,
    pub identity: IdentityFiles,
    pub credentials: Arc<CredentialStore>,
    pub policy: Policy,
    pub host: Host,
    pub guests: Arc<HostGuests>,
    pub ledger: Arc<Ledger>,
}

impl Assembly {
    /// The agent of the host that this process runs on.
    ///
    /// # Errors
    /// The first part that cannot be used: identity, coordinator, policy, directory, ledger.
    pub fn of_this_host(config: Config) -> Result<Self, Failure> {
        require_root("run")?;
        let identity = IdentityFiles::below(&config.state_directory);
        let now = UnixSeconds::from_ms(clock::now_ms());
        let credentials =
            identity.load(&config.host, now).map_err(|error| named(error, &config, &identity))?;
        let Some(address) = config.coordinator.clone() else {
            return Err(Failure::NoCoordinator { path: config.directory.join("agent.toml") });
        };
        let policy = Policy::load(&config.policy)?;
        let guests = guests(&config)?;
        let host = host(&config, &guests)?;
        let state = host.directories.state();
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(state);
        made.map_err(|source| FileError::new("make the directory", state, source))?;
        let ledger = Arc::new(Ledger::open(state)?);
        Ok(Self { config, address, identity, credentials, policy, host, guests, ledger })
    }

    pub(super) fn performer(&self) -> Performer {
        Performer::new(PerformerSettings {
            host: self.host.clone(),
            ledger: Arc::clone(&self.ledger),
            policy: self.policy.clone(),
        })
    }

    pub(super) fn link_settings(&self) -> Settings {
        Settings {
            address: self.address.clone(),
            host: self.config.host.clone(),
            boot_id: self.guests.boot_id(),
            agent_start_ms: self.guests.agent_start_ms(),
        }
    }
}

/// # Errors
/// The process does not run as root.
pub fn require_root(what: &'static str) -> Result<(), Failure> {
    if nix::unistd::geteuid().is_root() { Ok(()) } else { Err(Failure::NotRoot { what }) }
}

/// The guests of this host.
///
/// # Errors
/// The boot id cannot be read.
pub fn guests(config: &Config) -> Result<Arc<HostGuests>, Failure> {
    let directories = Directories::real_with(&config.state_directory);
    HostGuests::new(config.host.clone(), Roots::default(), directories, Arc::new(RealPrograms))
        .map(Arc::new)
        .map_err(|why| Failure::System { what: "the id of this boot", why })
}

/// This host, with its guests.
///
/// # Errors
/// The operating system gives no thread.
pub fn host(config: &Config, guests: &Arc<HostGuests>) -> Result<Host, Failure> {
    let host = Host::real(config.host.clone(), guests.clone())
        .map_err(Failure::system("a thread for the connection to systemd"))?;
    Ok(Host {
        directories: Directories::real_with(&config.state_directory),
        boundary: Boundary::none(),
        ..host
    })
}

/// A host without an identity is told how it gets one.
fn named(error: LinkError, config: &Config, identity: &IdentityFiles) -> Failure {
    if error.code != codes::NOT_ENROLLED {
        return error.into();
    }
    LinkError {
        code: codes::NOT_ENROLLED,
        text: format!(
            "this host has not been enrolled: there is no {}; make a token with `replank host token {}`, then run here \
             `replank-agent enrol --coordinator HOST:{} --token TOKEN`",
            identity.identity().display(),
            config.host,
            config::COORDINATOR_PORT
        ),
    }
    .into()
}
