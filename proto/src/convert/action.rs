//! `action.proto`.

use super::{BadMessage, absent, all, ceph, each, known, need, path_text};
use crate::v1;
use replank_common::action as a;
use replank_common::facts::PackageManager;
use replank_common::version::Version;
use std::path::PathBuf;

impl From<PackageManager> for v1::PackageManager {
    fn from(manager: PackageManager) -> Self {
        match manager {
            PackageManager::Apt => Self::Apt,
            PackageManager::Dnf => Self::Dnf,
            PackageManager::Yum => Self::Yum,
        }
    }
}

fn manager(message: &'static str, number: i32) -> Result<PackageManager, BadMessage> {
    match known::<v1::PackageManager>(message, "manager", number)? {
        v1::PackageManager::Unspecified => Err(absent(message, "manager")),
        v1::PackageManager::Apt => Ok(PackageManager::Apt),
        v1::PackageManager::Dnf => Ok(PackageManager::Dnf),
        v1::PackageManager::Yum => Ok(PackageManager::Yum),
    }
}

impl From<a::PackagePin> for v1::PackagePin {
    fn from(pin: a::PackagePin) -> Self {
        Self { name: pin.name, version: pin.version }
    }
}

impl From<v1::PackagePin> for a::PackagePin {
    fn from(pin: v1::PackagePin) -> Self {
        Self { name: pin.name, version: pin.version }
    }
}

impl From<a::Repository> for v1::Repository {
    fn from(repository: a::Repository) -> Self {
        use v1::repository::Repository as R;
        Self {
            repository: Some(match repository {
                a::Repository::Apt { uri, suite, components, options } => {
                    R::Apt(v1::AptRepository { uri, suite, components, options })
                }
                a::Repository::Rpm { base_url, gpg_check, gpg_key } => {
                    R::Rpm(v1::RpmRepository { base_url, gpg_check, gpg_key })
                }
            }),
        }
    }
}

impl TryFrom<v1::Repository> for a::Repository {
    type Error = BadMessage;
    fn try_from(repository: v1::Repository) -> Result<Self, BadMessage> {
        use v1::repository::Repository as R;
        Ok(match need("Repository", "repository", repository.repository)? {
            R::Apt(v1::AptRepository { uri, suite, components, options }) => {
                Self::Apt { uri, suite, components, options }
            }
            R::Rpm(v1::RpmRepository { base_url, gpg_check, gpg_key }) => {
                Self::Rpm { base_url, gpg_check, gpg_key }
            }
        })
    }
}

impl From<a::SettingValue> for v1::SettingValue {
    fn from(value: a::SettingValue) -> Self {
        use v1::setting_value::Value;
        Self {
            value: Some(match value {
                a::SettingValue::Text(text) => Value::Text(text),
                a::SettingValue::Number(number) => Value::Number(number),
            }),
        }
    }
}

impl TryFrom<v1::SettingValue> for a::SettingValue {
    type Error = BadMessage;
    fn try_from(value: v1::SettingValue) -> Result<Self, BadMessage> {
        use v1::setting_value::Value;
        Ok(match need("SettingValue", "value", value.value)? {
            Value::Text(text) => Self::Text(text),
            Value::Number(number) => Self::Number(number),
        })
    }
}

impl From<a::Setting> for v1::Setting {
    fn from(setting: a::Setting) -> Self {
        Self { section: setting.section, key: setting.key, values: each(setting.values) }
    }
}

impl TryFrom<v1::Setting> for a::Setting {
    type Error = BadMessage;
    fn try_from(setting: v1::Setting) -> Result<Self, BadMessage> {
        Ok(Self { section: setting.section, key: setting.key, values: all(setting.values)? })
    }
}

impl From<a::Dialect> for v1::Dialect {
    fn from(dialect: a::Dialect) -> Self {
        match dialect {
            a::Dialect::Ini => Self::Ini,
            a::Dialect::Systemd => Self::Systemd,
            a::Dialect::Shell => Self::Shell,
            a::Dialect::Libvirt => Self::Libvirt,
            a::Dialect::Ceph => Self::Ceph,
        }
    }
}

fn dialect(number: i32) -> Result<a::Dialect, BadMessage> {
    match known::<v1::Dialect>("FileEdit", "dialect", number)? {
        v1::Dialect::Unspecified => Err(absent("FileEdit", "dialect")),
        v1::Dialect::Ini => Ok(a::Dialect::Ini),
        v1::Dialect::Systemd => Ok(a::Dialect::Systemd),
        v1::Dialect::Shell => Ok(a::Dialect::Shell),
        v1::Dialect::Libvirt => Ok(a::Dialect::Libvirt),
        v1::Dialect::Ceph => Ok(a::Dialect::Ceph),
    }
}

