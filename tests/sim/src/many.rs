//! Seeds on all cores. Each voyage is one thread's from its beginning to its end, so that which thread it was changes nothing.

use replank_sim::{Voyage, storm};
use std::num::NonZeroUsize;
use std::ops::Range;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// One voyage and its wall time.
#[derive(Debug)]
pub struct Sailed {
    pub voyage: Voyage,
    pub took: Duration,
}

/// Sails each seed of the range once, on `threads` threads; `each` is called with every voyage as it ends, in no particular order.
pub fn sail(seeds: Range<u64>, threads: NonZeroUsize, mut each: impl FnMut(Sailed)) {
    let next = AtomicU64::new(seeds.start);
    let (sender, sailed) = mpsc::sync_channel(threads.get() * 2);
    thread::scope(|scope| {
        for _ in 0..threads.get() {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end {
                        return;
                    }
                    let began = Instant::now();
                    let voyage = storm(seed);
                    if sender.send(Sailed { voyage, took: began.elapsed() }).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        sailed.iter().for_each(&mut each);
    });
}

/// As many threads as there are cores.
pub fn all_cores() -> NonZeroUsize {
    thread::available_parallelism().unwrap_or(NonZeroUsize::MIN)
}
