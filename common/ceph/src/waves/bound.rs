//! Why there cannot be fewer waves.
//!
//! Each of these is a bound on *every* sequence of sets of whole units (the units of the plan that it stands beside) in which each set keeps all constraints:
//!
//! - **One group.** Of a group's members, of weight w together, at most `spare` are in one wave, so it takes ⌈w / spare⌉ waves to stop them all.
//! - **Pairs.** Of units of which any two exceed the spare of some group together, each needs a wave of its own.
//! - **Triples.** Of units of which any three exceed the spare of some group together, a wave holds two at most: ⌈n / 2⌉ waves. This is what binds
//!   wide erasure codes, of which two machines may stop at once.
//! - **Search.** Every way to use one wave less was tried.
//!
//! The sets of pairs and triples are grown greedily: a larger one may exist, and then the bound is lower than it could be, never higher.

use super::units::{Field, Why};
use crate::PgId;
use serde::Serialize;

/// No sequence has fewer waves, and why.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct LowerBound {
    pub waves: u32,
    #[serde(flatten)]
    pub reason: Reason,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "because", rename_all = "kebab-case")]
pub enum Reason {
    /// There is something to stop, or nothing.
    Trivial,
    OneGroup {
        pg: PgId,
    },
    Pairs {
        units: Vec<String>,
    },
    Triples {
        units: Vec<String>,
    },
    Search,
}

/// Starting points for growing sets.
const STARTS: usize = 64;

/// Triples are looked at up to this many units: the table grows with the third power.
const TRIPLE_UNITS: usize = 256;

/// And up to this many triples of members.
const TRIPLES: u64 = 60_000_000;

/// The best of the bounds that need no search.
pub(super) fn lower_bound(field: &Field) -> LowerBound {
    let names = |units: Vec<usize>| units.into_iter().map(|unit| field.units[unit].name.clone()).collect();
    let trivial = u32::from(!field.units.is_empty());
    let mut best = LowerBound { waves: trivial, reason: Reason::Trivial };
    let mut offer = |waves: usize, reason: Reason| {
        let waves = u32::try_from(waves).unwrap_or(u32::MAX);
        if waves > best.waves {
            best = LowerBound { waves, reason };
        }
    };
    let pairs = Pairs::new(field);
    let apart = pairs.grow();
    offer(apart.len(), Reason::Pairs { units: names(apart) });
    if let Some(waves) = one_group(field) {
        offer(waves.0, Reason::OneGroup { pg: waves.1 });
    }
    let tight = triples(field, &pairs);
    offer(tight.len().div_ceil(2), Reason::Triples { units: names(tight) });
    best
}

fn one_group(field: &Field) -> Option<(usize, PgId)> {
    let waves = field.constraints.iter().filter_map(|constraint| {
        let weight: u32 = constraint.units.iter().map(|(_, weight)| weight).sum();
        match constraint.why {
            Why::Group(pg) if constraint.spare > 0 => Some((weight.div_ceil(constraint.spare) as usize, pg)),
            Why::Group(_) | Why::Mons => None,
        }
    });
    // Of equals the first group.
    waves.reduce(|best, next| if next.0 > best.0 { next } else { best })
}

/// Sets of units as bits.
#[derive(Debug, Clone)]
struct Bits(Vec<u64>);

impl Bits {
    fn none(units: usize) -> Self {
        Self(vec![0; units.div_ceil(64)])
    }
    fn set(&mut self, at: usize) {
        self.0[at / 64] |= 1 << (at % 64);
    }
    fn has(&self, at: usize) -> bool {
        self.0[at / 64] >> (at % 64) & 1 == 1
    }
    fn keep(&mut self, other: &Self) {
        self.0.iter_mut().zip(&other.0).for_each(|(mine, theirs)| *mine &= theirs);
    }
    fn count(&self) -> u32 {
        self.0.iter().map(|word| word.count_ones()).sum()
    }
}

/// Which units exclude each other.
struct Pairs {
    rows: Vec<Bits>,
    /// Those that exclude most, first.
    order: Vec<usize>,
}

impl Pairs {
    fn new(field: &Field) -> Self {
        let units = field.units.len();
        let mut rows = vec![Bits::none(units); units];
        for constraint in &field.constraints {
            for (at, (one, weight)) in constraint.units.iter().enumerate() {
                for (other, other_weight) in &constraint.units[at + 1..] {
                    if weight + other_weight > constraint.spare {
                        rows[*one as usize].set(*other as usize);
                        rows[*other as usize].set(*one as usize);
                    }
                }
            }
        }
        let mut order: Vec<usize> = (0..units).collect();
        let degrees: Vec<u32> = rows.iter().map(Bits::count).collect();
        order.sort_by_key(|unit| std::cmp::Reverse(degrees[*unit]));
        Self { rows, order }
    }

    /// The largest set found of which any two exclude each other.
    fn grow(&self) -> Vec<usize> {
        let mut best = Vec::new();
        for start in self.order.iter().take(STARTS) {
            let mut set = vec![*start];
            let mut left = self.rows[*start].clone();
            for next in &self.order {
                if left.has(*next) {
                    set.push(*next);
                    left.keep(&self.rows[*next]);
                }
            }
            if set.len() > best.len() {
                best = set;
            }
        }
        best.sort_unstable();
        best
    }
}

/// The largest set found of which any three exceed a spare together; empty where it is not looked for.
fn triples(field: &Field, pairs: &Pairs) -> Vec<usize> {
    let units = field.units.len();
    let wide = |n: u64| n * n.saturating_sub(1) * n.saturating_sub(2) / 6;
    let work: u64 = field.constraints.iter().map(|constraint| wide(constraint.units.len() as u64)).sum();
    if units > TRIPLE_UNITS || work > TRIPLES {
        return Vec::new();
    }
    // `table[a * units + b]` has c: the three exceed a spare.
    let mut table = vec![Bits::none(units); units * units];
    for constraint in &field.constraints {
        for (at, (a, wa)) in constraint.units.iter().enumerate() {
            for (to, (b, wb)) in constraint.units.iter().enumerate().skip(at + 1) {
                for (c, wc) in &constraint.units[to + 1..] {
                    if wa + wb + wc > constraint.spare {
                        let [a, b, c] = [*a as usize, *b as usize, *c as usize];
                        for (one, two, three) in [(a, b, c), (a, c, b), (b, c, a)] {
                            table[one * units + two].set(three);
                            table[two * units + one].set(three);
                        }
                    }
                }
            }
        }
    }
    let apart = |a: usize, b: usize, c: usize| {
        table[a * units + b].has(c) || pairs.rows[a].has(b) || pairs.rows[a].has(c) || pairs.rows[b].has(c)
    };
    let mut best: Vec<usize> = Vec::new();
    for start in 0..units.min(STARTS) {
        let mut set: Vec<usize> = vec![start];
        for next in (0..units).filter(|unit| *unit != start) {
            let all = set.iter().enumerate().all(|(at, a)| set[at + 1..].iter().all(|b| apart(*a, *b, next)));
            if all {
                set.push(next);
            }
        }
        if set.len() > best.len() {
            best = set;
        }
    }
    best.sort_unstable();
    // Two units are no triple.
    if best.len() < 3 { Vec::new() } else { best }
}
