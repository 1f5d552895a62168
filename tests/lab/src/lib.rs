//! Real hosts on one machine: systemd, libvirtd, qemu, package repositories, beating guests.

pub mod repo;
