//! The agent's configuration: `/etc/replank/agent.toml`, then each `*.toml` in `/etc/replank/conf.d` in the order of their names, the
//! last word counting.
//!
//! Owns where things are and who the coordinator is. What may be done here is the [`crate::policy`]'s.

use crate::codes;
use crate::host::dirs;
use crate::policy;
use crate::toml_file::{self, BadFile, Source};
use replank_common::ids::HostName;
use serde::Deserialize;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use toml::Spanned;

/// The file; drop-ins are in `conf.d` beside it.
pub const PATH: &str = "/etc/replank/agent.toml";

/// Its name in its directory.
pub const FILE: &str = "agent.toml";

/// The port that a coordinator listens on when its address names none.
pub const COORDINATOR_PORT: u16 = 7443;

/// Where Prometheus finds the metrics.
const METRICS: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 9749);

/// Everything that the agent is told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// `HOST:PORT`; `None` until the host is enrolled or the file says so.
    pub coordinator: Option<Address>,
    pub host: HostName,
    /// Where `agent.toml` lies, and beside it `conf.d`.
    pub directory: PathBuf,
    pub state_directory: PathBuf,
    /// `None`: no metrics are served.
    pub metrics: Option<SocketAddr>,
    pub policy: PathBuf,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    coordinator: Option<Spanned<String>>,
    host: Option<Spanned<String>>,
    state_directory: Option<Spanned<PathBuf>>,
    metrics: Option<Spanned<String>>,
    policy: Option<Spanned<PathBuf>>,
}

/// Where a coordinator is reached: a name or an address, and a port.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Address {
    host: String,
    port: u16,
}

/// Why a text is no address.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{text}` is not an address; write HOST:PORT, such as coordinator.example:{COORDINATOR_PORT} or [2001:db8::1]:{COORDINATOR_PORT}"
)]
pub struct BadAddress {
    text: String,
}

impl Address {
    /// For resolving.
    pub fn pair(&self) -> (&str, u16) {
        (&self.host, self.port)
    }
}

impl std::str::FromStr for Address {
    type Err = BadAddress;

    /// The port may be left out.
    fn from_str(text: &str) -> Result<Self, BadAddress> {
        let bad = || BadAddress { text: text.to_owned() };
        let (host, port) = if let Some(rest) = text.strip_prefix('[') {
            let (host, rest) = rest.split_once(']').ok_or_else(bad)?;
            let _: std::net::Ipv6Addr = host.parse().map_err(|_| bad())?;
            (host, rest.strip_prefix(':'))
        } else {
            match text.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (text, None),
            }
        };
        let port = match port {
            Some(port) => port.parse().ok().filter(|port| *port != 0).ok_or_else(bad)?,
            None if text.ends_with(']') || !text.starts_with('[') => COORDINATOR_PORT,
            None => return Err(bad()),
        };
        let named = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_');
        if host.is_empty() || !(text.starts_with('[') || host.bytes().all(named)) {
            return Err(bad());
        }
        Ok(Self { host: host.to_owned(), port })
    }
}

impl std::fmt::Display for Address {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl TryFrom<String> for Address {
    type Error = BadAddress;
    fn try_from(text: String) -> Result<Self, BadAddress> {
        text.parse()
    }
}

impl From<Address> for String {
    fn from(address: Address) -> String {
        address.to_string()
    }
}

impl Config {
    /// Reads `path` and the drop-ins beside it. A file that is absent says nothing.
    ///
    /// # Errors
    /// [`BadFile`] with the line and column of the first mistake, or when this machine has no usable name and the files give none.
    pub fn load(path: &Path) -> Result<Self, BadFile> {
        let mut config = Self {
            coordinator: None,
            host: HostName::new("localhost").map_err(|error| whole(path, error.to_string()))?,
            directory: path.parent().unwrap_or(Path::new("/")).to_owned(),
            state_directory: PathBuf::from(dirs::STATE),
            metrics: Some(METRICS),
            policy: PathBuf::from(policy::PATH),
        };
        let mut named = false;
        for file in files(path)? {
            if let Some(text) = toml_file::read(&file, codes::CONFIG)? {
                named |= config.add(&Source { path: &file, text: &text, code: codes::CONFIG })?;
            }
        }
        if !named {
            config.host = machine_name().map_err(|why| {
                whole(path, format!("this machine's name cannot name a host of the fleet: {why}"))
            })?;
        }
        Ok(config)
    }

