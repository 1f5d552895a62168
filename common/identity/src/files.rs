//! Keys and certificates on disk: written so that no crash leaves half of one, read with errors that say what
//! to do.
//!
//! A leaf and its key are one file (an *identity file*: the key, then the certificate), because two files
//! cannot be replaced in one instant: a crash between them would leave a key without its certificate, and an
//! agent that can no longer reach its coordinator. The authority, which never changes, is a pair of files.

use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::fmt;
use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Far above any key or chain; keeps a wrong path (a log, a device) from being read to its end.
const FILE_BYTES_MAX: u64 = 256 * 1024;

const PRIVATE: u32 = 0o600;
const PUBLIC: u32 = 0o644;

/// What went wrong with a file, and what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    #[error("there is no {what} at `{}`; {remedy}", .path.display())]
    Missing { what: &'static str, path: PathBuf, remedy: &'static str },
    #[error(
        "failed to read the {what} `{}`; check its owner, its permissions and those of the folders above \
         it",
        .path.display()
    )]
    Read { what: &'static str, path: PathBuf, source: io::Error },
    #[error("failed to write `{}`; check free space and the permissions of its folder", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "others may read or write the {what} `{}` (mode {mode:04o}); take it as known to others and replace it, or, if \
         nobody else was on this machine, run `chmod 600` on it",
        .path.display()
    )]
    Exposed { what: &'static str, path: PathBuf, mode: u32 },
    #[error(
        "the {what} `{}` is not a regular file of at most {FILE_BYTES_MAX} bytes; check the path",
        .path.display()
    )]
    NotAFile { what: &'static str, path: PathBuf },
    #[error(
        "the {what} `{}` is not text in PEM with the expected sections; restore it from a backup \
         or make it anew",
        .path.display()
    )]
    Content { what: &'static str, path: PathBuf },
}

/// A certificate (or a chain, leaf first) with its private key, both in PEM.
#[derive(Clone)]
pub struct PemPair {
    pub chain: String,
    pub key: Zeroizing<String>,
}

impl fmt::Debug for PemPair {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PemPair").field("chain", &self.chain).finish_non_exhaustive()
    }
}

/// Puts `content` at `path`, readable by the owner alone (0600): after this returns it is there whole, also
/// after a power loss; until then the old file is.
///
/// # Errors
/// [`FileError::Write`].
pub fn write_private(path: &Path, content: &str) -> Result<(), FileError> {
    write(path, content, PRIVATE)
}

/// As [`write_private`], for certificates: everybody may read it (0644).
///
/// # Errors
/// [`FileError::Write`].
pub fn write_public(path: &Path, content: &str) -> Result<(), FileError> {
    write(path, content, PUBLIC)
}

/// Writes an identity file, key and leaf in one, replacing the one before at once.
///
/// # Errors
/// [`FileError::Write`].
pub fn write_identity(path: &Path, pair: &PemPair) -> Result<(), FileError> {
    let both = Zeroizing::new(format!("{}\n{}", pair.key.trim_end(), pair.chain));
    write(path, &both, PRIVATE)
}

/// Reads an identity file.
///
/// # Errors
/// [`FileError`]; also when others than the owner may read it.
pub fn read_identity(path: &Path) -> Result<PemPair, FileError> {
    const WHAT: &str = "identity file";
    let text = read_private(path, WHAT, "enrol this host, or make an operator's certificate")?;
    if !has_certificate(&text) || !has_key(&text) {
        return Err(FileError::Content { what: WHAT, path: path.to_owned() });
    }
    // Certificate and key are each found by their section in the whole text, so the key stays out of what is
    // public.
    let chain = text.find("-----BEGIN CERTIFICATE-----").map(|at| text[at..].to_owned());
    match chain {
        Some(chain) if !has_key(&chain) => Ok(PemPair { chain, key: text }),
        Some(_) | None => Err(FileError::Content { what: WHAT, path: path.to_owned() }),
    }
}

/// Reads a certificate and its key from two files: the authority's, in the coordinator's folder.
///
/// # Errors
/// [`FileError`]; also when others than the owner may read the key.
pub fn read_pair(chain: &Path, key: &Path) -> Result<PemPair, FileError> {
    const REMEDY: &str = "run `replank init`, or restore it from a backup";
    let pair = PemPair { chain: read_certificate(chain)?, key: read_private(key, "private key", REMEDY)? };
    if has_key(&pair.key) {
        Ok(pair)
    } else {
        Err(FileError::Content { what: "private key", path: key.to_owned() })
    }
}

/// Reads a file of certificates: the authority's, on an agent.
///
/// # Errors
/// [`FileError`].
pub fn read_certificate(path: &Path) -> Result<String, FileError> {
    const WHAT: &str = "certificate";
    let text = read(path, WHAT, "enrol this host, or restore it from a backup", false)?;
    if has_certificate(&text) {
        Ok((*text).clone())
    } else {
        Err(FileError::Content { what: WHAT, path: path.to_owned() })
    }
}

fn has_certificate(text: &str) -> bool {
    CertificateDer::from_pem_slice(text.as_bytes()).is_ok()
}

fn has_key(text: &str) -> bool {
    PrivateKeyDer::from_pem_slice(text.as_bytes()).is_ok()
}

fn read_private(
    path: &Path,
    what: &'static str,
    remedy: &'static str,
) -> Result<Zeroizing<String>, FileError> {
    read(path, what, remedy, true)
}

