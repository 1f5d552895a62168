//! The libvirtd of one host: would its restart, or the new version's first start, hurt a guest?

use super::Look;
use crate::catalog::RemoteRow;
use crate::codes;
use crate::fleet_file::TcpAuth;
use replank_common::facts::LibvirtFacts;

/// What the agent puts into [`LibvirtFacts::config`] under `tls_files` when the certificates that libvirtd's TLS needs are
/// in place and readable.
const TLS_FILES_PRESENT: &str = "present";

pub(super) fn check(look: &mut Look<'_>) {
    let Some(libvirt) = &look.facts.libvirt else {
        let finding = look.about(codes::LIBVIRTD_SILENT, "libvirt").blocks(
            "the facts know of no libvirt on this host",
            "take the role compute from the host, or install libvirt on it",
        );
        look.push(finding);
        return;
    };
    if daemon(look, libvirt) {
        versions(look, libvirt);
    }
    unit(look);
    hooks(look, libvirt);
    autostart(look, libvirt);
    jobs(look, libvirt);
    listening(look, libvirt);
}

/// Whether the daemon is the one that this voyage knows, and answers.
fn daemon(look: &mut Look<'_>, libvirt: &LibvirtFacts) -> bool {
    let expected = &look.target.libvirt.daemon.unit;
    if libvirt.unit != *expected {
        let finding = look.about(codes::OTHER_DAEMON, libvirt.unit.clone()).blocks(
            format!("guests are managed by {}, and this hop knows {expected}", libvirt.unit),
            "name a hop for libvirt's modular daemons, once there is one",
        );
        look.push(finding);
        return false;
    }
    if libvirt.running_version.is_none() {
        let finding = look.about(codes::LIBVIRTD_SILENT, libvirt.unit.clone()).blocks(
            "libvirtd does not answer; a guest that blocks it now may be ended by its restart",
            "see `journalctl -u libvirtd`; look for a guest whose monitor hangs (stalled storage), and mend that first",
        );
        look.push(finding);
        return false;
    }
    true
}

fn versions(look: &mut Look<'_>, libvirt: &LibvirtFacts) {
    let hop = look.target.libvirt_hop;
    let Some(running) = &libvirt.running_version else { return };
    if *running == hop.to {
        return;
    }
    if !running.is_of_series(&hop.from) {
        let finding = look.about(codes::STALE_VERSION, libvirt.unit.clone()).blocks(
            format!("libvirtd {running} runs, which is neither {} nor {}", hop.from, hop.to),
            "bring the host to the version that the hop starts from, or name another hop",
        );
        look.push(finding);
        return;
    }
    let pins = &look.target.goal.libvirt.packages;
    let new_files = pins.iter().any(|pin| {
        hop.packages.required.contains(&pin.name)
            && crate::plan::state::is_installed(look.facts, hop.manager, pin)
    });
    if new_files {
        let finding = look.about(codes::HALF_DONE, libvirt.unit.clone()).notes(
            format!("libvirtd {running} still runs over files of {}: an upgrade was interrupted", hop.to),
            "if that was a run of replank, resume or roll back that run rather than applying a new plan: the way back of \
             a new plan ends at the files as they are now",
        );
        look.push(finding);
    }
}

/// A libvirtd that takes its children along when it stops would take every guest along (libvirt ships KillMode=process).
fn unit(look: &mut Look<'_>) {
    let name = &look.target.libvirt.daemon.unit;
    let Some(fact) = look.facts.units.iter().find(|fact| fact.name == *name) else {
        let finding = look.about(codes::FACT_UNKNOWN, name.clone()).blocks(
            "the facts do not say how systemd runs it",
            "take the inventory again with an agent of this release",
        );
        look.push(finding);
        return;
    };
    if fact.kill_mode.as_deref() != Some("process") {
        let mode = fact.kill_mode.as_deref().unwrap_or("unknown");
        let drop_ins: Vec<String> = fact.drop_ins.iter().map(|path| path.display().to_string()).collect();
        let by =
            if drop_ins.is_empty() { String::new() } else { format!("; drop-ins: {}", drop_ins.join(", ")) };
        let finding = look.about(codes::KILL_MODE, name.clone()).blocks(
            format!("its KillMode is {mode}: a restart can end what libvirtd started, guests included{by}"),
            "remove the override so that KillMode=process holds again, and run `systemctl daemon-reload`",
        );
        look.push(finding);
    }
}

