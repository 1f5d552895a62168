//! The voyage as an operator makes it: there, and back again. The way back from half of it is `lab_halt`'s.

use super::LEFT_BY_DESIGN;
use anyhow::{Context, Result, ensure};
use replank_core::run::Phase;
use replank_e2e::ledger::HostRecord;
use replank_e2e::{Field, FieldSpec, Fleet, RunRef};
use replank_lab::{GuestSpec, Host};
use std::time::Duration;

const VOYAGE: Duration = Duration::from_secs(600);
const NEW_GUESTS: [u8; 2] = [120, 121];
const OLD_EMULATOR: &str = "/usr/bin/qemu-system-x86_64";

/// P1, P7, P8: three hosts, nine guests; the plan is the same bytes twice; the canary first, then a hold, then the rest; old guests keep
/// their qemu, a new one gets the new; what was borrowed is given back; and the whole way back, which is refused while a guest runs that the
/// old libvirt could not read.
#[test]
fn there_and_back() -> Result<()> {
    let mut field = Field::up(&FieldSpec::new("t-voyage", 3, 3))?;
    let before = field.worlds()?;
    let records = records(&field)?;
    let plan = plan_twice(&field)?;

    let run = field.apply(&plan)?;
    field.sail_to_hold(&run, "after-canary", VOYAGE)?;
    untouched_but_for_what_is_borrowed(&field, &before)?;
    let view = field.sail(&run, VOYAGE)?;
    ensure!(view.phase == Phase::Completed, "the run ended {}", view.phase);
    ensure!(view.hosts_done == 3, "{} hosts are done", view.hosts_done);

    for (host, (name, was)) in field.lab.hosts().iter().zip(&records) {
        let since = HostRecord::of(host)?.since(was);
        println!("{name}: {since:?}");
        ensure!(since.libvirtd_starts == 1, "libvirtd was started {} times on {name}", since.libvirtd_starts);
        given_back(host)?;
    }
    old_guests_run_on_the_old_qemu(&field)?;
    tcp_answers(&field)?;
    let [new, other] = NEW_GUESTS.map(GuestSpec::new);
    field.lab.start_guest("compute1", new.clone())?;
    let pid = field.first()?.qemu_pid(&new.name)?;
    let emulator = field.first()?.must(&["readlink", &format!("/proc/{pid}/exe")])?;
    ensure!(emulator.starts_with("/opt/qemu/10.0.2/"), "the new guest runs on {emulator}");

    let beats = field.beats_file()?;
    let report = field.replank(&["report", &run.0, "--beats", &beats])?;
    println!("{report}");
    ensure!(report.contains("guests lost: 0"), "the report does not say that no guest was lost");
    let proof = field.report(&run)?;
    ensure!(proof.tally.same >= 9 && proof.tally.lost == 0, "{:?}", proof.tally);

    the_way_back_is_closed_by(&field, &run, &new.name)?;
    end_by_its_owner(field.first()?, &new.name)?;
    // Asked anew each time: this guest came after compute2 had agreed to the rollback that compute1 refused.
    field.lab.start_guest("compute2", other.clone())?;
    the_way_back_is_closed_by(&field, &run, &other.name)?;
    end_by_its_owner(field.lab.host("compute2")?, &other.name)?;
    field.roll_back(&run, VOYAGE)?;
    field.same_worlds(&before, &LEFT_BY_DESIGN)?;
    println!("{}", field.replank(&["report", &run.0])?);
    field.print_gaps(&NEW_GUESTS)
}

fn records(field: &Field) -> Result<Vec<(String, HostRecord)>> {
    field.lab.hosts().iter().map(|host| Ok((host.name().to_owned(), HostRecord::of(host)?))).collect()
}

/// Two plans from one inventory are the same bytes; gives the plan's file.
fn plan_twice(field: &Field) -> Result<String> {
    let fleet_file = field.fleet_file(&Fleet::default())?;
    let path = |name: &str| field.path(name).to_string_lossy().into_owned();
    let (inventory, first, second) = (path("inventory.json"), path("plan.json"), path("again.json"));
    field.replank(&["inventory", "-o", &inventory])?;
    let shown = field.replank(&["plan", "-f", &fleet_file, "--inventory", &inventory, "-o", &first])?;
    field.replank(&["plan", "-f", &fleet_file, "--inventory", &inventory, "-o", &second])?;
    ensure!(std::fs::read(&first)? == std::fs::read(&second)?, "two plans from one inventory differ");
    ensure!(
        shown.contains(&format!("replank apply {first}")),
        "the plan does not end with what applies it:\n{shown}"
    );
    ensure!(shown.contains("RP2032"), "the plan says nothing of the running libvirt-guests:\n{shown}");
    field.replank(&["lint", &first])?;
    Ok(first)
}

