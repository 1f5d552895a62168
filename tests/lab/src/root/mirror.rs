//! The package archive that this machine's own apt is configured for.

use crate::command::{command, must};
use crate::error::{LabError, Result};

/// Where Debian's packages come from here. The project names no mirror of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mirror {
    /// The URI of the main archive.
    pub archive: String,
    /// The URI of the security archive, when this machine uses one.
    pub security: Option<String>,
    /// `Acquire::…` options of this machine that its archive needs, each as apt's own configuration line.
    pub options: Vec<String>,
}

/// Options that say how to reach an archive and how old its files may be; others are the machine's own taste.
const OPTIONS: [&str; 6] = [
    "Acquire::http::",
    "Acquire::https::",
    "Acquire::Check-Valid-Until",
    "Acquire::Check-Date",
    "Acquire::Retries",
    "Acquire::ForceIPv4",
];

impl Mirror {
    /// Reads the machine's apt configuration.
    ///
    /// # Errors
    /// When apt cannot be asked, or none of its sources is Debian's archive (its lists may never have been read).
    pub fn of_this_machine() -> Result<Self> {
        let targets = must(command(
            "apt-get",
            ["indextargets", "--format", "$(LABEL)|$(REPO_URI)", "Created-By: Packages"],
        ))?;
        let settings = must(command("apt-config", ["dump"]))?;
        Self::parse(&targets, &settings).ok_or_else(|| {
            LabError::Refused(
                "this machine's apt names no Debian archive; add one, run `apt-get update` and try again"
                    .to_owned(),
            )
        })
    }

    fn parse(targets: &str, settings: &str) -> Option<Self> {
        let labelled = |wanted: &str| {
            targets
                .lines()
                .filter_map(|line| line.split_once('|'))
                .find_map(|(label, uri)| (label == wanted).then(|| uri.trim_end_matches('/').to_owned()))
        };
        let options = settings
            .lines()
            .filter(|line| OPTIONS.iter().any(|name| line.starts_with(name)))
            // An empty value only opens a scope.
            .filter(|line| !line.ends_with("\"\";"))
            .map(|line| line.trim_end_matches(';').to_owned())
            .collect();
        Some(Self { archive: labelled("Debian")?, security: labelled("Debian-Security"), options })
    }

    /// apt source lines for a suite with its updates, and its security fixes where this machine has them.
    #[must_use]
    pub fn sources(&self, suite: &str) -> Vec<String> {
        let mut lines = vec![
            format!("deb {} {suite} main", self.archive),
            format!("deb {} {suite}-updates main", self.archive),
        ];
        if let Some(security) = &self.security {
            lines.push(format!("deb {security} {suite}-security main"));
        }
        lines
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "Debian|http://archive.example/debian/\nDebian|http://archive.example/debian/\n\
                           Debian-Security|http://archive.example/security/\n. nodistro|https://other.example/\n";

    #[test]
    fn the_archive_is_found_among_other_sources() {
        let mirror = Mirror::parse(TARGETS, "").unwrap();
        assert_eq!(
            mirror.sources("bookworm"),
            [
                "deb http://archive.example/debian bookworm main",
                "deb http://archive.example/debian bookworm-updates main",
                "deb http://archive.example/security bookworm-security main",
            ]
        );
        assert_eq!(Mirror::parse("Ubuntu|http://archive.example/ubuntu/\n", ""), None);
    }

    #[test]
    fn a_proxy_and_a_frozen_archive_are_carried_over_and_taste_is_not() {
        let settings = "Acquire::http \"\";\nAcquire::http::Proxy \"http://proxy.example:3128\";\n\
                        Acquire::Check-Date \"false\";\nAcquire::Languages:: \"none\";\nAPT::Install-Recommends \"1\";\n";
        assert_eq!(
            Mirror::parse(TARGETS, settings).unwrap().options,
            ["Acquire::http::Proxy \"http://proxy.example:3128\"", "Acquire::Check-Date \"false\""]
        );
    }
}
