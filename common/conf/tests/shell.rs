//! Shell-style files: what is read, what is kept and reported, and that sh and systemd read what is written.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Write;
use std::process::{Command, Stdio};

use pretty_assertions::assert_eq;
use proptest::prelude::*;
use replank_conf::{Dialect, Document, Edit, EditError, Found, Note, Reason, apply};

fn read(source: &str) -> Document {
    Document::parse(Dialect::Shell, source.as_bytes())
}

fn set(source: &str, key: &str, value: &str) -> String {
    String::from_utf8(apply(Dialect::Shell, source.as_bytes(), &[Edit::set(None, key, value)]).unwrap().bytes)
        .unwrap()
}

#[test]
fn values_are_unquoted_as_sh_does() {
    for (source, value) in [
        ("K=", ""),
        ("K=a", "a"),
        ("  K=a  \t", "a"),
        ("K=a#b", "a#b"),
        ("K=a # comment", "a"),
        ("K=\"a b\" # comment", "a b"),
        ("K='a \"b\" $c'", "a \"b\" $c"),
        ("K=\"a \\\"b\\\" \\$c \\x\"", "a \"b\" $c \\x"),
        ("K='a'\"b\"", "ab"),
        ("K=a\\ b", "a b"),
        ("K=\"a\nb\"", "a\nb"),
        ("K=\"a\\\nb\"", "ab"),
        ("export K=a", "a"),
        ("K=1\nK=2", "2"),
    ] {
        let document = read(source);
        assert_eq!(document.get(None, "K").and_then(Found::text), Some(value), "{source:?}");
        assert_eq!(document.problems(), [], "{source:?}");
    }
}

#[test]
fn a_value_that_depends_on_the_reader_is_not_told() {
    for source in ["K=$A", "K=\"x ${A}\"", "K=~/x", "K=a:~/x", "K=a\"b\"", "K=$1"] {
        let document = read(source);
        let raw = source.strip_prefix("K=").unwrap();
        assert_eq!(document.get(None, "K"), Some(&Found::Computed(raw.to_owned())), "{source:?}");
    }
    assert_eq!(read("K='\u{e9}'").get(None, "K").and_then(Found::text), Some("\u{e9}"));
    assert_eq!(
        Document::parse(Dialect::Shell, b"K=\xe9").get(None, "K"),
        Some(&Found::NotText(b"\xe9".to_vec()))
    );
}

#[test]
fn what_is_no_assignment_is_kept_and_reported() {
    for (line, reason) in [
        ("if true; then", Reason::Command),
        (". /etc/os-release", Reason::Command),
        ("export K", Reason::Command),
        ("K", Reason::NotAnAssignment),
        ("K=$(hostname)", Reason::Command),
        ("K=`hostname`", Reason::Command),
        ("K=a; L=b", Reason::Command),
        ("K=a b", Reason::Command),
        ("K+=a", Reason::Command),
        ("K = a", Reason::ReadersDisagree),
        ("K= a", Reason::ReadersDisagree),
        ("; comment", Reason::ReadersDisagree),
        ("=a", Reason::BadKey),
        ("1K=a", Reason::Command),
        ("K=\"a", Reason::Unterminated),
        ("K=a\rb", Reason::StrayControl),
        ("# comment \\", Reason::CommentSwallowsNext),
    ] {
        let source = format!("A=1\n{line}\n");
        let document = read(&source);
        let found: Vec<_> = document.problems().iter().map(|p| (p.line, p.reason)).collect();
        assert_eq!(found, [(2, reason)], "{line:?}");
        assert_eq!(document.get(None, "K"), None, "{line:?}");
        assert_eq!(document.bytes(), source.as_bytes());
    }
}

#[test]
fn an_open_quote_hides_the_rest_of_the_file() {
    let source = "A=1\necho \"x\nK=2\n\"\n";
    assert_eq!(read(source).get(None, "K"), None);
    let error = apply(Dialect::Shell, source.as_bytes(), &[Edit::set(None, "K", "3")]).unwrap_err();
    assert!(matches!(error, EditError::Disturbs { .. }), "{error}");
}

#[test]
fn quotes_are_kept_and_added_only_where_needed() {
    for (source, value, after) in [
        ("", "--listen", "K=--listen\n"),
        ("", "a b", "K=\"a b\"\n"),
        ("", "it's", "K=\"it's\"\n"),
        ("", "$x", "K='$x'\n"),
        ("", "$x'", "K=\"\\$x'\"\n"),
        ("", "a\\b", "K=\"a\\\\b\"\n"),
        ("", "~", "K=\"~\"\n"),
        ("K=a\n", "b", "K=b\n"),
        ("K='a'\n", "b", "K='b'\n"),
        ("K='a'\n", "b'", "K=\"b'\"\n"),
        ("\tK=\"a\"  # c\n", "b", "\tK=\"b\"  # c\n"),
        ("K='a\nb'\n", "c", "K='c'\n"),
        ("K=a", "b", "K=b"),
        ("A=1", "b", "A=1\nK=b"),
        ("A=1\r\n", "b", "A=1\r\nK=b\r\n"),
        ("#K=\"\"\nA=1\n", "b", "#K=\"\"\nK=\"b\"\nA=1\n"),
        ("# K=x is the way\n#K=1\n\nA=1\n", "b", "# K=x is the way\n#K=1\nK=b\n\nA=1\n"),
        ("A=1\n\n\n", "b", "A=1\nK=b\n\n\n"),
        // systemd before 254 would take the new line into the comment.
        ("# c \\\n", "b", "# c \\\n\nK=b\n"),
    ] {
        assert_eq!(set(source, "K", value), after, "{source:?} {value:?}");
    }
}

