//! The network of a lab: one namespace with a bridge, and one namespace per host, tied by a veth.
//!
//! ```text
//! namespace rl.LAB                    namespace rl.LAB.compute1
//!   lab0 (bridge) 10.77.0.1/24          host0 10.77.0.11/24
//!     port0 ──────────────────────────── (veth)
//! ```
//! Nothing of it is in the machine's own namespace, so neither its addresses nor its firewall matter, lab traffic
//! stays inside, and any number of labs use the same addresses at once. Hosts have no route out.

use std::fs;
use std::net::Ipv4Addr;
use std::os::unix::fs::MetadataExt;
use std::process::Command;

use nix::sched::{CloneFlags, setns};

use crate::command::{command, must, must_with_input};
use crate::error::{IoContext, LabError, Result};
use crate::name::{LabName, NAMESPACES, namespace_path};
use crate::process::{self, Process};

/// The bridge's address: the coordinator's, and that of the recorder of beats.
pub const COORDINATOR: Ipv4Addr = Ipv4Addr::new(10, 77, 0, 1);
/// Hosts are counted from 1, and the address plan ends here.
pub const MAX_HOSTS: usize = 200;
const PREFIX: u8 = 24;
const BRIDGE: &str = "lab0";
const CUT_TABLE: &str = "inet replank_cut";

/// The address of the host with this index, counted from 0.
pub(crate) fn host_address(index: usize) -> Result<Ipv4Addr> {
    u8::try_from(index + 11)
        .ok()
        .filter(|_| index < MAX_HOSTS)
        .map(|last| Ipv4Addr::new(10, 77, 0, last))
        .ok_or_else(|| LabError::Refused(format!("a lab has at most {MAX_HOSTS} hosts")))
}

/// Which frames of a link are dropped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cut {
    /// Both ways.
    Both,
    /// What the host sends: the coordinator's words still arrive.
    FromHost,
    /// What the host would receive: its words still arrive, the answers are lost.
    ToHost,
}

/// Makes the lab's namespace and bridge.
pub(crate) fn create_lab(lab: &LabName) -> Result<()> {
    let space = lab.namespace();
    ip(&["netns", "add", &space])?;
    ip(&["-n", &space, "link", "set", "lo", "up"])?;
    ip(&["-n", &space, "link", "add", BRIDGE, "type", "bridge"])?;
    ip(&["-n", &space, "addr", "add", &format!("{COORDINATOR}/{PREFIX}"), "dev", BRIDGE])?;
    ip(&["-n", &space, "link", "set", BRIDGE, "up"])
}

/// Makes a host's namespace with `host0` on the lab's bridge, and an empty bridge `br0` for guests' interfaces.
pub(crate) fn create_host(lab: &LabName, host: &str, index: usize) -> Result<()> {
    let (lab_space, space) = (lab.namespace(), lab.host_namespace(host));
    let port = format!("port{index}");
    ip(&["netns", "add", &space])?;
    ip(&["-n", &space, "link", "set", "lo", "up"])?;
    ip(&["-n", &lab_space, "link", "add", &port, "type", "veth", "peer", "name", "host0", "netns", &space])?;
    ip(&["-n", &lab_space, "link", "set", &port, "master", BRIDGE, "up"])?;
    ip(&["-n", &space, "addr", "add", &format!("{}/{PREFIX}", host_address(index)?), "dev", "host0"])?;
    ip(&["-n", &space, "link", "set", "host0", "up"])?;
    ip(&["-n", &space, "link", "add", "br0", "type", "bridge"])?;
    ip(&["-n", &space, "link", "set", "br0", "up"])
}

/// Drops the frames between a host and one TCP port of the coordinator's; all else still passes.
///
/// Frames vanish: neither side hears of it but by silence, as with a real cut.
pub(crate) fn cut(lab: &LabName, host: &str, port: u16, which: Cut) -> Result<()> {
    let out = format!("ip daddr {COORDINATOR} tcp dport {port} drop;");
    let back = format!("ip saddr {COORDINATOR} tcp sport {port} drop;");
    let (out, back) = match which {
        Cut::Both => (out, back),
        Cut::FromHost => (out, String::new()),
        Cut::ToHost => (String::new(), back),
    };
    // Declaring a table before deleting it makes the same text right whether it is there or not.
    let rules = format!(
        "table {CUT_TABLE} {{}}\ndelete table {CUT_TABLE}\ntable {CUT_TABLE} {{\n\
         chain from_host {{ type filter hook output priority 0; {out} }}\n\
         chain to_host {{ type filter hook input priority 0; {back} }}\n}}\n"
    );
    nft(lab, host, &rules)
}

