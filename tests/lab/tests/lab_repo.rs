//! The prepared repository, checked with the real package managers.

use replank_lab::{repo, root};

#[test]
fn lab_repo_prepares() {
    let repo = repo::prepare(&root::cache_dir()).unwrap();
    let versions = repo.versions().unwrap();
    assert!(versions.new_members().count() > 0, "{versions:?}");
}