    /// Takes over what one file says; returns whether it names the host.
    fn add(&mut self, source: &Source<'_>) -> Result<bool, BadFile> {
        let raw: Raw = source.parse()?;
        if let Some(text) = raw.coordinator {
            let address = text.get_ref().parse::<Address>();
            self.coordinator =
                Some(address.map_err(|error| source.mistake(text.span(), error.to_string(), "correct it"))?);
        }
        let named = raw.host.is_some();
        if let Some(text) = raw.host {
            self.host = HostName::new(text.get_ref().as_str()).map_err(|error| {
                source.mistake(
                    text.span(),
                    error.to_string(),
                    "write the name that the fleet file gives this host",
                )
            })?;
        }
        if let Some(path) = raw.state_directory {
            self.state_directory = absolute(source, path)?;
        }
        if let Some(path) = raw.policy {
            self.policy = absolute(source, path)?;
        }
        if let Some(text) = raw.metrics {
            self.metrics = match text.get_ref().as_str() {
                "off" => None,
                address => Some(address.parse().map_err(|_| {
                    source.mistake(
                        text.span(),
                        format!("`{address}` is not an IP address with a port"),
                        format!("write one such as `{METRICS}`, or `off`"),
                    )
                })?),
            };
        }
        Ok(named)
    }
}

fn absolute(source: &Source<'_>, path: Spanned<PathBuf>) -> Result<PathBuf, BadFile> {
    if path.get_ref().is_absolute() {
        return Ok(path.into_inner());
    }
    let problem = format!("`{}` is not an absolute path", path.get_ref().display());
    Err(source.mistake(path.span(), problem, "write the whole path, from `/` on"))
}

fn whole(path: &Path, problem: String) -> BadFile {
    BadFile {
        code: codes::CONFIG,
        path: path.to_owned(),
        place: None,
        problem,
        remedy: format!("set `host` in {}", path.display()),
    }
}

/// The file itself, then the drop-ins in the order of their names.
fn files(path: &Path) -> Result<Vec<PathBuf>, BadFile> {
    let mut files = vec![path.to_owned()];
    let folder = path.parent().unwrap_or(Path::new("/")).join("conf.d");
    let failed = |error: std::io::Error| BadFile {
        code: codes::CONFIG,
        path: folder.clone(),
        place: None,
        problem: format!("failed to list the directory: {error}"),
        remedy: "check its permissions".to_owned(),
    };
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(failed(error)),
    };
    let mut drop_ins = Vec::new();
    for entry in entries {
        let file = entry.map_err(failed)?.path();
        if file.extension().is_some_and(|extension| extension == "toml") {
            drop_ins.push(file);
        }
    }
    drop_ins.sort();
    files.extend(drop_ins);
    Ok(files)
}

/// The machine's own name, in lower case.
fn machine_name() -> Result<HostName, String> {
    let raw = nix::unistd::gethostname().map_err(|error| error.to_string())?;
    let name = raw.into_string().map_err(|_| "it is not text".to_owned())?;
    HostName::new(name.to_ascii_lowercase()).map_err(|error| error.to_string())
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    #[test]
    fn addresses_are_read() {
        for (text, shown) in [
            ("coordinator", "coordinator:7443"),
            ("coordinator.example:1234", "coordinator.example:1234"),
            ("10.77.0.1:7443", "10.77.0.1:7443"),
            ("[2001:db8::1]:7443", "[2001:db8::1]:7443"),
            ("[2001:db8::1]", "[2001:db8::1]:7443"),
        ] {
            assert_eq!(text.parse::<Address>().unwrap().to_string(), shown);
        }
        for text in
            ["", ":7443", "a:", "a:0", "a:99999", "a b", "https://a", "[::1", "[::1]x", "[x]:1", "a:1:2"]
        {
            assert!(text.parse::<Address>().is_err(), "{text}");
        }
    }

    #[test]
    fn drop_ins_have_the_last_word() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("agent.toml");
        let absent = Config::load(&path).unwrap();
        assert_eq!(absent.coordinator, None);
        assert_eq!(absent.metrics, Some(METRICS));
        assert_eq!(absent.state_directory, Path::new("/var/lib/replank"));

        std::fs::write(&path, "coordinator = \"one:1\"\nhost = \"compute1\"\nmetrics = \"off\"\n").unwrap();
        std::fs::create_dir(folder.path().join("conf.d")).unwrap();
        let drop_in =
            |name: &str, text: &str| std::fs::write(folder.path().join("conf.d").join(name), text).unwrap();
        drop_in("20-site.toml", "coordinator = \"three:3\"\n");
        drop_in("10-enrolled.toml", "coordinator = \"two:2\"\nhost = \"compute2\"\n");
        drop_in("30-ignored.toml.rpmsave", "coordinator = 4\n");
        let config = Config::load(&path).unwrap();
        assert_eq!(config.coordinator.unwrap().to_string(), "three:3");
        assert_eq!(config.host.as_str(), "compute2");
        assert_eq!(config.metrics, None);

        drop_in("40-bad.toml", "\nmetrics = \"localhost\"\n");
        let text = Config::load(&path).unwrap_err().to_string();
        assert!(text.contains("conf.d/40-bad.toml:2:11: RP4001 `localhost` is not an IP address"), "{text}");
        drop_in("40-bad.toml", "host = \"Compute 1\"\n");
        let text = Config::load(&path).unwrap_err().to_string();
        assert!(text.contains("40-bad.toml:1:8: RP4001 `Compute 1` is not a host name"), "{text}");
        drop_in("40-bad.toml", "coordnator = \"x\"\n");
        let text = Config::load(&path).unwrap_err().to_string();
        assert!(text.contains("40-bad.toml:1:1: RP4001 unknown field"), "{text}");
    }

    /// The packaged file as it is, and with every default uncommented.
    #[test]
    fn the_packaged_file_means_the_defaults() {
        let packaged = include_str!("../../packaging/agent.toml");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(FILE);
        let load = |text: &str| {
            std::fs::write(&path, text).unwrap();
            Config::load(&path).unwrap()
        };
        let default = load("");
        assert_eq!(load(packaged), default);
        let said = load(&uncommented(packaged));
        let address = format!("coordinator.example:{COORDINATOR_PORT}");
        assert_eq!(said.coordinator.as_ref().map(ToString::to_string), Some(address));
        assert_eq!(said.host.as_str(), "compute1");
        assert_eq!(Config { coordinator: None, host: default.host.clone(), ..said }, default);
    }

    /// With the settings that are commented out, told from prose by having no blank after the `#`.
    pub(crate) fn uncommented(text: &str) -> String {
        let lines = text.lines().map(|line| match line.strip_prefix('#') {
            Some(setting) if setting.starts_with(|c: char| c.is_ascii_lowercase()) => setting,
            Some(_) | None => line,
        });
        lines.map(|line| format!("{line}\n")).collect()
    }
}
