//! The operating system, its kernel, memory and addresses.

use super::Host;
use replank_common::facts::OsFacts;
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use std::fs;
use std::net::IpAddr;

/// `/etc/os-release` and the kernel.
///
/// # Errors
/// The release file cannot be read.
pub fn facts(host: &Host) -> Result<OsFacts, String> {
    let text = fs::read_to_string(host.at("/etc/os-release")).map_err(|e| format!("/etc/os-release: {e}"))?;
    let uname = nix::sys::utsname::uname().map_err(|e| e.to_string())?;
    Ok(OsFacts {
        id: release(&text, "ID").unwrap_or_default(),
        version_id: release(&text, "VERSION_ID").unwrap_or_default(),
        pretty_name: release(&text, "PRETTY_NAME").unwrap_or_default(),
        kernel: uname.release().to_string_lossy().into_owned(),
        architecture: uname.machine().to_string_lossy().into_owned(),
        pidfd: pidfd_open(getpid(), PidfdFlags::empty()).is_ok(),
    })
}

/// A value of os-release(5), without its quotes.
fn release(text: &str, key: &str) -> Option<String> {
    let value = text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix('='))?.trim();
    let quoted = |quote: char| value.strip_prefix(quote).and_then(|v| v.strip_suffix(quote));
    Some(quoted('"').or_else(|| quoted('\'')).unwrap_or(value).to_owned())
}

/// Total and available bytes of memory.
///
/// # Errors
/// `/proc/meminfo` cannot be read.
pub fn memory(host: &Host) -> Result<(u64, u64), String> {
    let text = fs::read_to_string(host.at("/proc/meminfo")).map_err(|e| format!("/proc/meminfo: {e}"))?;
    let field = |name: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(name))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    };
    // Linux before 3.14 has no MemAvailable; what is free is the least that is available.
    let available = field("MemAvailable:").or_else(|| field("MemFree:"));
    field("MemTotal:").zip(available).ok_or_else(|| "/proc/meminfo has no MemTotal".to_owned())
}

/// Addresses of the host's interfaces, without loopback and link-local ones.
///
/// # Errors
/// The kernel does not list them.
pub fn addresses() -> Result<Vec<String>, String> {
    let interfaces = nix::ifaddrs::getifaddrs().map_err(|e| e.to_string())?;
    let mut found: Vec<IpAddr> = interfaces
        .filter_map(|interface| interface.address)
        .filter_map(|address| {
            let v4 = address.as_sockaddr_in().map(|a| IpAddr::V4(a.ip()));
            v4.or_else(|| address.as_sockaddr_in6().map(|a| IpAddr::V6(a.ip())))
        })
        .filter(|address| match address {
            IpAddr::V4(v4) => !v4.is_loopback() && !v4.is_link_local(),
            IpAddr::V6(v6) => !v6.is_loopback() && (v6.segments()[0] & 0xffc0) != 0xfe80,
        })
        .collect();
    found.sort();
    found.dedup();
    Ok(found.iter().map(ToString::to_string).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_release_file_is_read_with_and_without_quotes() {
        let text = "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\nID=debian\nVERSION_ID='12'\n";
        assert_eq!(release(text, "ID").as_deref(), Some("debian"));
        assert_eq!(release(text, "VERSION_ID").as_deref(), Some("12"));
        assert_eq!(release(text, "PRETTY_NAME").as_deref(), Some("Debian GNU/Linux 12 (bookworm)"));
        assert_eq!(release(text, "VARIANT"), None);
    }
}
