//! What must be refused, each with a clear message and a documented code (P9 and the doors of the fleet).

use super::impostor;
use anyhow::{Context, Result, ensure};
use replank_core::run::Phase;
use replank_e2e::{Coordinator, Field, FieldSpec, Fleet, PORT, ledger};
use replank_lab::Host;
use std::net::SocketAddr;
use std::path::Path;
use std::process::Output;
use std::time::{Duration, Instant};

const IDENTITY: [&str; 2] = ["identity.pem", "authority.pem"];
const IDENTITY_DIRECTORY: &str = "/var/lib/replank/identity";
const FORGET: &str = "rm -r /var/lib/replank/identity";
const LIMIT: Duration = Duration::from_secs(200);

/// Join tokens: expired, used, of another host, of another fleet, malformed. And a host's certificate used for another host.
#[test]
fn at_the_doors() -> Result<()> {
    let field = Field::bare(&FieldSpec::new("t-doors", 2, 0))?;
    let (one, two) = (field.lab.host("compute1")?, field.lab.host("compute2")?);
    for host in [one, two] {
        field.install_agent(host)?;
    }
    let short_lived = token(&field, "compute1", &["--minutes", "1"])?;
    let made = Instant::now();

    refused("a malformed token", &enrol(one, "rpk1.nonsense")?, "RP4012")?;
    let other = other_fleet(&field)?;
    refused("a token of another fleet", &enrol(one, &other)?, "RP40")?;
    refused("a token for another host", &enrol(one, &token(&field, "compute2", &[])?)?, "RP4015")?;

    let used = token(&field, "compute1", &[])?;
    let enrolled = enrol(one, &used)?;
    ensure!(enrolled.status.success(), "a good token was refused: {}", said(&enrolled));
    refused("an enrolment of a host that is enrolled", &enrol(one, &used)?, "RP4003")?;
    one.must(&["systemctl", "enable", "--now", "--quiet", "replank-agent.service"])?;
    wait_linked_one(&field)?;

    // compute2 takes compute1's identity: its own agent will not speak for another host…
    let identity = field.path("stolen");
    steal(one, &identity)?;
    two.must(&["mkdir", "-p", "-m", "0700", IDENTITY_DIRECTORY])?;
    for file in IDENTITY {
        two.push(&identity.join(file), &format!("{IDENTITY_DIRECTORY}/{file}"), 0o600)?;
    }
    let stolen = two.run(&["replank-agent", "run"])?;
    refused("an agent with another host's certificate", &stolen, "RP4011")?;
    two.sh(FORGET)?;
    // … and neither does the coordinator believe a program that does.
    let address = SocketAddr::from((field.lab.coordinator_address(), PORT));
    let answer = field.lab.within(|| Ok(impostor::link(&identity, address, "compute2")))??;
    let status = answer.err().context("the coordinator believed compute1 that it is compute2")?;
    println!("a link of compute1's certificate as compute2: {:?}: {}", status.code(), status.message());
    ensure!(status.message().contains("RP6103"), "refused without its code: {status:?}");

    // The same token with another key: the first key alone is admitted by it.
    one.sh(&format!("systemctl stop replank-agent.service && {FORGET}"))?;
    refused("a token that was used", &enrol(one, &used)?, "RP4016")?;
    std::thread::sleep(Duration::from_secs(62).saturating_sub(made.elapsed()));
    refused("a token that has expired", &enrol(one, &short_lived)?, "RP4017")?;

    // A revoked host is shut out until it has a new token.
    field.replank(&["host", "revoke", "compute1"])?;
    let answer = field.lab.within(|| Ok(impostor::link(&identity, address, "compute1")))?;
    let why = match answer {
        Ok(Ok(())) => anyhow::bail!("the coordinator believed a revoked host"),
        Ok(Err(status)) => status.message().to_owned(),
        Err(error) => format!("{error:#}"),
    };
    println!("a link of a revoked host: {why}");
    Ok(())
}

/// What the host's own policy does not allow; a plan whose bytes were changed; a coordinator of an older epoch.
#[test]
fn commands_and_plans() -> Result<()> {
    let mut field = Field::up(&FieldSpec::new("t-refusals", 1, 1))?;
    let before = field.worlds()?;
    fleet_files(&field)?;
    let plan = field.plan(&Fleet::default())?;
    changed_plan(&field, &plan)?;

    policy(&field, "observe_only = true\n")?;
    refused_step(&field, &plan, "RP4102")?;
    policy(&field, "[allow]\nfamilies = [\"packages\", \"units\"]\n")?;
    refused_step(&field, &plan, "RP4103")?;
    policy(&field, "[allow]\nrepositories = [\"https://\"]\n")?;
    refused_step(&field, &plan, "RP4106")?;
    field
        .first()?
        .sh("mv /root/policy.toml /etc/replank/policy.toml && systemctl restart replank-agent.service")?;
    field.wait_linked(Duration::from_secs(30))?;
    field.same_worlds(&before, &[])?;

    an_older_coordinator(&mut field, &plan)?;
    field.print_gaps(&[])
}

