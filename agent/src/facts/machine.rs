//! Single facts of the machine and its operating system.

use super::Errors;
use crate::host::Host;
use replank_common::facts::OsFacts;
use std::fs;
use std::path::{Path, PathBuf};

pub(super) fn machine_id(host: &Host, errors: &mut Errors) -> String {
    errors
        .keep("machine id", fs::read_to_string(host.at("/etc/machine-id")))
        .unwrap_or_default()
        .trim()
        .to_owned()
}

pub(super) fn unknown_os() -> OsFacts {
    OsFacts {
        id: String::new(),
        version_id: String::new(),
        pretty_name: String::new(),
        kernel: String::new(),
        architecture: String::new(),
        pidfd: false,
    }
}

pub(super) fn cpus() -> u32 {
    std::thread::available_parallelism().ok().and_then(|count| u32::try_from(count.get()).ok()).unwrap_or(1)
}

/// `None`: needrestart is not installed. `Some(true)`: it would restart services by itself.
///
/// Its configuration is Perl. The last assignment of `$nrconf{restart}` counts; the files of `conf.d` are read after the main one,
/// in order of their names (needrestart.conf). Without any, and on a terminal, it asks; from within a package manager's run without
/// one it restarts by itself only with `a`.
pub(super) fn needrestart(host: &Host, errors: &mut Errors) -> Option<bool> {
    let installed =
        ["/usr/sbin/needrestart", "/usr/bin/needrestart"].iter().any(|path| host.at(path).exists());
    if !installed {
        return None;
    }
    let mut mode = None;
    for path in needrestart_files(host) {
        match fs::read_to_string(&path) {
            Ok(text) => mode = restart_mode(&text).or(mode),
            Err(error) => errors.add("needrestart", format!("{}: {error}", path.display())),
        }
    }
    Some(mode == Some('a'))
}

fn needrestart_files(host: &Host) -> Vec<PathBuf> {
    let directory = host.at(Path::new("/etc/needrestart/conf.d"));
    let mut more: Vec<PathBuf> =
        fs::read_dir(directory).into_iter().flatten().flatten().map(|e| e.path()).collect();
    more.retain(|path| path.extension().is_some_and(|extension| extension == "conf"));
    more.sort();
    let main = host.at("/etc/needrestart/needrestart.conf");
    main.exists().then_some(main).into_iter().chain(more).collect()
}

/// The letter that the last uncommented `$nrconf{restart} = 'a';` assigns.
fn restart_mode(text: &str) -> Option<char> {
    let mut assigned = text.lines().filter_map(|line| {
        let (left, right) = line.trim().strip_prefix('$')?.split_once('=')?;
        let name: String = left.chars().filter(|c| !c.is_whitespace() && !matches!(c, '\'' | '"')).collect();
        let value = right.trim().trim_start_matches(['\'', '"']);
        (name == "nrconf{restart}").then(|| value.chars().next())?
    });
    assigned.next_back()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing::World;

    #[test]
    fn needrestarts_mode_is_the_last_one_assigned() {
        let world = World::new();
        let mut errors = Errors::default();
        assert_eq!(needrestart(&world.host, &mut errors), None);
        world.file("/usr/sbin/needrestart", "");
        assert_eq!(needrestart(&world.host, &mut errors), Some(false));
        world.file(
            "/etc/needrestart/needrestart.conf",
            "# default\n#$nrconf{restart} = 'a';\n$nrconf{restart} = 'l';\n",
        );
        assert_eq!(needrestart(&world.host, &mut errors), Some(false));
        world.file("/etc/needrestart/conf.d/50-auto.conf", "$nrconf{'restart'}=\"a\";\n");
        assert_eq!(needrestart(&world.host, &mut errors), Some(true));
        world.file("/etc/needrestart/conf.d/90-other.conf", "$nrconf{verbosity} = 2;\n");
        assert_eq!(needrestart(&world.host, &mut errors), Some(true));
        world.file("/etc/needrestart/conf.d/99-replank.conf", "$nrconf{restart} = 'l';\n");
        assert_eq!(needrestart(&world.host, &mut errors), Some(false));
        assert!(errors.0.is_empty());
    }
}
