//! `TreeTrial`: run the new emulator a few times, without a guest, and see that it is what was asked for and stands on its own.
//!
//! A build that was only unpacked below another prefix still opens the modules and ROMs of the old one by their compiled-in paths, works
//! well today, and breaks the day the old one goes; so every file that it opens is watched ([`crate::host::opens`]). The machines
//! are made with `-S`: nothing of them runs. They get no network, no disk and no display, and their monitor is a pipe of ours
//! that says `quit`.
//!
//! Changes nothing on the host.
//!
//! | after | a crash leaves | then |
//! | --- | --- | --- |
//! | anything | nothing: the emulator ends with the agent | tried anew |

use super::answer::{blocks, change, note, refusal, refuse_if_blocked};
use super::{ActError, Failure, Host, Perform, Progress, Report, Standing};
use crate::codes;
use crate::guests::version;
use crate::host::command::{Command, Output};
use crate::host::opens::{self, WatchError};
use replank_common::action::TreeTrial;
use replank_common::finding::Finding;
use replank_common::outcome::Refusal;
use replank_common::undo::UndoRecord;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// For one run. A traced emulator on a busy host takes seconds.
const DEADLINE: Duration = Duration::from_secs(90);
/// Devices that bring a ROM of their own; those that the build has are tried. A machine takes one display only.
const DISPLAYS: [&str; 6] = ["VGA", "cirrus-vga", "qxl-vga", "virtio-vga", "vmware-svga", "bochs-display"];
const CARDS: [&str; 8] =
    ["e1000", "e1000e", "i82550", "ne2k_pci", "pcnet", "rtl8139", "virtio-net-pci", "vmxnet3"];
const REMEDY_ROM: &str = "add the ROM to the build, in one of the directories that the catalog names, and install it as another build";

/// The new emulator, as it is found from here.
struct Emulator<'a> {
    path: PathBuf,
    host: &'a Host,
    action: &'a TreeTrial,
}

