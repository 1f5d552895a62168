//! The laws of the crate, on arbitrary bytes and on text made of the fragments that the grammars care about.

use std::fmt;

use proptest::prelude::*;

use crate::document::{Document, Kind};
use crate::text;
use crate::{Dialect, Edit, EditError, Value, apply};

const DIALECTS: [Dialect; 6] =
    [Dialect::Oslo, Dialect::Systemd, Dialect::Dnf, Dialect::Ceph, Dialect::Shell, Dialect::Libvirt];

/// Pieces that mean something to at least one of the grammars; `key` and `[sec]` are what the edits below ask for.
const FRAGMENTS: &[&[u8]] = &[
    b"\n",
    b"\n",
    b"\n",
    b"\n",
    b"\r\n",
    b"\r",
    b"\0",
    b" ",
    b"    ",
    b"\t",
    b"\\",
    b"\\\n",
    b"[sec]\n",
    b"[SEC]\n",
    b"[DEFAULT]\n",
    b"[other]",
    b"[",
    b"]",
    b"[]",
    b"key",
    b"key=",
    b"key = ",
    b"key: ",
    b"other = 2\n",
    b"a=b\n",
    b"v",
    b"\"x y\"",
    b"'q'",
    b"\"",
    b"'",
    b"\"\"\"",
    b"#",
    b"#key = 1\n",
    b"# key = 1",
    b"#key=\"v\"\n",
    b"#key = [\n#  \"a\"\n#]\n",
    b";",
    b"; c\n",
    b" # c\n",
    b"=",
    b":",
    b",",
    b"[ \"a\", \"b\" ]",
    b"[ \"a\",\n  1 ]\n",
    b"12",
    b"-3",
    b"export ",
    b"$x",
    b"${y}",
    b"$(",
    b"`",
    b"~",
    b"&",
    b"<<",
    b"\xef\xbb\xbf",
    b"\xff",
    b"\xc2\xa0",
    b"\x1c",
    b"%s",
    b"  cont\n",
];

/// Bytes that a failure prints readably.
#[derive(Clone)]
struct Source(Vec<u8>);

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "b\"{}\"", self.0.escape_ascii())
    }
}

fn bytes() -> impl Strategy<Value = Source> {
    let fragments = prop::collection::vec(prop::sample::select(FRAGMENTS), 0..24);
    prop_oneof![
        1 => prop::collection::vec(any::<u8>(), 0..120),
        6 => fragments.prop_map(|pieces| pieces.concat()),
    ]
    .prop_map(Source)
}

/// Files that each dialect's own reader accepts.
fn sound() -> impl Strategy<Value = (Dialect, Vec<u8>)> {
    let lines =
        |choices: &'static [&'static str]| prop::collection::vec(prop::sample::select(choices), 0..14);
    let ini = |dialect, choices| {
        lines(choices).prop_map(move |lines| (dialect, ["[sec]\n", &lines.concat()].concat().into_bytes()))
    };
    let flat =
        |dialect, choices| lines(choices).prop_map(move |lines| (dialect, lines.concat().into_bytes()));
    prop_oneof![
        ini(
            Dialect::Oslo,
            &[
                "[other]\n",
                "[sec]\n",
                "\n",
                "# text\n",
                "key = 1\n",
                "key : 2\n  3\n",
                "#key = 0\n",
                "a = 'b'\n",
                "c=\n"
            ],
        ),
        ini(
            Dialect::Systemd,
            &[
                "[other]\n",
                "[sec]\n",
                "\n",
                "# text\n",
                "  ; text\n",
                "key=1\n",
                "key=2 \\\n  3\n",
                "#key=0\n",
                "a=b\n"
            ],
        ),
        ini(
            Dialect::Dnf,
            &["[other] # c\n", "[sec]\n", "\n", "# text\n", "key=1\n", "key = 2\n  3\n", "#key=0\n", "a=b\n"],
        ),
        ini(
            Dialect::Ceph,
            &[
                "[other] ; c\n",
                "[sec]\n",
                "\n",
                "# text\n",
                "  ; text\n",
                "key = 1\n",
                "\tkey=2 \\\n  3 # c\n",
                "#key = 0\n",
                "a b = \"c d\" # e\n",
                "a\tc =\n"
            ],
        ),
        flat(
            Dialect::Shell,
            &[
                "\n",
                "# text\n",
                "key=1\n",
                "key='2 3' # c\n",
                "#key=\"0\"\n",
                "export a=\"b\nc\"\n",
                "d=$e\n",
                "  f=\n"
            ],
        ),
        flat(
            Dialect::Libvirt,
            &[
                "\n",
                "# text\n",
                "key = \"1\"\n",
                "key=[ \"2\",\n \"3\", ]\n",
                "#key = \"0\"\n",
                "a = 5 # c\n",
                "b='c'\n"
            ],
        ),
    ]
}

