//! `replank init`: a new authority, the coordinator's certificate, the first operator's, and the settings.
//!
//! Everything is made beside the folder's place and moved there in one rename, so that a crash leaves no half folder, and a folder that
//! holds anything is never written to.

use crate::codes;
use crate::config::{Folder, Heartbeat, Lifetimes, OperatorSettings, Settings};
use crate::store::{Database, StoreError};
use replank_common::UnixMs;
use replank_identity::files::{self, FileError, PemPair};
use replank_identity::{
    Authority, AuthorityError, BadAuthority, BadKey, Fingerprint, Issued, Level, OperatorName, PrivateKey,
    Role, UnixSeconds,
};
use std::net::SocketAddr;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// What an operator may choose.
#[derive(Debug, Clone)]
pub struct Options {
    pub listen: SocketAddr,
    pub metrics: SocketAddr,
    /// DNS names and IP addresses that agents and operators will use; the first one goes into `operator.toml`.
    pub names: Vec<String>,
    /// Whose certificate of level admin is made.
    pub operator: OperatorName,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from(([0, 0, 0, 0], 7443)),
            metrics: SocketAddr::from(([127, 0, 0, 1], 9748)),
            names: Vec::new(),
            operator: OperatorName::new("admin").expect("`admin` is an operator's name"),
        }
    }
}

/// What was made.
#[derive(Debug, Clone)]
pub struct Made {
    pub dir: PathBuf,
    pub authority: Fingerprint,
    pub operator: OperatorName,
    /// `HOST:PORT` in `operator.toml`.
    pub coordinator: String,
    /// Every name in the coordinator's certificate.
    pub names: Vec<String>,
    /// Whose the folder is, when that is not who made it.
    pub given_to: Option<Owner>,
}

/// A user and a group, by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    pub user: u32,
    pub group: u32,
}

/// Why there is no new coordinator.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    #[error(
        "`{}` exists and is not an empty folder; choose another, nothing is ever overwritten", .dir.display()
    )]
    Taken { dir: PathBuf },
    #[error("failed to make the folder `{}`; check the permissions above it", .dir.display())]
    Folder { dir: PathBuf, source: std::io::Error },
    #[error(
        "failed to give the new folder to user {}, who owns `{}`; run this as that user or as root", .owner.user, .dir.display()
    )]
    Owner { dir: PathBuf, owner: Owner, source: std::io::Error },
    #[error(transparent)]
    File(#[from] FileError),
    #[error("failed to make the authority")]
    Authority(#[from] BadAuthority),
    #[error("failed to make a key")]
    Key(#[from] BadKey),
    #[error("failed to make a certificate: {0}")]
    Issue(AuthorityError),
    #[error("failed to write settings as TOML: {why}")]
    Settings { why: String },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl From<AuthorityError> for InitError {
    fn from(error: AuthorityError) -> Self {
        Self::Issue(error)
    }
}

impl InitError {
    /// The code whose page tells more.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Taken { .. } => codes::FOLDER_TAKEN,
            Self::Folder { .. } | Self::Owner { .. } | Self::File(_) => codes::FOLDER_FILE,
            Self::Authority(_) | Self::Key(_) | Self::Issue(_) => codes::AUTHORITY,
            Self::Settings { .. } => codes::SETTINGS,
            Self::Store(error) => error.code(),
        }
    }
}

/// Makes a coordinator's folder at `dir`, which must not exist or be empty.
///
/// A folder that is there and empty keeps its owner, and all that is made in it is that owner's: the package makes one for the user that
/// the coordinator runs as, and root need not change owners afterwards.
///
/// # Errors
/// [`InitError`]; `dir` is as it was then.
pub fn run(dir: &Path, options: &Options, now_ms: UnixMs) -> Result<Made, InitError> {
    let failed = |source| InitError::Folder { dir: dir.to_owned(), source };
    match std::fs::read_dir(dir).map(|mut entries| entries.next().is_none()) {
        Ok(true) => {}
        Ok(false) => return Err(InitError::Taken { dir: dir.to_owned() }),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotADirectory => {
            return Err(InitError::Taken { dir: dir.to_owned() });
        }
        Err(error) => return Err(failed(error)),
    }
    let parent = match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        Some(_) | None => Path::new("."),
    };
    std::fs::create_dir_all(parent).map_err(failed)?;
    // For the owner alone whatever the umask says: it holds keys. Removed again when anything below fails.
    let making = tempfile::Builder::new()
        .prefix(".replank-init-")
        .permissions(PermissionsExt::from_mode(0o700))
        .tempdir_in(parent)
        .map_err(failed)?;
    let mut made = fill(&Folder::new(making.path()), dir, options, now_ms)?;
    made.given_to = give(making.path(), dir)?;
    let finished = making.keep();
    // Refused by the system when somebody put something there meanwhile.
    if let Err(error) = std::fs::rename(&finished, dir) {
        // What cannot be moved must not stay either: it holds keys.
        drop(std::fs::remove_dir_all(&finished));
        return Err(failed(error));
    }
    std::fs::File::open(parent).and_then(|folder| folder.sync_all()).map_err(failed)?;
    Ok(made)
}

