//! Planted faults: each is sailed with until a voyage breaks, so that it is known which check would find it, and how soon.

use replank_common::planted::{self, Planted};
use replank_sim::storm;
use std::fmt::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

/// What became of one planted fault.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sought {
    pub fault: Planted,
    /// `None`: nothing caught it, which is a hole in the checks.
    pub caught: Option<Caught>,
}

/// The first voyage that broke.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Caught {
    /// How many seeds it took.
    pub seeds: u64,
    pub seed: u64,
    /// Of the promise that broke.
    pub by: &'static str,
    pub text: String,
}

/// Sails seeds of the range with one fault planted until a voyage breaks.
pub fn seek(fault: Planted, seeds: Range<u64>) -> Sought {
    let _planted = planted::plant(fault);
    let first = seeds.start;
    let caught = seeds.into_iter().find_map(|seed| {
        let broken = storm(seed).broken?;
        Some(Caught { seeds: seed - first + 1, seed, by: broken.promise.name(), text: broken.text })
    });
    Sought { fault, caught }
}

/// Every fault, on all cores, in the order of [`Planted::ALL`].
pub fn seek_all(seeds: Range<u64>) -> Vec<Sought> {
    let next = AtomicUsize::new(0);
    let (sender, found) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 0..super::many::all_cores().get() {
            let (sender, next, seeds) = (sender.clone(), &next, seeds.clone());
            scope.spawn(move || {
                while let Some(fault) = Planted::ALL.get(next.fetch_add(1, Ordering::Relaxed)) {
                    if sender.send(seek(*fault, seeds.clone())).is_err() {
                        return;
                    }
                }
            });
        }
    });
    drop(sender);
    let mut found: Vec<Sought> = found.iter().collect();
    found.sort_by_key(|sought| Planted::ALL.iter().position(|fault| *fault == sought.fault));
    found
}

/// As a table of Markdown.
pub fn table(found: &[Sought]) -> String {
    let mut text =
        "| planted | promise | what it breaks | caught by | after seeds |\n| --- | --- | --- | --- | --- |\n"
            .to_owned();
    for Sought { fault, caught } in found {
        let (by, seeds) = match caught {
            Some(caught) => (format!("{}: {}", caught.by, short(&caught.text)), caught.seeds.to_string()),
            None => ("nothing".to_owned(), "—".to_owned()),
        };
        let (name, promise, breaks) = (fault.name(), fault.promise(), fault.breaks());
        writeln!(text, "| {name} | {promise} | {breaks} | {by} | {seeds} |").expect("a string takes text");
    }
    text
}

fn short(text: &str) -> String {
    let line = text.lines().next().unwrap_or_default().replace('|', "\\|");
    let mut short: String = line.chars().take(100).collect();
    if line.chars().count() > 100 {
        short.push('…');
    }
    short
}