fn value() -> impl Strategy<Value = Value> {
    let text = prop_oneof![
        4 => "[ -~]{0,10}",
        2 => "[\"'\\\\$`;# ]{0,4}",
        1 => "[a-z\n \t]{0,8}",
        1 => any::<String>(),
    ];
    let flat = prop_oneof![4 => text.prop_map(Value::Text), 1 => any::<i64>().prop_map(Value::Integer)];
    let list = prop::collection::vec(flat.clone(), 0..4).prop_map(Value::List);
    prop_oneof![6 => flat, 1 => list]
}

fn section_of(dialect: Dialect) -> Option<&'static str> {
    dialect.has_sections().then_some("sec")
}

/// The file's lines, terminators included (except the last one's, which an append has to complete), without those that
/// belong to `key`.
fn foreign_lines(document: &Document) -> Vec<Vec<u8>> {
    let section = section_of(document.dialect);
    let source = document.bytes();
    let own: Vec<_> = document.occurrences(section, "key").map(|(item, _)| item.span.clone()).collect();
    text::lines(source, text::bom_len(source))
        .into_iter()
        .filter(|line| !own.iter().any(|span| span.start < line.next && line.start < span.end))
        .map(|line| source[line.start..line.next].to_vec())
        .collect()
}

fn without_last_eol(mut lines: Vec<Vec<u8>>) -> Vec<Vec<u8>> {
    if let Some(last) = lines.last_mut() {
        let content = text::line_at(last, 0).end;
        last.truncate(content);
    }
    lines
}

