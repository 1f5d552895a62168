//! In a small cluster: are fewer waves possible? Tried until it is known or the patience ends.
//!
//! A depth-first search that places next the unit with the fewest waves left. It is exact: when it comes back empty within its patience, there is no such sequence.
//! Patience is counted in steps of work, not in time, so that the answer is the same everywhere.

use super::fit::Waves;
use super::units::Field;
use std::collections::BTreeMap;

/// More units than this are not searched.
const UNITS: usize = 64;

/// Steps of work for one search.
const PATIENCE: u64 = 3_000_000;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Found {
    Waves(Waves),
    /// There is no such sequence.
    Impossible,
    /// Not known.
    TooLong,
}

/// A sequence of `waves` waves.
pub(super) fn search(field: &Field, waves: u32) -> Found {
    if field.units.len() > UNITS {
        return Found::TooLong;
    }
    if waves == 0 {
        return if field.units.is_empty() { Found::Waves(Waves::new()) } else { Found::Impossible };
    }
    let mut board = Board::new(field, waves as usize);
    match board.place(0) {
        Some(true) => Found::Waves(board.wave_of.iter().map(|wave| wave.expect("all are placed")).collect()),
        Some(false) => Found::Impossible,
        None => Found::TooLong,
    }
}

struct Board {
    /// Constraint → spare.
    spare: Vec<u32>,
    /// Unit → constraints with its weight. Each set of units once, with its least spare: thousands of groups become some dozens.
    of_unit: Vec<Vec<(u32, u32)>>,
    /// `used[constraint * waves + wave]`.
    used: Vec<u32>,
    waves: usize,
    wave_of: Vec<Option<u32>>,
    steps: u64,
}

impl Board {
    fn new(field: &Field, waves: usize) -> Self {
        let mut least: BTreeMap<&[(u32, u32)], u32> = BTreeMap::new();
        for constraint in &field.constraints {
            let spare = least.entry(&constraint.units).or_insert(constraint.spare);
            *spare = constraint.spare.min(*spare);
        }
        let mut of_unit = vec![Vec::new(); field.units.len()];
        for (index, units) in (0..).zip(least.keys()) {
            for (unit, weight) in *units {
                of_unit[*unit as usize].push((index, *weight));
            }
        }
        let spare: Vec<u32> = least.into_values().collect();
        let used = vec![0; spare.len() * waves];
        Self { spare, of_unit, used, waves, wave_of: vec![None; field.units.len()], steps: 0 }
    }

    /// Places what is left, with `opened` waves in use. `None`: patience ended.
    fn place(&mut self, opened: usize) -> Option<bool> {
        // Waves that nothing is in yet are all alike: one of them is enough.
        let choices = (opened + 1).min(self.waves);
        let mut next: Option<(usize, Vec<usize>)> = None;
        for unit in 0..self.wave_of.len() {
            if self.wave_of[unit].is_some() {
                continue;
            }
            let open: Vec<usize> = (0..choices).filter(|wave| self.takes(*wave, unit)).collect();
            if self.steps > PATIENCE {
                return None;
            }
            let fewer = next.as_ref().is_none_or(|(best, waves)| {
                (open.len(), usize::MAX - self.of_unit[unit].len())
                    < (waves.len(), usize::MAX - self.of_unit[*best].len())
            });
            if fewer {
                let none = open.is_empty();
                next = Some((unit, open));
                if none {
                    return Some(false);
                }
            }
        }
        let Some((unit, open)) = next else { return Some(true) };
        for wave in open {
            self.put(wave, unit);
            match self.place(opened.max(wave + 1)) {
                Some(false) => self.take(wave, unit),
                end => return end,
            }
        }
        Some(false)
    }

    fn takes(&mut self, wave: usize, unit: usize) -> bool {
        self.steps += self.of_unit[unit].len() as u64 + 1;
        self.of_unit[unit].iter().all(|(constraint, weight)| {
            let constraint = *constraint as usize;
            self.used[constraint * self.waves + wave] + weight <= self.spare[constraint]
        })
    }

    fn put(&mut self, wave: usize, unit: usize) {
        for (constraint, weight) in &self.of_unit[unit] {
            self.used[*constraint as usize * self.waves + wave] += weight;
        }
        self.wave_of[unit] = u32::try_from(wave).ok();
    }

    fn take(&mut self, wave: usize, unit: usize) {
        for (constraint, weight) in &self.of_unit[unit] {
            self.used[*constraint as usize * self.waves + wave] -= weight;
        }
        self.wave_of[unit] = None;
    }
}
