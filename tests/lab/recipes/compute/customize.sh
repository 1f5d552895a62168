#!/bin/sh
# Run by mmdebstrap on the machine, with the new root as $1, after all packages are in it.
set -eu
root=$1

# systemd-nspawn mounts /proc/sys and /sys read-only, and /sys shows the devices of the namespace that it was
# mounted from. Plugging a guest's interface needs both to be the host's own.
cat >"$root/usr/local/sbin/lab-mounts" <<'SCRIPT'
#!/bin/sh
set -eu
mount --bind /proc/sys/net /proc/sys/net
mount -o remount,bind,rw /proc/sys/net
fresh=/run/lab-sysfs
mkdir -p "$fresh"
mount -t sysfs sysfs "$fresh"
mount --bind "$fresh/class/net" /sys/class/net
mount --bind "$fresh/devices/virtual/net" /sys/devices/virtual/net
umount -l "$fresh"
SCRIPT
chmod 0755 "$root/usr/local/sbin/lab-mounts"
cat >"$root/etc/systemd/system/lab-mounts.service" <<'UNIT'
[Unit]
Description=Network views of this host's own namespace
DefaultDependencies=no
Before=sysinit.target libvirtd.service
ConditionVirtualization=container

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/usr/local/sbin/lab-mounts

[Install]
WantedBy=sysinit.target
UNIT
mkdir -p "$root/etc/systemd/system/sysinit.target.wants"
ln -sf ../lab-mounts.service "$root/etc/systemd/system/sysinit.target.wants/lab-mounts.service"

# The container's cgroup v1 controllers are read-only, it has no privileges over labels, and its guests need
# no mount namespace of their own.
cat >>"$root/etc/libvirt/qemu.conf" <<'CONF'

cgroup_controllers = [ ]
namespaces = [ ]
remember_owner = 0
user = "root"
group = "root"
CONF

# A host's identity is its own, given at boot.
rm -f "$root/etc/machine-id" "$root/var/lib/dbus/machine-id" "$root/etc/hostname" "$root/etc/resolv.conf"
# Nothing waits for a network manager that is not there, and nobody logs in at a console.
for unit in console-getty.service systemd-networkd-wait-online.service apt-daily.timer apt-daily-upgrade.timer \
    dnf-makecache.timer e2scrub_all.timer fstrim.timer man-db.timer dpkg-db-backup.timer; do
    ln -sf /dev/null "$root/etc/systemd/system/$unit"
done
mkdir -p "$root/srv/repo"
