//! First fit: each unit goes into the first wave that can take it.
//!
//! A unit that went into a later wave could not go into an earlier one, and still cannot when all are placed, as waves only fill. So every wave is as
//! large as what comes after it allows. The machines of one failure domain follow each other in the tree and exclude each other in no group: they
//! fall into one wave.

use super::units::Field;

/// The wave of each unit, counted from 0.
pub(super) type Waves = Vec<u32>;

/// Places the units in this order.
pub(super) fn first_fit(field: &Field, order: &[u32]) -> Waves {
    const NOWHERE: u32 = u32::MAX;
    let mut wave_of = vec![NOWHERE; field.units.len()];
    // `closed[wave] == unit + 1`: that wave cannot take the unit at hand.
    let mut closed: Vec<u32> = Vec::new();
    let mut sums: Vec<(u32, u32)> = Vec::new();
    for unit in order {
        for (constraint, weight) in &field.of_unit[*unit as usize] {
            let constraint = &field.constraints[*constraint as usize];
            sums.clear();
            for (other, other_weight) in &constraint.units {
                let wave = wave_of[*other as usize];
                if wave == NOWHERE {
                    continue;
                }
                match sums.iter_mut().find(|(at, _)| *at == wave) {
                    Some((_, sum)) => *sum += other_weight,
                    None => sums.push((wave, *other_weight)),
                }
            }
            for (wave, sum) in &sums {
                if sum + weight > constraint.spare {
                    closed[*wave as usize] = unit + 1;
                }
            }
        }
        let open = closed.iter().position(|by| *by != unit + 1).unwrap_or_else(|| {
            closed.push(0);
            closed.len() - 1
        });
        wave_of[*unit as usize] = u32::try_from(open).expect("no more waves than units");
    }
    wave_of
}

/// The fewest waves of some orders: as the tree is drawn, and those that exclude most first.
pub(super) fn fit(field: &Field) -> Waves {
    let drawn: Vec<u32> = (0..).take(field.units.len()).collect();
    let mut hardest = drawn.clone();
    hardest.sort_by_key(|unit| std::cmp::Reverse(field.of_unit[*unit as usize].len()));
    let first = first_fit(field, &drawn);
    let second = first_fit(field, &hardest);
    if count(&second) < count(&first) { second } else { first }
}

/// How many waves there are.
pub(super) fn count(waves: &Waves) -> u32 {
    waves.iter().max().map_or(0, |last| last + 1)
}
