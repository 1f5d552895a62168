//! The links that enabling, disabling or masking a unit touches, and giving exactly those back.
//!
//! What a unit's `[Install]` section names (systemd.unit(5)) is worked out before systemd is asked, because the record must be
//! written first; a link that systemd then makes beyond it is a failure, not a surprise at the undo.

use super::answer::{change, file_failure, foreign_record, refusal, systemd_failure};
use super::{ActError, Report};
use crate::codes;
use crate::host::Host;
use crate::host::files::{self, FileError, Side};
use crate::host::systemd::{SystemdError, UnitStatus};
use replank_common::undo::{FileBefore, FileChange, UndoRecord, UnitBefore};
use replank_conf::{Dialect, Document};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Where the administrator's links are.
pub(super) const SYSTEM: &str = "/etc/systemd/system";
/// Where links until the next boot are.
pub(super) const RUNTIME: &str = "/run/systemd/system";

/// A unit and those that its `Also=` brings, with what systemd says of each.
pub(super) fn with_also(host: &Host, unit: &str) -> Result<Vec<UnitStatus>, SystemdError> {
    let mut found: Vec<UnitStatus> = Vec::new();
    let mut wanted = vec![unit.to_owned()];
    while let Some(name) = wanted.pop() {
        if found.iter().any(|status| status.name == name) {
            continue;
        }
        let status = host.systemd.status(&name)?;
        wanted.extend(install(host, &status).also);
        found.push(status);
    }
    Ok(found)
}

/// The `[Install]` section that counts, drop-ins included.
#[derive(Debug, Default)]
struct Install {
    /// Links below [`SYSTEM`], relative.
    links: Vec<PathBuf>,
    also: Vec<String>,
}

fn install(host: &Host, status: &UnitStatus) -> Install {
    let mut install = Install::default();
    for file in status.fragment.iter().chain(&status.drop_ins) {
        // A unit file that cannot be read has no links that we could know of; systemd will refuse it too.
        let Ok(bytes) = std::fs::read(host.at(file)) else { continue };
        let document = Document::parse(Dialect::Systemd, &bytes);
        let words = |key: &str| -> Vec<String> {
            let found = document.get_all(Some("Install"), key);
            let texts = found.iter().filter_map(|f| f.text());
            texts.flat_map(|text| text.split_whitespace().map(str::to_owned)).collect()
        };
        for (key, suffix) in [("WantedBy", "wants"), ("RequiredBy", "requires"), ("UpheldBy", "upholds")] {
            let targets = words(key);
            install
                .links
                .extend(targets.iter().map(|t| Path::new(&format!("{t}.{suffix}")).join(&status.name)));
        }
        install.links.extend(words("Alias").iter().map(PathBuf::from));
        install.also.extend(words("Also"));
    }
    install
}

/// The links that enabling these units makes: path and predicted target.
pub(super) fn made_by_enabling(host: &Host, units: &[UnitStatus]) -> Vec<(PathBuf, PathBuf)> {
    let mut links = Vec::new();
    for status in units {
        let Some(fragment) = &status.fragment else { continue };
        for link in install(host, status).links {
            links.push((Path::new(SYSTEM).join(link), fragment.clone()));
        }
    }
    links
}

/// The links below [`SYSTEM`] that belong to these units now: those that disabling removes.
pub(super) fn present(host: &Host, units: &[UnitStatus]) -> Vec<PathBuf> {
    let names: BTreeSet<&str> = units.iter().map(|status| status.name.as_str()).collect();
    let base = host.at(SYSTEM);
    let mut links: Vec<PathBuf> = walkdir::WalkDir::new(&base)
        .max_depth(2)
        .into_iter()
        .filter_map(Result::ok)
        .filter(|entry| entry.path_is_symlink())
        .filter(|entry| {
            let target = std::fs::read_link(entry.path()).unwrap_or_default();
            let named =
                |path: &Path| path.file_name().and_then(|n| n.to_str()).is_some_and(|n| names.contains(n));
            named(entry.path()) || named(&target)
        })
        .filter_map(|entry| entry.path().strip_prefix(&base).ok().map(|below| Path::new(SYSTEM).join(below)))
        .collect();
    links.sort();
    links
}

