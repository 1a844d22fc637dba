//! What run folders tell of the way of a run: `metrics.jsonl`, `summary.json` and `environment.json`.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use adautomix_recipes::Summary;
use anyhow::{Context, Result};
use serde::Deserialize;

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct Run {
    /// The name of its folder without the seed.
    pub(crate) name: String,
    pub(crate) summary: Summary,
    pub(crate) epochs: Vec<Epoch>,
    pub(crate) environment: Option<Environment>,
}

/// What was measured in an epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Epoch {
    /// Top-1 in percent of the trained network's one-hot head, or only head.
    pub(crate) student: Option<f64>,
    /// The same of its moving average.
    pub(crate) teacher: Option<f64>,
    /// The mean of the loss that the classifier descends.
    pub(crate) loss: Option<f64>,
}

/// Where a run was computed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(crate) struct Environment {
    pub(crate) program: String,
    pub(crate) commit: Option<String>,
    pub(crate) device: String,
    pub(crate) processors: usize,
    pub(crate) system: String,
}

#[derive(Deserialize)]
#[serde(tag = "event", rename_all = "snake_case")]
enum Event {
    Train {
        epoch: usize,
        step: usize,
        loss: BTreeMap<String, Option<f64>>,
    },
    Evaluation {
        epoch: usize,
        student: Heads,
        teacher: Option<Heads>,
    },
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
struct Heads {
    one: Option<Top1>,
}

#[derive(Deserialize)]
struct Top1 {
    top1: f64,
}

/// Reads every run below a folder that has ended, ordered by name. What was set aside (`NAME.old-1`) is left out.
pub(crate) fn read_all(folder: &Path) -> Result<Vec<Run>> {
    let Ok(entries) = fs::read_dir(folder) else { return Ok(Vec::new()) };
    let mut paths: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    let mut runs = Vec::new();
    for path in paths {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !name.contains(".old-")
            && let Ok(summary) = Summary::read(&path.join("summary.json"))
        {
            runs.push(read(&path, &name, summary)?);
        }
    }
    Ok(runs)
}

fn read(path: &Path, name: &str, summary: Summary) -> Result<Run> {
    let suffix = format!("-seed{}", summary.seed);
    let metrics = path.join("metrics.jsonl");
    let text = fs::read_to_string(&metrics).unwrap_or_default();
    let epochs = epochs(&text).with_context(|| format!("{}: not the metrics of a run", metrics.display()))?;
    let environment = fs::read_to_string(path.join("environment.json")).ok();
    Ok(Run {
        name: name.strip_suffix(&suffix).unwrap_or(name).to_owned(),
        summary,
        epochs,
        environment: environment.and_then(|text| serde_json::from_str(&text).ok()),
    })
}

/// The epochs in the lines of `metrics.jsonl`.
fn epochs(text: &str) -> Result<Vec<Epoch>> {
    let mut epochs: Vec<Epoch> = Vec::new();
    // Of each epoch the sum of the losses and the steps behind it: the last window of an epoch is a short one.
    let mut losses: Vec<(f64, f64)> = Vec::new();
    let mut steps_before = 0;
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let event: Event = serde_json::from_str(line)?;
        let (Event::Train { epoch, .. } | Event::Evaluation { epoch, .. }) = event else { continue };
        // A corrupt number must not become a vector of that length.
        anyhow::ensure!(epoch <= epochs.len(), "epoch {epoch} follows {} epochs", epochs.len());
        if epoch == epochs.len() {
            epochs.push(Epoch::default());
            losses.push((0.0, 0.0));
        }
        match event {
            Event::Train { step, loss, .. } => {
                #[expect(clippy::cast_precision_loss, reason = "steps of a window are few")]
                let weight = (step + 1).saturating_sub(steps_before).max(1) as f64;
                steps_before = step + 1;
                if let Some(loss) = loss.get("loss").or_else(|| loss.get("classifier")).copied().flatten() {
                    losses[epoch].0 += weight * loss;
                    losses[epoch].1 += weight;
                }
            }
            Event::Evaluation { student, teacher, .. } => {
                epochs[epoch].student = student.one.map(|one| one.top1);
                epochs[epoch].teacher = teacher.and_then(|teacher| teacher.one).map(|one| one.top1);
            }
            Event::Other => {}
        }
    }
    for (epoch, (sum, steps)) in epochs.iter_mut().zip(losses) {
        epoch.loss = (steps > 0.0).then(|| sum / steps);
    }
    Ok(epochs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_loss_of_an_epoch_is_the_mean_over_its_steps() {
        let text = r#"{"epoch":0,"event":"train","loss":{"loss":2.0,"mixed_top1":10.0},"lr":0.1,"step":2}
{"epoch":0,"event":"train","loss":{"loss":1.0},"lr":0.1,"step":3}
{"epoch":0,"event":"evaluation","steps":4,"student":{"one":{"top1":10.5,"top5":52.0}}}
{"epoch":1,"event":"train","loss":{"classifier":4.0,"generator":1.0},"lr":0.1,"step":5}
{"epoch":1,"event":"something_new"}
{"epoch":1,"event":"evaluation","steps":6,"student":{"one":{"top1":12.0}},"teacher":{"one":{"top1":11.0}}}
"#;
        let first = Epoch { student: Some(10.5), teacher: None, loss: Some(1.75) };
        let second = Epoch { student: Some(12.0), teacher: Some(11.0), loss: Some(4.0) };
        assert_eq!(epochs(text).unwrap(), [first, second]);
    }

    #[test]
    fn other_text_is_refused() {
        assert!(epochs("{\"epoch\":0}\n").is_err());
        let far = r#"{"epoch":900000000000,"event":"evaluation","student":{}}"#;
        assert!(epochs(far).unwrap_err().to_string().contains("follows 0 epochs"));
    }
}
