//! The operators' certificates: signed for an admin, renewed for whoever holds one, revoked with all that hangs on them.
//!
//! | a crash or a lost answer | what follows |
//! | --- | --- |
//! | after signing, before the record | the certificate never left; asking again makes another |
//! | after the record, before the answer | an unknown key holds nothing: its key never left the operator's machine; revoke the name and ask again |
//! | after a revocation is written, before it is in force | it is in force from the next start on, before anybody is let in |

use super::authority::Issuer;
use super::peer::{OperatorCaller, now, peer_refused, refusal};
use super::registry::Registry;
use super::service::{not_issued, request_refused, store_failed};
use crate::codes;
use crate::store::{Asker, Dismissal, OperatorCertificate, Signing, StoreError};
use replank_common::UnixMs;
use replank_identity::{
    AuthorityError, BadCsr, Csr, Issued, Level, OperatorName, PeerRefused, Revoked, UnixSeconds,
};
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Status};

/// How often a stream is looked at whose caller's certificate only ends by time.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Signs, lists and revokes. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Operators {
    registry: Arc<Registry>,
    issuer: Arc<Issuer>,
}

/// One operator that ever had a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperatorStatus {
    pub name: OperatorName,
    /// Of the newest certificate.
    pub level: Level,
    /// The newest certificate was revoked.
    pub revoked: bool,
    pub certificate_expires_at_ms: UnixMs,
}

/// Why a request about operators is not granted.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    #[error(transparent)]
    Request(#[from] BadCsr),
    #[error(transparent)]
    Issue(AuthorityError),
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    AskerRevoked(PeerRefused),
    #[error(
        "operator {name}, {level}, has a certificate until {until}; take another name, or revoke that one first: `replank operator revoke {name}`"
    )]
    Exists { name: OperatorName, level: Level, until: UnixSeconds },
    #[error("there is no operator {name}; `replank operator list` shows them")]
    Unknown { name: OperatorName },
    #[error(
        "{name} is the last admin, and nobody could make another operator; make one first: `replank operator add NAME --level admin`"
    )]
    LastAdmin { name: OperatorName },
}

impl From<OperatorError> for Status {
    fn from(error: OperatorError) -> Self {
        match &error {
            OperatorError::Request(bad) => request_refused(bad),
            OperatorError::Issue(failed) => not_issued(failed),
            OperatorError::Store(failed) => store_failed(failed),
            OperatorError::AskerRevoked(refused) => peer_refused(refused),
            OperatorError::Exists { .. } => {
                refusal(Code::AlreadyExists, codes::OPERATOR_EXISTS, "operator-exists", &error)
            }
            OperatorError::Unknown { .. } => {
                refusal(Code::NotFound, codes::OPERATOR_UNKNOWN, "operator-unknown", &error)
            }
            OperatorError::LastAdmin { .. } => {
                refusal(Code::FailedPrecondition, codes::LAST_ADMIN, "last-admin", &error)
            }
        }
    }
}

impl Operators {
    pub(super) fn new(registry: Arc<Registry>, issuer: Arc<Issuer>) -> Self {
        Self { registry, issuer }
    }

    /// Signs the first certificate of an operator, PEM with the authority's behind it.
    ///
    /// # Errors
    /// [`OperatorError::Exists`], [`OperatorError::Request`].
    pub async fn issue(
        &self,
        name: &OperatorName,
        level: Level,
        csr: &[u8],
        by: &OperatorCaller,
    ) -> Result<String, OperatorError> {
        let issued = self.signed(csr, name, level)?;
        let (record, asker) = (issued.clone(), self.asker(by));
        let signing =
            self.registry.store.write(move |database| database.admit_operator(&record, &asker)).await?;
        recorded(signing, by)?;
        let (serial, until) = (issued.serial, issued.validity.not_after);
        tracing::info!(by = %by.name, operator = %name, %level, %serial, %until, "an operator's certificate was made");
        Ok(self.issuer.chain(&issued))
    }

