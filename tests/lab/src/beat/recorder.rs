//! Receives beats on a UDP socket inside the lab, and answers questions about them on a Unix socket.

use std::collections::HashMap;
use std::fs;
use std::io::{BufRead, BufReader, IoSliceMut, Write};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use nix::errno::Errno;
use nix::sys::socket::sockopt::{RcvBufForce, ReceiveTimestampns};
use nix::sys::socket::{ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt};
use serde::{Deserialize, Serialize};

use super::decode::Decoder;
use super::tally::{Arrival, GuestReport, Judgement, Limits, Tally, Window};
use crate::command::wait_for;
use crate::error::{IoContext, Result};
use crate::name::LabName;
use crate::net;

/// The UDP port on the lab's bridge to which guests beat.
pub const BEAT_PORT: u16 = 9077;
/// Room for some seconds of a hundred guests' beats while the reader is held up; their times are the kernel's.
const RECEIVE_BUFFER: usize = 16 << 20;
/// How soon a thread sees that it is to stop.
const STOP_LOOK: Duration = Duration::from_millis(200);
/// Sources whose bytes are put together at a time.
const MAX_SOURCES: usize = 4096;

/// Records the beats of a lab from its start to its drop, on threads of its own.
#[derive(Debug)]
pub struct Recorder {
    tally: Arc<Mutex<Tally>>,
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<()>>,
}

/// One guest in an answer of the recorder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// Everything since it was first heard.
    pub report: GuestReport,
    /// The window asked for; the last ten seconds if none was. None when it was unheard by its end.
    pub window: Option<Window>,
    /// The judgement of the window by the default limits.
    pub judgement: Judgement,
}

impl Recorder {
    /// Starts to record the beats of a lab, whose namespace must be there.
    ///
    /// # Errors
    /// When another recorder already listens there, or a socket cannot be made.
    pub fn start(lab: &LabName) -> Result<Self> {
        let address = SocketAddr::from((net::COORDINATOR, BEAT_PORT));
        let beats = net::within(lab, || UdpSocket::bind(address).doing("bind", address.to_string()))?;
        prepare(&beats).map_err(std::io::Error::from).doing("prepare", address.to_string())?;

        let path = socket_path(lab);
        fs::create_dir_all(lab.state_dir()).doing("create", lab.state_dir())?;
        // The namespace's UDP port is the lock: who has it owns this path.
        let _ = fs::remove_file(&path);
        let questions = UnixListener::bind(&path).doing("bind", &path)?;
        questions.set_nonblocking(true).doing("prepare", &path)?;

        let (tally, stop) = (Arc::<Mutex<Tally>>::default(), Arc::<AtomicBool>::default());
        let receiver = {
            let (tally, stop) = (Arc::clone(&tally), Arc::clone(&stop));
            std::thread::spawn(move || receive(&beats, &tally, &stop))
        };
        let answerer = {
            let (tally, stop) = (Arc::clone(&tally), Arc::clone(&stop));
            std::thread::spawn(move || answer(&questions, &tally, &stop))
        };
        Ok(Self { tally, stop, threads: vec![receiver, answerer] })
    }

    /// Everything known of a guest; none when it was never heard.
    #[must_use]
    pub fn report(&self, guest: u8) -> Option<GuestReport> {
        lock(&self.tally).report(guest, now_ns())
    }

    /// The reports of all guests heard.
    #[must_use]
    pub fn reports(&self) -> Vec<GuestReport> {
        let (tally, now) = (lock(&self.tally), now_ns());
        tally.heard().into_iter().filter_map(|guest| tally.report(guest, now)).collect()
    }

    /// What a guest did between two times; none when it had not been heard by the second.
    #[must_use]
    pub fn between(&self, guest: u8, from: SystemTime, to: SystemTime) -> Option<Window> {
        lock(&self.tally).between(guest, unix_ns(from), unix_ns(to))
    }

    /// What happened to a guest between two times.
    #[must_use]
    pub fn judge(&self, guest: u8, from: SystemTime, to: SystemTime, limits: Limits) -> Judgement {
        lock(&self.tally).judge(guest, unix_ns(from), unix_ns(to), limits)
    }

    /// Waits until each of these guests has sent a beat later than now.
    ///
    /// # Errors
    /// [`crate::LabError::Deadline`] with the guests that did not.
    pub fn wait_for_beats(&self, guests: &[u8], limit: Duration) -> Result<()> {
        let since_ms = now_ns() / 1_000_000;
        wait_for("a beat of each guest", limit, || {
            let silent: Vec<u8> = guests
                .iter()
                .copied()
                .filter(|guest| self.report(*guest).is_none_or(|report| report.last_at_ms <= since_ms))
                .collect();
            Ok(if silent.is_empty() { Ok(()) } else { Err(format!("silent: guests {silent:?}")) })
        })
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic in it has been printed already.
            let _ = thread.join();
        }
    }
}

