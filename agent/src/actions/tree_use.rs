//! Who uses a tree of replank's own: nothing that a process runs, maps or has open is ever removed.

use super::answer::refusal;
use crate::codes;
use crate::host::{Host, mapped};
use replank_common::outcome::Refusal;
use std::path::Path;

/// Names are given up to this many.
const NAMED: usize = 5;

/// # Errors
/// `RP5204` when a process uses anything below `tree` (a path from here), or when it cannot be told.
pub(super) fn refuse_in_use(host: &Host, tree: &Path, remedy: &str) -> Result<(), Refusal> {
    let users = mapped::users_of(host, tree).map_err(|e| {
        refusal(
            codes::TREE_IN_USE,
            format!("it cannot be told who uses {}: {e}", tree.display()),
            "see the message, then retry",
        )
    })?;
    if users.is_empty() {
        return Ok(());
    }
    let census = host.guests.census();
    let name = |pid: u32| match census.guests.values().find(|guest| guest.incarnation.pid == pid) {
        Some(guest) => format!("guest {}", guest.name),
        None => {
            let program = std::fs::read_to_string(host.at(format!("/proc/{pid}/comm"))).unwrap_or_default();
            format!("process {pid} ({})", program.trim())
        }
    };
    let mut who: Vec<String> = users
        .iter()
        .take(NAMED)
        .map(|(pid, path)| format!("{} uses {}", name(*pid), path.display()))
        .collect();
    if users.len() > NAMED {
        who.push(format!("and {} more processes", users.len() - NAMED));
    }
    Err(refusal(codes::TREE_IN_USE, format!("{} stays: {}", tree.display(), who.join(", ")), remedy))
}
