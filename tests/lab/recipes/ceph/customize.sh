#!/bin/sh
# Run by mmdebstrap on the machine, with the new root as $1, after all packages are in it.
set -eu
root=$1

# A host's identity is its own, given at boot.
rm -f "$root/etc/machine-id" "$root/var/lib/dbus/machine-id" "$root/etc/hostname" "$root/etc/resolv.conf"
# Nothing waits for a network manager that is not there, and nobody logs in at a console.
for unit in console-getty.service systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer \
    e2scrub_all.timer fstrim.timer man-db.timer dpkg-db-backup.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
mkdir -p "$root/srv/repo"
# The disk of a host of the lab outlives no crash of the machine: packages need not be synced to it, file by file.
echo force-unsafe-io >"$root/etc/dpkg/dpkg.cfg.d/lab"
