//! What the table says: our figures beside the paper's, from the summaries of the runs.

use std::collections::BTreeSet;

use adautomix_recipes::{ClaimedNetwork, NetworkSummary, Recipe, Statistic, Statistics, Summary};
use serde::Serialize;

use super::Arguments;
use super::cell::Cell;
use super::layout::{self, Column, Profile};
use crate::paper::PaperTable;

/// A table with all that its renderings need.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Results {
    pub(crate) table: u32,
    pub(crate) profile: String,
    /// Says what was run.
    pub(crate) title: String,
    /// Where the paper's figures are from.
    pub(crate) source: String,
    /// Remarks below the table.
    pub(crate) notes: Vec<String>,
    pub(crate) sections: Vec<Section>,
}

/// The part of a table for one column of the paper.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Section {
    pub(crate) column: String,
    /// What was run in it.
    pub(crate) title: String,
    /// The paper's column that stands beside ours.
    pub(crate) paper_column: String,
    pub(crate) paper_epochs: usize,
    pub(crate) rows: Vec<Row>,
}

/// One method.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Row {
    pub(crate) method: String,
    /// The paper's figure, in percent.
    pub(crate) paper: Option<f64>,
    pub(crate) status: Status,
    /// How to run what is missing.
    pub(crate) command: Option<String>,
    /// Runs behind our figures, and how many there should be.
    pub(crate) n: usize,
    pub(crate) trials: u64,
    pub(crate) epochs: Option<usize>,
    pub(crate) student: Option<Figures>,
    pub(crate) teacher: Option<Figures>,
    /// Which of our figures compares with the paper's.
    pub(crate) compared: Option<Compared>,
}

/// How far a row has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Done,
    SomeTrialsMissing,
    Failed,
    NotRun,
    NotThereYet,
}

/// Top-1 accuracy of one network's one-hot head, in percent.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Figures {
    pub(crate) last: Spread,
    pub(crate) best: Spread,
    pub(crate) median_last10: Spread,
}

/// A figure over trials.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) mean: f64,
    /// Standard deviation of the sample; none for a single trial.
    pub(crate) sd: Option<f64>,
}

/// The figure that compares with the paper's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(crate) struct Compared {
    pub(crate) network: ClaimedNetwork,
    pub(crate) statistic: Statistic,
    pub(crate) sd: Option<f64>,
}

