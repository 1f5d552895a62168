//! The operator's settings: which coordinator, whom to believe, and who asks.

use super::failure::{Failure, chain};
use crate::config::OperatorSettings;
use replank_core::gate::duration;
use replank_identity::files;
use replank_identity::{AuthorityCert, CredentialStore, Credentials, PrivateKey, UnixSeconds};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// In the working directory.
const HERE: &str = "operator.toml";
const SYSTEM: &str = "/etc/replank/operator.toml";

/// A certificate that ends sooner is told of with every command.
const WARN_BELOW: Duration = Duration::from_secs(30 * 86_400);

/// Everything that a connection needs.
#[derive(Debug)]
pub struct Operator {
    /// `HOST:PORT`.
    pub coordinator: String,
    pub credentials: Arc<CredentialStore>,
    /// Where the certificate of the fleet's authority is.
    pub authority: PathBuf,
    /// Where the operator's key and certificate are.
    pub identity: PathBuf,
}

/// Finds and reads the settings and the identity that they name. `named`: by `--config` or `REPLANK_CONFIG`.
///
/// # Errors
/// [`Failure::Settings`], [`Failure::Identity`].
pub fn load(named: Option<&Path>) -> Result<Operator, Failure> {
    let path = find(named)?;
    let settings = read(&path)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let (authority, identity) = (folder.join(&settings.authority), folder.join(&settings.identity));
    let credentials = CredentialStore::new(credentials(&authority, &identity)?);
    Ok(Operator { coordinator: settings.coordinator, credentials, authority, identity })
}

impl Operator {
    /// What to say of a certificate that ends soon.
    pub fn warning(&self, now: UnixSeconds) -> Option<String> {
        let until = self.credentials.current().identity().validity.not_after;
        let left_s = until.0.saturating_sub(now.0);
        (left_s < WARN_BELOW.as_secs()).then(|| {
            format!(
                "warning: your certificate ends in {} (at {until}); get a new one: `replank operator renew`",
                duration(left_s.saturating_mul(1_000))
            )
        })
    }
}

fn find(named: Option<&Path>) -> Result<PathBuf, Failure> {
    if let Some(path) = named {
        return Ok(path.to_owned());
    }
    [HERE, SYSTEM].into_iter().map(PathBuf::from).find(|path| path.exists()).ok_or_else(|| {
        Failure::Settings {
            what: format!("there is neither ./{HERE} nor {SYSTEM}"),
            remedy: "name the settings that `replank init` made with --config or REPLANK_CONFIG".to_owned(),
        }
    })
}

fn read(path: &Path) -> Result<OperatorSettings, Failure> {
    let shown = path.display();
    let text = std::fs::read_to_string(path).map_err(|error| Failure::Settings {
        what: format!("failed to read the settings `{shown}`: {error}"),
        remedy: "name the settings that `replank init` made with --config or REPLANK_CONFIG".to_owned(),
    })?;
    let settings: OperatorSettings = toml::from_str(&text).map_err(|error| Failure::Settings {
        what: format!("the settings `{shown}` are not in their form: {}", error.message()),
        remedy: "they have the keys coordinator, authority and identity".to_owned(),
    })?;
    match settings.coordinator.rsplit_once(':') {
        Some((host, port)) if !host.is_empty() && port.parse::<u16>().is_ok() => Ok(settings),
        Some(_) | None => Err(Failure::Settings {
            what: format!("in `{shown}`, coordinator = \"{}\" is not an address", settings.coordinator),
            remedy: "write it as HOST:PORT".to_owned(),
        }),
    }
}

fn credentials(authority: &Path, identity: &Path) -> Result<Credentials, Failure> {
    let failed = |path: &Path, error: &dyn std::error::Error| {
        Failure::Identity {
        what: format!("the certificate `{}` cannot be used: {}", path.display(), chain(error)),
        remedy: "renew it before it ends (`replank operator renew`) or have an admin make you a new one, and check the paths in operator.toml".to_owned(),
    }
    };
    let cert = files::read_certificate(authority).map_err(|error| failed(authority, &error))?;
    let cert = AuthorityCert::from_pem(&cert).map_err(|error| failed(authority, &error))?;
    let pair = files::read_identity(identity).map_err(|error| failed(identity, &error))?;
    let key = PrivateKey::from_pem(&pair.key).map_err(|error| failed(identity, &error))?;
    Credentials::new(&pair.chain, &key, &cert, now()).map_err(|error| failed(identity, &error))
}

/// The wall clock, by which certificates are judged.
pub fn now() -> UnixSeconds {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixSeconds(since.as_secs())
}