/// Gives the finished folder to the owner of the empty one that it replaces.
fn give(finished: &Path, dir: &Path) -> Result<Option<Owner>, InitError> {
    let failed = |source| InitError::Folder { dir: dir.to_owned(), source };
    let owner = |path: &Path| {
        std::fs::symlink_metadata(path).map(|meta| Owner { user: meta.uid(), group: meta.gid() })
    };
    let wanted = match owner(dir) {
        Ok(wanted) => wanted,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(failed(error)),
    };
    if owner(finished).map_err(failed)? == wanted {
        return Ok(None);
    }
    let mut all = vec![finished.to_owned()];
    for entry in std::fs::read_dir(finished).map_err(failed)? {
        all.push(entry.map_err(failed)?.path());
    }
    for path in all {
        std::os::unix::fs::lchown(&path, Some(wanted.user), Some(wanted.group))
            .map_err(|source| InitError::Owner { dir: dir.to_owned(), owner: wanted, source })?;
    }
    Ok(Some(wanted))
}

fn fill(folder: &Folder, dir: &Path, options: &Options, now_ms: UnixMs) -> Result<Made, InitError> {
    let now = UnixSeconds::from_ms(now_ms);
    let lifetimes = Lifetimes::default();
    let authority = Authority::create(now)?;
    files::write_public(&folder.authority(), &authority.cert().to_pem())?;
    files::write_private(&folder.authority_key(), &authority.key_pem())?;

    let mut names = options.names.clone();
    for own in ["localhost", "127.0.0.1", "::1"] {
        if !names.iter().any(|name| name == own) {
            names.push(own.to_owned());
        }
    }
    let server_names: Vec<&str> = names.iter().map(String::as_str).collect();
    let key = PrivateKey::generate()?;
    let own = authority.issue_coordinator(&key.request()?, &server_names, lifetimes.coordinator(), now)?;
    write_identity(&folder.identity(), &key, &own)?;

    let key = PrivateKey::generate()?;
    let role = Role::Operator { name: options.operator.clone(), level: Level::Admin };
    let operator = authority.issue(&key.request()?, &role, lifetimes.operator(), now)?;
    write_identity(&folder.operator(), &key, &operator)?;

    let coordinator = address(&names[0], options.listen.port());
    let settings = Settings {
        listen: options.listen,
        metrics: options.metrics,
        names: names.clone(),
        lifetimes,
        heartbeat: Heartbeat::default(),
    };
    let operator_settings = OperatorSettings {
        coordinator: coordinator.clone(),
        authority: "authority.pem".into(),
        identity: "operator.pem".into(),
    };
    let mut database = Database::open(&folder.database())?;
    database.record_issued(&[own, operator], now_ms)?;
    drop(database);
    files::write_public(&folder.operator_settings(), &to_toml(&operator_settings)?)?;
    files::write_public(&folder.settings(), &to_toml(&settings)?)?;
    Ok(Made {
        dir: dir.to_owned(),
        authority: authority.fingerprint(),
        operator: options.operator.clone(),
        coordinator,
        names,
        given_to: None,
    })
}

/// Writes a key and its new certificate as one file.
pub(crate) fn write_identity(path: &Path, key: &PrivateKey, issued: &Issued) -> Result<(), FileError> {
    files::write_identity(path, &PemPair { chain: issued.to_pem(), key: key.to_pem() })
}

fn address(name: &str, port: u16) -> String {
    if name.contains(':') { format!("[{name}]:{port}") } else { format!("{name}:{port}") }
}

fn to_toml<T: serde::Serialize>(value: &T) -> Result<String, InitError> {
    toml::to_string(value).map_err(|error| InitError::Settings { why: error.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW_MS: UnixMs = 1_800_000_000_000;

    #[test]
    fn a_folder_is_made_once_with_private_keys() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("coordinator");
        let options = Options { names: vec!["ctl.example".to_owned()], ..Options::default() };
        let made = run(&dir, &options, NOW_MS).unwrap();
        assert_eq!(made.coordinator, "ctl.example:7443");
        let folder = Folder::new(&dir);
        for private in [folder.authority_key(), folder.identity(), folder.operator()] {
            assert_eq!(std::fs::metadata(&private).unwrap().mode() & 0o777, 0o600, "{private:?}");
        }
        assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
        assert_eq!(Settings::read(&folder.settings()).unwrap().names[0], "ctl.example");
        let key = std::fs::read(folder.authority_key()).unwrap();

        let again = run(&dir, &options, NOW_MS).unwrap_err();
        assert!(matches!(again, InitError::Taken { .. }), "{again}");
        assert_eq!(std::fs::read(folder.authority_key()).unwrap(), key);
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 1, "nothing else is left behind");
    }

    /// Only root may give files away.
    #[test]
    fn an_empty_folder_keeps_its_owner() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("coordinator");
        std::fs::create_dir(&dir).unwrap();
        let own = run(&dir, &Options::default(), NOW_MS).unwrap();
        assert_eq!(own.given_to, None);

        let dir = place.path().join("packaged");
        std::fs::create_dir(&dir).unwrap();
        let owner = Owner { user: 54_321, group: 54_322 };
        if std::os::unix::fs::chown(&dir, Some(owner.user), Some(owner.group)).is_err() {
            return;
        }
        let made = run(&dir, &Options::default(), NOW_MS).unwrap();
        assert_eq!(made.given_to, Some(owner));
        let inside = std::fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().path());
        for path in inside.chain([dir.clone()]) {
            let meta = std::fs::metadata(&path).unwrap();
            assert_eq!((meta.uid(), meta.gid()), (owner.user, owner.group), "{path:?}");
        }
        assert_eq!(std::fs::metadata(&dir).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_bad_name_leaves_nothing() {
        let place = tempfile::tempdir().unwrap();
        let dir = place.path().join("coordinator");
        let options = Options { names: vec!["not a name".to_owned()], ..Options::default() };
        assert!(matches!(run(&dir, &options, NOW_MS), Err(InitError::Issue(_))));
        assert_eq!(std::fs::read_dir(place.path()).unwrap().count(), 0);
    }
}
