#!/usr/bin/env bash
# cargo nextest, brought once when the machine has none.
set -euo pipefail
if ! cargo nextest --version >/dev/null 2>&1; then
    tools=${REPLANK_TOOLS:-/var/cache/replank-tools}/nextest
    [ -x "$tools/bin/cargo-nextest" ] || cargo install --quiet --locked --root "$tools" --version 0.9.143 cargo-nextest
    export PATH="$tools/bin:$PATH"
fi
exec cargo nextest "$@"
