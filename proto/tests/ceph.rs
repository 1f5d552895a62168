//! What goes over the wire of Ceph comes out as it went in.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use prost::Message;
use replank_common::action::{
    Action, CephConfig, CephFlags, CephRequire, CephRestart, Dialect, FileEdit, Setting, SettingValue,
};
use replank_common::ceph::{CephDaemon, CephFlag, CephKind, ConfigWay, Requirement};
use replank_common::ids::HostName;
use replank_common::reading::{CephDaemonSeen, Reading, ReadingRequest, ReadingValue};
use replank_common::version::Version;
use replank_proto::v1;

#[track_caller]
fn travels(action: Action) {
    let bytes = v1::Action::from(action.clone()).encode_to_vec();
    let back = Action::try_from(v1::Action::decode(bytes.as_slice()).unwrap()).unwrap();
    assert_eq!(back, action);
}

fn every_daemon() -> Vec<CephDaemon> {
    CephKind::ALL.into_iter().map(|kind| CephDaemon { kind, id: "7".to_owned() }).collect()
}

#[test]
fn actions() {
    travels(Action::CephFlags(CephFlags { flags: CephFlag::ALL.to_vec() }));
    travels(Action::CephFlags(CephFlags { flags: Vec::new() }));
    for way in [ConfigWay::Central, ConfigWay::Inject] {
        travels(Action::CephConfig(CephConfig {
            section: "osd".to_owned(),
            name: "osd_op_thread_suicide_timeout".to_owned(),
            value: String::new(),
            way,
        }));
    }
    travels(Action::CephRestart(CephRestart {
        daemons: every_daemon(),
        expect: Version::new("16.2.15"),
        beside: vec![0, 4, u32::MAX],
        consents: vec!["thin pool".to_owned()],
        stop_ms: u64::MAX,
        start_ms: 1,
    }));
    for what in [
        Requirement::SortBitwise,
        Requirement::RequireJewelOsds,
        Requirement::RequireOsdRelease { release: "pacific".to_owned() },
        Requirement::EnableMsgr2,
    ] {
        travels(Action::CephRequire(CephRequire { what }));
    }
    travels(Action::FileEdit(FileEdit {
        path: "/etc/ceph/ceph.conf".into(),
        dialect: Dialect::Ceph,
        settings: vec![Setting {
            section: Some("osd".to_owned()),
            key: "osd max object name len".to_owned(),
            values: vec![SettingValue::Text("256".to_owned())],
        }],
        create: false,
    }));
}

#[test]
fn questions_and_answers() {
    let requests = [
        ReadingRequest::CephDaemons,
        ReadingRequest::CephStop { osds: vec![0, 3, u32::MAX] },
        ReadingRequest::CephStop { osds: Vec::new() },
        ReadingRequest::CephSettle { osds: vec![5], version: Version::new("16.2.15") },
        ReadingRequest::CephMap,
        ReadingRequest::CephMons,
        ReadingRequest::CephMds { stopping: Vec::new() },
        ReadingRequest::CephMds { stopping: vec!["a".to_owned(), "b".to_owned()] },
        ReadingRequest::CephGroups,
        ReadingRequest::CephHealth,
        ReadingRequest::CephCluster,
    ];
    let known = CephDaemonSeen {
        daemon: CephDaemon::osd(3),
        unit: Some("ceph-osd@3.service".to_owned()),
        pid: Some(7),
        start_ticks: Some(u64::MAX),
        running_version: Some(Version::new("14.2.21")),
        installed_version: Some(Version::new("16.2.15")),
        executable_deleted: true,
        detail: String::new(),
    };
    // Absent is not the same as empty or zero.
    let unknown = CephDaemonSeen {
        daemon: CephDaemon::mon("a"),
        unit: None,
        pid: None,
        start_ticks: None,
        running_version: None,
        installed_version: None,
        executable_deleted: false,
        detail: "it does not run".to_owned(),
    };
    let values = [
        ReadingValue::CephDaemons(Vec::new()),
        ReadingValue::CephDaemons(vec![known, unknown]),
        ReadingValue::Ceph("{\"mons\":{}}".to_owned()),
        ReadingValue::CannotTell { why: "no quorum".to_owned() },
    ];
    for request in requests {
        for value in &values {
            let host = HostName::new("ceph1").unwrap();
            let reading = Reading { host, request: request.clone(), taken_at_ms: 9, value: value.clone() };
            let bytes = v1::Reading::answering(4, reading.clone()).encode_to_vec();
            let message = v1::Reading::decode(bytes.as_slice()).unwrap();
            assert_eq!(message.ask_id, 4);
            assert_eq!(Reading::try_from(message).unwrap(), reading);
        }
    }
}

#[test]
fn a_daemon_that_is_none_is_refused_by_its_name() {
    for name in ["", "osd", "osd.", "osd.x", "disk.3"] {
        let seen = v1::reading::CephDaemonSeen { daemon: name.to_owned(), ..Default::default() };
        let error = CephDaemonSeen::try_from(seen).unwrap_err();
        assert_eq!((error.message, error.field), ("CephDaemonSeen", "daemon"), "{name:?}");
    }
}
