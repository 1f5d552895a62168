//! A placement group as one short line, as it travels and as it stands in an inventory: a cluster may have 500,000 of them.
//!
//! `3.1f active+clean 4,8,15 = e118 n0/0/0/0`: the group, its state, where CRUSH wants it, who serves it (`=`: the same), the epoch of its
//! report, its counts (degraded, missing on the primary, missing, unfound) and `c4,8`, who misses nothing. `-`: it is not said; `.`: nobody.

use super::pg_dump::{Counts, Pg};
use super::pg_state::PgState;
use crate::{NotAName, OsdId};
use serde::de::{Deserializer, Error};
use serde::{Deserialize, Serialize, Serializer};
use std::fmt::Write;

const NOT_SAID: &str = "-";
const NOBODY: &str = ".";
const THE_SAME: &str = "=";

fn row_of(pg: &Pg) -> String {
    // A word of a later release could hold anything but what separates words.
    let state = pg.state.as_ref().map(|state| state.to_string().replace(char::is_whitespace, "_"));
    let same = pg.acting.is_some() && pg.acting == pg.up;
    let acting = if same { THE_SAME.to_owned() } else { members(pg.acting.as_deref()) };
    let mut row =
        format!("{} {} {} {acting}", pg.id, state.as_deref().unwrap_or(NOT_SAID), members(pg.up.as_deref()),);
    let mut add = |text: std::fmt::Arguments<'_>| {
        row.write_fmt(text).expect("writing to a string does not fail");
    };
    if let Some(epoch) = pg.reported_epoch {
        add(format_args!(" e{epoch}"));
    }
    if let Some(Counts { degraded, missing_on_primary, missing, unfound }) = pg.counts {
        add(format_args!(" n{degraded}/{missing_on_primary}/{missing}/{unfound}"));
    }
    if let Some(complete) = &pg.complete {
        add(format_args!(" c{}", members(Some(complete))));
    }
    row
}

fn members(osds: Option<&[OsdId]>) -> String {
    match osds {
        None => NOT_SAID.to_owned(),
        Some([]) => NOBODY.to_owned(),
        Some(osds) => osds.iter().map(|osd| osd.0.to_string()).collect::<Vec<_>>().join(","),
    }
}

fn read_members(text: &str) -> Option<Option<Vec<OsdId>>> {
    match text {
        NOT_SAID => Some(None),
        NOBODY => Some(Some(Vec::new())),
        some => {
            let osds: Option<Vec<OsdId>> = some.split(',').map(|osd| osd.parse().ok()).collect();
            osds.map(Some)
        }
    }
}

fn read_row(row: &str) -> Option<Pg> {
    let mut words = row.split(' ');
    let id = words.next()?.parse().ok()?;
    let state = words.next().filter(|state| !state.is_empty())?;
    let state = (state != NOT_SAID).then(|| PgState::new(state));
    let up = read_members(words.next()?)?;
    let acting = match words.next()? {
        THE_SAME => Some(up.clone()?),
        text => read_members(text)?,
    };
    let mut pg = Pg { id, state, up, acting, counts: None, complete: None, reported_epoch: None };
    for word in words {
        let (kind, rest) = word.split_at_checked(1)?;
        match kind {
            "e" if pg.reported_epoch.is_none() => pg.reported_epoch = Some(rest.parse().ok()?),
            "n" if pg.counts.is_none() => {
                let mut numbers = rest.split('/').map(|number| number.parse().ok());
                let mut next = || numbers.next().flatten();
                let counts = Counts {
                    degraded: next()?,
                    missing_on_primary: next()?,
                    missing: next()?,
                    unfound: next()?,
                };
                if numbers.next().is_some() {
                    return None;
                }
                pg.counts = Some(counts);
            }
            "c" if pg.complete.is_none() => pg.complete = Some(read_members(rest)??),
            _ => return None,
        }
    }
    Some(pg)
}

impl Serialize for Pg {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&row_of(self))
    }
}

impl<'de> Deserialize<'de> for Pg {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl serde::de::Visitor<'_> for Read {
            type Value = Pg;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a placement group in one line")
            }
            fn visit_str<E: Error>(self, row: &str) -> Result<Pg, E> {
                let what = "a placement group in one line, such as `3.1f active+clean 4,8,15 = e118`";
                read_row(row).ok_or_else(|| E::custom(NotAName { text: row.to_owned(), what }))
            }
        }
        deserializer.deserialize_str(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_group_survives_its_line_whatever_is_known_of_it() {
        let osds = |ids: &[u32]| Some(ids.iter().copied().map(OsdId).collect::<Vec<_>>());
        let none = Pg {
            id: "3.1f".parse().unwrap(),
            state: None,
            up: None,
            acting: None,
            counts: None,
            complete: None,
            reported_epoch: None,
        };
        let clean = Pg {
            state: Some(PgState::new("active+clean")),
            up: osds(&[4, 8, 15]),
            acting: osds(&[4, 8, 15]),
            reported_epoch: Some(118),
            ..none.clone()
        };
        let counts = Counts { degraded: 7, missing_on_primary: 1, missing: 2, unfound: 0 };
        for (pg, row) in [
            (none.clone(), "3.1f - - -"),
            (Pg { up: osds(&[]), acting: osds(&[]), ..none.clone() }, "3.1f - . ="),
            (Pg { up: osds(&[1]), acting: osds(&[]), ..none.clone() }, "3.1f - 1 ."),
            (clean.clone(), "3.1f active+clean 4,8,15 = e118"),
            (
                Pg { counts: Some(counts), complete: osds(&[4]), acting: osds(&[4, 8]), ..clean.clone() },
                "3.1f active+clean 4,8,15 4,8 e118 n7/1/2/0 c4",
            ),
            (
                Pg { complete: osds(&[]), state: Some(PgState::new("active+becalmed")), ..clean },
                "3.1f active+becalmed 4,8,15 = e118 c.",
            ),
        ] {
            assert_eq!(row_of(&pg), row);
            assert_eq!(read_row(row), Some(pg), "{row}");
        }
    }

    #[test]
    fn what_is_no_such_line_is_none() {
        for row in [
            "",
            "3.1f",
            "3.1f active+clean 1,2",
            "3.1f active+clean - =",
            "3.1f  1 1",
            "3.1f active 1 1 x9",
            "3.1f active 1 1 n1/2/3",
            "3.1f active 1 1 n1/2/3/4/5",
            "3.1f active 1 1 e1 e2",
            "3.1f active 1 1 c-",
            "3.1f active 1,,2 =",
        ] {
            assert_eq!(read_row(row), None, "{row}");
        }
    }
}
