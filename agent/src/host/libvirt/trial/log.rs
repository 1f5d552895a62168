//! What libvirtd says while it reads status files.
//!
//! `virDomainObjListLoadAllConfigs` names each file before it reads it, complains when it cannot, and goes on to the persistent definitions
//! when all status files have been tried:
//!
//! ```text
//! … info : virDomainObjListLoadAllConfigs:601 : Scanning for configs in /run/libvirt/qemu
//! … info : virDomainObjListLoadAllConfigs:616 : Loading config file 'guest1.xml'
//! … error : qemuDomainObjPrivateXMLParse:3270 : internal error: Unknown qemu capabilities flag virtio-crypto
//! … error : virDomainObjListLoadAllConfigs:637 : Failed to load config for domain 'guest1'
//! … info : virDomainObjListLoadAllConfigs:601 : Scanning for configs in /etc/libvirt/qemu
//! ```
//!
//! A file counts as read only when it was named, nothing was complained of before the next one, and the end was reached. Old versions
//! have no line of failure, only the complaint itself, so any error in between counts.

use std::collections::BTreeMap;

const FUNCTION: &str = "virDomainObjListLoadAllConfigs";
const SCANNING: &str = "Scanning for configs in ";
const LOADING: &str = "Loading config file '";
const STATUS: &str = "run/libvirt/qemu";
const DEFINITIONS: &str = "/etc/libvirt/qemu";

/// Whether one guest's status file could be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Read {
    Yes,
    /// libvirt's words.
    No(String),
    CannotTell(String),
}

/// By the name of the guest.
pub type Verdicts = BTreeMap<String, Read>;

enum Line<'a> {
    Scanning(&'a str),
    Loading(&'a str),
    Error(&'a str),
    Other,
}

fn line(text: &str) -> Line<'_> {
    // `2026-11-24 05:10:00.123+0000: 1: info : function:123 : message`
    let Some((level, rest)) = text.split_once(" : ") else { return Line::Other };
    let (function, message) = rest.split_once(" : ").unwrap_or(("", rest));
    if level.ends_with(": error") {
        return Line::Error(message);
    }
    if function.split(':').next() != Some(FUNCTION) {
        return Line::Other;
    }
    if let Some(directory) = message.strip_prefix(SCANNING) {
        return Line::Scanning(directory.trim());
    }
    message
        .strip_prefix(LOADING)
        .and_then(|rest| rest.trim().strip_suffix(".xml'"))
        .map_or(Line::Other, Line::Loading)
}

/// All status files have been tried.
pub(super) fn is_complete(text: &str) -> bool {
    let mut begun = false;
    text.lines().any(|text| match line(text) {
        Line::Scanning(directory) if directory.ends_with(STATUS) => {
            begun = true;
            false
        }
        Line::Scanning(directory) => begun && directory == DEFINITIONS,
        Line::Loading(_) | Line::Error(_) | Line::Other => false,
    })
}

/// What became of each guest's file.
pub(super) fn judge(text: &str, guests: &[String]) -> Verdicts {
    let mut seen: Verdicts = BTreeMap::new();
    let mut current: Option<&str> = None;
    let mut begun = false;
    let mut last_error = None;
    for text in text.lines() {
        match line(text) {
            Line::Scanning(directory) => {
                begun = directory.ends_with(STATUS);
                current = None;
            }
            Line::Loading(name) if begun => {
                current = Some(name);
                seen.insert(name.to_owned(), Read::Yes);
            }
            Line::Error(message) => {
                last_error = Some(message);
                if let Some(name) = current {
                    let first = !matches!(seen.get(name), Some(Read::No(_)));
                    if first {
                        seen.insert(name.to_owned(), Read::No(message.trim().to_owned()));
                    }
                }
            }
            Line::Loading(_) | Line::Other => {}
        }
    }
    let complete = is_complete(text);
    let why = match (complete, last_error) {
        (true, _) => "libvirtd did not look at its status file".to_owned(),
        (false, Some(error)) => {
            format!("libvirtd ended before it had read all status files: {}", error.trim())
        }
        (false, None) => {
            let last = text.lines().last().unwrap_or_default().trim();
            format!("libvirtd did not get as far as reading all status files; it said last: {last}")
        }
    };
    guests
        .iter()
        .map(|guest| {
            let verdict = match seen.remove(guest) {
                Some(Read::Yes) if !complete => Read::CannotTell(why.clone()),
                Some(verdict) => verdict,
                None => Read::CannotTell(why.clone()),
            };
            (guest.clone(), verdict)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use pretty_assertions::assert_eq;

    fn guests(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn a_real_log_of_two_good_files_and_a_bad_one() {
        let text = include_str!("fixtures/9.0.0-one-bad.txt");
        assert!(is_complete(text));
        let verdicts = judge(text, &guests(&["guest1", "guest2", "guest3"]));
        assert_eq!(verdicts["guest1"], Read::Yes);
        assert_eq!(verdicts["guest2"], Read::Yes);
        let Read::No(why) = &verdicts["guest3"] else { panic!("{verdicts:?}") };
        assert!(why.contains("Unknown qemu capabilities flag"), "{why}");
    }

    #[test]
    fn a_real_log_of_good_files() {
        let verdicts = judge(include_str!("fixtures/11.3.0-good.txt"), &guests(&["guest1", "guest2"]));
        assert_eq!(verdicts.values().collect::<Vec<_>>(), [&Read::Yes, &Read::Yes]);
    }

    #[test]
    fn without_the_end_or_without_a_mention_nothing_can_be_told() {
        let text = include_str!("fixtures/11.3.0-good.txt");
        let cut = text.find("Scanning for configs in /etc").unwrap();
        assert!(!is_complete(&text[..cut]));
        let verdicts = judge(&text[..cut], &guests(&["guest1"]));
        assert!(matches!(verdicts["guest1"], Read::CannotTell(_)));
        assert!(matches!(judge(text, &guests(&["other"]))["other"], Read::CannotTell(_)));
        assert!(matches!(judge("", &guests(&["guest1"]))["guest1"], Read::CannotTell(_)));
    }

    #[test]
    fn an_old_version_that_only_complains_has_not_read_the_file() {
        let text = "2026-11-24 05:10:00.123+0000: 1: info : virDomainObjListLoadAllConfigs:1 : Scanning for configs in /var/run/libvirt/qemu\n\
            2026-11-24 05:10:00.123+0000: 1: info : virDomainObjListLoadAllConfigs:2 : Loading config file 'a b.xml'\n\
            2026-11-24 05:10:00.123+0000: 1: error : qemuDomainObjPrivateXMLParse:3 : internal error: Unknown qemu capabilities flag x : y\n\
            2026-11-24 05:10:00.123+0000: 1: info : virDomainObjListLoadAllConfigs:1 : Scanning for configs in /etc/libvirt/qemu\n";
        let verdicts = judge(text, &guests(&["a b"]));
        assert_eq!(
            verdicts["a b"],
            Read::No("internal error: Unknown qemu capabilities flag x : y".to_owned())
        );
    }
}
