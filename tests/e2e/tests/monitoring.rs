//! The rules and the dashboard speak of series that the code serves. Needs no host; whether the series are really there is `lab_metrics`.

use anyhow::{Context, Result, ensure};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every word of a text that names a series of replank's own, recorded ones left out.
fn series(text: &str) -> BTreeSet<String> {
    text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':')
        .filter(|word| word.starts_with("replank_"))
        .map(str::to_owned)
        .collect()
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(root().join(path)).with_context(|| path.to_owned())
}

/// Every string literal of the files that register metrics.
fn registered() -> Result<BTreeSet<String>> {
    let mut literals = BTreeSet::new();
    for place in ["agent/src/metrics", "coordinator/src/serve"] {
        for entry in std::fs::read_dir(root().join(place)).with_context(|| place.to_owned())? {
            let text = std::fs::read_to_string(entry?.path())?;
            literals.extend(text.split('"').skip(1).step_by(2).map(str::to_owned));
        }
    }
    Ok(literals)
}

#[test]
fn rules_and_dashboard_name_what_the_code_serves() -> Result<()> {
    let registered = registered()?;
    for file in ["packaging/prometheus/replank.rules.yml", "packaging/grafana/replank.json"] {
        let names = series(&read(file)?);
        ensure!(names.len() >= 10, "{file} names only {names:?}");
        for name in names {
            let stem = name.trim_start_matches("replank_");
            // What the exposition adds: the kind and the unit.
            let known = ["", "_total", "_seconds", "_info"]
                .iter()
                .any(|tail| stem.strip_suffix(tail).is_some_and(|stem| registered.contains(stem)));
            ensure!(known, "{file} speaks of {name}, which neither agent nor coordinator serves");
        }
    }
    Ok(())
}

#[test]
fn the_dashboard_is_json_and_uses_recorded_series_that_are_recorded() -> Result<()> {
    let dashboard: serde_json::Value = serde_json::from_str(&read("packaging/grafana/replank.json")?)?;
    let panels = dashboard["panels"].as_array().context("the dashboard has no panels")?;
    let rules = read("packaging/prometheus/replank.rules.yml")?;
    let mut recorded = 0;
    for expression in panels.iter().filter_map(|panel| panel["targets"].as_array()).flatten() {
        let text = expression["expr"].as_str().context("a target without an expression")?;
        for word in text.split_whitespace().filter(|word| word.starts_with("replank:")) {
            ensure!(rules.contains(&format!("record: {word}\n")), "{word} is not recorded");
            recorded += 1;
        }
    }
    ensure!(recorded >= 3, "only {recorded} recorded series are shown");
    Ok(())
}