#[test]
fn the_last_occurrence_is_set_and_the_others_are_named() {
    let edited = apply(Dialect::Shell, b"K=1\nA=2\nK=3\n", &[Edit::set(None, "K", "4")]).unwrap();
    assert_eq!(edited.bytes, b"K=1\nA=2\nK=4\n");
    let [Note::Duplicate { place, others, may_accumulate: false }] = &edited.notes[..] else {
        panic!("{:?}", edited.notes)
    };
    assert_eq!((place.line, &others[..]), (Some(3), &[1][..]));
    assert_eq!(
        edited.notes[0].to_string(),
        "`K` at line 3: also set at line 1, which was left as it is and has no effect"
    );
}

#[test]
fn what_cannot_be_written_is_refused_with_a_remedy() {
    let refused = |edit: Edit| apply(Dialect::Shell, b"A=1\nK=2\n", &[edit]).unwrap_err().to_string();
    assert_eq!(
        refused(Edit::set(None, "K", "a\nb")),
        "`K` at line 2: the value cannot be written in a shell-style file: it has a newline, and what reads these \
         files expects one line; put it on one line"
    );
    assert_eq!(
        refused(Edit::set(None, "NEW", "a\u{1b}")),
        "`NEW` at line 3: the value cannot be written in a shell-style file: it has a control character; remove that \
         character"
    );
    assert_eq!(
        refused(Edit::set(None, "A-B", "1")),
        "`A-B`: this key cannot be written in a shell-style file: a variable's name is a letter or underscore, then \
         letters, digits and underscores; correct the name"
    );
    assert_eq!(
        refused(Edit::set(Some("x"), "K", "1")),
        "`K` of section [x]: shell-style files have no sections; leave the section out of the edit"
    );
    assert!(refused(Edit::set(None, "K", vec!["a"])).contains("it is a list"));
    let several = Edit::SetAll { section: None, key: "K".into(), values: vec!["a".into(), "b".into()] };
    assert_eq!(
        refused(several),
        "`K`: shell-style files take one value for a key, not several; set one value"
    );
}

/// Lines in errors and notes are those of the file as given, also after earlier edits moved them.
#[test]
fn line_numbers_are_those_of_the_given_file() {
    let edits = [Edit::set(None, "B", "1"), Edit::set(None, "K", "a\nb")];
    let error = apply(Dialect::Shell, b"#B=\nA=1\nK=2\n", &edits).unwrap_err();
    assert_eq!(error.place().unwrap().line, Some(3));
}

// Readers -------------------------------------------------------------------------------------------------------------

/// What sh makes of `K` in a file.
fn sh_reads(source: &[u8]) -> Vec<u8> {
    let script = [source, b"\nprintf %s \"$K\"\n"].concat();
    let mut sh = Command::new("sh").arg("-s").stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    sh.stdin.take().unwrap().write_all(&script).unwrap();
    let output = sh.wait_with_output().unwrap();
    assert!(output.status.success());
    output.stdout
}

/// What systemd's `parse_env_file_internal` makes of the value of a line `K=…`.
///
/// `old` is the parser of systemd 219: there a backslash escapes inside single quotes too, and in double quotes it
/// goes whatever follows it.
fn systemd_reads(source: &[u8], old: bool) -> Vec<u8> {
    enum At {
        Before,
        Bare,
        Quoted(u8),
    }
    let mut value = Vec::new();
    let mut state = At::Before;
    let mut bytes = source.strip_prefix(b"K=").unwrap().iter().copied();
    while let Some(byte) = bytes.next() {
        match state {
            At::Before | At::Bare if byte == b'\n' => break,
            At::Before if matches!(byte, b'\'' | b'"') => state = At::Quoted(byte),
            At::Before if byte.is_ascii_whitespace() => {}
            At::Before | At::Bare => {
                state = At::Bare;
                value.push(if byte == b'\\' { bytes.next().unwrap() } else { byte });
            }
            At::Quoted(quote) if byte == quote => state = At::Before,
            At::Quoted(quote) if byte == b'\\' && (quote == b'"' || old) => {
                let next = bytes.next().unwrap();
                if !old && !b"\"\\`$".contains(&next) {
                    value.push(b'\\');
                }
                value.push(next);
            }
            At::Quoted(_) => value.push(byte),
        }
    }
    value
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn sh_and_systemd_read_what_is_written(
        value in prop_oneof!["[ -~\t]{0,12}", "[\"'\\\\$`~ ab]{0,6}", "[ -~\u{a0}-\u{ff}]{0,6}"],
        before in prop::sample::select(&["", "K=a\n", "K='a'\n", "K=\"a\"\n", "#K=\"\"\n"][..]),
    ) {
        let after = set(before, "K", &value);
        let line = after.lines().last().unwrap();
        prop_assert_eq!(sh_reads(after.as_bytes()), value.as_bytes());
        prop_assert_eq!(systemd_reads(line.as_bytes(), false), value.as_bytes());
        prop_assert_eq!(systemd_reads(line.as_bytes(), true), value.as_bytes());
    }
}
