//! What one host goes through, in place: its steps in order. Each needs the one before it; what ties hosts together is added
//! by `order`.
//!
//! | stage | steps |
//! | --- | --- |
//! | prepare | pin the repositories, fetch the packages of both directions, let the new libvirt read copies of the status files |
//! | keep | keep every file that running guests map or may load later |
//! | install | the new qemu beside the old one, and one trial of it |
//! | switch | quiet what restarts services, mask what ends guests, remember libvirtd, install libvirt, configure it, restart it once |
//! | verify | census, versions, the new emulator for new guests, TCP from a peer; is the way back still open? |
//! | give-back | everything borrowed, in the opposite order |

use super::model::{Need, Stage, Step, Undo, Work};
use super::remote;
use super::state::HostState;
use super::target::Target;
use crate::catalog::{Hop, When};
use crate::fleet_file::FleetHost;
use crate::gate::Gate;
use replank_common::action::{
    Action, FileWrite, LibvirtAnchor, LibvirtRestart, LibvirtTrial, PackagePin, PackagesInstall,
    PackagesStage, RepositoryPin, TreeInstall, TreeRetain, TreeTrial, TrialOf, UnitDropIn, UnitMask,
};
use replank_common::facts::Facts;
use replank_common::ids::{HostName, StepId};
use replank_common::planted::{self, Planted};
use replank_common::version::Version;
use std::collections::BTreeSet;
use std::sync::Arc;

/// One host to plan for.
#[derive(Debug, Clone, Copy)]
pub(super) struct HostInput<'a> {
    pub(super) target: &'a Target<'a>,
    pub(super) host: &'a FleetHost,
    pub(super) facts: &'a Facts,
    pub(super) state: HostState,
    /// The host that tries libvirt over TCP; `None` where there is no other.
    pub(super) peer: Option<&'a HostName>,
}

/// The steps of one host, and which of them is the daemon's restart.
#[derive(Debug, Clone)]
pub(super) struct HostSteps {
    pub(super) steps: Vec<Step>,
    pub(super) restart: StepId,
}

/// One step before it has its place.
struct Draft<'d> {
    what: &'d str,
    stage: Stage,
    title: String,
    work: Work,
    undo: Undo,
}

struct Builder<'a> {
    input: HostInput<'a>,
    steps: Vec<Step>,
}

pub(super) fn steps(input: HostInput<'_>) -> HostSteps {
    let mut builder = Builder { input, steps: Vec::new() };
    builder.prepare();
    builder.keep();
    builder.install();
    builder.switch();
    let restart = builder.restart();
    builder.verify();
    builder.give_back();
    HostSteps { steps: builder.steps, restart }
}

impl<'a> Builder<'a> {
    fn target(&self) -> &'a Target<'a> {
        self.input.target
    }

    fn id(&self, what: &str) -> StepId {
        StepId::new(format!("{}.{what}", self.input.host.name))
            .expect("a host name and a word of lower-case letters and hyphens make a step id")
    }

    /// Adds a step with gates beside the census that every step has.
    fn push_gated(&mut self, hop: &Hop, draft: Draft<'_>, before: Vec<Gate>, after: Vec<Gate>) -> StepId {
        let Draft { what, stage, title, work, undo } = draft;
        let id = self.id(what);
        let (expected_ms, deadline_ms) = self.time(hop, &work);
        let needs = self.steps.last().map(|step| Need::Step(step.id.clone())).into_iter().collect();
        self.steps.push(Step {
            id: id.clone(),
            host: self.input.host.name.clone(),
            stage,
            title,
            work: Arc::new(work),
            before: [vec![Gate::CensusHolds], before].concat(),
            after: [vec![Gate::CensusHolds], after].concat(),
            undo,
            needs,
            expected_ms,
            deadline_ms,
        });
        id
    }

    fn push(&mut self, hop: &Hop, draft: Draft<'_>) -> StepId {
        self.push_gated(hop, draft, Vec::new(), Vec::new())
    }

