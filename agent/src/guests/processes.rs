//! The first source of a census: processes whose command line is a qemu's with `-uuid`.
//!
//! libvirt's capability probes run qemu without `-uuid` and are no guests. A child that qemu forks carries its parent's command
//! line until it executes something else, and qemu's `async-teardown` child (`cleanup/<pid>`) for its whole life; neither is
//! a guest of its own.

use procfs::process::{Process, Stat};
use replank_agent_core::usage::FileId;
use replank_common::ids::GuestUuid;
use std::ffi::OsStr;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use uuid::Uuid;

/// A qemu process with a uuid.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QemuProcess {
    pub pid: u32,
    pub parent: u32,
    /// Field 22 of `/proc/PID/stat`.
    pub start_ticks: u64,
    pub uuid: GuestUuid,
    /// `-name`; the uuid's text where there is none.
    pub name: String,
    /// `-machine` or `-M` without options.
    pub machine: Option<String>,
    pub executable: Executable,
}

/// What `/proc/PID/exe` says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Executable {
    /// Without ` (deleted)`.
    pub path: PathBuf,
    pub deleted: bool,
    /// `None` when it cannot be read.
    pub file: Option<FileId>,
}

/// The daemon that manages qemu guests: `libvirtd`, or `virtqemud` where the daemons are split.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Daemon {
    pub pid: u32,
    pub start_ticks: u64,
}

/// One look at all processes.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scan {
    pub qemus: Vec<QemuProcess>,
    pub daemon: Option<Daemon>,
}

/// Looks at every process below `proc`. A process that ends meanwhile is left out.
///
/// # Errors
/// `proc` itself cannot be read.
pub fn scan(proc: &Path) -> Result<Scan, String> {
    let entries =
        std::fs::read_dir(proc).map_err(|error| format!("failed to list {}: {error}", proc.display()))?;
    let own_pid_namespace = std::fs::read_link(proc.join("self/ns/pid")).ok();
    let mut scan = Scan::default();
    for entry in entries {
        let entry = entry.map_err(|error| format!("failed to list {}: {error}", proc.display()))?;
        let is_pid = entry.file_name().as_bytes().iter().all(u8::is_ascii_digit);
        if !is_pid {
            continue;
        }
        let Ok(process) = Process::new_with_root(entry.path()) else { continue };
        match kind(&arguments(&process)) {
            Some(Kind::Qemu(line)) => scan.qemus.extend(qemu(&process, line)),
            Some(Kind::Daemon) => {
                // A trial libvirtd in a pid namespace of its own is not the host's.
                let namespace = std::fs::read_link(entry.path().join("ns/pid")).ok();
                if own_pid_namespace.is_none() || namespace == own_pid_namespace {
                    scan.daemon = daemon(&process).or(scan.daemon);
                }
            }
            None => {}
        }
    }
    leave_out_children(&mut scan.qemus);
    scan.qemus.sort_by_key(|qemu| (qemu.uuid, qemu.start_ticks, qemu.pid));
    Ok(scan)
}

/// `Some(start_ticks)` while a process with that pid lives, zombies excluded.
pub fn start_ticks(proc: &Path, pid: u32) -> Option<u64> {
    let process = Process::new_with_root(proc.join(pid.to_string())).ok()?;
    process.stat().ok().filter(|stat| !is_dead(stat)).map(|stat| stat.starttime)
}

/// The memory that a qemu was started with (`-m`), hot-plugged memory included as far as it may grow; `None` when it is not told.
pub fn memory_mib(proc: &Path, pid: u32) -> Option<u64> {
    let process = Process::new_with_root(proc.join(pid.to_string())).ok()?;
    let arguments = arguments(&process);
    let at = arguments.iter().position(|argument| argument == b"-m")?;
    let text = std::str::from_utf8(arguments.get(at + 1)?).ok()?;
    let parts = text.split(',').filter_map(|part| match part.split_once('=') {
        None => Some(part),
        Some(("size" | "maxmem", size)) => Some(size),
        Some(_) => None,
    });
    parts.filter_map(mib).max()
}

/// A size as qemu's `-m` takes it: MiB without a suffix.
fn mib(text: &str) -> Option<u64> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().ok()?;
    match text[digits.len()..].to_ascii_lowercase().as_str() {
        "b" => Some(number >> 20),
        "k" => Some(number >> 10),
        "" | "m" => Some(number),
        "g" => number.checked_mul(1 << 10),
        "t" => number.checked_mul(1 << 20),
        _ => None,
    }
}

fn is_dead(stat: &Stat) -> bool {
    matches!(stat.state, 'Z' | 'X' | 'x')
}

