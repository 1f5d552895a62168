//! The host's identity on disk and in use, and its renewal without a restart.

use super::dial;
use super::failure::LinkError;
use crate::clock;
use crate::codes;
use crate::config::Address;
use replank_common::ids::HostName;
use replank_identity::files::{self, PemPair};
use replank_identity::renewal::{self, RenewalState};
use replank_identity::{AuthorityCert, CredentialStore, Credentials, PrivateKey, Role, UnixSeconds, tls};
use replank_proto::v1::RenewRequest;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How often the clock is looked at. A host's clock may jump, so the moment of renewal is not slept for in one go.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// Between tries of a renewal that failed.
const RETRY_AFTER: Duration = Duration::from_secs(60);
const RENEWAL_TIME_MAX: Duration = Duration::from_secs(30);

/// Where the identity is kept: a directory of its own that only root may enter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityFiles {
    directory: PathBuf,
}

impl IdentityFiles {
    /// Below the agent's own directory.
    pub fn below(state_directory: &Path) -> Self {
        Self { directory: state_directory.join("identity") }
    }

    /// The authority's certificate.
    pub fn authority(&self) -> PathBuf {
        self.directory.join("authority.pem")
    }

    /// The host's key and certificate, in one file so that they change in one instant.
    pub fn identity(&self) -> PathBuf {
        self.directory.join("identity.pem")
    }

    /// The key of an enrolment whose answer has not come yet.
    pub(crate) fn pending_key(&self) -> PathBuf {
        self.directory.join("enrolment.key")
    }

    pub(crate) fn make_directory(&self) -> Result<(), LinkError> {
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.directory);
        made.map_err(|source| {
            LinkError::files(&files::FileError::Write { path: self.directory.clone(), source })
        })
    }

    /// Takes an identity into service that was put in place of the one in use: enrolled again, or brought back.
    ///
    /// # Errors
    /// It cannot be used, or is of another host or fleet; the one in use stays.
    pub fn reload(&self, store: &Arc<CredentialStore>) -> Result<Arc<Credentials>, LinkError> {
        let pair = files::read_identity(&self.identity()).map_err(|error| LinkError::files(&error))?;
        let key = PrivateKey::from_pem(&pair.key).map_err(|error| LinkError::key(&error))?;
        store.publish(&pair.chain, &key, now()).map_err(|error| LinkError::credentials(&error))
    }

    /// Reads and checks the identity.
    ///
    /// # Errors
    /// The host was not enrolled, the files cannot be used, or the certificate is for another host than `host`.
    pub fn load(&self, host: &HostName, now: UnixSeconds) -> Result<Arc<CredentialStore>, LinkError> {
        let pair = files::read_identity(&self.identity()).map_err(|error| LinkError::files(&error))?;
        let authority =
            files::read_certificate(&self.authority()).map_err(|error| LinkError::files(&error))?;
        let authority = AuthorityCert::from_pem(&authority).map_err(|error| LinkError::authority(&error))?;
        let key = PrivateKey::from_pem(&pair.key).map_err(|error| LinkError::key(&error))?;
        let credentials = Credentials::new(&pair.chain, &key, &authority, now)
            .map_err(|error| LinkError::credentials(&error))?;
        is_for(&credentials, host)?;
        Ok(CredentialStore::new(credentials))
    }
}

/// # Errors
/// The credentials are somebody else's.
pub(crate) fn is_for(credentials: &Credentials, host: &HostName) -> Result<(), LinkError> {
    match &credentials.identity().role {
        Role::Host(name) if name == host => Ok(()),
        role => Err(LinkError::new(
            codes::OTHER_HOST,
            format!(
                "the certificate is for {role}, and this host is {host}; set `host` to the name that it was enrolled under, or \
                 enrol it again"
            ),
        )),
    }
}

pub(crate) fn now() -> UnixSeconds {
    UnixSeconds::from_ms(clock::now_ms())
}

