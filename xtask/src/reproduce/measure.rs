//! What is read of a run that has ended: one value for each network and definition.

use std::collections::BTreeMap;
use std::fs;

use adautomix_recipes::{ClaimedNetwork, NetworkSummary, Precision, Recipe, Statistic, Statistics, Summary};
use serde_json::Value as Json;

use super::Profile;
use super::cell::{Cell, Step};
use crate::artefact::{Point, Value};
use crate::paper::Measure;

/// Test pictures on which the quick profile measures what goes over them many times.
const QUICK_PICTURES: usize = 100;

/// A value of one run.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Reading {
    pub(crate) network: ClaimedNetwork,
    pub(crate) what: &'static str,
    pub(crate) value: f64,
    /// Whether it is the one that compares with the paper's.
    pub(crate) compared: bool,
}

/// The evaluation of calibration, which has the reliability diagram too.
pub(crate) const CALIBRATION: Step = Step::Evaluate { metric: "ece", pictures: None };

impl Measure {
    /// What must be done after the run.
    pub(crate) fn step(self, profile: Profile) -> Option<Step> {
        let few = (profile == Profile::Quick).then_some(QUICK_PICTURES);
        match self {
            Self::Top1 | Self::Top5 | Self::SecondsPerStep => None,
            Self::Ece => Some(CALIBRATION),
            Self::Corruption => Some(Step::Evaluate { metric: "corruption", pictures: few }),
            Self::Fgsm => Some(Step::Evaluate { metric: "fgsm", pictures: None }),
            Self::Occlusion(_) => Some(Step::Evaluate { metric: "occlusion", pictures: None }),
        }
    }

    /// All values of a run; none where the run or the step isn't done.
    pub(crate) fn read(self, cell: &Cell, step: Option<usize>) -> Option<Vec<Reading>> {
        let summary = cell.summary()?;
        match self {
            Self::Top1 => Some(accuracies(&cell.recipe, &summary, |network| &network.top1)),
            Self::Top5 => Some(accuracies(&cell.recipe, &summary, |network| &network.top5)),
            Self::SecondsPerStep => Some(vec![Reading {
                network: ClaimedNetwork::Student,
                what: "whole run",
                #[expect(clippy::cast_precision_loss, reason = "far fewer steps than that")]
                value: summary.seconds / summary.steps.max(1) as f64,
                compared: true,
            }]),
            _ => {
                let report = report(cell, step?)?;
                let readings: Vec<_> = [ClaimedNetwork::Student, ClaimedNetwork::Teacher]
                    .into_iter()
                    .filter_map(|network| Some(self.of_report(network, head(&report, network)?)))
                    .flatten()
                    .collect();
                let (compared, _) = compared(&cell.recipe);
                Some(mark(readings, |reading| reading.network == compared && reading.what != "as defined"))
            }
        }
    }

    /// The values of one head's report. The last is by the published tools' definition.
    fn of_report(self, network: ClaimedNetwork, head: &Json) -> Vec<Reading> {
        let place = |ratio: f64| {
            let ratios = head["occlusion"]["ratios"].as_array()?;
            ratios.iter().position(|known| known.as_f64().is_some_and(|known| (known - ratio).abs() < 1e-6))
        };
        let values = match self {
            Self::Ece => vec![
                ("as defined", head["ece"]["standard"].as_f64().map(|value| 100.0 * value)),
                ("as published", head["ece"]["sorted"].as_f64().map(|value| 100.0 * value)),
            ],
            Self::Corruption => vec![("last", head["corruption"]["top1"].as_f64())],
            Self::Fgsm => vec![
                ("as defined", head["fgsm"]["pixel"]["error"].as_f64()),
                ("as published", head["fgsm"]["published"]["error"].as_f64()),
            ],
            Self::Occlusion(ratio) => {
                let value = |kind: &str| head["occlusion"][kind][place(ratio)?].as_f64();
                vec![("as defined", value("per_picture")), ("as published", value("published"))]
            }
            Self::Top1 | Self::Top5 | Self::SecondsPerStep => Vec::new(),
        };
        let reading = |(what, value): (&'static str, Option<f64>)| {
            value.map(|value| Reading { network, what, value, compared: false })
        };
        values.into_iter().filter_map(reading).collect()
    }
}

