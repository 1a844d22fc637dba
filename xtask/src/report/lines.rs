//! A table of the paper as a list of lines, one for each value: paper, ours, the difference, trials, what was run.
//!
//! Every rendering shows these lines; what they say is decided here once.

use adautomix_recipes::ClaimedNetwork;

use crate::artefact::{Axis, Cell, Column, Status, Table, Value};
use crate::reproduce::invocation::quote;

/// The lines of a table, in groups, with the notes that they point to.
#[derive(Debug, PartialEq)]
pub(crate) struct Lines {
    pub(crate) groups: Vec<Group>,
    /// What was run, by the number in [`Line::note`].
    pub(crate) notes: Vec<String>,
}

/// A column of the paper's table, or a row.
#[derive(Debug, PartialEq)]
pub(crate) struct Group {
    /// The heading, with the unit.
    pub(crate) heading: String,
    /// What the paper's values in it are of, where that is another place or known to be of so many epochs.
    pub(crate) paper: String,
    pub(crate) lines: Vec<Line>,
}

/// A value of the paper beside ours.
#[derive(Debug, PartialEq)]
pub(crate) struct Line {
    pub(crate) heading: String,
    /// Figures as they are written; empty where there is none.
    pub(crate) paper: String,
    pub(crate) ours: String,
    /// Ours less the paper's, with its sign.
    pub(crate) difference: String,
    pub(crate) sd: String,
    pub(crate) n: String,
    /// An index into [`Lines::notes`].
    pub(crate) note: Option<usize>,
    /// What is missing, and the command that fills it.
    pub(crate) missing: Option<Missing>,
    /// The command that makes the value, done or not; none where there isn't one yet.
    pub(crate) command: Option<String>,
    /// Every value of ours.
    pub(crate) values: Vec<Named>,
}

/// What is missing at a place.
#[derive(Debug, PartialEq)]
pub(crate) struct Missing {
    pub(crate) words: String,
    pub(crate) command: Option<String>,
}

/// A value of ours with the name of what it is.
#[derive(Debug, PartialEq)]
pub(crate) struct Named {
    pub(crate) name: String,
    pub(crate) mean: String,
    pub(crate) sd: String,
    pub(crate) compared: bool,
}

impl Lines {
    /// The lines of a table of an artefact that `command` makes.
    pub(crate) fn of(table: &Table, command: &str) -> Self {
        let place =
            |row: &str, column: &str| format!("{command} --columns {} --rows {}", quote(column), quote(row));
        let mut notes = Vec::new();
        let first = table.columns.first().map(|column| column.unit.as_str());
        let common = first.filter(|unit| table.columns.iter().all(|column| column.unit == *unit));
        let groups = match table.cut_by {
            Axis::Columns => (0..table.columns.len())
                .map(|index| {
                    let column = &table.columns[index];
                    let cells =
                        table.rows.iter().filter_map(|row| Some((&row.heading, row.cells.get(index)?)));
                    let lines = cells.map(|(heading, cell)| {
                        line(heading.clone(), cell, column, place(heading, &column.heading), &mut notes)
                    });
                    let lines = lines.collect();
                    let of = table.rows.iter().filter_map(|row| row.cells.get(index));
                    Group { heading: with_unit(&column.heading, &column.unit), paper: paper(of), lines }
                })
                .collect(),
            Axis::Rows => table
                .rows
                .iter()
                .map(|row| {
                    let cells = table.columns.iter().zip(&row.cells);
                    let lines = cells.map(|(column, cell)| {
                        let unit = if common.is_some() { "" } else { column.unit.as_str() };
                        let command = place(&row.heading, &column.heading);
                        line(with_unit(&column.heading, unit), cell, column, command, &mut notes)
                    });
                    let lines = lines.collect();
                    let heading = with_unit(&row.heading, common.unwrap_or_default());
                    Group { heading, lines, paper: paper(row.cells.iter()) }
                })
                .collect(),
        };
        Self { groups, notes }
    }

    /// Groups one after another whose values of ours have the same names, with these names.
    pub(crate) fn named_alike(&self) -> Vec<(Vec<&str>, Vec<&Group>)> {
        let mut alike: Vec<(Vec<&str>, Vec<&Group>)> = Vec::new();
        for group in &self.groups {
            let names = group.names();
            match alike.last_mut() {
                Some((known, groups)) if *known == names => groups.push(group),
                _ => alike.push((names, vec![group])),
            }
        }
        alike
    }

