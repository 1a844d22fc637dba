//! Accuracy and loss over the epochs: our runs beside the logs that the paper's authors published.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::runs::{Epoch, Run};
use crate::artefact::{Panel, Point, Series, Shape, Status, Whose};
use crate::paper;

/// The diagrams of one data set and network.
#[derive(Debug)]
pub(crate) struct Curves {
    /// Its anchor.
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) panels: Vec<Panel>,
    /// Whether a run of ours in them is reduced.
    pub(crate) reduced: bool,
}

/// The logs of the authors, thinned.
#[derive(Deserialize)]
struct Published {
    source: String,
    runs: Vec<Log>,
}

/// A log: a value each `every` epochs, the last epoch's included.
#[derive(Deserialize)]
struct Log {
    dataset: String,
    network: String,
    method: String,
    epochs: usize,
    every: usize,
    student: Vec<f64>,
    teacher: Option<Vec<f64>>,
    loss: Vec<f64>,
}

/// What the quick profile stands for: the first column of Table 1, of which there are logs of the most methods.
const STAND_IN: (&str, &str, usize) = ("cifar100", "resnet18-cifar", 200);

fn published() -> Published {
    serde_json::from_str(include_str!("../../../data/paper/curves.json")).expect("a test reads the file")
}

/// The curves of all runs. A run of the quick profile stands beside the logs of what it stands for; in the paper profile
/// every log is shown, with our runs in the same diagram.
pub(crate) fn curves(runs: &[Run], reduced: bool) -> Vec<Curves> {
    let published = published();
    let methods = methods(&published.runs);
    let mut kinds: BTreeMap<(String, String, usize, bool), Vec<&Run>> = BTreeMap::new();
    for run in runs {
        let (summary, is_variant) = (&run.summary, run.name != run.summary.recipe.replace('/', "-"));
        let kind = (summary.dataset.clone(), summary.network.clone(), summary.epochs, is_variant);
        kinds.entry(kind).or_default().push(run);
    }
    for log in &published.runs {
        let kind = (log.dataset.clone(), log.network.clone(), log.epochs, false);
        if !reduced || (log.dataset.as_str(), log.network.as_str(), log.epochs) == STAND_IN {
            kinds.entry(kind).or_default();
        }
    }
    let mut all: Vec<Curves> = kinds
        .into_iter()
        .map(|((dataset, network, epochs, is_variant), runs)| {
            let same = |log: &&Log| log.dataset == dataset && log.network == network && log.epochs == epochs;
            let logs: Vec<&Log> = published.runs.iter().filter(same).filter(|_| !is_variant).collect();
            let variants = if is_variant { ", variants" } else { "" };
            Curves {
                id: anchor(&format!("curves-{dataset}-{network}-{epochs}{variants}")),
                title: format!(
                    "{dataset}, {network}, {epochs} epoch{}{variants}",
                    if epochs == 1 { "" } else { "s" }
                ),
                panels: panels(&runs, &logs, is_variant, &methods),
                reduced: reduced && !runs.is_empty(),
            }
        })
        .collect();
    // The logs alone stand below what they are to be read beside, and variants below both.
    all.sort_by_key(|curves| (curves.id.ends_with("variants"), reduced && !curves.reduced));
    all
}

/// Letters, digits and dashes only.
fn anchor(text: &str) -> String {
    let parts = text.split(|letter: char| !letter.is_ascii_alphanumeric());
    parts.filter(|part| !part.is_empty()).collect::<Vec<_>>().join("-").to_lowercase()
}

/// What stands in the diagrams, in words.
pub(crate) fn notes() -> [String; 3] {
    [
        "Accuracy is top-1 on the test pictures: of the teacher, where a method has one, else of the trained network."
            .to_owned(),
        "Our loss is the one that the classifier descends, the mean of an epoch. Over several seeds the mean is drawn, \
         with the standard deviation where there is room."
            .to_owned(),
        format!("Published: {}, thinned to a hundred points; the loss is the sum in the log.", published().source),
    ]
}

fn panels(runs: &[&Run], logs: &[&Log], is_variant: bool, methods: &[String]) -> Vec<Panel> {
    let mut by_name: BTreeMap<String, Vec<&Run>> = BTreeMap::new();
    for run in runs {
        let name =
            if is_variant { variant_name(run, methods) } else { display_name(&run.summary.method, methods) };
        by_name.entry(name).or_default().push(run);
    }
    let panel = |title: &str, y_label: &str, ours: fn(&Epoch) -> Option<f64>, theirs: fn(&Log) -> &[f64]| {
        let mut series: Vec<Series> = by_name
            .iter()
            .map(|(name, runs)| series(name, Whose::Ours, mean_over_seeds(runs, ours)))
            .collect();
        series.extend(logs.iter().map(|log| series_of_log(log, theirs(log))));
        series.sort_by_key(|series| {
            methods.iter().position(|known| *known == series.name).unwrap_or(usize::MAX)
        });
        Panel {
            title: title.to_owned(),
            shape: Shape::Lines,
            x_label: "Epoch".to_owned(),
            y_label: y_label.to_owned(),
            places: Vec::new(),
            series,
        }
    };
    vec![
        panel(
            "Accuracy",
            "Top-1 accuracy (%)",
            |epoch| epoch.teacher.or(epoch.student),
            |log| log.teacher.as_deref().unwrap_or(&log.student),
        ),
        panel("Training loss", "Loss", |epoch| epoch.loss, |log| &log.loss),
    ]
}

