//! The paper's tables and figures as data: their headings, the values that are printed in them, and the runs behind each.

use serde::Deserialize;

use crate::artefact::{Axis, Shape, Whose};

/// Every table and figure by its id, in the paper's order.
const FILES: [(&str, &str); 23] = [
    ("table1", include_str!("../../data/paper/table1.json")),
    ("table2", include_str!("../../data/paper/table2.json")),
    ("table3", include_str!("../../data/paper/table3.json")),
    ("table4", include_str!("../../data/paper/table4.json")),
    ("table5", include_str!("../../data/paper/table5.json")),
    ("table6", include_str!("../../data/paper/table6.json")),
    ("table7", include_str!("../../data/paper/table7.json")),
    ("table8", include_str!("../../data/paper/table8.json")),
    ("table9", include_str!("../../data/paper/table9.json")),
    ("table10", include_str!("../../data/paper/table10.json")),
    ("table11", include_str!("../../data/paper/table11.json")),
    ("fig1", include_str!("../../data/paper/fig1.json")),
    ("fig4", include_str!("../../data/paper/fig4.json")),
    ("fig5", include_str!("../../data/paper/fig5.json")),
    ("fig6", include_str!("../../data/paper/fig6.json")),
    ("fig7", include_str!("../../data/paper/fig7.json")),
    ("fig8", include_str!("../../data/paper/fig8.json")),
    ("fig9", include_str!("../../data/paper/fig9.json")),
    ("fig10", include_str!("../../data/paper/fig10.json")),
    ("fig11", include_str!("../../data/paper/fig11.json")),
    ("fig12", include_str!("../../data/paper/fig12.json")),
    ("fig13", include_str!("../../data/paper/fig13.json")),
    ("fig14", include_str!("../../data/paper/fig14.json")),
];

/// A table or figure: what stands in it, and the runs that fill it.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Definition {
    /// `table4`, `fig6`; from the name of the file.
    #[serde(skip)]
    pub(crate) id: String,
    /// What it shows.
    pub(crate) title: String,
    /// Where it was published.
    pub(crate) source: String,
    /// Remarks.
    #[serde(default)]
    pub(crate) notes: Vec<String>,
    #[serde(default)]
    pub(crate) parts: Vec<Part>,
    #[serde(default)]
    pub(crate) panels: Vec<Panel>,
    #[serde(default)]
    pub(crate) pictures: Vec<Picture>,
}

/// A table, or one of several under one number.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Part {
    pub(crate) heading: String,
    /// What stands over the headings of the rows.
    pub(crate) corner: String,
    pub(crate) cut_by: Axis,
    /// What all places have in common.
    #[serde(default)]
    pub(crate) run: Choice,
    pub(crate) columns: Vec<Column>,
    pub(crate) rows: Vec<Row>,
}

/// A column of a table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Column {
    pub(crate) heading: String,
    pub(crate) unit: String,
    /// Digits behind the point.
    pub(crate) digits: usize,
    #[serde(default)]
    pub(crate) run: Choice,
}

/// A row of a table.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Row {
    pub(crate) heading: String,
    #[serde(default)]
    pub(crate) run: Choice,
    /// One for each column.
    pub(crate) values: Vec<Option<f64>>,
}

/// What is run and measured for a place. Parts, rows and columns each say something of it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Choice {
    /// The family of recipes in the paper profile: a data set and a network.
    pub(crate) recipes: Option<String>,
    /// The heading in the quick profile, whose family is `quick`. What has `recipes` and not this is left out there.
    pub(crate) quick: Option<String>,
    /// The recipe's name within the family.
    pub(crate) method: Option<String>,
    /// Epochs of the published run, and so of ours in the paper profile.
    pub(crate) epochs: Option<usize>,
    /// Keys that are set over the recipe, as `method.images=2`.
    pub(crate) set: Vec<String>,
    /// Keys that the quick profile sets as well.
    pub(crate) quick_set: Vec<String>,
    /// The recipe's name in the quick profile, where it is another.
    pub(crate) quick_method: Option<String>,
    /// The recipe whose run it begins with; in the quick profile, that of the same name there.
    pub(crate) from: Option<String>,
    pub(crate) measure: Option<Measure>,
}

