//! Why there is no link or no certificate, in words, with a documented code.

use crate::codes;
use crate::config::Address;
use replank_identity::files::FileError;
use replank_identity::{BadAuthority, BadCredentials, BadKey, tls};
use std::error::Error as StdError;
use tonic::{Code, Status};

/// The key of a status's metadata under which a coordinator gives the stable name of its refusal.
const REFUSAL_NAME: &str = "replank-refusal";

/// One failure; `text` says what happened and what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {text}")]
pub struct LinkError {
    pub code: &'static str,
    pub text: String,
}

/// The stable names of the identity crate, and the codes that they are documented under.
const NAMES: [(&str, &str); 27] = [
    ("certificate-foreign", codes::SERVER_FOREIGN),
    ("server-foreign", codes::SERVER_FOREIGN),
    ("server-not-coordinator", codes::SERVER_FOREIGN),
    ("certificate-expired", codes::CERTIFICATE_EXPIRED),
    ("certificate-not-yet-valid", codes::CERTIFICATE_EARLY),
    ("certificate-revoked", codes::REVOKED),
    ("host-revoked", codes::REVOKED),
    ("certificate-refused", codes::CERTIFICATE_REFUSED),
    ("certificate-wrong-purpose", codes::CERTIFICATE_REFUSED),
    ("certificate-malformed", codes::CERTIFICATE_REFUSED),
    ("no-certificate", codes::CERTIFICATE_REFUSED),
    ("other-host", codes::OTHER_HOST),
    ("not-a-host", codes::OTHER_HOST),
    ("not-an-operator", codes::OTHER_HOST),
    ("token-malformed", codes::TOKEN_MALFORMED),
    ("token-foreign", codes::TOKEN_FOREIGN),
    ("token-unknown", codes::TOKEN_UNKNOWN),
    ("token-wrong-host", codes::TOKEN_WRONG_HOST),
    ("token-used", codes::TOKEN_USED),
    ("token-expired", codes::TOKEN_EXPIRED),
    ("csr-malformed", codes::REQUEST_REFUSED),
    ("csr-key-kind", codes::REQUEST_REFUSED),
    ("csr-possession", codes::REQUEST_REFUSED),
    ("credentials-malformed", codes::IDENTITY_FILES),
    ("credentials-mismatch", codes::IDENTITY_FILES),
    ("credentials-other-role", codes::IDENTITY_FILES),
    ("credentials-untrusted", codes::IDENTITY_FILES),
];

/// The documented code of a stable name.
pub(crate) fn code_of(name: &str) -> Option<&'static str> {
    NAMES.iter().find(|(known, _)| *known == name).map(|(_, code)| *code)
}

impl LinkError {
    pub(crate) fn new(code: &'static str, text: impl Into<String>) -> Self {
        Self { code, text: text.into() }
    }

