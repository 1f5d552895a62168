//! Reads an strace of a trial start: which files of another build did this one look for?

use std::collections::BTreeSet;

/// Where Debian's own qemu, the old build, keeps what a running qemu reads.
pub const OLD_PREFIXES: [&str; 6] = [
    "/usr/share/qemu",
    "/usr/share/seabios",
    "/usr/lib/ipxe",
    "/usr/lib/qemu",
    "/usr/lib/x86_64-linux-gnu/qemu",
    "/usr/bin/qemu",
];

/// Every path in `trace` (output of `strace -f -e trace=%file`) that lies below one of `prefixes`, whether the call
/// succeeded or not: a file that was looked for and missing today may be there tomorrow.
pub fn paths_below(trace: &str, prefixes: &[&str]) -> BTreeSet<String> {
    trace
        .lines()
        .flat_map(|line| line.split('"').skip(1).step_by(2))
        .filter(|path| prefixes.iter().any(|prefix| path.starts_with(prefix)))
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_look_up_outside_of_the_tree_is_seen_even_if_it_fails() {
        let trace = concat!(
            "7 openat(AT_FDCWD, \"/opt/qemu/10.0.2/bin/qemu-bundle/usr/share/qemu/kvmvapic.bin\", O_RDONLY) = 12\n",
            "7 access(\"/usr/share/qemu/efi-e1000.rom\", R_OK) = -1 ENOENT (No such file or directory)\n",
            "7 openat(AT_FDCWD, \"/lib/x86_64-linux-gnu/libc.so.6\", O_RDONLY) = 3\n",
        );
        let found = paths_below(trace, &OLD_PREFIXES);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), ["/usr/share/qemu/efi-e1000.rom"]);
    }
}
