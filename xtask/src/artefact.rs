//! What `reproduce` leaves of a table or figure: `results/PROFILE/ID.json`, from which every rendering is made.

use std::fs;
use std::path::Path;

use adautomix_recipes::ClaimedNetwork;
use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// A table or figure of the paper, or an ablation of ours, with all that a rendering needs.
/// Tables, panels and pictures stand in the order in which they are shown, in this order of kinds.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Artefact {
    /// `table1` to `table11`, `fig1`, `fig4` to `fig14`, or the name of an ablation.
    pub(crate) id: String,
    /// How it is called: `Table 4`, `Figure 6`.
    pub(crate) name: String,
    /// What it shows, in a line.
    pub(crate) title: String,
    /// `quick` or `paper`.
    pub(crate) profile: String,
    /// Whether runs are reduced, so that no figure of ours compares with a published one.
    pub(crate) reduced: bool,
    /// Where the paper's figures are from.
    pub(crate) source: String,
    /// The command that makes it whole.
    pub(crate) command: String,
    /// What was run, a line each kind: data set, network, pictures, epochs; device and commit.
    pub(crate) ran: Vec<String>,
    /// Remarks below it; the first may explain the marks of a rendering.
    pub(crate) notes: Vec<String>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) tables: Vec<Table>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) panels: Vec<Panel>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) pictures: Vec<Picture>,
    /// Every run and evaluation behind it, also those that are missing or failed.
    pub(crate) work: Vec<Work>,
}

/// Rows and columns as in the paper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Table {
    /// What stands over it, where there are several; else empty.
    pub(crate) heading: String,
    /// What stands over the rows' headings: `Method`.
    pub(crate) corner: String,
    /// A rendering with a column for each value shows a table for each column (`columns`) or for each row (`rows`).
    pub(crate) cut_by: Axis,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
}

/// One of a table's two directions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Axis {
    Rows,
    Columns,
}

/// A column of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Column {
    pub(crate) heading: String,
    /// `%`, `s/step`; of the paper's values and of ours.
    pub(crate) unit: String,
    /// Digits behind the point.
    pub(crate) digits: usize,
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) heading: String,
    /// One for each column.
    pub(crate) cells: Vec<Cell>,
}

/// A place in a table: the paper's value, and ours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Cell {
    pub(crate) paper: Option<Paper>,
    /// Ours, each of another network or by another definition; empty where nothing was measured.
    pub(crate) values: Vec<Value>,
    pub(crate) status: Status,
    /// Runs behind our values, and how many there should be.
    pub(crate) n: usize,
    pub(crate) trials: usize,
    /// Epochs of our runs.
    pub(crate) epochs: Option<usize>,
    /// What was run for it in a line, where something was.
    pub(crate) ran: Option<String>,
    /// Why it is empty or failed.
    pub(crate) reason: Option<String>,
    /// The command that fills it, where there is one.
    pub(crate) command: Option<String>,
}

/// A value of the paper.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Paper {
    pub(crate) value: f64,
    /// Epochs of the run behind it, as far as they are known.
    pub(crate) epochs: Option<usize>,
    /// Where it stands, if not in this row and column: the quick profile has other columns than the paper.
    pub(crate) of: Option<String>,
}

/// A value of ours over the trials.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Value {
    /// The network that was trained, or its moving average.
    pub(crate) network: ClaimedNetwork,
    /// The epochs (`last`, `best`, `last-10`) or the definition (`ECE as published`) that it is of.
    pub(crate) what: String,
    pub(crate) mean: f64,
    /// Standard deviation of the sample; none for a single trial.
    pub(crate) sd: Option<f64>,
    /// Whether it is the one that compares with the paper's.
    pub(crate) compared: bool,
}

/// How far a place has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Status {
    Done,
    SomeTrialsMissing,
    Failed,
    NotRun,
    /// There is no command yet.
    NotThereYet,
}

/// A diagram.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) shape: Shape,
    pub(crate) x_label: String,
    pub(crate) y_label: String,
    /// Names of the places 0, 1, 2 … on the x-axis, where it has no scale.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) places: Vec<String>,
    pub(crate) series: Vec<Series>,
}

/// How the points of a diagram are drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Shape {
    Lines,
    Bars,
    Scatter,
}