impl Emulator<'_> {
    fn command(&self) -> Command {
        Command::new(&self.path).deadline(DEADLINE)
    }

    fn ask(&self, arguments: &[&str]) -> Result<String, Refusal> {
        let output = self.host.programs.run_ok(&self.command().args(arguments));
        output.map(|output| output.text()).map_err(|e| {
            refusal(
                codes::TRIAL_RUN,
                e.to_string(),
                "run it by hand on the host; often a library that it needs is missing",
            )
        })
    }

    fn refuse_other_version(&self) -> Result<(), Refusal> {
        let found = version::parse(&self.ask(&["-version"])?);
        if found.as_ref().is_some_and(|found| found.is_of_series(&self.action.version)) {
            return Ok(());
        }
        let found = found.map_or_else(|| "no version".to_owned(), |version| version.to_string());
        Err(refusal(
            codes::TRIAL_VERSION,
            format!("{} says {found}, not {}", self.action.emulator.display(), self.action.version),
            "correct qemu.version or qemu.bin_directory in the fleet file, or rebuild the package, then plan again",
        ))
    }

    /// The machine types that are tried: those of this host's guests, or the default where it has none.
    fn machines(&self) -> Result<BTreeSet<String>, Refusal> {
        let help = self.ask(&["-M", "help"])?;
        let known = machine_types(&help);
        let census = self.host.guests.census();
        let mut findings = Vec::new();
        let mut wanted = BTreeSet::new();
        for guest in census.guests.values() {
            match &guest.machine {
                Some(machine) if known.contains(machine) => {
                    wanted.insert(machine.clone());
                }
                Some(machine) => findings.push(blocks(
                    self.host,
                    codes::TRIAL_MACHINE,
                    format!("guest {}", guest.name),
                    format!("its machine type {machine} is not known to the new emulator"),
                    "build qemu with that machine type (the distribution's patches add its own)",
                )),
                // libvirt always says one; a guest made by hand gets the default of whichever emulator it is started by.
                None => {}
            }
        }
        let remedy = "the guests could never be started by the new emulator or moved to it: add the machine types to the build";
        refuse_if_blocked(
            codes::TRIAL_MACHINE,
            "the new emulator does not know every machine type",
            remedy,
            &findings,
        )?;
        if wanted.is_empty() {
            let default = help.lines().find(|line| line.contains("(default)"));
            wanted.extend(default.and_then(|line| Some(line.split_whitespace().next()?.to_owned())));
        }
        Ok(wanted)
    }

    /// Runs it once under watch.
    fn watched(&self, command: &Command) -> Result<Output, Refusal> {
        let watched = opens::watch(command).map_err(|error| match error {
            WatchError::Untraceable { .. } => refusal(
                codes::TRIAL_UNWATCHED,
                error.to_string(),
                "the agent must be allowed to trace a program that it starts itself (CAP_SYS_PTRACE, kernel.yama.ptrace_scope \
                 below 3, SELinux' deny_ptrace off)",
            ),
            WatchError::Command(error) => {
                refusal(codes::TRIAL_RUN, error.to_string(), "run it by hand on the host and see what it waits for")
            }
        })?;
        self.refuse_old_files(&watched.opened)?;
        if !watched.output.success() {
            let complaint = watched.output.complaint();
            if complaint.contains("failed to find romfile") || complaint.contains("could not load PC BIOS") {
                return Err(refusal(
                    codes::TRIAL_ROM_MISSING,
                    format!("`{command}`: {complaint}"),
                    REMEDY_ROM,
                ));
            }
            return Err(refusal(
                codes::TRIAL_RUN,
                format!("`{command}` failed: {complaint}"),
                "run it by hand on the host; the build lacks something that its guests would need",
            ));
        }
        Ok(watched.output)
    }

    fn refuse_old_files(&self, opened: &BTreeSet<PathBuf>) -> Result<(), Refusal> {
        // What is opened is told by its real path.
        let real =
            |path: &PathBuf| fs::canonicalize(self.host.at(path)).unwrap_or_else(|_| self.host.at(path));
        let old: Vec<PathBuf> = self.action.old_prefixes.iter().map(real).collect();
        let found: Vec<&PathBuf> =
            opened.iter().filter(|path| old.iter().any(|old| path.starts_with(old))).collect();
        let Some(first) = found.first() else { return Ok(()) };
        Err(refusal(
            codes::TRIAL_OLD_FILES,
            format!(
                "{} opens {} files of the old build, such as {}",
                self.action.emulator.display(),
                found.len(),
                first.display()
            ),
            "build it with its own prefix, or lay a directory qemu-bundle beside the emulator (qemu 7.1 and later look there first)",
        ))
    }

    /// A stopped machine with these devices.
    fn machine(&self, machine: &str, devices: &[&str]) -> Command {
        let machine = format!("{machine},accel=tcg:kvm");
        let mut command = self
            .command()
            .args(["-M", &machine, "-S", "-display", "none", "-nodefaults", "-no-user-config", "-m", "64"])
            .args(["-monitor", "stdio"])
            .input("quit\n");
        for device in devices {
            command = command.args(["-device", device]);
        }
        command
    }
}

/// The first word of each line after the heading of `-M help`.
fn machine_types(text: &str) -> BTreeSet<String> {
    text.lines().skip(1).filter_map(|line| Some(line.split_whitespace().next()?.to_owned())).collect()
}

/// Which of `devices` are in `-device help`.
fn known<'d>(help: &str, devices: &[&'d str]) -> Vec<&'d str> {
    devices.iter().copied().filter(|name| help.contains(&format!("name \"{name}\""))).collect()
}

