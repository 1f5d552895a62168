//! OSDs on plain files.

use serde_json::json;
use uuid::Uuid;

use super::mons::Keys;
use super::pools;
use crate::error::{LabError, Result};
use crate::host::Host;

/// One OSD.
#[derive(Debug, Clone)]
pub(super) struct Osd {
    pub(super) id: u32,
    pub(super) host: String,
    uuid: Uuid,
}

/// OSDs for these hosts, with new identities, numbered host by host.
pub(super) fn numbered(hosts: &[Host], per_host: usize) -> Vec<Osd> {
    let places = hosts.iter().flat_map(|host| (0..per_host).map(|_| host.name().to_owned()));
    (0..).zip(places).map(|(id, host)| Osd { id, host, uuid: Uuid::new_v4() }).collect()
}

/// Makes an OSD's store; no monitor is asked.
pub(super) fn make_store(host: &Host, osd: &Osd, keys: &Keys) -> Result<()> {
    let Osd { id, uuid, .. } = osd;
    let directory = format!("/var/lib/ceph/osd/ceph-{id}");
    keys.give(host, &format!("osd.{id}"), &directory)?;
    // Asked for its configuration a monitor without a quorum does not answer, hence `--no-mon-config`.
    host.sh(&format!(
        "ceph-osd -i {id} --mkfs --no-mon-config --osd-uuid {uuid} --setuser ceph --setgroup ceph
         systemctl enable --quiet ceph-osd@{id}"
    ))?;
    Ok(())
}

/// Tells the monitors of the OSDs; they must give the numbers that the stores have.
pub(super) fn announce(admin: &Host, osds: &[Osd]) -> Result<()> {
    let commands: Vec<_> = osds
        .iter()
        .map(|osd| json!({"prefix": "osd new", "uuid": osd.uuid.to_string(), "format": "json"}))
        .collect();
    let answers = pools::command_all(admin, &commands)?;
    for (osd, answer) in osds.iter().zip(&answers) {
        let given: serde_json::Value = serde_json::from_str(answer).unwrap_or_default();
        if given["osdid"] != osd.id {
            return Err(LabError::Refused(format!("osd.{} was given another number: {answer}", osd.id)));
        }
    }
    Ok(())
}

/// Starts a host's OSDs. They place themselves in the CRUSH map.
pub(super) fn start(host: &Host, osds: &[Osd]) -> Result<()> {
    let units: Vec<String> =
        osds.iter().filter(|osd| osd.host == host.name()).map(|osd| format!("ceph-osd@{}", osd.id)).collect();
    let argv: Vec<&str> =
        ["systemctl", "start"].into_iter().chain(units.iter().map(String::as_str)).collect();
    host.must(&argv)?;
    Ok(())
}
