//! The dialects and what differs between them.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::document::{Parsed, Style};
use crate::value::Value;
use crate::{ini, libvirt, shell, text};

/// The grammar of a file, which is to say: the program that reads it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Dialect {
    /// oslo.config INI (`oslo_config/iniparser.py`): `key = value` or `key: value`, whole-line `#` and `;` comments
    /// only, indented lines continue a value, repeated keys accumulate (`MultiStrOpt`) and the last one counts
    /// otherwise. Section names are compared without case, except `DEFAULT`.
    Oslo,
    /// systemd units (`src/shared/conf-parser.c`): `key=value`, a backslash at the end of a line continues it, repeated
    /// keys accumulate, an empty assignment resets what came before.
    Systemd,
    /// `.repo` files and dnf.conf (libdnf's `iniparser.cpp`): `key=value`, indented lines continue a value. What is
    /// written, yum 3 reads alike.
    Dnf,
    /// ceph.conf (`src/common/ConfUtils.cc`): `key = value`, comments after a value, a backslash escapes the next character or
    /// continues the line, white space in a key stands for underscores, and the last of several occurrences counts.
    Ceph,
    /// `/etc/sysconfig` and `/etc/default`: assignments that sh and systemd's `EnvironmentFile=` (`env-file.c`) both
    /// read. What is written, both read alike, back to systemd 219.
    Shell,
    /// libvirtd.conf, qemu.conf and their like (`src/util/virconf.c`): strings, numbers, lists; comments after a value.
    /// **The first of several occurrences counts** (`virConfGetValue`).
    Libvirt,
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Oslo => "oslo.config",
            Self::Systemd => "systemd unit",
            Self::Dnf => "yum/dnf",
            Self::Ceph => "ceph.conf",
            Self::Shell => "shell-style",
            Self::Libvirt => "libvirt-style",
        })
    }
}

/// Why a value cannot be written, and what to do instead.
pub(crate) struct Refusal {
    pub(crate) why: &'static str,
    pub(crate) remedy: &'static str,
}

impl Dialect {
    pub(crate) fn has_sections(self) -> bool {
        match self {
            Self::Oslo | Self::Systemd | Self::Dnf | Self::Ceph => true,
            Self::Shell | Self::Libvirt => false,
        }
    }

    /// Whether a key may be given several times to give it several values.
    pub fn is_multi_valued(self) -> bool {
        match self {
            Self::Oslo | Self::Systemd => true,
            Self::Dnf | Self::Ceph | Self::Shell | Self::Libvirt => false,
        }
    }

    /// Whether the first of several occurrences is the one that counts, and not the last.
    pub(crate) fn first_counts(self) -> bool {
        match self {
            Self::Libvirt => true,
            Self::Oslo | Self::Systemd | Self::Dnf | Self::Ceph | Self::Shell => false,
        }
    }

    /// Whether an older reader joins this comment with the line after it.
    pub(crate) fn comment_continues(self, comment: &[u8]) -> bool {
        match self {
            Self::Systemd | Self::Shell => text::ends_escaped(comment),
            Self::Ceph => comment.ends_with(b"\\"),
            Self::Oslo | Self::Dnf | Self::Libvirt => false,
        }
    }

    /// Whether a last line without a newline is lost on its readers.
    pub(crate) fn ends_in_newline(self) -> bool {
        match self {
            Self::Ceph => true,
            Self::Oslo | Self::Systemd | Self::Dnf | Self::Shell | Self::Libvirt => false,
        }
    }

    /// What stands between key and value where the file itself gives no example.
    pub(crate) fn default_gap(self) -> &'static [u8] {
        match self {
            Self::Oslo | Self::Ceph | Self::Libvirt => b" = ",
            Self::Systemd | Self::Dnf | Self::Shell => b"=",
        }
    }

    /// Whether a section header of the file is the section asked for.
    pub(crate) fn same_section(self, found: &[u8], asked: &str) -> bool {
        match self {
            // cfg.py `_normalize_group_name`: lower case, except DEFAULT.
            Self::Oslo if asked != "DEFAULT" && found != b"DEFAULT" => {
                String::from_utf8_lossy(found).to_lowercase() == asked.to_lowercase()
            }
            Self::Oslo | Self::Systemd | Self::Dnf | Self::Ceph | Self::Shell | Self::Libvirt => {
                found == asked.as_bytes()
            }
        }
    }

    /// Whether a key of the file is the key asked for.
    pub(crate) fn same_key(self, found: &[u8], asked: &str) -> bool {
        match self {
            Self::Ceph => ini::same_ceph_key(found, asked.as_bytes()),
            Self::Oslo | Self::Systemd | Self::Dnf | Self::Shell | Self::Libvirt => found == asked.as_bytes(),
        }
    }

    pub(crate) fn parse(self, source: &[u8]) -> Parsed {
        match self {
            Self::Oslo => ini::parse_oslo(source),
            Self::Systemd => ini::parse_systemd(source),
            Self::Dnf => ini::parse_dnf(source),
            Self::Ceph => ini::parse_ceph(source),
            Self::Shell => shell::parse(source),
            Self::Libvirt => libvirt::parse(source),
        }
    }

    /// The value in the form in which this dialect reads it back.
    pub(crate) fn normalise(self, value: &Value) -> Result<Value, Refusal> {
        match (self, value) {
            (Self::Libvirt, _) | (_, Value::Text(_)) => Ok(value.clone()),
            (_, Value::Integer(number)) => Ok(Value::Text(number.to_string())),
            (_, Value::List(_)) => Err(Refusal {
                why: "it is a list, and the dialect knows text only",
                remedy: "give one text, joined as the program expects it, or set the key several times",
            }),
        }
    }

    /// The bytes of a normalised value, in the style of the line it replaces.
    pub(crate) fn encode(self, value: &Value, style: &Style) -> Result<Vec<u8>, Refusal> {
        match (self, value) {
            (Self::Libvirt, _) => libvirt::encode(value, style),
            (Self::Oslo, Value::Text(text)) => ini::encode_oslo(text, style),
            (Self::Systemd, Value::Text(text)) => ini::encode_systemd(text),
            (Self::Dnf, Value::Text(text)) => ini::encode_dnf(text, style),
            (Self::Ceph, Value::Text(text)) => ini::encode_ceph(text, style),
            (Self::Shell, Value::Text(text)) => shell::encode(text, style),
            (_, Value::Integer(_) | Value::List(_)) => {
                Err(Refusal { why: "it is not text", remedy: "give the value as text" })
            }
        }
    }

    pub(crate) fn check_key(self, key: &str) -> Result<(), &'static str> {
        match self {
            Self::Oslo => ini::check_key(key, &['=', ':']),
            Self::Systemd | Self::Dnf => ini::check_key(key, &['=']),
            Self::Ceph => ini::check_ceph_key(key),
            Self::Shell => shell::check_key(key),
            Self::Libvirt => libvirt::check_key(key),
        }
    }
}
