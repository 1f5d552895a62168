//! Every code has its page, and its page says what the code's title says; and every code that a source names is in the table.

use replank_agent::codes;
use std::collections::BTreeSet;
use std::path::Path;

#[test]
fn every_code_has_a_page_with_its_title() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/errors");
    let mut missing = Vec::new();
    for (code, title) in codes::TABLES.into_iter().flatten() {
        let path = folder.join(format!("{code}.md"));
        let text = std::fs::read_to_string(&path).unwrap_or_default();
        let head = format!("# {code}: {title}\n");
        if !text.starts_with(&head) || text.len() < head.len() + 80 {
            missing.push(format!("{}: {head}", path.display()));
        }
    }
    assert!(missing.is_empty(), "pages missing or with another title:\n{}", missing.concat());
}

#[test]
fn codes_are_in_order_and_unlike() {
    let mut seen = BTreeSet::new();
    for table in codes::TABLES {
        let numbers: Vec<&str> = table.iter().map(|(code, _)| *code).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        for number in numbers {
            assert!(number.len() == 6 && number.starts_with("RP") && seen.insert(number), "{number}");
        }
    }
}

#[test]
fn every_code_that_a_source_names_is_in_the_table() {
    let known: BTreeSet<&str> = codes::TABLES.into_iter().flatten().map(|(code, _)| *code).collect();
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut named = 0;
    let mut unknown = Vec::new();
    let sources = ["src", "core/src"].map(|below| walkdir::WalkDir::new(here.join(below)));
    for entry in sources.into_iter().flatten() {
        let entry = entry.expect("the sources can be listed");
        if entry.path().extension().is_none_or(|extension| extension != "rs") {
            continue;
        }
        let text = std::fs::read_to_string(entry.path()).expect("a source can be read");
        for code in literals(&text) {
            named += 1;
            if !known.contains(code) {
                unknown.push(format!("{}: {code}\n", entry.path().display()));
            }
        }
    }
    assert!(named > known.len() / 2, "the search finds nothing");
    assert!(unknown.is_empty(), "codes that are in no table:\n{}", unknown.concat());
}

/// What stands in quotes and has the form of a code.
fn literals(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("\"RP").filter_map(|(at, _)| {
        let code = text.get(at + 1..at + 7)?;
        let is_code = code[2..].bytes().all(|b| b.is_ascii_digit()) && text[at + 7..].starts_with('"');
        is_code.then_some(code)
    })
}

#[test]
fn the_refusal_of_an_old_epoch_is_the_one_that_the_coordinator_knows() {
    assert_eq!(codes::OLD_EPOCH, replank_common::outcome::OLD_EPOCH);
}
