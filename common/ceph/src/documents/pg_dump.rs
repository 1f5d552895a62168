//! `ceph pg dump`, full or `pgs_brief`: every placement group, where it is and how complete.
//!
//! | release | full | `pgs_brief` |
//! | --- | --- | --- |
//! | Hammer to Mimic | `.pg_stats[]` | the root is the list |
//! | Nautilus and later | `.pg_map.pg_stats[]` beside `.pg_ready` | `.pg_stats[]` beside `.pg_ready` |

use super::error::{DocumentError, Kind, Place, Reading};
use super::json::{Text, Truth, Whole};
use super::pg_state::PgState;
use crate::codes;
use crate::{OsdId, PgId};
use serde::de::{Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Serialize};
use std::fmt;

/// `CRUSH_ITEM_NONE`: nobody holds this shard of an erasure-coded placement group.
const NOBODY: i128 = 0x7fff_ffff;

/// All placement groups of a cluster, each once, by id.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PgDump {
    pub pgs: Vec<Pg>,
    /// The newest OSD map that the reports were counted under. Managers since Luminous leave it at 0, which is `None` here.
    pub last_osdmap_epoch: Option<u32>,
}

/// One placement group as its primary reported it last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pg {
    pub id: PgId,
    pub state: Option<PgState>,
    /// Where CRUSH wants it. Shards that nobody holds are left out.
    pub up: Option<Vec<OsdId>>,
    /// Who serves it. Shards that nobody holds are left out.
    pub acting: Option<Vec<OsdId>>,
    /// `None` in a brief dump, and when the primary says that they are not valid.
    pub counts: Option<Counts>,
    /// `avail_no_missing`: who misses no object. Since Nautilus, and filled only while the group is not clean.
    pub complete: Option<Vec<OsdId>>,
    /// The map's epoch at the last report. `None` in a brief dump.
    pub reported_epoch: Option<u32>,
}

/// Copies of objects that are not where they belong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    pub degraded: u64,
    pub missing_on_primary: u64,
    /// Not in Hammer, then 0.
    pub missing: u64,
    pub unfound: u64,
}

impl PgDump {
    /// It does not say when each group was reported, so that reports from before a restart cannot be told from those after it.
    pub fn is_brief(&self) -> bool {
        !self.pgs.is_empty() && self.pgs.iter().all(|pg| pg.reported_epoch.is_none())
    }

    /// Reads a full or a brief dump of any release.
    ///
    /// # Errors
    /// Not JSON, another document, a manager that knows no groups yet, a group without a name, or one that is there twice.
    pub fn read(file: &str, bytes: &[u8]) -> Result<Self, DocumentError> {
        let reading = Reading { kind: Kind::PgDump, file };
        let root: Root = reading.json(bytes)?;
        if root.ready == Some(false) {
            return Err(reading.error(
                codes::CEPH_NOT_READY,
                Place::Path("pg_ready".into()),
                "the manager has not heard of the placement groups yet",
                "wait a minute after the manager's start and take it again",
            ));
        }
        let (path, raw) = match (root.list, root.map) {
            (Some(list), None) => (root.path, list),
            (None, Some(map)) => ("pg_map.pg_stats", map.pg_stats.ok_or_else(|| reading.other("pg_stats"))?),
            (Some(_), Some(_)) => return Err(reading.field("pg_map", "`pg_stats` is there twice")),
            (None, None) => return Err(reading.other("pg_stats")),
        };
        let mut pgs = Vec::with_capacity(raw.len());
        for (index, raw) in raw.into_iter().enumerate() {
            let Some(PgName(id)) = raw.pgid else {
                return Err(reading.field(format!("{path}[{index}].pgid"), "the group has no name"));
            };
            pgs.push(raw.mean(id));
        }
        pgs.sort_unstable_by_key(|pg| pg.id);
        if let Some(twice) = pgs.windows(2).find(|pair| pair[0].id == pair[1].id) {
            return Err(reading.field(path, format!("the group {} is there twice", twice[0].id)));
        }
        let epoch = root.last_osdmap_epoch.and_then(Whole::u32).filter(|epoch| *epoch > 0);
        Ok(Self { pgs, last_osdmap_epoch: epoch })
    }
}

#[derive(Debug, Default)]
struct Root {
    list: Option<Vec<RawPg>>,
    path: &'static str,
    map: Option<RawMap>,
    ready: Option<bool>,
    last_osdmap_epoch: Option<Whole>,
}

