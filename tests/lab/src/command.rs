//! Running the machine's own tools, and waiting for conditions with a deadline.

use std::ffi::OsStr;
use std::io::Write;
use std::process::{Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use crate::error::{LabError, Result};

/// How much of a failed tool's words go into the error, in characters.
const SAID_LIMIT: usize = 2000;
/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(50);

/// A command of `program` with `args`, nothing on its standard input.
pub(crate) fn command<S: AsRef<OsStr>>(program: &str, args: impl IntoIterator<Item = S>) -> Command {
    let mut command = Command::new(program);
    command.args(args).stdin(Stdio::null());
    command
}

/// Runs a command to its end; whatever its status was is in the output.
///
/// # Errors
/// [`LabError::Start`] when it could not be started.
pub(crate) fn output(mut command: Command) -> Result<Output> {
    command.output().map_err(|source| LabError::Start {
        program: command.get_program().to_string_lossy().into_owned(),
        source,
    })
}

/// Runs a command that must succeed, and gives its standard output.
pub(crate) fn must(command: Command) -> Result<String> {
    let line = line(&command);
    let output = output(command)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(line, output.status, &output))
}

/// As [`must`], with text on the command's standard input.
pub(crate) fn must_with_input(mut command: Command, input: &[u8]) -> Result<String> {
    let line = line(&command);
    let start = |source| LabError::Start { program: line.clone(), source };
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().map_err(start)?;
    if let Some(mut stdin) = child.stdin.take() {
        // A tool that stops reading says why by its status.
        let _ = stdin.write_all(input);
    }
    let output = child.wait_with_output().map_err(start)?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    Err(failed(line, output.status, &output))
}

/// The error of a command that ended badly.
pub(crate) fn failed(command: String, status: ExitStatus, output: &Output) -> LabError {
    let all = [output.stdout.as_slice(), output.stderr.as_slice()].concat();
    LabError::Command { command, status: status.to_string(), said: tail(&String::from_utf8_lossy(&all)) }
}

/// The end of a text, where the reason usually is.
pub(crate) fn tail(text: &str) -> String {
    let text = text.trim();
    let skip = text.chars().count().saturating_sub(SAID_LIMIT);
    text.chars().skip(skip).collect()
}

/// The command as a person would type it.
pub(crate) fn line(command: &Command) -> String {
    std::iter::once(command.get_program())
        .chain(command.get_args())
        .map(|word| word.to_string_lossy().into_owned())
        .collect::<Vec<_>>()
        .join(" ")
}

/// Looks until `look` gives a value, or fails with what it said last.
///
/// `look` answers `Ok(Ok(value))` when the condition holds, `Ok(Err(reason))` while it does not, and `Err` when
/// waiting on is pointless.
///
/// # Errors
/// [`LabError::Deadline`] with the last reason after `limit`; the error of `look` at once.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut look: impl FnMut() -> Result<std::result::Result<T, String>>,
) -> Result<T> {
    let since = Instant::now();
    loop {
        match look()? {
            Ok(value) => return Ok(value),
            Err(last) if since.elapsed() >= limit => {
                return Err(LabError::Deadline { what: what.to_owned(), limit, last });
            }
            Err(_) => std::thread::sleep(POLL),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_tool_says_what_it_said() {
        let error =
            must(command("sh", ["-c", "echo out; echo no such pool >&2; exit 3"])).unwrap_err().to_string();
        assert!(error.contains("exit status: 3") && error.contains("no such pool"), "{error}");
    }

    #[test]
    fn a_deadline_gives_the_last_reason() {
        let mut looks = 0;
        let error = wait_for::<()>("a green light", Duration::from_millis(60), || {
            looks += 1;
            Ok(Err("it is red".to_owned()))
        })
        .unwrap_err();
        assert!(looks >= 2 && error.to_string().ends_with("it is red"), "{error}");
    }
}
