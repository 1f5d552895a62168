#!/bin/sh
# Installs what the lab needs of the machine itself (Debian, root). Does nothing when all of it is there.
set -eu

packages="mmdebstrap debian-archive-keyring systemd-container iproute2 util-linux nftables qemu-utils"
# What builds and checks the package repositories (src/repo).
packages="$packages apt-utils rpm createrepo-c dnf strace"

missing=""
for package in $packages; do
    status=$(dpkg-query -W -f '${db:Status-Abbrev}' "$package" 2>/dev/null || true)
    [ "$status" = "ii " ] || missing="$missing $package"
done

# The root file systems are built from the archive that this machine's own apt names; its release files say
# which of the sources that is.
if ! apt-get indextargets --format '$(LABEL)' 'Created-By: Packages' 2>/dev/null | grep -qx Debian; then
    apt-get update
fi
[ -n "$missing" ] || exit 0

[ "$(id -u)" = 0 ] || { echo "setup.sh: not root, and missing:$missing" >&2; exit 1; }
apt-get update
# shellcheck disable=SC2086  # one argument a package
DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
