//! The two pools, and commands to the monitors over one connection.

use serde_json::{Value, json};

use super::CephSpec;
use crate::error::{LabError, Result};
use crate::host::Host;

/// The pool with three copies.
pub const POOL: &str = "volumes";
/// The erasure-coded pool: holds data of images whose names are in [`POOL`].
pub const CODED_POOL: &str = "volumes-coded";
/// Groups of both pools together.
pub(super) const GROUPS: usize = (POOL_GROUPS + CODED_GROUPS) as usize;

const POOL_GROUPS: u32 = 32;
const CODED_GROUPS: u32 = 16;
const COMMANDS: &str = include_str!("../../recipes/ceph/commands.py");

/// Makes both pools. All OSDs must be up: until one is, a new pool is waited for in vain.
pub(super) fn make(admin: &Host, spec: &CephSpec) -> Result<()> {
    let (k, m) = spec.coded.k_and_m();
    let application =
        |pool: &str| json!({"prefix": "osd pool application enable", "pool": pool, "app": "rbd"});
    let profile = [format!("k={k}"), format!("m={m}"), "crush-failure-domain=osd".to_owned()];
    command_all(
        admin,
        &[
            json!({"prefix": "osd pool create", "pool": POOL, "pg_num": POOL_GROUPS, "pgp_num": POOL_GROUPS}),
            application(POOL),
            json!({"prefix": "osd erasure-code-profile set", "name": "coded", "profile": profile}),
            json!({
                "prefix": "osd pool create",
                "pool": CODED_POOL,
                "pg_num": CODED_GROUPS,
                "pgp_num": CODED_GROUPS,
                "pool_type": "erasure",
                "erasure_code_profile": "coded",
            }),
            // librbd overwrites parts of objects.
            json!({"prefix": "osd pool set", "pool": CODED_POOL, "var": "allow_ec_overwrites", "val": "true"}),
            application(CODED_POOL),
        ],
    )?;
    Ok(())
}

/// Gives the monitors commands in order, and gives what each answered.
pub(super) fn command_all(admin: &Host, commands: &[Value]) -> Result<Vec<String>> {
    let lines: String = commands.iter().map(|command| format!("{command}\n")).collect();
    admin.write("/run/commands.py", COMMANDS.as_bytes(), 0o755)?;
    admin.write("/run/commands", lines.as_bytes(), 0o644)?;
    let said = admin.sh("python3 /run/commands.py </run/commands")?;
    said.lines()
        .map(|line| {
            serde_json::from_str(line).map_err(|error| {
                LabError::Refused(format!("a monitor's answer does not read: {error}: {line}"))
            })
        })
        .collect()
}
