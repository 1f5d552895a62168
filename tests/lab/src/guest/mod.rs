//! Guests: boot sectors of ours under the hosts' own libvirt and qemu.

mod sector;

use std::fmt::Write as _;

use uuid::Uuid;

use crate::beat::{BEAT_PORT, MAX_GUEST};
use crate::error::{LabError, Result};
use crate::host::Host;
use crate::net::COORDINATOR;

pub use sector::{SECTOR_LEN, boot_sector};

/// Where libvirt's guests have their images.
const IMAGES: &str = "/var/lib/libvirt/images";
/// Known to qemu 7.2 and to 10.0.
const MACHINE: &str = "pc-i440fx-5.2";

/// What guest to make.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestSpec {
    /// Its number in the lab, 1 to 127: by it its beats are known.
    pub id: u8,
    /// Its name for libvirt.
    pub name: String,
    /// Its uuid.
    pub uuid: Uuid,
    /// Its memory, in MiB.
    pub memory_mib: u32,
    /// Whether libvirt keeps its definition when it ends.
    pub persistent: bool,
    /// Whether libvirtd starts it when it starts itself; only a persistent guest can have that.
    pub autostart: bool,
    /// The emulator's path; none lets libvirt choose its own.
    pub emulator: Option<String>,
    /// A second virtio disk of so many MiB.
    pub extra_disk_mib: Option<u32>,
    /// Whether it has a virtio interface on the host's bridge `br0`.
    pub interface: bool,
}

impl GuestSpec {
    /// A persistent guest of 32 MiB with nothing but its boot disk and its beat.
    #[must_use]
    pub fn new(id: u8) -> Self {
        Self {
            id,
            name: format!("guest{id}"),
            uuid: Uuid::new_v4(),
            memory_mib: 32,
            persistent: true,
            autostart: false,
            emulator: None,
            extra_disk_mib: None,
            interface: false,
        }
    }

    /// As [`GuestSpec::new`], but gone from libvirt once it ends.
    #[must_use]
    pub fn transient(id: u8) -> Self {
        Self { persistent: false, ..Self::new(id) }
    }

    /// The path of its boot disk on the host.
    #[must_use]
    pub fn image(&self) -> String {
        format!("{IMAGES}/{}.img", self.name)
    }

    fn extra_image(&self) -> String {
        format!("{IMAGES}/{}-data.img", self.name)
    }

    /// libvirt's definition of it.
    #[must_use]
    pub fn xml(&self) -> String {
        let Self { name, uuid, memory_mib, .. } = self;
        let mut devices = String::new();
        let mut device = |text: &str| {
            // Writing to a string cannot fail.
            let _ = writeln!(devices, "    {text}");
        };
        if let Some(emulator) = &self.emulator {
            device(&format!("<emulator>{emulator}</emulator>"));
        }
        let disk = |file: &str, target: &str| {
            format!(
                "<disk type='file' device='disk'><driver name='qemu' type='raw'/><source file='{file}'/>\
                 <target dev='{target}' bus='virtio'/></disk>"
            )
        };
        device(&disk(&self.image(), "vda"));
        if self.extra_disk_mib.is_some() {
            device(&disk(&self.extra_image(), "vdb"));
        }
        if self.interface {
            device("<interface type='bridge'><source bridge='br0'/><model type='virtio'/></interface>");
        }
        // A datagram has the kernel's time of arrival, and nobody waits for a peer.
        device(&format!(
            "<serial type='udp'><source mode='connect' host='{COORDINATOR}' service='{BEAT_PORT}'/>\
             <target type='isa-serial' port='0'/></serial>"
        ));
        device("<controller type='usb' model='none'/>");
        device("<memballoon model='none'/>");
        format!(
            "<domain type='qemu'>\n  <name>{name}</name>\n  <uuid>{uuid}</uuid>\n  \
             <memory unit='MiB'>{memory_mib}</memory>\n  <vcpu>1</vcpu>\n  \
             <os><type arch='x86_64' machine='{MACHINE}'>hvm</type><boot dev='hd'/></os>\n  \
             <features><acpi/></features>\n  <cpu mode='custom'><model>qemu64</model></cpu>\n  \
             <on_poweroff>destroy</on_poweroff>\n  <on_reboot>restart</on_reboot>\n  \
             <on_crash>destroy</on_crash>\n  <devices>\n{devices}  </devices>\n</domain>\n"
        )
    }

    /// Makes the guest on a host and starts it. It beats some seconds later.
    ///
    /// # Errors
    /// When the specification contradicts itself, or libvirt refuses it.
    pub fn start(&self, host: &Host) -> Result<()> {
        self.check()?;
        // One sector would do for the BIOS; a disk that is a whole MiB has a geometry as well.
        let mut image = vec![0; 1 << 20];
        image[..SECTOR_LEN].copy_from_slice(&boot_sector(self.id));
        host.write(&self.image(), &image, 0o600)?;
        if let Some(mib) = self.extra_disk_mib {
            host.must(&["truncate", "-s", &format!("{mib}M"), &self.extra_image()])?;
        }
        let definition = format!("{IMAGES}/{}.xml", self.name);
        host.write(&definition, self.xml().as_bytes(), 0o600)?;
        if !self.persistent {
            return host.must(&["virsh", "create", &definition]).map(drop);
        }
        host.must(&["virsh", "define", &definition])?;
        if self.autostart {
            host.must(&["virsh", "autostart", &self.name])?;
        }
        host.must(&["virsh", "start", &self.name]).map(drop)
    }

    fn check(&self) -> Result<()> {
        let name = &self.name;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        let refuse = |reason: &str| Err(LabError::Refused(format!("guest `{name}`: {reason}")));
        if !(1..=MAX_GUEST).contains(&self.id) {
            return refuse("its number must be in 1..=127");
        }
        if name.is_empty() || !name.chars().all(plain) {
            return refuse("its name may hold letters, digits, `-`, `_` and `.` only");
        }
        if self.autostart && !self.persistent {
            return refuse("a transient guest has no autostart");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plain_guest_leaves_the_emulator_to_libvirt() {
        let xml = GuestSpec::new(3).xml();
        assert!(!xml.contains("<emulator>") && !xml.contains("vdb") && !xml.contains("<interface"), "{xml}");
        assert!(xml.contains("<domain type='qemu'>") && xml.contains("pc-i440fx-5.2"), "{xml}");
        assert!(xml.contains("host='10.77.0.1' service='9077'"), "{xml}");
    }

    #[test]
    fn options_appear_in_the_definition() {
        let spec = GuestSpec {
            emulator: Some("/opt/qemu/10.0.2/bin/qemu-system-x86_64".to_owned()),
            extra_disk_mib: Some(8),
            interface: true,
            ..GuestSpec::new(3)
        };
        let xml = spec.xml();
        for part in ["<emulator>/opt/qemu/10.0.2/", "guest3-data.img", "<source bridge='br0'/>"] {
            assert!(xml.contains(part), "{part} is not in {xml}");
        }
    }

    #[test]
    fn contradictions_are_refused() {
        assert!(GuestSpec { autostart: true, ..GuestSpec::transient(3) }.check().is_err());
        assert!(GuestSpec { name: "a b".to_owned(), ..GuestSpec::new(3) }.check().is_err());
        assert!(GuestSpec::new(128).check().is_err());
        assert!(GuestSpec::new(0).check().is_err());
    }
}
