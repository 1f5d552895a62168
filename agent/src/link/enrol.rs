//! Enrolment: a join token becomes an identity.

use super::dial;
use super::failure::LinkError;
use super::identity::{self, IdentityFiles};
use crate::codes;
use crate::config::Address;
use replank_common::ids::HostName;
use replank_identity::files::{self, PemPair};
use replank_identity::{AuthorityCert, Credentials, JoinToken, PrivateKey, UnixSeconds, tls};
use replank_proto::v1::EnrolRequest;
use std::sync::Arc;
use std::time::Duration;

const ENROLMENT_TIME_MAX: Duration = Duration::from_secs(30);
const CERTIFICATE: &str = "-----BEGIN CERTIFICATE-----";

/// What `replank-agent enrol` is asked.
#[derive(Debug)]
pub struct Enrolment<'a> {
    pub coordinator: &'a Address,
    /// As pasted.
    pub token: &'a str,
    pub host: &'a HostName,
    pub files: &'a IdentityFiles,
    /// Replace an identity that is there.
    pub force: bool,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Enrolled {
    pub host: HostName,
    /// The certificate's end; it is renewed long before.
    pub until: UnixSeconds,
}

/// Trades the token for an identity and writes it to disk.
///
/// The key is on disk before the token is sent: when the answer is lost, the same call with the same token is served again, since
/// a token admits one key, however often that key asks.
///
/// # Errors
/// The host is enrolled already, the token is refused, or the coordinator is not the one that the token is of.
pub async fn enrol(enrolment: Enrolment<'_>) -> Result<Enrolled, LinkError> {
    let Enrolment { coordinator, token, host, files, force } = enrolment;
    if !force && files.identity().exists() {
        return Err(LinkError::new(
            codes::ALREADY_ENROLLED,
            format!(
                "this host has an identity in {}; nothing is to be done, or give --force to replace it",
                files.identity().display()
            ),
        ));
    }
    let parsed: JoinToken =
        token.parse().map_err(|error| LinkError::new(codes::TOKEN_MALFORMED, format!("{error}")))?;
    files.make_directory()?;
    let key = pending_key(files)?;
    let csr = key.request().map_err(|error| LinkError::key(&error))?;

    let config = tls::enrolment_client_config(parsed.authority(), Arc::new(tls::SystemClock))
        .map_err(|error| LinkError::new(codes::IDENTITY_FILES, error.to_string()))?;
    let mut client = dial::dial(coordinator, config).await?;
    let request =
        EnrolRequest { token: parsed.reveal().to_string(), host: host.to_string(), csr: csr.der().to_vec() };
    let answer = match tokio::time::timeout(ENROLMENT_TIME_MAX, client.enrol(request)).await {
        Ok(answer) => answer.map_err(|status| LinkError::status(coordinator, &status))?.into_inner(),
        Err(_) => {
            let error = std::io::Error::from(std::io::ErrorKind::TimedOut);
            return Err(LinkError::connecting(coordinator, &error));
        }
    };

    let authority = authority_of(&answer.certificate_chain)
        .ok_or_else(|| LinkError::new(codes::REQUEST_REFUSED, "the coordinator's answer holds no certificate of its authority; install agent and coordinator of one version"))?;
    let authority =
        AuthorityCert::pinned(authority, parsed.authority()).map_err(|error| LinkError::authority(&error))?;
    let credentials = Credentials::new(&answer.certificate_chain, &key, &authority, identity::now())
        .map_err(|error| LinkError::credentials(&error))?;
    identity::is_for(&credentials, host)?;

    // The identity last: with it, the host is enrolled.
    let written = files::write_private(&files.authority(), &authority.to_pem()).and_then(|()| {
        let pair = PemPair { chain: answer.certificate_chain, key: key.to_pem() };
        files::write_identity(&files.identity(), &pair)
    });
    written.map_err(|error| LinkError::files(&error))?;
    if let Err(error) = std::fs::remove_file(files.pending_key()) {
        tracing::warn!(%error, "the key of the enrolment could not be removed; it is the one in use now");
    }
    Ok(Enrolled { host: host.clone(), until: credentials.identity().validity.not_after })
}

/// The key of an earlier try whose answer was lost, or a new one.
fn pending_key(files: &IdentityFiles) -> Result<PrivateKey, LinkError> {
    let path = files.pending_key();
    if let Ok(text) = std::fs::read_to_string(&path)
        && let Ok(key) = PrivateKey::from_pem(&text)
    {
        return Ok(key);
    }
    let key = PrivateKey::generate().map_err(|error| LinkError::key(&error))?;
    files::write_private(&path, &key.to_pem()).map_err(|error| LinkError::files(&error))?;
    Ok(key)
}

/// The second certificate of a chain.
fn authority_of(chain: &str) -> Option<&str> {
    let first = chain.find(CERTIFICATE)? + CERTIFICATE.len();
    let second = chain[first..].find(CERTIFICATE)? + first;
    Some(&chain[second..])
}
