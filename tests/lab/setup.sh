#!/bin/sh
# Installs what the lab needs of the machine itself (Debian, root). Does nothing when all of it is there.
set -eu

packages="mmdebstrap debian-archive-keyring systemd-container iproute2 util-linux nftables qemu-utils"
# What builds and checks the package repositories (src/repo).
packages="$packages apt-utils rpm createrepo-c dnf strace"
# Reads expositions of metrics: the client library of the Prometheus project.
packages="$packages python3-prometheus-client"
# What links the programs under test, and what looks at their symbols.
packages="$packages gcc libc6-dev binutils"
# Checks the metrics and their rules. Kept beside the lab's other things: its package would also start a server on this machine.
promtool=${REPLANK_LAB_CACHE:-/var/cache/replank-lab}/bin/promtool

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

if [ -n "$missing" ]; then
    [ "$(id -u)" = 0 ] || { echo "setup.sh: not root, and missing:$missing" >&2; exit 1; }
    apt-get update
    # shellcheck disable=SC2086  # one argument a package
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
fi

if [ ! -x "$promtool" ]; then
    work=$(mktemp -d)
    trap 'rm -rf "$work"' EXIT
    # As root, and not as apt's own user, who may not write there.
    (cd "$work" && apt-get -q -o APT::Sandbox::User=root download prometheus && dpkg-deb -x prometheus_*.deb root)
    mkdir -p "$(dirname "$promtool")"
    install -m 0755 "$work/root/usr/bin/promtool" "$promtool"
fi
