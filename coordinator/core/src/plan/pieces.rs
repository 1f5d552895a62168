//! A plan file in pieces, which can be kept, proved and read one by one: a large fleet's has hundreds of megabytes.
//!
//! The pieces in their order are the file, byte for byte, and the id is proved over all of them. Where they are cut proves nothing and
//! need not: what is read of them is the plan of the file that they make, or is refused.

use super::file::PlanFileError;
use super::model::{Need, Plan, Stage, Step, Undo, Work};
use crate::digest;
use crate::gate::Gate;
use crate::run::MAX_STEPS;
use memchr::{memchr, memmem};
use replank_common::ids::{HostName, PlanId, StepId};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// A piece ends with the first step that reaches this size: small enough to stay in a processor's cache while it is worked on.
const PIECE_BYTES: usize = 256 * 1024;
/// In a plan file: where its steps begin, where one of them begins, and where they end.
const STEPS: &[u8] = b"\n    \"steps\": [\n";
const STEP: &[u8] = b"\n      {\n";
const END: &[u8] = b"\n    ]";
/// In a step: where what it may have in common with others begins and ends, where what it does begins and ends, and its end. No text within
/// it begins a line so far to the left.
const STAGE: &[u8] = b",\n        \"stage\": ";
const NEEDS: &[u8] = b",\n        \"needs\": ";
const WORK: &[u8] = b",\n        \"work\": ";
const BEFORE: &[u8] = b",\n        \"before\": ";
const STEP_END: &[u8] = b"\n      }";
/// So many different texts at most are remembered.
const REMEMBERED_MAX: usize = 4_096;

/// Cuts a plan file: what comes before its steps, some steps at a time, and what comes after them. Without steps, or no plan file at all, it
/// stays in one piece.
pub fn cut(file: &[u8]) -> Vec<&[u8]> {
    let Some(begin) = memmem::find(file, STEPS) else { return vec![file] };
    let (first, rest) = file.split_at(begin + STEPS.len());
    let Some(end) = memmem::find(rest, END) else { return vec![file] };
    let (mut steps, last) = rest.split_at(end + 1);
    let mut pieces = vec![first];
    while let Some(more) = steps.get(PIECE_BYTES..).and_then(|rest| memmem::find(rest, STEP)) {
        let (piece, others) = steps.split_at(PIECE_BYTES + more + 1);
        pieces.push(piece);
        steps = others;
    }
    pieces.extend([steps, last]);
    pieces
}

/// A proof, piece after piece and from the bytes alone, that they make the plan file of an id which [`Plan::from_bytes`] accepted: in the
/// file the plan's canonical bytes stand indented by two blanks, and without the blanks they hash to the id. Much less work than to read
/// and to write the plan again, which tells as much.
#[derive(Debug)]
pub struct Proof<'i> {
    id: &'i PlanId,
    /// What the file begins with, until it is seen.
    head: Option<String>,
    digest: digest::Growing,
    /// The line that ends the file was seen.
    ended: bool,
}

impl<'i> Proof<'i> {
    pub fn of(id: &'i PlanId) -> Self {
        let head = format!("{{\n  \"id\": \"{id}\",\n  \"plan\": ");
        Self { id, head: Some(head), digest: digest::Growing::new(), ended: false }
    }

    /// Takes in the next piece. It ends with the end of a line, as [`cut`] cuts.
    ///
    /// # Errors
    /// [`PlanFileError::Rewritten`].
    pub fn add(&mut self, piece: &[u8]) -> Result<(), PlanFileError> {
        let rewritten = || PlanFileError::Rewritten { id: self.id.clone() };
        let mut rest = piece;
        if let Some(head) = self.head.take() {
            // The plan begins in the middle of a line.
            rest = rest.strip_prefix(head.as_bytes()).ok_or_else(rewritten)?;
            let line = first_line(rest).ok_or_else(rewritten)?;
            self.digest.add(line);
            rest = &rest[line.len()..];
        }
        while !rest.is_empty() {
            let line = first_line(rest).ok_or_else(rewritten)?;
            match line.strip_prefix(b"  ") {
                Some(line) if !self.ended => self.digest.add(line),
                None if line == b"}\n" && !self.ended => self.ended = true,
                Some(_) | None => return Err(rewritten()),
            }
            rest = &rest[line.len()..];
        }
        Ok(())
    }

