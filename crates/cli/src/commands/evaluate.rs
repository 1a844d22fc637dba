//! `adautomix evaluate`: how good a run's networks are.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use adautomix_datasets::Subset;
use adautomix_evaluation::{Evaluator, HeadReport, Metric, Settings};
use adautomix_recipes::Head;
use adautomix_training::{Pictures, load};
use anyhow::{Context, Result};
use clap::builder::{PossibleValuesParser, TypedValueParser};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;

use crate::chosen::checkpoint;
use crate::device::DeviceArgs;

/// Measure a run's networks on its test pictures: accuracy, calibration, and what attacks, occlusion and corruption
/// leave of the accuracy.
#[derive(clap::Args, Debug)]
pub(crate) struct EvaluateArgs {
    /// The run's folder.
    run: PathBuf,
    /// Which checkpoint: `last`, `best` or, where it is kept, `epoch-N`.
    #[arg(long, default_value = "last", value_parser = checkpoint)]
    checkpoint: String,
    /// What to measure, separated by commas.
    #[arg(long, value_delimiter = ',', default_value = "top1", value_name = "METRIC", value_parser = metric())]
    metrics: Vec<Metric>,
    /// Measure on the first N test pictures only.
    #[arg(long, value_name = "N")]
    pictures: Option<usize>,
    /// Side in pixels of the cells that occlusion hides [default: a fourteenth of the picture's, or a little more].
    #[arg(long, value_name = "PIXELS")]
    patch: Option<usize>,
    /// Where the data sets are.
    #[arg(long, env = "ADAUTOMIX_DATA", default_value = "datasets", value_name = "DIR")]
    data_dir: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

fn metric() -> impl TypedValueParser<Value = Metric> {
    PossibleValuesParser::new(Metric::ALL.map(Metric::name))
        .try_map(|name| Metric::named(&name).context("no such metric"))
}

/// Runs `evaluate`.
#[expect(clippy::print_stdout, reason = "the result goes to standard output")]
pub(crate) fn run(args: &EvaluateArgs) -> Result<()> {
    let device = args.device.open()?;
    let loaded = load(&args.run, &args.checkpoint, &device)?;
    let mut test = Pictures::open(&loaded.recipe, &args.data_dir)?.test;
    if let Some(count) = args.pictures {
        test = Arc::new(Subset::first(test, count));
    }
    let settings = Settings { metrics: args.metrics.clone(), patch: args.patch, ..Settings::default() };
    let networks = loaded.method.evaluated();
    let evaluators = networks.iter().map(|&(network, classifier)| {
        (network, Evaluator::new(classifier, test.clone(), &loaded.recipe, &device))
    });
    let evaluators: Vec<_> = evaluators.collect();
    let pictures =
        |evaluator: &Evaluator<'_>| settings.passes(evaluator.heads().len()) * evaluator.pictures();
    let mut watch = Watch::new(evaluators.iter().map(|(_, evaluator)| pictures(evaluator)).sum());
    let mut all = json!({
        "recipe": loaded.recipe.name,
        "checkpoint": args.checkpoint,
        "steps": loaded.steps,
        "pictures": test.len(),
    });
    for (network, evaluator) in &evaluators {
        for (head, report) in evaluator.report(&settings, &mut |task, done| watch.on(network, task, done))? {
            let head = if head == Head::One { "one" } else { "mix" };
            if args.json {
                all[*network][head] = serde_json::to_value(report)?;
            } else {
                watch.bar.suspend(|| println!("{network} {head} head: {}", text(&report)));
            }
        }
    }
    watch.bar.finish_and_clear();
    if args.json {
        println!("{all:#}");
    }
    Ok(())
}

/// What a person sees meanwhile: a bar on a terminal, a line for each thing measured elsewhere.
struct Watch {
    bar: ProgressBar,
    task: String,
}

impl Watch {
    fn new(pictures: usize) -> Self {
        let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed_precise} (left {eta}) {msg}");
        let bar = ProgressBar::new(pictures as u64);
        bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
        Self { bar, task: String::new() }
    }

    #[expect(clippy::print_stderr, reason = "progress is for the person who watches")]
    fn on(&mut self, network: &str, task: &str, pictures: usize) {
        let task = format!("{network}: {task}");
        if task != self.task {
            if !std::io::stderr().is_terminal() {
                eprintln!("{task}");
            }
            self.bar.set_message(task.clone());
            self.task = task;
        }
        self.bar.inc(pictures as u64);
    }
}

/// A report in words.
fn text(report: &HeadReport) -> String {
    let mut parts = Vec::new();
    if let (Some(top1), Some(top5)) = (report.top1, report.top5) {
        parts.push(format!("top-1 {top1:.2} %, top-5 {top5:.2} %"));
    }
    if let Some(ece) = &report.ece {
        parts.push(format!("ECE {:.2} % (as published {:.2} %)", 100.0 * ece.standard, 100.0 * ece.sorted));
    }
    if let Some(fgsm) = &report.fgsm {
        let [pixel, published] = [fgsm.pixel.error, fgsm.published.error];
        parts.push(format!("FGSM error {pixel:.2} % (as published {published:.2} %)"));
    }
    if let Some(pgd) = &report.pgd {
        parts.push(format!("PGD error {:.2} %", pgd.attack.error));
    }
    if let Some(occlusion) = &report.occlusion {
        let shares = occlusion.ratios.iter().zip(&occlusion.per_picture);
        let shares: Vec<_> =
            shares.map(|(ratio, top1)| format!("{:.0} %: {top1:.2} %", 100.0 * ratio)).collect();
        parts.push(format!("top-1 with cells hidden {}", shares.join(", ")));
    }
    if let Some(corruption) = &report.corruption {
        parts.push(format!("top-1 under corruption {:.2} %", corruption.top1));
    }
    parts.join("; ")
}
