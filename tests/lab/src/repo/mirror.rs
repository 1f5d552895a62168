//! Where this machine's apt gets Debian from. Pure: text of `apt-get indextargets` and `apt-config dump` in, values out.

use super::RepoError;

/// What `apt-get indextargets` is asked to print, one line per index; read by [`find`].
pub(super) const FORMAT: &str = "$(CODENAME)|$(RELEASE)|$(COMPONENT)|$(REPO_URI)";

/// The address of the archive that serves `suite` and `component` to this machine, as apt writes it.
///
/// An index that was never fetched has no code name yet, so the suite as the source line spells it counts as well.
/// The first source wins, as in apt.
///
/// # Errors
/// [`RepoError::NoMirror`]: no source of the machine serves it.
pub fn find(targets: &str, suite: &str, component: &str) -> Result<String, RepoError> {
    targets
        .lines()
        .filter_map(|line| {
            let mut fields = line.split('|');
            Some((fields.next()?, fields.next()?, fields.next()?, fields.next()?))
        })
        .find(|(codename, release, comp, _)| (*codename == suite || *release == suite) && *comp == component)
        .map(|(_, _, _, uri)| uri.to_owned())
        .ok_or_else(|| RepoError::NoMirror { suite: suite.to_owned(), component: component.to_owned() })
}

/// The machine's own transport settings (proxies, time-outs, verification) out of `apt-config dump`.
///
/// Settings of what is fetched beside the package indexes are left out: the lab needs the package indexes only.
pub fn transport_settings(dump: &str) -> String {
    dump.lines()
        .filter(|line| line.starts_with("Acquire::") && !line.starts_with("Acquire::IndexTargets"))
        .map(|line| format!("{line}\n"))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TARGETS: &str = "\
bookworm|bookworm|contrib|http://mirror.example/debian/
bookworm|oldstable|main|http://mirror.example/debian/
bookworm-security|bookworm-security|main|http://mirror.example/security/
|sid|main|http://unfetched.example/debian/
";

    #[test]
    fn the_suite_is_found_by_codename_or_as_spelled() {
        assert_eq!(find(TARGETS, "bookworm", "main").unwrap(), "http://mirror.example/debian/");
        assert_eq!(find(TARGETS, "sid", "main").unwrap(), "http://unfetched.example/debian/");
    }

    #[test]
    fn a_missing_suite_is_named() {
        let text = find(TARGETS, "trixie", "main").unwrap_err().to_string();
        assert!(text.contains("`trixie`") && text.contains("`main`"), "{text}");
    }

    #[test]
    fn only_transport_settings_are_taken_over() {
        let dump = "APT::Architecture \"amd64\";\nAcquire \"\";\nAcquire::http::Proxy \"http://p:3128\";\n\
                    Acquire::IndexTargets::deb::DEP-11 \"x\";\nDir::State \"var/lib/apt\";\n";
        assert_eq!(transport_settings(dump), "Acquire::http::Proxy \"http://p:3128\";\n");
    }
}
