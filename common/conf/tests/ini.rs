//! INI in its three dialects: where they differ, what is kept and reported, what is refused.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use pretty_assertions::assert_eq;
use replank_conf::Dialect::{Dnf, Oslo, Systemd};
use replank_conf::{Dialect, Document, Edit, Found, Reason, Value, apply};

const SEC: Option<&str> = Some("s");

fn get(dialect: Dialect, source: &str, key: &str) -> Option<String> {
    let document = Document::parse(dialect, source.as_bytes());
    document.get(SEC, key).and_then(Found::text).map(str::to_owned)
}

fn set(dialect: Dialect, source: &str, value: &str) -> String {
    let edited = apply(dialect, source.as_bytes(), &[Edit::set(SEC, "k", value)]).unwrap();
    String::from_utf8(edited.bytes).unwrap()
}

fn problems(dialect: Dialect, source: &[u8]) -> Vec<(usize, Reason)> {
    let document = Document::parse(dialect, source);
    assert_eq!(document.bytes(), source);
    document.problems().iter().map(|p| (p.line, p.reason)).collect()
}

/// One text, three readers. The expectations were compared with oslo.config 9.6.0, systemd 252 and libdnf 0.69.
#[test]
fn the_dialects_read_differently() {
    for (text, oslo, systemd, dnf) in [
        ("k = v", Some("v"), Some("v"), Some("v")),
        ("k: v=w", Some("v=w"), None, None),
        ("k = \"v\"", Some("v"), Some("\"v\""), None),
        ("k = v # c", Some("v # c"), Some("v # c"), Some("v # c")),
        ("k = v\n  w", Some("v\nw"), Some("v"), Some("v\nw")),
        ("k = v \\\n  w", Some("v \\\nw"), Some("v    w"), Some("v \\\nw")),
        ("k =\n  v\n  w", Some("\nv\nw"), Some(""), Some("\nv\nw")),
        ("k = v\n\n  w", Some("v"), Some("v"), Some("v")),
        ("k = 1\nk = 2", Some("2"), Some("2"), Some("2")),
        ("k=1\nk=", Some(""), Some(""), Some("")),
        ("  k = v", None, Some("v"), None),
        ("#k = v", None, None, None),
        (";k = v", None, None, None),
        ("k = a\\\n# c\nb", Some("a\\"), Some("a b"), Some("a\\")),
    ] {
        let source = format!("[s]\n{text}\n");
        let read = [Oslo, Systemd, Dnf].map(|dialect| get(dialect, &source, "k"));
        assert_eq!(read.each_ref().map(Option::as_deref), [oslo, systemd, dnf], "{text:?}");
    }
}