/// The arguments of a process; empty for kernel threads, zombies and those that cannot be read.
pub fn arguments(process: &Process) -> Vec<Vec<u8>> {
    let mut bytes = Vec::new();
    match process.open_relative("cmdline").map(|mut file| file.read_to_end(&mut bytes)) {
        Ok(Ok(_)) => {}
        Ok(Err(_)) | Err(_) => return Vec::new(),
    }
    if bytes.last() == Some(&0) {
        bytes.pop();
    }
    if bytes.is_empty() {
        return Vec::new();
    }
    bytes.split(|byte| *byte == 0).map(<[u8]>::to_vec).collect()
}

#[derive(Debug, PartialEq, Eq)]
struct CommandLine {
    uuid: GuestUuid,
    name: Option<String>,
    machine: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
enum Kind {
    Qemu(CommandLine),
    Daemon,
}

fn kind(arguments: &[Vec<u8>]) -> Option<Kind> {
    let program = Path::new(OsStr::from_bytes(arguments.first()?)).file_name()?.as_bytes();
    if matches!(program, b"libvirtd" | b"virtqemud") {
        return Some(Kind::Daemon);
    }
    if !program.starts_with(b"qemu") && program != b"kvm" {
        return None;
    }
    let mut line = CommandLine { uuid: GuestUuid(Uuid::nil()), name: None, machine: None };
    let mut has_uuid = false;
    let mut rest = arguments.iter().skip(1).map(|argument| String::from_utf8_lossy(argument));
    while let Some(option) = rest.next() {
        // qemu takes one hyphen or two.
        let option = option.strip_prefix("--").or(option.strip_prefix('-')).unwrap_or_default().to_owned();
        match option.as_str() {
            "uuid" => match rest.next().and_then(|text| Uuid::parse_str(&text).ok()) {
                Some(uuid) => {
                    line.uuid = GuestUuid(uuid);
                    has_uuid = true;
                }
                None => return None,
            },
            "name" => line.name = rest.next().and_then(|text| first_or(&text, "guest")),
            "machine" | "M" => line.machine = rest.next().and_then(|text| first_or(&text, "type")),
            _ => {}
        }
    }
    has_uuid.then_some(Kind::Qemu(line))
}

/// The value of `key`, or the leading value without a key, of a qemu option list, in which `,,` is a comma.
fn first_or(text: &str, key: &str) -> Option<String> {
    const COMMA: char = '\u{0}';
    let text = text.replace(",,", &COMMA.to_string());
    let mut parts = text.split(',');
    let first = parts.next()?;
    let value = match first.split_once('=') {
        None => Some(first),
        Some((found, value)) if found == key => Some(value),
        Some(_) => parts.find_map(|part| part.strip_prefix(key)?.strip_prefix('=')),
    };
    value.filter(|value| !value.is_empty()).map(|value| value.replace(COMMA, ","))
}

fn qemu(process: &Process, line: CommandLine) -> Option<QemuProcess> {
    let stat = process.stat().ok()?;
    if is_dead(&stat) || stat.comm.starts_with("cleanup/") {
        return None;
    }
    Some(QemuProcess {
        pid: u32::try_from(stat.pid).ok()?,
        parent: u32::try_from(stat.ppid).unwrap_or(0),
        start_ticks: stat.starttime,
        uuid: line.uuid,
        name: line.name.unwrap_or_else(|| line.uuid.to_string()),
        machine: line.machine,
        executable: executable(process),
    })
}

fn daemon(process: &Process) -> Option<Daemon> {
    let stat = process.stat().ok().filter(|stat| !is_dead(stat))?;
    Some(Daemon { pid: u32::try_from(stat.pid).ok()?, start_ticks: stat.starttime })
}

/// Follows `/proc/PID/exe`.
pub fn executable(process: &Process) -> Executable {
    let Ok(link) = process.exe() else { return Executable::default() };
    let (path, deleted) = strip_deleted(&link);
    let file = process
        .open_relative("exe")
        .ok()
        .and_then(|file| file.metadata().ok())
        .map(|metadata| FileId { device: metadata.dev(), inode: metadata.ino() });
    Executable { path, deleted, file }
}

/// A path as procfs shows it, without the mark of a removed file, and whether the mark was there.
pub fn strip_deleted(path: &Path) -> (PathBuf, bool) {
    match path.as_os_str().as_bytes().strip_suffix(b" (deleted)") {
        Some(bare) => (PathBuf::from(OsStr::from_bytes(bare)), true),
        None => (path.to_path_buf(), false),
    }
}

fn leave_out_children(qemus: &mut Vec<QemuProcess>) {
    let known: Vec<(u32, GuestUuid)> = qemus.iter().map(|qemu| (qemu.pid, qemu.uuid)).collect();
    qemus.retain(|qemu| !known.contains(&(qemu.parent, qemu.uuid)));
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use std::fs;

    pub(in crate::guests) const UUID: &str = "6f1e2a0c-9a0f-4a53-8a3c-0d6c33bb5f01";

    /// A process of a made-up procfs.
    pub(crate) fn fake_process(
        proc: &Path,
        pid: u32,
        parent: u32,
        comm: &str,
        start: u64,
        args: &[&str],
        exe: &str,
    ) {
        let dir = proc.join(pid.to_string());
        fs::create_dir_all(&dir).unwrap();
        let mut line = args.join("\0").into_bytes();
        if !args.is_empty() {
            line.push(0);
        }
        fs::write(dir.join("cmdline"), line).unwrap();
        fs::write(
            dir.join("stat"),
            format!(
                "{pid} ({comm}) S {parent} {pid} {pid} 0 -1 4194560 0 0 0 0 1 1 0 0 20 0 3 0 {start} 1000000 100 \
                 18446744073709551615 1 1 0 0 0 0 0 4096 16384 0 0 0 17 1 0 0 0 0 0 0 0 0 0 0 0 0 0\n"
            ),
        )
        .unwrap();
        let _ = fs::remove_file(dir.join("exe"));
        std::os::unix::fs::symlink(exe, dir.join("exe")).unwrap();
    }

    #[test]
    fn a_guest_is_a_qemu_with_a_uuid() {
        let dir = tempfile::tempdir().unwrap();
        let proc = dir.path();
        let emulator = "/usr/bin/qemu-system-x86_64";
        let name = "guest=web,,1,debug-threads=on";
        let machine = "pc-i440fx-5.2,usb=off,dump-guest-core=off";
        let args = [emulator, "-name", name, "-S", "-machine", machine, "-uuid", UUID, "-no-user-config"];
        fake_process(proc, 40, 1, "qemu-system-x86", 777, &args, "/usr/bin/qemu-system-x86_64 (deleted)");
        // A fork of it, its teardown helper, a capability probe, a shell that talks of it, the daemon, a kernel thread.
        fake_process(proc, 41, 40, "qemu-system-x86", 778, &args, emulator);
        fake_process(proc, 42, 1, "cleanup/40", 778, &args, emulator);
        fake_process(proc, 43, 9, "qemu-system-x86", 779, &[emulator, "-S", "-machine", "none"], emulator);
        fake_process(proc, 44, 9, "grep", 780, &["grep", "qemu", "-uuid", UUID], "/bin/grep");
        fake_process(
            proc,
            45,
            1,
            "libvirtd",
            50,
            &["/usr/sbin/libvirtd", "--timeout", "120"],
            "/usr/sbin/libvirtd",
        );
        fake_process(proc, 2, 0, "kthreadd", 0, &[], "/");
        let scan = scan(proc).unwrap();
        assert_eq!(scan.daemon, Some(Daemon { pid: 45, start_ticks: 50 }));
        assert_eq!(scan.qemus.len(), 1, "{:?}", scan.qemus);
        let guest = &scan.qemus[0];
        assert_eq!((guest.pid, guest.start_ticks, guest.uuid.to_string()), (40, 777, UUID.to_owned()));
        assert_eq!((guest.name.as_str(), guest.machine.as_deref()), ("web,1", Some("pc-i440fx-5.2")));
        assert_eq!((guest.executable.path.as_path(), guest.executable.deleted), (Path::new(emulator), true));
    }

    #[test]
    fn the_spellings_of_old_releases_are_read() {
        let words = |text: &str| text.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
        let old = format!(
            "/usr/libexec/qemu-kvm -name instance-00000012 -S -machine pc-i440fx-rhel7.0.0,accel=kvm -uuid {UUID}"
        );
        let Some(Kind::Qemu(line)) = kind(&words(&old)) else { panic!("not a guest") };
        assert_eq!(line.name.as_deref(), Some("instance-00000012"));
        assert_eq!(line.machine.as_deref(), Some("pc-i440fx-rhel7.0.0"));
        let typed = format!("kvm -M accel=tcg,type=q35 --uuid {UUID}");
        let Some(Kind::Qemu(line)) = kind(&words(&typed)) else { panic!("not a guest") };
        assert_eq!((line.name, line.machine.as_deref()), (None, Some("q35")));
        assert_eq!(kind(&words("/usr/bin/qemu-img convert -uuid x")), None);
    }

    #[test]
    fn memory_is_read_as_libvirt_says_it() {
        let dir = tempfile::tempdir().unwrap();
        for (text, mib) in [
            ("size=268435456k", Some(262_144)),
            ("size=1048576k,slots=16,maxmem=4194304k", Some(4096)),
            ("2048", Some(2048)),
            ("4G", Some(4096)),
            ("much", None),
        ] {
            let args = ["/usr/bin/qemu-system-x86_64", "-m", text, "-uuid", UUID];
            fake_process(dir.path(), 40, 1, "qemu-system-x86", 7, &args, "/usr/bin/qemu-system-x86_64");
            assert_eq!(memory_mib(dir.path(), 40), mib, "{text}");
        }
        assert_eq!(memory_mib(dir.path(), 41), None);
    }

    #[test]
    fn a_process_list_that_cannot_be_read_is_an_error_and_not_an_empty_one() {
        assert!(scan(Path::new("/nowhere")).unwrap_err().contains("/nowhere"));
    }
}