/// Asks the recorder of a lab, whichever process it is in.
///
/// # Errors
/// When none answers there.
pub fn ask(lab: &LabName, window: Option<(SystemTime, SystemTime)>) -> Result<Vec<Answer>> {
    let path = socket_path(lab);
    let mut stream = UnixStream::connect(&path).doing("connect to", &path)?;
    let question = window.map(|(from, to)| format!("{} {}", unix_ns(from), unix_ns(to))).unwrap_or_default();
    writeln!(stream, "{question}").doing("write", &path)?;
    serde_json::from_reader(BufReader::new(stream)).map_err(std::io::Error::from).doing("read", &path)
}

fn socket_path(lab: &LabName) -> std::path::PathBuf {
    lab.state_dir().join("beats.sock")
}

fn prepare(socket: &UdpSocket) -> nix::Result<()> {
    setsockopt(socket, ReceiveTimestampns, &true)?;
    setsockopt(socket, RcvBufForce, &RECEIVE_BUFFER)?;
    socket
        .set_read_timeout(Some(STOP_LOOK))
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(nix::libc::EINVAL)))
}

fn receive(socket: &UdpSocket, tally: &Mutex<Tally>, stop: &AtomicBool) {
    let mut decoders: HashMap<SocketAddr, Decoder> = HashMap::new();
    let mut bytes = [0_u8; 2048];
    let mut control = nix::cmsg_space!(nix::sys::time::TimeSpec);
    while !stop.load(Ordering::Relaxed) {
        let mut parts = [IoSliceMut::new(&mut bytes)];
        let (length, at_ns, source) = match recvmsg::<SockaddrStorage>(
            socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::empty(),
        ) {
            Ok(message) => {
                let Some(source) = message.address.as_ref().and_then(|a| a.as_sockaddr_in()).copied() else {
                    continue;
                };
                let stamped = message.cmsgs().ok().and_then(|mut all| {
                    all.find_map(|one| match one {
                        ControlMessageOwned::ScmTimestampns(at) => {
                            Some(at.tv_sec() * 1_000_000_000 + at.tv_nsec())
                        }
                        _ => None,
                    })
                });
                (message.bytes, stamped.unwrap_or_else(now_ns), SocketAddr::V4(SocketAddrV4::from(source)))
            }
            Err(Errno::EAGAIN | Errno::EINTR) => continue,
            Err(error) => {
                eprintln!("lab: the recorder of beats has ended: {error}");
                return;
            }
        };
        if decoders.len() >= MAX_SOURCES && !decoders.contains_key(&source) {
            decoders.clear();
        }
        let decoder = decoders.entry(source).or_default();
        for byte in &bytes[..length] {
            if let Some((guest, count)) = decoder.push(*byte) {
                lock(tally).record(Arrival { guest, count, at_ns, source });
            }
        }
    }
}

fn answer(questions: &UnixListener, tally: &Mutex<Tally>, stop: &AtomicBool) {
    while !stop.load(Ordering::Relaxed) {
        match questions.accept() {
            // Who hangs up early or asks nonsense gets no answer; nobody else is touched by it.
            Ok((stream, _)) => drop(answer_one(stream, tally)),
            Err(_) => std::thread::sleep(STOP_LOOK / 4),
        }
    }
}

fn answer_one(mut stream: UnixStream, tally: &Mutex<Tally>) -> std::io::Result<()> {
    stream.set_nonblocking(false)?;
    stream.set_read_timeout(Some(STOP_LOOK))?;
    stream.set_write_timeout(Some(Duration::from_secs(2)))?;
    let mut question = String::new();
    BufReader::new(&stream).read_line(&mut question)?;
    let now = now_ns();
    let mut times = question.split_whitespace().map(str::parse::<i64>);
    let (from, to) = match (times.next(), times.next()) {
        (Some(Ok(from)), Some(Ok(to))) => (from, to),
        _ => (now - 10_000_000_000, now),
    };
    let answers: Vec<Answer> = {
        let tally = lock(tally);
        tally
            .heard()
            .into_iter()
            .filter_map(|guest| {
                Some(Answer {
                    report: tally.report(guest, now)?,
                    window: tally.between(guest, from, to),
                    judgement: tally.judge(guest, from, to, Limits::default()),
                })
            })
            .collect()
    };
    serde_json::to_writer(&mut stream, &answers)?;
    stream.flush()
}

/// A tally is whole between two beats, so a panic elsewhere does not spoil it.
fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

fn unix_ns(time: SystemTime) -> i64 {
    time.duration_since(SystemTime::UNIX_EPOCH)
        .ok()
        .and_then(|since| i64::try_from(since.as_nanos()).ok())
        .unwrap_or_default()
}

fn now_ns() -> i64 {
    unix_ns(SystemTime::now())
}
