//! The rows of a compute host.
//!
//! Actions are those that the planner makes for the lab's hosts. Three are made here instead: a pin and packages of the sweep's own, because the
//! whole of libvirt would take minutes and `lab_agent_dies` sweeps it, and a restart of the libvirtd that is there.

use crate::sweep::{Obstacle, Row, Shows, Traces, actions, obstacle, plain};
use anyhow::{Context, Result, bail};
use replank_common::action::{
    Action, FileWrite, LibvirtRestart, LibvirtTrial, PackagePin, PackagesInstall, PackagesStage, Repository,
    RepositoryPin, TreeRetain, TrialOf, UnitEnable,
};
use replank_common::facts::PackageManager;
use replank_common::outcome::How;
use replank_common::version::Version;
use replank_core::plan::Plan;

/// The sweep's own package: what its versions have in common, what only one of them has.
pub const PACKAGE: &str = "sweep-planks";
pub const OLD: &str = "1.0";
pub const NEW: &str = "2.0";

/// Its name among those that live.
const LIBVIRTD: &str = "libvirtd";
const RESTART_LIBVIRTD: &str = "systemctl reset-failed libvirtd.service && systemctl restart libvirtd.service
     for _ in $(seq 100); do [ \"$(virsh list --name 2>/dev/null | grep -c guest)\" = 2 ] && exit 0; sleep 0.1; done
     echo 'libvirtd did not find its guests'; exit 1";
const LIBVIRTD_STARTS: &str =
    "journalctl -b -u libvirtd.service -o json --output-fields=INVOCATION_ID --no-pager |
     grep -o '\"INVOCATION_ID\":\"[0-9a-f]*\"' | sort -u | wc -l";
const FORBID_UNITS: &str = "cp -p /etc/replank/policy.toml /root/policy.toml
     printf '[allow]\\nfamilies = [\"files\"]\\n' >/etc/replank/policy.toml && systemctl restart replank-agent.service";
const ALLOW_ALL: &str =
    "mv /root/policy.toml /etc/replank/policy.toml && systemctl restart replank-agent.service";

fn own_pin() -> PackagePin {
    PackagePin { name: PACKAGE.to_owned(), version: NEW.to_owned() }
}

fn absent_pin() -> PackagePin {
    PackagePin { name: PACKAGE.to_owned(), version: "3.0".to_owned() }
}

/// What the host is brought to before the sweep: the steps of the plan that pin repositories and fetch packages.
pub fn scenery(plan: &Plan) -> Vec<Action> {
    let wanted = |action: &&Action| matches!(action, Action::RepositoryPin(_) | Action::PackagesStage(_));
    actions(plan).filter(wanted).cloned().collect()
}

/// The rows, in the order of the plan. `libvirt` is the version that runs.
pub fn rows(plan: &Plan, libvirt: &str) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    for action in actions(plan) {
        let row = row(action, plan, libvirt)?;
        if rows.iter().all(|other| other.name != row.name) {
            rows.push(row);
        }
    }
    Ok(rows)
}