/// The methods of Table 1 in its order, then the others of Table 2 and of the logs, then those of Table 11.
fn methods(logs: &[Log]) -> Vec<String> {
    let parts = |id| paper::definition(id).map_or_else(Vec::new, |table| table.parts);
    let rows =
        ["table1", "table2"].into_iter().flat_map(parts).flat_map(|part| part.rows).map(|row| row.heading);
    let columns = parts("table11").into_iter().flat_map(|part| part.columns).map(|column| column.heading);
    rows.chain(logs.iter().map(|log| log.method.clone())).chain(columns).collect()
}

/// A variant by its method and the keys that are set; its epochs stand over the diagram.
fn variant_name(run: &Run, methods: &[String]) -> String {
    let base = format!("{}-", run.summary.recipe.replace('/', "-"));
    let set = run.name.strip_prefix(&base).unwrap_or(&run.name);
    let epochs = format!("epochs={}", run.summary.epochs);
    let set: Vec<&str> = set.split('-').filter(|key| *key != epochs).collect();
    let method = display_name(&run.summary.method, methods);
    if set.is_empty() { method } else { format!("{method}, {}", set.join("-")) }
}

/// A method as it is published.
fn display_name(method: &str, methods: &[String]) -> String {
    methods.iter().find(|known| known.eq_ignore_ascii_case(method)).map_or(method, String::as_str).to_owned()
}

fn series(name: &str, whose: Whose, points: Vec<Point>) -> Series {
    let status = if points.is_empty() { Status::NotRun } else { Status::Done };
    Series { name: name.to_owned(), whose, ran: None, points, status, reason: None, command: None }
}

fn series_of_log(log: &Log, values: &[f64]) -> Series {
    #[expect(clippy::cast_precision_loss, reason = "epochs are few")]
    let points = (1..).zip(values).map(|(index, &y)| Point { x: (index * log.every) as f64, y, sd: None });
    series(&log.method, Whose::Published, points.collect())
}

/// The mean of each epoch over the runs that have it, and its deviation where more than one have.
fn mean_over_seeds(runs: &[&Run], value: fn(&Epoch) -> Option<f64>) -> Vec<Point> {
    let length = runs.iter().map(|run| run.epochs.len()).max().unwrap_or(0);
    let mut points = Vec::new();
    for index in 0..length {
        let values: Vec<f64> =
            runs.iter().filter_map(|run| run.epochs.get(index)).filter_map(value).collect();
        if values.is_empty() {
            continue;
        }
        #[expect(clippy::cast_precision_loss, reason = "epochs and seeds are few")]
        let (x, n) = ((index + 1) as f64, values.len() as f64);
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
        let sd = (values.len() > 1 && length <= 20).then(|| (squares / (n - 1.0)).sqrt());
        points.push(Point { x, y: mean, sd });
    }
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_published_logs_are_whole() {
        let published = published();
        assert_eq!(published.runs.len(), 50);
        for log in &published.runs {
            let length = log.epochs / log.every;
            let teacher = log.teacher.as_ref().map_or(length, Vec::len);
            assert_eq!(
                (log.student.len(), teacher, log.loss.len()),
                (length, length, length),
                "{}",
                log.method
            );
        }
        // The paper's 82.32 is the median over the last epochs of this log.
        let best = |log: &&Log| log.epochs == 800 && log.network == "resnet18-cifar";
        let log = published.runs.iter().find(best).unwrap();
        let end = *log.teacher.as_ref().unwrap().last().unwrap();
        assert!((end - 82.32).abs() < 0.3, "{end}");
    }

    #[test]
    fn methods_are_written_as_published() {
        let methods = methods(&published().runs);
        let names = ["adautomix", "manifoldmix", "gridmix", "me-ada", "ours"]
            .map(|name| display_name(name, &methods));
        assert_eq!(names, ["AdAutoMix", "ManifoldMix", "GridMix", "ME-ADA", "ours"]);
    }

    #[test]
    fn quick_runs_stand_beside_what_they_stand_for_and_all_logs_are_in_the_paper_profile() {
        let quick = curves(&[], true);
        assert_eq!(quick.len(), 1);
        assert_eq!(quick[0].id, "curves-cifar100-resnet18-cifar-200");
        assert!(!quick[0].reduced);
        let names: Vec<_> = quick[0].panels[0].series.iter().map(|series| series.name.as_str()).collect();
        assert_eq!(
            names,
            ["MixUp", "CutMix", "FMix", "PuzzleMix", "ResizeMix", "AutoMix", "AdAutoMix", "GridMix"]
        );
        assert_eq!(curves(&[], false).len(), 12);
    }
}
