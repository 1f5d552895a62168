//! A daemon's admin socket, spoken to directly.
//!
//! `ceph daemon` is a Python program of most of a second, and while OSDs boot it would be asked many times a second of each. The protocol is older than Hammer: a JSON
//! command that ends with a zero byte; the answer is its length in four bytes, the highest first, and the text (src/common/admin_socket.cc).

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A daemon that lives answers at once; one that is busy booting may take a while.
const ANSWER: Duration = Duration::from_secs(10);
/// None of the answers that are asked for comes near it.
const LARGEST: u64 = 1 << 20;

/// The sockets under `directory` of the daemon that the cluster calls `entity`. RADOS gateways put more behind their name.
pub(super) fn sockets_of(directory: &Path, entity: &str) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(directory) else { return Vec::new() };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let mut found: Vec<PathBuf> =
        names.filter(|name| is_of(name, entity)).map(|name| directory.join(name)).collect();
    found.sort();
    found
}

/// `<cluster>-<entity>.asok`, or with numbers (a pid, an address in memory) before the end.
fn is_of(file: &str, entity: &str) -> bool {
    let Some((_, rest)) = file.strip_suffix(".asok").and_then(|stem| stem.split_once('-')) else {
        return false;
    };
    let Some(more) = rest.strip_prefix(entity) else { return false };
    let number = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    more.is_empty() || more.strip_prefix('.').is_some_and(|more| more.split('.').all(number))
}

/// # Errors
/// Nobody listens there any more, or no whole answer comes in time.
pub(super) fn ask(path: &Path, prefix: &str) -> io::Result<Vec<u8>> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(ANSWER))?;
    stream.set_write_timeout(Some(ANSWER))?;
    let mut question = serde_json::json!({ "prefix": prefix }).to_string().into_bytes();
    question.push(0);
    stream.write_all(&question)?;
    let mut length = [0; 4];
    stream.read_exact(&mut length)?;
    let length = u64::from(u32::from_be_bytes(length));
    if length > LARGEST {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the answer is too long"));
    }
    let mut answer = Vec::new();
    stream.take(length).read_to_end(&mut answer)?;
    if u64::try_from(answer.len()).unwrap_or(0) < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn sockets_are_told_by_their_names() {
        assert!(is_of("ceph-osd.3.asok", "osd.3") && is_of("backup-mon.a.asok", "mon.a"));
        assert!(is_of("ceph-client.rgw.zone.712.94027.asok", "client.rgw.zone"));
        assert!(!is_of("ceph-osd.33.asok", "osd.3") && !is_of("ceph-osd.3.pid", "osd.3"));
        assert!(!is_of("ceph-client.rgw.zone.b.712.asok", "client.rgw.zone"));
    }

    #[test]
    fn an_answer_is_whole_or_none() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("ceph-osd.3.asok");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            for (length, text) in [(4, "{  }"), (9, "{}")] {
                let (mut stream, _) = listener.accept().unwrap();
                let mut question = vec![0; br#"{"prefix":"version"}0"#.len()];
                stream.read_exact(&mut question).unwrap();
                assert_eq!(question, b"{\"prefix\":\"version\"}\0");
                stream.write_all(&u32::to_be_bytes(length)).unwrap();
                stream.write_all(text.as_bytes()).unwrap();
            }
        });
        assert_eq!(sockets_of(directory.path(), "osd.3"), std::slice::from_ref(&path));
        assert_eq!(ask(&path, "version").unwrap(), b"{  }");
        assert_eq!(ask(&path, "version").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        server.join().unwrap();
        assert!(ask(&path, "version").is_err());
    }
}