/// Accuracy against confidence of the network that compares with the paper's, for each bin that holds pictures.
pub(crate) fn reliability(cell: &Cell, step: usize) -> Option<Vec<Point>> {
    let report = report(cell, step)?;
    let bins = head(&report, compared(&cell.recipe).0)?["ece"]["reliability"].as_array()?.clone();
    let point = |bin: &Json| {
        let (count, x, y) = (bin["count"].as_f64()?, bin["confidence"].as_f64()?, bin["accuracy"].as_f64()?);
        (count > 0.0).then_some(Point { x, y, sd: None })
    };
    Some(bins.iter().filter_map(point).collect())
}

/// How far blends differ from those of the network that was kept before, by epoch.
pub(crate) fn diversity(cell: &Cell, step: usize) -> Option<Vec<Point>> {
    let report = report(cell, step)?;
    let run = &report["runs"][0];
    // The first network that was kept has none before it.
    let epochs = run["epochs"].as_array()?.iter().skip(1);
    let successive = run["blends"]["successive"].as_array()?;
    let point = |(x, y): (&Json, &Json)| Some(Point { x: x.as_f64()?, y: y.as_f64()?, sd: None });
    Some(epochs.zip(successive).filter_map(point).collect())
}

/// Top-1 accuracy by epoch, of the network that compares with the paper's.
pub(crate) fn curve(cell: &Cell) -> Option<Vec<Point>> {
    cell.summary()?;
    let text = fs::read_to_string(cell.folder.join("metrics.jsonl")).ok()?;
    let network = name(compared(&cell.recipe).0);
    let point = |line: &str| {
        let line: Json = serde_json::from_str(line).ok()?;
        let y = line[network]["one"]["top1"].as_f64()?;
        (line["event"] == "evaluation").then_some(Point { x: line["epoch"].as_f64()? + 1.0, y, sd: None })
    };
    Some(text.lines().filter_map(point).collect())
}

/// The mean of each value over the runs, with the deviation of the sample.
pub(crate) fn over_trials(trials: &[Vec<Reading>]) -> Vec<Value> {
    let Some(first) = trials.first() else { return Vec::new() };
    let value = |reading: &Reading| {
        let same = |other: &&Reading| other.network == reading.network && other.what == reading.what;
        let values: Vec<f64> =
            trials.iter().filter_map(|trial| Some(trial.iter().find(same)?.value)).collect();
        let (mean, sd) = spread(&values);
        let (network, what) = (reading.network, reading.what.to_owned());
        Value { network, what, mean, sd, compared: reading.compared }
    };
    first.iter().map(value).collect()
}

/// Mean and standard deviation of a sample; a single value has no deviation.
fn spread(values: &[f64]) -> (f64, Option<f64>) {
    #[expect(clippy::cast_precision_loss, reason = "a handful of trials")]
    let n = values.len() as f64;
    let mean = values.iter().sum::<f64>() / n;
    let squares: f64 = values.iter().map(|value| (value - mean).powi(2)).sum();
    (mean, (values.len() > 1).then(|| (squares / (n - 1.0)).sqrt()))
}

fn accuracies(recipe: &Recipe, summary: &Summary, of: fn(&NetworkSummary) -> &Statistics) -> Vec<Reading> {
    let networks = [
        (ClaimedNetwork::Student, Some(&summary.student)),
        (ClaimedNetwork::Teacher, summary.teacher.as_ref()),
    ];
    let statistics =
        [(Statistic::Last, "last"), (Statistic::Best, "best"), (Statistic::MedianLast10, "last-10")];
    let readings = networks.into_iter().filter_map(|(network, summary)| Some((network, summary?)));
    let readings = readings.flat_map(|(network, summary)| {
        statistics.map(|(statistic, what)| Reading {
            network,
            what,
            value: of(summary).get(statistic),
            compared: compared(recipe) == (network, statistic),
        })
    });
    readings.collect()
}