/// The machines to make, each with its devices: every type with all network cards and the first display, one of them with each other
/// display.
fn trials<'d>(machines: &BTreeSet<String>, help: &str) -> Vec<(String, Vec<&'d str>)> {
    let (cards, displays) = (known(help, &CARDS), known(help, &DISPLAYS));
    let with_all = |machine: &String| {
        // One without PCI takes none of them.
        let without = machine.contains("isapc") || machine.contains("microvm");
        let devices = cards.iter().chain(displays.first()).copied().filter(|_| !without).collect();
        (machine.clone(), devices)
    };
    let mut trials: Vec<(String, Vec<&str>)> = machines.iter().map(with_all).collect();
    if let Some((machine, _)) = trials.iter().find(|(_, devices)| !devices.is_empty()).cloned() {
        trials.extend(displays.iter().skip(1).map(|display| (machine.clone(), vec![*display])));
    }
    trials
}

/// What a guest of a PC machine may need at its start or when a card is plugged in. Other files of those directories are firmware of
/// other architectures, which come and go between releases.
fn is_boot_rom(name: &str) -> bool {
    let any = |beginnings: &[&str]| beginnings.iter().any(|beginning| name.starts_with(beginning));
    (name.ends_with(".rom") && any(&["efi-", "pxe-"]))
        || (name.ends_with(".bin") && any(&["bios", "vgabios", "kvmvapic", "linuxboot", "multiboot", "pvh"]))
}

/// Names and sizes of the ROMs in directories; the first directory that has a name counts, as for qemu.
fn roms(host: &Host, directories: &[PathBuf]) -> BTreeMap<String, u64> {
    let mut found = BTreeMap::new();
    for directory in directories {
        for entry in fs::read_dir(host.at(directory)).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            // Many are links to another directory.
            let Ok(metadata) = fs::metadata(entry.path()) else { continue };
            if metadata.is_file() && is_boot_rom(&name) {
                found.entry(name).or_insert(metadata.len());
            }
        }
    }
    found
}

/// The size that a ROM takes on the bus: rounded up to a power of two (qemu `pci_add_option_rom`).
fn size_class(bytes: u64) -> u64 {
    bytes.max(1).next_power_of_two()
}

/// Missing ROMs block, ROMs of another class are notes.
fn compare_roms(host: &Host, old: &BTreeMap<String, u64>, new: &BTreeMap<String, u64>) -> Vec<Finding> {
    let one = |(name, was): (&String, &u64)| match new.get(name) {
        None => Some(blocks(
            host,
            codes::TRIAL_ROM_MISSING,
            format!("ROM {name}"),
            "the old emulator has it and the new one has not, so a guest that needs it would not start",
            REMEDY_ROM,
        )),
        Some(is) if size_class(*is) != size_class(*was) => Some(note(
            host,
            codes::TRIAL_ROM_CLASS,
            format!("ROM {name}"),
            format!(
                "it takes {} bytes on the bus instead of {}: a guest with it that was started by the old emulator cannot be moved by live \
                 migration to a host where the new one finds only this file (`Size mismatch`). In place nothing changes: a guest keeps \
                 the ROM that it was started with",
                size_class(*is),
                size_class(*was)
            ),
            "to move such guests, give the destination the old file, or pin it by `<rom file=…>` in the definition",
        )),
        Some(_) => None,
    };
    old.iter().filter_map(one).collect()
}

impl Perform for TreeTrial {
    fn check(&self, host: &Host) -> Result<Standing, Refusal> {
        let runs = |path: &Path| {
            fs::metadata(path).is_ok_and(|m| m.is_file() && m.permissions().mode() & 0o111 != 0)
        };
        if runs(&host.at(&self.emulator)) {
            return Ok(Standing::Ready);
        }
        Err(refusal(
            codes::TRIAL_RUN,
            format!("there is no program {}", self.emulator.display()),
            "correct qemu.bin_directory in the fleet file, or the package that brings the emulator, then plan again",
        ))
    }

    fn prepare(&self, _host: &Host) -> Result<UndoRecord, Refusal> {
        Ok(UndoRecord::Nothing)
    }

