//! libvirtd's remote access: what to write where, and whether it is there already.

use super::target::Target;
use crate::catalog::RemoteRow;
use crate::fleet_file::{FleetHost, LibvirtTcp, Listen, TcpAuth};
use replank_common::action::{Action, Dialect, FileEdit, Setting, SettingValue, UnitDropIn, UnitEnable};
use replank_common::facts::{Facts, LibvirtFacts};
use std::net::IpAddr;

/// Makes `replank-listen.conf` below the socket's drop-in directory.
const LISTEN_DROP_IN: &str = "listen";

/// One change, with the last part of its step's id and its title.
pub(super) struct Change {
    pub(super) what: &'static str,
    pub(super) title: String,
    pub(super) action: Action,
}

fn auth_word(auth: TcpAuth) -> &'static str {
    match auth {
        TcpAuth::Sasl => "sasl",
        // Over TLS the certificate is the authentication; `auth_tls` would add SASL on top.
        TcpAuth::Tls | TcpAuth::None => "none",
    }
}

fn auth_key(auth: TcpAuth) -> &'static str {
    match auth {
        TcpAuth::Tls => "auth_tls",
        TcpAuth::Sasl | TcpAuth::None => "auth_tcp",
    }
}

/// What people read: `TCP port 16509 with SASL`.
pub(super) fn describe(tcp: &LibvirtTcp) -> String {
    match tcp.auth {
        TcpAuth::Sasl => format!("TCP port {} with SASL", tcp.port),
        TcpAuth::Tls => format!("TLS port {} with certificates", tcp.port),
        TcpAuth::None => format!("TCP port {} without authentication", tcp.port),
    }
}

/// The address that this host's libvirtd binds.
fn bind_address(tcp: &LibvirtTcp, host: &FleetHost) -> Option<IpAddr> {
    match tcp.listen {
        Listen::Everywhere(ip) => Some(ip),
        Listen::OwnAddress => host.address.as_deref().and_then(|address| address.parse().ok()),
    }
}

/// The socket that listens, where systemd does.
pub(super) fn socket(target: &Target<'_>) -> Option<String> {
    let tcp = target.goal.libvirt.tcp.as_ref()?;
    match &target.libvirt.remote {
        RemoteRow::Sockets { tcp_socket, tls_socket, .. } => Some(match tcp.auth {
            TcpAuth::Tls => tls_socket.clone(),
            TcpAuth::Sasl | TcpAuth::None => tcp_socket.clone(),
        }),
        RemoteRow::ListenFlag { .. } => None,
    }
}

fn text(key: &str, value: impl Into<String>) -> Setting {
    Setting { section: None, key: key.to_owned(), values: vec![SettingValue::Text(value.into())] }
}

fn number(key: &str, value: i64) -> Setting {
    Setting { section: None, key: key.to_owned(), values: vec![SettingValue::Number(value)] }
}

/// The settings of libvirtd.conf for a daemon that listens by itself. All are said: `listen_tls` defaults to on, and
/// without certificates such a daemon does not start.
fn listen_settings(tcp: &LibvirtTcp, bind: Option<IpAddr>) -> Vec<Setting> {
    let tls = tcp.auth == TcpAuth::Tls;
    let mut settings = vec![
        number("listen_tls", i64::from(tls)),
        number("listen_tcp", i64::from(!tls)),
        text(if tls { "tls_port" } else { "tcp_port" }, tcp.port.to_string()),
        text(auth_key(tcp.auth), auth_word(tcp.auth)),
    ];
    if let Some(bind) = bind {
        settings.push(text("listen_addr", bind.to_string()));
    }
    settings
}

