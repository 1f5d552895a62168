//! Which directories are kept: what earlier `tree-retain` actions copied into the agent's own directory.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Reads the manifests below `retained`; the answer tells whether a directory is kept. No directory: nothing is kept.
///
/// # Errors
/// A manifest that cannot be read.
pub fn kept(retained: &Path) -> Result<impl Fn(&Path) -> bool + use<>, String> {
    let mut directories = BTreeSet::new();
    let entries = match std::fs::read_dir(retained) {
        Ok(entries) => {
            entries.collect::<Result<Vec<_>, _>>().map_err(|error| unreadable(retained, &error))?
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(unreadable(retained, &error)),
    };
    for entry in entries {
        let manifest = entry.path().join("manifest.json");
        match std::fs::read(&manifest) {
            Ok(bytes) => {
                let text: serde_json::Value =
                    serde_json::from_slice(&bytes).map_err(|error| unreadable(&manifest, &error))?;
                let lazy = text.get("lazy").and_then(|lazy| lazy.as_array()).into_iter().flatten();
                directories.extend(lazy.filter_map(|path| path.as_str()).map(PathBuf::from));
            }
            // Being made, or removed.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => return Err(unreadable(&manifest, &error)),
        }
    }
    Ok(move |directory: &Path| directories.iter().any(|kept| directory.starts_with(kept)))
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("failed to read {}: {error}", path.display())
}