    /// Blanks as wide as digits that put the point of a number under the points of all others.
    pub(crate) fn padding(&self, text: &str) -> String {
        let behind = |text: &str| text.rsplit_once('.').map_or(0, |(_, digits)| digits.len() + 1);
        let figures = |line: &Line| [behind(&line.paper), behind(&line.ours)].into_iter().max().unwrap_or(0);
        let widest = self.lines().map(figures).max().unwrap_or(0);
        let (own, has_point) = (behind(text), text.contains('.'));
        // A point is narrower than a digit, and has a blank of its own.
        let point = if !has_point && widest > 0 { "\u{2008}" } else { "" };
        let digits = widest.saturating_sub(own).saturating_sub(usize::from(!point.is_empty()));
        format!("{point}{}", "\u{2007}".repeat(digits))
    }

    /// All lines.
    pub(crate) fn lines(&self) -> impl Iterator<Item = &Line> {
        self.groups.iter().flat_map(|group| &group.lines)
    }
}

impl Group {
    /// The names of its values of ours, in the order in which they first stand.
    fn names(&self) -> Vec<&str> {
        let mut names: Vec<&str> = Vec::new();
        for value in self.lines.iter().flat_map(|line| &line.values) {
            if !names.contains(&value.name.as_str()) {
                names.push(&value.name);
            }
        }
        names
    }
}

/// The letter of a note: a, b … z, aa, ab …
pub(crate) fn letter(note: usize) -> String {
    let last = char::from(b'a' + u8::try_from(note % 26).unwrap_or(0));
    if note < 26 { last.to_string() } else { format!("{}{last}", letter(note / 26 - 1)) }
}

/// A number with a minus sign in place of a hyphen.
pub(crate) fn number(value: f64, digits: usize) -> String {
    format!("{value:.digits$}").replace('-', "\u{2212}")
}

/// A unit behind a heading.
fn with_unit(heading: &str, unit: &str) -> String {
    if unit.is_empty() { heading.to_owned() } else { format!("{heading} ({unit})") }
}

fn line(heading: String, cell: &Cell, column: &Column, command: String, notes: &mut Vec<String>) -> Line {
    let digits = column.digits;
    let compared = cell.values.iter().find(|value| value.compared);
    let difference = compared.zip(cell.paper.as_ref()).map(|(value, paper)| value.mean - paper.value);
    let text = |value: Option<f64>| value.map_or_else(String::new, |value| number(value, digits));
    Line {
        heading,
        paper: text(cell.paper.as_ref().map(|paper| paper.value)),
        ours: text(compared.map(|value| value.mean)),
        difference: difference.map_or_else(String::new, |difference| signed(difference, digits)),
        sd: text(compared.and_then(|value| value.sd)),
        n: if cell.n > 0 { cell.n.to_string() } else { String::new() },
        note: note(cell, compared).map(|note| index_of(note, notes)),
        missing: missing(cell),
        command: (cell.status != Status::NotThereYet).then_some(command),
        values: cell.values.iter().map(|value| named(value, digits)).collect(),
    }
}

fn signed(difference: f64, digits: usize) -> String {
    let text = number(difference, digits);
    let is_zero = text.chars().all(|letter| matches!(letter, '0' | '.' | '\u{2212}'));
    match (is_zero, difference > 0.0) {
        (true, _) => text.trim_start_matches('\u{2212}').to_owned(),
        (false, true) => format!("+{text}"),
        (false, false) => text,
    }
}

/// What was run for a cell, and which of its values stands beside the paper's.
fn note(cell: &Cell, compared: Option<&Value>) -> Option<String> {
    let compared = compared?;
    let name = name(compared);
    Some(match (&cell.ran, cell.epochs) {
        (Some(ran), _) => format!("{name}: {ran}"),
        (None, Some(epochs)) => format!("{name}: {epochs} epochs"),
        (None, None) => name,
    })
}

fn index_of(note: String, notes: &mut Vec<String>) -> usize {
    notes.iter().position(|known| *known == note).unwrap_or_else(|| {
        notes.push(note);
        notes.len() - 1
    })
}

fn named(value: &Value, digits: usize) -> Named {
    Named {
        name: name(value),
        mean: number(value.mean, digits),
        sd: value.sd.map_or_else(String::new, |sd| number(sd, digits)),
        compared: value.compared,
    }
}

fn name(value: &Value) -> String {
    let network = match value.network {
        ClaimedNetwork::Student => "student",
        ClaimedNetwork::Teacher => "teacher",
    };
    if value.what.is_empty() { network.to_owned() } else { format!("{network}, {}", value.what) }
}