fn has_section(document: &Document) -> bool {
    section_of(document.dialect)
        .is_none_or(|name| document.sections().any(|found| document.dialect.same_section(found, name)))
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 2000, ..ProptestConfig::default() })]

    #[test]
    fn any_bytes_round_trip(Source(source) in bytes()) {
        for dialect in DIALECTS {
            let document = Document::parse(dialect, &source);
            prop_assert_eq!(document.bytes(), &source[..]);
            let joined: Vec<u8> =
                document.items.iter().flat_map(|item| source[item.span.clone()].iter().copied()).collect();
            prop_assert_eq!(&joined, &source, "the items are the source");
            let lines = text::lines(&source, 0).len();
            for problem in document.problems() {
                prop_assert!((1..=lines).contains(&problem.line));
            }
            let opaque = document.items.iter().filter(|item| matches!(item.kind, Kind::Opaque)).count();
            prop_assert!(document.problems().len() >= opaque, "every line kept verbatim is reported");
            for edits in [&[][..], &[Edit::unset(section_of(dialect), "nowhere")]] {
                prop_assert_eq!(apply(dialect, &source, edits).unwrap().bytes, source.clone());
            }
        }
    }

    #[test]
    fn set_then_get(Source(source) in bytes(), value in value()) {
        for dialect in DIALECTS {
            let section = section_of(dialect);
            let before = Document::parse(dialect, &source);
            let mut document = before.clone();
            if document.set(section, "key", value.clone()).is_err() {
                prop_assert_eq!(document.bytes(), &source[..], "an error changes nothing");
                continue;
            }
            let wanted = dialect.normalise(&value).ok();
            let found = document.get(section, "key").and_then(|found| found.value()).cloned();
            prop_assert_eq!(found, wanted);
            let again = apply(dialect, document.bytes(), &[Edit::set(section, "key", value.clone())]).unwrap();
            prop_assert_eq!(&again.bytes[..], document.bytes(), "a second time changes nothing");
            prop_assert_eq!(again.changes, vec![]);
        }
    }

    #[test]
    fn set_touches_only_lines_of_the_key(Source(source) in bytes(), value in value()) {
        for dialect in DIALECTS {
            let before = Document::parse(dialect, &source);
            let mut document = before.clone();
            if document.set(section_of(dialect), "key", value.clone()).is_err() {
                continue;
            }
            let old = without_last_eol(foreign_lines(&before));
            let new = foreign_lines(&document);
            if has_section(&before) && new.len() == old.len() {
                prop_assert_eq!(old, without_last_eol(new));
            } else {
                // A new section's header and the empty line before it; or the empty line that ends a comment for
                // older readers.
                let more = new.len() - old.len();
                prop_assert!(more <= 2);
                let kept = |new: &[Vec<u8>]| {
                    let mut rest = new.iter().map(|line| &line[..text::line_at(line, 0).end]);
                    old.iter().map(|line| &line[..text::line_at(line, 0).end]).all(|o| rest.any(|n| n == o))
                };
                prop_assert!(kept(&new));
            }
        }
    }

    #[test]
    fn unset_undoes_set(Source(source) in bytes(), value in value()) {
        for dialect in DIALECTS {
            let section = section_of(dialect);
            let before = Document::parse(dialect, &source);
            let mut document = before.clone();
            let absent = before.get(section, "key").is_none();
            if document.set(section, "key", value.clone()).is_err() {
                continue;
            }
            match document.unset(section, "key") {
                Ok(_) => prop_assert!(document.get(section, "key").is_none()),
                Err(error) => {
                    let shared = matches!(error, EditError::SharedLine { .. } | EditError::Disturbs { .. });
                    prop_assert!(shared && !absent, "{}", error);
                    continue;
                }
            }
            // An empty line stays that keeps older readers from taking the new line into the comment before it.
            let padded = text::lines(&source, 0).iter().any(|line| {
                let line = line.of(&source);
                text::ends_escaped(line) || dialect.comment_continues(line)
            });
            // So does the newline at the end that a reader needs.
            let padded = padded || dialect.ends_in_newline() && !source.ends_with(b"\n");
            if absent && has_section(&before) && !padded {
                prop_assert_eq!(document.bytes(), &source[..]);
            }
        }
    }

    #[test]
    fn comment_out_hides_and_set_comes_back_beside_it(Source(source) in bytes()) {
        for dialect in DIALECTS {
            let section = section_of(dialect);
            let mut document = Document::parse(dialect, &source);
            let lines = text::lines(&source, 0).len();
            if document.comment_out(section, "key").is_err() {
                prop_assert_eq!(document.bytes(), &source[..]);
                continue;
            }
            prop_assert!(document.get(section, "key").is_none());
            prop_assert_eq!(text::lines(document.bytes(), 0).len(), lines, "no line goes");
            let once = document.bytes().to_vec();
            document.comment_out(section, "key").unwrap();
            prop_assert_eq!(document.bytes(), &once[..]);
        }
    }

    #[test]
    fn set_all_gives_exactly_these(Source(source) in bytes(), values in prop::collection::vec("[a-z =\"']{0,5}", 0..4)) {
        let values: Vec<Value> = values.into_iter().map(Value::Text).collect();
        for dialect in [Dialect::Oslo, Dialect::Systemd] {
            let section = section_of(dialect);
            let mut document = Document::parse(dialect, &source);
            if document.set_all(section, "key", &values).is_err() {
                prop_assert_eq!(document.bytes(), &source[..]);
                continue;
            }
            let found: Vec<_> =
                document.occurrences(section, "key").filter_map(|(_, e)| e.found.value().cloned()).collect();
            prop_assert_eq!(&found, &values);
            let once = document.bytes().to_vec();
            document.set_all(section, "key", &values).unwrap();
            prop_assert_eq!(document.bytes(), &once[..]);
        }
    }

    /// The refusals above are for files with broken lines: a sound file takes every plain value.
    #[test]
    fn sound_files_take_any_edit((dialect, source) in sound(), value in "[a-z][a-z -]{0,6}[a-z]") {
        let section = section_of(dialect);
        let edits = [
            Edit::set(section, "key", value.as_str()),
            Edit::set(section, "fresh", value.as_str()),
            Edit::comment_out(section, "key"),
            Edit::set(section, "key", "back"),
            Edit::unset(section, "key"),
        ];
        for edit in edits {
            let edited = apply(dialect, &source, std::slice::from_ref(&edit));
            prop_assert!(edited.is_ok(), "{:?}: {}", edit, edited.unwrap_err());
        }
        prop_assert!(apply(dialect, &source, &[Edit::comment_out(section, "key"), Edit::set(section, "key", "v")]).is_ok());
        let document = Document::parse(dialect, &source);
        prop_assert_eq!(document.problems(), &[]);
    }
}
