//! The second source of a census: libvirt's status files, `/run/libvirt/qemu/<name>.xml`.
//!
//! Read with our own few lines and not by libvirt, because a file that libvirt cannot read is exactly what has to be seen: libvirt
//! skips it with a line in its log, and then the guest runs on unmanaged (libvirt's `virDomainObjListLoadAllConfigs`).

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use replank_common::ids::GuestUuid;
use std::path::{Path, PathBuf};

/// What one file says of its guest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StatusFile {
    pub path: PathBuf,
    pub uuid: GuestUuid,
    pub name: String,
    pub pid: u32,
    /// libvirt's words, such as `running` and `booted`.
    pub state: String,
    pub reason: String,
}

/// All files of a host.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StatusFiles {
    pub good: Vec<StatusFile>,
    /// Files that could not be read as one, and why.
    pub bad: Vec<(PathBuf, String)>,
}

/// Reads every `*.xml` of `directory`. A directory that is not there has no files: libvirt makes it before it starts a guest. A
/// file that vanishes meanwhile is left out.
///
/// # Errors
/// The directory is there and cannot be listed.
pub fn read(directory: &Path) -> Result<StatusFiles, String> {
    let mut files = StatusFiles::default();
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(files),
        Err(error) => return Err(format!("failed to list {}: {error}", directory.display())),
    };
    for entry in entries {
        let path = entry.map_err(|error| format!("failed to list {}: {error}", directory.display()))?.path();
        // libvirt writes `<name>.xml.new` and renames it.
        if path.extension().is_none_or(|extension| extension != "xml") {
            continue;
        }
        match std::fs::read_to_string(&path) {
            Ok(text) => match parse(&path, &text) {
                Ok(file) => files.good.push(file),
                Err(why) => files.bad.push((path, why)),
            },
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {}
            Err(error) => files.bad.push((path, error.to_string())),
        }
    }
    files.good.sort_by_key(|file| file.uuid);
    files.bad.sort();
    Ok(files)
}

/// Reads one status file.
///
/// # Errors
/// What is missing or malformed.
pub fn parse(path: &Path, text: &str) -> Result<StatusFile, String> {
    let mut reader = Reader::from_str(text);
    reader.config_mut().trim_text(true);
    let mut open: Vec<Vec<u8>> = Vec::new();
    let (mut root, mut name, mut uuid) = (None, None, None);
    loop {
        match reader.read_event().map_err(|error| format!("it is not well-formed: {error}"))? {
            Event::Start(element) => {
                if open.is_empty() {
                    root = Some(Root::read(&element)?);
                }
                let tag = element.name().as_ref().to_vec();
                let inside: Vec<&[u8]> = open.iter().map(Vec::as_slice).collect();
                if inside == [&b"domstatus"[..], b"domain"] && matches!(tag.as_slice(), b"name" | b"uuid") {
                    let text = reader.read_text(element.name()).map_err(|error| error.to_string())?;
                    let text = text.xml10_content().map_err(|error| error.to_string())?;
                    let text =
                        quick_xml::escape::unescape(&text).map_err(|error| error.to_string())?.into_owned();
                    match tag.as_slice() {
                        b"name" => name = Some(text),
                        _ => uuid = Some(text),
                    }
                } else {
                    open.push(tag);
                }
            }
            Event::Empty(element) if open.is_empty() => root = Some(Root::read(&element)?),
            Event::End(_) => {
                open.pop();
            }
            Event::Eof => break,
            _ => {}
        }
    }
    if !open.is_empty() {
        return Err("it ends before its last element does".to_owned());
    }
    let root = root.ok_or("it has no element")?;
    Ok(StatusFile {
        path: path.to_path_buf(),
        uuid: uuid.ok_or("it has no uuid")?.parse().map_err(|error| format!("{error}"))?,
        name: name.ok_or("it has no name")?,
        pid: root.pid,
        state: root.state,
        reason: root.reason,
    })
}

struct Root {
    pid: u32,
    state: String,
    reason: String,
}

impl Root {
    fn read(element: &BytesStart<'_>) -> Result<Self, String> {
        if element.name().as_ref() != b"domstatus" {
            return Err("its first element is not <domstatus>".to_owned());
        }
        let attribute = |key: &str| -> Result<Option<String>, String> {
            let found = element.try_get_attribute(key).map_err(|error| error.to_string())?;
            Ok(found.map(|found| String::from_utf8_lossy(&found.value).into_owned()))
        };
        let pid = attribute("pid")?.ok_or("it has no pid")?;
        Ok(Self {
            pid: pid.parse().map_err(|_| format!("its pid `{pid}` is not a number"))?,
            state: attribute("state")?.unwrap_or_default(),
            reason: attribute("reason")?.unwrap_or_default(),
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// A status file as libvirt 9.0 writes it, shortened.
    pub(in crate::guests) fn text(name: &str, uuid: &str, pid: u32) -> String {
        format!(
            "<!--\nWARNING: THIS IS AN AUTO-GENERATED FILE.\n-->\n\n\
             <domstatus state='paused' reason='ioerror' pid='{pid}'>\n  <taint flag='high-privileges'/>\n  \
             <monitor path='/var/lib/libvirt/qemu/domain-1-a/monitor.sock' type='unix'/>\n  \
             <qemuCaps>\n    <flag name='hda-duplex'/>\n  </qemuCaps>\n  <domain type='qemu' id='1'>\n    \
             <name>{name}</name>\n    <uuid>{uuid}</uuid>\n    <metadata><x:name xmlns:x='urn:x'>no</x:name></metadata>\n    \
             <os><type arch='x86_64' machine='pc-i440fx-5.2'>hvm</type></os>\n    \
             <devices><interface><name>wrong</name></interface></devices>\n  </domain>\n</domstatus>\n"
        )
    }

    #[test]
    fn the_guest_of_a_status_file_is_read() {
        let uuid = super::super::processes::tests::UUID;
        let file = parse(Path::new("a.xml"), &text("web &amp; mail", uuid, 4711)).unwrap();
        assert_eq!(file.name, "web & mail");
        assert_eq!((file.pid, file.state.as_str(), file.reason.as_str()), (4711, "paused", "ioerror"));
        assert_eq!(file.uuid.to_string(), uuid);
    }

    #[test]
    fn a_file_that_is_none_says_why() {
        let uuid = super::super::processes::tests::UUID;
        let whole = text("web", uuid, 1);
        for (broken, why) in [
            (whole[..whole.len() / 2].to_owned(), ""),
            (String::new(), "no element"),
            ("<domain/>".to_owned(), "domstatus"),
            (whole.replace(" pid='1'", ""), "pid"),
            (whole.replace(uuid, "12"), "uuid"),
        ] {
            let error = parse(Path::new("a.xml"), &broken).unwrap_err();
            assert!(error.contains(why), "{error}");
        }
    }

    #[test]
    fn no_directory_is_no_files_and_a_half_written_one_is_not_looked_at() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read(&dir.path().join("none")).unwrap(), StatusFiles::default());
        let uuid = super::super::processes::tests::UUID;
        std::fs::write(dir.path().join("web.xml"), text("web", uuid, 7)).unwrap();
        std::fs::write(dir.path().join("web.xml.new"), "<dom").unwrap();
        std::fs::write(dir.path().join("torn.xml"), "<domstatus").unwrap();
        let files = read(dir.path()).unwrap();
        assert_eq!(files.good.len(), 1);
        assert_eq!(files.bad.len(), 1);
        assert!(files.bad[0].0.ends_with("torn.xml"));
    }
}
