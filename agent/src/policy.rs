//! The host's own policy: which actions this host lets anybody command at all.
//!
//! Owns `/etc/replank/policy.toml` and the answer to "may this be done here". It is the word of the host's owner, and
//! independent of the coordinator: no command changes it. Never looks at the host's state; the guard does.

use crate::codes;
use crate::toml_file::{self, BadFile, Source};
use replank_common::action::{Action, Family, Repository};
use replank_common::outcome::Refusal;
use serde::Deserialize;
use std::ops::Range;
use std::path::{Component, Path, PathBuf};
use toml::Spanned;

/// Where the policy lies when the configuration names no other place.
pub const PATH: &str = "/etc/replank/policy.toml";

/// Files that an upgrade of libvirt and qemu sets: libvirt's configuration, its daemon's arguments, what keeps package scripts
/// from restarting daemons.
const FILES: [&str; 6] = [
    "/etc/libvirt",
    "/etc/ceph",
    "/etc/default",
    "/etc/sysconfig",
    "/usr/sbin/policy-rc.d",
    "/etc/needrestart/conf.d",
];
/// Where relocated builds go.
const TREES: [&str; 1] = ["/opt/qemu"];
/// Any repository: which ones are good is the operator's knowledge, and packages are pinned to exact versions.
const REPOSITORIES: [&str; 4] = ["https://", "http://", "file:", "copy:"];

/// What may be done on this host. The default allows what an upgrade of libvirt and qemu in place needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Every action is refused.
    pub observe_only: bool,
    pub families: Vec<Family>,
    /// A file may be written when it is one of these or below one of these. Absolute, without `..`.
    pub files: Vec<PathBuf>,
    /// The same for trees.
    pub trees: Vec<PathBuf>,
    /// A repository may be added when its address begins with one of these.
    pub repositories: Vec<String>,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            observe_only: false,
            families: Family::ALL.to_vec(),
            files: FILES.iter().map(PathBuf::from).collect(),
            trees: TREES.iter().map(PathBuf::from).collect(),
            repositories: REPOSITORIES.iter().map(|&uri| uri.to_owned()).collect(),
        }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    #[serde(default)]
    observe_only: bool,
    #[serde(default)]
    allow: RawAllow,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawAllow {
    families: Option<Vec<Spanned<String>>>,
    files: Option<Vec<Spanned<String>>>,
    trees: Option<Vec<Spanned<String>>>,
    repositories: Option<Vec<Spanned<String>>>,
}

impl Policy {
    /// Reads the policy at `path`; the default when there is no file.
    ///
    /// # Errors
    /// [`BadFile`] with the line and column. A policy that cannot be read is no policy: the agent does not start with one.
    pub fn load(path: &Path) -> Result<Self, BadFile> {
        match toml_file::read(path, codes::POLICY_FILE)? {
            Some(text) => Self::parse(path, &text),
            None => Ok(Self::default()),
        }
    }

    /// Reads a policy from `text`; `path` is for messages.
    ///
    /// # Errors
    /// The first mistake.
    pub fn parse(path: &Path, text: &str) -> Result<Self, BadFile> {
        let source = Source { path, text, code: codes::POLICY_FILE };
        let raw: RawPolicy = source.parse()?;
        let default = Self::default();
        Ok(Self {
            observe_only: raw.observe_only,
            families: each(raw.allow.families, default.families, |word, at| {
                Family::ALL.into_iter().find(|family| family.as_str() == word).ok_or_else(|| {
                    let known = Family::ALL.map(Family::as_str).join(", ");
                    source.mistake(at, format!("`{word}` is no family of actions"), format!("use {known}"))
                })
            })?,
            files: each(raw.allow.files, default.files, |text, at| prefix(&source, text, at))?,
            trees: each(raw.allow.trees, default.trees, |text, at| prefix(&source, text, at))?,
            repositories: each(raw.allow.repositories, default.repositories, |uri, at| {
                if uri.contains(':') {
                    Ok(uri.to_owned())
                } else {
                    let problem = format!("`{uri}` is not the beginning of a repository's address");
                    Err(source.mistake(
                        at,
                        problem,
                        "write it with its scheme, such as `https://mirror.example/`",
                    ))
                }
            })?,
        })
    }

