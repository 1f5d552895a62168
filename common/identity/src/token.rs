//! The join token: `rpk1.<id>.<secret>.<fingerprint of the authority>`, in lower-case hexadecimal.
//!
//! One host, one use, and an end. The token carries trust both ways: its secret admits the agent, and its
//! fingerprint tells the agent which coordinator to believe, so that nothing is trusted on first use. The
//! coordinator keeps a hash.
//!
//! "One use" means one key. An agent whose certificate was issued but whose answer got lost asks again with
//! the same key and is served again; the same token with another key is refused. So a lost answer costs
//! nothing, and a stolen token that was already used is worth nothing.

use crate::ids::{BadHex, Fingerprint, NoRandomness, hex_id, random_bytes};
use crate::time::UnixSeconds;
use data_encoding::HEXLOWER;
use replank_common::ids::HostName;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;
use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

/// The form of token that this code makes and reads.
const PREFIX: &str = "rpk1";

/// 128 bits: beyond guessing, and short enough to be pasted.
const SECRET_BYTES: usize = 16;

/// Keeps the hash from meaning anything in another place.
const HASH_DOMAIN: &[u8] = b"replank join token v1\0";

hex_id!(
    /// The public part of a token, under which the coordinator finds its record.
    TokenId, "token id", 8
);
hex_id!(
    /// A hash over a token's id and secret. A fast one will do: the secret is random, so there is nothing to
    /// guess.
    SecretHash, "token hash", 32
);

struct Secret([u8; SECRET_BYTES]);

impl Drop for Secret {
    fn drop(&mut self) {
        self.0.zeroize();
    }
}

/// A join token in the clear. `Debug` hides the secret; only [`JoinToken::reveal`] shows it.
pub struct JoinToken {
    id: TokenId,
    secret: Secret,
    authority: Fingerprint,
}

/// Why a text is no join token. Never repeats the text, which may hold a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MalformedToken {
    #[error("a join token begins with `rpk1.`; copy all of what `replank host token` printed")]
    NotAToken,
    #[error(
        "this join token is of a form that this version does not know; install the coordinator's version of the agent"
    )]
    OtherVersion,
    #[error(
        "a join token has 4 parts between dots, and this has {found}; copy all of what `replank host token` printed"
    )]
    Parts { found: usize },
    #[error("the {part} in the join token is damaged; copy all of what `replank host token` printed")]
    Damaged { part: &'static str },
}

impl JoinToken {
    /// Draws a new token for the fleet of the authority with this fingerprint.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn generate(authority: Fingerprint) -> Result<Self, NoRandomness> {
        Ok(Self { id: TokenId::from_bytes(random_bytes()?), secret: Secret(random_bytes()?), authority })
    }

    pub fn id(&self) -> TokenId {
        self.id
    }

    /// The authority that the coordinator must prove to belong to.
    pub fn authority(&self) -> Fingerprint {
        self.authority
    }

    /// The token in the clear, to be shown to the operator once and sent by the agent.
    pub fn reveal(&self) -> Zeroizing<String> {
        let secret = Zeroizing::new(HEXLOWER.encode(&self.secret.0));
        Zeroizing::new(format!("{PREFIX}.{}.{}.{}", self.id, secret.as_str(), self.authority))
    }

    /// What the coordinator stores of the token.
    pub fn record(&self, host: HostName, now: UnixSeconds, lifetime: Duration) -> TokenRecord {
        TokenRecord {
            id: self.id,
            hash: self.hash(),
            host,
            made_at: now,
            expires_at: now.plus(lifetime),
            used: None,
        }
    }

    fn hash(&self) -> SecretHash {
        let digest = Sha256::new()
            .chain_update(HASH_DOMAIN)
            .chain_update(self.id.as_bytes())
            .chain_update(self.secret.0)
            .finalize();
        SecretHash::from_bytes(digest.into())
    }
}

impl fmt::Debug for JoinToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinToken")
            .field("id", &self.id)
            .field("authority", &self.authority)
            .finish_non_exhaustive()
    }
}

/// Space around the token is allowed, since it is pasted; nothing else is.
impl FromStr for JoinToken {
    type Err = MalformedToken;

