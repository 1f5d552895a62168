//! The fleet's authority at work: hosts' certificates, and the coordinator's own, renewed without a restart.

use super::listen::LinksFailed;
use super::peer::now;
use crate::config::{Folder, Lifetimes, Settings};
use crate::drive::Clock;
use crate::init::write_identity;
use crate::store::Store;
use replank_common::ids::HostName;
use replank_identity::files::{self, FileError};
use replank_identity::renewal::{self, RenewalState};
use replank_identity::{
    Authority, AuthorityError, BadCredentials, CredentialStore, Credentials, Csr, Fingerprint, Issued, Level,
    OperatorName, PrivateKey, Role,
};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// How often the coordinator's own certificate is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(3_600);

pub(super) struct Issuer {
    authority: Authority,
    lifetimes: Lifetimes,
    names: Vec<String>,
    folder: Folder,
    store: Store,
    clock: Clock,
    own: Arc<CredentialStore>,
}

impl fmt::Debug for Issuer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Issuer").field("authority", &self.fingerprint()).finish_non_exhaustive()
    }
}

impl Issuer {
    pub(super) async fn open(
        folder: &Folder,
        settings: &Settings,
        store: Store,
        clock: Clock,
    ) -> Result<Self, LinksFailed> {
        let pair = files::read_pair(&folder.authority(), &folder.authority_key())?;
        let authority = Authority::load(&pair.chain, &pair.key)?;
        let (lifetimes, names) = (settings.lifetimes, settings.names.clone());
        let wanted: Vec<&str> = names.iter().map(String::as_str).collect();
        let own = match load(folder, &authority) {
            Ok(credentials) if credentials.is_named(&wanted) => credentials,
            Ok(_) => {
                tracing::info!(names = %names.join(", "), "the coordinator has other names now; a new certificate is made");
                make(folder, &authority, &names, lifetimes, &store, clock).await?.1
            }
            Err(LinksFailed::File(FileError::Missing { path, .. })) => {
                tracing::warn!(path = %path.display(), "the coordinator's certificate is missing; a new one is made");
                make(folder, &authority, &names, lifetimes, &store, clock).await?.1
            }
            // A coordinator that was away for long; it is its own authority.
            Err(LinksFailed::Credentials(BadCredentials::Chain { .. })) => {
                tracing::warn!("the coordinator's certificate does not hold any more; a new one is made");
                make(folder, &authority, &names, lifetimes, &store, clock).await?.1
            }
            Err(other) => return Err(other),
        };
        let issuer = Self {
            authority,
            lifetimes,
            names,
            folder: folder.clone(),
            store,
            clock,
            own: CredentialStore::new(own),
        };
        issuer.renew_if_due().await?;
        Ok(issuer)
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        self.authority.fingerprint()
    }

    /// The coordinator's own.
    pub(super) fn own(&self) -> &Arc<CredentialStore> {
        &self.own
    }

    /// A host's certificate; to be recorded before it leaves.
    pub(super) fn issue(&self, csr: &Csr, host: &HostName) -> Result<Issued, AuthorityError> {
        self.authority.issue(csr, &Role::Host(host.clone()), self.lifetimes.host(), now())
    }

    /// An operator's certificate; to be recorded before it leaves.
    pub(super) fn issue_operator(
        &self,
        csr: &Csr,
        name: &OperatorName,
        level: Level,
    ) -> Result<Issued, AuthorityError> {
        let role = Role::Operator { name: name.clone(), level };
        self.authority.issue(csr, &role, self.lifetimes.operator(), now())
    }

    /// The leaf and then the authority, as the wire has them.
    pub(super) fn chain(&self, issued: &Issued) -> String {
        format!("{}{}", issued.to_pem(), self.authority.cert().to_pem())
    }

