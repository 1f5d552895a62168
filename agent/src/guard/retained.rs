//! Which directories are kept: what earlier `tree-retain` actions copied into the agent's own directory, compared with what is there now.

use crate::host::retain::Manifest;
use std::path::{Path, PathBuf};

/// Reads the manifests below `retained`; the answer tells whether a directory of the host whose files are below `root` is kept as it is
/// now. No directory: nothing is kept.
///
/// # Errors
/// A manifest that cannot be read.
pub fn kept(root: &Path, retained: &Path) -> Result<impl Fn(&Path) -> bool + use<>, String> {
    let mut kept: Vec<(PathBuf, Manifest)> = Vec::new();
    let entries = match std::fs::read_dir(retained) {
        Ok(entries) => {
            entries.collect::<Result<Vec<_>, _>>().map_err(|error| unreadable(retained, &error))?
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Vec::new(),
        Err(error) => return Err(unreadable(retained, &error)),
    };
    for entry in entries {
        // None: being made, or removed.
        if let Some(manifest) = Manifest::read(&entry.path()).map_err(|error| error.full())? {
            kept.push((entry.path(), manifest));
        }
    }
    let root = root.to_owned();
    Ok(move |place: &Path| {
        kept.iter().any(|(directory, manifest)| manifest.holds(&root, place) && manifest.is_whole(directory))
    })
}

fn unreadable(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("failed to read {}: {error}", path.display())
}