/// At the canary hold the other hosts have their pins and nothing else.
fn untouched_but_for_what_is_borrowed(field: &Field, before: &[(String, replank_e2e::World)]) -> Result<()> {
    for ((name, was), (_, is)) in before.iter().zip(field.worlds()?).skip(1) {
        let pins = ["etc/apt/", "etc/yum.repos.d", "etc/rpm"];
        let differences = was.differs_from(&is, &[]);
        let beyond: Vec<&String> =
            differences.0.iter().filter(|line| !pins.iter().any(|pin| line.contains(pin))).collect();
        ensure!(beyond.is_empty(), "{name} was changed before the canary was through: {beyond:?}");
    }
    Ok(())
}

fn given_back(host: &Host) -> Result<()> {
    let name = host.name();
    let left = host.sh(
        "ls -d /usr/sbin/policy-rc.d /etc/needrestart/conf.d/*replank* /etc/apt/preferences.d/*replank* \
         /etc/apt/sources.list.d/*replank* /etc/yum.repos.d/*replank* 2>/dev/null || :",
    )?;
    ensure!(left.is_empty(), "{name} still has what was borrowed: {left}");
    let units = host.sh(
        "for u in libvirt-guests.service apt-daily-upgrade.service; do systemctl is-enabled $u || :; done; \
         systemctl is-active libvirt-guests.service || :",
    )?;
    ensure!(units.ends_with("active\n") && !units.contains("inactive"), "{name}: libvirt-guests is {units}");
    ensure!(!units.contains("enabled-runtime") && !units.contains("masked-runtime"), "{name}: {units}");
    Ok(())
}

fn old_guests_run_on_the_old_qemu(field: &Field) -> Result<()> {
    let guests: serde_json::Value = serde_json::from_str(&field.replank(&["guests", "--json"])?)?;
    let guests = guests["guests"].as_array().context("no list of guests")?;
    ensure!(guests.len() == 9, "{} guests are listed", guests.len());
    for guest in guests {
        ensure!(guest["emulator"] == OLD_EMULATOR, "an old guest runs on another emulator: {guest}");
        let version = guest["qemu_version"].as_str().unwrap_or_default();
        ensure!(version.starts_with("7.2"), "an old guest runs on qemu {version}");
    }
    Ok(())
}

fn tcp_answers(field: &Field) -> Result<()> {
    for host in field.lab.hosts() {
        for peer in field.lab.hosts().iter().filter(|peer| peer.name() != host.name()) {
            let uri = format!("qemu+tcp://{}/system", host.address());
            let said = peer.must(&["virsh", "-c", &uri, "version"])?;
            ensure!(
                said.contains("11.3.0") && said.contains("10.0.2"),
                "{} from {}: {said}",
                host.name(),
                peer.name()
            );
        }
    }
    Ok(())
}

/// Refused with the guest's name, the reason and the safe alternative, and nothing taken back.
fn the_way_back_is_closed_by(field: &Field, run: &RunRef, guest: &str) -> Result<()> {
    let before = field.worlds()?;
    field.replank(&["rollback", &run.0])?;
    let view = field
        .wait(run, Duration::from_secs(120), "is where it was", |view| view.phase == Phase::Completed)?;
    for closed in &view.way_back_closed {
        println!("refused: {} on {}: {}", closed.step, closed.host, closed.refusal);
    }
    ensure!(
        view.way_back_closed.iter().any(|closed| closed.refusal.reason.contains(guest)),
        "the refusal does not name {guest}: {:?}",
        view.way_back_closed
    );
    ensure!(
        view.way_back_closed.iter().all(|closed| !closed.refusal.remedy.is_empty()),
        "the refusal names no safe way: {:?}",
        view.way_back_closed
    );
    field.same_worlds(&before, &[])
}

fn end_by_its_owner(host: &Host, guest: &str) -> Result<()> {
    host.sh(&format!("virsh destroy {guest} && virsh undefine {guest}"))?;
    Ok(())
}