    fn from_str(text: &str) -> Result<Self, MalformedToken> {
        let text = text.trim();
        let parts: Vec<&str> = text.split('.').collect();
        match parts.first() {
            Some(&PREFIX) => {}
            Some(other) if is_other_version(other) => return Err(MalformedToken::OtherVersion),
            _ => return Err(MalformedToken::NotAToken),
        }
        let [_, id, secret, authority] = parts[..] else {
            return Err(MalformedToken::Parts { found: parts.len() });
        };
        let damaged = |part| MalformedToken::Damaged { part };
        let mut bytes = HEXLOWER.decode(secret.as_bytes()).map_err(|_| damaged("secret"))?;
        let copied = <[u8; SECRET_BYTES]>::try_from(bytes.as_slice()).map(Secret);
        bytes.zeroize();
        Ok(Self {
            id: id.parse().map_err(|_| damaged("id"))?,
            secret: copied.map_err(|_| damaged("secret"))?,
            authority: authority.parse().map_err(|_| damaged("fingerprint"))?,
        })
    }
}

/// `rpk` and a number.
fn is_other_version(head: &str) -> bool {
    head.strip_prefix("rpk").is_some_and(|n| !n.is_empty() && n.bytes().all(|b| b.is_ascii_digit()))
}

/// By which key, and when, a token was used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Used {
    pub at: UnixSeconds,
    /// Of the key that a certificate was issued for.
    pub key: Fingerprint,
}

/// What the coordinator keeps of a token. Holds nothing that admits anybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenRecord {
    pub id: TokenId,
    pub hash: SecretHash,
    /// The one host that the token is for.
    pub host: HostName,
    pub made_at: UnixSeconds,
    /// The first second at which it is no longer accepted.
    pub expires_at: UnixSeconds,
    pub used: Option<Used>,
}

/// What an agent asks for when it enrols.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The host that it says it is.
    pub host: &'a HostName,
    /// The fingerprint of its key, from the verified request ([`crate::Csr::fingerprint`]).
    pub key: Fingerprint,
}

/// What an accepted token admits.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use = "a first use must be recorded before the certificate leaves, or the token can be used twice"]
pub enum Admission {
    /// The token's first use. Store this record (if the stored one is still unused) before the certificate is
    /// handed out.
    First(TokenRecord),
    /// The same key asked again, having missed the answer. Nothing to store; issue again.
    Again,
}

/// Why a token admits nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TokenRefused {
    #[error("the join token is malformed")]
    Malformed(#[from] MalformedToken),
    #[error(
        "the join token is of another fleet: it names authority {theirs}, this coordinator's is {ours}; make a token on \
         this coordinator with `replank host token`"
    )]
    Foreign { ours: Fingerprint, theirs: Fingerprint },
    #[error("the join token {id} is not known here; make a new one with `replank host token`")]
    Unknown { id: TokenId },
    #[error("the join token is for host {of}, not for {asked}; make one with `replank host token {asked}`")]
    WrongHost { of: HostName, asked: HostName },
    #[error(
        "the join token was used at {at} by another key; if that was not this host, revoke {host}; make a new token with \
         `replank host token {host}`"
    )]
    Used { at: UnixSeconds, host: HostName },
    #[error("the join token expired at {at}; make a new one with `replank host token {host}`")]
    Expired { at: UnixSeconds, host: HostName },
}

impl TokenRefused {
    /// The stable name of the refusal, for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Malformed(_) => "token-malformed",
            Self::Foreign { .. } => "token-foreign",
            Self::Unknown { .. } => "token-unknown",
            Self::WrongHost { .. } => "token-wrong-host",
            Self::Used { .. } => "token-used",
            Self::Expired { .. } => "token-expired",
        }
    }
}

