//! libvirt's configuration files: the grammar of virconf.c, and edits that keep lists and comments.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pretty_assertions::assert_eq;
use replank_conf::Dialect::Libvirt;
use replank_conf::{Document, Edit, EditError, Found, Note, Reason, Value, apply};

fn get(source: &str) -> Option<Value> {
    let document = Document::parse(Libvirt, source.as_bytes());
    assert_eq!(document.bytes(), source.as_bytes());
    document.get(None, "k").and_then(Found::value).cloned()
}

fn set(source: &str, value: impl Into<Value>) -> String {
    String::from_utf8(apply(Libvirt, source.as_bytes(), &[Edit::set(None, "k", value)]).unwrap().bytes)
        .unwrap()
}

fn list(items: &[&str]) -> Value {
    Value::from(items.to_vec())
}

/// Compared with `virConfReadString` of libvirt 9.0.0.
#[test]
fn values_are_typed() {
    for (source, value) in [
        ("k = 1\n", Value::from(1)),
        ("k=-1", Value::from(-1)),
        ("k = \"a # b\" # c\n", Value::from("a # b")),
        ("k = 'a \"b\"'\n", Value::from("a \"b\"")),
        ("k = \"\"\n", Value::from("")),
        ("k = \"\"\"a\n\"b\" c\"\"\"\n", Value::from("a\n\"b\" c")),
        ("k = [ \"a\",\n\n  'b',\n]\n", list(&["a", "b"])),
        ("k = []\n", list(&[])),
        ("k = [ \"a\", 1 ]\n", Value::List(vec!["a".into(), 1.into()])),
        ("a = 1; k = 2; b = 3\n", Value::from(2)),
        ("  k = 1\r\n", Value::from(1)),
    ] {
        assert_eq!(get(source), Some(value), "{source:?}");
        assert_eq!(Document::parse(Libvirt, source.as_bytes()).problems(), [], "{source:?}");
    }
}

#[test]
fn what_libvirt_refuses_is_kept_and_reported() {
    for (line, reason) in [
        ("k = yes", Reason::BadValue),
        ("k = \"a", Reason::Unterminated),
        ("k = [ \"a\"", Reason::Unterminated),
        ("k = 99999999999999999999", Reason::BadValue),
        ("k = 1 2", Reason::TrailingText),
        ("k", Reason::NotAnAssignment),
        ("= 1", Reason::BadKey),
        ("[section]", Reason::NotAnAssignment),
    ] {
        let source = format!("a = 1\n{line}\n");
        let document = Document::parse(Libvirt, source.as_bytes());
        let found: Vec<_> = document.problems().iter().map(|p| (p.line, p.reason)).collect();
        assert_eq!(found, [(2, reason)], "{line:?}");
        assert_eq!(get(&source), None);
    }
    let deep = "k = ".to_owned() + &"[".repeat(100_000);
    assert_eq!(get(&deep), None, "nesting is bounded");
}

#[test]
fn the_first_occurrence_counts_and_is_the_one_set() {
    assert_eq!(get("k = 1\nk = 2\n"), Some(Value::from(1)));
    let edited = apply(Libvirt, b"k = 1\nk = 2\n", &[Edit::set(None, "k", 3)]).unwrap();
    assert_eq!(edited.bytes, b"k = 3\nk = 2\n");
    assert!(
        matches!(&edited.notes[..], [Note::Duplicate { others, may_accumulate: false, .. }] if others == &[2])
    );
}

#[test]
fn edits_keep_the_shape_of_the_file() {
    for (source, value, after) in [
        ("k=1  # c\n", Value::from(2), "k=2  # c\n"),
        ("k = 'a'\n", Value::from("b"), "k = 'b'\n"),
        ("k = 'a'\n", Value::from("it's"), "k = \"it's\"\n"),
        ("", Value::from("a \"b\""), "k = 'a \"b\"'\n"),
        ("", Value::from("\"it's\" b"), "k = \"\"\"\"it's\" b\"\"\"\n"),
        ("a = 1", Value::from(2), "a = 1\nk = 2"),
        ("a = 1\r\n", Value::from(2), "a = 1\r\nk = 2\r\n"),
        ("#k = 1\n\na = 1\n", Value::from(0), "#k = 1\nk = 0\n\na = 1\n"),
        (
            "#   k = \"example\"\n#\n#k = \"x\"\n",
            Value::from("y"),
            "#   k = \"example\"\n#\n#k = \"x\"\nk = \"y\"\n",
        ),
        ("#k = [\n#  \"a\",\n#]\n#b = 1\n", list(&["c"]), "#k = [\n#  \"a\",\n#]\nk = [ \"c\" ]\n#b = 1\n"),
        ("k = [\"a\",\n  \"b\"]\n", list(&["a", "x", "b"]), "k = [\"a\", \"x\",\n  \"b\"]\n"),
        ("k = [\"a\",\n  \"b\"]\n", list(&["x", "a", "b"]), "k = [\"x\", \"a\",\n  \"b\"]\n"),
        ("k = [\n  \"a\",\n  \"b\",\n]\n", list(&["a"]), "k = [\n  \"a\",\n]\n"),
        ("k = [\n  \"a\",\n  \"b\",\n]\n", list(&["b"]), "k = [\n  \"b\",\n]\n"),
        ("k = [ \"a\" ]\n", Value::from("a"), "k = \"a\"\n"),
        ("a = 1; k = 2; b = 3\n", Value::from(4), "a = 1; k = 4; b = 3\n"),
    ] {
        assert_eq!(set(source, value.clone()), after, "{source:?}");
        assert_eq!(get(&after.replace('\r', "")), Some(value));
    }
}

/// `listen_tls = "0"` keeps libvirtd from starting, and then its guests are without a manager.
#[test]
fn the_documented_type_is_held_to() {
    let error = apply(Libvirt, b"#k = 1\nk = 1\n", &[Edit::set(None, "k", "0")]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`k` at line 2: the file documents a number for this key at line 1 and the edit gives text; give a number"
    );
    assert!(apply(Libvirt, b"#k = \"a\"\n", &[Edit::set(None, "k", 0)]).is_err());
    assert!(apply(Libvirt, b"#k = \"a\"\n", &[Edit::set(None, "k", list(&["a"]))]).is_ok());
    assert!(apply(Libvirt, b"# k = 1 or so\n", &[Edit::set(None, "k", "a")]).is_ok());
}

#[test]
fn what_cannot_be_written_is_refused() {
    let refused = |edit| apply(Libvirt, b"a = 1; k = 2\n", &[edit]).unwrap_err();
    assert!(matches!(refused(Edit::set(None, "k", "'a\"")), EditError::BadValue { .. }));
    assert!(matches!(refused(Edit::set(None, "k", "a\r")), EditError::BadValue { .. }));
    assert!(matches!(refused(Edit::set(None, "k-l", 1)), EditError::BadKey { .. }));
    assert!(matches!(refused(Edit::set(Some("s"), "k", 1)), EditError::SectionForbidden { .. }));
    let shared = refused(Edit::unset(None, "k"));
    assert_eq!(
        shared.to_string(),
        "`k` at line 1: the line holds more than one setting; put each setting on a line of its own first"
    );
    let huge = vec![b'#'; replank_conf::MAX_BYTES + 1];
    assert!(matches!(apply(Libvirt, &huge, &[]), Err(EditError::TooLarge { .. })));
}
