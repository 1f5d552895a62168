//! Lossless reading and minimal editing of configuration files: INI, shell-style, libvirt-style.
//!
//! Bytes in, bytes out; nothing here opens a file, reads a clock or fails on odd input. A [`Document`] keeps every
//! byte it was made from: [`Document::bytes`] of an unedited document is its input, whatever that was, and lines that
//! the dialect's own reader would refuse are kept as they are and listed by [`Document::problems`].
//!
//! An edit touches only the lines it must and keeps indentation, the spacing around `=`, quotes, comments and line
//! endings. It is idempotent. After each one the result is read again: the wanted value must be there and every other
//! setting must be what it was, otherwise the edit is refused ([`EditError::Disturbs`]) and nothing changes.
//!
//! ```
//! use replank_conf::{Dialect, Edit, apply};
//!
//! let before = b"#listen_tls = 0\n#listen_tcp = 1\n";
//! let edited = apply(Dialect::Libvirt, before, &[Edit::set(None, "listen_tls", 0)]).unwrap();
//! assert_eq!(edited.bytes, b"#listen_tls = 0\nlisten_tls = 0\n#listen_tcp = 1\n");
//! assert_eq!(edited.changes[0].after.as_deref(), Some("listen_tls = 0"));
//! ```

mod dialect;
mod diff;
mod document;
mod edit;
mod error;
mod ini;
#[cfg(test)]
mod laws;
mod libvirt;
mod place;
mod rewrite;
mod shell;
mod text;
mod value;

pub use dialect::Dialect;
pub use diff::{LineChange, render_diff};
pub use document::{Document, Setting};
pub use edit::{Edit, Edited, Edits, MAX_BYTES, apply};
pub use error::{EditError, Note, Place, Problem, Reason};
pub use value::{Found, Value};
