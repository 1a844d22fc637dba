//! `adautomix evaluate`: the accuracy of a run's networks.

use std::path::PathBuf;

use adautomix_recipes::Head;
use adautomix_training::{Pictures, evaluate, load};
use anyhow::Result;
use serde_json::json;

use crate::device;

/// Measure the accuracy of a run's networks on its test pictures.
#[derive(clap::Args, Debug)]
pub(crate) struct EvaluateArgs {
    /// The run's folder.
    run: PathBuf,
    /// Which checkpoint: `last` or `best`.
    #[arg(long, default_value = "last", value_parser = ["last", "best"])]
    checkpoint: String,
    /// Where the data sets are.
    #[arg(long, env = "ADAUTOMIX_DATA", default_value = "datasets", value_name = "DIR")]
    data_dir: PathBuf,
    /// Where to compute: `cpu`, `cuda` or `cuda:N`.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `evaluate`.
#[expect(clippy::print_stdout, reason = "the result goes to standard output")]
pub(crate) fn run(args: &EvaluateArgs) -> Result<()> {
    let device = device::open(&args.device)?;
    let loaded = load(&args.run, &args.checkpoint, &device)?;
    let pictures = Pictures::open(&loaded.recipe, &args.data_dir)?;
    let testing = pictures.testing(&loaded.recipe)?;
    let mut all =
        json!({ "recipe": loaded.recipe.name, "checkpoint": args.checkpoint, "steps": loaded.steps });
    for (network, classifier) in loaded.method.evaluated() {
        for accuracy in evaluate(classifier, &testing, &device)? {
            let head = if accuracy.head == Head::One { "one" } else { "mix" };
            if args.json {
                all[network][head] = json!({ "top1": accuracy.top1, "top5": accuracy.top5 });
            } else {
                println!("{network} {head} head: top-1 {:.2} %, top-5 {:.2} %", accuracy.top1, accuracy.top5);
            }
        }
    }
    if args.json {
        println!("{all:#}");
    }
    Ok(())
}