    /// Keeps the coordinator's certificate fresh, for ever.
    pub(super) async fn keep_renewed(&self) {
        loop {
            tokio::time::sleep(LOOK_EVERY).await;
            if let Err(error) = self.renew_if_due().await {
                let code = error.code();
                tracing::error!(code, %error, "the coordinator's certificate is due and was not renewed");
            }
        }
    }

    async fn renew_if_due(&self) -> Result<(), LinksFailed> {
        match renewal::state(self.own.current().identity(), now()) {
            RenewalState::Fresh { .. } | RenewalState::NotYetValid { .. } => return Ok(()),
            RenewalState::Due { .. } | RenewalState::Expired { .. } => {}
        }
        let made =
            make(&self.folder, &self.authority, &self.names, self.lifetimes, &self.store, self.clock).await?;
        let (pem, key) = made.0;
        let new = self.own.publish(&pem, &key, now())?;
        let until = new.identity().validity.not_after;
        tracing::info!(%until, "the coordinator's certificate was renewed");
        Ok(())
    }
}

fn load(folder: &Folder, authority: &Authority) -> Result<Credentials, LinksFailed> {
    let pair = files::read_identity(&folder.identity())?;
    let key = PrivateKey::from_pem(&pair.key)?;
    Ok(Credentials::new(&pair.chain, &key, authority.cert(), now())?)
}

type Made = ((String, PrivateKey), Credentials);

/// Makes, checks and records a new certificate of the coordinator, and writes it to disk.
async fn make(
    folder: &Folder,
    authority: &Authority,
    names: &[String],
    lifetimes: Lifetimes,
    store: &Store,
    clock: Clock,
) -> Result<Made, LinksFailed> {
    let key = PrivateKey::generate()?;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let issued = authority.issue_coordinator(&key.request()?, &names, lifetimes.coordinator(), now())?;
    let credentials = Credentials::new(&issued.to_pem(), &key, authority.cert(), now())?;
    let (record, now_ms) = (issued.clone(), clock.now_ms());
    store.write(move |database| database.record_issued(&[record], now_ms)).await?;
    write_identity(&folder.identity(), &key, &issued)?;
    Ok(((issued.to_pem(), key), credentials))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::init;

    async fn opened(folder: &Folder, store: &Store) -> Result<Issuer, LinksFailed> {
        let settings = Settings::read(&folder.settings()).unwrap();
        Issuer::open(folder, &settings, store.clone(), Clock::start()).await
    }

    #[tokio::test]
    async fn the_own_certificate_is_made_again_when_it_is_missing_or_the_names_change() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("c");
        init::run(&dir, &init::Options::default(), Clock::start().now_ms()).unwrap();
        let folder = Folder::new(&dir);
        let store = Store::open(&folder).unwrap();
        let serial = |issuer: &Issuer| issuer.own().current().identity().serial;

        let first = serial(&opened(&folder, &store).await.unwrap());
        assert_eq!(serial(&opened(&folder, &store).await.unwrap()), first, "it is good: it stays");

        std::fs::remove_file(folder.identity()).unwrap();
        let second = serial(&opened(&folder, &store).await.unwrap());
        assert_ne!(second, first);
        assert_eq!(serial(&opened(&folder, &store).await.unwrap()), second, "it is on disk");

        let text = std::fs::read_to_string(folder.settings()).unwrap();
        std::fs::write(folder.settings(), text.replacen("\"localhost\"", "\"localhost\", \"192.0.2.9\"", 1))
            .unwrap();
        let third = opened(&folder, &store).await.unwrap();
        assert_ne!(serial(&third), second);
        assert!(third.own().current().is_named(&["192.0.2.9", "::1", "localhost", "127.0.0.1"]));
        assert_eq!(serial(&opened(&folder, &store).await.unwrap()), serial(&third));

        // What cannot be used is not replaced behind anybody's back.
        std::fs::write(folder.identity(), "damaged").unwrap();
        assert!(matches!(opened(&folder, &store).await, Err(LinksFailed::File(FileError::Content { .. }))));
    }
}
