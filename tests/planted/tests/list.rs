//! The list of planted faults against the sources, the document and what a release is built of. Without the feature: nothing is planted here.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use replank_common::planted::Planted;
use replank_planted::{BEGIN, END, HEAD, Sought, row};
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use walkdir::WalkDir;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(path)).unwrap()
}

/// Files of the workspace with this ending, from its root; not what was built.
fn files(ending: &str) -> Vec<String> {
    let root = root();
    let built = |name: &str| name == "target" || name == ".git";
    let walk = WalkDir::new(&root).into_iter();
    let entries = walk.filter_entry(|entry| !entry.file_name().to_str().is_some_and(built));
    entries
        .map(|entry| entry.unwrap().into_path())
        .filter(|path| path.is_file() && path.to_str().is_some_and(|path| path.ends_with(ending)))
        .map(|path| path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned())
        .collect()
}

#[test]
fn each_promise_that_is_kept_yet_is_broken_by_some_fault() {
    assert!(Planted::ALL.len() >= 25);
    let broken: BTreeSet<&str> = Planted::ALL.iter().map(|fault| fault.promise()).collect();
    // P11 is of a capability that is not built yet.
    assert_eq!(broken, ["P1", "P10", "P2", "P3", "P4", "P5", "P6", "P7", "P8", "P9"].into());
    let names: BTreeSet<&str> = Planted::ALL.iter().map(|fault| fault.name()).collect();
    assert_eq!(names.len(), Planted::ALL.len());
}

#[test]
fn each_fault_is_planted_in_the_files_that_it_names_and_in_no_other() {
    let mut found: BTreeMap<&str, BTreeSet<String>> = BTreeMap::new();
    let lists = ["common/src/planted.rs", "tests/planted/"];
    for file in files(".rs").into_iter().filter(|file| !lists.iter().any(|list| file.starts_with(list))) {
        let text = read(&file);
        for fault in Planted::ALL {
            if text.contains(&format!("planted::is(Planted::{})", fault.kind())) {
                found.entry(fault.name()).or_default().insert(file.clone());
            }
        }
    }
    for fault in Planted::ALL {
        let places: BTreeSet<String> = fault.places().iter().map(|place| (*place).to_owned()).collect();
        assert_eq!(found.get(fault.name()), Some(&places), "{}", fault.name());
    }
}

#[test]
fn the_document_has_every_fault_and_no_other() {
    let document = read("docs/planted-faults.md");
    let (_, rest) = document.split_once(BEGIN).unwrap();
    let (table, _) = rest.split_once(END).unwrap();
    let mut lines = table.trim().lines();
    assert_eq!(lines.next(), Some(HEAD));
    let told: Vec<&str> = lines.skip(1).collect();
    // All that the code says of a fault; what caught it is the run's to say.
    let start = |fault: &Planted| {
        let row = row(&Sought { fault: *fault, caught: None });
        row.split_once("| **nothing**").unwrap().0.to_owned()
    };
    assert_eq!(told.len(), Planted::ALL.len());
    for (line, fault) in told.iter().zip(Planted::ALL) {
        assert!(line.starts_with(&start(fault)), "run `make planted WRITE=1`; it does not fit:\n{line}");
        assert!(!line.contains("**nothing**"), "a hole is told of: {line}");
    }
}

/// No crate has the feature by default, and none asks another for it but the one that plants.
#[test]
fn no_release_is_built_with_it() {
    for file in files("Cargo.toml") {
        let manifest: toml::Table = read(&file).parse().unwrap();
        let features = manifest.get("features").and_then(toml::Value::as_table).cloned().unwrap_or_default();
        let lists = features.values().filter(|list| list.to_string().contains("planted-faults"));
        assert_eq!(lists.count(), usize::from(file == "tests/planted/Cargo.toml"), "{file}");
        let dependencies: Vec<String> = manifest
            .iter()
            .filter(|(key, _)| *key != "features" && *key != "bin")
            .map(|(_, value)| value.to_string())
            .collect();
        assert!(!dependencies.iter().any(|text| text.contains("planted-faults")), "{file}");
    }
    let build = read("packaging/build.sh");
    let asks = |line: &str| line.contains("--features") && line.contains("planted");
    assert!(!build.lines().any(asks), "packages are built without it");
    assert!(build.contains("REPLANK_PLANT"), "and each binary is looked at");
    for spec in files(".spec") {
        assert!(!read(&spec).contains("planted"), "{spec}");
    }
}
