//! What a cluster may be told to require of every OSD, and which OSDs would be shut out by it.
//!
//! The MONs look at the OSDs that are up. Here every OSD that exists counts, by what it said at its last boot: one that is down and older could
//! never come back.

use crate::OsdId;
use crate::documents::{OsdDump, OsdMetadata};
use replank_common::ceph::Requirement;
use replank_common::version::Version;
use std::collections::BTreeMap;

/// The first number of each release's versions (doc/releases/index.rst).
const RELEASES: [(&str, u64); 11] = [
    ("hammer", 0),
    ("jewel", 10),
    ("luminous", 12),
    ("mimic", 13),
    ("nautilus", 14),
    ("octopus", 15),
    ("pacific", 16),
    ("quincy", 17),
    ("reef", 18),
    ("squid", 19),
    ("tentacle", 20),
];
/// Bits of `osd_xinfo.features` (src/include/ceph_features.h).
const OSD_BITWISE_HOBJ_SORT: u64 = 1 << 51;
const SERVER_JEWEL: u64 = 1 << 57;

/// The first number of the versions of `release`; `None`: no release that is known here.
pub fn major_of(release: &str) -> Option<u64> {
    RELEASES.iter().find(|(name, _)| *name == release).map(|(_, major)| *major)
}

/// The release that `version` is of.
pub fn release_of(version: &Version) -> Option<&'static str> {
    let major: u64 = version.as_str().split('.').next()?.parse().ok()?;
    RELEASES.iter().find(|(_, of)| *of == major).map(|(name, _)| *name)
}

/// Whether the map shows it. Of [`Requirement::EnableMsgr2`] the map of OSDs tells nothing: see [`second_messenger`].
pub fn is_required(what: &Requirement, osds: &OsdDump) -> bool {
    match what {
        Requirement::SortBitwise => osds.flags.contains("sortbitwise"),
        Requirement::RequireJewelOsds => {
            osds.flags.contains("require_jewel_osds") || osds.require_osd_release.is_some()
        }
        Requirement::RequireOsdRelease { release } => {
            let now = osds.require_osd_release.as_deref().and_then(major_of);
            now.zip(major_of(release)).is_some_and(|(now, wanted)| now >= wanted)
        }
        Requirement::EnableMsgr2 => false,
    }
}

/// The OSDs that would be shut out, each with the reason. Nothing known of one counts as too old.
pub fn too_old(what: &Requirement, osds: &OsdDump, metadata: &BTreeMap<OsdId, OsdMetadata>) -> Vec<String> {
    let existing = osds.osds.iter().filter(|(_, osd)| !osd.destroyed);
    let by_bit = |bit: u64| {
        let lacks =
            existing.clone().filter(move |(_, osd)| osd.features.is_none_or(|features| features & bit == 0));
        lacks.map(|(id, osd)| match osd.features {
            Some(_) => format!("{id} booted last with an older release"),
            None => format!("the map does not tell what {id} can do"),
        })
    };
    match what {
        Requirement::SortBitwise => by_bit(OSD_BITWISE_HOBJ_SORT).collect(),
        Requirement::RequireJewelOsds => by_bit(SERVER_JEWEL).collect(),
        Requirement::EnableMsgr2 => Vec::new(),
        Requirement::RequireOsdRelease { release } => {
            let Some(wanted) = major_of(release) else {
                return vec![format!("no release is called {release}")];
            };
            let old = existing.filter_map(|(id, _)| {
                let Some(version) = metadata.get(id).and_then(OsdMetadata::version_number) else {
                    return Some(format!("nothing is known of the version of {id}"));
                };
                let major = version.as_str().split('.').next().and_then(|major| major.parse::<u64>().ok());
                major.is_none_or(|major| major < wanted).then(|| format!("{id} booted last as {version}"))
            });
            old.collect()
        }
    }
}