#[derive(Debug, Deserialize)]
struct RawMap {
    pg_stats: Option<Vec<RawPg>>,
    last_osdmap_epoch: Option<Whole>,
}

#[derive(Debug, Deserialize)]
struct RawPg {
    pgid: Option<PgName>,
    state: Option<PgState>,
    up: Option<Members>,
    acting: Option<Members>,
    reported_epoch: Option<Whole>,
    stats_invalid: Option<Truth>,
    stat_sum: Option<RawCounts>,
    avail_no_missing: Option<Vec<Text>>,
}

#[derive(Debug, Deserialize)]
struct RawCounts {
    num_objects_degraded: Option<Whole>,
    num_objects_missing_on_primary: Option<Whole>,
    num_objects_missing: Option<Whole>,
    num_objects_unfound: Option<Whole>,
}

impl RawPg {
    fn mean(self, id: PgId) -> Pg {
        let valid = !self.stats_invalid.is_some_and(|Truth(invalid)| invalid);
        Pg {
            id,
            state: self.state,
            up: self.up.map(|Members(osds)| osds),
            acting: self.acting.map(|Members(osds)| osds),
            counts: self.stat_sum.filter(|_| valid).and_then(RawCounts::mean),
            complete: self.avail_no_missing.map(|shards| shards.iter().filter_map(osd_of_shard).collect()),
            reported_epoch: self.reported_epoch.and_then(Whole::u32),
        }
    }
}

impl RawCounts {
    /// `None` unless all that every release prints is there.
    fn mean(self) -> Option<Counts> {
        let number = |whole: Whole| u64::try_from(whole.0).ok();
        Some(Counts {
            degraded: number(self.num_objects_degraded?)?,
            missing_on_primary: number(self.num_objects_missing_on_primary?)?,
            missing: number(self.num_objects_missing.unwrap_or(Whole(0)))?,
            unfound: number(self.num_objects_unfound?)?,
        })
    }
}

/// `3` or, of an erasure-coded group, `3(1)`: the OSD and its shard. What is neither vouches for nobody.
fn osd_of_shard(Text(text): &Text) -> Option<OsdId> {
    text.split('(').next()?.parse().ok()
}

#[derive(Debug)]
struct PgName(PgId);

impl<'de> Deserialize<'de> for PgName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = PgName;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a placement group such as `3.1f`")
            }
            fn visit_str<E: Error>(self, value: &str) -> Result<PgName, E> {
                value.parse().map(PgName).map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Read)
    }
}

/// OSDs in order, each once, without the places that nobody fills.
#[derive(Debug)]
struct Members(Vec<OsdId>);

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Members;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of OSDs")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Members, A::Error> {
                let mut osds = Vec::with_capacity(3);
                while let Some(Whole(number)) = list.next_element()? {
                    if number == -1 || number == NOBODY {
                        continue;
                    }
                    let osd = u32::try_from(number).map(OsdId);
                    let osd = osd.map_err(|_| A::Error::custom(format!("{number} is not an OSD")))?;
                    if !osds.contains(&osd) {
                        osds.push(osd);
                    }
                }
                Ok(Members(osds))
            }
        }
        deserializer.deserialize_seq(Read)
    }
}

impl<'de> Deserialize<'de> for Root {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Root;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a dump of placement groups")
            }
            fn visit_seq<A: SeqAccess<'de>>(self, list: A) -> Result<Root, A::Error> {
                let list = Vec::deserialize(serde::de::value::SeqAccessDeserializer::new(list))?;
                Ok(Root { list: Some(list), path: ".", ..Root::default() })
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Root, A::Error> {
                let mut root = Root { path: "pg_stats", ..Root::default() };
                while let Some(key) = map.next_key::<String>()? {
                    match key.as_str() {
                        "pg_stats" if root.list.is_some() => {
                            return Err(A::Error::duplicate_field("pg_stats"));
                        }
                        "pg_map" if root.map.is_some() => return Err(A::Error::duplicate_field("pg_map")),
                        "pg_stats" => root.list = Some(map.next_value()?),
                        "pg_map" => {
                            let inner: RawMap = map.next_value()?;
                            root.last_osdmap_epoch = inner.last_osdmap_epoch;
                            root.map = Some(inner);
                        }
                        "pg_ready" => root.ready = Some(map.next_value::<Truth>()?.0),
                        "last_osdmap_epoch" => root.last_osdmap_epoch = Some(map.next_value()?),
                        _ => drop(map.next_value::<IgnoredAny>()?),
                    }
                }
                Ok(root)
            }
        }
        deserializer.deserialize_any(Read)
    }
}
