//! How many complete copies each placement group of a pool must keep.

use crate::PoolId;
use crate::documents::{Pool, PoolKind, Profile};
use replank_common::planted::{self, Planted};
use serde::Serialize;
use std::collections::BTreeSet;

/// Pools whose thin redundancy the operator accepts for the while.
pub type Consents = BTreeSet<PoolId>;

/// Redundancy that is not enough to lose a copy and stay safe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Thin {
    /// One copy: whoever stops it stops its clients.
    OneCopy,
    /// Two copies: while one is stopped, the next broken disk loses data.
    TwoCopies,
    /// An erasure code that mends one loss: the same.
    OneLoss,
}

/// What a pool asks of each of its placement groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Need {
    /// Complete copies (or shards) to keep.
    pub keep: u32,
    pub size: u32,
    pub min_size: u32,
    pub thin: Option<Thin>,
    pub consented: bool,
}

impl Need {
    /// `None`: the map does not say enough of the pool.
    pub fn of(pool: &Pool, consents: &Consents) -> Option<Self> {
        let (size, min_size) = (pool.size?, pool.min_size?);
        if size == 0 {
            return None;
        }
        let consented = consents.contains(&pool.id);
        let (thin, keep) = match &pool.kind {
            PoolKind::Replicated => match size {
                1 => (Some(Thin::OneCopy), if consented { 0 } else { 1 }),
                2 => (Some(Thin::TwoCopies), if consented { min_size.max(1) } else { 2 }),
                _ => (None, min_size.max(2)),
            },
            PoolKind::Erasure(profile) => {
                let losses = losses(profile.as_ref(), size, min_size)?;
                match losses {
                    0 => return None,
                    1 => (Some(Thin::OneLoss), if consented { min_size.max(size - 1) } else { size }),
                    _ => (None, min_size.max(size - losses + 1)),
                }
            }
            PoolKind::Unknown => return None,
        };
        let keep = if planted::is(Planted::OneMoreDiskForgotten) { min_size } else { keep };
        Some(Self { keep, size, min_size, thin, consented })
    }

    /// A stop in this pool stops its clients, and the operator knows.
    pub fn is_outage(&self) -> bool {
        self.keep == 0
    }

    /// No group of the pool can spare a copy, however healthy, for want of nothing but its `min_size`.
    pub fn never(&self) -> bool {
        self.keep >= self.size && (self.thin.is_none() || self.consented)
    }
}

/// How many shards an erasure-coded pool can lose. Without the profile, the least that `min_size` allows: Ceph accepts none below k.
fn losses(profile: Option<&Profile>, size: u32, min_size: u32) -> Option<u32> {
    let Some(profile) = profile else { return size.checked_sub(min_size) };
    // Of `lrc`, a part of the shards mends locally: there are more than k + m.
    let fits = match profile.plugin.as_str() {
        "lrc" => size >= profile.k + profile.m,
        _ => size == profile.k + profile.m,
    };
    match profile.plugin.as_str() {
        _ if !fits => None,
        "shec" => profile.c.filter(|c| *c <= profile.m),
        _ => Some(profile.m),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(kind: PoolKind, size: u32, min_size: u32) -> Pool {
        let (size, min_size) = (Some(size), Some(min_size));
        Pool { id: PoolId(1), name: "p".into(), kind, size, min_size, pg_num: Some(8), rule: None }
    }

    fn code(plugin: &str, k: u32, m: u32, c: Option<u32>) -> PoolKind {
        PoolKind::Erasure(Some(Profile { name: "p".into(), plugin: plugin.into(), k, m, c }))
    }

    /// Copies to keep, without consent and with it.
    fn keeps(pool: &Pool) -> Option<(u32, u32)> {
        let without = Need::of(pool, &Consents::new())?;
        let with = Need::of(pool, &Consents::from([PoolId(1)]))?;
        assert!(without.thin.is_some() || without.keep == with.keep, "consent matters to thin pools alone");
        Some((without.keep, with.keep))
    }

    #[test]
    fn each_kind_of_pool_keeps_what_the_table_says() {
        for (kind, size, min_size, expected) in [
            (PoolKind::Replicated, 3, 2, Some((2, 2))),
            (PoolKind::Replicated, 3, 1, Some((2, 2))),
            (PoolKind::Replicated, 3, 3, Some((3, 3))),
            (PoolKind::Replicated, 5, 3, Some((3, 3))),
            (PoolKind::Replicated, 2, 1, Some((2, 1))),
            (PoolKind::Replicated, 2, 2, Some((2, 2))),
            (PoolKind::Replicated, 1, 1, Some((1, 0))),
            (PoolKind::Replicated, 0, 0, None),
            // Hammer and Jewel: min_size is k.
            (code("jerasure", 4, 2, None), 6, 4, Some((5, 5))),
            (code("isa", 8, 3, None), 11, 9, Some((9, 9))),
            (code("jerasure", 2, 1, None), 3, 2, Some((3, 2))),
            // Luminous and later: min_size is k + 1, so even with consent there is nothing to spare.
            (code("jerasure", 2, 1, None), 3, 3, Some((3, 3))),
            (code("shec", 4, 3, Some(2)), 7, 5, Some((6, 6))),
            (code("lrc", 4, 2, None), 8, 5, Some((7, 7))),
            // What contradicts itself tells nothing.
            (code("jerasure", 4, 2, None), 7, 5, None),
            (code("shec", 4, 3, None), 7, 5, None),
            (PoolKind::Erasure(None), 6, 4, Some((5, 5))),
            (PoolKind::Erasure(None), 6, 5, Some((6, 5))),
            (PoolKind::Erasure(None), 6, 6, None),
            (PoolKind::Unknown, 3, 2, None),
        ] {
            assert_eq!(keeps(&pool(kind.clone(), size, min_size)), expected, "{kind:?} {size}/{min_size}");
        }
    }

    #[test]
    fn outages_and_pools_that_never_can_are_known_as_such() {
        let consents = Consents::from([PoolId(1)]);
        let need = |size, min_size| Need::of(&pool(PoolKind::Replicated, size, min_size), &consents).unwrap();
        assert!(need(1, 1).is_outage() && !need(2, 1).is_outage());
        assert!(need(3, 3).never() && need(2, 2).never() && !need(3, 2).never());
    }
}