/// Asks for a new certificate over a new key, puts it into service and writes it to disk.
///
/// In service first: what does not work must not replace what does. A crash between the two leaves the old one on disk, which
/// holds for another third of its life.
///
/// # Errors
/// The coordinator is not reached or refuses, or the file cannot be written.
pub async fn renew(
    address: &Address,
    files: &IdentityFiles,
    store: &Arc<CredentialStore>,
) -> Result<Arc<Credentials>, LinkError> {
    let key = PrivateKey::generate().map_err(|error| LinkError::key(&error))?;
    let csr = key.request().map_err(|error| LinkError::key(&error))?;
    let config = tls_config(store)?;
    let mut client = dial::dial(address, config).await?;
    let call = client.renew(RenewRequest { csr: csr.der().to_vec() });
    let answer = match tokio::time::timeout(RENEWAL_TIME_MAX, call).await {
        Ok(answer) => answer.map_err(|status| LinkError::status(address, &status))?.into_inner(),
        Err(_) => {
            let error = std::io::Error::from(std::io::ErrorKind::TimedOut);
            return Err(LinkError::connecting(address, &error));
        }
    };
    let new = store
        .publish(&answer.certificate_chain, &key, now())
        .map_err(|error| LinkError::credentials(&error))?;
    let pair = PemPair { chain: answer.certificate_chain, key: key.to_pem() };
    files::write_identity(&files.identity(), &pair).map_err(|error| LinkError::files(&error))?;
    Ok(new)
}

/// Renews the identity at its time, for as long as the agent lives.
pub async fn keep_renewed(
    address: Address,
    files: IdentityFiles,
    store: Arc<CredentialStore>,
    stop: CancellationToken,
) {
    loop {
        let wait = match renewal::state(store.current().identity(), now()) {
            RenewalState::Fresh { .. } | RenewalState::NotYetValid { .. } => LOOK_EVERY,
            RenewalState::Due { not_after, .. } => match renew(&address, &files, &store).await {
                Ok(new) => {
                    let until = new.identity().validity.not_after;
                    tracing::info!(%until, "the host's certificate was renewed");
                    LOOK_EVERY
                }
                Err(error) => {
                    tracing::warn!(%error, until = %not_after, "the host's certificate is due and was not renewed");
                    RETRY_AFTER
                }
            },
            RenewalState::Expired { since } => {
                tracing::error!(
                    code = codes::CERTIFICATE_EXPIRED,
                    %since,
                    "the host's certificate has expired; enrol this host again with a new join token"
                );
                RETRY_AFTER
            }
        };
        tokio::select! {
            () = tokio::time::sleep(wait) => {}
            () = stop.cancelled() => return,
        }
    }
}

pub(crate) fn tls_config(store: &Arc<CredentialStore>) -> Result<Arc<rustls::ClientConfig>, LinkError> {
    tls::client_config(store, Arc::new(tls::SystemClock))
        .map_err(|error| LinkError::new(codes::IDENTITY_FILES, error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Command};
    use crate::host::dirs;
    use clap::Parser as _;

    #[test]
    fn the_packaged_unit_waits_for_the_identity_and_starts_the_agent() {
        let unit = include_str!("../../../packaging/systemd/replank-agent.service");
        let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        let identity = IdentityFiles::below(Path::new(dirs::STATE)).identity();
        assert_eq!(Path::new(value("ConditionPathExists=")), identity);
        let spec = include_str!("../../../packaging/rpm/replank-agent.spec");
        assert!(
            spec.lines().any(|line| line == "/usr/sbin/replank-agent"),
            "where the package puts the program"
        );
        let command = value("ExecStart=").strip_prefix("/usr/sbin/").unwrap();
        let cli = Cli::try_parse_from(command.split(' ')).unwrap();
        assert!(matches!(cli.command, Command::Run));
        assert_eq!(cli.config, Path::new(crate::config::PATH));
    }
}
