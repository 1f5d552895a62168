//! Paths of the host with their links followed, below the place where its files are.

use std::path::{Path, PathBuf};

/// `path` with the links in its directories followed, below `root`. A path that is not there is given back as it is.
pub fn resolve_below(root: &Path, path: &Path) -> PathBuf {
    let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else { return path.to_path_buf() };
    let below = root.join(parent.strip_prefix("/").unwrap_or(parent));
    let Ok(real) = below.canonicalize() else { return path.to_path_buf() };
    let Ok(root) = root.canonicalize() else { return path.to_path_buf() };
    match real.strip_prefix(&root) {
        Ok(inside) => Path::new("/").join(inside).join(name),
        Err(_) => path.to_path_buf(),
    }
}

/// `path` with every link followed, below `root`. A path that is not there is given back as [`resolve_below`] does.
pub fn follow_below(root: &Path, path: &Path) -> PathBuf {
    let below = root.join(path.strip_prefix("/").unwrap_or(path));
    match (below.canonicalize(), root.canonicalize()) {
        (Ok(real), Ok(root)) => match real.strip_prefix(&root) {
            Ok(inside) => Path::new("/").join(inside),
            Err(_) => resolve_below(&root, path),
        },
        _ => resolve_below(root, path),
    }
}