    fn apply(&self, host: &Host, _record: &UndoRecord, progress: Progress<'_>) -> Result<Report, ActError> {
        let emulator = Emulator { path: host.at(&self.emulator), host, action: self };
        emulator.refuse_other_version()?;
        let machines = emulator.machines()?;
        let findings =
            compare_roms(host, &roms(host, &self.old_rom_directories), &roms(host, &self.rom_directories));
        refuse_if_blocked(
            codes::TRIAL_ROM_MISSING,
            "the new emulator lacks boot ROMs",
            REMEDY_ROM,
            &findings,
        )?;

        progress(Some(200), "running the new emulator and watching which files it opens");
        // Listing the devices loads every module that has some.
        let list = emulator.watched(&emulator.command().args(["-device", "help"]))?;
        // Old builds list them on standard error.
        let list = format!("{}{}", list.text(), String::from_utf8_lossy(&list.stderr));
        emulator.watched(&emulator.machine("none", &[]))?;
        let trials = trials(&machines, &list);
        for (at, (machine, devices)) in trials.iter().enumerate() {
            let permille = 400 + 600 * at as u32 / trials.len().max(1) as u32;
            progress(Some(permille), &format!("making a stopped machine of type {machine}"));
            emulator.watched(&emulator.machine(machine, devices))?;
        }
        let changes = vec![change(
            format!("{} on trial", self.emulator.display()),
            "not tried",
            format!("opens nothing of the old build; {} machine types of guests made", machines.len()),
        )];
        Ok(Report { changes, findings })
    }

    fn verify(&self, _host: &Host, _record: &UndoRecord) -> Result<(), Failure> {
        Ok(())
    }