fn read(
    path: &Path,
    what: &'static str,
    remedy: &'static str,
    private: bool,
) -> Result<Zeroizing<String>, FileError> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound => FileError::Missing { what, path: path.to_owned(), remedy },
        _ => FileError::Read { what, path: path.to_owned(), source },
    };
    // Looked at before it is opened, since opening a pipe would wait for a writer, and again when open.
    let regular = |meta: &std::fs::Metadata| meta.is_file() && meta.len() <= FILE_BYTES_MAX;
    let not_a_file = || FileError::NotAFile { what, path: path.to_owned() };
    if !regular(&std::fs::metadata(path).map_err(failed)?) {
        return Err(not_a_file());
    }
    let file = File::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    if !regular(&meta) {
        return Err(not_a_file());
    }
    let mode = meta.mode() & 0o7777;
    if private && mode & 0o077 != 0 {
        return Err(FileError::Exposed { what, path: path.to_owned(), mode });
    }
    let mut text = Zeroizing::new(String::new());
    match file.take(FILE_BYTES_MAX).read_to_string(&mut text) {
        Ok(_) => Ok(text),
        Err(error) if error.kind() == io::ErrorKind::InvalidData => {
            Err(FileError::Content { what, path: path.to_owned() })
        }
        Err(error) => Err(failed(error)),
    }
}

fn write(path: &Path, content: &str, mode: u32) -> Result<(), FileError> {
    let failed = |source: io::Error| FileError::Write { path: path.to_owned(), source };
    let folder = match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        Some(_) | None => Path::new("."),
    };
    // A temporary file is made with mode 0600 and gone again if anything below fails.
    let mut temporary = tempfile::Builder::new().prefix(".replank-").tempfile_in(folder).map_err(failed)?;
    temporary.write_all(content.as_bytes()).map_err(failed)?;
    let file = temporary.as_file();
    file.set_permissions(Permissions::from_mode(mode)).map_err(failed)?;
    file.sync_all().map_err(failed)?;
    temporary.persist(path).map_err(|error| failed(error.error))?;
    // The new name is durable once the folder is.
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Authority, AuthorityCert, Credentials, PrivateKey, UnixSeconds};
    use std::time::Duration;

    const NOW: UnixSeconds = UnixSeconds(1_800_000_000);

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().mode() & 0o7777
    }

    #[test]
    fn an_identity_file_gives_back_working_credentials() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.pem");
        let authority = Authority::create(NOW).unwrap();
        for _ in 0..2 {
            let key = PrivateKey::generate().unwrap();
            let role = "replank://host/compute1".parse().unwrap();
            let leaf = authority.issue(&key.request().unwrap(), &role, Duration::from_secs(60), NOW).unwrap();
            write_identity(&path, &PemPair { chain: leaf.to_pem(), key: key.to_pem() }).unwrap();
            assert_eq!(mode(&path), 0o600);

            let read = read_identity(&path).unwrap();
            let key = PrivateKey::from_pem(&read.key).unwrap();
            let credentials = Credentials::new(&read.chain, &key, authority.cert(), NOW).unwrap();
            assert_eq!(credentials.identity().serial, leaf.serial);
            assert!(!read.chain.contains("PRIVATE") && !format!("{read:?}").contains("PRIVATE"));
        }
        let names: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert_eq!(names, ["identity.pem"], "temporary files are left");
    }

    #[test]
    fn an_authority_is_kept_as_a_pair() {
        let folder = tempfile::tempdir().unwrap();
        let (cert, key) = (folder.path().join("ca.crt"), folder.path().join("ca.key"));
        let authority = Authority::create(NOW).unwrap();
        write_private(&key, &authority.key_pem()).unwrap();
        write_public(&cert, &authority.cert().to_pem()).unwrap();
        assert_eq!((mode(&cert), mode(&key)), (0o644, 0o600));
        let pair = read_pair(&cert, &key).unwrap();
        assert_eq!(Authority::load(&pair.chain, &pair.key).unwrap().fingerprint(), authority.fingerprint());
        let public = AuthorityCert::from_pem(&read_certificate(&cert).unwrap()).unwrap();
        assert_eq!(public.fingerprint(), authority.fingerprint());
    }

    #[test]
    fn errors_name_the_file_and_the_remedy() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity.pem");
        let refused = |part: &str| {
            let text = read_identity(&path).unwrap_err().to_string();
            assert!(text.contains(&*path.to_string_lossy()) && text.contains(part), "{text}");
        };
        refused("enrol this host");
        std::fs::write(&path, "nothing").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o640)).unwrap();
        refused("mode 0640");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        refused("not text in PEM");
        std::fs::write(&path, [0xff, 0xfe]).unwrap();
        refused("not text in PEM");
        let key = PrivateKey::generate().unwrap();
        std::fs::write(&path, key.to_pem().as_bytes()).unwrap();
        refused("not text in PEM");
        File::create(&path).unwrap().set_len(FILE_BYTES_MAX + 1).unwrap();
        refused("not a regular file");
        std::fs::remove_file(&path).unwrap();
        std::fs::create_dir(&path).unwrap();
        refused("not a regular file");
    }

    #[test]
    fn a_write_that_fails_leaves_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("taken");
        // A folder cannot be replaced by a file, so the rename fails after the temporary file was written.
        std::fs::create_dir(&target).unwrap();
        assert!(matches!(write_private(&target, "x"), Err(FileError::Write { .. })));
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1, "a temporary file is left");
        let nowhere = folder.path().join("no/such/folder/key");
        let text = write_private(&nowhere, "x").unwrap_err().to_string();
        assert!(text.contains("no/such/folder/key"), "{text}");
    }
}