/// A new kind of action does not compile until it has its row.
fn row(action: &Action, plan: &Plan, libvirt: &str) -> Result<Row> {
    let plain = |shows: Shows, obstacles: Vec<Obstacle>| plain(action, shows, obstacles);
    Ok(match action {
        Action::RepositoryPin(_) => Row {
            action: Action::RepositoryPin(RepositoryPin {
                manager: PackageManager::Apt,
                name: "sweep".to_owned(),
                // As the plan's own, in other words: apt keeps an index a spelling.
                repository: Repository::Apt {
                    uri: "copy:///srv/repo".to_owned(),
                    suite: "apt/".to_owned(),
                    components: Vec::new(),
                    options: vec!["trusted=yes".to_owned()],
                },
                pins: vec![own_pin()],
            }),
            ..plain(
                Shows::OnHost(
                    "grep -q 'copy:///srv/repo apt/' /etc/apt/sources.list.d/replank-sweep.list
                     grep -q 'Pin: version 2.0' /etc/apt/preferences.d/replank-sweep.pref
                     ls /var/lib/apt/lists | grep -q '^_srv_repo_apt_Packages'"
                        .to_owned(),
                ),
                vec![obstacle(
                    "another repository under that name",
                    "echo '# mine' >/etc/apt/sources.list.d/replank-sweep.list",
                    "rm /etc/apt/sources.list.d/replank-sweep.list",
                    "RP5002",
                )],
            )
        },
        Action::PackagesStage(stage) => {
            let of = |pin| Action::PackagesStage(PackagesStage { install: vec![pin], ..stage.clone() });
            Row {
                action: of(own_pin()),
                ready: "for set in $(grep -ls sweep-planks /var/lib/replank/staged/*/manifest.json); do
                            grep -q libvirt0 $set || rm -r \"$(dirname $set)\"; done",
                ..plain(
                    Shows::Lasting(
                        "for set in $(grep -ls sweep-planks /var/lib/replank/staged/*/manifest.json); do
                             grep -q libvirt0 $set || exit 0; done; exit 1"
                            .to_owned(),
                    ),
                    vec![
                        Obstacle {
                            instead: Some(of(absent_pin())),
                            ..obstacle("a version that no repository has", "", "", "RP5104")
                        },
                        obstacle(
                            "a full disk",
                            "mount -t tmpfs -o size=8k none /var/lib/replank/staged",
                            "umount /var/lib/replank/staged",
                            "RP5117",
                        ),
                    ],
                )
            }
        }
        Action::PackagesInstall(install) => {
            let of = |pin| {
                let (manager, undisturbed_units) = (PackageManager::Apt, install.undisturbed_units.clone());
                Action::PackagesInstall(PackagesInstall { manager, install: vec![pin], undisturbed_units })
            };
            let count = "cat /var/log/dpkg.log 2>/dev/null | grep -c ' upgrade sweep-planks:' || :";
            Row {
                action: of(own_pin()),
                // dpkg calls the way down an upgrade too.
                traces: Some(Traces { count, there: 1, back: 1 }),
                ..plain(
                    Shows::OnHost(
                        "[ \"$(dpkg-query -W -f '${Version}' sweep-planks)\" = 2.0 ]
                         [ \"$(cat /usr/share/sweep-planks/version)\" = 2.0 ]"
                            .to_owned(),
                    ),
                    vec![
                        Obstacle {
                            instead: Some(of(absent_pin())),
                            ..obstacle("packages that were not fetched", "", "", "RP5110")
                        },
                        obstacle(
                            "a transaction of somebody else's that was interrupted",
                            "cp -p /var/lib/dpkg/status /root/status
                             sed -i '/^Package: sweep-planks$/,/^$/ s/^Status: .*/Status: install ok half-configured/' /var/lib/dpkg/status",
                            "cp -p /root/status /var/lib/dpkg/status",
                            "RP5101",
                        ),
                    ],
                )
            }
        }
        Action::TreeInstall(install) => {
            let prefix = install.prefix.display();
            Row {
                traces: Some(Traces {
                    count: "dnf -q history list 2>/dev/null | grep -c '^ *[0-9]' || :",
                    there: 1,
                    back: 1,
                }),
                ..plain(
                    Shows::OnHost(format!(
                        "rpm -q {} >/dev/null && [ -x {prefix}/bin/qemu-system-x86_64 ]",
                        install.package.name
                    )),
                    vec![obstacle(
                        "files in the prefix that nobody knows",
                        "mkdir -p /opt/qemu/10.0.2 && echo mine >/opt/qemu/10.0.2/mine",
                        "rm -r /opt/qemu",
                        "RP5202",
                    )],
                )
            }
        }
        Action::TreeTrial(trial) => {
            let tree = actions(plan).find(|action| matches!(action, Action::TreeInstall(_)));
            let mut other = trial.clone();
            other.version = Version::new("10.9.9");
            Row {
                needs: Some(tree.context("the plan installs no tree")?.clone()),
                again: How::Applied,
                ..plain(
                    Shows::Nothing("a trial is looked at while it runs, and leaves nothing"),
                    vec![Obstacle {
                        instead: Some(Action::TreeTrial(other)),
                        ..obstacle("an emulator of another version than the plan's", "", "", "RP5208")
                    }],
                )
            }
        }
        Action::TreeRetain(retain) => Row {
            // What is mapped, and one directory: hundreds of modules and ROMs would be copied and synced six times.
            action: Action::TreeRetain(TreeRetain {
                lazy: retain.lazy.iter().take(1).cloned().collect(),
                ..retain.clone()
            }),
            ..plain(
                Shows::OnHost(format!("[ -e /var/lib/replank/retained/{}/manifest.json ]", retain.name)),
                vec![obstacle(
                    "a read-only directory",
                    "mkdir -p /var/lib/replank/retained && cd /var/lib/replank/retained
                     mount --bind . . && mount -o remount,bind,ro /var/lib/replank/retained",
                    "umount /var/lib/replank/retained",
                    "RP5213",
                )],
            )
        },
        Action::FileEdit(edit) => plain(
            Shows::OnHost(format!(
                "grep -q '^{} *=' {}",
                edit.settings.first().map_or("", |setting| &setting.key),
                edit.path.display()
            )),
            vec![
                obstacle(
                    "no such file",
                    "mv /etc/libvirt/libvirtd.conf /root/libvirtd.conf",
                    "mv /root/libvirtd.conf /etc/libvirt/libvirtd.conf",
                    "RP5302",
                ),
                obstacle(
                    "a read-only file system",
                    "mount --bind /etc/libvirt /etc/libvirt && mount -o remount,bind,ro /etc/libvirt",
                    "umount /etc/libvirt",
                    "RP5301",
                ),
            ],
        ),
        Action::FileWrite(write) => {
            let path = write.path.display();
            let plant = "echo '#!/bin/sh' >/usr/sbin/policy-rc.d";
            Row {
                ..plain(
                    Shows::OnHost(format!("grep -q 101 {path}")),
                    vec![Obstacle {
                        instead: Some(Action::FileWrite(FileWrite { replace: false, ..write.clone() })),
                        ..obstacle(
                            "a file of the owner's in the way",
                            plant,
                            "rm /usr/sbin/policy-rc.d",
                            "RP5304",
                        )
                    }],
                )
            }
        }
        Action::UnitMask(mask) => plain(
            Shows::OnHost(format!("[ \"$(systemctl is-enabled {})\" = masked ]", mask.unit)),
            vec![obstacle(
                "a unit file of the owner's in the way",
                "cp /lib/systemd/system/libvirt-guests.service /etc/systemd/system/ && systemctl daemon-reload",
                "rm /etc/systemd/system/libvirt-guests.service && systemctl daemon-reload",
                "RP5404",
            )],
        ),
        Action::UnitEnable(enable) => plain(
            Shows::OnHost(format!("systemctl is-enabled -q {}", enable.unit)),
            vec![Obstacle {
                instead: Some(Action::UnitEnable(UnitEnable {
                    unit: "no-such.socket".to_owned(),
                    enable: true,
                })),
                ..obstacle("no such unit", "", "", "RP5403")
            }],
        ),
        Action::UnitDropIn(drop_in) => plain(
            Shows::OnHost(format!(
                "[ -e /etc/systemd/system/{0}.d/replank-{1}.conf ]
                 systemctl show -p DropInPaths {0} | grep -q replank-{1}.conf",
                drop_in.unit, drop_in.name
            )),
            vec![obstacle("the host's policy", FORBID_UNITS, ALLOW_ALL, "RP4103")],
        ),
        Action::LibvirtTrial(trial) => {
            let of = match trial.of {
                TrialOf::New => "new",
                TrialOf::Old => "old",
            };
            let packages = vec![absent_pin()];
            Row {
                name: format!("{} ({of})", action.kind()),
                again: How::Applied,
                // Whether the way back is safe is asked anew each time.
                undone_again: How::Undone,
                ..plain(
                    Shows::Nothing("a trial reads copies, in namespaces of its own, and leaves nothing"),
                    vec![Obstacle {
                        instead: Some(Action::LibvirtTrial(LibvirtTrial { packages, ..trial.clone() })),
                        ..obstacle("a libvirt that was not fetched", "", "", "RP5110")
                    }],
                )
            }
        }
        Action::LibvirtAnchor(anchor) => {
            let mut other = anchor.clone();
            other.unit = "no-libvirtd.service".to_owned();
            Row {
                meanwhile: RESTART_LIBVIRTD,
                again: How::Applied,
                traces: Some(Traces { count: LIBVIRTD_STARTS, there: 0, back: 1 }),
                restarts: vec![LIBVIRTD.to_owned()],
                ..plain(
                    Shows::Nothing("what it remembers is in the ledger; what it does is its undo's restart"),
                    vec![Obstacle {
                        instead: Some(Action::LibvirtAnchor(other)),
                        ..obstacle("no such daemon", "", "", "RP5502")
                    }],
                )
            }
        }
        Action::LibvirtRestart(restart) => {
            let of = |expect: &str| {
                Action::LibvirtRestart(LibvirtRestart {
                    unit: restart.unit.clone(),
                    expect: Version::new(expect),
                    sockets: vec!["libvirtd.socket".to_owned()],
                })
            };
            Row {
                action: of(libvirt),
                // One that a restart of replank's left is not restarted again.
                ready: RESTART_LIBVIRTD,
                traces: Some(Traces { count: LIBVIRTD_STARTS, there: 1, back: 0 }),
                restarts: vec![LIBVIRTD.to_owned()],
                ..plain(
                    Shows::Nothing("systemd counts the start"),
                    vec![Obstacle {
                        instead: Some(of("11.3.0")),
                        ..obstacle("another libvirt on the disk than the plan's", "", "", "RP5511")
                    }],
                )
            }
        }
        Action::CephFlags(_)
        | Action::CephConfig(_)
        | Action::CephRestart(_)
        | Action::CephRequire(_)
        | Action::CephOwn(_) => {
            bail!("{} is swept where there is a cluster", action.kind())
        }
    })
}