/// libvirt ends a running guest whose `reconnect` hook fails (docs/hooks.html of libvirt).
fn hooks(look: &mut Look<'_>, libvirt: &LibvirtFacts) {
    for hook in &libvirt.hooks {
        if hook.reconnect_exit == Some(0) {
            continue;
        }
        let exit = hook
            .reconnect_exit
            .map_or_else(|| "gives no exit code".to_owned(), |code| format!("exits {code}"));
        let finding = look.about(codes::HOOK, hook.path.display().to_string()).blocks(
            format!(
                "it {exit} for `reconnect`, and libvirtd ends each guest for which it does not exit 0; {}",
                hook.detail
            ),
            "let the hook exit 0 at once for every operation that it does not handle",
        );
        look.push(finding);
    }
}

/// Each start of libvirtd starts every inactive domain that is flagged autostart (qemuStateAutoStart).
fn autostart(look: &mut Look<'_>, libvirt: &LibvirtFacts) {
    for domain in libvirt.autostart.iter().filter(|domain| !domain.active) {
        let finding = look.about(codes::AUTOSTART, format!("domain {}", domain.name)).blocks(
            "it is flagged autostart and does not run: libvirtd's restart would start it, perhaps a second time if it \
             runs elsewhere",
            format!("`virsh autostart --disable {}`, or start it if it should run", domain.name),
        );
        look.push(finding);
    }
}

fn jobs(look: &mut Look<'_>, libvirt: &LibvirtFacts) {
    for (guest, job) in &libvirt.jobs {
        let finding = look.about(codes::GUEST_JOB, format!("guest {guest}")).blocks(
            format!("{job} is in flight; a restart of libvirtd would break it off or leave the guest paused"),
            "wait until it has ended (`virsh domjobinfo`), then take the inventory again",
        );
        look.push(finding);
    }
}

fn listening(look: &mut Look<'_>, libvirt: &LibvirtFacts) {
    let Some(tcp) = &look.target.goal.libvirt.tcp else { return };
    if tcp.auth == TcpAuth::Tls
        && libvirt.config.get("tls_files").map(String::as_str) != Some(TLS_FILES_PRESENT)
    {
        let finding = look.about(codes::TLS_FILES, "/etc/pki/libvirt").blocks(
            "libvirtd with TLS does not start without its certificates, and the facts do not show them; a libvirtd that \
             does not start leaves every guest unmanaged",
            "install CA certificate, server certificate and key as libvirt wants them, or choose auth = \"sasl\"",
        );
        look.push(finding);
    }
    let flag = |key: &str| libvirt.config.get(key).map(String::as_str);
    match &look.target.libvirt.remote {
        RemoteRow::Sockets { .. } => {
            let listens = flag("LIBVIRTD_ARGS").is_some_and(|arguments| {
                arguments.split_whitespace().any(|word| word == "--listen" || word == "-l")
            });
            if listens {
                let finding = look.about(codes::LISTEN_TRAP, "LIBVIRTD_ARGS").blocks(
                    "it has --listen, and a libvirtd that systemd's sockets start refuses that and does not start",
                    "remove --listen from /etc/default/libvirtd; the plan lets systemd listen instead",
                );
                look.push(finding);
            }
            let socket = crate::plan::remote::socket(look.target).unwrap_or_default();
            let masked = look
                .facts
                .units
                .iter()
                .any(|fact| fact.name == socket && fact.file_state.starts_with("masked"));
            if masked {
                let finding = look.about(codes::LISTEN_TRAP, socket.clone()).blocks(
                    "it is masked, so it cannot be enabled",
                    format!("find out who masked it and why, then `systemctl unmask {socket}`"),
                );
                look.push(finding);
            }
        }
        RemoteRow::ListenFlag { .. } => {
            if tcp.auth != TcpAuth::Tls && flag("listen_tls") != Some("0") {
                let finding = look.about(codes::LISTEN_TRAP, "listen_tls").neutralised(
                    "it is on unless said otherwise, and a libvirtd with --listen does not start without TLS certificates",
                    "the plan sets listen_tls = 0 together with --listen",
                );
                look.push(finding);
            }
        }
    }
}
