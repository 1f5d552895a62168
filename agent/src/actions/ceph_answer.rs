//! How the actions on Ceph say no.

use super::Failure;
use super::answer::{failure, refusal};
use crate::codes;
use crate::host::ceph::CephError;
use crate::host::command::CommandError;
use replank_common::outcome::Refusal;

const SILENT: &str = "see whether `ceph --connect-timeout 10 status` answers on the host, and its keyring in /etc/ceph; then retry";
const REFUSED: &str =
    "see what it says, and what this host's key may do (`ceph auth get client.admin`); then retry";

pub(super) fn ceph_refusal(error: &CephError) -> Refusal {
    let (code, remedy) = told(error);
    refusal(code, error.to_string(), remedy)
}

pub(super) fn ceph_failure(error: &CephError) -> Failure {
    let (code, remedy) = told(error);
    failure(code, error.to_string(), remedy)
}

fn told(error: &CephError) -> (&'static str, &'static str) {
    match answered_no(error) {
        Some(_) => (codes::CEPH_REFUSED, REFUSED),
        None => (codes::CEPH_SILENT, SILENT),
    }
}

/// By which errno the cluster answered a command with a no: the tool writes `Error EINVAL: why` of what a daemon answered (ceph 0.94 to 18, src/ceph.in). `None`: there
/// was no answer. Of two errnos it writes the same when no daemon answered in time.
pub(super) fn answered_no(error: &CephError) -> Option<&str> {
    let CephError::Tool(CommandError::Failed { said, .. }) = error else { return None };
    said.lines().find_map(|line| {
        let (errno, _) = line.trim().strip_prefix("Error ")?.split_once(':')?;
        let is_one = errno.starts_with('E') && errno.bytes().all(|byte| byte.is_ascii_uppercase());
        (is_one && !matches!(errno, "EINTR" | "ETIMEDOUT")).then_some(errno)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_no_of_the_cluster_is_no_silence() {
        let of = |said: &str| {
            CephError::Tool(CommandError::Failed {
                command: "ceph osd set noout".to_owned(),
                status: "exit code 1".to_owned(),
                said: said.to_owned(),
            })
        };
        for (said, code) in [
            ("Error EINVAL: unrecognized config option 'x'", codes::CEPH_REFUSED),
            ("a warning\nError EPERM: not all up OSDs have it", codes::CEPH_REFUSED),
            ("[errno 2] error connecting to the cluster", codes::CEPH_SILENT),
            ("Error connecting to cluster: ObjectNotFound", codes::CEPH_SILENT),
            ("Error EINTR: problem getting command descriptions from mon.", codes::CEPH_SILENT),
            ("", codes::CEPH_SILENT),
        ] {
            assert_eq!(ceph_refusal(&of(said)).code, code, "{said}");
        }
        assert_eq!(answered_no(&of("a warning\n Error EPERM: no")), Some("EPERM"));
    }
}