/// Points that belong together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Series {
    /// What it is of: `AdAutoMix, teacher`.
    pub(crate) name: String,
    pub(crate) whose: Whose,
    /// What was run or where it was published, in a line.
    pub(crate) ran: Option<String>,
    /// Empty where it wasn't run.
    pub(crate) points: Vec<Point>,
    pub(crate) status: Status,
    /// Why it is empty or failed.
    pub(crate) reason: Option<String>,
    /// The command that fills it, where there is one.
    pub(crate) command: Option<String>,
}

/// Where a series is from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Whose {
    /// Runs of this program.
    Ours,
    /// The paper's tables or text.
    Paper,
    /// Logs that its authors published.
    Published,
}

/// A point of a diagram.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Point {
    pub(crate) x: f64,
    pub(crate) y: f64,
    /// Standard deviation of `y` over trials, where there are several.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sd: Option<f64>,
}

/// A picture beside the JSON file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Picture {
    /// From the folder of the JSON file; none where the picture isn't made.
    pub(crate) path: Option<String>,
    pub(crate) caption: String,
    pub(crate) status: Status,
    /// Why there is none.
    pub(crate) reason: Option<String>,
    /// The command that makes it, where there is one.
    pub(crate) command: Option<String>,
}

/// A run or an evaluation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Work {
    /// The name of the run folder, for an evaluation followed by its file.
    pub(crate) name: String,
    /// In words.
    pub(crate) title: String,
    pub(crate) status: Status,
    /// The command, as it can be typed in the root of the workspace.
    pub(crate) command: String,
    /// What a training run was and reached; none for evaluations and for what isn't done.
    pub(crate) summary: Option<adautomix_recipes::Summary>,
    /// Why it failed, with the last lines of its log.
    pub(crate) failure: Option<String>,
}

impl Artefact {
    /// Reads an artefact.
    pub(crate) fn read(path: &Path) -> Result<Self> {
        let text = fs::read_to_string(path).with_context(|| format!("{}: cannot be read", path.display()))?;
        serde_json::from_str(&text)
            .with_context(|| format!("{}: not a whole table or figure", path.display()))
    }

    /// The text of `ID.json`, with a line break at its end.
    pub(crate) fn to_json(&self) -> String {
        let mut text = serde_json::to_string_pretty(self).expect("an artefact has only string keys");
        text.push('\n');
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_again() {
        let cell = Cell {
            paper: Some(Paper { value: 75.66, epochs: Some(200), of: Some("CIFAR100/ResNet18".to_owned()) }),
            values: vec![Value {
                network: ClaimedNetwork::Teacher,
                what: "last-10".to_owned(),
                mean: 1.0 / 3.0,
                sd: None,
                compared: true,
            }],
            status: Status::SomeTrialsMissing,
            n: 1,
            trials: 2,
            epochs: Some(6),
            ran: None,
            reason: None,
            command: Some("cargo xtask reproduce table4".to_owned()),
        };
        let artefact = Artefact {
            id: "table4".to_owned(),
            name: "Table 4".to_owned(),
            title: "Robustness".to_owned(),
            profile: "quick".to_owned(),
            reduced: true,
            source: "the paper".to_owned(),
            command: "cargo xtask reproduce table4".to_owned(),
            ran: Vec::new(),
            notes: Vec::new(),
            tables: vec![Table {
                heading: String::new(),
                corner: "Method".to_owned(),
                cut_by: Axis::Columns,
                columns: vec![Column { heading: "FGSM error".to_owned(), unit: "%".to_owned(), digits: 2 }],
                rows: vec![Row { heading: "AdAutoMix".to_owned(), cells: vec![cell] }],
            }],
            panels: Vec::new(),
            pictures: Vec::new(),
            work: Vec::new(),
        };
        let path = std::env::temp_dir().join(format!("adautomix-artefact-{}.json", std::process::id()));
        fs::write(&path, artefact.to_json()).unwrap();
        assert_eq!(Artefact::read(&path).unwrap(), artefact);
        fs::write(&path, &artefact.to_json()[..200]).unwrap();
        let message = Artefact::read(&path).unwrap_err().to_string();
        fs::remove_file(&path).unwrap();
        assert!(message.ends_with("not a whole table or figure"), "{message}");
    }
}
