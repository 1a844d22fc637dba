//! What a run came to.

use adautomix_recipes::{Accuracy, NetworkSummary, Recipe, Statistics, Summary};

use crate::checkpoint::Progress;
use crate::run::Options;
use crate::{Error, Result};

/// The summary of a run that has ended; `counts` are its training and test pictures.
pub(crate) fn summarise(
    recipe: &Recipe,
    options: &Options,
    progress: &Progress,
    seconds: f64,
    counts: [usize; 2],
) -> Result<Summary> {
    let Some(student) = network("student", progress) else {
        return Err(Error::Recipe("training.epochs is 0, so there is nothing to sum up".into()));
    };
    Ok(Summary {
        recipe: recipe.name.clone(),
        method: recipe.method.name().to_owned(),
        dataset: recipe.data.name.clone(),
        network: recipe.network.name.clone(),
        device: options.device_name.clone(),
        commit: options.commit.clone(),
        seed: recipe.training.seed,
        epochs: progress.history.len(),
        steps: progress.steps,
        seconds,
        train_pictures: counts[0],
        test_pictures: counts[1],
        student,
        teacher: network("teacher", progress),
    })
}

/// One network's accuracy over the run, if it was evaluated.
fn network(name: &str, progress: &Progress) -> Option<NetworkSummary> {
    let head = |head: &str| -> Option<Accuracy> {
        let of = |row: &Vec<(String, String, f64, f64)>| {
            row.iter().find(|(n, h, ..)| n == name && h == head).map(|&(_, _, top1, top5)| (top1, top5))
        };
        let series: Vec<(f64, f64)> = progress.history.iter().filter_map(of).collect();
        let (top1, top5): (Vec<f64>, Vec<f64>) = series.into_iter().unzip();
        Some(Accuracy { top1: Statistics::of(&top1)?, top5: Statistics::of(&top5)? })
    };
    let one = head("one")?;
    Some(match head("mix") {
        Some(mix) => NetworkSummary::two_heads(one, mix),
        None => NetworkSummary::one_head(one),
    })
}
