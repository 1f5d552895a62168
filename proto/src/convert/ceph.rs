//! The messages of `action.proto` that are about Ceph.

use super::{BadMessage, absent, known, need, parse};
use crate::v1;
use replank_common::action::{CephConfig, CephFlags, CephOwn, CephRestart, OwnSwitch};
use replank_common::ceph::{CephFlag, ConfigWay, Requirement};
use replank_common::version::Version;

impl From<CephFlags> for v1::CephFlags {
    fn from(CephFlags { flags }: CephFlags) -> Self {
        Self { flags: flags.iter().map(ToString::to_string).collect() }
    }
}

impl TryFrom<v1::CephFlags> for CephFlags {
    type Error = BadMessage;
    fn try_from(m: v1::CephFlags) -> Result<Self, BadMessage> {
        let flag = |text: &String| CephFlag::ALL.into_iter().find(|flag| flag.as_str() == text);
        let flags = m.flags.iter().map(|text| flag(text).ok_or_else(|| absent("CephFlags", "flags")));
        Ok(Self { flags: flags.collect::<Result<_, _>>()? })
    }
}

impl From<CephConfig> for v1::CephConfig {
    fn from(CephConfig { section, name, value, way }: CephConfig) -> Self {
        let way = match way {
            ConfigWay::Central => v1::ConfigWay::Central,
            ConfigWay::Inject => v1::ConfigWay::Inject,
        };
        Self { section, name, value, way: way.into() }
    }
}

impl TryFrom<v1::CephConfig> for CephConfig {
    type Error = BadMessage;
    fn try_from(m: v1::CephConfig) -> Result<Self, BadMessage> {
        let way = match known::<v1::ConfigWay>("CephConfig", "way", m.way)? {
            v1::ConfigWay::Unspecified => return Err(absent("CephConfig", "way")),
            v1::ConfigWay::Central => ConfigWay::Central,
            v1::ConfigWay::Inject => ConfigWay::Inject,
        };
        Ok(Self { section: m.section, name: m.name, value: m.value, way })
    }
}

impl From<CephRestart> for v1::CephRestart {
    fn from(restart: CephRestart) -> Self {
        let CephRestart { daemons, expect, beside, consents, stop_ms, start_ms } = restart;
        let daemons = daemons.iter().map(ToString::to_string).collect();
        Self { daemons, expect: expect.to_string(), beside, consents, stop_ms, start_ms }
    }
}

impl TryFrom<v1::CephRestart> for CephRestart {
    type Error = BadMessage;
    fn try_from(m: v1::CephRestart) -> Result<Self, BadMessage> {
        let daemons = m.daemons.iter().map(|text| parse("CephRestart", "daemons", text));
        Ok(Self {
            daemons: daemons.collect::<Result<_, _>>()?,
            expect: Version::new(m.expect),
            beside: m.beside,
            consents: m.consents,
            stop_ms: m.stop_ms,
            start_ms: m.start_ms,
        })
    }
}

impl From<CephOwn> for v1::CephOwn {
    fn from(CephOwn { daemon, uid, gid, files_per_second, switch }: CephOwn) -> Self {
        let switch = switch.map(|OwnSwitch { expect, consents, stop_ms, down_ms, start_ms }| v1::OwnSwitch {
            expect: expect.to_string(),
            consents,
            stop_ms,
            down_ms,
            start_ms,
        });
        Self { daemon: daemon.to_string(), uid, gid, files_per_second, switch }
    }
}

impl TryFrom<v1::CephOwn> for CephOwn {
    type Error = BadMessage;
    fn try_from(m: v1::CephOwn) -> Result<Self, BadMessage> {
        let switch = m.switch.map(|switch| OwnSwitch {
            expect: Version::new(switch.expect),
            consents: switch.consents,
            stop_ms: switch.stop_ms,
            down_ms: switch.down_ms,
            start_ms: switch.start_ms,
        });
        Ok(Self {
            daemon: parse("CephOwn", "daemon", &m.daemon)?,
            uid: m.uid,
            gid: m.gid,
            files_per_second: m.files_per_second,
            switch,
        })
    }
}

impl From<Requirement> for v1::CephRequirement {
    fn from(what: Requirement) -> Self {
        use v1::ceph_requirement::What as W;
        Self {
            what: Some(match what {
                Requirement::SortBitwise => W::SortBitwise(v1::SortBitwise {}),
                Requirement::RequireJewelOsds => W::RequireJewelOsds(v1::RequireJewelOsds {}),
                Requirement::RequireOsdRelease { release } => {
                    W::RequireOsdRelease(v1::RequireOsdRelease { release })
                }
                Requirement::EnableMsgr2 => W::EnableMsgr2(v1::EnableMsgr2 {}),
            }),
        }
    }
}

pub(super) fn requirement(
    message: &'static str,
    requirement: Option<v1::CephRequirement>,
) -> Result<Requirement, BadMessage> {
    use v1::ceph_requirement::What as W;
    let what = need(message, "what", requirement)?.what;
    Ok(match need("CephRequirement", "what", what)? {
        W::SortBitwise(_) => Requirement::SortBitwise,
        W::RequireJewelOsds(_) => Requirement::RequireJewelOsds,
        W::RequireOsdRelease(m) => Requirement::RequireOsdRelease { release: m.release },
        W::EnableMsgr2(_) => Requirement::EnableMsgr2,
    })
}
