//! JSON as Ceph prints it: lines before it, numbers as text, text as numbers, yes and no in four spellings.

use super::error::{DocumentError, Place, Reading};
use serde::Deserialize;
use serde::de::{Deserializer, Error, Unexpected, Visitor};
use serde_json::error::Category;
use std::fmt;
use std::net::IpAddr;

impl Reading<'_> {
    /// The one JSON value in `bytes`. Lines before it, and lines after it that begin with `dumped`, are what `ceph` says to people when
    /// both of its outputs went into one file.
    pub(super) fn json<'de, T: Deserialize<'de>>(&self, bytes: &'de [u8]) -> Result<T, DocumentError> {
        let Some((start, lines)) = json_start(bytes) else {
            return Err(self.not_json(Place::Whole, "there is no JSON in it"));
        };
        let json = &bytes[start..];
        let mut values = serde_json::Deserializer::from_slice(json).into_iter::<T>();
        let value = match values.next() {
            Some(Ok(value)) => value,
            Some(Err(error)) => return Err(self.not_value(&error, lines)),
            None => return Err(self.not_json(Place::Whole, "there is no JSON in it")),
        };
        let rest = String::from_utf8_lossy(&json[values.byte_offset()..]);
        let talk = |line: &str| line.trim().is_empty() || line.trim_start().starts_with("dumped");
        if !rest.lines().all(talk) {
            return Err(self.not_json(Place::Whole, "there is more after the JSON"));
        }
        Ok(value)
    }

    fn not_value(&self, error: &serde_json::Error, lines: usize) -> DocumentError {
        let place = Place::Line { line: error.line() + lines, column: error.column() };
        let problem = match error.classify() {
            Category::Eof => "it ends in the middle".to_owned(),
            Category::Io | Category::Syntax | Category::Data => {
                let text = error.to_string();
                // serde_json counts from where the JSON begins; the place above counts from the first line.
                text.rsplit_once(" at line ").map_or(text.clone(), |(what, _)| what.to_owned())
            }
        };
        self.not_json(place, problem)
    }
}

/// Where the first line that can begin JSON does, and how many lines are before it.
fn json_start(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut at = 0;
    for (lines, line) in bytes.split_inclusive(|byte| *byte == b'\n').enumerate() {
        if line.trim_ascii_start().first().is_some_and(|byte| matches!(byte, b'{' | b'[')) {
            return Some((at, lines));
        }
        at += line.len();
    }
    None
}

/// A whole number, whatever it is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Whole(pub(super) i128);

impl Whole {
    /// `None` for what does not fit.
    pub(super) fn u32(self) -> Option<u32> {
        u32::try_from(self.0).ok()
    }

    /// A set of bits that some releases print as a signed number.
    pub(super) fn bits(self) -> Option<u64> {
        match u64::try_from(self.0) {
            Ok(bits) => Some(bits),
            // The same 64 bits, read as they were written.
            Err(_) => i64::try_from(self.0).ok().map(|signed| signed as u64),
        }
    }
}

