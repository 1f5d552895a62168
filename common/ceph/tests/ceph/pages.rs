//! Every code has its page, and its page says what the code's title says.

use replank_ceph::codes;
use std::path::Path;

#[test]
fn every_code_has_a_page_with_its_title() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/errors");
    let mut missing = Vec::new();
    for (code, title) in codes::TABLE {
        let path = folder.join(format!("{code}.md"));
        #[expect(clippy::disallowed_methods, reason = "a test of files in the checkout")]
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
    let numbers: Vec<&str> = codes::TABLE.iter().map(|(code, _)| *code).collect();
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
    for number in numbers {
        assert!(number.len() == 6 && number.starts_with("RP"), "{number}");
    }
}
