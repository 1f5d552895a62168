//! Addresses for servers that a test starts as processes of their own.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU32, Ordering};

/// Below the ports that the kernel gives to connections (`ip_local_port_range` begins at 32768): none of those can take one before the server does.
const FIRST: u32 = 20_000;
const COUNT: u32 = 12_000;
/// Tests run beside each other as processes, each with ports of its own.
const FOR_EACH: u32 = 16;

/// An address that nobody listens on now, another one at each call.
pub fn free_address() -> SocketAddr {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let begin = std::process::id().wrapping_mul(FOR_EACH);
    for _ in 0..COUNT {
        let offset = begin.wrapping_add(NEXT.fetch_add(1, Ordering::Relaxed)) % COUNT;
        let port = u16::try_from(FIRST + offset).unwrap();
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
    panic!("no port of {COUNT} from {FIRST} on is free");
}
