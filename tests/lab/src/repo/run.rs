//! Runs one outside tool to its end.

use std::process::{Command, Stdio};

use super::RepoError;

/// How much of a failing tool's output goes into the error, in bytes.
const TAIL: usize = 2000;

/// Runs `command` without a terminal and in the C locale, and returns its standard output.
///
/// `what` is a verb phrase for the error ("index the apt archive").
pub(super) fn output(command: &mut Command, what: &str) -> Result<String, RepoError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let out = command
        .env("LC_ALL", "C.UTF-8")
        .env("DEBIAN_FRONTEND", "noninteractive")
        .stdin(Stdio::null())
        .output()
        .map_err(|source| RepoError::Start { program: program.clone(), source })?;
    let stdout = String::from_utf8_lossy(&out.stdout).into_owned();
    if out.status.success() {
        return Ok(stdout);
    }
    // Some tools (rpmbuild among them) say why on stdout.
    let said = format!("{stdout}{}", String::from_utf8_lossy(&out.stderr));
    Err(RepoError::Tool { what: what.to_owned(), program, status: out.status, stderr: tail(said.trim()) })
}

/// The last [`TAIL`] bytes of `text`, cut at a character.
fn tail(text: &str) -> String {
    let mut start = text.len().saturating_sub(TAIL);
    while !text.is_char_boundary(start) {
        start += 1;
    }
    text[start..].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_tool_is_named_with_its_last_words() {
        let error = output(Command::new("sh").args(["-c", "echo out; echo err >&2; exit 3"]), "try a thing")
            .unwrap_err();
        let text = error.to_string();
        assert!(text.starts_with("failed to try a thing: `sh` ended with exit status: 3"), "{text}");
        assert!(text.contains("out") && text.contains("err"), "{text}");
    }

    #[test]
    fn a_missing_tool_names_the_script_that_installs_it() {
        let text = output(&mut Command::new("no-such-tool-here"), "try").unwrap_err().to_string();
        assert!(text.contains("no-such-tool-here") && text.contains("setup.sh"), "{text}");
    }

    #[test]
    fn a_tail_is_cut_between_characters() {
        let text = "é".repeat(TAIL);
        assert!(tail(&text).len() <= TAIL);
    }
}
