//! What changed, line by line, for people and for the ledger.

use serde::{Deserialize, Serialize};
use similar::{Algorithm, DiffOp, TextDiff, capture_diff_slices};

use crate::text;

/// Lines of context in a rendered diff.
const CONTEXT_LINES: usize = 3;

/// One line that was changed, added (no `before`) or removed (no `after`).
///
/// The text is without line ending; bytes that are not printable UTF-8 are shown as `\xNN`, so this is a report and
/// not a patch.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LineChange {
    /// 1-based: in the old file for a changed or removed line, in the new file for an added one.
    pub line: usize,
    pub before: Option<String>,
    pub after: Option<String>,
}

fn shown_lines(source: &[u8]) -> Vec<String> {
    text::lines(source, 0).iter().map(|line| text::shown(line.of(source))).collect()
}

/// The lines that differ, in the order of the file.
pub(crate) fn changes(before: &[u8], after: &[u8]) -> Vec<LineChange> {
    let (old, new) = (shown_lines(before), shown_lines(after));
    let mut changes = Vec::new();
    for op in capture_diff_slices(Algorithm::Myers, &old, &new) {
        if matches!(op, DiffOp::Equal { .. }) {
            continue;
        }
        let (gone, come) = (op.old_range(), op.new_range());
        for at in 0..gone.len().max(come.len()) {
            let before = gone.clone().nth(at);
            let after = come.clone().nth(at);
            changes.push(LineChange {
                line: before.or(after).map_or(0, |index| index + 1),
                before: before.map(|index| old[index].clone()),
                after: after.map(|index| new[index].clone()),
            });
        }
    }
    changes
}

/// The line of `before` that became line `line` of `after`, 1-based; for an added line, the one that it stands before.
pub(crate) fn line_before(before: &[u8], after: &[u8], line: usize) -> usize {
    let (old, new) = (shown_lines(before), shown_lines(after));
    let index = line.saturating_sub(1);
    for op in capture_diff_slices(Algorithm::Myers, &old, &new) {
        if op.new_range().contains(&index) {
            let ahead = index - op.new_range().start;
            return op.old_range().start + ahead.min(op.old_range().len()) + 1;
        }
    }
    old.len() + 1
}

/// A unified diff of two versions of the file `name`; empty if no line's content differs.
///
/// Line endings are not shown; unprintable bytes are, as `\xNN`.
pub fn render_diff(name: &str, before: &[u8], after: &[u8]) -> String {
    let (old, new) = (shown_lines(before), shown_lines(after));
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    let new: Vec<&str> = new.iter().map(String::as_str).collect();
    let diff = TextDiff::from_slices(&old, &new);
    diff.unified_diff()
        .context_radius(CONTEXT_LINES)
        .header(&format!("{name} (before)"), &format!("{name} (after)"))
        .to_string()
}