/// Collects what the run folders hold.
pub(crate) fn collect(
    arguments: &Arguments,
    columns: &[&'static Column],
    cells: &[Cell],
    failed: &[&Cell],
) -> Results {
    let paper = arguments.table.paper();
    let mut ran = Vec::new();
    let mut conditions = BTreeSet::new();
    let mut sections = Vec::new();
    for &column in columns {
        let mut section_ran = Vec::new();
        let mut rows = Vec::new();
        for method in paper.rows() {
            let of_row: Vec<_> =
                cells.iter().filter(|cell| cell.column == column && cell.method == method).collect();
            let summaries: Vec<_> = of_row.iter().filter_map(|cell| cell.summary()).collect();
            conditions.extend(summaries.iter().map(conditions_of));
            section_ran.extend(summaries.iter().map(pictures_of));
            let has_failed = of_row.iter().any(|cell| failed.iter().any(|other| std::ptr::eq(*other, *cell)));
            let recipe = of_row.first().map(|cell| &cell.recipe);
            rows.push(row(arguments, column, method, &paper, recipe, &summaries, has_failed));
        }
        let section = section(column, &paper, rows, section_ran);
        if section.rows.iter().any(|row| row.n > 0) {
            ran.push(section.title.clone());
        }
        sections.push(section);
    }
    Results {
        table: paper.table,
        profile: arguments.profile.to_string(),
        title: title(arguments, &paper, &ran, &conditions),
        notes: notes(arguments.profile),
        source: paper.source,
        sections,
    }
}

fn section(column: &Column, paper: &PaperTable, rows: Vec<Row>, ran: Vec<String>) -> Section {
    let what: BTreeSet<_> = ran.into_iter().collect();
    let what = if what.is_empty() { "nothing run".to_owned() } else { Vec::from_iter(what).join(" and ") };
    Section {
        column: column.heading.to_owned(),
        title: format!("{}: {what}", column.heading),
        paper_column: column.paper.to_owned(),
        paper_epochs: paper.figure("Vanilla", column.paper).map_or(0, |(_, epochs)| epochs),
        rows,
    }
}

fn row(
    arguments: &Arguments,
    column: &Column,
    method: &str,
    paper: &PaperTable,
    recipe: Option<&Recipe>,
    summaries: &[Summary],
    failed: bool,
) -> Row {
    let trials = usize::try_from(arguments.trials).unwrap_or(usize::MAX);
    let status = match (recipe, summaries.len()) {
        (None, _) => Status::NotThereYet,
        (Some(_), count) if count == trials => Status::Done,
        _ if failed => Status::Failed,
        (Some(_), 0) => Status::NotRun,
        (Some(_), _) => Status::SomeTrialsMissing,
    };
    let student: Vec<_> = summaries.iter().map(|summary| &summary.student).collect();
    let teacher: Vec<_> = summaries.iter().filter_map(|summary| summary.teacher.as_ref()).collect();
    let (student, teacher) = (figures(&student), figures(&teacher));
    let compared = recipe.and_then(|recipe| compared(recipe, student, teacher));
    let missing = !matches!(status, Status::Done | Status::NotThereYet);
    Row {
        method: method.to_owned(),
        paper: paper.figure(method, column.paper).map(|(value, _)| value),
        status,
        command: missing.then(|| command(arguments, column, method)),
        n: summaries.len(),
        trials: arguments.trials,
        epochs: summaries.first().map(|summary| summary.epochs),
        student,
        teacher,
        compared,
    }
}

/// The figure that the recipe's claim is about; without a claim, the kind of figure that the paper's tables have.
fn compared(recipe: &Recipe, student: Option<Figures>, teacher: Option<Figures>) -> Option<Compared> {
    let (network, statistic) = match &recipe.claim {
        Some(claim) => (claim.network, claim.statistic),
        None if recipe.method.has_teacher() => (ClaimedNetwork::Teacher, Statistic::MedianLast10),
        None => (ClaimedNetwork::Student, Statistic::MedianLast10),
    };
    let figures = match network {
        ClaimedNetwork::Student => student?,
        ClaimedNetwork::Teacher => teacher?,
    };
    Some(Compared { network, statistic, sd: figures.get(statistic).sd })
}

impl Figures {
    /// One of them.
    pub(crate) fn get(&self, statistic: Statistic) -> Spread {
        match statistic {
            Statistic::Last => self.last,
            Statistic::Best => self.best,
            Statistic::MedianLast10 => self.median_last10,
        }
    }
}

fn figures(networks: &[&NetworkSummary]) -> Option<Figures> {
    let spread = |get: fn(&Statistics) -> f64| -> Option<Spread> {
        Spread::of(&networks.iter().map(|network| get(&network.top1)).collect::<Vec<_>>())
    };
    Some(Figures {
        last: spread(|top1| top1.last)?,
        best: spread(|top1| top1.best)?,
        median_last10: spread(|top1| top1.median_last10)?,
    })
}

impl Spread {
    fn of(values: &[f64]) -> Option<Self> {
        #[expect(clippy::cast_precision_loss, reason = "a handful of trials")]
        let n = values.len() as f64;
        if values.is_empty() {
            return None;
        }
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let sd = (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt());
        Some(Self { mean, sd })
    }
}

fn conditions_of(summary: &Summary) -> String {
    let commit = summary.commit.as_deref().unwrap_or("unknown");
    // Twelve digits, and the mark of a changed working tree if there is one.
    let (digits, mark) = commit.split_at(commit.find('+').unwrap_or(commit.len()));
    format!("{}, commit {}{mark}", summary.device, digits.get(..12).unwrap_or(digits))
}

fn pictures_of(summary: &Summary) -> String {
    format!(
        "{}, {}, {} training and {} test pictures, {} epochs ({} steps)",
        summary.dataset,
        summary.network,
        thousands(summary.train_pictures),
        thousands(summary.test_pictures),
        summary.epochs,
        thousands(summary.steps),
    )
}

fn title(arguments: &Arguments, paper: &PaperTable, ran: &[String], conditions: &BTreeSet<String>) -> String {
    let reduced = match arguments.profile {
        Profile::Quick => "quick profile, not the paper's runs",
        Profile::Paper => "paper profile",
    };
    let mut title = format!("Table {} ({reduced}): {}", paper.table, lower_first(&paper.title));
    if ran.is_empty() {
        title.push_str("; nothing run yet");
    } else {
        let conditions: Vec<_> = conditions.iter().map(String::as_str).collect();
        title.push_str(&format!("; {}; {}", ran.join("; "), conditions.join(" and ")));
    }
    title
}

fn notes(profile: Profile) -> Vec<String> {
    let mut notes = vec![
        "* marks the figure that compares with the paper's; s.d. is its standard deviation over n trials.".to_owned(),
        "Student: the trained network; teacher: its moving average; one-hot head. Last, best and last-10 are the last \
         epoch, the best epoch on the test pictures, and the median of the last ten epochs."
            .to_owned(),
    ];
    if profile == Profile::Quick {
        notes.push("The paper's figures are of other pictures, another network and a longer run.".to_owned());
    }
    notes
}

/// The command that runs one row of one column.
fn command(arguments: &Arguments, column: &Column, method: &str) -> String {
    let mut command = format!("cargo xtask reproduce {} --profile {}", arguments.table, arguments.profile);
    if layout::columns(arguments.table, arguments.profile).count() > 1 {
        command.push_str(&format!(" --columns {}", column.heading));
    }
    command.push_str(&format!(" --methods {method}"));
    if arguments.trials > 1 {
        command.push_str(&format!(" --trials {}", arguments.trials));
    }
    if arguments.device != "cpu" {
        command.push_str(&format!(" --device {}", arguments.device));
    }
    if let Some(out) = &arguments.out {
        command.push_str(&format!(" --out {}", out.display()));
    }
    command
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

/// A count with a comma every three digits.
fn thousands(count: usize) -> String {
    let digits = count.to_string();
    let mut text = String::new();
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_deviation_is_that_of_a_sample() {
        assert_eq!(Spread::of(&[70.0]), Some(Spread { mean: 70.0, sd: None }));
        assert_eq!(Spread::of(&[69.0, 70.0, 71.0]), Some(Spread { mean: 70.0, sd: Some(1.0) }));
        assert_eq!(Spread::of(&[]), None);
    }

    #[test]
    fn counts_are_legible() {
        assert_eq!(["999", "2,000", "1,281,167"].map(str::to_owned), [999, 2_000, 1_281_167].map(thousands));
    }
}