    /// Connecting failed.
    pub(crate) fn connecting(address: &Address, error: &(dyn StdError + 'static)) -> Self {
        if let Some(refusal) = tls::explain(error) {
            let code = code_of(refusal.code()).unwrap_or(codes::CERTIFICATE_REFUSED);
            return Self::new(code, format!("connecting to the coordinator at {address}: {refusal}"));
        }
        Self::new(
            codes::UNREACHABLE,
            format!(
                "the coordinator at {address} cannot be reached: {}; check the address, that `replank serve` runs there, and the \
                 network between",
                chain(error)
            ),
        )
    }

    /// A call was answered with an error.
    pub(crate) fn status(address: &Address, status: &Status) -> Self {
        let (message, theirs) = without_code(status.message());
        let named = status.metadata().get(REFUSAL_NAME).and_then(|name| name.to_str().ok());
        // Without metadata the name may lead the message, as in `token-expired: the join token …`.
        let (leading, rest) = message.split_once(": ").unwrap_or(("", message));
        if let Some(code) = named.and_then(code_of) {
            return Self::new(code, format!("{message}{theirs}"));
        }
        if let Some(code) = code_of(leading) {
            return Self::new(code, rest);
        }
        match status.code() {
            Code::Unavailable | Code::Cancelled | Code::Unknown | Code::DeadlineExceeded => {
                if let Some(refusal) = tls::explain(status) {
                    let code = code_of(refusal.code()).unwrap_or(codes::CERTIFICATE_REFUSED);
                    return Self::new(code, refusal.to_string());
                }
                Self::new(
                    codes::UNREACHABLE,
                    format!("the coordinator at {address} went away: {}; see its log", chain(status)),
                )
            }
            Code::Unimplemented => Self::new(
                codes::COORDINATOR_REFUSED,
                format!(
                    "the coordinator at {address} does not know the call: {message}; install agent and coordinator of one version{theirs}"
                ),
            ),
            code => Self::new(
                codes::COORDINATOR_REFUSED,
                format!("the coordinator at {address} refused ({code:?}): {message}; see its log{theirs}"),
            ),
        }
    }

    pub(crate) fn files(error: &FileError) -> Self {
        let code = match error {
            FileError::Missing { .. } => codes::NOT_ENROLLED,
            FileError::Read { .. }
            | FileError::Write { .. }
            | FileError::Exposed { .. }
            | FileError::NotAFile { .. }
            | FileError::Content { .. } => codes::IDENTITY_FILES,
        };
        Self::new(code, chain(error))
    }

    pub(crate) fn credentials(error: &BadCredentials) -> Self {
        let code = code_of(error.code()).unwrap_or(codes::IDENTITY_FILES);
        Self::new(code, format!("{}; enrol this host again with a new join token", chain(error)))
    }

    pub(crate) fn authority(error: &BadAuthority) -> Self {
        let code = match error {
            BadAuthority::OtherAuthority { .. } => codes::SERVER_FOREIGN,
            BadAuthority::Count { .. }
            | BadAuthority::Encoding
            | BadAuthority::NotAnAuthority
            | BadAuthority::NotSelfSigned
            | BadAuthority::Key(_)
            | BadAuthority::Mismatch => codes::IDENTITY_FILES,
        };
        Self::new(code, chain(error))
    }

    pub(crate) fn key(error: &BadKey) -> Self {
        Self::new(codes::IDENTITY_FILES, chain(error))
    }

    /// Whether trying again without anybody's help can change anything.
    pub fn is_passing(&self) -> bool {
        self.code == codes::UNREACHABLE
    }
}

/// What the coordinator said, and its own code apart, to stand at the end: a message has one code in front, the agent's.
fn without_code(message: &str) -> (&str, String) {
    let coded = message.split_once(": ").filter(|(code, _)| {
        code.strip_prefix("RP")
            .is_some_and(|digits| digits.len() == 4 && digits.bytes().all(|b| b.is_ascii_digit()))
    });
    match coded {
        Some((code, rest)) => (rest, format!(" (coordinator: {code})")),
        None => (message, String::new()),
    }
}

/// An error with its causes, none said twice.
fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let cause = error.to_string();
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
        next = error.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_code_leads_a_message() {
        let address: Address = "coordinator".parse().unwrap();
        let mut status = Status::permission_denied("RP6104: the join token expired");
        status
            .metadata_mut()
            .insert(REFUSAL_NAME, tonic::metadata::MetadataValue::from_static("token-expired"));
        let error = LinkError::status(&address, &status);
        assert_eq!(
            error.to_string(),
            format!("{}: the join token expired (coordinator: RP6104)", codes::TOKEN_EXPIRED)
        );
        let unnamed = LinkError::status(&address, &Status::internal("RP6007: the store failed"));
        assert_eq!(unnamed.code, codes::COORDINATOR_REFUSED);
        assert!(unnamed.text.contains("the store failed; see its log (coordinator: RP6007)"), "{unnamed}");
        let plain = LinkError::status(&address, &Status::internal("RPM: not a code"));
        assert!(plain.text.contains("RPM: not a code"), "{plain}");
    }
}
