//! `[[repository]]`, `[qemu]`, `[libvirt]`, `[libvirt.tcp]`; what `[ceph]` has in common with them.

use super::super::mistake::Notebook;
use super::super::model::{LibvirtTarget, LibvirtTcp, Listen, OPEN_TCP_SENTENCE, QemuTarget, TcpAuth};
use super::super::raw::{RawLibvirt, RawPackage, RawQemu, RawRepository, RawTcp};
use super::read::{Section, sections, word};
use crate::codes;
use replank_common::action::{PackagePin, Repository};
use replank_common::version::Version;
use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::path::{Component, Path, PathBuf};
use toml::Spanned;

/// libvirt's own ports (libvirtd.conf, `tcp_port` and `tls_port`).
const TCP_PORT: u16 = 16509;
const TLS_PORT: u16 = 16514;

pub(super) type Repositories = BTreeMap<String, Repository>;

pub(super) fn repositories(
    raw: Vec<Spanned<RawRepository>>,
    notes: &mut Notebook<'_>,
) -> Option<Repositories> {
    if raw.is_empty() {
        if !notes.is_excused("repository") {
            let remedy =
                "add `[[repository]]` with `name`, `kind = \"apt\"` or `kind = \"rpm\"`, and where it is";
            let problem = "there is no `[[repository]]` to take packages from";
            notes.note(0..0, codes::FLEET_MISSING, "repository", problem, remedy);
        }
        return None;
    }
    let mut found = Repositories::new();
    let mut whole = true;
    for (index, raw) in raw.into_iter().enumerate() {
        let at = raw.span();
        let mut section = Section::new(format!("repository[{}]", index + 1), at.clone(), notes);
        let Some((name, repository)) = repository(raw.into_inner(), &mut section) else {
            whole = false;
            continue;
        };
        if found.insert(name.clone(), repository).is_some() {
            let problem = format!("a repository `{name}` is there already");
            section.wrong(at, codes::FLEET_TWICE, "name", problem, "give each its own name");
        }
    }
    whole.then_some(found)
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Apt,
    Rpm,
}

fn repository(raw: RawRepository, section: &mut Section<'_, '_>) -> Option<(String, Repository)> {
    let RawRepository { name, kind, uri, suite, components, options, base_url, gpg_check, gpg_key } = raw;
    let name =
        section.text("name", name, "name = \"libvirt\"").and_then(|name| repository_name(name, section));
    let kind = section.text("kind", kind, "kind = \"apt\"")?;
    let kind =
        word(&section.subject("kind"), &kind, &[("apt", Kind::Apt), ("rpm", Kind::Rpm)], section.notes)?;

    let texts = [("uri", &uri), ("suite", &suite), ("base_url", &base_url), ("gpg_key", &gpg_key)];
    let lists = [("components", &components), ("options", &options)];
    let foreign: &[&str] = match kind {
        Kind::Apt => &["base_url", "gpg_check", "gpg_key"],
        Kind::Rpm => &["uri", "suite", "components", "options"],
    };
    let spans = texts
        .iter()
        .filter_map(|(key, text)| text.as_ref().map(|text| (*key, text.span())))
        .chain(lists.iter().filter_map(|(key, list)| {
            list.as_ref().and_then(|list| list.first()).map(|first| (*key, first.span()))
        }))
        .chain(gpg_check.as_ref().map(|check| ("gpg_check", check.span())));
    let mut whole = true;
    for (key, at) in spans.collect::<Vec<_>>() {
        if foreign.contains(&key) {
            let problem = "repositories of this kind have no such key";
            section.wrong(at, codes::FLEET_CONTRADICTION, key, problem, "remove it, or change `kind`");
            whole = false;
        }
    }

    let plain = |list: Option<Vec<Spanned<String>>>| {
        list.unwrap_or_default().into_iter().map(Spanned::into_inner).collect::<Vec<_>>()
    };
    let repository = match kind {
        Kind::Apt => {
            let uri = section.text("uri", uri, "uri = \"https://packages.example/debian\"");
            let suite = section.text("suite", suite, "suite = \"bookworm-backports\"");
            Repository::Apt {
                uri: one_line("uri", uri?, section)?,
                suite: one_line("suite", suite?, section)?,
                components: plain(components),
                options: plain(options),
            }
        }
        Kind::Rpm => {
            let base_url = section.text("base_url", base_url, "base_url = \"https://packages.example/el7/\"");
            Repository::Rpm {
                base_url: one_line("base_url", base_url?, section)?,
                gpg_check: gpg_check.is_none_or(Spanned::into_inner),
                gpg_key: gpg_key.map(Spanned::into_inner),
            }
        }
    };
    whole.then_some((name?, repository))
}

/// It becomes part of the names of the files that the repository is written to, so it has no dots.
fn repository_name(typed: Spanned<String>, section: &mut Section<'_, '_>) -> Option<String> {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    if typed.get_ref().len() <= 64 && typed.get_ref().bytes().all(good) {
        return Some(typed.into_inner());
    }
    let problem = format!("`{}` cannot be part of a file name", typed.get_ref());
    let remedy = "use at most 64 lower-case letters, digits and hyphens";
    section.wrong(typed.span(), codes::FLEET_NAME, "name", problem, remedy);
    None
}

