//! Hosts and guests: tokens, lists, revocation, the inventory.

use super::args::{InventoryArgs, TokenArgs};
use super::connect::{Asks, Coordinator, document};
use super::failure::{Failure, count};
use super::files;
use super::output::{Output, table};
use replank_common::UnixMs;
use replank_common::census::{Census, GuestState};
use replank_common::ids::HostName;
use replank_core::gate::{duration, utc};
use replank_core::inventory::Inventory;
use replank_proto::v1::{
    CreateTokenRequest, GetInventoryRequest, HostStatus, ListHostsRequest, RevokeHostRequest,
};
use serde_json::{Value, json};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What the coordinator may take beyond the hosts' own time to collect an inventory.
const COLLECTING_TIME: Duration = Duration::from_secs(150);

/// # Errors
/// As the coordinator refuses.
pub async fn token(out: Output, coordinator: &Coordinator, args: &TokenArgs) -> Result<(), Failure> {
    let host = args.name.to_string();
    let request = CreateTokenRequest { host: host.clone(), lifetime_seconds: args.minutes * 60 };
    let asks = Asks::Changes("ask for another token; the one that was lost expires unused");
    let answer = coordinator.client().create_token(Coordinator::request(request)).await;
    let made = answer.map_err(|status| coordinator.failure(asks, &status))?.into_inner();
    if out.json {
        return out
            .document(&json!({ "host": host, "token": made.token, "expires_at_ms": made.expires_at_ms }));
    }
    out.data(&format!("{}\n", made.token))?;
    out.note(&format!("for {host} alone, once, until {}", utc(made.expires_at_ms)));
    Ok(())
}

/// # Errors
/// As the coordinator refuses.
pub async fn revoke(out: Output, coordinator: &Coordinator, host: &HostName) -> Result<(), Failure> {
    let request = Coordinator::request(RevokeHostRequest { host: host.to_string() });
    let asks = Asks::Changes("see `replank host list`, and revoke again if it is not revoked");
    let answer = coordinator.client().revoke_host(request).await;
    answer.map_err(|status| coordinator.failure(asks, &status))?;
    if out.json {
        return out.document(&json!({ "host": host, "revoked": true }));
    }
    out.note(&format!("{host} is revoked; it needs a new token to come back"));
    Ok(())
}

async fn statuses(coordinator: &Coordinator) -> Result<Vec<(HostStatus, Option<Census>)>, Failure> {
    let answer = coordinator.client().list_hosts(Coordinator::request(ListHostsRequest {})).await;
    let hosts = answer.map_err(|status| coordinator.failure(Asks::Reads, &status))?.into_inner().hosts;
    let with_census = |mut status: HostStatus| {
        let bytes = std::mem::take(&mut status.census_json);
        let census = (!bytes.is_empty()).then(|| document("`host list`", &bytes)).transpose()?;
        Ok((status, census))
    };
    hosts.into_iter().map(with_census).collect()
}

/// # Errors
/// As the coordinator refuses.
pub async fn list(out: Output, coordinator: &Coordinator) -> Result<(), Failure> {
    let hosts = statuses(coordinator).await?;
    if out.json {
        let hosts: Vec<Value> =
            hosts.iter().map(|(status, census)| host_json(status, census.as_ref())).collect();
        return out.document(&json!({ "hosts": hosts }));
    }
    if hosts.is_empty() {
        out.note("no host is enrolled; begin with `replank host token NAME`");
        return Ok(());
    }
    let now_ms = now_ms();
    let rows = hosts.iter().map(|(status, census)| host_row(status, census.as_ref(), now_ms)).collect();
    out.data(&table(&["host", "link", "heard", "agent", "guests", "census", "certificate until"], rows, &[4]))
}

fn host_json(status: &HostStatus, census: Option<&Census>) -> Value {
    json!({
        "name": status.name,
        "linked": status.linked,
        "heard_at_ms": some_time(status.heard_at_ms),
        "agent_version": status.agent_version,
        "revoked": status.revoked,
        "observe_only": status.observe_only,
        "certificate_expires_at_ms": some_time(status.certificate_expires_at_ms),
        "census": census,
    })
}