impl From<a::TrialOf> for v1::TrialOf {
    fn from(of: a::TrialOf) -> Self {
        match of {
            a::TrialOf::New => Self::New,
            a::TrialOf::Old => Self::Old,
        }
    }
}

fn trial_of(number: i32) -> Result<a::TrialOf, BadMessage> {
    match known::<v1::TrialOf>("LibvirtTrial", "of", number)? {
        v1::TrialOf::Unspecified => Err(absent("LibvirtTrial", "of")),
        v1::TrialOf::New => Ok(a::TrialOf::New),
        v1::TrialOf::Old => Ok(a::TrialOf::Old),
    }
}

fn texts(paths: Vec<PathBuf>) -> Vec<String> {
    paths.into_iter().map(path_text).collect()
}

fn paths(texts: Vec<String>) -> Vec<PathBuf> {
    texts.into_iter().map(PathBuf::from).collect()
}

impl From<a::Action> for v1::Action {
    fn from(action: a::Action) -> Self {
        use v1::action::Action as W;
        Self {
            action: Some(match action {
                a::Action::RepositoryPin(a::RepositoryPin { manager, name, repository, pins }) => {
                    W::RepositoryPin(v1::RepositoryPin {
                        manager: v1::PackageManager::from(manager).into(),
                        name,
                        repository: Some(repository.into()),
                        pins: each(pins),
                    })
                }
                a::Action::PackagesStage(a::PackagesStage { manager, install, removals, spare_bytes }) => {
                    W::PackagesStage(v1::PackagesStage {
                        manager: v1::PackageManager::from(manager).into(),
                        install: each(install),
                        spare_bytes,
                        removals,
                    })
                }
                a::Action::PackagesInstall(a::PackagesInstall { manager, install, undisturbed_units }) => {
                    W::PackagesInstall(v1::PackagesInstall {
                        manager: v1::PackageManager::from(manager).into(),
                        install: each(install),
                        undisturbed_units,
                    })
                }
                a::Action::TreeInstall(a::TreeInstall { manager, package, prefix }) => {
                    W::TreeInstall(v1::TreeInstall {
                        manager: v1::PackageManager::from(manager).into(),
                        package: Some(package.into()),
                        prefix: path_text(prefix),
                    })
                }
                a::Action::TreeTrial(a::TreeTrial {
                    emulator,
                    version,
                    old_prefixes,
                    rom_directories,
                    old_rom_directories,
                }) => W::TreeTrial(v1::TreeTrial {
                    emulator: path_text(emulator),
                    version: version.to_string(),
                    old_prefixes: texts(old_prefixes),
                    rom_directories: texts(rom_directories),
                    old_rom_directories: texts(old_rom_directories),
                }),
                a::Action::TreeRetain(a::TreeRetain { name, lazy }) => {
                    W::TreeRetain(v1::TreeRetain { name, lazy: texts(lazy) })
                }
                a::Action::FileEdit(a::FileEdit { path, dialect, settings, create }) => {
                    W::FileEdit(v1::FileEdit {
                        path: path_text(path),
                        dialect: v1::Dialect::from(dialect).into(),
                        settings: each(settings),
                        create,
                    })
                }
                a::Action::FileWrite(a::FileWrite { path, contents, mode, replace }) => {
                    W::FileWrite(v1::FileWrite { path: path_text(path), contents, mode, replace })
                }
                a::Action::UnitMask(a::UnitMask { unit, runtime }) => {
                    W::UnitMask(v1::UnitMask { unit, runtime })
                }
                a::Action::UnitEnable(a::UnitEnable { unit, enable }) => {
                    W::UnitEnable(v1::UnitEnable { unit, enable })
                }
                a::Action::UnitDropIn(a::UnitDropIn { unit, name, contents }) => {
                    W::UnitDropIn(v1::UnitDropIn { unit, name, contents })
                }
                a::Action::LibvirtTrial(a::LibvirtTrial { manager, of, packages }) => {
                    W::LibvirtTrial(v1::LibvirtTrial {
                        manager: v1::PackageManager::from(manager).into(),
                        of: v1::TrialOf::from(of).into(),
                        packages: each(packages),
                    })
                }
                a::Action::LibvirtAnchor(a::LibvirtAnchor { unit, sockets }) => {
                    W::LibvirtAnchor(v1::LibvirtAnchor { unit, sockets })
                }
                a::Action::LibvirtRestart(a::LibvirtRestart { unit, expect, sockets }) => {
                    W::LibvirtRestart(v1::LibvirtRestart { unit, expect: expect.to_string(), sockets })
                }
                a::Action::CephFlags(flags) => W::CephFlags(flags.into()),
                a::Action::CephConfig(config) => W::CephConfig(config.into()),
                a::Action::CephRestart(restart) => W::CephRestart(restart.into()),
                a::Action::CephOwn(own) => W::CephOwn(own.into()),
                a::Action::CephRequire(a::CephRequire { what }) => {
                    W::CephRequire(v1::CephRequire { what: Some(what.into()) })
                }
            }),
        }
    }
}

