//! The files that an operator hands in and gets back.

use super::failure::Failure;
use replank_common::ids::PlanId;
use replank_core::catalog::Catalog;
use replank_core::fleet_file::{self, FleetFile};
use replank_core::inventory::Inventory;
use replank_core::plan::Plan;
use std::io::{self, Write};
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
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    let mut temporary = tempfile::Builder::new()
        .prefix(".replank-")
        .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o644))
        .tempfile_in(folder)
        .map_err(failed)?;
    temporary.write_all(bytes).map_err(failed)?;
    temporary.as_file().sync_all().map_err(failed)?;
    temporary.persist(path).map(drop).map_err(|error| failed(error.error))
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
