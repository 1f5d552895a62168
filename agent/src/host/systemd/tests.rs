//! The real client against a fake manager over a socket pair.

use super::*;
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex};
use zbus::object_server::SignalEmitter;
use zbus::wire::{ObjectPath, OwnedObjectPath};

#[derive(Debug, Default)]
struct FakeManager {
    calls: Arc<Mutex<Vec<String>>>,
}

fn path(text: &str) -> OwnedObjectPath {
    ObjectPath::try_from(text.to_owned()).unwrap().into()
}

#[zbus::interface(name = "org.freedesktop.systemd1.Manager")]
impl FakeManager {
    async fn subscribe(&self) {
        self.calls.lock().unwrap().push("subscribe".to_owned());
    }

    async fn load_unit(&self, name: String) -> zbus::fdo::Result<OwnedObjectPath> {
        if name.contains("..") {
            return Err(zbus::fdo::Error::InvalidArgs("Unit name is not valid.".to_owned()));
        }
        Ok(path("/org/freedesktop/systemd1/unit/libvirtd_2eservice"))
    }

    /// The job of another unit ends first, and the job asked for ends before its own call is answered, as happens with real ones.
    async fn start_unit(
        &self,
        name: String,
        mode: String,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> zbus::fdo::Result<OwnedObjectPath> {
        self.calls.lock().unwrap().push(format!("start {name} {mode}"));
        let result = if name.starts_with("bad") { "failed" } else { "done" };
        Self::job_removed(
            &emitter,
            6,
            path("/org/freedesktop/systemd1/job/6"),
            "x.service".into(),
            "failed".into(),
        )
        .await?;
        if !name.starts_with("slow") {
            Self::job_removed(&emitter, 7, path("/org/freedesktop/systemd1/job/7"), name, result.into())
                .await?;
        }
        Ok(path("/org/freedesktop/systemd1/job/7"))
    }

    async fn stop_unit(
        &self,
        name: String,
        mode: String,
        #[zbus(signal_emitter)] emitter: SignalEmitter<'_>,
    ) -> zbus::fdo::Result<OwnedObjectPath> {
        self.calls.lock().unwrap().push(format!("stop {name} {mode}"));
        Self::job_removed(&emitter, 8, path("/org/freedesktop/systemd1/job/8"), name, "done".into()).await?;
        Ok(path("/org/freedesktop/systemd1/job/8"))
    }

    async fn mask_unit_files(
        &self,
        files: Vec<String>,
        runtime: bool,
        force: bool,
    ) -> Vec<(String, String, String)> {
        assert!(!force);
        let below = if runtime { "/run" } else { "/etc" };
        vec![("symlink".into(), format!("{below}/systemd/system/{}", files[0]), "/dev/null".into())]
    }

    #[zbus(signal)]
    async fn job_removed(
        emitter: &SignalEmitter<'_>,
        id: u32,
        job: OwnedObjectPath,
        unit: String,
        result: String,
    ) -> zbus::Result<()>;
}

struct FakeUnit;

#[zbus::interface(name = "org.freedesktop.systemd1.Unit")]
impl FakeUnit {
    #[zbus(property)]
    async fn load_state(&self) -> String {
        "loaded".into()
    }
    #[zbus(property)]
    async fn active_state(&self) -> String {
        "active".into()
    }
    #[zbus(property)]
    async fn unit_file_state(&self) -> String {
        "enabled".into()
    }
    #[zbus(property)]
    async fn fragment_path(&self) -> String {
        "/lib/systemd/system/libvirtd.service".into()
    }
    #[zbus(property)]
    async fn drop_in_paths(&self) -> Vec<String> {
        vec!["/etc/systemd/system/libvirtd.service.d/a.conf".into()]
    }
    #[zbus(property)]
    async fn need_daemon_reload(&self) -> bool {
        true
    }
}

struct FakeService;

#[zbus::interface(name = "org.freedesktop.systemd1.Service")]
impl FakeService {
    #[zbus(property)]
    async fn kill_mode(&self) -> String {
        "process".into()
    }
    #[zbus(property, name = "MainPID")]
    async fn main_pid(&self) -> u32 {
        4711
    }
}

/// The client, what the fake was asked, and the fake's life.
fn fake() -> (Bus, Arc<Mutex<Vec<String>>>, tokio::runtime::Runtime, zbus::Connection) {
    let (ours, theirs) = UnixStream::pair().unwrap();
    let calls = Arc::default();
    let manager = FakeManager { calls: Arc::clone(&calls) };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let serving = runtime.spawn(async move {
        let unit = "/org/freedesktop/systemd1/unit/libvirtd_2eservice";
        zbus::connection::Builder::unix_stream(theirs)
            .server(zbus::Guid::generate())
            .p2p()
            .serve_at("/org/freedesktop/systemd1", manager)
            .serve_at(unit, FakeUnit)
            .serve_at(unit, FakeService)
            .build()
            .await
            .unwrap()
    });
    let bus = Bus::over(ours);
    let server = runtime.block_on(serving).unwrap();
    (bus, calls, runtime, server)
}

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_job_is_subscribed_to_before_it_is_queued_and_its_result_is_told() {
    let (bus, calls, _runtime, _server) = fake();
    bus.start("libvirtd-tcp.socket", 5 * SECOND).unwrap();
    assert_eq!(*calls.lock().unwrap(), ["subscribe", "start libvirtd-tcp.socket replace"]);
    let error = bus.start("bad.service", 5 * SECOND).unwrap_err();
    assert_eq!(error, SystemdError::Job { what: "start `bad.service`".into(), result: "failed".into() });
    let error = bus.start("slow.service", SECOND / 5).unwrap_err();
    assert!(matches!(error, SystemdError::TimedOut { .. }), "{error}");
}

#[test]
fn the_state_of_a_service_is_read_from_its_properties() {
    let (bus, _, _runtime, _server) = fake();
    let status = bus.status("libvirtd.service").unwrap();
    assert!(status.is_active() && status.exists() && status.needs_reload);
    assert_eq!(status.kill_mode.as_deref(), Some("process"));
    assert_eq!(status.main_pid, Some(4711));
    assert_eq!(status.drop_ins, [PathBuf::from("/etc/systemd/system/libvirtd.service.d/a.conf")]);
    let error = bus.status("..").unwrap_err();
    assert!(matches!(&error, SystemdError::Refused { why, .. } if why.contains("not valid")), "{error}");
}

#[test]
fn masking_tells_the_link() {
    let (bus, _, _runtime, _server) = fake();
    let links = bus.mask("libvirt-guests.service", true).unwrap();
    assert_eq!(links[0].path, PathBuf::from("/run/systemd/system/libvirt-guests.service"));
}

/// P3: nothing that holds a guest can be stopped, whoever asks.
#[test]
fn what_holds_a_guest_is_never_stopped() {
    let (bus, calls, _runtime, _server) = fake();
    for unit in [
        "machine-qemu\\x2d1\\x2dweb.scope",
        "machine.slice",
        "libvirt-guests.service",
        "virtlogd.service",
        "virtlockd.socket",
        "libvirtd.slice",
        "libvirtd",
        "docker.service",
    ] {
        let error = bus.stop(unit, SECOND).unwrap_err();
        assert!(matches!(error, SystemdError::Forbidden { .. }), "{unit}: {error}");
    }
    assert!(calls.lock().unwrap().is_empty());
    bus.stop("libvirtd-admin.socket", SECOND).unwrap();
}

#[test]
fn it_can_be_used_and_dropped_inside_another_runtime() {
    let (bus, _, runtime, _server) = fake();
    runtime.block_on(async move {
        tokio::task::spawn_blocking(move || {
            bus.status("libvirtd.service").unwrap();
        })
        .await
        .unwrap();
    });
}
