//! The main job on real hosts, from booting them to the proof: what `make demo` runs.

use anyhow::{Result, ensure};
use replank_e2e::{Field, FieldSpec, Fleet};
use replank_lab::GuestSpec;
use std::time::{Duration, Instant};

const HOSTS: usize = 3;
const GUESTS_PER_HOST: usize = 3;
/// The number of the guest that is started after the voyage, on the canary.
const NEW_GUEST: u8 = 120;

fn main() -> Result<()> {
    let start = Instant::now();
    let say = |text: &str| println!("\n== {:>4} s  {text}", start.elapsed().as_secs());

    say(
        "booting 3 hosts with systemd, libvirt 9.0 and 9 guests on qemu 7.2; installing the agent's RPM on each",
    );
    let mut field = Field::up(&FieldSpec::new("demo", HOSTS, GUESTS_PER_HOST))?;
    print!("{}", field.replank(&["host", "list"])?);
    print!("{}", field.replank(&["guests"])?);

    let fleet_file = field.fleet_file(&Fleet::default())?;
    say("replank check -f fleet.toml");
    print!("{}", field.replank(&["check", "-f", &fleet_file])?);

    say("replank plan -f fleet.toml -o plan.json");
    let plan = field.path("plan.json").to_string_lossy().into_owned();
    print!("{}", field.replank(&["plan", "-f", &fleet_file, "-o", &plan])?);
    print!("{}", field.replank(&["lint", &plan])?);

    say("replank apply plan.json; each hold is approved as it is reached");
    let run = field.apply(&plan)?;
    println!("{}", run.0);
    let view = field.sail(&run, Duration::from_secs(900))?;
    print!("{}", field.replank(&["status", &run.0])?);

    say("a new guest, with no emulator named, on the first host");
    field.lab.start_guest("compute1", GuestSpec::new(NEW_GUEST))?;
    let host = field.lab.host("compute1")?;
    let pid = host.qemu_pid(&format!("guest{NEW_GUEST}"))?;
    let emulator = host.must(&["readlink", &format!("/proc/{pid}/exe")])?;
    println!("guest{NEW_GUEST} runs on {}", emulator.trim());
    ensure!(emulator.trim().starts_with("/opt/qemu/10.0.2/"), "the new guest did not get the new qemu");

    say("the proof");
    field.all_beat()?;
    let beats = field.beats_file()?;
    let report = field.replank(&["report", &run.0, "--beats", &beats])?;
    print!("{report}");
    ensure!(view.phase.as_str() == "completed", "the run ended {}", view.phase);
    ensure!(report.contains("guests lost: 0"), "the report does not say that no guest was lost");
    say(&format!("done: {} hosts, {} guests", view.hosts_done, HOSTS * GUESTS_PER_HOST));
    Ok(())
}
