//! The files that an operator hands in and gets back.

use super::failure::Failure;
use replank_common::ids::PlanId;
use replank_core::catalog::Catalog;
use replank_core::fleet_file::{self, FleetFile};
use replank_core::inventory::Inventory;
use replank_core::plan::Plan;
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// A plan that was read and proved unchanged, with its bytes.
#[derive(Debug)]
pub struct PlanFile {
    pub id: PlanId,
    pub plan: Plan,
    pub bytes: Vec<u8>,
}

/// Reads a whole file; `what` names it in the error.
///
/// # Errors
/// [`Failure::Read`].
pub fn read(what: &'static str, path: &Path) -> Result<Vec<u8>, Failure> {
    std::fs::read(path).map_err(|source| Failure::Read { what, path: path.to_owned(), source })
}

fn read_text(what: &'static str, path: &Path) -> Result<String, Failure> {
    let not_text = |_| io::Error::new(io::ErrorKind::InvalidData, "it is not text in UTF-8");
    String::from_utf8(read(what, path)?).map_err(not_text).map_err(|source| Failure::Read {
        what,
        path: path.to_owned(),
        source,
    })
}

/// # Errors
/// The file cannot be read, or it has mistakes: all of them at once.
pub fn fleet(path: &Path) -> Result<FleetFile, Failure> {
    let text = read_text("fleet file", path)?;
    fleet_file::parse(&path.display().to_string(), &text).map_err(Failure::FleetFile)
}

/// # Errors
/// The file cannot be read or is not an inventory.
pub fn inventory(path: &Path) -> Result<Inventory, Failure> {
    let bytes = read("inventory", path)?;
    Inventory::from_bytes(&bytes).map_err(|source| Failure::Inventory { path: path.to_owned(), source })
}

/// The built-in catalog with the operator's own hop files.
///
/// # Errors
/// A file that cannot be read or that is not a hop.
pub fn catalog(paths: &[PathBuf]) -> Result<Catalog, Failure> {
    let mut extra = Vec::with_capacity(paths.len());
    for path in paths {
        extra.push((path.display().to_string(), read_text("catalog file", path)?));
    }
    let extra: Vec<(&str, &str)> = extra.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    Ok(Catalog::load(&extra)?)
}

/// # Errors
/// The file cannot be read, is not a plan, or was changed after it was made.
pub fn plan(path: &Path) -> Result<PlanFile, Failure> {
    let bytes = read("plan file", path)?;
    plan_of(path, bytes)
}

/// The plan in `bytes` that came from `path`, which may be the coordinator's name of it.
///
/// # Errors
/// As [`plan`].
pub fn plan_of(path: &Path, bytes: Vec<u8>) -> Result<PlanFile, Failure> {
    let (id, plan) =
        Plan::from_bytes(&bytes).map_err(|source| Failure::Plan { path: path.to_owned(), source })?;
    Ok(PlanFile { id, plan, bytes })
}

/// Puts `bytes` at `path`: whole, or the old file stays.
///
/// # Errors
/// [`Failure::Write`].
pub fn write(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |source: io::Error| Failure::Write { path: path.to_owned(), source };
    // A device or a pipe (`-o /dev/stdout`) cannot be replaced and has no old content to lose.
    if std::fs::metadata(path).is_ok_and(|meta| !meta.is_file()) {
        return std::fs::write(path, bytes).map_err(failed);
    }
    let mut temporary = tempfile::Builder::new()
        .prefix(".replank-")
        .permissions(PermissionsExt::from_mode(0o644))
        .tempfile_in(folder_of(path))
        .map_err(failed)?;
    temporary.write_all(bytes).map_err(failed)?;
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(path).map(drop).map_err(|error| failed(error.error))
}

/// A file that is to appear at a place where nothing is. The place is proved writable when this is made, and empty again when it is kept.
#[derive(Debug)]
pub struct NewFile {
    path: PathBuf,
    temporary: tempfile::NamedTempFile,
}

impl NewFile {
    /// `mode`: 0600 for what holds a key.
    ///
    /// # Errors
    /// [`Failure::Taken`], [`Failure::Write`].
    pub fn at(path: &Path, mode: u32) -> Result<Self, Failure> {
        if std::fs::symlink_metadata(path).is_ok() {
            return Err(Failure::Taken { path: path.to_owned() });
        }
        let temporary =
            beside(path, mode).map_err(|source| Failure::Write { path: path.to_owned(), source })?;
        Ok(Self { path: path.to_owned(), temporary })
    }

    /// On disk whole, or not there at all.
    ///
    /// # Errors
    /// [`Failure::Taken`] when somebody put something there meanwhile; [`Failure::Write`].
    pub fn keep(mut self, bytes: &[u8]) -> Result<(), Failure> {
        let failed = |source: io::Error| Failure::Write { path: self.path.clone(), source };
        self.temporary.write_all(bytes).map_err(failed)?;
        self.temporary.as_file().sync_all().map_err(failed)?;
        match self.temporary.persist_noclobber(&self.path) {
            Ok(_) => sync_folder(&self.path).map_err(failed),
            Err(error) if error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(Failure::Taken { path: self.path })
            }
            Err(error) => Err(failed(error.error)),
        }
    }
}

/// Puts `bytes` in the place of a file with a key: the old one is there until the new one is on disk. It stays its owner's, also when root
/// does this, and is readable by the owner alone.
///
/// # Errors
/// [`Failure::Write`]; the old file is as it was.
pub fn replace_private(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let failed = |source: io::Error| Failure::Write { path: path.to_owned(), source };
    // Through a link, so that the link stays one.
    let place = std::fs::canonicalize(path).map_err(failed)?;
    let old = std::fs::metadata(&place).map_err(failed)?;
    let mut temporary = beside(&place, 0o600).map_err(failed)?;
    let own = temporary.as_file().metadata().map_err(failed)?;
    if (own.uid(), own.gid()) != (old.uid(), old.gid()) {
        std::os::unix::fs::fchown(temporary.as_file(), Some(old.uid()), Some(old.gid())).map_err(failed)?;
    }
    temporary.write_all(bytes).map_err(failed)?;
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(&place).map_err(|error| failed(error.error))?;
    sync_folder(&place).map_err(failed)
}

fn beside(path: &Path, mode: u32) -> io::Result<tempfile::NamedTempFile> {
    let temporary = tempfile::Builder::new().prefix(".replank-").tempfile_in(folder_of(path))?;
    // Whatever the umask says.
    temporary.as_file().set_permissions(PermissionsExt::from_mode(mode))?;
    Ok(temporary)
}

fn sync_folder(path: &Path) -> io::Result<()> {
    std::fs::File::open(folder_of(path)).and_then(|folder| folder.sync_all())
}

/// The folder that a file stands in.
pub fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    }
}

/// A word as a shell takes it, for commands that are printed to be typed.
pub fn shell_word(text: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=@%+,".contains(c);
    if !text.is_empty() && text.chars().all(plain) {
        text.to_owned()
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}