    /// What the catalog expects for this host's number of guests, and the deadline at the fleet file's pace.
    fn time(&self, hop: &Hop, work: &Work) -> (u64, u64) {
        let kind = match work {
            Work::Act(action) => action.kind(),
            Work::GiveBack(_) => "give-back",
            Work::Observe => "observe",
        };
        let time = self
            .target()
            .catalog
            .time(hop, kind)
            .expect("a loaded catalog has a time for every kind of work");
        let guests = self.input.facts.census.guests.len() as u64;
        time.of(guests, work.packages(), u64::from(self.target().fleet.pace.deadline_percent))
    }

    fn prepare(&mut self) {
        let target = self.target();
        let goal = target.goal;
        let qemu_pins = vec![goal.qemu.package.clone()];
        let libvirt_pins = goal.libvirt.packages.clone();
        let with_qemu = !self.input.state.qemu_done;
        let shared = with_qemu
            && goal.qemu.repository == goal.libvirt.repository
            && target.qemu_hop.manager == target.libvirt_hop.manager;
        if shared {
            let pins = [libvirt_pins.clone(), qemu_pins.clone()].concat();
            self.pin_repository(
                "pin-packages",
                "libvirt and qemu",
                target.libvirt_hop,
                &goal.libvirt.repository,
                pins,
            );
        } else {
            let repository = &goal.libvirt.repository;
            self.pin_repository(
                "pin-libvirt",
                "libvirt",
                target.libvirt_hop,
                repository,
                libvirt_pins.clone(),
            );
            if with_qemu {
                let repository = &goal.qemu.repository;
                self.pin_repository("pin-qemu", "qemu", target.qemu_hop, repository, qemu_pins.clone());
            }
        }
        let to = &target.libvirt_hop.to;
        self.stage_packages(
            "stage-libvirt",
            format!("fetch libvirt {to} and what is installed now, check both"),
            target.libvirt_hop,
            libvirt_pins.clone(),
        );
        if with_qemu {
            let title = format!("fetch qemu {}, check it", target.qemu_hop.to);
            self.stage_packages("stage-qemu", title, target.qemu_hop, qemu_pins);
        }
        self.push(
            target.libvirt_hop,
            Draft {
                what: "try-new-libvirt",
                stage: Stage::Prepare,
                title: format!("let libvirt {to} read copies of the status files, in namespaces of its own"),
                work: Work::Act(Action::LibvirtTrial(LibvirtTrial {
                    manager: target.libvirt_hop.manager,
                    of: TrialOf::New,
                    packages: libvirt_pins,
                })),
                undo: Undo::Nothing,
            },
        );
    }

    fn pin_repository(&mut self, what: &str, of: &str, hop: &Hop, name: &str, pins: Vec<PackagePin>) {
        let repository = self
            .target()
            .repository(name)
            .cloned()
            .expect("preflight has found the repository of each component");
        self.push(
            hop,
            Draft {
                what,
                stage: Stage::Prepare,
                title: format!("add the repository {name} and pin {of} to exact versions"),
                work: Work::Act(Action::RepositoryPin(RepositoryPin {
                    manager: hop.manager,
                    name: name.to_owned(),
                    repository,
                    pins,
                })),
                undo: Undo::Borrowed,
            },
        );
    }

    fn stage_packages(&mut self, what: &str, title: String, hop: &Hop, install: Vec<PackagePin>) {
        let spare_bytes = self.target().fleet.pace.spare_bytes;
        self.push(
            hop,
            Draft {
                what,
                stage: Stage::Prepare,
                title,
                work: Work::Act(Action::PackagesStage(PackagesStage {
                    manager: hop.manager,
                    install,
                    removals: Vec::new(),
                    spare_bytes,
                })),
                undo: Undo::Nothing,
            },
        );
    }

    fn keep(&mut self) {
        let target = self.target();
        self.push(
            target.qemu_hop,
            Draft {
                what: "keep-files-in-use",
                stage: Stage::Keep,
                title: "keep every file that running guests map or may load later".to_owned(),
                work: Work::Act(Action::TreeRetain(TreeRetain {
                    name: format!("before-{}", target.libvirt_hop.id),
                    lazy: target.qemu.lazy.iter().map(|row| row.path.clone()).collect(),
                })),
                undo: Undo::Record,
            },
        );
    }

