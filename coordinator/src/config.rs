//! The coordinator's folder: which files it has, and `coordinator.toml`.

use crate::codes;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Where everything is. All of it must be restored together from one backup.
#[derive(Debug, Clone)]
pub struct Folder {
    root: PathBuf,
}

impl Folder {
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    pub fn settings(&self) -> PathBuf {
        self.root.join("coordinator.toml")
    }

    pub fn authority(&self) -> PathBuf {
        self.root.join("authority.pem")
    }

    /// The one secret that makes certificates; 0600.
    pub fn authority_key(&self) -> PathBuf {
        self.root.join("authority.key")
    }

    /// The coordinator's own key and certificate.
    pub fn identity(&self) -> PathBuf {
        self.root.join("coordinator.pem")
    }

    /// The first operator's key and certificate, of level admin.
    pub fn operator(&self) -> PathBuf {
        self.root.join("operator.pem")
    }

    /// What `replank` reads to find and believe the coordinator.
    pub fn operator_settings(&self) -> PathBuf {
        self.root.join("operator.toml")
    }

    pub fn database(&self) -> PathBuf {
        self.root.join("replank.db")
    }

    /// Locked by the coordinator that uses the folder, for as long as it lives.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }
}

/// `coordinator.toml`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Where agents and operators connect.
    pub listen: SocketAddr,
    /// Where Prometheus reads `/metrics`, without TLS.
    pub metrics: SocketAddr,
    /// DNS names and IP addresses in the coordinator's certificate.
    pub names: Vec<String>,
    #[serde(default)]
    pub lifetimes: Lifetimes,
    #[serde(default)]
    pub heartbeat: Heartbeat,
}

/// How long certificates live, in days.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Lifetimes {
    pub host_days: u32,
    pub operator_days: u32,
    pub coordinator_days: u32,
}

impl Default for Lifetimes {
    fn default() -> Self {
        Self { host_days: 90, operator_days: 365, coordinator_days: 365 }
    }
}

impl Lifetimes {
    pub fn host(&self) -> Duration {
        days(self.host_days)
    }

    pub fn operator(&self) -> Duration {
        days(self.operator_days)
    }

    pub fn coordinator(&self) -> Duration {
        days(self.coordinator_days)
    }
}

fn days(count: u32) -> Duration {
    Duration::from_secs(u64::from(count) * 86_400)
}

/// How often each side of a link says that it lives, and when a silent link is given up. Milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Heartbeat {
    pub interval_ms: u32,
    pub silence_ms: u32,
}

impl Default for Heartbeat {
    fn default() -> Self {
        Self { interval_ms: 1_000, silence_ms: 5_000 }
    }
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    #[error(
        "failed to read the settings `{}`; run `replank init`, or restore the folder from a backup", .path.display()
    )]
    Read { path: PathBuf, source: std::io::Error },
    #[error("the settings `{}` are not in their form: {why}; mend the line", .path.display())]
    Form { path: PathBuf, why: String },
    #[error("in the settings `{}`, {why}", .path.display())]
    Range { path: PathBuf, why: &'static str },
}

impl SettingsError {
    /// The code whose page tells more.
    pub fn code(&self) -> &'static str {
        codes::SETTINGS
    }
}

impl Settings {
    /// # Errors
    /// [`SettingsError`] names the file and the line.
    pub fn read(path: &Path) -> Result<Self, SettingsError> {
        let text = std::fs::read_to_string(path)
            .map_err(|source| SettingsError::Read { path: path.to_owned(), source })?;
        let settings: Self = toml::from_str(&text)
            .map_err(|error| SettingsError::Form { path: path.to_owned(), why: error.to_string() })?;
        settings.check().map_err(|why| SettingsError::Range { path: path.to_owned(), why })?;
        Ok(settings)
    }

    fn check(&self) -> Result<(), &'static str> {
        let Lifetimes { host_days, operator_days, coordinator_days } = self.lifetimes;
        if [host_days, operator_days, coordinator_days].contains(&0) {
            return Err("a lifetime must be at least one day");
        }
        let Heartbeat { interval_ms, silence_ms } = self.heartbeat;
        if !(100..=60_000).contains(&interval_ms) {
            return Err("heartbeat.interval_ms must be between 100 and 60000");
        }
        if silence_ms / 3 < interval_ms {
            return Err("heartbeat.silence_ms must be at least three times heartbeat.interval_ms");
        }
        Ok(())
    }
}

/// `operator.toml`: how `replank` reaches a coordinator. Paths are relative to the file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OperatorSettings {
    /// `HOST:PORT`.
    pub coordinator: String,
    /// The certificate of the fleet's authority.
    pub authority: PathBuf,
    /// The operator's key and certificate.
    pub identity: PathBuf,
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "listen = '0.0.0.0:7443'\nmetrics = '127.0.0.1:9748'\nnames = ['localhost']\n";

    fn read(text: &str) -> Result<Settings, SettingsError> {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), text).unwrap();
        Settings::read(file.path())
    }

    #[test]
    fn settings_have_defaults_and_survive_their_text() {
        let settings = read(TEXT).unwrap();
        assert_eq!(settings.heartbeat, Heartbeat { interval_ms: 1_000, silence_ms: 5_000 });
        assert_eq!(read(&toml::to_string(&settings).unwrap()).unwrap(), settings);
    }

    #[test]
    fn settings_out_of_range_and_unknown_ones_are_refused() {
        let bad = format!("{TEXT}[heartbeat]\ninterval_ms = 2000\nsilence_ms = 5000\n");
        assert!(read(&bad).unwrap_err().to_string().contains("three times"));
        assert!(read(&format!("{TEXT}[lifetimes]\nhost_days = 0\n")).is_err());
        assert!(read(&format!("lissen = 1\n{TEXT}")).unwrap_err().to_string().contains("lissen"));
    }
}
