//! What Prometheus would see: real expositions of a real voyage, read by Prometheus' own library, and the rules over them.

use anyhow::{Context, Result, bail, ensure};
use replank_e2e::{Field, FieldSpec, Fleet, Promtool};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

const COORDINATOR: &str = "127.0.0.1:9748";
const AGENT: &str = "http://127.0.0.1:9749/metrics";

/// Strict: the names of samples, their order, their types and units, the help of each family and the end of the exposition.
const READER: &str = r"
import sys
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read
text = sys.stdin.read()
count = 0
for family in read(text):
    assert family.documentation, family.name + ' has no help'
    for sample in family.samples:
        print(sample.name)
        count += 1
assert count > 10, 'only %d samples' % count
";

/// A run that waits at its first hold, so that the series of runs and actions are there as well.
#[test]
fn expositions_are_clean_and_have_what_the_rules_need() -> Result<()> {
    let field = Field::up(&FieldSpec::new("t-metrics", 1, 2))?;
    let plan = field.plan(&Fleet::default())?;
    let run = field.apply(&plan)?;
    field.sail_to_hold(&run, "before-canary", Duration::from_secs(200))?;

    let agent = field.first()?.must(&["curl", "-s", "--fail", AGENT])?;
    let coordinator = field.lab.within(|| Ok(get(COORDINATOR)))??;
    let mut names = read_as_prometheus_does(&agent)?;
    names.extend(read_as_prometheus_does(&coordinator)?);
    println!("agent: {} lines, coordinator: {} lines", agent.lines().count(), coordinator.lines().count());

    let rules = packaging("prometheus/replank.rules.yml");
    let text = std::fs::read_to_string(&rules)?;
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    for name in words.filter(|word| word.starts_with("replank_")) {
        // A counter that nothing was counted in yet has no sample, only its help.
        let helped = [&agent, &coordinator]
            .iter()
            .any(|text| text.contains(&format!("# HELP {} ", name.trim_end_matches("_total"))));
        ensure!(
            helped || names.iter().any(|known| known == name),
            "the rules need {name}, which nobody serves"
        );
    }
    ensure!(agent.contains("replank_guests{qemu_version=\"7.2"), "no guests by qemu:\n{agent}");
    ensure!(agent.contains("\nreplank_link_up 1"), "the link is not up:\n{agent}");
    ensure!(coordinator.contains("replank_runs{phase=\"at-hold\"} 1"), "no run at a hold:\n{coordinator}");

    let promtool = Promtool::find()?;
    print!("{}", promtool.rules("check", &rules)?);
    print!("{}", promtool.rules("test", &packaging("prometheus/replank.rules.test.yml"))?);
    field.replank(&["abort", &run.0])?;
    field.print_gaps(&[])
}

fn packaging(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../packaging").join(path)
}

/// The names of the samples.
fn read_as_prometheus_does(exposition: &str) -> Result<Vec<String>> {
    let mut process = Command::new("/usr/bin/python3")
        .args(["-c", READER])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start python3")?;
    let mut input = process.stdin.take().context("python3 has no input")?;
    input.write_all(exposition.as_bytes())?;
    drop(input);
    let output = process.wait_with_output()?;
    if !output.status.success() {
        bail!("the exposition does not read: {}\n{exposition}", String::from_utf8_lossy(&output.stderr));
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().map(str::to_owned).collect())
}

/// The body of `GET /metrics`.
fn get(address: &str) -> Result<String> {
    let mut stream = TcpStream::connect(address).context("the coordinator serves no metrics")?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: coordinator\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, body) = answer.split_once("\r\n\r\n").context("no body")?;
    ensure!(head.starts_with("HTTP/1.1 200"), "{head}");
    Ok(body.to_owned())
}
