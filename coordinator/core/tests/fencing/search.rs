//! Breadth first over everything that can happen, so that what is found first has the shortest trace.

use crate::rules::Rules;
use crate::world::{Bounds, Explorer, Told, World};
use std::collections::BTreeMap;
use std::fmt::Write;
use std::rc::Rc;

#[derive(Debug)]
pub struct Explored {
    pub states: usize,
    pub transitions: usize,
    pub depth: usize,
    pub machines: usize,
    pub finished: usize,
}

struct Reached {
    world: Rc<World>,
    from: Option<(usize, Told)>,
    depth: usize,
}

/// Explores every state within the bounds.
///
/// # Errors
/// The shortest trace to a step that breaks a promise, or to a state from which the run cannot come to its end.
pub fn explore(rules: Rules, bounds: Bounds) -> Result<Explored, String> {
    let mut explorer = Explorer::new(rules, bounds);
    let first = Rc::new(explorer.first());
    let mut ids = BTreeMap::from([(first.clone(), 0)]);
    let mut reached = vec![Reached { world: first, from: None, depth: 0 }];
    let mut before: Vec<Vec<u32>> = vec![Vec::new()];
    let (mut at, mut transitions) = (0, 0);
    while at < reached.len() {
        let world = reached[at].world.clone();
        assert!(at < 400_000, "too many states");
        for next in explorer.next(&world) {
            transitions += 1;
            if let Some(broken) = next.broken {
                return Err(trace(&explorer, &reached, at, Some(next.told), &broken));
            }
            let world = Rc::new(next.world);
            let fresh = reached.len();
            let id = *ids.entry(world.clone()).or_insert(fresh);
            if id == fresh {
                let depth = reached[at].depth + 1;
                reached.push(Reached { world, from: Some((at, next.told)), depth });
                before.push(Vec::new());
            }
            before[id].push(u32::try_from(at).unwrap());
        }
        at += 1;
    }
    let standing: Vec<(bool, bool)> =
        reached.iter().map(|state| explorer.led_and_finished(&state.world)).collect();
    let mut open: Vec<usize> = (0..reached.len()).filter(|state| standing[*state].1).collect();
    let finished = open.len();
    let mut ends = vec![false; reached.len()];
    open.iter().for_each(|state| ends[*state] = true);
    while let Some(state) = open.pop() {
        for earlier in &before[state] {
            if !std::mem::replace(&mut ends[*earlier as usize], true) {
                open.push(*earlier as usize);
            }
        }
    }
    if let Some(stuck) = (0..reached.len()).find(|state| standing[*state].0 && !ends[*state]) {
        return Err(trace(
            &explorer,
            &reached,
            stuck,
            None,
            "a coordinator leads, and its run cannot come to its end",
        ));
    }
    Ok(Explored {
        states: reached.len(),
        transitions,
        depth: reached.last().map_or(0, |state| state.depth),
        machines: explorer.machines(),
        finished,
    })
}

fn trace(
    explorer: &Explorer,
    reached: &[Reached],
    mut at: usize,
    last: Option<Told>,
    broken: &str,
) -> String {
    let mut told: Vec<Told> = last.into_iter().collect();
    while let Some((from, step)) = &reached[at].from {
        told.push(*step);
        at = *from;
    }
    let mut text = format!("{broken}:\n");
    for (number, step) in (1..).zip(told.iter().rev()) {
        writeln!(text, "{number:>3}. {}", explorer.tell(step)).unwrap();
    }
    text
}
