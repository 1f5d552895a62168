//! Who speaks: the certificates of a fleet.
//!
//! This crate owns the fleet's own authority, the join token that admits one host once, the parsing of a
//! peer's certificate into a role, revocation, and the rustls configurations of both sides, whose credentials
//! can be replaced while they serve. It never decides what a role may do beyond "this host" and "at least
//! this level", it never reads a clock (seconds are passed in, TLS takes a `TimeProvider`), and apart from
//! [`files`] it never touches a disk.
//!
//! A life in five calls:
//!
//! 1. `replank init`: [`Authority::create`], then a leaf for the coordinator and one for the first operator.
//! 2. `replank host token compute1`: [`JoinToken::generate`]; the coordinator keeps only the [`TokenRecord`].
//! 3. The agent connects with [`tls::enrolment_client_config`], which trusts nothing but the authority's
//!    fingerprint in the token, and sends a [`Csr`]. The coordinator calls [`token::verify`], then
//!    [`Authority::issue`].
//! 4. From then on [`tls::client_config`] and [`tls::server_config`], both reading a [`CredentialStore`].
//! 5. [`renewal::state`] says when to ask for a new leaf; [`CredentialStore::publish`] puts it into service.
//!
//! Trust rests on the role in the certificate and on nothing else: names in DNS, addresses and what a request
//! asks to be called are never believed.

mod access;
mod authority;
mod credentials;
pub mod files;
mod ids;
mod key;
mod peer;
pub mod renewal;
mod revocation;
mod role;
mod time;
pub mod tls;
pub mod token;

pub use access::AccessRefused;
pub use authority::{Authority, AuthorityCert, AuthorityError, BadAuthority, Issued};
pub use credentials::{BadCredentials, CredentialStore, Credentials};
pub use ids::{BadHex, Fingerprint, Serial};
pub use key::{BadCsr, BadKey, Csr, PrivateKey};
pub use peer::{PeerIdentity, PeerRefused};
pub use revocation::{Revocations, Revoked, RevokedSet};
pub use role::{BadRole, Level, OperatorName, Role};
pub use time::{UnixSeconds, Validity};
pub use token::{JoinToken, TokenRecord, TokenRefused};
