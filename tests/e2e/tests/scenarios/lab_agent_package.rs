//! The agent's own package: its life on a host touches no guest, and its binary asks for nothing newer than EL7 has.

use anyhow::{Context, Result, ensure};
use replank_e2e::{Field, FieldSpec, Packages};
use replank_lab::{Host, repo};
use std::process::Command;
use std::time::{Duration, SystemTime};

/// Installed by dnf from a repository, enrolled, upgraded to a newer build, restarted, removed: every guest beats throughout, and the newer
/// agent goes on with the identity and the ledger of the older one.
#[test]
fn installed_upgraded_and_removed_under_guests() -> Result<()> {
    let field = Field::bare(&FieldSpec::new("t-package", 1, 3))?;
    let host = field.first()?;
    let incarnations = incarnations(&field)?;
    let began = SystemTime::now();
    field.install_agent(host)?;
    field.enrol_agent(host)?;
    field.wait_linked(Duration::from_secs(30))?;
    let first = host.must(&["rpm", "-q", "replank-agent"])?;
    let first_pid = agent_pid(host)?;
    host.must(&["rpm", "-V", "replank-agent"])?;

    repo::add(&field.repository, &newer_build(&field)?)?;
    field.upgrade_agent(host)?;
    let second = host.must(&["rpm", "-q", "replank-agent"])?;
    println!("{} → {}", first.trim(), second.trim());
    ensure!(first != second, "dnf did not upgrade {first}");
    field.wait_linked(Duration::from_secs(30))?;
    ensure!(agent_pid(host)? != first_pid, "the older agent still runs after the upgrade");
    host.must(&["systemctl", "restart", "replank-agent.service"])?;
    field.wait_linked(Duration::from_secs(30))?;
    let guests = field.replank(&["guests"])?;
    println!("{guests}");
    ensure!(guests.matches("running").count() == 3, "the newer agent does not see three guests:\n{guests}");

    host.sh("dnf -y -q --disablerepo='*' --noautoremove remove replank-agent >/dev/null 2>&1")?;
    ensure!(
        !host.run(&["systemctl", "is-active", "replank-agent.service"])?.status.success(),
        "the agent still runs"
    );
    ensure!(
        !host.run(&["test", "-e", "/usr/sbin/replank-agent"])?.status.success(),
        "the agent is still there"
    );
    host.must(&["test", "-e", "/var/lib/replank/ledger.sqlite"])?;
    ensure!(incarnations == self::incarnations(&field)?, "a guest is not the process that it was");
    println!("{} s from the first installation to the removal", began.elapsed()?.as_secs());
    field.print_gaps(&[])
}

/// The promise of the packages, looked at once more where they are used.
#[test]
fn binaries_ask_for_no_newer_c_library_than_2_17() -> Result<()> {
    let packages = Packages::find()?;
    for binary in [packages.replank(), packages.replank_agent()] {
        let output =
            Command::new("objdump").arg("-T").arg(&binary).output().context("cannot start objdump")?;
        ensure!(output.status.success(), "objdump: {}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let newest = text
            .split(['(', ')', ' ', '\n'])
            .filter_map(|word| word.strip_prefix("GLIBC_"))
            .filter_map(|version| {
                version.split('.').map(|part| part.parse().ok()).collect::<Option<Vec<u32>>>()
            })
            .max()
            .context("no symbol of the C library at all")?;
        println!("{}: GLIBC_{newest:?}", binary.display());
        ensure!(newest <= vec![2, 17], "{} asks for GLIBC {newest:?}", binary.display());
    }
    Ok(())
}

/// The same program as a later build, by the project's own script.
fn newer_build(field: &Field) -> Result<std::path::PathBuf> {
    let out = field.path("newer");
    let script = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging/build.sh");
    let output = Command::new(script)
        .args(["--test", "--release", "2", "--out"])
        .arg(&out)
        .output()
        .context("cannot start packaging/build.sh")?;
    ensure!(output.status.success(), "packaging/build.sh: {}", String::from_utf8_lossy(&output.stderr));
    Packages::at(&out).agent_rpm()
}

fn agent_pid(host: &Host) -> Result<String> {
    Ok(host.must(&["systemctl", "show", "-p", "MainPID", "--value", "replank-agent.service"])?)
}

/// Pid and start time of each guest's process, as the host sees them.
fn incarnations(field: &Field) -> Result<Vec<String>> {
    let host = field.first()?;
    field
        .lab
        .guests()
        .iter()
        .map(|(_, guest)| {
            let pid = host.qemu_pid(&guest.name)?;
            let ticks = host.sh(&format!("cut -d ' ' -f 22 /proc/{pid}/stat"))?;
            Ok(format!("{pid} {}", ticks.trim()))
        })
        .collect()
}
