//! Does libvirtd on another host answer over TCP? Asked in libvirt's own protocol, so that an open port of something else is not taken
//! for it.
//!
//! The question is the first of every client: which authentication do you want? (`REMOTE_PROC_AUTH_LIST` of `remote_protocol.x`, in the
//! frame of `virnetprotocol.x`.) It is answered before anybody is authenticated, and changes nothing.

use crate::host::Host;
use crate::host::command::{Command, CommandError};
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, Instant};

const PROGRAM: u32 = 0x2000_8086;
const VERSION: u32 = 1;
const AUTH_LIST: u32 = 66;
const CALL: u32 = 0;
const REPLY: u32 = 1;
const HEADER_BYTES: u32 = 28;
/// virnetprotocol.x allows more; an answer to this question is a few words.
const ANSWER_LIMIT: u32 = 4096;

/// What was found at the address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answered {
    pub answered: bool,
    pub detail: String,
}

/// Asks `address:port`. An address that nothing listens at is an answer of "no".
pub fn speaks_libvirt(host: &Host, address: &str, port: u16, tls: bool, deadline: Duration) -> Answered {
    if tls {
        return over_tls(host, address, port, deadline);
    }
    match over_tcp(address, port, deadline) {
        Ok(detail) => Answered { answered: true, detail },
        Err(error) => Answered { answered: false, detail: format!("{address} port {port}: {error}") },
    }
}

/// With TLS the certificates of libvirt count, so libvirt's own client asks.
fn over_tls(host: &Host, address: &str, port: u16, deadline: Duration) -> Answered {
    let bracketed = if address.contains(':') { format!("[{address}]") } else { address.to_owned() };
    let uri = format!("qemu+tls://{bracketed}:{port}/system");
    let command = Command::new("virsh").args(["-r", "-c", &uri, "version", "--daemon"]).deadline(deadline);
    match host.programs.run_ok(&command) {
        Ok(_) => Answered { answered: true, detail: "it answers over TLS".to_owned() },
        Err(CommandError::Failed { said, .. }) if said.contains("authentication failed") => {
            Answered { answered: true, detail: "it demands authentication over TLS".to_owned() }
        }
        Err(error) => Answered { answered: false, detail: error.to_string() },
    }
}

fn over_tcp(address: &str, port: u16, deadline: Duration) -> io::Result<String> {
    let until = Instant::now() + deadline;
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for target in (address, port).to_socket_addrs()? {
        let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        match TcpStream::connect_timeout(&target, left) {
            Ok(stream) => {
                let left = until.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
                stream.set_read_timeout(Some(left))?;
                stream.set_write_timeout(Some(left))?;
                return ask(stream);
            }
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn ask(mut stream: impl Read + Write) -> io::Result<String> {
    let words = [HEADER_BYTES, PROGRAM, VERSION, AUTH_LIST, CALL, 0, 0];
    let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    stream.write_all(&bytes)?;
    let mut word = || -> io::Result<u32> {
        let mut bytes = [0; 4];
        stream.read_exact(&mut bytes)?;
        Ok(u32::from_be_bytes(bytes))
    };
    let foreign = || io::Error::new(io::ErrorKind::InvalidData, "something answers that is not libvirt");
    let length = word()?;
    if !(HEADER_BYTES..=ANSWER_LIMIT).contains(&length) {
        return Err(foreign());
    }
    let [program, version, procedure, kind] = [word()?, word()?, word()?, word()?];
    if [program, version, procedure, kind] != [PROGRAM, VERSION, AUTH_LIST, REPLY] {
        return Err(foreign());
    }
    let (_serial, status) = (word()?, word()?);
    if status != 0 {
        return Ok("libvirt answers with an error of its own".to_owned());
    }
    let count = word()?.min(16);
    let demands = (0..count).map(|_| word()).collect::<io::Result<Vec<u32>>>()?;
    let names: Vec<&str> = demands
        .iter()
        .map(|demand| match demand {
            0 => "none",
            1 => "SASL",
            2 => "polkit",
            _ => "unknown",
        })
        .collect();
    Ok(format!("libvirt answers; authentication: {}", names.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    /// A peer that has its answer ready and keeps what it is asked.
    struct Peer {
        answer: Cursor<Vec<u8>>,
    }

    impl Read for Peer {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.answer.read(buffer)
        }
    }

    impl Write for Peer {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            assert_eq!(&bytes[4..8], &0x2000_8086_u32.to_be_bytes());
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn peer(words: &[u32]) -> Peer {
        Peer { answer: Cursor::new(words.iter().flat_map(|word| word.to_be_bytes()).collect()) }
    }

    #[test]
    fn libvirts_answer_is_told_from_other_talk() {
        let open = ask(peer(&[36, PROGRAM, 1, 66, REPLY, 0, 0, 1, 0])).unwrap();
        assert_eq!(open, "libvirt answers; authentication: none");
        let sasl = ask(peer(&[36, PROGRAM, 1, 66, REPLY, 0, 0, 1, 1])).unwrap();
        assert!(sasl.ends_with("SASL"));
        let ssh = Peer { answer: Cursor::new(b"SSH-2.0-OpenSSH_9.2p1 Debian-2\r\n".to_vec()) };
        assert_eq!(ask(ssh).unwrap_err().kind(), io::ErrorKind::InvalidData);
        assert_eq!(ask(peer(&[36, PROGRAM])).unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        assert_eq!(
            ask(peer(&[36, 1, 1, 66, REPLY, 0, 0, 0])).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
    }
}
