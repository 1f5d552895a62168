//! What everybody else sees of the links.

use super::registry::{self, Registry};
use crate::codes;
use crate::store::StoreError;
use replank_common::UnixMs;
use replank_common::census::Census;
use replank_common::ids::{Epoch, HostName};
use replank_common::reading::{Reading, ReadingRequest};
use replank_core::run::{Command, ReadingWant};
use replank_core::runs::{LinkNumber, Outlet};
use replank_identity::OperatorName;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tonic::{Code, Status};

/// Asks the links. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Handle {
    pub(super) registry: Arc<Registry>,
}

/// What this process has seen of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LinkSeen {
    pub linked: bool,
    /// When the host was last heard; `None`: not since this coordinator started.
    pub heard_at_ms: Option<UnixMs>,
    /// Of the last link.
    pub agent_version: String,
    pub observe_only: bool,
    /// The newest of the last link, also after it went down.
    pub census: Option<Arc<Census>>,
    /// When that census came, by this coordinator's clock.
    pub census_at_ms: Option<UnixMs>,
}

/// One host that ever had a certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostStatus {
    pub name: HostName,
    pub seen: LinkSeen,
    pub revoked: bool,
    pub certificate_expires_at_ms: UnixMs,
}

/// A join token, to be shown once.
#[derive(Debug)]
pub struct NewToken {
    /// In the clear.
    pub text: String,
    pub expires_at_ms: UnixMs,
}

/// Why a request about hosts is not granted.
#[derive(Debug, thiserror::Error)]
pub enum LinksError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error("there is no host {host}; `replank host list` shows them")]
    UnknownHost { host: HostName },
    #[error("a token cannot live for {seconds} s; give it between {} s and {} days", TOKEN_LIFE_MIN.as_secs(), TOKEN_LIFE_MAX.as_secs() / 86_400)]
    Lifetime { seconds: u64 },
    #[error("failed to make a join token: the system has no randomness")]
    NoRandomness,
}

/// Bounds on the life of a join token.
pub const TOKEN_LIFE_MIN: Duration = Duration::from_secs(1);
pub const TOKEN_LIFE_MAX: Duration = Duration::from_secs(30 * 86_400);

impl LinksError {
    /// The code whose page tells more.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Store(error) => error.code(),
            Self::UnknownHost { .. } => codes::HOST_UNKNOWN,
            Self::Lifetime { .. } => codes::BAD_REQUEST,
            Self::NoRandomness => codes::AUTHORITY,
        }
    }
}

impl From<LinksError> for Status {
    fn from(error: LinksError) -> Self {
        let code = match &error {
            LinksError::UnknownHost { .. } => Code::NotFound,
            LinksError::Lifetime { .. } => Code::InvalidArgument,
            LinksError::Store(StoreError::Closed) => Code::Unavailable,
            LinksError::Store(_) | LinksError::NoRandomness => Code::Internal,
        };
        Self::new(code, format!("{}: {error}", error.code()))
    }
}

/// Why there is no reading of a host. Nothing is known of it then.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    #[error("host {host} is not linked; see that its agent runs and reaches the coordinator")]
    NotLinked { host: HostName },
    #[error("host {host} did not answer within {deadline_ms} ms")]
    NoAnswer { host: HostName, deadline_ms: u64 },
    #[error("the link of host {host} broke before it answered")]
    LinkBroke { host: HostName },
}

impl Handle {
    /// Every host that ever had a certificate, by name.
    ///
    /// # Errors
    /// The store's.
    pub async fn hosts(&self) -> Result<Vec<HostStatus>, LinksError> {
        self.registry.hosts().await
    }

    /// Every host that this process has seen, without asking the store.
    pub fn seen(&self) -> BTreeMap<HostName, LinkSeen> {
        self.registry.seen()
    }

    /// The hosts that are refused because they obeyed another coordinator, and its epoch.
    pub fn obey_another(&self) -> BTreeMap<HostName, Epoch> {
        self.registry.obey_another()
    }

    /// Revokes a host: its certificates and tokens are worth nothing from here on, and its link is cut.
    ///
    /// # Errors
    /// [`LinksError::UnknownHost`].
    pub async fn revoke(&self, host: &HostName, by: &OperatorName) -> Result<(), LinksError> {
        self.registry.revoke(host, by).await
    }

    /// Makes a join token for one host. Of a revoked host this is how it is let in again.
    ///
    /// # Errors
    /// [`LinksError::Lifetime`].
    pub async fn create_token(&self, host: &HostName, lifetime: Duration) -> Result<NewToken, LinksError> {
        self.registry.create_token(host, lifetime).await
    }

    /// Asks one host, outside of any run.
    ///
    /// # Errors
    /// [`AskError`]. An agent that cannot measure answers `CannotTell`, which is not an error here.
    pub async fn ask(
        &self,
        host: &HostName,
        request: ReadingRequest,
        deadline: Duration,
    ) -> Result<Reading, AskError> {
        self.registry.ask(host, request, deadline).await
    }

    /// Asks many hosts at once, all within one deadline.
    pub async fn ask_all(
        &self,
        hosts: impl IntoIterator<Item = HostName>,
        request: ReadingRequest,
        deadline: Duration,
    ) -> BTreeMap<HostName, Result<Reading, AskError>> {
        let mut asking = tokio::task::JoinSet::new();
        for host in hosts {
            let (registry, request) = (Arc::clone(&self.registry), request.clone());
            asking.spawn(async move {
                let answer = registry.ask(&host, request, deadline).await;
                (host, answer)
            });
        }
        asking.join_all().await.into_iter().collect()
    }
}

/// Queues what a run wants of a host, for one of its links.
impl Outlet for Handle {
    fn command(&self, link: LinkNumber, command: &Command) {
        self.registry.send(&command.host, link, registry::commanding(command));
    }

    fn question(&self, link: LinkNumber, want: &ReadingWant) {
        self.registry.send(&want.host, link, registry::asking(want));
    }
}
