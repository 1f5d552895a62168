//! Say, then mean: what the files of settings come to.

use crate::config::Config;
use crate::failure::Failure;
use crate::link::IdentityFiles;
use crate::policy::Policy;
use replank_common::action::Family;
use std::path::{Path, PathBuf};

/// Reads configuration and policy; gives what they mean.
pub(super) fn say(path: &Path) -> Result<String, Failure> {
    let config = Config::load(path)?;
    let policy = Policy::load(&config.policy)?;
    Ok(mean(path, &config, &policy))
}

fn mean(path: &Path, config: &Config, policy: &Policy) -> String {
    let mut lines = vec![format!("{} and its drop-ins:", path.display())];
    lines.push(format!("  this host is {}", config.host));
    lines.push(match &config.coordinator {
        Some(address) => format!("  its coordinator is at {address}"),
        None => "  no coordinator is named; `replank-agent enrol` names one".to_owned(),
    });
    let identity = IdentityFiles::below(&config.state_directory).identity();
    let there = if identity.exists() { "is" } else { "would be" };
    lines.push(format!("  its identity {there} in {}", identity.display()));
    lines.push(format!(
        "  the ledger and what is kept for guests are in {}",
        config.state_directory.display()
    ));
    lines.push(match config.metrics {
        Some(address) => format!("  metrics are served at http://{address}/metrics"),
        None => "  no metrics are served".to_owned(),
    });
    let absent = if config.policy.exists() { "" } else { ", which is not there: the defaults count" };
    lines.push(format!("{}{absent}:", config.policy.display()));
    if policy.observe_only {
        lines.push("  every action is refused: this host is observed only".to_owned());
    } else {
        lines.push(match families(&policy.families) {
            (allowed, _) if allowed.is_empty() => "  no family of actions is allowed".to_owned(),
            (allowed, refused) if refused.is_empty() => format!("  allowed: {}", allowed.join(", ")),
            (allowed, refused) => {
                format!("  allowed: {}; refused: {}", allowed.join(", "), refused.join(", "))
            }
        });
        lines.push(below("files may be written", &policy.files));
        lines.push(below("trees may be put", &policy.trees));
        lines.push(match policy.repositories.as_slice() {
            [] => "  no repository may be added".to_owned(),
            some => format!("  repositories may be added whose address begins with {}", some.join(", ")),
        });
    }
    lines.join("\n") + "\n"
}

fn families(allowed: &[Family]) -> (Vec<&'static str>, Vec<&'static str>) {
    Family::ALL.into_iter().map(|family| (family, family.as_str())).fold(
        (Vec::new(), Vec::new()),
        |(mut yes, mut no), (family, word)| {
            if allowed.contains(&family) {
                yes.push(word)
            } else {
                no.push(word)
            }
            (yes, no)
        },
    )
}

fn below(what: &str, paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path| path.display().to_string()).collect();
    if paths.is_empty() {
        format!("  no {what}")
    } else {
        format!("  {what} at or below {}", paths.join(", "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_are_said_in_sentences() {
        let directory = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| std::fs::write(directory.path().join(name), text).unwrap();
        let policy = directory.path().join("policy.toml");
        let agent = format!("host = \"compute1\"\nmetrics = \"off\"\npolicy = \"{}\"\n", policy.display());
        file("agent.toml", &agent);
        file("policy.toml", "[allow]\nfamilies = [\"files\", \"units\"]\ntrees = []\n");
        let said = say(&directory.path().join("agent.toml")).unwrap();
        for sentence in [
            "  this host is compute1\n",
            "  no coordinator is named; `replank-agent enrol` names one\n",
            "  no metrics are served\n",
            "  allowed: files, units; refused: repositories, packages, trees, libvirt, ceph\n",
            "  no trees may be put\n",
            "  files may be written at or below /etc/libvirt, ",
        ] {
            assert!(said.contains(sentence), "{sentence} in:\n{said}");
        }
        file("policy.toml", "observe_only = true\n");
        let said = say(&directory.path().join("agent.toml")).unwrap();
        assert!(said.contains("  every action is refused: this host is observed only\n"), "{said}");
        file("policy.toml", "observe_only = 1\n");
        assert!(say(&directory.path().join("agent.toml")).unwrap_err().to_string().contains("RP4101"));
    }
}