fn host_row(status: &HostStatus, census: Option<&Census>, now_ms: UnixMs) -> Vec<String> {
    let dash = || "-".to_owned();
    let link = match (status.revoked, status.linked, status.observe_only) {
        (true, _, _) => "revoked",
        (false, false, _) => "down",
        (false, true, true) => "up, observes only",
        (false, true, false) => "up",
    };
    let heard = some_time(status.heard_at_ms).map_or_else(
        || "never".to_owned(),
        |at_ms| format!("{} ago", duration(now_ms.saturating_sub(at_ms))),
    );
    let agrees = census.map_or_else(dash, |census| {
        if census.agrees() { "agrees".to_owned() } else { count(census.disagreements.len(), "disagreement") }
    });
    vec![
        status.name.clone(),
        link.to_owned(),
        heard,
        if status.agent_version.is_empty() { dash() } else { status.agent_version.clone() },
        census.map_or_else(dash, |census| census.guests.len().to_string()),
        agrees,
        some_time(status.certificate_expires_at_ms).map_or_else(dash, utc),
    ]
}

/// On the wire 0 says: never.
fn some_time(at_ms: UnixMs) -> Option<UnixMs> {
    (at_ms != 0).then_some(at_ms)
}

/// # Errors
/// As the coordinator refuses.
pub async fn guests(out: Output, coordinator: &Coordinator) -> Result<(), Failure> {
    let hosts = statuses(coordinator).await?;
    if out.json {
        let guests: Vec<Value> = hosts.iter().flat_map(|(_, census)| guests_json(census.as_ref())).collect();
        return out.document(&json!({ "guests": guests }));
    }
    let mut rows = Vec::new();
    for (status, census) in &hosts {
        match census {
            Some(census) => rows.extend(guest_rows(&status.name, census)),
            None => out.note(&format!("{}: no census yet", status.name)),
        }
        for disagreement in census.iter().flat_map(|census| &census.disagreements) {
            out.note(&format!("{}: the census does not agree: {disagreement}", status.name));
        }
    }
    out.data(&table(&["host", "guest", "uuid", "pid", "state", "qemu", "emulator"], rows, &[3]))
}

fn guests_json(census: Option<&Census>) -> Vec<Value> {
    let with_host = |host: &HostName, guest| {
        let mut value = json!(guest);
        value["host"] = json!(host);
        value
    };
    census
        .map(|census| census.guests.values().map(|guest| with_host(&census.host, guest)).collect())
        .unwrap_or_default()
}

fn guest_rows(host: &str, census: &Census) -> Vec<Vec<String>> {
    let row = |guest: &replank_common::census::Guest| {
        let state = match &guest.state {
            GuestState::Running => "running".to_owned(),
            GuestState::Paused(why) => format!("paused: {why}"),
            GuestState::Other(word) => word.clone(),
            GuestState::Unknown => "cannot tell".to_owned(),
        };
        let replaced = if guest.emulator_deleted { " (replaced on disk)" } else { "" };
        vec![
            host.to_owned(),
            guest.name.clone(),
            guest.uuid.to_string(),
            guest.incarnation.pid.to_string(),
            state,
            guest.qemu_version.as_ref().map_or_else(|| "?".to_owned(), ToString::to_string),
            format!("{}{replaced}", guest.emulator.display()),
        ]
    };
    census.guests.values().map(row).collect()
}

/// Collects the inventory and writes it.
///
/// # Errors
/// As the coordinator refuses; the file cannot be written.
pub async fn inventory(out: Output, coordinator: &Coordinator, args: &InventoryArgs) -> Result<(), Failure> {
    let (inventory, bytes) = collect(out, coordinator, args.deadline).await?;
    match &args.output {
        None => out.bytes(&bytes),
        Some(path) => {
            files::write(path, &bytes)?;
            out.note(&format!("{} in `{}`", count(inventory.hosts.len(), "host"), path.display()));
            Ok(())
        }
    }
}

/// Asks every host for its facts now. Hosts that gave none are named on standard error.
///
/// # Errors
/// As the coordinator refuses.
pub async fn collect(
    out: Output,
    coordinator: &Coordinator,
    deadline_s: u32,
) -> Result<(Inventory, Vec<u8>), Failure> {
    let request = GetInventoryRequest { deadline_ms: deadline_s * 1000 };
    let limit = Duration::from_secs(deadline_s.into()) + COLLECTING_TIME;
    let answer = coordinator.client().get_inventory(Coordinator::request_within(request, limit)).await;
    let bytes =
        answer.map_err(|status| coordinator.failure(Asks::Reads, &status))?.into_inner().inventory_json;
    let inventory = Inventory::from_bytes(&bytes)
        .map_err(|error| Failure::Answer { what: "`inventory`", why: error.to_string() })?;
    for (host, why) in &inventory.missing {
        out.note(&format!("{host} gave no facts: {why}"));
    }
    Ok((inventory, bytes))
}

/// The wall clock.
pub fn now_ms() -> UnixMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    UnixMs::try_from(since.as_millis()).unwrap_or(UnixMs::MAX)
}
