//! How the command line ends: one table, from which the code, `--help`, the man pages and the tests are made.

replank_cli::exits! {
    Done 0 "done"
    Unexpected 1 "something unexpected; the message says what"
    Usage 2 "the command line cannot be understood"
    BadFile 3 "an input file is bad or cannot be read: fleet file, inventory, plan, operator.toml, beats, a document of Ceph (also one that does not tell enough), the coordinator's folder; or a file is in the way"
    Blocked 4 "blockers were found: nothing may start until they are gone; or what was named may not stop now"
    Refused 5 "the coordinator refused, and says why"
    Unreachable 6 "the coordinator cannot be reached, or the connection broke; a change may have been made"
    Halted 7 "the run is halted, or a run that was applied with --watch ended other than completed"
    Waits 8 "the run waits for an operator (with --until-hold)"
    Unsound 9 "lint found a broken promise in the plan"
    Deposed 10 "another coordinator leads: this one stays down until somebody starts it"
    SimulationHeld 11 "a simulated run was held, and says by what"
    SimulationBroke 12 "a simulated run broke a promise"
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::args::{Cli, Command};
    use crate::config::Folder;
    use clap::Parser as _;
    use std::path::Path;

    #[test]
    fn the_packaged_unit_serves_the_packaged_folder_and_stays_down_when_deposed() {
        let unit = include_str!("../../../packaging/systemd/replank-coordinator.service");
        let value = |key: &str| unit.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        let command = value("ExecStart=").strip_prefix("/usr/bin/").unwrap();
        let Command::Serve(args) = Cli::try_parse_from(command.split(' ')).unwrap().command else {
            panic!("{command}");
        };
        assert_eq!(Path::new(value("ConditionPathExists=")), Folder::new(&args.dir).settings());
        assert_eq!(Path::new(value("ReadWritePaths=")), args.dir);
        let tmpfiles = include_str!("../../../packaging/tmpfiles/replank-coordinator.conf");
        assert_eq!(
            tmpfiles.trim_end(),
            format!("d {} 0700 {} replank -", args.dir.display(), value("User="))
        );
        assert_eq!(value("RestartPreventExitStatus="), Exit::Deposed.code().to_string());
    }
}
