//! ceph.conf: what its two readers agree on is read and edited, what they do not is kept and reported.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pretty_assertions::assert_eq;
use replank_conf::Dialect::Ceph;
use replank_conf::{Document, Edit, EditError, Found, Note, Reason, apply};

const OSD: Option<&str> = Some("osd");

fn get(text: &str, key: &str) -> Option<String> {
    let document = Document::parse(Ceph, text.as_bytes());
    document.get(OSD, key).and_then(Found::text).map(str::to_owned)
}

fn set(text: &str, key: &str, value: &str) -> Result<String, EditError> {
    apply(Ceph, text.as_bytes(), &[Edit::set(OSD, key, value)])
        .map(|edited| String::from_utf8(edited.bytes).unwrap())
}

fn problems(text: &str) -> Vec<(usize, Reason)> {
    let document = Document::parse(Ceph, text.as_bytes());
    document.problems().iter().map(|problem| (problem.line, problem.reason)).collect()
}

#[test]
fn blanks_in_a_key_are_underscores_and_a_hyphen_is_a_hyphen() {
    let name = "osd max object name len";
    for spelt in ["osd max object name len", "osd_max_object_name_len", "\tosd  max\tobject_name len "] {
        let text = format!("[osd]\n{spelt}= 256\n");
        assert_eq!(get(&text, name).as_deref(), Some("256"), "{spelt:?}");
        assert_eq!(get(&text, "osd_max_object_name_len").as_deref(), Some("256"), "{spelt:?}");
        // The line that is there is changed, and none is added.
        assert_eq!(set(&text, name, "2048").unwrap(), text.replace("256", "2048"), "{spelt:?}");
    }
    // Nobody reads this one, so the edit has to write its own.
    let hyphens = "[osd]\nosd-max-object-name-len = 256\n";
    assert_eq!(get(hyphens, name), None);
    assert_eq!(set(hyphens, name, "256").unwrap(), format!("{hyphens}{name} = 256\n"));
    // A run of underscores is not one.
    assert_eq!(get("[osd]\nosd__max = 1\n", "osd max"), None);
}

#[test]
fn the_last_counts_over_all_sections_of_one_name() {
    let text = "[osd]\nosd op = 1\n[mon]\nosd op = 9\n[osd]\n  osd_op = 2 ; two\n";
    assert_eq!(get(text, "osd op").as_deref(), Some("2"));
    let edited = apply(Ceph, text.as_bytes(), &[Edit::set(OSD, "osd op", 3)]).unwrap();
    assert_eq!(String::from_utf8(edited.bytes).unwrap(), text.replace("2 ; two", "3 ; two"));
    assert!(
        matches!(&edited.notes[..], [Note::Duplicate { others, may_accumulate: false, .. }] if others == &[2])
    );
    let gone =
        apply(Ceph, text.as_bytes(), &[Edit::unset(OSD, "osd-op"), Edit::unset(OSD, "osd_op")]).unwrap();
    assert_eq!(gone.bytes, b"[osd]\n[mon]\nosd op = 9\n[osd]\n");
}

#[test]
fn comments_quotes_escapes_and_lines_that_go_on() {
    for (line, value) in [
        ("k = a b  # c", "a b"),
        ("k = a;b", "a"),
        ("k = a\\;b\\#c", "a;b#c"),
        ("k = \"a b\" ; c", "a b"),
        ("k = \"a \\\" b\"", "a \" b"),
        ("k = a \\\n  b", "a   b"),
        ("k = \\\n  b # c", "b"),
        ("k = a\"b\"", "a\"b\""),
        ("k =", ""),
        ("k = /var/lib/ceph/$type/$cluster-$id", "/var/lib/ceph/$type/$cluster-$id"),
    ] {
        let text = format!("[osd]\n{line}\nlater = 1\n");
        assert_eq!(get(&text, "k").as_deref(), Some(value), "{line:?}");
        assert_eq!(problems(&text), [], "{line:?}");
        assert_eq!(set(&text, "k", value).unwrap(), text, "{line:?}");
        for new in ["x", "x # y; \"z\"", "'x'", "\"x", "a\\b"] {
            let edited = set(&text, "k", new).unwrap();
            assert_eq!(get(&edited, "k").as_deref(), Some(new), "{edited:?}");
            assert_eq!(get(&edited, "later").as_deref(), Some("1"), "{edited:?}");
            assert_eq!(problems(&edited), [], "{edited:?}");
        }
    }
    for refused in ["a\nb", " a", "a\\"] {
        assert!(matches!(set("[osd]\n", "k", refused), Err(EditError::BadValue { .. })), "{refused:?}");
    }
}

#[test]
fn what_releases_read_differently_is_kept_and_told() {
    use Reason::*;
    for (text, reason) in [
        ("[osd]\nk = 1", NoFinalNewline),
        ("[osd]\nk = 'a # b'\n", ReadersDisagree),
        ("[osd]\nk = a \\\\\n", ReadersDisagree),
        ("[osd]\nk = 1 # c \\\nj = 2\n", ReadersDisagree),
        ("[osd]\n# c \\\nj = 2\n", CommentSwallowsNext),
        ("[osd]\nk = \"a\n", Unterminated),
        ("[osd]\nk = \"a\" b\n", TrailingText),
        ("[osd]\nk\n", NotAnAssignment),
        ("k = 1\n[osd]\n", OutsideSection),
        ("[ osd ]\n", BadSection),
    ] {
        let told = problems(text);
        let computed =
            matches!(Document::parse(Ceph, text.as_bytes()).get(OSD, "k"), Some(Found::Computed(_)));
        assert!(computed || told.iter().any(|(_, found)| *found == reason), "{text:?}: {told:?}");
    }
    // What is not read today must not begin to count by an edit beside it.
    assert!(matches!(set("[osd]\nj = 1", "k", "2"), Err(EditError::Disturbs { .. })));
    // A comment without a newline does no harm, and the new line gets the newline that it needs.
    assert_eq!(set("[osd]\n# end", "k", "2").unwrap(), "[osd]\n# end\nk = 2\n");
    // A comment that older releases continue does not swallow the new line.
    assert_eq!(set("[osd]\n# c \\\n", "k", "2").unwrap(), "[osd]\n# c \\\n\nk = 2\n");
}

#[test]
fn a_changed_line_tells_its_section() {
    let key = "setuser match path";
    let before = b"[global]\nfsid = 1\n[mon]\nsetuser match path = /x\n[osd]\nsetuser match path = /x\n";
    let unset = Edit::Unset { section: Some("mon".to_owned()), key: key.to_owned() };
    let edited = apply(Ceph, before, &[unset, Edit::set(OSD, key, "/y")]).unwrap();
    let told: Vec<_> = edited.changes.iter().map(|line| edited.section_of(line)).collect();
    assert_eq!(told, [Some("mon".to_owned()), Some("osd".to_owned())]);
    let made = apply(Ceph, b"", &[Edit::set(OSD, key, "/y")]).unwrap();
    assert!(made.changes.iter().any(|line| made.section_of(line).as_deref() == OSD));
}
