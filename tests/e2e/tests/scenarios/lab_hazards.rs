//! What kills guests in an upgrade, each planted on a real host: found before anything is changed, named, and refused or neutralised.

use anyhow::{Context, Result, ensure};
use replank_common::finding::{Finding, Severity};
use replank_core::plan::Plan;
use replank_core::run::{Phase, StepReport};
use replank_e2e::{Field, FieldSpec, Fleet, RunRef, World};
use replank_lab::repo;
use replank_lab::repo::bad::scenarios::{self, Pair, Restart};
use replank_lab::{GuestSpec, Host};
use serde::Deserialize;
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(200);
const MODULES: &str = "/usr/lib/x86_64-linux-gnu/qemu";
const EMULATOR: &str = "/usr/bin/qemu-system-x86_64";

/// One hazard: how it comes to the host and goes again, and who finds it.
struct Hazard {
    name: &'static str,
    plant: fn(&mut Field) -> Result<Fleet>,
    found: Found,
    remove: fn(&Field) -> Result<()>,
}

enum Found {
    /// By `check` and `plan`: code, and a word of the subject.
    ByPreflight(&'static str, &'static str),
    /// By a step that prepares: the step, the codes that it may be refused with, and a word of the reason.
    ByStep(&'static str, &'static [&'static str], &'static str),
    /// Taken care of, with a finding that says how: by the plan.
    NeutralisedByPlan(&'static str, &'static str),
    /// The same, by a step that prepares.
    NeutralisedByStep(&'static str, &'static str, &'static str),
}

const HAZARDS: [Hazard; 12] = [
    Hazard {
        name: "the old package's removal script restarts libvirtd",
        plant: |field| {
            offer_deb(
                field,
                &scenarios::old_removal_restarts("hostile-postrm", "libvirtd.service", Restart::Systemctl),
            )
        },
        found: Found::ByStep("stage-libvirt", &["RP4301"], "libvirtd"),
        remove: |field| forget_deb(field, "hostile-postrm"),
    },
    Hazard {
        name: "the old RPM's %postun restarts libvirtd",
        plant: |field| {
            offer_rpm(
                field,
                &scenarios::old_removal_restarts("hostile-postun", "libvirtd.service", Restart::Systemctl),
            )
        },
        found: Found::NeutralisedByStep("stage-qemu", "RP4301", "libvirtd"),
        remove: |field| Ok(field.first()?.sh("rpm -e --noscripts hostile-postun").map(drop)?),
    },
    Hazard {
        name: "the new package's postinst restarts libvirtd",
        plant: |field| {
            offer_deb(
                field,
                &scenarios::new_install_restarts("hostile-postinst", "libvirtd.service", Restart::Systemctl),
            )
        },
        found: Found::ByStep("stage-libvirt", &["RP4301"], "libvirtd"),
        remove: |field| forget_deb(field, "hostile-postinst"),
    },
    Hazard {
        name: "a mapped library is overwritten in place",
        plant: |field| {
            let library = mapped_library(field.first()?)?;
            let contents = field.first()?.read(&library)?;
            offer_deb(field, &scenarios::overwrites_in_place("hostile-overwrite", &library, contents))
        },
        found: Found::ByStep("stage-libvirt", &["RP4302"], "libglib"),
        remove: |field| forget_deb(field, "hostile-overwrite"),
    },
    Hazard {
        name: "the directory of modules in use is removed",
        plant: |field| offer_deb(field, &scenarios::deletes_module_directory("hostile-rmdir", MODULES)),
        found: Found::ByStep("stage-libvirt", &["RP4303", "RP4306"], MODULES),
        remove: |field| forget_deb(field, "hostile-rmdir"),
    },
    Hazard {
        name: "/run is full",
        plant: |field| {
            field
                .first()?
                .sh("mount -o remount,size=$(($(df --output=used -k /run | tail -n 1) + 16))k /run")?;
            Ok(Fleet::default())
        },
        found: Found::ByPreflight("RP2029", "/run"),
        remove: |field| Ok(field.first()?.sh("mount -o remount,size=1g /run").map(drop)?),
    },
    Hazard {
        name: "a status file that the new libvirt cannot read",
        plant: |field| {
            field.first()?.sh(
                "cp -p /run/libvirt/qemu/guest1.xml /root/guest1.xml
                 sed -i \"s|<qemuCaps>|<qemuCaps><flag name='of-a-later-voyage'/>|\" /run/libvirt/qemu/guest1.xml",
            )?;
            Ok(Fleet::default())
        },
        found: Found::ByStep("try-new-libvirt", &["RP5512"], "guest1"),
        remove: |field| {
            Ok(field.first()?.sh("cat /root/guest1.xml >/run/libvirt/qemu/guest1.xml").map(drop)?)
        },
    },
    Hazard {
        name: "a reconnect hook exits 1",
        plant: |field| {
            let hook = b"#!/bin/sh\n[ \"$2\" != reconnect ] || exit 1\n";
            field.first()?.write("/etc/libvirt/hooks/qemu", hook, 0o755)?;
            Ok(Fleet::default())
        },
        found: Found::ByPreflight("RP2020", "/etc/libvirt/hooks/qemu"),
        remove: |field| Ok(field.first()?.sh("rm /etc/libvirt/hooks/qemu").map(drop)?),
    },
    Hazard {
        name: "an autostart domain is down",
        plant: |field| {
            let xml = GuestSpec::new(99).xml();
            field.first()?.write("/root/guest99.xml", xml.as_bytes(), 0o600)?;
            field.first()?.sh("virsh define /root/guest99.xml && virsh autostart guest99")?;
            Ok(Fleet::default())
        },
        found: Found::ByPreflight("RP2021", "guest99"),
        remove: |field| Ok(field.first()?.sh("virsh undefine guest99").map(drop)?),
    },
    Hazard {
        name: "libvirt-guests runs",
        plant: |field| {
            field.first()?.must(&["systemctl", "is-active", "libvirt-guests.service"])?;
            Ok(Fleet::default())
        },
        found: Found::NeutralisedByPlan("RP2032", "libvirt-guests.service"),
        remove: |_| Ok(()),
    },
    Hazard {
        name: "a module that a package owned is dropped by its next version",
        plant: |field| {
            let module = format!("{MODULES}/block-hostile.so");
            offer_deb(field, &scenarios::drops_modules("hostile-drop", &[(&module, b"a module".to_vec())]))
        },
        found: Found::ByStep("stage-libvirt", &["RP4303", "RP4306", "RP4310"], MODULES),
        remove: |field| forget_deb(field, "hostile-drop"),
    },
    // The last one: a guest whose emulator was away once shows it for ever.
    Hazard {
        name: "the emulator is missing",
        plant: |field| {
            field.first()?.sh(&format!("ln {EMULATOR} /root/emulator && rm {EMULATOR}"))?;
            Ok(Fleet::default())
        },
        found: Found::ByPreflight("RP2026", EMULATOR),
        remove: |field| Ok(field.first()?.sh(&format!("ln /root/emulator {EMULATOR}")).map(drop)?),
    },
];

/// P3, P6: one field for all of them; each is taken away again, and every failure is told with the hazard's name.
#[test]
fn each_is_found_before_anything_is_changed() -> Result<()> {
    let mut field = Field::up(&FieldSpec::new("t-hazards", 1, 2))?;
    let libvirtd = libvirtd_pid(field.first()?)?;
    let mut failures = Vec::new();
    for hazard in &HAZARDS {
        let began = std::time::Instant::now();
        match meet(&mut field, hazard) {
            Ok(how) => println!("{}: {how} ({} s)", hazard.name, began.elapsed().as_secs()),
            Err(error) => failures.push(format!("{}: {error:#}", hazard.name)),
        }
        (hazard.remove)(&field).with_context(|| format!("taking away: {}", hazard.name))?;
        if libvirtd_pid(field.first()?)? != libvirtd {
            failures.push(format!("{}: libvirtd was restarted", hazard.name));
            break;
        }
    }
    ensure!(failures.is_empty(), "{}", failures.join("\n\n"));
    field.print_gaps(&[])
}

fn libvirtd_pid(host: &Host) -> Result<String> {
    Ok(host.must(&["systemctl", "show", "-p", "MainPID", "--value", "libvirtd.service"])?)
}

/// Gives the words with which the hazard was found.
fn meet(field: &mut Field, hazard: &Hazard) -> Result<String> {
    let fleet = (hazard.plant)(field)?;
    let before = World::of(field.first()?)?;
    let how = match &hazard.found {
        Found::ByPreflight(code, word) => by_preflight(field, &fleet, code, word)?,
        Found::ByStep(step, codes, word) => by_step(field, &fleet, step, codes, word)?,
        Found::NeutralisedByPlan(code, word) => by_plan(field, &fleet, code, word)?,
        Found::NeutralisedByStep(step, code, word) => by_neutralising_step(field, &fleet, step, code, word)?,
    };
    let changed = before.differs_from(&World::of(field.first()?)?, &[]);
    ensure!(changed.is_empty(), "the host was changed:\n{changed}");
    field.all_beat()?;
    Ok(how)
}

#[derive(Deserialize)]
struct Checked {
    findings: Vec<Finding>,
}

/// `check` and `plan` both end with 4, name the host and say what to do; no plan is written.
fn by_preflight(field: &Field, fleet: &Fleet, code: &str, word: &str) -> Result<String> {
    let file = field.fleet_file(fleet)?;
    let refused = field.refused(&["check", "-f", &file, "--json"])?;
    ensure!(refused.exit == 4, "`check` ended with {}: {}", refused.exit, refused.said);
    let checked: Checked = serde_json::from_str(&refused.document)?;
    let of_code: Vec<&Finding> = checked.findings.iter().filter(|finding| finding.code == code).collect();
    let finding = of_code
        .iter()
        .find(|finding| {
            finding.severity == Severity::Blocks
                && format!("{} {}", finding.subject, finding.cause).contains(word)
        })
        .with_context(|| format!("no {code} that names {word}: {:?}", checked.findings))?;
    ensure!(finding.host.as_ref().is_some_and(|host| host.as_str() == "compute1"), "of no host: {finding:?}");
    ensure!(!finding.remedy.is_empty(), "no remedy: {finding:?}");
    let plan = field.path("refused.json");
    let refused = field.refused(&["plan", "-f", &file, "-o", &plan.to_string_lossy()])?;
    ensure!(
        refused.exit == 4 && !plan.exists(),
        "`plan` ended with {} and wrote {}",
        refused.exit,
        plan.exists()
    );
    Ok(format!("refused by `check`: {} {}: {}", finding.code, finding.subject, finding.cause))
}

/// The step is refused, the run holds, and an abort gives back the little that was borrowed.
fn by_step(field: &Field, fleet: &Fleet, step: &str, codes: &[&str], word: &str) -> Result<String> {
    let at = prepared_and_aborted(field, fleet, step)?;
    let held = at.held.with_context(|| format!("{step} was not refused: {:?}", at.findings))?;
    ensure!(codes.iter().any(|code| held.contains(code)), "another code: {held}");
    ensure!(held.contains(word), "{word} is not named: {held}");
    Ok(format!("refused by {step}: {held}"))
}

/// Prepares the host as far as it goes and gives what became of one step. Whatever that is, the run is aborted: the next hazard finds
/// no other under way.
fn prepared_and_aborted(field: &Field, fleet: &Fleet, step: &str) -> Result<StepReport> {
    let plan = field.plan(fleet)?;
    let run = field.apply(&plan)?;
    let prepared = prepared(field, &run, step);
    field.replank(&["abort", &run.0])?;
    field.wait(&run, LIMIT, "is aborted", |view| view.phase == Phase::Aborted)?;
    prepared
}

fn prepared(field: &Field, run: &RunRef, step: &str) -> Result<StepReport> {
    field.wait(run, LIMIT, "is held, or has prepared the host", |view| {
        view.phase == Phase::Held || view.holds.iter().any(|hold| hold.reached_ms.is_some())
    })?;
    let report = field.report(run)?;
    let mut steps = report.hosts.into_iter().flat_map(|host| host.steps);
    let found = steps.find(|at| at.id.as_str() == format!("compute1.{step}"));
    found.with_context(|| format!("the plan has no {step}"))
}

#[derive(Deserialize)]
struct Shown {
    plan: Plan,
}

fn by_plan(field: &Field, fleet: &Fleet, code: &str, word: &str) -> Result<String> {
    let plan = field.plan(fleet)?;
    let shown = field.replank(&["show", &plan, "--json"])?;
    let Shown { plan } = serde_json::from_str(&shown)?;
    let finding = plan
        .findings
        .iter()
        .find(|finding| finding.code == code && finding.subject.contains(word))
        .with_context(|| format!("no {code} that names {word}: {:?}", plan.findings))?;
    let Severity::Neutralised { how } = &finding.severity else {
        anyhow::bail!("not neutralised: {finding:?}")
    };
    Ok(format!("neutralised by the plan: {how}"))
}

fn by_neutralising_step(field: &Field, fleet: &Fleet, step: &str, code: &str, word: &str) -> Result<String> {
    let at = prepared_and_aborted(field, fleet, step)?;
    ensure!(at.held.is_none(), "{step} was refused: {:?}", at.held);
    let how = at
        .findings
        .iter()
        .filter(|finding| {
            finding.code == code && format!("{} {}", finding.subject, finding.cause).contains(word)
        })
        .find_map(|finding| match &finding.severity {
            Severity::Neutralised { how } => Some(how.clone()),
            Severity::Blocks | Severity::Notes => None,
        })
        .with_context(|| format!("no neutralised {code} that names {word}: {:?}", at.findings))?;
    Ok(format!("neutralised by {step}: {how}"))
}

/// The old version on the host, the new one in the repository and in the fleet file.
fn offer_deb(field: &mut Field, pair: &Pair) -> Result<Fleet> {
    let out = tempfile::tempdir()?;
    let (old, new) = (pair.old.build_deb(out.path())?, pair.new.build_deb(out.path())?);
    field.first()?.push(&old, "/root/old.deb", 0o644)?;
    field.first()?.must(&["dpkg", "-i", "/root/old.deb"])?;
    repo::add(&field.repository, &old)?;
    repo::add(&field.repository, &new)?;
    let name = old.file_name().and_then(|name| name.to_str()).and_then(|name| name.split('_').next());
    let name = name.context("a package file has a name")?.to_owned();
    Ok(Fleet { more_packages: vec![(name, "2.0".to_owned())], ..Fleet::default() })
}

/// Without its scripts: they are what it was made for.
fn forget_deb(field: &Field, name: &str) -> Result<()> {
    let host = field.first()?;
    host.sh(&format!("rm -f /var/lib/dpkg/info/{name}.p* && dpkg --purge {name}"))?;
    Ok(())
}

fn offer_rpm(field: &mut Field, pair: &Pair) -> Result<Fleet> {
    let out = tempfile::tempdir()?;
    let (old, new) = (pair.old.build_rpm(out.path())?, pair.new.build_rpm(out.path())?);
    field.first()?.push(&old, "/root/old.rpm", 0o644)?;
    field.first()?.must(&["rpm", "-i", "--nodeps", "/root/old.rpm"])?;
    repo::add(&field.repository, &old)?;
    repo::add(&field.repository, &new)?;
    Ok(Fleet { qemu_package: ("hostile-postun".to_owned(), "2.0-1".to_owned()), ..Fleet::default() })
}

/// A library that guest 1 has mapped.
fn mapped_library(host: &Host) -> Result<String> {
    let pid = host.qemu_pid("guest1")?;
    let found = host.sh(&format!("grep -o '/.*/libglib-2.0.so[^ ]*' /proc/{pid}/maps | head -n 1"))?;
    Ok(found.trim().to_owned())
}