fn token(field: &Field, host: &str, more: &[&str]) -> Result<String> {
    Ok(field.replank(&[&["host", "token", host], more].concat())?.trim().to_owned())
}

fn enrol(host: &Host, token: &str) -> Result<Output> {
    let coordinator = format!("coordinator:{PORT}");
    Ok(host.run(&["replank-agent", "enrol", "--coordinator", &coordinator, "--token", token])?)
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

fn refused(what: &str, output: &Output, code: &str) -> Result<()> {
    let said = said(output);
    println!("{what}: {}", said.trim());
    ensure!(!output.status.success(), "{what} was accepted: {said}");
    ensure!(said.contains(code), "{what} was refused without {code}: {said}");
    Ok(())
}

/// A token of a second coordinator with an authority of its own.
fn other_fleet(field: &Field) -> Result<String> {
    let mut other = Coordinator::init_at(
        &field.lab,
        &field.packages,
        &field.path("other"),
        "0.0.0.0:7444",
        "127.0.0.1:9750",
    )?;
    other.start(&field.lab)?;
    Ok(other.must(&field.lab, &["host", "token", "compute1"])?.trim().to_owned())
}

fn wait_linked_one(field: &Field) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(30);
    while !field.replank(&["host", "list", "--json"])?.contains("\"linked\": true") {
        ensure!(Instant::now() < deadline, "compute1 does not link:\n{}", field.coordinator.log_tail());
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(())
}

fn steal(host: &Host, to: &Path) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    std::fs::create_dir(to)?;
    std::fs::set_permissions(to, std::fs::Permissions::from_mode(0o700))?;
    for file in IDENTITY {
        let path = to.join(file);
        std::fs::write(&path, host.read(&format!("{IDENTITY_DIRECTORY}/{file}"))?)?;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
    }
    Ok(())
}

/// Each kind of mistake is refused by its code, all at once where a file has several.
fn fleet_files(field: &Field) -> Result<()> {
    let good = Fleet::default().text(&field.lab, &field.repository)?;
    let spoilt = |code: &'static str, from: &str, to: &str| (code, good.replacen(from, to, 1));
    let cases = [
        spoilt("RP1001", "[fleet]", "[fleet"),
        spoilt("RP1002", "parallel_hosts", "paralel_hosts"),
        spoilt("RP1003", "gpg_check = false", "gpg_check = \"no\""),
        spoilt("RP1004", "version = \"10.0.2\"\n", ""),
        spoilt("RP1005", "name = \"compute1\"", "name = \"Compute 1\""),
        spoilt("RP1006", "[[host]]", "[[host]]\nname = \"compute1\"\nroles = [\"compute\"]\n[[host]]"),
        spoilt("RP1007", "parallel_hosts = 2", "parallel_hosts = 0"),
        spoilt("RP1008", "default = \"in-place\"", "default = \"in-a-hurry\""),
        spoilt("RP1009", "prefix = \"/opt/qemu/10.0.2\"", "prefix = \"/usr\""),
        spoilt("RP1010", "repository = \"qemu\"", "repository = \"elsewhere\""),
        spoilt("RP1011", "acknowledge = \"everyone on this network is root on every host\"\n", ""),
        spoilt("RP1012", "listen_address = \"0.0.0.0\"", "listen_address = \"somewhere\""),
        spoilt("RP1013", "version = \"10.0.2-1\"", "version = \"10.*\""),
        spoilt("RP1014", "gpg_check = false", "gpg_check = false\nsuite = \"./\""),
    ];
    let path = field.path("spoilt.toml").to_string_lossy().into_owned();
    for (code, text) in cases {
        ensure!(text != good, "{code}: the fleet file was not spoilt");
        std::fs::write(&path, text)?;
        let refused = field.refused(&["check", "-f", &path])?;
        ensure!(refused.exit == 3, "{code}: `check` ended with {}: {}", refused.exit, refused.said);
        ensure!(refused.said.contains(code), "refused without {code}: {}", refused.said);
        println!("{code}: {}", refused.said.lines().next().unwrap_or_default());
    }
    Ok(())
}