/// What is measured of a run.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Measure {
    /// Top-1 accuracy in percent.
    Top1,
    /// Top-5 accuracy in percent.
    Top5,
    /// Seconds of the whole run over its steps.
    SecondsPerStep,
    /// Expected calibration error in percent.
    Ece,
    /// Top-1 accuracy over all corruptions and severities, in percent.
    Corruption,
    /// Error under FGSM, in percent.
    Fgsm,
    /// Top-1 accuracy, in percent, with this share of the picture hidden.
    Occlusion(f64),
}

/// A diagram of a figure.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Panel {
    pub(crate) title: String,
    pub(crate) shape: Shape,
    pub(crate) x_label: String,
    pub(crate) y_label: String,
    /// What all series have in common.
    #[serde(default)]
    pub(crate) run: Choice,
    #[serde(default)]
    pub(crate) series: Vec<Series>,
    /// The series are those of a table instead.
    pub(crate) from_table: Option<FromTable>,
}

/// A table, or a column of it, as a diagram: a series for each row, or the rows as places of one.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FromTable {
    pub(crate) table: String,
    /// Which of its parts.
    #[serde(default)]
    pub(crate) part: usize,
    /// The column whose rows are the places of the x-axis.
    pub(crate) column: Option<String>,
}

/// Points that belong together.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Series {
    pub(crate) name: String,
    #[serde(default = "ours")]
    pub(crate) whose: Whose,
    pub(crate) source: Source,
    #[serde(default)]
    pub(crate) run: Choice,
    /// For [`Source::Points`].
    #[serde(default)]
    pub(crate) points: Vec<Point>,
    /// For [`Source::Fixed`].
    #[serde(default)]
    pub(crate) values: Vec<[f64; 2]>,
}

fn ours() -> Whose {
    Whose::Ours
}

/// Where a series' points come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Source {
    /// A run each.
    Points,
    /// The accuracy of each epoch of a run.
    Curve,
    /// Accuracy against confidence, bin by bin.
    Reliability,
    /// One point: seconds a step, and what is measured.
    Cost,
    /// How far blends differ from those of the network that was kept before.
    Diversity,
    /// Published values.
    Fixed,
}

/// A point that takes a run of its own.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Point {
    pub(crate) x: f64,
    #[serde(default)]
    pub(crate) run: Choice,
    /// Whether the quick profile has it.
    #[serde(default = "yes")]
    pub(crate) quick: bool,
}

fn yes() -> bool {
    true
}

/// A picture that the program draws of a run.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Picture {
    pub(crate) caption: String,
    /// The file's name, without ending: the same command has the same name.
    pub(crate) name: String,
    /// The command and its options but for the file; `{run}` stands for the run. Without one, the picture is what a
    /// measurement of this name leaves beside its figures.
    #[serde(default)]
    pub(crate) command: Vec<String>,
    #[serde(default)]
    pub(crate) run: Choice,
}

impl Choice {
    /// This choice with what `inner` says laid over it.
    pub(crate) fn with(&self, inner: &Self) -> Self {
        let mut both = inner.clone();
        let outer = self.clone();
        both.recipes = both.recipes.or(outer.recipes);
        both.quick = both.quick.or(outer.quick);
        both.method = both.method.or(outer.method);
        both.epochs = both.epochs.or(outer.epochs);
        both.measure = both.measure.or(outer.measure);
        both.quick_method = both.quick_method.or(outer.quick_method);
        both.from = both.from.or(outer.from);
        both.set = [outer.set, both.set].concat();
        both.quick_set = [outer.quick_set, both.quick_set].concat();
        both
    }
}

impl Definition {
    /// `Table 4`, `Figure 6`.
    pub(crate) fn name(&self) -> String {
        if let Some(number) = self.id.strip_prefix("table") {
            format!("Table {number}")
        } else if let Some(number) = self.id.strip_prefix("fig") {
            format!("Figure {number}")
        } else {
            self.id.clone()
        }
    }

