//! Seeking: storms until one breaks, and the tests that are named.

use super::catcher::{Catcher, Test, catcher};
use super::suite::{Suite, Verdict};
use super::table::{Caught, Sought};
use anyhow::{Result, bail};
use replank_common::planted::{self, Planted};
use replank_sim::storm;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

/// Seeks these faults on all cores, storms at most `seeds` seeds each; in the order that they were given in.
///
/// # Errors
/// The tests do not build, one does not tell, or one fails without any fault.
pub fn seek(faults: &[Planted], seeds: u64) -> Result<Vec<Sought>> {
    let tests: Vec<Test> = faults.iter().filter_map(|fault| test_of(*fault)).collect();
    let suite = Suite::build(&tests)?;
    // What takes longest first, so that no core waits for another at the end.
    let (mut order, tests): (Vec<_>, Vec<_>) =
        faults.iter().partition(|fault| matches!(catcher(**fault), Catcher::Storms));
    order.extend(tests);
    let (next, found) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(fault) = order.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let caught = match catcher(*fault) {
                        Catcher::Storms => Ok(in_storms(*fault, seeds)),
                        Catcher::Test(test) => by_test(&suite, *fault, &test),
                    };
                    let word = match &caught {
                        Ok(Some(_)) => "caught",
                        Ok(None) => "not caught",
                        Err(_) => "cannot tell",
                    };
                    eprintln!("{}: {word}", fault.name());
                    let mut found = found.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                    found.push(caught.map(|caught| Sought { fault: *fault, caught }));
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    let mut found: Vec<Sought> = found.into_iter().collect::<Result<_>>()?;
    found.sort_by_key(|sought| faults.iter().position(|fault| *fault == sought.fault));
    Ok(found)
}

fn test_of(fault: Planted) -> Option<Test> {
    match catcher(fault) {
        Catcher::Test(test) => Some(test),
        Catcher::Storms => None,
    }
}

fn in_storms(fault: Planted, seeds: u64) -> Option<Caught> {
    let _planted = planted::plant(fault);
    (0..seeds).find_map(|seed| {
        let broken = storm(seed).broken?;
        Some(Caught::Seed { seeds: seed + 1, by: broken.promise.name(), text: broken.text })
    })
}

fn by_test(suite: &Suite, fault: Planted, test: &Test) -> Result<Option<Caught>> {
    if suite.run(test, None)? == Verdict::Failed {
        bail!("{test} fails although nothing is planted");
    }
    Ok(match suite.run(test, Some(fault))? {
        Verdict::Failed => Some(Caught::Test),
        Verdict::Passed => None,
    })
}
