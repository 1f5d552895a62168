//! `lab`: boots hosts for a person to work with, and removes them again.

use std::io::IsTerminal;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::{Parser, Subcommand, ValueEnum};
use replank_lab::beat::{self, Judgement, Recorder};
use replank_lab::ceph::{CephSpec, Cluster, Coded, Pair, Writer};
use replank_lab::root::{self, Recipe};
use replank_lab::{Host, Lab, LabName, LabSpec, LabState, down, known_labs, traces};

/// Test hosts with systemd, libvirt and beating guests, on this machine.
#[derive(Debug, Parser)]
#[command(name = "lab", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum CodedPool {
    /// k=2, m=3
    HostAtATime,
    /// k=4, m=2
    OsdAtATime,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum From {
    /// 14.2.21, with 16.2.15 in the repository
    Nautilus,
    /// 16.2.15, with 18.2.7 in the repository
    Pacific,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Boot hosts and leave them up
    Up {
        /// The lab's name; several labs can be up at once
        #[arg(long, default_value = "lab")]
        name: LabName,
        /// How many compute hosts; 3 unless there are hosts for Ceph
        #[arg(long)]
        hosts: Option<usize>,
        /// How many guests on each compute host
        #[arg(long, default_value_t = 3)]
        guests: usize,
        /// How many hosts for Ceph, with a cluster on them and a client that writes to it
        #[arg(long, value_name = "N", default_value_t = 0)]
        ceph: usize,
        /// How the cluster spreads its erasure-coded pool: whether a whole host may stop, or one OSD at a time
        #[arg(long, value_enum, default_value = "host-at-a-time", requires = "ceph")]
        coded: CodedPool,
        /// Which release the cluster has
        #[arg(long, value_enum, default_value = "nautilus", requires = "ceph")]
        release: From,
        /// How many MDS the cluster has; with any it has a file system
        #[arg(long, value_name = "N", default_value_t = 0, requires = "ceph")]
        mds: usize,
        /// How many RADOS gateways the cluster has
        #[arg(long, value_name = "N", default_value_t = 0, requires = "ceph")]
        gateways: usize,
        /// A directory that hosts see read-only at /srv/repo; for Ceph hosts, the packages of the next release if none is given
        #[arg(long, value_name = "DIR")]
        repo: Option<PathBuf>,
        /// Leave a lab that fails to come up as it is, for a look at it
        #[arg(long)]
        keep: bool,
    },
    /// Remove every trace of labs, also of those whose owner crashed
    Down {
        /// The lab to remove
        #[arg(long, default_value = "lab", conflicts_with = "all")]
        name: LabName,
        /// All labs, but those that a running test has for its own
        #[arg(long)]
        all: bool,
    },
    /// Work in a host: a shell, or a command
    Enter {
        /// The host, such as compute1
        host: String,
        /// The lab; needed only when several are up
        #[arg(long)]
        name: Option<LabName>,
        /// What to run instead of a shell
        #[arg(last = true)]
        command: Vec<String>,
    },
    /// Say which labs, hosts and guests there are
    Status {
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Say what is known of the guests' beats
    Beats {
        /// The lab; needed only when several are up
        #[arg(long)]
        name: Option<LabName>,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Build the hosts' root file systems and the repositories of Ceph hosts now, so that no later boot waits for them
    Root,
    /// Record a lab's beats as long as its network is there
    #[command(hide = true)]
    Record {
        #[arg(long)]
        name: LabName,
    },
}

fn main() -> ExitCode {
    match run(Cli::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("lab: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Up { name, hosts, guests, ceph, coded, release, mds, gateways, repo, keep } => {
            let pair = match release {
                From::Nautilus => Pair::NautilusToPacific,
                From::Pacific => Pair::PacificToReef,
            };
            let repository = match repo {
                Some(path) => Some(path.canonicalize().with_context(|| path.display().to_string())?),
                None if ceph > 0 => {
                    Some(replank_lab::repo::prepare_ceph(&root::cache_dir(), pair)?.path().to_owned())
                }
                None => None,
            };
            let spec = LabSpec {
                hosts: hosts.unwrap_or(if ceph == 0 { 3 } else { 0 }),
                guests_per_host: guests,
                ceph_hosts: ceph,
                client: ceph > 0,
                pair,
                repository,
                keep_failed: keep,
                recorder: Some(std::env::current_exe().context("failed to find this program's own file")?),
                ..LabSpec::new(name)
            };
            let coded = match coded {
                CodedPool::HostAtATime => Coded::HostAtATime,
                CodedPool::OsdAtATime => Coded::OsdAtATime,
            };
            up(&spec, &CephSpec { coded, mds, gateways, ..CephSpec::default() })
        }
        Verb::Down { name, all } => remove(if all { known_labs() } else { vec![name] }),
        Verb::Enter { host, name, command } => enter(&host, name, &command),
        Verb::Status { json } => status(json),
        Verb::Beats { name, json } => beats(name, json),
        Verb::Root => {
            println!("{}", root::prepare(&Recipe::compute())?.path.display());
            for pair in [Pair::NautilusToPacific, Pair::PacificToReef] {
                println!("{}", root::prepare(&pair.root()?)?.path.display());
                println!("{}", replank_lab::repo::prepare_ceph(&root::cache_dir(), pair)?.path().display());
            }
            Ok(())
        }
        Verb::Record { name } => {
            let _recorder = Recorder::start(&name)?;
            // Without its namespace no beat can come any more.
            while name.is_up() {
                std::thread::sleep(std::time::Duration::from_secs(1));
            }
            Ok(())
        }
    }
}

fn up(spec: &LabSpec, ceph: &CephSpec) -> Result<()> {
    let name = &spec.name;
    eprintln!(
        "booting lab `{name}`: {} compute hosts with {} guests each, {} hosts for Ceph",
        spec.hosts, spec.guests_per_host, spec.ceph_hosts
    );
    let lab = Lab::up(spec)?;
    let times = lab.times();
    if let Some(root) = times.root {
        eprintln!("root built in {:.1} s", root.as_secs_f64());
    }
    eprintln!(
        "hosts up in {:.1} s, guests beating after {:.1} s",
        times.boot.as_secs_f64(),
        times.guests.as_secs_f64()
    );
    if spec.ceph_hosts > 0
        && let Err(error) = make_cluster(&lab, ceph)
    {
        if spec.keep_failed {
            lab.detach()?;
        }
        return Err(error);
    }
    let first = lab.hosts().first().map(|host| host.name().to_owned());
    lab.detach()?;
    status(false)?;
    // As it was called, so that the lines can be typed again.
    let lab = std::env::args().next().unwrap_or_else(|| "lab".to_owned());
    if let Some(first) = first {
        eprintln!("\nenter a host:   {lab} enter --name {name} {first}");
        let (what, look) =
            if spec.hosts > 0 { ("its guests: ", "virsh list") } else { ("its cluster:", "ceph -s") };
        eprintln!("{what}    {lab} enter --name {name} {first} -- {look}");
    }
    eprintln!("their beats:    {lab} beats --name {name}");
    eprintln!("remove it all:  {lab} down --name {name}");
    Ok(())
}

fn make_cluster(lab: &Lab, spec: &CephSpec) -> Result<()> {
    let cluster = Cluster::make(lab, spec)?;
    eprintln!("cluster clean after {:.1} s", cluster.made_in().as_secs_f64());
    // Goes on by itself, also when this program has ended.
    Writer::start(&cluster)?;
    eprintln!("`client` writes numbered records; what was acknowledged is in its /var/log/numbered-records");
    Ok(())
}

fn remove(names: Vec<LabName>) -> Result<()> {
    let mut failed = false;
    for name in names {
        match down(&name) {
            Ok(()) => eprintln!("lab `{name}` is gone"),
            Err(error) => {
                failed = true;
                eprintln!("lab: {error}");
            }
        }
    }
    if failed { bail!("not all labs could be removed") } else { Ok(()) }
}

fn enter(host: &str, name: Option<LabName>, command: &[String]) -> Result<()> {
    let state = the_lab(name)?;
    let Some(found) = state.hosts.iter().find(|one| one.name == host) else {
        let names: Vec<_> = state.hosts.iter().map(|one| one.name.as_str()).collect();
        bail!("lab `{}` has no host `{host}`; it has {}", state.name, names.join(", "));
    };
    let host = Host::of_state(found);
    if !host.is_alive() {
        bail!("host `{}` no longer runs; remove the lab with `lab down --name {}`", found.name, state.name);
    }
    let mut argv: Vec<&str> = command.iter().map(String::as_str).collect();
    if argv.is_empty() && std::io::stdin().is_terminal() {
        // This terminal is not among the host's own: script(1) gives the shell one that is.
        argv = vec!["script", "--quiet", "--command", "bash --login", "/dev/null"];
    } else if argv.is_empty() {
        argv = vec!["bash", "--login"];
    }
    let mut command = host.command(&argv);
    command.stdin(std::process::Stdio::inherit());
    if let Some(terminal) = std::env::var_os("TERM") {
        command.env("TERM", terminal);
    }
    // Only a failure comes back.
    Err(command.exec()).context("failed to start nsenter")
}

/// The lab of this name, or the only one there is.
fn the_lab(name: Option<LabName>) -> Result<LabState> {
    let name = match name {
        Some(name) => name,
        None => match known_labs().as_slice() {
            [only] => only.clone(),
            [] => bail!("no lab is up; boot one with `lab up`"),
            several => {
                let names: Vec<_> = several.iter().map(LabName::as_str).collect();
                bail!("several labs are up ({}); say which with --name", names.join(", "))
            }
        },
    };
    LabState::load(&name).with_context(|| format!("lab `{name}` is not up"))
}

fn status(json: bool) -> Result<()> {
    let states: Vec<LabState> = known_labs().iter().filter_map(LabState::load).collect();
    if json {
        println!("{}", serde_json::to_string_pretty(&states)?);
        return Ok(());
    }
    for name in known_labs() {
        let Some(state) = states.iter().find(|state| state.name == name) else {
            println!(
                "{name}: left behind, remove it with `lab down --name {name}`: {}",
                traces(&name)?.join(", ")
            );
            continue;
        };
        let owner = if state.detached { String::new() } else { format!(" (of process {})", state.owner.pid) };
        println!("{name}{owner}");
        for host in &state.hosts {
            let alive = if host.leader.is_alive() { "up" } else { "down" };
            println!("  {:<12} {:<12} {alive:<5} {}", host.name, host.address, host.guests.join(" "));
        }
    }
    Ok(())
}

fn beats(name: Option<LabName>, json: bool) -> Result<()> {
    let answers = beat::ask(&the_lab(name)?.name, None)?;
    if json {
        println!("{}", serde_json::to_string_pretty(&answers)?);
        return Ok(());
    }
    println!("guest    beats  last count  longest gap  restarts  missed  silent  last 10 s");
    for answer in answers {
        let (report, now) = (&answer.report, words(answer.judgement));
        println!(
            "{:>5}  {:>7}  {:>10}  {:>8} ms  {:>8}  {:>6}  {:>3} ms  {now}",
            report.guest,
            report.beats,
            report.last_count,
            report.longest_gap_ms,
            report.restarts,
            report.missed,
            report.silent_ms,
        );
    }
    Ok(())
}

fn words(judgement: Judgement) -> String {
    match judgement {
        Judgement::Unheard => "unheard".to_owned(),
        Judgement::Twice => "runs twice".to_owned(),
        Judgement::Lost { silent_ms } => format!("lost, silent for {silent_ms} ms"),
        Judgement::Restarted { times } => format!("restarted {times} times"),
        Judgement::Paused { gap_ms } => format!("paused for {gap_ms} ms"),
        Judgement::Beating => "beating".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    /// clap looks at the arguments of a subcommand when somebody types it; here it looks at all of them.
    #[test]
    fn every_argument_can_be_typed() {
        Cli::command().debug_assert();
    }
}