impl<'de> Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Whole;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a whole number")
            }
            fn visit_u64<E>(self, value: u64) -> Result<Whole, E> {
                Ok(Whole(value.into()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Whole, E> {
                Ok(Whole(value.into()))
            }
            fn visit_f64<E: Error>(self, value: f64) -> Result<Whole, E> {
                if value.fract() != 0.0 || value.abs() > 1e15 {
                    return Err(E::invalid_value(Unexpected::Float(value), &self));
                }
                Ok(Whole(value as i128))
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Whole, E> {
                value.trim().parse().map(Whole).map_err(|_| E::invalid_value(Unexpected::Str(value), &self))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// Yes or no: `true`, `1`, `"1"` or `"true"`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Truth(pub(super) bool);

impl<'de> Deserialize<'de> for Truth {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Truth;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("yes or no")
            }
            fn visit_bool<E>(self, value: bool) -> Result<Truth, E> {
                Ok(Truth(value))
            }
            fn visit_u64<E: Error>(self, value: u64) -> Result<Truth, E> {
                match value {
                    0 => Ok(Truth(false)),
                    1 => Ok(Truth(true)),
                    _ => Err(E::invalid_value(Unexpected::Unsigned(value), &self)),
                }
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<Truth, E> {
                match value {
                    "0" | "false" => Ok(Truth(false)),
                    "1" | "true" => Ok(Truth(true)),
                    _ => Err(E::invalid_value(Unexpected::Str(value), &self)),
                }
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// A text, which an old release may have printed as a bare number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text(pub(super) String);

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Text;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a text or a number")
            }
            fn visit_str<E>(self, value: &str) -> Result<Text, E> {
                Ok(Text(value.to_owned()))
            }
            fn visit_u64<E>(self, value: u64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_i64<E>(self, value: i64) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
            fn visit_bool<E>(self, value: bool) -> Result<Text, E> {
                Ok(Text(value.to_string()))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// `public_addrs` since Nautilus.
#[derive(Debug, Deserialize)]
pub(super) struct Addresses {
    #[serde(default)]
    addrvec: Vec<Address>,
}

#[derive(Debug, Deserialize)]
struct Address {
    addr: Option<String>,
}

/// The IP address at which a daemon is reached, from either spelling. Blank addresses (`:/0`, `-`) are none.
pub(super) fn ip_of(many: Option<&Addresses>, one: Option<&str>) -> Option<IpAddr> {
    let all = many.into_iter().flat_map(|addresses| &addresses.addrvec);
    all.filter_map(|address| address.addr.as_deref()).chain(one).find_map(ip)
}

/// The IP address in `10.5.0.21:6800/19211`, `[fd00::1]:6789/0`, or `v2:10.5.0.21:3300/0`.
fn ip(text: &str) -> Option<IpAddr> {
    let text = text.trim_start_matches("v1:").trim_start_matches("v2:");
    let address = match text.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?.0,
        None => text.split_once(':')?.0,
    };
    address.parse().ok().filter(|address: &IpAddr| !address.is_unspecified())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::documents::Kind;

    const READING: Reading<'_> = Reading { kind: Kind::PgDump, file: "pg.json" };

    #[test]
    fn lines_around_the_json_are_skipped_and_lines_are_counted_over_the_whole_file() {
        let said =
            b"2016-11-12 7f3c WARNING: harmless\ndumped all in format json\n  {\"a\": 1}\ndumped pgs\n";
        assert_eq!(READING.json::<serde_json::Value>(said).unwrap()["a"], 1);
        for (text, place, problem) in [
            ("dumped all\n{\"a\": }", Place::Line { line: 2, column: 7 }, "expected value"),
            ("dumped all\n[1,\n2", Place::Line { line: 3, column: 1 }, "it ends in the middle"),
            ("Error EACCES: access denied\n", Place::Whole, "there is no JSON in it"),
            ("{}{}", Place::Whole, "there is more after the JSON"),
        ] {
            let error = READING.json::<serde_json::Value>(text.as_bytes()).unwrap_err();
            assert_eq!((error.place, error.problem.as_str()), (place, problem), "{text}");
            assert!(error.remedy.contains("ceph pg dump"), "{}", error.remedy);
        }
    }

    #[test]
    fn numbers_and_truths_are_read_in_every_spelling() {
        let whole = |text: &str| serde_json::from_str::<Whole>(text).ok().map(|whole| whole.0);
        assert_eq!(whole("12"), Some(12));
        assert_eq!(whole("\"12\""), Some(12));
        assert_eq!(whole("12.0"), Some(12));
        assert_eq!(whole("-1"), Some(-1));
        for text in ["1.5", "\"x\"", "\"\"", "null", "true", "[]"] {
            assert_eq!(whole(text), None, "{text}");
        }
        let truth = |text: &str| serde_json::from_str::<Truth>(text).ok().map(|truth| truth.0);
        assert_eq!(["true", "1", "\"1\"", "\"true\""].map(truth), [Some(true); 4]);
        assert_eq!(["false", "0", "\"0\"", "\"false\""].map(truth), [Some(false); 4]);
        assert_eq!(["2", "\"yes\"", "null"].map(truth), [None; 3]);
        // Jewel's features, printed as a signed number once bit 63 is set.
        assert_eq!(Whole(-9_223_372_036_854_775_807).bits(), Some(1 << 63 | 1));
    }

    #[test]
    fn addresses_are_read_with_and_without_messenger_and_port() {
        for (text, expected) in [
            ("10.5.0.21:6800/19211", Some("10.5.0.21")),
            ("[fd00::1]:6789/0", Some("fd00::1")),
            ("v2:10.5.0.21:3300/0", Some("10.5.0.21")),
            (":/0", None),
            ("-", None),
            ("0.0.0.0:0/0", None),
        ] {
            assert_eq!(ip(text), expected.map(|text| text.parse().unwrap()), "{text}");
        }
    }
}
