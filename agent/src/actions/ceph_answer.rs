//! How the actions on Ceph say no.

use super::Failure;
use super::answer::{failure, refusal};
use crate::codes;
use crate::host::ceph::CephError;
use replank_common::outcome::Refusal;

const REMEDY: &str = "see whether `ceph --connect-timeout 10 status` answers on the host, and its keyring in /etc/ceph; then retry";

pub(super) fn ceph_refusal(error: &CephError) -> Refusal {
    refusal(codes::CEPH_SILENT, error.to_string(), REMEDY)
}

pub(super) fn ceph_failure(error: &CephError) -> Failure {
    failure(codes::CEPH_SILENT, error.to_string(), REMEDY)
}