/// Which MONs of `ceph mon dump` have an address of the second messenger; `None`: the release knows no such thing (before Nautilus), or it is another
/// document.
pub fn second_messenger(mon_dump: &[u8]) -> Option<BTreeMap<String, bool>> {
    let map: serde_json::Value = serde_json::from_slice(mon_dump).ok()?;
    let of = |mon: &serde_json::Value| {
        let addresses = mon["public_addrs"]["addrvec"].as_array()?;
        let has = addresses.iter().any(|address| address["type"] == "v2");
        Some((mon["name"].as_str()?.to_owned(), has))
    };
    let mons: BTreeMap<String, bool> = map["mons"].as_array()?.iter().filter_map(of).collect();
    (!mons.is_empty()).then_some(mons)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn osds(features: &[Option<u64>]) -> OsdDump {
        let osds: Vec<_> = (0..features.len())
            .map(|id| json!({ "osd": id, "up": 0, "in": 1, "state": ["exists"] }))
            .collect();
        let xinfo: Vec<_> = features
            .iter()
            .enumerate()
            .filter_map(|(id, features)| Some(json!({ "osd": id, "features": (*features)? })))
            .collect();
        let map =
            json!({ "epoch": 1, "pools": [], "osds": osds, "osd_xinfo": xinfo, "flags": "sortbitwise" });
        OsdDump::read("map", map.to_string().as_bytes()).unwrap()
    }

    fn metadata(versions: &[&str]) -> BTreeMap<OsdId, OsdMetadata> {
        let of = |version: &&str| OsdMetadata {
            version: Some(format!("ceph version {version} (x) x (stable)")),
            host: None,
        };
        versions
            .iter()
            .enumerate()
            .map(|(id, version)| (OsdId(u32::try_from(id).unwrap()), of(version)))
            .collect()
    }

    #[test]
    fn an_osd_that_is_down_and_older_counts() {
        let pacific = Requirement::RequireOsdRelease { release: "pacific".to_owned() };
        let map = osds(&[None, None]);
        assert_eq!(too_old(&pacific, &map, &metadata(&["16.2.15", "16.2.7"])), [""; 0]);
        assert_eq!(
            too_old(&pacific, &map, &metadata(&["16.2.15", "14.2.21"])),
            ["osd.1 booted last as 14.2.21"]
        );
        assert_eq!(
            too_old(&pacific, &map, &metadata(&["17.2.0"])),
            ["nothing is known of the version of osd.1"]
        );
        let strange = Requirement::RequireOsdRelease { release: "kraken-ish".to_owned() };
        assert_eq!(too_old(&strange, &map, &metadata(&["16.2.15", "16.2.15"])).len(), 1);
    }

    #[test]
    fn before_luminous_the_feature_bits_tell() {
        let map = osds(&[Some(SERVER_JEWEL | OSD_BITWISE_HOBJ_SORT), Some(OSD_BITWISE_HOBJ_SORT), None]);
        assert_eq!(too_old(&Requirement::RequireJewelOsds, &map, &BTreeMap::new()).len(), 2);
        assert_eq!(too_old(&Requirement::SortBitwise, &map, &BTreeMap::new()).len(), 1);
        assert!(
            is_required(&Requirement::SortBitwise, &map)
                && !is_required(&Requirement::RequireJewelOsds, &map)
        );
    }

    #[test]
    fn the_second_messenger_is_in_every_mons_addresses() {
        let mon = |name: &str, kinds: &[&str]| {
            let addresses: Vec<_> =
                kinds.iter().map(|kind| json!({ "type": kind, "addr": "10.0.0.1:3300" })).collect();
            json!({ "name": name, "public_addrs": { "addrvec": addresses } })
        };
        let says =
            |mons: Vec<serde_json::Value>| second_messenger(json!({ "mons": mons }).to_string().as_bytes());
        let told = |a, b| Some(BTreeMap::from([("a".to_owned(), a), ("b".to_owned(), b)]));
        assert_eq!(says(vec![mon("a", &["v2", "v1"]), mon("b", &["v2"])]), told(true, true));
        assert_eq!(says(vec![mon("a", &["v2"]), mon("b", &["v1"])]), told(true, false));
        assert_eq!(says(vec![]), None);
        assert_eq!(says(vec![json!({ "name": "a", "addr": "10.0.0.1:6789/0" })]), None);
    }
}