    /// After the last piece.
    ///
    /// # Errors
    /// [`PlanFileError::Changed`] or [`PlanFileError::Rewritten`].
    pub fn end(self) -> Result<(), PlanFileError> {
        let Self { id, digest, ended, head: _ } = self;
        if !ended {
            return Err(PlanFileError::Rewritten { id: id.clone() });
        }
        let found = PlanId::new(format!("sha256:{}", digest.hex()))
            .expect("a SHA-256 in hexadecimal makes a plan id");
        if found == *id { Ok(()) } else { Err(PlanFileError::Changed { written: id.clone(), found }) }
    }
}

fn first_line(text: &[u8]) -> Option<&[u8]> {
    memchr(b'\n', text).map(|end| &text[..=end])
}

/// A plan put together from the pieces of its file.
///
/// They need no proof before: what a [`Proof`] of them tells, at the same time or later, holds for the plan too.
#[derive(Debug)]
pub struct Reader {
    pieces: usize,
    /// How many of them were added.
    added: usize,
    /// The first piece and the last one: all that surrounds the steps.
    around: Vec<u8>,
    steps: Steps,
    /// Why the steps cannot be read. What surrounds them may tell a better reason.
    unread: Option<String>,
}

impl Reader {
    /// For a file of so many pieces.
    pub fn of(pieces: usize) -> Self {
        Self { pieces, added: 0, around: Vec::new(), steps: Steps::default(), unread: None }
    }

    /// Takes in the next piece.
    pub fn add(&mut self, piece: &[u8]) {
        self.added += 1;
        if self.added == 1 || self.added == self.pieces {
            self.around.extend_from_slice(piece);
            return;
        }
        if self.unread.is_some() {
            return;
        }
        if let Err(why) = self.steps.read(piece) {
            self.unread = Some(format!("in the step after {} others: {why}", self.steps.steps.len()));
        }
        if self.added == 2 {
            // The others have about as many.
            let steps = self.steps.steps.len() * self.pieces * 33 / 32;
            self.steps.steps.reserve(steps.min(MAX_STEPS));
        }
    }

    /// The plan, after the last piece.
    ///
    /// # Errors
    /// [`PlanFileError::Form`] or [`PlanFileError::Newer`].
    pub fn end(self) -> Result<Plan, PlanFileError> {
        let Self { pieces, added, around, steps, unread } = self;
        let mut plan = Plan::from_proved_bytes(&around)?;
        if let Some(why) = unread {
            return Err(PlanFileError::Form { why });
        }
        if added != pieces {
            return Err(PlanFileError::Form { why: format!("it has {added} pieces of {pieces}") });
        }
        if pieces > 1 {
            if !plan.steps.is_empty() {
                return Err(PlanFileError::Form { why: "it is cut within its steps".to_owned() });
            }
            plan.steps = steps.steps;
        }
        Ok(plan)
    }
}

/// Reads steps, of which those of different hosts have nearly everything in common: that is read once, and what they do is shared.
#[derive(Debug, Default)]
struct Steps {
    steps: Vec<Step>,
    shared: Remembered<Shared>,
    works: Remembered<Arc<Work>>,
    /// A step's text without what it may share.
    own: Vec<u8>,
}

/// What was read before, by its text.
#[derive(Debug)]
struct Remembered<T>(BTreeMap<Box<[u8]>, T>);

impl<T> Default for Remembered<T> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<T> Remembered<T> {
    fn get(&self, text: &[u8]) -> Option<&T> {
        self.0.get(text)
    }

    fn keep(&mut self, text: &[u8], read: T) -> &T {
        // What has nothing in common with anything is not remembered for ever.
        if self.0.len() == REMEMBERED_MAX {
            self.0.clear();
        }
        self.0.entry(text.into()).or_insert(read)
    }
}

/// What steps of different hosts may have in common.
#[derive(Debug)]
struct Shared {
    rest: Rest,
    work: Arc<Work>,
}

/// [`Shared`] without what the step does.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rest {
    stage: Stage,
    title: String,
    before: Vec<Gate>,
    after: Vec<Gate>,
    undo: Undo,
}

/// A step without what it may share.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Own {
    id: StepId,
    host: HostName,
    needs: Vec<Need>,
    expected_ms: u64,
    deadline_ms: u64,
}