/// Drops the frames between a host and these TCP ports of all other hosts, and theirs to its own; within the host all passes.
pub(crate) fn cut_ports(lab: &LabName, host: &str, ports: &[u16]) -> Result<()> {
    let ports: Vec<String> = ports.iter().map(u16::to_string).collect();
    let ports = ports.join(", ");
    let rules = format!(
        "table {CUT_TABLE} {{}}\ndelete table {CUT_TABLE}\ntable {CUT_TABLE} {{\n\
         chain from_host {{ type filter hook output priority 0; oifname \"lo\" accept; tcp dport {{ {ports} }} drop; tcp sport {{ {ports} }} drop; }}\n\
         chain to_host {{ type filter hook input priority 0; iifname \"lo\" accept; tcp dport {{ {ports} }} drop; tcp sport {{ {ports} }} drop; }}\n}}\n"
    );
    nft(lab, host, &rules)
}

/// Ends a [`cut`] or [`cut_ports`]; fine when there is none.
pub(crate) fn heal(lab: &LabName, host: &str) -> Result<()> {
    nft(lab, host, &format!("table {CUT_TABLE} {{}}\ndelete table {CUT_TABLE}\n"))
}

fn nft(lab: &LabName, host: &str, rules: &str) -> Result<()> {
    let command = command_in(&lab.host_namespace(host), "nft", &["-f", "-"]);
    must_with_input(command, rules.as_bytes()).map(drop)
}

/// A command that runs in a network namespace, and nothing else of it; its pid is that of `program`.
pub(crate) fn command_in(namespace: &str, program: &str, args: &[&str]) -> Command {
    let net = format!("--net={}", namespace_path(namespace).display());
    command("nsenter", [&[net.as_str(), "--", program], args].concat())
}

/// Runs a function on a thread of its own inside the lab's namespace. Sockets made there stay there.
///
/// # Errors
/// When the namespace cannot be entered, or the error of `work`.
pub(crate) fn within<T: Send>(lab: &LabName, work: impl FnOnce() -> Result<T> + Send) -> Result<T> {
    let path = namespace_path(&lab.namespace());
    let space = fs::File::open(&path).doing("open", &path)?;
    std::thread::scope(|scope| {
        let entered = scope.spawn(move || {
            setns(&space, CloneFlags::CLONE_NEWNET).map_err(Into::into).doing("enter", &path)?;
            work()
        });
        entered.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}

/// The lab's namespaces that are there now.
pub(crate) fn namespaces(lab: &LabName) -> Vec<String> {
    fs::read_dir(NAMESPACES)
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
        .filter(|name| LabName::of_namespace(name).as_ref() == Some(lab))
        .collect()
}

/// Processes that live in the lab's namespaces: hosts, and whatever a test started there.
pub(crate) fn processes(lab: &LabName) -> Vec<Process> {
    let inodes: Vec<u64> = namespaces(lab)
        .iter()
        .filter_map(|name| fs::metadata(namespace_path(name)).ok())
        .map(|file| file.ino())
        .collect();
    process::in_namespaces(&inodes)
}

/// Removes the lab's namespaces; interfaces go with them.
pub(crate) fn remove(lab: &LabName) -> Result<()> {
    for name in namespaces(lab) {
        ip(&["netns", "del", &name])?;
    }
    Ok(())
}

fn ip(args: &[&str]) -> Result<()> {
    must(command("ip", args)).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_distinct_and_inside_the_plan() {
        let all: std::collections::BTreeSet<_> = (0..MAX_HOSTS).map(|i| host_address(i).unwrap()).collect();
        assert_eq!(all.len(), MAX_HOSTS);
        assert!(!all.contains(&COORDINATOR));
        assert!(host_address(MAX_HOSTS).is_err());
    }
}
