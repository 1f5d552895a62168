//! How the actions on Ceph say no.

use super::Failure;
use super::answer::{failure, refusal};
use crate::codes;
use crate::host::ceph::CephError;
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
    match error.answered_no() {
        Some(_) => (codes::CEPH_REFUSED, REFUSED),
        None => (codes::CEPH_SILENT, SILENT),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::command::CommandError;

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
        assert_eq!(of("a warning\n Error EPERM: no").answered_no(), Some("EPERM"));
    }
}