#[test]
fn repeated_keys_and_sections() {
    let source = b"[DEFAULT]\nk=1\n[s]\nk=2\n[DEFAULT]\nk=3\n[S]\nk=\nk=4\n";
    let all = |dialect, section: &str| {
        let document = Document::parse(dialect, source);
        let values = document.get_all(Some(section), "k");
        values.iter().map(|found| found.text().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(all(Oslo, "DEFAULT"), ["1", "3"]);
    assert_eq!(all(Oslo, "s"), ["2", "", "4"], "oslo folds the case of sections");
    assert_eq!(all(Oslo, "default"), [""; 0], "but not of DEFAULT");
    assert_eq!(all(Systemd, "s"), ["2"]);
    assert_eq!(all(Systemd, "S"), ["4"], "an empty assignment resets");
    let document = Document::parse(Oslo, source);
    assert_eq!(document.lines(Some("DEFAULT"), "k"), [2, 6]);
    assert_eq!(document.get(None, "k"), None);
}

#[test]
fn what_a_reader_refuses_is_kept_and_reported() {
    for (line, oslo, systemd, dnf) in [
        ("text", Some(Reason::NotAnAssignment), Some(Reason::NotAnAssignment), Some(Reason::NotAnAssignment)),
        ("= v", Some(Reason::BadKey), Some(Reason::BadKey), Some(Reason::BadKey)),
        ("[s", Some(Reason::BadSection), Some(Reason::BadSection), Some(Reason::BadSection)),
        ("[]", Some(Reason::BadSection), Some(Reason::BadSection), Some(Reason::BadSection)),
        ("[t] # c", Some(Reason::BadSection), Some(Reason::BadSection), None),
        (
            "# c\n  w",
            Some(Reason::StrayContinuation),
            Some(Reason::NotAnAssignment),
            Some(Reason::StrayContinuation),
        ),
        ("k=\"v\"", None, None, Some(Reason::ReadersDisagree)),
        ("k=a\rb", Some(Reason::StrayControl), Some(Reason::StrayControl), Some(Reason::StrayControl)),
        ("k=a\0b", Some(Reason::StrayControl), Some(Reason::StrayControl), Some(Reason::StrayControl)),
        ("# c \\", None, Some(Reason::CommentSwallowsNext), None),
    ] {
        let source = format!("[s]\n{line}\n");
        let at = source.lines().count();
        for (dialect, reason) in [(Oslo, oslo), (Systemd, systemd), (Dnf, dnf)] {
            let wanted: Vec<_> = reason.map(|reason| (at, reason)).into_iter().collect();
            assert_eq!(problems(dialect, source.as_bytes()), wanted, "{dialect}: {line:?}");
        }
    }
    assert_eq!(problems(Oslo, b"k=1\n[s]\n"), [(1, Reason::OutsideSection)]);
    assert_eq!(problems(Oslo, b"\xef\xbb\xbf[s]\n"), [(1, Reason::ByteOrderMark)]);
}

/// Nothing after a header that the reader refuses is taken for a setting of the section before.
#[test]
fn a_broken_header_ends_the_section() {
    let source = "[s]\na=1\n[broken\nk=2\n";
    assert_eq!(get(Oslo, source, "k"), None);
    assert_eq!(set(Oslo, source, "3"), "[s]\na=1\nk=3\n[broken\nk=2\n");
}

#[test]
fn bytes_that_are_not_text_are_kept() {
    let source = b"[s]\nn=\xff\xfe\nk=1\n";
    let document = Document::parse(Oslo, source);
    assert_eq!(document.get(SEC, "n"), Some(&Found::NotText(b"\xff\xfe".to_vec())));
    let edited = apply(Oslo, source, &[Edit::set(SEC, "k", 2)]).unwrap();
    assert_eq!(edited.bytes, b"[s]\nn=\xff\xfe\nk=2\n");
    assert!(edited.render_diff("f").contains(" n=\\xff\\xfe\n"));
}

#[test]
fn edits_keep_the_shape_of_the_file() {
    for (dialect, source, value, after) in [
        (Oslo, "[s]\nk  =  v\n", "w", "[s]\nk  =  w\n"),
        (Oslo, "[s]\nk: v\n", "w", "[s]\nk: w\n"),
        (Oslo, "[s]\nk='v'\n", "w", "[s]\nk='w'\n"),
        (Oslo, "[s]\nk =\n", "w", "[s]\nk = w\n"),
        (Oslo, "[s]\nk=v", "w", "[s]\nk=w"),
        (Oslo, "[s]\r\nk=v\r\n", "w", "[s]\r\nk=w\r\n"),
        (Oslo, "[s]\r\na=v\r\n", "w\nx", "[s]\r\na=v\r\nk=w\r\n    x\r\n"),
        (Oslo, "[s]\nk=a\n\tb\nc=d\n", "w\nx", "[s]\nk=w\n\tx\nc=d\n"),
        (Oslo, "\u{feff}[s]\n", "w", "\u{feff}[s]\nk = w\n"),
        (Oslo, "", "w", "[s]\nk = w\n"),
        (Oslo, "[a]\nb=c", "w", "[a]\nb=c\n\n[s]\nk=w"),
        (Oslo, "[s]\n\n[a]\n", "w", "[s]\nk = w\n\n[a]\n"),
        (Oslo, "[s]\na=b\n\n# about t\n[t]\n", "w", "[s]\na=b\nk=w\n\n# about t\n[t]\n"),
        (Oslo, "[s]\n#k=<None>\n#    more\n\n#a=b\n", "w", "[s]\n#k=<None>\n#    more\nk=w\n\n#a=b\n"),
        (Oslo, "[t]\n#k=1\n[s]\n", "w", "[t]\n#k=1\n[s]\nk = w\n"),
        (Oslo, "[S]\nk=1\n", "w", "[S]\nk=w\n"),
        (Oslo, "[s]\nk=\n", " w ", "[s]\nk=\" w \"\n"),
        (Oslo, "[s]\nk=\n", "'w'", "[s]\nk=\"'w'\"\n"),
        (Systemd, "[s]\n  k = v \\\n  more\n  a=b\n", "w", "[s]\n  k = w\n  a=b\n"),
        (Systemd, "[s]\n# c \\\n", "w", "[s]\n# c \\\n\nk=w\n"),
        (Dnf, "[s]\nk=a\n  b\n", "w", "[s]\nk=w\n"),
    ] {
        assert_eq!(set(dialect, source, value), after, "{dialect}: {source:?}");
    }
}

#[test]
fn what_cannot_be_written_is_refused() {
    for (dialect, value, why) in [
        (Oslo, "a\n\nb", "white space, which readers drop"),
        (Oslo, "a\rb", "carriage return or NUL"),
        (Systemd, "a\nb", "a unit file's value is one line"),
        (Systemd, " a", "which systemd drops"),
        (Systemd, "a\\", "joins the next line"),
        (Dnf, "a ;b", "where yum begins a comment"),
        (Dnf, "\"a\"", "which dnf takes off and yum keeps"),
        (Dnf, "a\n[b", "section header"),
    ] {
        let error = apply(dialect, b"[s]\nk=1\n", &[Edit::set(SEC, "k", value)]).unwrap_err().to_string();
        assert!(error.starts_with("`k` of section [s] at line 2: the value cannot be written"), "{error}");
        assert!(error.contains(why), "{error}");
    }
    let refused = |edit| apply(Oslo, b"[s]\nk=1\n", &[edit]).unwrap_err().to_string();
    assert!(refused(Edit::set(None, "k", 1)).contains("name the section"));
    assert!(refused(Edit::set(SEC, "a=b", 1)).contains("the separator between key and value"));
    assert!(refused(Edit::set(Some("a]"), "k", 1)).contains("this section name cannot be written"));
    let list = Value::from(vec!["a"]);
    assert!(refused(Edit::set(SEC, "k", list)).contains("set the key several times"));
}

/// A line inserted above a stray indented one would take it for its continuation.
#[test]
fn an_edit_that_would_change_its_neighbours_is_refused() {
    let source = b"[s]\n#k=1\n  stray\n";
    let error = apply(Oslo, source, &[Edit::set(SEC, "k", 2)]).unwrap_err();
    assert_eq!(
        error.to_string(),
        "`k` of section [s] at line 3: after this edit the file would not read back as intended, because of the lines \
         around it; correct those lines by hand first (the file's problems are listed with their lines)"
    );
}