/// A value that stands alone on a line of a repository file.
fn one_line(key: &str, typed: Spanned<String>, section: &mut Section<'_, '_>) -> Option<String> {
    if typed.get_ref().chars().any(|c| c.is_whitespace() || c.is_control()) {
        section.wrong(typed.span(), codes::FLEET_NAME, key, "it has white space in it", "write it without");
        return None;
    }
    Some(typed.into_inner())
}

pub(super) fn known_repository(
    typed: Option<Spanned<String>>,
    repositories: Option<&Repositories>,
    section: &mut Section<'_, '_>,
) -> Option<String> {
    let typed = section.text("repository", typed, "repository = \"name of a [[repository]]\"")?;
    let missing = repositories.is_some_and(|known| !known.contains_key(typed.get_ref()));
    if missing {
        let problem = format!("no `[[repository]]` is named `{}`", typed.get_ref());
        section.wrong(typed.span(), codes::FLEET_REFERENCE, "repository", problem, "name one of the file's");
        return None;
    }
    Some(typed.into_inner())
}

pub(super) fn pin(raw: RawPackage, section: &mut Section<'_, '_>) -> Option<PackagePin> {
    let name = section.text("name", raw.name, "name = \"libvirt-daemon\"");
    let name = name.and_then(|name| section.package_name("name", name));
    let version = section.text("version", raw.version, "version = \"11.3.0-2~bpo12+1\"");
    let version = version.and_then(|version| section.exact_version("version", version));
    Some(PackagePin { name: name?, version: version? })
}

pub(super) fn set(list: Option<Vec<Spanned<String>>>) -> BTreeSet<String> {
    list.unwrap_or_default().into_iter().map(Spanned::into_inner).collect()
}

pub(super) fn qemu(
    raw: Option<Spanned<RawQemu>>,
    repositories: Option<&Repositories>,
    notes: &mut Notebook<'_>,
) -> Option<QemuTarget> {
    let (raw, at) = sections(raw, "qemu", notes)?;
    let RawQemu { version, repository, package, prefix, bin_directory, build_has } = raw;
    let mut section = Section::new("qemu", at, notes);
    let version = section.text("version", version, "version = \"10.0.2\"");
    let version = version.and_then(|version| section.exact_version("version", version)).map(Version::new);
    let repository = known_repository(repository, repositories, &mut section);
    let prefix = section.text("prefix", prefix, "prefix = \"/opt/qemu/10.0.2\"");
    let prefix = prefix.and_then(|prefix| own_directory(prefix, &mut section));
    let bin_directory = match (bin_directory, &prefix) {
        (None, prefix) => prefix.as_ref().map(|prefix| prefix.join("bin")),
        (Some(typed), Some(prefix)) => below(typed, prefix, &mut section),
        (Some(_), None) => None,
    };
    let package = match package {
        Some(package) => {
            let at = package.span();
            pin(package.into_inner(), &mut Section::new("qemu.package", at, section.notes))
        }
        None => {
            section.missing("package", "package = { name = \"qemu-10.0.2\", version = \"10.0.2-1\" }");
            None
        }
    };
    Some(QemuTarget {
        version: version?,
        repository: repository?,
        package: package?,
        prefix: prefix?,
        bin_directory: bin_directory?,
        build_has: set(build_has),
    })
}

fn is_plain_absolute(path: &Path) -> bool {
    let mut components = path.components();
    components.next() == Some(Component::RootDir) && components.all(|c| matches!(c, Component::Normal(_)))
}

/// A directory that can be the relocated build's alone: absolute, and none of the system's own.
fn own_directory(typed: Spanned<String>, section: &mut Section<'_, '_>) -> Option<PathBuf> {
    let path = PathBuf::from(typed.get_ref().trim_end_matches('/'));
    let shared =
        ["/usr", "/bin", "/sbin", "/lib", "/lib64", "/etc", "/var", "/run", "/boot", "/proc", "/sys", "/dev"];
    let depth = path.components().count();
    let problem = if !is_plain_absolute(&path) {
        "it must be an absolute path without `.` and `..`"
    } else if depth < 3 || shared.iter().any(|shared| path.starts_with(shared)) {
        "it must be a directory that nothing else uses"
    } else {
        return Some(path);
    };
    let remedy = "write something like `/opt/qemu/10.0.2`, one directory a build";
    section.wrong(typed.span(), codes::FLEET_PATH, "prefix", problem, remedy);
    None
}

fn below(typed: Spanned<String>, prefix: &Path, section: &mut Section<'_, '_>) -> Option<PathBuf> {
    let path = PathBuf::from(typed.get_ref().trim_end_matches('/'));
    if is_plain_absolute(&path) && path.starts_with(prefix) {
        return Some(path);
    }
    let problem = format!("`{}` is not below the prefix `{}`", path.display(), prefix.display());
    let remedy = "write the absolute path of the directory with the new emulators";
    section.wrong(typed.span(), codes::FLEET_PATH, "bin_directory", problem, remedy);
    None
}