/// One word of the plan is another: neither command line nor coordinator takes it.
fn changed_plan(field: &Field, plan: &str) -> Result<()> {
    let changed = field.path("changed.json").to_string_lossy().into_owned();
    let text = std::fs::read_to_string(plan)?;
    let other = text.replacen("\"mode\": 493", "\"mode\": 511", 1);
    let other = if other == text { text.replacen("10.0.2-1", "10.0.2-2", 1) } else { other };
    ensure!(other != text, "nothing was changed in the plan");
    std::fs::write(&changed, other)?;
    for verb in ["apply", "lint", "show"] {
        let refused = field.refused(&[verb, &changed])?;
        ensure!(refused.said.contains("RP1106"), "{verb} took a changed plan: {}", refused.said);
        ensure!(refused.exit == 3, "{verb} ended with {}", refused.exit);
        println!("{verb} of a changed plan: {}", refused.said.trim());
    }
    Ok(())
}

/// The owner of the host allows other things from now on.
fn policy(field: &Field, text: &str) -> Result<()> {
    let host = field.first()?;
    host.sh("test -e /root/policy.toml || cp -p /etc/replank/policy.toml /root/policy.toml")?;
    host.write("/etc/replank/policy.toml", text.as_bytes(), 0o640)?;
    host.must(&["systemctl", "restart", "replank-agent.service"])?;
    field.wait_linked(Duration::from_secs(30))
}

fn refused_step(field: &Field, plan: &str, code: &str) -> Result<()> {
    let run = field.apply(plan)?;
    field.wait(&run, LIMIT, "is held", |view| view.phase == Phase::Held)?;
    let why = field.replank(&["why", &run.0])?;
    println!("{why}");
    ensure!(why.contains(code), "held without {code}:\n{why}");
    field.replank(&["abort", &run.0])?;
    field.wait(&run, LIMIT, "is aborted", |view| view.phase == Phase::Aborted)?;
    Ok(())
}

/// A coordinator from yesterday's backup: the agent has obeyed later ones, so it is told why, and obeys none of its commands.
fn an_older_coordinator(field: &mut Field, plan: &str) -> Result<()> {
    let run = field.apply(plan)?;
    field.sail_to_hold(&run, "before-canary", LIMIT)?;
    let directory = field.coordinator.directory().to_owned();
    let older = field.path("older");
    field.coordinator.kill()?;
    copy(&directory, &older)?;
    for _ in 0..2 {
        field.coordinator.start(&field.lab)?;
        field.wait_linked(Duration::from_secs(30))?;
        field.coordinator.kill()?;
    }
    let entries = ledger::entries(field.first()?)?.len();
    std::fs::rename(&directory, field.path("newer"))?;
    std::fs::rename(&older, &directory)?;

    field.coordinator.start(&field.lab)?;
    // Whatever its operator decides: nothing of it reaches a host.
    field.coordinator.replank(&field.lab, &["approve", &run.0, "before-canary"])?;
    let deadline = Instant::now() + Duration::from_secs(30);
    while !field.coordinator.log_tail().contains("RP3032") {
        ensure!(
            Instant::now() < deadline,
            "an older coordinator says nothing:\n{}",
            field.coordinator.log_tail()
        );
        std::thread::sleep(Duration::from_millis(100));
    }
    std::thread::sleep(Duration::from_secs(3));
    let log = field.coordinator.log_tail();
    println!("{}", log.lines().find(|line| line.contains("RP3032")).unwrap_or_default());
    println!("{}", field.replank(&["why", &run.0])?);
    ensure!(
        field.replank(&["host", "list", "--json"])?.contains("\"linked\": false"),
        "the agent is linked to an older coordinator:\n{log}"
    );
    ensure!(ledger::entries(field.first()?)?.len() == entries, "the agent obeyed an older coordinator");
    field.coordinator.kill()?;

    std::fs::remove_dir_all(&directory)?;
    std::fs::rename(field.path("newer"), &directory)?;
    field.coordinator.start(&field.lab)?;
    field.wait_linked(Duration::from_secs(90))?;
    field.replank(&["abort", &run.0])?;
    field.wait(&run, LIMIT, "is aborted", |view| view.phase == Phase::Aborted)?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    std::fs::create_dir(to)?;
    for entry in std::fs::read_dir(from)? {
        let entry = entry?;
        std::fs::copy(entry.path(), to.join(entry.file_name()))?;
    }
    Ok(())
}