/// The figure that the recipe's claim is about; without a claim, the kind of figure that the paper's tables have.
fn compared(recipe: &Recipe) -> (ClaimedNetwork, Statistic) {
    match &recipe.claim {
        Some(claim) => (claim.network, claim.statistic),
        None if recipe.method.has_teacher() => (ClaimedNetwork::Teacher, Statistic::MedianLast10),
        None => (ClaimedNetwork::Student, Statistic::MedianLast10),
    }
}

fn mark(mut readings: Vec<Reading>, which: impl Fn(&Reading) -> bool) -> Vec<Reading> {
    readings.iter_mut().for_each(|reading| reading.compared = which(reading));
    readings
}

fn report(cell: &Cell, step: usize) -> Option<Json> {
    serde_json::from_str(&fs::read_to_string(cell.result(step)?).ok()?).ok()
}

/// What was measured of a network's one-hot head.
fn head(report: &Json, network: ClaimedNetwork) -> Option<&Json> {
    report.get(name(network))?.get("one")
}

fn name(network: ClaimedNetwork) -> &'static str {
    match network {
        ClaimedNetwork::Student => "student",
        ClaimedNetwork::Teacher => "teacher",
    }
}

/// What was run and measured, in a line for each way of saying it.
pub(crate) fn pictures_of(cell: &Cell, steps: &[usize]) -> Option<String> {
    let summary = cell.summary()?;
    let mut text = format!(
        "{}, {}{}, {} training and {} test pictures, {} epochs ({} steps)",
        summary.dataset,
        summary.network,
        if cell.recipe.network.precision == Precision::Bf16 { " in bf16" } else { "" },
        thousands(summary.train_pictures),
        thousands(summary.test_pictures),
        summary.epochs,
        thousands(summary.steps),
    );
    let mut few = BTreeMap::new();
    for step in steps.iter().filter_map(|&step| cell.steps.get(step)) {
        if let Step::Evaluate { metric, pictures: Some(count) } = step {
            few.insert(*metric, *count);
        }
    }
    for (metric, count) in few {
        text.push_str(&format!(", {metric} measured on the first {} test pictures only", thousands(count)));
    }
    Some(text)
}

/// Where it was run, and by which commit.
pub(crate) fn conditions_of(summary: &Summary) -> String {
    let commit = summary.commit.as_deref().unwrap_or("unknown");
    // Twelve digits, and the mark of a changed working tree if there is one.
    let (digits, mark) = commit.split_at(commit.find('+').unwrap_or(commit.len()));
    format!("{}, commit {}{mark}", summary.device, digits.get(..12).unwrap_or(digits))
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
        assert_eq!(spread(&[70.0]), (70.0, None));
        assert_eq!(spread(&[69.0, 70.0, 71.0]), (70.0, Some(1.0)));
    }

    #[test]
    fn counts_are_legible() {
        assert_eq!(["999", "2,000", "1,281,167"].map(str::to_owned), [999, 2_000, 1_281_167].map(thousands));
    }

    #[test]
    fn each_definition_is_a_value_of_its_own() {
        let head = serde_json::json!({
            "ece": {"standard": 0.12, "sorted": 0.03},
            "fgsm": {"pixel": {"error": 91.0}, "published": {"error": 75.5}},
            "occlusion": {"ratios": [0.0, 0.1, 0.3], "per_picture": [80.0, 70.0, 60.0], "published": [80.0, 71.0, 61.0]},
        });
        let values = |measure: Measure| -> Vec<f64> {
            measure.of_report(ClaimedNetwork::Student, &head).iter().map(|reading| reading.value).collect()
        };
        assert_eq!(values(Measure::Ece), [12.0, 3.0]);
        assert_eq!(values(Measure::Fgsm), [91.0, 75.5]);
        assert_eq!(values(Measure::Occlusion(0.3)), [60.0, 61.0]);
        assert_eq!(values(Measure::Occlusion(0.9)), Vec::<f64>::new());
        assert_eq!(values(Measure::Corruption), Vec::<f64>::new());
    }
}
