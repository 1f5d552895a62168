//! What `virsh` prints, in its untranslated form (`LC_ALL=C`).

use quick_xml::Reader;
use quick_xml::events::Event;
use replank_common::version::Version;
use std::path::PathBuf;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Job {
    None,
    Running(String),
}

pub(super) fn lines(text: &str) -> Vec<String> {
    text.lines().map(str::trim_end).filter(|line| !line.is_empty()).map(str::to_owned).collect()
}

/// `Running against daemon: 9.0.0`.
pub(super) fn daemon_version(text: &str) -> Option<Version> {
    let word = text.lines().find_map(|line| line.strip_prefix("Running against daemon:"))?.trim();
    word.starts_with(|c: char| c.is_ascii_digit()).then(|| Version::new(word))
}

/// `/usr/sbin/libvirtd (libvirt) 9.0.0`.
pub(super) fn program_version(text: &str) -> Option<Version> {
    let (_, word) = text.lines().next()?.split_once("(libvirt) ")?;
    Some(Version::new(word.trim()))
}

/// The `<path>` of domain capabilities.
pub(super) fn emulator(xml: &str) -> Option<PathBuf> {
    let mut reader = Reader::from_str(xml);
    let mut depth = 0_u32;
    loop {
        match reader.read_event().ok()? {
            Event::Start(element) if depth == 1 && element.name().as_ref() == b"path" => {
                let text = reader.read_text(element.name()).ok()?;
                let text = text.xml10_content().ok()?;
                let text = quick_xml::escape::unescape(&text).ok()?.trim().to_owned();
                return text.starts_with('/').then(|| PathBuf::from(text));
            }
            Event::Start(_) => depth += 1,
            Event::End(_) => depth = depth.saturating_sub(1),
            Event::Eof => return None,
            _ => {}
        }
    }
}

/// libvirt's ways to say that it offers no guests of a virtualisation type (`virQEMUCapsCacheLookupDefault`).
pub(super) fn is_not_offered(said: &str) -> bool {
    [
        "is not supported by",
        "KVM is not supported",
        "could not find capabilities for",
        "unable to find any emulator",
    ]
    .iter()
    .any(|words| said.contains(words))
}

/// libvirt's ways to say that the guest is not there any more.
pub(super) fn is_gone(said: &str) -> bool {
    ["failed to get domain", "Domain not found", "domain is not running"]
        .iter()
        .any(|words| said.contains(words))
}

/// `Job type:         None`, and with a job in flight its operation.
pub(super) fn domain_job(text: &str) -> Option<Job> {
    let field = |name: &str| {
        text.lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(|value| value.trim().to_owned())
    };
    let kind = field("Job type")?;
    Some(match kind.as_str() {
        // A job that has ended leaves its statistics behind.
        "None" | "Completed" | "Failed" | "Cancelled" => Job::None,
        _ => Job::Running(field("Operation").unwrap_or_else(|| format!("a job ({kind})"))),
    })
}

/// Targets of `domblklist --details` that have a source; an empty drive has no block job.
pub(super) fn disks(text: &str) -> Vec<String> {
    let rows = text.lines().skip_while(|line| !line.starts_with("---")).skip(1);
    rows.filter_map(|row| {
        let mut words = row.split_whitespace();
        let (_type, _device, target, source) = (words.next()?, words.next()?, words.next()?, words.next()?);
        (source != "-").then(|| target.to_owned())
    })
    .collect()
}

/// `Block Copy: [ 42 %]` on standard error with the bandwidth on standard output, or all on standard output (older); and
/// `No current block job for vda`, or nothing.
pub(super) fn block_job(stdout: &str, stderr: &str) -> Job {
    if stdout.contains("No current block job") || (stdout.trim().is_empty() && stderr.trim().is_empty()) {
        return Job::None;
    }
    let mut lines = stderr.split(['\r', '\n']).chain(stdout.lines());
    let what = lines.find_map(|line| line.split_once(": [")).map(|(what, _)| what.trim().to_lowercase());
    Job::Running(what.unwrap_or_else(|| "a block job".to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    #[test]
    fn the_daemons_own_version_is_told_from_the_clients() {
        let text = include_str!("fixtures/version-daemon.txt");
        assert_eq!(daemon_version(text).unwrap().as_str(), "9.0.0");
        assert_eq!(daemon_version("Using library: libvirt 9.0.0\n"), None);
    }

    #[test]
    fn the_default_emulator_is_the_path_of_the_capabilities_and_no_other() {
        let xml = include_str!("fixtures/domcapabilities.xml");
        assert_eq!(emulator(xml).unwrap(), PathBuf::from("/usr/bin/qemu-system-x86_64"));
        assert_eq!(emulator("<domainCapabilities><os><path>/x</path></os></domainCapabilities>"), None);
        assert_eq!(emulator("error"), None);
        let said = "error: failed to get emulator capabilities | error: invalid argument: the accel 'kvm' is not supported by \
                    '/usr/bin/qemu-system-x86_64' on this host";
        assert!(is_not_offered(said));
        assert!(!is_not_offered("error: failed to connect to the hypervisor"));
    }

    #[test]
    fn jobs_are_told_from_none_and_from_ended_ones() {
        assert_eq!(domain_job("Job type:         None        \n\n"), Some(Job::None));
        assert_eq!(domain_job("Job type:         Completed   \nOperation:        Save\n"), Some(Job::None));
        let running =
            "Job type:         Unbounded   \nOperation:        Outgoing migration\nTime elapsed:     12 ms\n";
        assert_eq!(domain_job(running), Some(Job::Running("Outgoing migration".to_owned())));
        // libvirt 1.2 knows no operation.
        let old = domain_job("Job type:         Unbounded   \nTime elapsed: 12 ms\n");
        assert_eq!(old, Some(Job::Running("a job (Unbounded)".to_owned())));
        assert_eq!(domain_job(""), None);
    }

    #[test]
    fn disks_and_their_block_jobs_are_read() {
        let text = " Type   Device   Target   Source\n---------------------------------\n file   disk     vda      /var/a b.img\n \
                    file   cdrom    hda      -\n network disk    vdb      pool/image\n";
        assert_eq!(disks(text), ["vda", "vdb"]);
        assert_eq!(block_job("No current block job for vda\n", ""), Job::None);
        let limited = "    Bandwidth limit: 1048576 bytes/s (1.000 MiB/s)\n\n";
        assert_eq!(block_job(limited, "\rBlock Copy: [ 99 %]"), Job::Running("block copy".to_owned()));
        assert_eq!(block_job(limited, ""), Job::Running("a block job".to_owned()));
        assert_eq!(block_job("", ""), Job::None);
        assert_eq!(
            block_job("Active Block Commit: [100 %]", ""),
            Job::Running("active block commit".to_owned())
        );
    }

    #[test]
    fn names_are_lines() {
        assert_eq!(lines("guest 1\nguest2\n\n"), ["guest 1", "guest2"]);
        assert!(is_gone("error: failed to get domain 'none'"));
        assert!(!is_gone("error: failed to connect to the hypervisor"));
    }
}