    fn install(&mut self) {
        let target = self.target();
        let qemu = &target.goal.qemu;
        let version = &target.qemu_hop.to;
        if !self.input.state.qemu_done {
            self.push(
                target.qemu_hop,
                Draft {
                    what: "install-qemu",
                    stage: Stage::Install,
                    title: format!("install qemu {version} beside the old one, in {}", qemu.prefix.display()),
                    work: Work::Act(Action::TreeInstall(TreeInstall {
                        manager: target.qemu_hop.manager,
                        package: qemu.package.clone(),
                        prefix: qemu.prefix.clone(),
                    })),
                    undo: Undo::Record,
                },
            );
        }
        self.push(
            target.qemu_hop,
            Draft {
                what: "try-qemu",
                stage: Stage::Install,
                title: format!("run qemu {version} once, without a guest, and watch which files it opens"),
                work: Work::Act(Action::TreeTrial(TreeTrial {
                    emulator: target.emulator(),
                    version: version.clone(),
                    old_prefixes: target.qemu.old_prefixes.clone(),
                    rom_directories: target
                        .qemu
                        .rom_directories
                        .iter()
                        .map(|path| qemu.prefix.join(path))
                        .collect(),
                    old_rom_directories: target.qemu.old_rom_directories.clone(),
                })),
                undo: Undo::Nothing,
            },
        );
    }

    fn switch(&mut self) {
        let target = self.target();
        let hop = target.libvirt_hop;
        let part = target.libvirt;
        let add = |builder: &mut Self, what: &str, title: String, action: Action, undo: Undo| {
            builder.push(hop, Draft { what, stage: Stage::Switch, title, work: Work::Act(action), undo });
        };
        for row in &part.quiet {
            if self.applies(row.when, "") {
                let write = FileWrite {
                    path: row.path.clone(),
                    contents: row.contents.clone(),
                    mode: row.mode,
                    replace: true,
                };
                add(self, &row.step, row.title.clone(), Action::FileWrite(write), Undo::Borrowed);
            }
        }
        for row in &part.mask {
            if self.applies(row.when, &row.unit) {
                let mask = UnitMask { unit: row.unit.clone(), runtime: false };
                let title = format!("mask {}: {}", row.unit, row.why);
                add(self, &mask_step(&row.unit), title, Action::UnitMask(mask), Undo::Borrowed);
            }
        }
        let anchor = LibvirtAnchor {
            unit: part.daemon.unit.clone(),
            sockets: remote::socket(target).into_iter().collect(),
        };
        let title = "remember the running libvirtd, for the way back".to_owned();
        add(self, "anchor-libvirt", title, Action::LibvirtAnchor(anchor), Undo::Record);

        let install = PackagesInstall {
            manager: hop.manager,
            install: target.goal.libvirt.packages.clone(),
            undisturbed_units: part.daemon.undisturbed.clone(),
        };
        let title = format!("install libvirt {}; the running libvirtd stays as it is", hop.to);
        add(self, "install-libvirt", title, Action::PackagesInstall(install), Undo::Record);

        for change in remote::changes(target, self.input.host, self.input.facts) {
            add(self, change.what, change.title, change.action, Undo::Record);
        }
        let path = target.goal.qemu.bin_directory.display();
        let drop_in = UnitDropIn {
            unit: part.daemon.unit.clone(),
            name: "qemu-path".to_owned(),
            contents: format!("[Service]\nEnvironment=PATH={path}:{}\n", part.emulator.path_tail),
        };
        let title = format!("let libvirtd find the new qemu first, in {path}");
        add(self, "find-new-qemu", title, Action::UnitDropIn(drop_in), Undo::Record);
    }

    /// Whether a catalog row applies to this host.
    fn applies(&self, when: When, unit: &str) -> bool {
        match when {
            When::Always => true,
            When::Loaded => {
                self.input.facts.units.iter().any(|fact| fact.name == unit && fact.load_state == "loaded")
            }
            When::Needrestart => self.input.facts.needrestart_automatic.is_some(),
        }
    }

