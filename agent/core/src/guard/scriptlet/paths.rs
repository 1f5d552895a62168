//! Commands that write into files or remove them.

use super::reader::Reader;
use super::words::{base, harm, is_short, option, positional};
use super::{Harm, Kind};
use crate::guard::shell::{ANY, Command, may_be};
use crate::usage::{Role, UsedFile};
use std::path::{Path, PathBuf};

impl Reader<'_> {
    /// Something that guests use, by its present path; `None` when it is nothing of theirs.
    pub(super) fn used_at(&self, path: &str) -> Option<String> {
        let path = (self.situation.follow)(Path::new(path));
        let usage = self.situation.usage;
        let file = usage.file(&path).filter(|file| !file.deleted);
        let names = file.map(|file| file.guests.iter().cloned().collect::<Vec<_>>().join(", "));
        names.or_else(|| usage.lazy_of(&path).next().map(|lazy| format!("a file of {lazy}")))
    }

    /// A path as written, and where it leads from each place that it may be relative to.
    fn places(&self, target: &str) -> Vec<String> {
        if target.starts_with('/') || target.starts_with(ANY) || target.is_empty() || target.starts_with('-')
        {
            return vec![target.to_owned()];
        }
        let target = target.trim_start_matches("./");
        let whole = |directory: &String| format!("{}/{target}", directory.trim_end_matches('/'));
        self.directories.iter().map(whole).collect()
    }

    pub(super) fn writes(&self, target: &[String], command: &Command) -> Vec<Harm> {
        let mut harms = Vec::new();
        for target in &target.iter().flat_map(|target| self.places(target)).collect::<Vec<_>>() {
            if is_pattern(target) {
                let used = says_enough(target)
                    .then(|| self.usage_paths().find(|used| may_be(target, &used.to_string_lossy())))
                    .flatten();
                harms.extend(
                    used.map(|used| harm(Kind::WritesInPlace, &used.to_string_lossy(), command, false)),
                );
            } else if target.starts_with('/') && self.used_at(target).is_some() {
                harms.push(harm(Kind::WritesInPlace, target, command, false));
            }
        }
        harms
    }

    pub(super) fn usage_paths(&self) -> impl Iterator<Item = &PathBuf> {
        self.situation.usage.files.iter().filter(|(_, file)| !file.deleted).map(|(path, _)| path)
    }

    /// Programs that write into the file that is there. `install` removes the name first, yet a name that is gone for a moment or a
    /// half-written file is what a module load then meets, so it counts.
    pub(super) fn writer(&self, name: &str, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
        let has = |wanted: &[&str]| arguments.iter().flatten().any(|word| wanted.contains(&word.as_str()));
        let all = |plain: Vec<Vec<String>>| {
            plain.iter().flat_map(|target| self.writes(target, command)).collect::<Vec<_>>()
        };
        match name {
            "cp" if has(&["--remove-destination", "-n", "--no-clobber"]) => Vec::new(),
            "cp" | "install" | "rsync" | "scp" => {
                if name == "rsync" && !has(&["--inplace", "--append", "--append-verify", "--write-devices"]) {
                    return Vec::new();
                }
                if name == "install"
                    && arguments.iter().flatten().any(|word| is_short(word, 'd') || word == "--directory")
                {
                    return Vec::new();
                }
                self.copies(arguments, command)
            }
            "dd" => arguments
                .iter()
                .flat_map(|word| {
                    let of: Vec<String> =
                        word.iter().filter_map(|word| word.strip_prefix("of=")).map(str::to_owned).collect();
                    self.writes(&of, command)
                })
                .collect(),
            "sed" | "perl"
                if arguments.iter().flatten().any(|word| {
                    word.starts_with("--in-place") || word.starts_with("-i") || is_short(word, 'i')
                }) =>
            {
                all(positional(arguments, &["-e", "-f"]))
            }
            "prelink" if arguments.iter().flatten().any(|word| is_short(word, 'a')) => self
                .usage_paths()
                .next()
                .map(|used| harm(Kind::WritesInPlace, &used.to_string_lossy(), command, false))
                .into_iter()
                .collect(),
            "strip" | "prelink" | "patchelf" | "chrpath" | "objcopy" | "execstack" | "tee" | "truncate"
            | "ed" | "ex" => all(positional(arguments, &["-o", "-s", "--set-rpath", "-r"])),
            "tar" | "bsdtar" | "cpio" | "unzip" => self.unpacks(name, arguments, command),
            _ => Vec::new(),
        }
    }

    fn copies(&self, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
        let directory = option(arguments, &["-t", "--target-directory"]);
        let mut plain = positional(
            arguments,
            &["-t", "--target-directory", "-m", "--mode", "-o", "--owner", "-g", "--group", "-S", "--suffix"],
        );
        let targets = match directory {
            Some(directory) => directory,
            None => plain.pop().unwrap_or_default(),
        };
        let mut harms = Vec::new();
        for target in &targets {
            harms.extend(self.writes(std::slice::from_ref(target), command));
            for source in plain.iter().flatten() {
                let inside =
                    format!("{}/{}", target.trim_end_matches('/'), base(source.trim_end_matches('/')));
                harms.extend(self.writes(&[inside], command));
                // `cp -a tree/. /usr/lib`: anything below may be written.
                if source.ends_with("/.")
                    || source.ends_with("/*")
                    || arguments
                        .iter()
                        .flatten()
                        .any(|w| is_short(w, 'r') || is_short(w, 'R') || is_short(w, 'a'))
                {
                    harms.extend(self.below(target, command));
                }
            }
        }
        harms
    }

    fn unpacks(&self, name: &str, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
        let first = arguments.first().into_iter().flatten();
        let extracts = match name {
            "tar" | "bsdtar" => {
                first
                    .into_iter()
                    .any(|word| word.trim_start_matches('-').contains('x') && !word.starts_with("--"))
                    || arguments
                        .iter()
                        .flatten()
                        .any(|word| is_short(word, 'x') || word == "--extract" || word == "--get")
            }
            _ => true,
        };
        let to = option(arguments, &["-C", "--directory", "-d", "-D"]).unwrap_or_default();
        if extracts { to.iter().flat_map(|to| self.below(to, command)).collect() } else { Vec::new() }
    }

    /// Writing anywhere below a directory that holds a file in use.
    fn below(&self, directory: &str, command: &Command) -> Vec<Harm> {
        if directory.contains(ANY) {
            return Vec::new();
        }
        let directory = (self.situation.resolve)(Path::new(directory));
        let used = self.usage_paths().find(|used| used.starts_with(&directory));
        used.map(|used| harm(Kind::WritesInPlace, &used.to_string_lossy(), command, false))
            .into_iter()
            .collect()
    }

    pub(super) fn removes(&self, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
        positional(arguments, &[])
            .iter()
            .flatten()
            .filter_map(|target| self.places(target).iter().find_map(|place| self.removed(place)))
            .map(|subject| harm(Kind::Removes, &subject, command, false))
            .collect()
    }

    /// Moves what is there out of the way. What is moved onto a file replaces its name alone.
    pub(super) fn moves(&self, name: &str, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
        if name == "dpkg-divert" {
            let renames = arguments.iter().flatten().any(|word| word == "--rename");
            let plain = positional(arguments, &["--divert", "--package", "--admindir", "--instdir"]);
            return if renames { self.removes(&plain, command) } else { Vec::new() };
        }
        let mut plain = positional(arguments, &["-t", "--target-directory", "-S", "--suffix"]);
        if option(arguments, &["-t", "--target-directory"]).is_none() {
            plain.pop();
        }
        self.removes(&plain, command)
    }

    /// A mount hides what is below its place.
    pub(super) fn mounts(&self, arguments: &[Vec<String>], command: &Command) -> Vec<Harm> {
        let again =
            arguments.iter().flatten().any(|word| word.contains("remount") || word.starts_with("--make-"));
        let plain = positional(arguments, &["-t", "--types", "-o", "--options"]);
        match plain.last() {
            Some(place) if !again && plain.len() > 1 => self.removes(std::slice::from_ref(place), command),
            Some(_) | None => Vec::new(),
        }
    }

    /// What of the guests' would go with `target`.
    fn removed(&self, target: &str) -> Option<String> {
        let usage = self.situation.usage;
        let pattern = target.trim_end_matches('/');
        if is_pattern(pattern) {
            if !says_enough(pattern) {
                return None;
            }
        } else if !pattern.starts_with('/') {
            return None;
        }
        let resolved = (self.situation.resolve)(Path::new(pattern));
        // What goes with it: the path itself and everything below; of a pattern, whatever it may mean.
        let goes = |path: &Path| {
            path.starts_with(&resolved)
                || is_pattern(pattern) && path.ancestors().any(|up| may_be(pattern, &up.to_string_lossy()))
        };
        let live = |(path, file): (&'_ PathBuf, &UsedFile)| {
            (!file.deleted && file.role == Role::Emulator).then(|| path.clone())
        };
        let emulators = usage.files.iter().filter_map(live);
        let sockets = usage.sockets.keys().cloned();
        let lazy = usage.lazy.iter().map(|lazy| lazy.directory.clone());
        let state = LIBVIRT_STATE.iter().map(PathBuf::from).filter(|_| !usage.guests.is_empty());
        if let Some(path) = emulators.chain(sockets).chain(lazy).chain(state).find(|path| goes(path)) {
            return Some(path.display().to_string());
        }
        // A file or folder inside such a place.
        let inside = usage.lazy.iter().find(|lazy| lazy.prefix.is_empty() && lazy.holds(&resolved));
        inside.map(ToString::to_string)
    }
}

/// Where libvirt knows its guests from.
const LIBVIRT_STATE: [&str; 4] =
    ["/run/libvirt/qemu", "/var/run/libvirt/qemu", "/var/lib/libvirt/qemu", "/etc/libvirt/qemu"];

fn is_pattern(path: &str) -> bool {
    path.contains([ANY, '*', '?'])
}

/// Whether a pattern's last part says enough to mean something of the guests' and not just anything.
fn says_enough(pattern: &str) -> bool {
    let last = pattern.rsplit('/').next().unwrap_or_default();
    last.chars().filter(char::is_ascii_alphanumeric).count() >= 3
}
