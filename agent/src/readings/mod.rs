//! Readings: what the agent measures when a gate asks.
//!
//! Owns measuring. Says what was seen, or that it cannot be told; the core judges.

mod ceph;

pub use ceph::of_daemon;

use crate::facts;
use crate::host::Host;
use crate::host::ceph::Ceph;
use crate::host::libvirt::{Libvirt, installed_version, speaks_libvirt};
use crate::host::proc;
use replank_common::reading::{LibvirtdSeen, ReadingRequest, ReadingValue};
use std::time::{Duration, Instant};

/// For a peer's libvirtd over the network.
const PEER: Duration = Duration::from_secs(10);

/// Measures now. Blocking; each question has a deadline of its own, and what is asked of a cluster ends with `deadline`.
pub fn answer(host: &Host, request: &ReadingRequest, deadline: Duration) -> ReadingValue {
    // A deadline beyond what a clock counts is none.
    let cluster = || match Instant::now().checked_add(deadline) {
        Some(until) => Ceph::until(host, until),
        None => Ceph::new(host),
    };
    match request {
        ReadingRequest::Census => ReadingValue::Census(host.guests.census()),
        ReadingRequest::Facts => ReadingValue::Facts(Box::new(facts::collect(host))),
        ReadingRequest::Libvirtd => libvirtd(host),
        ReadingRequest::EmulatorForNewGuests { virt_type } => emulator(host, virt_type),
        ReadingRequest::LibvirtTcp { peer: _, address, port, tls } => {
            let seen = speaks_libvirt(host, address, *port, *tls, PEER);
            ReadingValue::LibvirtTcp { answered: seen.answered, detail: seen.detail }
        }
        ReadingRequest::GuestJobs => match Libvirt::new(host).jobs() {
            Ok(jobs) => ReadingValue::GuestJobs(jobs),
            Err(error) => cannot_tell(error),
        },
        ReadingRequest::CephDaemons => ceph::own_daemons(host),
        ReadingRequest::CephStop { osds } => ceph::stop(&cluster(), osds),
        ReadingRequest::CephSettle { osds, version } => ceph::settle(&cluster(), osds, version),
        ReadingRequest::CephMap => ceph::map(&cluster()),
        ReadingRequest::CephMons => ceph::mons(&cluster()),
        ReadingRequest::CephMds { stopping } => ceph::mds(&cluster(), stopping),
        ReadingRequest::CephGroups => ceph::groups(&cluster()),
        ReadingRequest::CephHealth => ceph::health(&cluster()),
        ReadingRequest::CephCluster => ceph::cluster(&cluster()),
    }
}

fn cannot_tell(why: impl ToString) -> ReadingValue {
    ReadingValue::CannotTell { why: why.to_string() }
}

fn libvirtd(host: &Host) -> ReadingValue {
    let unit = match facts::libvirt_unit(host) {
        Ok(Some(unit)) => unit,
        Ok(None) => return cannot_tell("there is no unit of libvirt's hypervisor daemon"),
        Err(error) => return cannot_tell(error),
    };
    let status = match host.systemd.status(&unit) {
        Ok(status) => status,
        Err(error) => return cannot_tell(error),
    };
    let process = status.main_pid.and_then(|pid| proc::alive(host, pid));
    ReadingValue::Libvirtd(LibvirtdSeen {
        active_state: status.active_state,
        pid: process.map(|process| process.pid),
        start_ticks: process.map(|process| process.start_ticks),
        running_version: Libvirt::new(host).running_version().ok(),
        installed_version: installed_version(host, &unit).ok(),
    })
}

fn emulator(host: &Host, virt_type: &str) -> ReadingValue {
    match Libvirt::new(host).default_emulator(virt_type) {
        Ok(Some(path)) => {
            let (version, _) = facts::emulator_version(host, &path);
            ReadingValue::EmulatorForNewGuests { path, version }
        }
        Ok(None) => cannot_tell(format!("libvirt offers no {virt_type} guests on this host")),
        Err(error) => cannot_tell(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing::World;

    #[test]
    fn what_cannot_be_measured_is_said_to_be_so() {
        let world = World::new();
        for request in [
            ReadingRequest::Libvirtd,
            ReadingRequest::GuestJobs,
            ReadingRequest::EmulatorForNewGuests { virt_type: "kvm".to_owned() },
        ] {
            let value = answer(&world.host, &request, PEER);
            assert!(matches!(value, ReadingValue::CannotTell { .. }), "{request:?}: {value:?}");
        }
    }

    #[test]
    fn a_port_that_nothing_listens_at_is_an_answer_of_no() {
        let world = World::new();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let request = ReadingRequest::LibvirtTcp {
            peer: world.host.name.clone(),
            address: "127.0.0.1".to_owned(),
            port,
            tls: false,
        };
        let value = answer(&world.host, &request, PEER);
        assert!(matches!(value, ReadingValue::LibvirtTcp { answered: false, .. }), "{value:?}");
    }
}