/// What is to be changed on a host, in order.
pub(super) fn changes(target: &Target<'_>, host: &FleetHost, facts: &Facts) -> Vec<Change> {
    let Some(tcp) = &target.goal.libvirt.tcp else { return Vec::new() };
    let bind = bind_address(tcp, host);
    let edit = |path: &std::path::Path, dialect, settings, create| {
        Action::FileEdit(FileEdit { path: path.to_owned(), dialect, settings, create })
    };
    match &target.libvirt.remote {
        RemoteRow::Sockets { conf, .. } => {
            let unit = socket(target).unwrap_or_default();
            let mut changes = vec![Change {
                what: "configure-libvirtd",
                title: format!(
                    "set {} = \"{}\" in {}",
                    auth_key(tcp.auth),
                    auth_word(tcp.auth),
                    conf.display()
                ),
                action: edit(
                    conf,
                    Dialect::Libvirt,
                    vec![text(auth_key(tcp.auth), auth_word(tcp.auth))],
                    false,
                ),
            }];
            if let Some(bind) = bind {
                let address = match bind {
                    IpAddr::V4(ip) => format!("{ip}:{}", tcp.port),
                    IpAddr::V6(ip) => format!("[{ip}]:{}", tcp.port),
                };
                // An address of the host's own may come up after the socket at boot.
                let free = if bind.is_unspecified() { "" } else { "FreeBind=true\n" };
                changes.push(Change {
                    what: "set-listen-address",
                    title: format!("let {unit} listen on port {}", tcp.port),
                    action: Action::UnitDropIn(UnitDropIn {
                        unit: unit.clone(),
                        name: LISTEN_DROP_IN.to_owned(),
                        contents: format!("[Socket]\nListenStream=\nListenStream={address}\n{free}"),
                    }),
                });
            }
            changes.push(Change {
                what: "enable-remote-socket",
                title: format!("enable {unit}"),
                action: Action::UnitEnable(UnitEnable { unit, enable: true }),
            });
            changes
        }
        RemoteRow::ListenFlag { conf, args_file, args_key, .. } => {
            let present = facts.libvirt.as_ref().and_then(|libvirt| libvirt.config.get(args_key));
            let arguments = with_listen(present.map_or("", String::as_str));
            vec![
                Change {
                    what: "configure-libvirtd",
                    title: format!("set {} in {}", describe(tcp), conf.display()),
                    action: edit(conf, Dialect::Libvirt, listen_settings(tcp, bind), false),
                },
                Change {
                    what: "start-libvirtd-listening",
                    title: format!("set {args_key}=\"{arguments}\" in {}", args_file.display()),
                    action: edit(args_file, Dialect::Shell, vec![text(args_key, arguments.as_str())], true),
                },
            ]
        }
    }
}

/// The daemon's arguments with `--listen` among them.
fn with_listen(arguments: &str) -> String {
    let has = arguments.split_whitespace().any(|word| word == "--listen" || word == "-l");
    match (has, arguments.trim()) {
        (true, arguments) => arguments.to_owned(),
        (false, "") => "--listen".to_owned(),
        (false, arguments) => format!("{arguments} --listen"),
    }
}

/// Whether the host's facts show the remote access that is wanted.
pub(super) fn is_done(target: &Target<'_>, host: &FleetHost, facts: &Facts, libvirt: &LibvirtFacts) -> bool {
    let Some(tcp) = &target.goal.libvirt.tcp else { return true };
    let bind = bind_address(tcp, host);
    let says = |setting: &Setting| {
        let wanted = match setting.values.as_slice() {
            [SettingValue::Text(text)] => text.clone(),
            [SettingValue::Number(number)] => number.to_string(),
            _ => return false,
        };
        libvirt.config.get(&setting.key) == Some(&wanted)
    };
    match &target.libvirt.remote {
        RemoteRow::Sockets { .. } => {
            let unit = socket(target).unwrap_or_default();
            let drop_in = format!("replank-{LISTEN_DROP_IN}.conf");
            let listens = facts.units.iter().any(|fact| {
                let bound = fact.drop_ins.iter().any(|path| path.ends_with(&drop_in));
                fact.name == unit && fact.file_state == "enabled" && (bind.is_none() || bound)
            });
            listens && says(&text(auth_key(tcp.auth), auth_word(tcp.auth)))
        }
        RemoteRow::ListenFlag { .. } => listen_settings(tcp, bind).iter().all(says),
    }
}