    fn undo(&self, _host: &Host, _record: &UndoRecord, _progress: Progress<'_>) -> Result<Report, ActError> {
        Ok(Report::default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing::World;
    use replank_common::finding::Severity;
    use replank_common::version::Version;

    /// Answers as a qemu does, opens a ROM below `$1` when it makes a machine, and leaves by `quit`.
    fn fake(world: &World, rom: &str, version: &str) {
        let rom = world.host.at(rom);
        let script = format!(
            "#!/bin/sh\ncase \"$*\" in\n\
             -version) echo 'QEMU emulator version {version} (x)';;\n\
             '-M help') printf 'Supported machines are:\\npc-i440fx-7.2  Standard PC\\nnone  empty machine\\n';;\n\
             '-device help') echo 'name \"virtio-net-pci\", bus PCI';;\n\
             *'-M none'*) read word; test \"$word\" = quit;;\n\
             *'-device virtio-net-pci'*) cat '{}' >/dev/null || {{ echo 'failed to find romfile \"x\"' >&2; exit 1; }};\n\
                read word; test \"$word\" = quit;;\n\
             *) exit 9;; esac\n",
            rom.display()
        );
        world.file("/opt/qemu/10.0.2/bin/qemu-system-x86_64", &script);
        let path = world.host.at("/opt/qemu/10.0.2/bin/qemu-system-x86_64");
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    fn trial() -> TreeTrial {
        TreeTrial {
            emulator: "/opt/qemu/10.0.2/bin/qemu-system-x86_64".into(),
            version: Version::new("10.0.2"),
            old_prefixes: vec!["/usr/share/qemu".into(), "/no/such".into()],
            rom_directories: vec!["/opt/qemu/10.0.2/share/qemu".into()],
            old_rom_directories: vec!["/usr/share/qemu".into()],
        }
    }

    fn world(machine: &str, rom: &str) -> World {
        let world = World::new();
        world.file("/usr/share/qemu/efi-virtio.rom", &"x".repeat(200_000));
        world.file("/opt/qemu/10.0.2/share/qemu/efi-virtio.rom", &"x".repeat(300_000));
        fake(&world, rom, "10.0.2");
        let guest = crate::actions::testing::guest("web", 1, Some(machine));
        world.guests.guests.lock().unwrap().push(guest);
        world
    }

    fn apply(world: &World) -> Result<Report, ActError> {
        let action = trial();
        assert_eq!(action.check(&world.host).unwrap(), Standing::Ready);
        action.apply(&world.host, &UndoRecord::Nothing, &|_, _| {})
    }

    fn refused(world: &World) -> Refusal {
        match apply(world) {
            Err(ActError::Refused(refusal)) => refusal,
            other => panic!("{other:?}"),
        }
    }

    const NEW_ROM: &str = "/opt/qemu/10.0.2/share/qemu/efi-virtio.rom";

    #[test]
    fn a_build_that_stands_on_its_own_passes_and_another_size_class_is_told() {
        let world = world("pc-i440fx-7.2", NEW_ROM);
        let report = apply(&world).unwrap();
        let [finding] = report.findings.as_slice() else { panic!("{:?}", report.findings) };
        assert_eq!((finding.code.as_str(), &finding.severity), (codes::TRIAL_ROM_CLASS, &Severity::Notes));
        assert!(finding.cause.contains("524288 bytes on the bus instead of 262144"), "{}", finding.cause);
    }

    #[test]
    fn a_build_that_opens_the_old_ones_files_is_refused() {
        let refusal = refused(&world("pc-i440fx-7.2", "/usr/share/qemu/efi-virtio.rom"));
        assert_eq!(refusal.code, codes::TRIAL_OLD_FILES);
        assert!(refusal.reason.contains("/usr/share/qemu/efi-virtio.rom"), "{refusal}");
    }

    #[test]
    fn what_a_guest_needs_and_the_build_lacks_is_refused() {
        let refusal = refused(&world("pc-i440fx-rhel7.0.0", NEW_ROM));
        assert_eq!(refusal.code, codes::TRIAL_MACHINE);
        assert!(refusal.findings[0].subject.contains("web"), "{refusal:?}");

        let missing = world("pc-i440fx-7.2", NEW_ROM);
        missing.file("/usr/share/qemu/pxe-e1000.rom", "x");
        assert_eq!(refused(&missing).code, codes::TRIAL_ROM_MISSING);
        missing.file("/opt/qemu/10.0.2/share/qemu/pxe-e1000.rom", "y");
        fs::remove_file(missing.host.at("/usr/share/qemu/efi-virtio.rom")).unwrap();
        fs::remove_file(missing.host.at(NEW_ROM)).unwrap();
        assert_eq!(refused(&missing).code, codes::TRIAL_ROM_MISSING, "the emulator itself says so");
    }

    #[test]
    fn another_version_and_no_program_are_refused() {
        let world = world("pc-i440fx-7.2", NEW_ROM);
        fake(&world, NEW_ROM, "9.2.0");
        assert_eq!(refused(&world).code, codes::TRIAL_VERSION);
        assert_eq!(trial().check(&World::new().host).unwrap_err().code, codes::TRIAL_RUN);
    }

    #[test]
    fn a_real_emulator_makes_a_stopped_machine_and_ends() {
        let path = Path::new("/usr/bin/qemu-system-x86_64");
        if !path.exists() {
            return;
        }
        let world = World::new();
        let host = Host { directories: crate::host::dirs::Directories::real(), ..world.host.clone() };
        let action = TreeTrial {
            emulator: path.into(),
            old_prefixes: vec!["/no/such".into()],
            version: Version::new("0"),
            ..trial()
        };
        let emulator = Emulator { path: path.into(), host: &host, action: &action };
        let list = emulator.watched(&emulator.command().args(["-device", "help"])).unwrap();
        let machines = BTreeSet::from(["pc".to_owned(), "q35".to_owned()]);
        for (machine, devices) in trials(&machines, &list.text()) {
            emulator.watched(&emulator.machine(&machine, &devices)).unwrap();
        }
        let old = TreeTrial { old_prefixes: vec!["/usr/share".into()], ..action.clone() };
        let emulator = Emulator { action: &old, ..emulator };
        assert_eq!(emulator.watched(&emulator.machine("q35", &[])).unwrap_err().code, codes::TRIAL_OLD_FILES);
    }
}
