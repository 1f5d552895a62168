//! The prepared repository, checked with the real package managers.

use replank_lab::repo;

#[test]
fn lab_repo_prepares() {
    let repo = repo::prepare(&repo::default_cache()).unwrap();
    let versions = repo.versions().unwrap();
    assert!(versions.new_members().count() > 0, "{versions:?}");
}