/// The record of what is at these links now. `None` for the target: replank removes the link.
pub(super) fn record(
    host: &Host,
    status: &UnitStatus,
    links: &[(PathBuf, Option<PathBuf>)],
) -> Result<UnitBefore, FileError> {
    let links = links
        .iter()
        .map(|(path, target)| files::change_of(host, path, target.as_deref().map(files::link_digest)))
        .collect::<Result<_, _>>()?;
    Ok(UnitBefore {
        unit: status.name.clone(),
        file_state: status.file_state.clone(),
        active_state: status.active_state.clone(),
        links,
    })
}

/// Puts the links back as they were, and has systemd read them.
pub(super) fn give_back(host: &Host, kind: &str, record: &UndoRecord) -> Result<Report, ActError> {
    let UndoRecord::Unit(before) = record else { return Err(foreign_record(kind)) };
    let failed = |e: FileError| ActError::Failed(file_failure(&e));
    let links: Vec<FileChange> = before
        .links
        .iter()
        .map(|link| as_systemd_wrote_it(host, link))
        .collect::<Result<_, _>>()
        .map_err(failed)?;
    let restored = files::give_back(host, &links).map_err(failed)?;
    if let Some((path, found)) = restored.foreign.first() {
        return Err(ActError::Refused(refusal(
            codes::UNIT_LINK,
            format!(
                "the link {} of `{}` was changed by somebody else since: {found}",
                path.display(),
                before.unit
            ),
            "put the unit's links back by hand with systemctl, then retry",
        )));
    }
    host.boundary.reached("unit: links given back");
    // Also when nothing was left to put back: a crash may have come between the links and this.
    host.systemd.reload().map_err(|e| ActError::Failed(systemd_failure(&e)))?;
    let changes = restored
        .paths
        .iter()
        .map(|path| change(path.display().to_string(), "as replank left it", "as it was"))
        .collect();
    Ok(Report { changes, findings: Vec::new() })
}

/// systemd chooses how to spell a link's target (`/lib` or `/usr/lib`, absolute or not). A link to a unit file of the predicted name
/// is what systemd wrote for us, whatever the spelling.
fn as_systemd_wrote_it(host: &Host, link: &FileChange) -> Result<FileChange, FileError> {
    let mut link = link.clone();
    if link.after_sha256.is_none() || !matches!(files::standing(host, &link)?, Side::Foreign(_)) {
        return Ok(link);
    }
    if let FileBefore::Symlink { target } = files::look(host, &link.path)? {
        let unit_file = |path: &Path| path.file_name().map(ToOwned::to_owned);
        if unit_file(&target) == unit_file(&link.path) {
            link.after_sha256 = Some(files::link_digest(&target));
        }
    }
    Ok(link)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::actions::testing;

    #[test]
    fn links_of_a_unit_and_of_what_it_brings_are_known_beforehand() {
        let world = testing::World::new();
        world.file(
            "/lib/systemd/system/a.socket",
            "[Install]\nWantedBy=sockets.target\nAlias=b.socket\nAlso=c.service\n",
        );
        world.file(
            "/lib/systemd/system/c.service",
            "[Install]\nWantedBy=multi-user.target other.target\nAlso=a.socket\n",
        );
        world.unit_file("a.socket", "/lib/systemd/system/a.socket");
        world.unit_file("c.service", "/lib/systemd/system/c.service");
        let units = with_also(&world.host, "a.socket").unwrap();
        let links: Vec<String> = made_by_enabling(&world.host, &units)
            .iter()
            .map(|(path, _)| path.display().to_string())
            .collect();
        assert_eq!(
            links,
            [
                "/etc/systemd/system/sockets.target.wants/a.socket",
                "/etc/systemd/system/b.socket",
                "/etc/systemd/system/multi-user.target.wants/c.service",
                "/etc/systemd/system/other.target.wants/c.service",
            ]
        );
    }
}