    /// Signs the certificate with which `by` goes on, of the name and level that it has.
    ///
    /// # Errors
    /// [`OperatorError::Request`].
    pub async fn renew(&self, csr: &[u8], by: &OperatorCaller) -> Result<String, OperatorError> {
        let issued = self.signed(csr, &by.name, by.level)?;
        let (record, asker) = (issued.clone(), self.asker(by));
        let signing =
            self.registry.store.write(move |database| database.renew_operator(&record, &asker)).await?;
        recorded(signing, by)?;
        let (level, serial, until) = (by.level, issued.serial, issued.validity.not_after);
        tracing::info!(by = %by.name, %level, %serial, %until, "an operator's certificate was renewed");
        Ok(self.issuer.chain(&issued))
    }

    /// Every operator that ever had a certificate, by name.
    ///
    /// # Errors
    /// The store's.
    pub async fn list(&self) -> Result<Vec<OperatorStatus>, OperatorError> {
        let certificates = self.registry.store.read(|database| database.operators()).await?;
        Ok(by_name(&certificates))
    }

    /// Revokes every certificate of an operator: its next call is refused, and what it watches ends.
    ///
    /// # Errors
    /// [`OperatorError::Unknown`], [`OperatorError::LastAdmin`].
    pub async fn revoke(&self, name: &OperatorName, by: &OperatorCaller) -> Result<(), OperatorError> {
        let (who, asker) = (name.clone(), self.asker(by));
        let _order = self.registry.revoking.lock().await;
        let (dismissal, set) = self
            .registry
            .store
            .write(move |database| Ok((database.revoke_operator(&who, &asker)?, database.revoked()?)))
            .await?;
        match dismissal {
            Dismissal::Done { certificates } => {
                self.registry.enforce(set);
                tracing::warn!(by = %by.name, operator = %name, certificates, "the operator was revoked");
                Ok(())
            }
            Dismissal::AskerRevoked => Err(asker_revoked(by)),
            Dismissal::Unknown => Err(OperatorError::Unknown { name: name.clone() }),
            Dismissal::LastAdmin => Err(OperatorError::LastAdmin { name: name.clone() }),
        }
    }

    /// Ends when the certificate that `caller` came with holds no more, with the reason: a stream outlives the call that opened it.
    pub fn refused(&self, caller: OperatorCaller) -> impl Future<Output = Status> + Send + use<> {
        let (registry, mut enforcements) = (Arc::clone(&self.registry), self.registry.enforcements());
        async move {
            loop {
                if let Err(refused) = caller.peer.check(&registry.revocations, now()) {
                    tracing::info!(by = %caller.name, reason = %refused, "a watching ends");
                    return peer_refused(&refused);
                }
                // Its sender is in the registry, which is held here.
                drop(tokio::time::timeout(LOOK_EVERY, enforcements.changed()).await);
            }
        }
    }

    fn signed(&self, csr: &[u8], name: &OperatorName, level: Level) -> Result<Issued, OperatorError> {
        let csr = Csr::from_der(csr)?;
        self.issuer.issue_operator(&csr, name, level).map_err(OperatorError::Issue)
    }

    fn asker(&self, by: &OperatorCaller) -> Asker {
        let now_ms = self.registry.clock.now_ms();
        Asker { name: by.name.clone(), serial: by.peer.serial, now: now(), now_ms }
    }
}

fn recorded(signing: Signing, by: &OperatorCaller) -> Result<(), OperatorError> {
    match signing {
        Signing::Recorded => Ok(()),
        Signing::AskerRevoked => Err(asker_revoked(by)),
        Signing::Taken(OperatorCertificate { name, level, not_after, .. }) => {
            Err(OperatorError::Exists { name, level, until: not_after })
        }
    }
}

fn asker_revoked(by: &OperatorCaller) -> OperatorError {
    let (serial, role) = (by.peer.serial, by.peer.role.clone());
    OperatorError::AskerRevoked(Revoked::Certificate { serial, role }.into())
}

/// `certificates`: by name, the oldest first.
fn by_name(certificates: &[OperatorCertificate]) -> Vec<OperatorStatus> {
    let status = |own: &[OperatorCertificate]| {
        let newest = own.last()?;
        // The one that opens the door for longest, where one does.
        let until = own.iter().filter(|one| one.revoked == newest.revoked).map(|one| one.not_after).max()?;
        Some(OperatorStatus {
            name: newest.name.clone(),
            level: newest.level,
            revoked: newest.revoked,
            certificate_expires_at_ms: until.0.saturating_mul(1_000),
        })
    };
    certificates.chunk_by(|a, b| a.name == b.name).filter_map(status).collect()
}