    /// The value of a table's place and the epochs behind it.
    pub(crate) fn value(&self, row: &str, column: &str) -> Option<(f64, Option<usize>)> {
        self.parts.iter().find_map(|part| {
            let index = part.columns.iter().position(|known| known.heading == column)?;
            let row = part.rows.iter().find(|known| known.heading == row)?;
            let choice = part.run.with(&row.run).with(&part.columns[index].run);
            Some(((*row.values.get(index)?)?, choice.epochs))
        })
    }
}

/// The ids of all tables and figures.
pub(crate) fn ids() -> impl Iterator<Item = &'static str> {
    FILES.iter().map(|(id, _)| *id)
}

/// A table or figure by its id.
pub(crate) fn definition(id: &str) -> Option<Definition> {
    let (id, text) = FILES.iter().find(|(known, _)| *known == id)?;
    let mut definition: Definition = serde_json::from_str(text).expect("a test reads each file");
    definition.id = (*id).to_owned();
    Some(definition)
}

/// How long the authors' runs took.
#[derive(Deserialize)]
pub(crate) struct Hours {
    /// Where that was published.
    pub(crate) source: String,
    /// The runs.
    pub(crate) runs: Vec<TimedRun>,
}

/// How long one of the authors' runs took.
#[derive(Deserialize)]
pub(crate) struct TimedRun {
    pub(crate) column: String,
    pub(crate) row: String,
    pub(crate) epochs: usize,
    pub(crate) hours: f64,
    pub(crate) gpus: usize,
    pub(crate) gpu: String,
}

/// How long the authors' runs took.
pub(crate) fn hours() -> Hours {
    serde_json::from_str(include_str!("../../data/paper/hours.json")).expect("a test reads the file")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_files_are_whole() {
        for (id, text) in FILES {
            let definition: Definition =
                serde_json::from_str(text).unwrap_or_else(|error| panic!("{id}: {error}"));
            for part in definition.parts {
                let columns = part.columns.len();
                assert!(part.rows.iter().all(|row| row.values.len() == columns), "{id}");
            }
        }
    }

    #[test]
    fn values_are_found_with_their_epochs() {
        let value = |id, row, column| definition(id).unwrap().value(row, column);
        assert_eq!(value("table1", "AdAutoMix", "CIFAR100/ResNet18"), Some((82.32, Some(800))));
        assert_eq!(value("table1", "AdAutoMix", "ImageNet-1K/ResNet50"), Some((78.04, Some(100))));
        assert_eq!(value("table2", "ManifoldMix", "Standford-Cars/ResNet18"), Some((85.88, Some(200))));
        assert_eq!(value("table3", "Cars", "AutoMix"), Some((88.71, Some(100))));
        assert_eq!(value("table4", "AdAutoMix", "FGSM error"), Some((75.66, Some(200))));
        assert_eq!(value("table7", "AutoMix", "90 %"), Some((9.73, Some(200))));
        assert_eq!(value("table9", "ResNeXt50", "λ = 10"), Some((83.63, Some(200))));
        assert_eq!(value("table1", "Gain", "CIFAR100/ResNet18"), None);
    }

    #[test]
    fn hours_are_of_runs_in_the_tables() {
        let tables = ["table1", "table2"].map(|id| definition(id).unwrap());
        for run in hours().runs {
            let (_, epochs) = tables.iter().find_map(|table| table.value(&run.row, &run.column)).unwrap();
            assert_eq!(epochs, Some(run.epochs), "{}", run.column);
        }
    }

    #[test]
    fn the_inner_choice_counts() {
        let outer = Choice { epochs: Some(200), set: vec!["a=1".to_owned()], ..Choice::default() };
        let inner = Choice { epochs: Some(800), set: vec!["b=2".to_owned()], ..Choice::default() };
        let both = outer.with(&inner);
        assert_eq!((both.epochs, both.set), (Some(800), vec!["a=1".to_owned(), "b=2".to_owned()]));
    }
}