    /// Whether this host lets `action` be done.
    ///
    /// # Errors
    /// A refusal with the code RP41xx, the value that is not allowed, and the key that would allow it.
    pub fn permits(&self, action: &Action) -> Result<(), Refusal> {
        self.permits_change()?;
        let family = action.family();
        if !self.families.contains(&family) {
            return Err(refusal(
                codes::FAMILY_FORBIDDEN,
                format!("the policy of this host does not allow actions of the family {}", family.as_str()),
                format!(
                    "allow it in {PATH}, `allow.families`, and reload replank-agent; or leave this host out"
                ),
            ));
        }
        match action {
            Action::RepositoryPin(pin) => self.permits_repository(&pin.repository),
            Action::TreeInstall(install) => self.permits_tree(&install.prefix),
            Action::TreeTrial(trial) => self.permits_tree(&trial.emulator),
            Action::FileEdit(edit) => self.permits_file(&edit.path),
            Action::FileWrite(write) => self.permits_file(&write.path),
            // These write to the agent's own directory, or to what the package manager, systemd, libvirt and the cluster own.
            Action::TreeRetain(_)
            | Action::PackagesStage(_)
            | Action::PackagesInstall(_)
            | Action::UnitMask(_)
            | Action::UnitEnable(_)
            | Action::UnitDropIn(_)
            | Action::LibvirtTrial(_)
            | Action::LibvirtAnchor(_)
            | Action::LibvirtRestart(_)
            | Action::CephFlags(_)
            | Action::CephConfig(_)
            | Action::CephRestart(_)
            | Action::CephRequire(_)
            | Action::CephOwn(_) => Ok(()),
        }
    }

    /// Whether anything may be changed at all, taking back included.
    ///
    /// # Errors
    /// A refusal when the host is observed only.
    pub fn permits_change(&self) -> Result<(), Refusal> {
        if self.observe_only {
            return Err(refusal(
                codes::OBSERVE_ONLY,
                "the policy of this host allows no action at all, only readings".to_owned(),
                format!(
                    "set `observe_only = false` in {PATH} and reload replank-agent; or leave this host out"
                ),
            ));
        }
        Ok(())
    }

    fn permits_file(&self, path: &Path) -> Result<(), Refusal> {
        if below_any(path, &self.files) {
            return Ok(());
        }
        Err(refusal(
            codes::FILE_FORBIDDEN,
            format!("the policy of this host does not allow the file {}", path.display()),
            format!(
                "add the path or a directory above it in {PATH}, `allow.files`, and reload replank-agent"
            ),
        ))
    }

    fn permits_tree(&self, path: &Path) -> Result<(), Refusal> {
        if below_any(path, &self.trees) {
            return Ok(());
        }
        Err(refusal(
            codes::TREE_FORBIDDEN,
            format!("the policy of this host does not allow a tree at {}", path.display()),
            format!(
                "add the path or a directory above it in {PATH}, `allow.trees`, and reload replank-agent"
            ),
        ))
    }

    fn permits_repository(&self, repository: &Repository) -> Result<(), Refusal> {
        let uri = match repository {
            Repository::Apt { uri, .. } => uri,
            Repository::Rpm { base_url, .. } => base_url,
        };
        if self.repositories.iter().any(|prefix| uri.starts_with(prefix.as_str())) {
            return Ok(());
        }
        Err(refusal(
            codes::REPOSITORY_FORBIDDEN,
            format!("the policy of this host does not allow the repository {uri}"),
            format!(
                "add the beginning of its address in {PATH}, `allow.repositories`, and reload replank-agent"
            ),
        ))
    }
}

fn each<T>(
    items: Option<Vec<Spanned<String>>>,
    default: Vec<T>,
    read: impl Fn(&str, Range<usize>) -> Result<T, BadFile>,
) -> Result<Vec<T>, BadFile> {
    match items {
        Some(items) => items.iter().map(|item| read(item.get_ref().as_str(), item.span())).collect(),
        None => Ok(default),
    }
}

fn prefix(source: &Source<'_>, text: &str, at: Range<usize>) -> Result<PathBuf, BadFile> {
    let path = PathBuf::from(text);
    if plain(&path) {
        return Ok(path);
    }
    let problem = format!("`{text}` is not an absolute path without `.` and `..`");
    Err(source.mistake(at, problem, "write the whole path, such as `/etc/libvirt`"))
}

/// Absolute, and with nothing in it that steps back: only then does being below a prefix mean anything.
fn plain(path: &Path) -> bool {
    path.is_absolute()
        && path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)))
}

fn below_any(path: &Path, prefixes: &[PathBuf]) -> bool {
    plain(path) && prefixes.iter().any(|prefix| path.starts_with(prefix))
}