/// Judges a presented token against the record found under its id (`None`: there is none). Pure; the caller
/// stores what [`Admission::First`] holds, and checks on its own whether the host was revoked.
///
/// A wrong secret gets the same answer as an unknown id, and only who knows the secret learns anything of the
/// record.
///
/// # Errors
/// [`TokenRefused`]; the first reason in the order of its variants.
pub fn verify(
    token: &JoinToken,
    record: Option<&TokenRecord>,
    ours: Fingerprint,
    ask: Ask<'_>,
    now: UnixSeconds,
) -> Result<Admission, TokenRefused> {
    if token.authority != ours {
        return Err(TokenRefused::Foreign { ours, theirs: token.authority });
    }
    let known = |record: &&TokenRecord| {
        record.id == token.id && bool::from(record.hash.as_bytes().ct_eq(token.hash().as_bytes()))
    };
    let record = record.filter(known).ok_or(TokenRefused::Unknown { id: token.id })?;
    let host = record.host.clone();
    if host != *ask.host {
        return Err(TokenRefused::WrongHost { of: host, asked: ask.host.clone() });
    }
    match record.used {
        Some(used) if used.key != ask.key => return Err(TokenRefused::Used { at: used.at, host }),
        Some(_) | None => {}
    }
    if now >= record.expires_at {
        return Err(TokenRefused::Expired { at: record.expires_at, host });
    }
    Ok(match record.used {
        Some(_) => Admission::Again,
        None => {
            Admission::First(TokenRecord { used: Some(Used { at: now, key: ask.key }), ..record.clone() })
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn fingerprint(byte: u8) -> Fingerprint {
        Fingerprint::from_bytes([byte; 32])
    }

    fn host(name: &str) -> HostName {
        HostName::new(name).unwrap()
    }

    /// A token for compute1 of fleet 1, presented by the key 7.
    struct Case {
        token: JoinToken,
        record: TokenRecord,
    }

    impl Case {
        fn new() -> Self {
            let token = JoinToken::generate(fingerprint(1)).unwrap();
            let record = token.record(host("compute1"), NOW, HOUR);
            Self { token, record }
        }

        fn ask(&self, name: &str, key: u8, now: UnixSeconds) -> Result<Admission, TokenRefused> {
            let host = host(name);
            let ask = Ask { host: &host, key: fingerprint(key) };
            verify(&self.token, Some(&self.record), fingerprint(1), ask, now)
        }
    }

    #[test]
    fn a_token_is_used_once_and_the_same_key_may_ask_again() {
        let mut case = Case::new();
        let Ok(Admission::First(record)) = case.ask("compute1", 7, NOW) else { panic!("refused") };
        assert_eq!(record.used, Some(Used { at: NOW, key: fingerprint(7) }));
        case.record = record;
        assert_eq!(case.ask("compute1", 7, NOW.plus(HOUR / 2)), Ok(Admission::Again));
        let refused = case.ask("compute1", 8, NOW.plus(HOUR / 2)).unwrap_err();
        assert_eq!(refused, TokenRefused::Used { at: NOW, host: host("compute1") });
        assert_eq!(refused.code(), "token-used");
        assert_eq!(case.ask("compute1", 7, NOW.plus(HOUR)).unwrap_err().code(), "token-expired");
    }

    #[test]
    fn a_token_ends_at_its_second() {
        let case = Case::new();
        let end = NOW.plus(HOUR);
        assert!(case.ask("compute1", 7, end.minus(Duration::from_secs(1))).is_ok());
        let refused = case.ask("compute1", 7, end).unwrap_err();
        assert_eq!(refused, TokenRefused::Expired { at: end, host: host("compute1") });
        assert!(refused.to_string().contains("2027-01-15T09:00:00Z"), "{refused}");
    }

    #[test]
    fn a_token_is_for_one_host_of_one_fleet() {
        let case = Case::new();
        let wrong = case.ask("compute2", 7, NOW).unwrap_err();
        assert_eq!(wrong, TokenRefused::WrongHost { of: host("compute1"), asked: host("compute2") });
        let name = host("compute1");
        let ask = Ask { host: &name, key: fingerprint(7) };
        let foreign = verify(&case.token, Some(&case.record), fingerprint(2), ask, NOW).unwrap_err();
        assert_eq!(foreign.code(), "token-foreign");
        assert_eq!(verify(&case.token, None, fingerprint(1), ask, NOW).unwrap_err().code(), "token-unknown");
    }

    #[test]
    fn who_does_not_know_the_secret_learns_nothing() {
        let mut case = Case::new();
        case.record.expires_at = NOW;
        let guessed = JoinToken { id: case.token.id, secret: Secret([0; 16]), authority: fingerprint(1) };
        let id = guessed.id;
        case.token = guessed;
        assert_eq!(case.ask("compute2", 7, NOW), Err(TokenRefused::Unknown { id }));
        // A record that was found under another id is not this token's either.
        let mut other = Case::new();
        other.record.id = id;
        assert_eq!(other.ask("compute1", 7, NOW).unwrap_err().code(), "token-unknown");
    }

    #[test]
    fn a_hash_is_of_the_whole_token() {
        let token = |id, secret| JoinToken {
            id: TokenId::from_bytes([id; 8]),
            secret: Secret([secret; 16]),
            authority: fingerprint(1),
        };
        assert_eq!(token(1, 1).hash(), token(1, 1).hash());
        assert_ne!(token(1, 1).hash(), token(2, 1).hash());
        assert_ne!(token(1, 1).hash(), token(1, 2).hash());
    }

    #[test]
    fn malformed_tokens_say_what_is_wrong_and_repeat_no_secret() {
        let token = Case::new().token.reveal();
        let parts: Vec<&str> = token.split('.').collect();
        let joined = |parts: &[&str]| parts.join(".");
        let cases = [
            (String::new(), MalformedToken::NotAToken),
            ("hunter2".to_owned(), MalformedToken::NotAToken),
            (token.replace("rpk1", "rpk2"), MalformedToken::OtherVersion),
            (joined(&parts[..3]), MalformedToken::Parts { found: 3 }),
            (format!("{}.", *token), MalformedToken::Parts { found: 5 }),
            (joined(&["rpk1", "", parts[2], parts[3]]), MalformedToken::Damaged { part: "id" }),
            (
                joined(&["rpk1", parts[1], &parts[2][1..], parts[3]]),
                MalformedToken::Damaged { part: "secret" },
            ),
            (
                joined(&["rpk1", parts[1], &parts[2][2..], parts[3]]),
                MalformedToken::Damaged { part: "secret" },
            ),
            (
                joined(&["rpk1", parts[1], parts[2], &parts[3][2..]]),
                MalformedToken::Damaged { part: "fingerprint" },
            ),
        ];
        for (text, expected) in cases {
            let refused = text.parse::<JoinToken>().unwrap_err();
            assert_eq!(refused, expected);
            assert!(!refused.to_string().contains(parts[2]));
        }
        let whole: JoinToken = format!("  {}\n", *token).parse().unwrap();
        assert!(!format!("{whole:?}").contains(parts[2]), "Debug shows the secret");
    }

    #[test]
    fn a_record_survives_json_and_holds_no_secret() {
        let case = Case::new();
        let text = serde_json::to_string(&case.record).unwrap();
        assert_eq!(serde_json::from_str::<TokenRecord>(&text).unwrap(), case.record);
        let token = case.token.reveal();
        assert!(!text.contains(token.split('.').nth(2).unwrap()));
    }

    proptest! {
        #[test]
        fn every_token_survives_its_text(id: [u8; 8], secret: [u8; 16], authority: [u8; 32]) {
            let token = JoinToken {
                id: TokenId::from_bytes(id),
                secret: Secret(secret),
                authority: Fingerprint::from_bytes(authority),
            };
            let text = token.reveal();
            let parsed: JoinToken = text.parse().unwrap();
            prop_assert_eq!(parsed.reveal(), text);
            prop_assert_eq!(parsed.hash(), token.hash());
        }

        #[test]
        fn whatever_parses_is_its_own_text(text in "(rpk[0-9]?|[a-z]{0,4})(\\.[0-9a-fA-F]{0,64}){0,5}|\\PC{0,80}") {
            if let Ok(token) = text.parse::<JoinToken>() {
                let shown = token.reveal();
                prop_assert_eq!(shown.as_str(), text.trim());
            }
        }

        #[test]
        fn no_single_damaged_character_is_admitted(at in 0usize..200, to in "[0-9a-zA-Z.]") {
            let case = Case::new();
            let mut text = case.token.reveal().to_string();
            let at = at % text.len();
            prop_assume!(text[at..=at] != to);
            text.replace_range(at..=at, &to);
            if let Ok(token) = text.parse() {
                let damaged = Case { token, record: case.record };
                let code = damaged.ask("compute1", 7, NOW).unwrap_err().code();
                prop_assert!(code == "token-unknown" || code == "token-foreign", "{}", code);
            }
        }
    }
}