    fn restart(&mut self) -> StepId {
        let target = self.target();
        let hop = target.libvirt_hop;
        let running = self.input.facts.libvirt.as_ref().and_then(|libvirt| libvirt.running_version.as_ref());
        let from = running.map_or("", Version::as_str);
        let restart = LibvirtRestart {
            unit: target.libvirt.daemon.unit.clone(),
            expect: hop.to.clone(),
            sockets: remote::socket(target).into_iter().collect(),
        };
        self.push_gated(
            hop,
            Draft {
                what: "restart-libvirt",
                stage: Stage::Switch,
                title: format!("restart libvirtd {from} → {}, once, every guest under watch", hop.to),
                work: Work::Act(Action::LibvirtRestart(restart)),
                // The anchor's undo, which comes last on the way back, restarts it again.
                undo: Undo::Nothing,
            },
            if planted::is(Planted::JobGateUnplanned) { Vec::new() } else { vec![Gate::NoGuestJobs] },
            vec![Gate::LibvirtdIs { version: hop.to.clone() }],
        )
    }

    fn verify(&mut self) {
        let target = self.target();
        let hop = target.libvirt_hop;
        let mut gates = vec![Gate::LibvirtdIs { version: hop.to.clone() }];
        let libvirt = self.input.facts.libvirt.as_ref();
        for virt_type in libvirt.into_iter().flat_map(|libvirt| libvirt.default_emulators.keys()) {
            gates.push(Gate::NewGuestsGet { virt_type: virt_type.clone(), emulator: target.emulator() });
        }
        let mut title = "see that every guest is the same and new guests get the new qemu".to_owned();
        let address = self.input.host.address.as_ref();
        if let (Some(tcp), Some(from), Some(address)) = (&target.goal.libvirt.tcp, self.input.peer, address) {
            title.push_str("; libvirt answers over the network from a peer");
            gates.push(Gate::LibvirtTcpAnswers {
                from: from.clone(),
                address: address.clone(),
                port: tcp.port,
                tls: tcp.auth == crate::fleet_file::TcpAuth::Tls,
            });
        }
        let observe =
            Draft { what: "verify", stage: Stage::Verify, title, work: Work::Observe, undo: Undo::Nothing };
        self.push_gated(hop, observe, Vec::new(), gates);

        self.push(
            hop,
            Draft {
                what: "try-old-libvirt",
                stage: Stage::Verify,
                title:
                    "see whether the way back is open: could the libvirt of before read every guest's status?"
                        .to_owned(),
                work: Work::Act(Action::LibvirtTrial(LibvirtTrial {
                    manager: hop.manager,
                    of: TrialOf::Old,
                    packages: self.installed_libvirt(),
                })),
                undo: Undo::Guard,
            },
        );
    }

    /// The packages of libvirt as they are now: what `PackagesStage` fetches for the way back.
    fn installed_libvirt(&self) -> Vec<PackagePin> {
        let hop = self.target().libvirt_hop;
        let installed = self.input.facts.packages.get(&hop.manager).map_or(&[][..], Vec::as_slice);
        let pins: BTreeSet<PackagePin> = installed
            .iter()
            .filter(|fact| hop.packages.names.contains(&fact.name))
            .map(|fact| PackagePin { name: fact.name.clone(), version: fact.version.clone() })
            .collect();
        pins.into_iter().collect()
    }

    fn give_back(&mut self) {
        let borrowed: Vec<(StepId, bool)> = self
            .steps
            .iter()
            .filter(|step| step.undo == Undo::Borrowed && !planted::is(Planted::GiveBackUnplanned))
            .map(|step| (step.id.clone(), matches!(*step.work, Work::Act(Action::RepositoryPin(_)))))
            .collect();
        let prefix = format!("{}.", self.input.host.name);
        for (step, is_pin) in borrowed.into_iter().rev() {
            let what =
                step.as_str().strip_prefix(&prefix).expect("a step's id begins with its host").to_owned();
            let hop =
                if is_pin && what == "pin-qemu" { self.target().qemu_hop } else { self.target().libvirt_hop };
            let title = format!("put back what {what} changed");
            self.push(
                hop,
                Draft {
                    what: &format!("give-back-{what}"),
                    stage: Stage::GiveBack,
                    title,
                    work: Work::GiveBack(step),
                    undo: Undo::Nothing,
                },
            );
        }
    }
}

/// `libvirt-guests.service` → `mask-libvirt-guests`; other kinds of units keep theirs.
fn mask_step(unit: &str) -> String {
    let name = unit.strip_suffix(".service").unwrap_or(unit);
    let word: String =
        name.chars().map(|c| if c.is_ascii_lowercase() || c.is_ascii_digit() { c } else { '-' }).collect();
    format!("mask-{word}")
}