fn refusal(code: &str, reason: String, remedy: String) -> Refusal {
    Refusal { code: code.to_owned(), reason, remedy, findings: Vec::new() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use replank_common::action::{FileWrite, PackagePin, RepositoryPin, TreeInstall, UnitMask};
    use replank_common::facts::PackageManager;

    fn policy(text: &str) -> Policy {
        Policy::parse(Path::new("policy.toml"), text).unwrap()
    }

    fn mistake(text: &str) -> String {
        Policy::parse(Path::new("policy.toml"), text).unwrap_err().to_string()
    }

    fn write(path: &str) -> Action {
        Action::FileWrite(FileWrite {
            path: path.into(),
            contents: String::new(),
            mode: 0o644,
            replace: false,
        })
    }

    fn tree(prefix: &str) -> Action {
        Action::TreeInstall(TreeInstall {
            manager: PackageManager::Dnf,
            package: PackagePin { name: "qemu".into(), version: "10.0.2-1".into() },
            prefix: prefix.into(),
        })
    }

    fn pin(uri: &str) -> Action {
        Action::RepositoryPin(RepositoryPin {
            manager: PackageManager::Apt,
            name: "libvirt".into(),
            repository: Repository::Apt {
                uri: uri.into(),
                suite: "./".into(),
                components: vec![],
                options: vec![],
            },
            pins: vec![],
        })
    }

    fn mask() -> Action {
        Action::UnitMask(UnitMask { unit: "libvirt-guests.service".into(), runtime: false })
    }

    #[track_caller]
    fn refused(policy: &Policy, action: &Action, code: &str) {
        let refusal = policy.permits(action).unwrap_err();
        assert_eq!(refusal.code, code, "{refusal}");
        assert!(refusal.remedy.contains(PATH), "{refusal}");
    }

    #[test]
    fn the_default_allows_an_upgrade_in_place_and_not_the_rest_of_the_host() {
        let policy = Policy::default();
        assert_eq!(policy, Policy::parse(Path::new("x"), "").unwrap());
        for action in [
            write("/etc/libvirt/libvirtd.conf"),
            write("/usr/sbin/policy-rc.d"),
            write("/etc/needrestart/conf.d/replank.conf"),
            tree("/opt/qemu/10.0.2"),
            pin("copy:/srv/repo/apt"),
            pin("https://mirror.example/apt"),
            mask(),
        ] {
            policy.permits(&action).unwrap();
        }
        for path in [
            "/etc/shadow",
            "/etc/libvirtx",
            "/etc/libvirt/../shadow",
            "etc/libvirt/x",
            "/root/.ssh/authorized_keys",
        ] {
            refused(&policy, &write(path), codes::FILE_FORBIDDEN);
        }
        refused(&policy, &tree("/usr"), codes::TREE_FORBIDDEN);
        refused(&policy, &pin("ftp://mirror.example/"), codes::REPOSITORY_FORBIDDEN);
    }

    #[test]
    fn a_list_that_is_given_replaces_the_default() {
        let policy = policy(
            "[allow]\nfamilies = [\"files\", \"repositories\"]\nfiles = [\"/etc/ceph\"]\n\
             repositories = [\"https://mirror.example/\"]\n",
        );
        policy.permits(&write("/etc/ceph/ceph.conf")).unwrap();
        refused(&policy, &write("/etc/libvirt/libvirtd.conf"), codes::FILE_FORBIDDEN);
        refused(&policy, &mask(), codes::FAMILY_FORBIDDEN);
        refused(&policy, &pin("https://other.example/"), codes::REPOSITORY_FORBIDDEN);
        policy.permits(&pin("https://mirror.example/el7")).unwrap();
    }

    #[test]
    fn observing_is_one_setting() {
        let policy = policy("observe_only = true\n");
        for action in [write("/etc/libvirt/libvirtd.conf"), mask(), tree("/opt/qemu/10.0.2")] {
            refused(&policy, &action, codes::OBSERVE_ONLY);
        }
    }

    #[test]
    fn mistakes_say_where_and_what_to_do() {
        let text = mistake("[allow]\nfamilies = [\"files\", \"fils\"]\n");
        assert!(text.starts_with("policy.toml:2:22: RP4101 `fils` is no family of actions; use "), "{text}");
        let text = mistake("[allow]\nfiles = [\"/etc/../root\"]\n");
        assert!(
            text.starts_with("policy.toml:2:10: RP4101 `/etc/../root` is not an absolute path"),
            "{text}"
        );
        let text = mistake("[alow]\nfiles = []\n");
        assert!(text.starts_with("policy.toml:1:2: RP4101 unknown field `alow`"), "{text}");
        let text = mistake("observe_only = maybe\n");
        assert!(text.starts_with("policy.toml:1:16: RP4101 "), "{text}");
        let text = mistake("[allow]\nrepositories = [\"mirror\"]\n");
        assert!(text.contains("write it with its scheme"), "{text}");
    }

    #[test]
    fn a_policy_that_others_may_write_is_none() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("policy.toml");
        assert_eq!(Policy::load(&path).unwrap(), Policy::default());
        std::fs::write(&path, "observe_only = true\n").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o664)).unwrap();
        let error = Policy::load(&path).unwrap_err().to_string();
        assert!(error.contains("mode 0664") && error.contains("chmod go-w"), "{error}");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Policy::load(&path).unwrap().observe_only);
    }

    #[test]
    fn the_packaged_file_means_the_default() {
        let packaged = include_str!("../../packaging/policy.toml");
        assert_eq!(policy(packaged), Policy::default());
        let said = crate::config::tests::uncommented(packaged);
        assert_ne!(said, packaged);
        for key in ["\nobserve_only =", "\nfamilies =", "\nfiles =", "\ntrees =", "\nrepositories ="] {
            assert!(said.contains(key), "{key}");
        }
        assert_eq!(policy(&said), Policy::default());
    }
}
