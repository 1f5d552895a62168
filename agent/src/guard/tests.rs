use super::*;
use std::path::Path;

const MODULES: &str = "/usr/lib/x86_64-linux-gnu/qemu";

#[test]
fn kept_directories_are_read_from_the_manifests() {
    let (root, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (root, module) = (root.path(), root.path().join(&MODULES[1..]));
    std::fs::create_dir_all(&module).unwrap();
    assert!(!kept(root, &dir.path().join("none")).unwrap()(Path::new(MODULES)));
    std::fs::create_dir(dir.path().join("a")).unwrap();
    std::fs::create_dir(dir.path().join("unfinished")).unwrap();
    let manifest = format!("{{\"name\": \"a\", \"lazy\": [\"{MODULES}\"], \"files\": [], \"links\": {{}}}}");
    std::fs::write(dir.path().join("a/manifest.json"), manifest).unwrap();
    let is_kept = kept(root, dir.path()).unwrap();
    assert!(is_kept(Path::new(MODULES)) && !is_kept(Path::new("/usr/lib")));
    std::fs::write(module.join("block-later.so"), "").unwrap();
    assert!(!is_kept(Path::new(MODULES)), "what came since is not kept");
    std::fs::write(dir.path().join("a/manifest.json"), "{").unwrap();
    assert!(kept(root, dir.path()).err().unwrap().contains("manifest.json"));
}

#[test]
fn directories_that_are_links_are_followed() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir_all(dir.path().join("usr/lib")).unwrap();
    std::os::unix::fs::symlink("usr/lib", dir.path().join("lib")).unwrap();
    assert_eq!(resolve_below(dir.path(), Path::new("/lib/x.so")), Path::new("/usr/lib/x.so"));
    assert_eq!(resolve_below(dir.path(), Path::new("/none/x.so")), Path::new("/none/x.so"));
    std::fs::write(dir.path().join("usr/lib/x.so.1.2"), "").unwrap();
    std::os::unix::fs::symlink("x.so.1.2", dir.path().join("usr/lib/x.so")).unwrap();
    assert_eq!(resolve_below(dir.path(), Path::new("/lib/x.so")), Path::new("/usr/lib/x.so"));
    assert_eq!(follow_below(dir.path(), Path::new("/lib/x.so")), Path::new("/usr/lib/x.so.1.2"));
    assert_eq!(follow_below(dir.path(), Path::new("/lib/new.so")), Path::new("/usr/lib/new.so"));
}
