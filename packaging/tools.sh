#!/usr/bin/env bash
# Brings what a portable build needs, once: the zig linker and cargo-zigbuild (so that binaries ask for no newer C library than glibc 2.17, EL7's), and rpmbuild.
# Prints the directory whose bin/ to put on the PATH. Kept outside the checkout; safe to delete at any time.
set -euo pipefail

ZIGBUILD=0.24.1
ZIGLANG=0.17.1
tools=${REPLANK_TOOLS:-/var/cache/replank-tools}/zigbuild-$ZIGBUILD-zig-$ZIGLANG

needed=()
command -v rpmbuild >/dev/null || needed+=(rpm)
command -v createrepo_c >/dev/null || needed+=(createrepo-c)
command -v objdump >/dev/null || needed+=(binutils)
command -v cc >/dev/null || needed+=(gcc libc6-dev)
[ -x /usr/bin/python3 ] && /usr/bin/python3 -c 'import ensurepip' 2>/dev/null || needed+=(python3 python3-venv)
if [ ${#needed[@]} -gt 0 ]; then
    export DEBIAN_FRONTEND=noninteractive
    apt-get -qq update >&2
    apt-get -qq install --yes --no-install-recommends "${needed[@]}" >&2
fi

mkdir -p "$(dirname "$tools")"
exec 9>"$tools.lock"
flock 9
if [ ! -e "$tools/complete" ]; then
    rm -rf "$tools"
    /usr/bin/python3 -m venv "$tools/venv" >&2
    "$tools/venv/bin/pip" install --quiet "ziglang==$ZIGLANG" >&2
    CARGO_TARGET_DIR="$tools/target" cargo install --quiet --locked --root "$tools" --version "$ZIGBUILD" cargo-zigbuild >&2
    rm -rf "$tools/target"
    # cargo-zigbuild looks for a program called zig, or for a python3 that has ziglang.
    printf '#!/bin/sh\nexec %q -m ziglang "$@"\n' "$tools/venv/bin/python3" >"$tools/bin/zig"
    chmod 0755 "$tools/bin/zig"
    touch "$tools/complete"
fi
echo "$tools"