impl Steps {
    /// The steps of a piece, each as a plan file has it.
    fn read(&mut self, mut piece: &[u8]) -> Result<(), String> {
        let find = Finders::new();
        while !piece.is_empty() {
            piece = self.read_one(piece, &find)?;
            piece = piece.strip_prefix(b",").unwrap_or(piece);
            piece = piece.strip_prefix(b"\n").ok_or("something follows it")?;
        }
        Ok(())
    }

    /// The first step of the text. What follows it.
    fn read_one<'p>(&mut self, text: &'p [u8], find: &Finders) -> Result<&'p [u8], String> {
        let begin = find.stage.find(text).ok_or("it has no stage")?;
        let end = begin + find.needs.find(&text[begin..]).ok_or("it has no needs")?;
        let close = end + find.step_end.find(&text[end..]).ok_or("it does not end")? + STEP_END.len();
        self.own.clear();
        self.own.extend_from_slice(&text[..begin]);
        self.own.extend_from_slice(&text[end..close]);
        let Own { id, host, needs, expected_ms, deadline_ms } =
            serde_json::from_slice(&self.own).map_err(form)?;
        // Without the comma before it.
        let shared = &text[begin + 1..end];
        let shared = match self.shared.get(shared) {
            Some(known) => known,
            None => {
                let read = read_shared(shared, find, &mut self.works)?;
                self.shared.keep(shared, read)
            }
        };
        let Rest { stage, title, before, after, undo } = shared.rest.clone();
        let work = shared.work.clone();
        self.steps.push(Step {
            id,
            host,
            stage,
            title,
            work,
            before,
            after,
            undo,
            needs,
            expected_ms,
            deadline_ms,
        });
        Ok(&text[close..])
    }
}

fn read_shared(text: &[u8], find: &Finders, works: &mut Remembered<Arc<Work>>) -> Result<Shared, String> {
    let begin = find.work.find(text).ok_or("it has no work")?;
    let end = begin + find.before.find(&text[begin..]).ok_or("it has no gates")?;
    let rest = [b"{", &text[..begin], &text[end..], b"}"].concat();
    let rest = serde_json::from_slice(&rest).map_err(form)?;
    let work = &text[begin + WORK.len()..end];
    let work = match works.get(work) {
        Some(known) => known,
        None => works.keep(work, serde_json::from_slice(work).map_err(form)?),
    };
    Ok(Shared { rest, work: work.clone() })
}

fn form(error: serde_json::Error) -> String {
    error.to_string()
}

struct Finders {
    stage: memmem::Finder<'static>,
    needs: memmem::Finder<'static>,
    work: memmem::Finder<'static>,
    before: memmem::Finder<'static>,
    step_end: memmem::Finder<'static>,
}

impl Finders {
    fn new() -> Self {
        Self {
            stage: memmem::Finder::new(STAGE),
            needs: memmem::Finder::new(NEEDS),
            work: memmem::Finder::new(WORK),
            before: memmem::Finder::new(BEFORE),
            step_end: memmem::Finder::new(STEP_END),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_without_steps_stays_whole() {
        for file in ["", "{}", "{\n  \"plan\": {\n    \"steps\": [],\n", "x\n    \"steps\": [\n      {\n"] {
            assert_eq!(cut(file.as_bytes()), [file.as_bytes()]);
        }
    }

    #[test]
    fn every_byte_is_in_one_piece() {
        let step = format!("      {{\n        \"id\": \"{}\"\n      }},\n", "x".repeat(1_000));
        let first = "{\n    \"steps\": [\n";
        let file = format!("{first}{}    ],\n    \"findings\": [\n    ]\n}}\n", step.repeat(600));
        let pieces = cut(file.as_bytes());
        assert_eq!(pieces.concat(), file.as_bytes());
        assert_eq!(pieces.len(), 5, "three pieces of steps");
        assert_eq!(pieces[0], first.as_bytes());
        for piece in &pieces[1..4] {
            assert!(piece.starts_with(b"      {\n") && piece.ends_with(b"      },\n"));
            assert!(piece.len() < PIECE_BYTES + 2 * step.len());
        }
        assert!(pieces[4].starts_with(b"    ],\n    \"findings\""));
    }
}