pub(super) fn libvirt(
    raw: Option<Spanned<RawLibvirt>>,
    repositories: Option<&Repositories>,
    notes: &mut Notebook<'_>,
) -> Option<LibvirtTarget> {
    let (raw, at) = sections(raw, "libvirt", notes)?;
    let RawLibvirt { repository, packages, build_has, tcp } = raw;
    let mut section = Section::new("libvirt", at, notes);
    let repository = known_repository(repository, repositories, &mut section);
    let packages = match packages {
        Some(packages) if !packages.is_empty() => Some(packages),
        Some(_) | None => {
            section.missing("packages", "packages = [{ name = \"libvirt-daemon\", version = \"…\" }, …]");
            None
        }
    };
    let packages = packages.and_then(|packages| pins("libvirt", packages, section.notes));
    let tcp = match tcp {
        Some(raw) => {
            let at = raw.span();
            tcp_of(raw.into_inner(), &mut Section::new("libvirt.tcp", at, section.notes)).map(Some)
        }
        None => Some(None),
    };
    Some(LibvirtTarget { repository: repository?, packages: packages?, build_has: set(build_has), tcp: tcp? })
}

/// The packages of the section `of`, sorted by name.
pub(super) fn pins(
    of: &str,
    raw: Vec<Spanned<RawPackage>>,
    notes: &mut Notebook<'_>,
) -> Option<Vec<PackagePin>> {
    let mut found: BTreeMap<String, PackagePin> = BTreeMap::new();
    let mut whole = true;
    for (index, raw) in raw.into_iter().enumerate() {
        let at = raw.span();
        let mut section = Section::new(format!("{of}.packages[{}]", index + 1), at.clone(), notes);
        let Some(pin) = pin(raw.into_inner(), &mut section) else {
            whole = false;
            continue;
        };
        let name = pin.name.clone();
        if found.insert(name.clone(), pin).is_some() {
            let problem = format!("`{name}` is in the list already");
            section.wrong(at, codes::FLEET_TWICE, "name", problem, "keep the version that is meant");
        }
    }
    whole.then(|| found.into_values().collect())
}

fn tcp_of(raw: RawTcp, section: &mut Section<'_, '_>) -> Option<LibvirtTcp> {
    let RawTcp { listen_address, port, auth, acknowledge } = raw;
    let listen = match listen_address {
        None => Some(Listen::OwnAddress),
        Some(typed) => match typed.get_ref().parse::<IpAddr>() {
            Ok(ip) if ip.is_unspecified() => Some(Listen::Everywhere(ip)),
            Ok(_) | Err(_) => {
                let problem = format!("`{}` cannot be the address of every host", typed.get_ref());
                let remedy =
                    "leave it out, then each host listens on its own `address`; or write `0.0.0.0` or `::`";
                section.wrong(typed.span(), codes::FLEET_ADDRESS, "listen_address", problem, remedy);
                None
            }
        },
    };
    let known = [("sasl", TcpAuth::Sasl), ("tls", TcpAuth::Tls), ("none", TcpAuth::None)];
    let auth_at = auth.as_ref().map_or(0..0, Spanned::span);
    let auth = section.text("auth", auth, "auth = \"sasl\"");
    let auth = auth.and_then(|auth| word(&section.subject("auth"), &auth, &known, section.notes))?;
    let acknowledged = acknowledge.as_ref().is_some_and(|typed| typed.get_ref() == OPEN_TCP_SENTENCE);
    if auth == TcpAuth::None && !acknowledged {
        let at = acknowledge.as_ref().map_or(auth_at, Spanned::span);
        let problem =
            "without authentication, whoever reaches the port commands libvirtd, which runs as root";
        let remedy =
            format!("use \"sasl\" or \"tls\"; or accept it with `acknowledge = \"{OPEN_TCP_SENTENCE}\"`");
        section.wrong(at, codes::FLEET_OPEN_TCP, "auth", problem, remedy);
        return None;
    }
    if let (Some(typed), TcpAuth::Sasl | TcpAuth::Tls) = (&acknowledge, auth) {
        let problem = "it accepts what `auth` does not ask for";
        section.wrong(typed.span(), codes::FLEET_CONTRADICTION, "acknowledge", problem, "remove it");
    }
    let default_port = match auth {
        TcpAuth::Tls => TLS_PORT,
        TcpAuth::Sasl | TcpAuth::None => TCP_PORT,
    };
    let port = match port {
        Some(typed) if *typed.get_ref() == 0 => {
            section.wrong(
                typed.span(),
                codes::FLEET_RANGE,
                "port",
                "0 is no port",
                format!("write {default_port}"),
            );
            None
        }
        Some(typed) => Some(typed.into_inner()),
        None => Some(default_port),
    };
    Some(LibvirtTcp { listen: listen?, port: port?, auth })
}
