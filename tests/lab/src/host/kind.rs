//! What a host is for: decides its name, its root and when it counts as up.

use serde::{Deserialize, Serialize};

/// What a host is for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Runs guests under libvirt: `compute1`, …
    #[default]
    Compute,
    /// Runs daemons of a Ceph cluster: `ceph1`, …
    Ceph,
    /// Uses a Ceph cluster and runs none of it: `client`.
    Client,
}

impl Kind {
    /// The name of the host of this kind with this number, counted from 1.
    pub(crate) fn host_name(self, number: usize) -> String {
        match self {
            Self::Compute => format!("compute{number}"),
            Self::Ceph => format!("ceph{number}"),
            Self::Client => "client".to_owned(),
        }
    }
}