fn missing(cell: &Cell) -> Option<Missing> {
    let words = match cell.status {
        Status::Done => return None,
        Status::SomeTrialsMissing => format!("{} of {} trials", cell.n, cell.trials),
        other => state(other).to_owned(),
    };
    let words = with_reason(&words, cell.reason.as_deref());
    Some(Missing { words, command: cell.command.clone() })
}

/// A state and the reason for it, which may begin with the state.
pub(crate) fn with_reason(state: &str, reason: Option<&str>) -> String {
    match reason {
        Some(reason) if reason.starts_with(state) => reason.to_owned(),
        Some(reason) => format!("{state}: {reason}"),
        None => state.to_owned(),
    }
}

/// A state in words.
pub(crate) fn state(status: Status) -> &'static str {
    match status {
        Status::Done => "done",
        Status::SomeTrialsMissing => "some trials missing",
        Status::Failed => "failed",
        Status::NotRun => "not run",
        Status::NotThereYet => "not there yet",
    }
}

/// What the paper's values of a group are of.
fn paper<'a>(cells: impl Iterator<Item = &'a Cell>) -> String {
    let mut all: Vec<String> = Vec::new();
    for value in cells.filter_map(|cell| cell.paper.as_ref()) {
        let epochs = value.epochs.map(|epochs| format!("{epochs} epochs"));
        let of: Vec<String> = value.of.clone().into_iter().chain(epochs).collect();
        let of = of.join(", ");
        if !of.is_empty() && !all.contains(&of) {
            all.push(of);
        }
    }
    // Many kinds in one group say more than a heading can.
    if all.is_empty() || all.len() > 2 { String::new() } else { format!("paper: {}", all.join(" and ")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    const COMMAND: &str = "cargo xtask reproduce table1";

    #[test]
    fn a_line_has_the_value_that_compares_and_its_difference() {
        let lines = Lines::of(&samples::table(), COMMAND);
        assert_eq!(lines.groups.len(), 1);
        let group = &lines.groups[0];
        assert_eq!(group.heading, "CIFAR100/ResNet18 (%)");
        assert_eq!(group.paper, "paper: 800 epochs");
        let first = &group.lines[0];
        assert_eq!([&first.paper, &first.ours, &first.difference], ["82.32", "82.25", "\u{2212}0.07"]);
        assert_eq!([&first.sd, &first.n], ["0.12", "2"]);
        assert_eq!(lines.notes[0], "teacher, last-10: cifar100, 800 epochs");
        let command = "cargo xtask reproduce table1 --columns CIFAR100/ResNet18 --rows AdAutoMix";
        assert_eq!(first.command.as_deref(), Some(command));
        let alike = lines.named_alike();
        assert_eq!(
            (alike.len(), alike[0].0.as_slice()),
            (1, ["student, last-10", "teacher, last-10"].as_slice())
        );
    }

    #[test]
    fn an_empty_place_has_its_command() {
        let lines = Lines::of(&samples::table(), COMMAND);
        let mixup = &lines.groups[0].lines[1];
        assert_eq!([mixup.ours.as_str(), mixup.difference.as_str(), mixup.n.as_str()], ["", "", ""]);
        let missing = mixup.missing.as_ref().unwrap();
        assert_eq!(missing.words, "not run");
        assert_eq!(missing.command.as_deref(), Some("cargo xtask reproduce table1 --methods MixUp"));
    }

    #[test]
    fn a_table_is_cut_by_rows_where_that_is_how_it_reads() {
        let lines = Lines::of(&Table { cut_by: Axis::Rows, ..samples::table() }, COMMAND);
        let headings: Vec<_> = lines.groups.iter().map(|group| group.heading.as_str()).collect();
        assert_eq!(headings, ["AdAutoMix (%)", "MixUp (%)"]);
        // MixUp has no values, and so no names.
        assert_eq!(lines.named_alike().len(), 2);
        assert_eq!(lines.groups[1].lines[0].heading, "CIFAR100/ResNet18");
    }

    #[test]
    fn a_reason_says_its_state_once() {
        assert_eq!(with_reason("failed", Some("failed: the disk is full")), "failed: the disk is full");
        assert_eq!(with_reason("failed", Some("the disk is full")), "failed: the disk is full");
        assert_eq!(with_reason("not run", None), "not run");
    }

    #[test]
    fn differences_have_a_sign_and_notes_a_letter() {
        assert_eq!([signed(0.256, 2), signed(-0.25, 1), signed(-0.001, 2)], ["+0.26", "\u{2212}0.2", "0.00"]);
        assert_eq!([letter(0), letter(25), letter(26)], ["a", "z", "aa"]);
    }
}
