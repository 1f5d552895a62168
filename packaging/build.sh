#!/usr/bin/env bash
# Builds the RPMs: replank-agent and replank-coordinator. The binaries are linked against glibc 2.17, and the build fails when one asks for more.
#
#   packaging/build.sh [--out DIR] [--release N] [--test]
#
# --test builds without optimisation and with the crash points that the crash tests need; such packages are for test hosts and say so in their release tag.
set -euo pipefail

here=$(cd "$(dirname "$0")" && pwd)
root=$(dirname "$here")
out=$root/target/rpm
release=1
profile=release
features=()
while [ $# -gt 0 ]; do
    case $1 in
        --out) out=$2; shift 2 ;;
        --release) release=$2; shift 2 ;;
        --test) profile=dev; features=(--features replank-agent/crash-points,replank-coordinator/crash-points); shift ;;
        *) echo "build.sh: unknown argument $1; it takes --out DIR, --release N, --test" >&2; exit 2 ;;
    esac
done
[ $profile = release ] || release=$release.test

tools=$("$here/tools.sh")
export PATH="$tools/bin:$PATH"
target=x86_64-unknown-linux-gnu
# A directory of its own: a build for another C library shares nothing with the ordinary one, and neither waits for the other.
export CARGO_TARGET_DIR=$root/target/portable
cd "$root"
cargo zigbuild --locked --profile $profile --target $target.2.17 -p replank-agent -p replank-coordinator "${features[@]}"
case $profile in dev) built=$CARGO_TARGET_DIR/$target/debug ;; *) built=$CARGO_TARGET_DIR/$target/$profile ;; esac

# The check that the promise holds: the newest symbol version that either binary asks for.
for binary in replank-agent replank; do
    newest=$(objdump -T "$built/$binary" | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
    if [ "$(printf '%s\nGLIBC_2.17\n' "$newest" | sort -V | tail -n 1)" != GLIBC_2.17 ]; then
        echo "build.sh: $binary asks for $newest, and EL7 has no more than GLIBC_2.17; find the symbol with: objdump -T $built/$binary" >&2
        exit 1
    fi
    echo "$binary: newest symbol version $newest"
    # docs/planted-faults.md: a program that can be made to fail on purpose is never packaged.
    if grep -q REPLANK_PLANT "$built/$binary"; then
        echo "build.sh: $binary was built with the feature planted-faults; no package may have it" >&2
        exit 1
    fi
done

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/stage/man" "$work/stage/completions" "$out/bin"
rm -f "$out"/replank-*.rpm
install -m 0755 "$built/replank-agent" "$built/replank" "$work/stage/"
install -m 0755 "$built/replank-agent" "$built/replank" "$out/bin/"
# A package of a release carries no debugging information; a backtrace still names functions.
[ $profile = release ] && strip --strip-debug "$work/stage/replank-agent" "$work/stage/replank"
for binary in replank-agent replank; do
    "$built/$binary" man --dir "$work/stage/man"
    for shell in bash zsh fish; do
        "$built/$binary" completions $shell >"$work/stage/completions/$binary.$shell"
    done
done
gzip -9n "$work"/stage/man/*
version=$(sed -n '/^\[workspace.package\]/,/^\[/s/^version = "\(.*\)"/\1/p' Cargo.toml)
for spec in replank-agent replank-coordinator; do
    rpmbuild -bb --quiet \
        --define "_topdir $work/rpmbuild" --define "_rpmdir $out" --define "_build_name_fmt %%{NAME}-%%{VERSION}-%%{RELEASE}.%%{ARCH}.rpm" \
        --define "replank_version $version" --define "replank_release $release" --define "replank_stage $work/stage" --define "replank_source $root" \
        --define "_build_id_links none" --define "__os_install_post %{nil}" --target x86_64 \
        "$here/rpm/$spec.spec"
    echo "$out/$spec-$version-$release.x86_64.rpm"
done