impl TryFrom<v1::Action> for a::Action {
    type Error = BadMessage;
    fn try_from(action: v1::Action) -> Result<Self, BadMessage> {
        use v1::action::Action as W;
        Ok(match need("Action", "action", action.action)? {
            W::RepositoryPin(m) => Self::RepositoryPin(a::RepositoryPin {
                manager: manager("RepositoryPin", m.manager)?,
                name: m.name,
                repository: need("RepositoryPin", "repository", m.repository)?.try_into()?,
                pins: each(m.pins),
            }),
            W::PackagesStage(m) => Self::PackagesStage(a::PackagesStage {
                manager: manager("PackagesStage", m.manager)?,
                install: each(m.install),
                removals: m.removals,
                spare_bytes: m.spare_bytes,
            }),
            W::PackagesInstall(m) => Self::PackagesInstall(a::PackagesInstall {
                manager: manager("PackagesInstall", m.manager)?,
                install: each(m.install),
                undisturbed_units: m.undisturbed_units,
            }),
            W::TreeInstall(m) => Self::TreeInstall(a::TreeInstall {
                manager: manager("TreeInstall", m.manager)?,
                package: need("TreeInstall", "package", m.package)?.into(),
                prefix: m.prefix.into(),
            }),
            W::TreeTrial(m) => Self::TreeTrial(a::TreeTrial {
                emulator: m.emulator.into(),
                version: Version::new(m.version),
                old_prefixes: paths(m.old_prefixes),
                rom_directories: paths(m.rom_directories),
                old_rom_directories: paths(m.old_rom_directories),
            }),
            W::TreeRetain(m) => Self::TreeRetain(a::TreeRetain { name: m.name, lazy: paths(m.lazy) }),
            W::FileEdit(m) => Self::FileEdit(a::FileEdit {
                path: m.path.into(),
                dialect: dialect(m.dialect)?,
                settings: all(m.settings)?,
                create: m.create,
            }),
            W::FileWrite(m) => Self::FileWrite(a::FileWrite {
                path: m.path.into(),
                contents: m.contents,
                mode: m.mode,
                replace: m.replace,
            }),
            W::UnitMask(m) => Self::UnitMask(a::UnitMask { unit: m.unit, runtime: m.runtime }),
            W::UnitEnable(m) => Self::UnitEnable(a::UnitEnable { unit: m.unit, enable: m.enable }),
            W::UnitDropIn(m) => {
                Self::UnitDropIn(a::UnitDropIn { unit: m.unit, name: m.name, contents: m.contents })
            }
            W::LibvirtTrial(m) => Self::LibvirtTrial(a::LibvirtTrial {
                manager: manager("LibvirtTrial", m.manager)?,
                of: trial_of(m.of)?,
                packages: each(m.packages),
            }),
            W::LibvirtAnchor(m) => Self::LibvirtAnchor(a::LibvirtAnchor { unit: m.unit, sockets: m.sockets }),
            W::LibvirtRestart(m) => Self::LibvirtRestart(a::LibvirtRestart {
                unit: m.unit,
                expect: Version::new(m.expect),
                sockets: m.sockets,
            }),
            W::CephFlags(m) => Self::CephFlags(m.try_into()?),
            W::CephConfig(m) => Self::CephConfig(m.try_into()?),
            W::CephRestart(m) => Self::CephRestart(m.try_into()?),
            W::CephOwn(m) => Self::CephOwn(m.try_into()?),
            W::CephRequire(m) => {
                Self::CephRequire(a::CephRequire { what: ceph::requirement("CephRequire", m.what)? })
            }
        })
    }
}
