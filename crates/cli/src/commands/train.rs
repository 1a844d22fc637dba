//! `adautomix train`: a run from a recipe.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use adautomix_recipes::Summary;
use adautomix_training::{Options, Pictures, Run};
use anyhow::{Context, Result};

use crate::device::DeviceArgs;
use crate::pretrained;
use crate::progress;
use crate::select::Selection;

/// Train a network as a recipe says.
///
/// The run's folder holds the resolved recipe, metrics, TensorBoard events and checkpoints, and in the end the summary.
/// Ctrl-C finishes the step, saves, and leaves; the same command with --resume goes on.
#[derive(clap::Args, Debug)]
pub(crate) struct TrainArgs {
    /// A recipe's name, as `cifar100/resnet18/adautomix`, or a TOML file.
    #[arg(default_value = "quick/adautomix")]
    recipe: String,
    #[command(flatten)]
    selection: Selection,
    /// Where the data sets are.
    #[arg(long, env = "ADAUTOMIX_DATA", default_value = "datasets", value_name = "DIR")]
    data_dir: PathBuf,
    #[command(flatten)]
    device: DeviceArgs,
    /// The run's folder [default: runs/RECIPE, with seed].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Go on with the run that the folder holds, if it holds one.
    #[arg(long)]
    resume: bool,
    /// Steps between checkpoints within an epoch.
    #[arg(long, default_value_t = 500, value_parser = positive)]
    checkpoint_steps: usize,
    /// Steps between lines of metrics.
    #[arg(long, default_value_t = 50, value_parser = positive)]
    log_steps: usize,
    /// Keep the networks after every N epochs, as `checkpoints/epoch-N.safetensors`.
    #[arg(long, value_name = "N", value_parser = positive)]
    keep_every: Option<usize>,
    /// Begin with trained weights: a safetensors file, `hub:OWNER/NAME`, `run:DIR`, `torchvision`, or a recipe whose run is
    /// in `runs`. The same as `--set network.pretrained=…`.
    #[arg(long, value_name = "WEIGHTS")]
    pretrained: Option<String>,
    /// Print the resolved recipe and leave.
    #[arg(long)]
    print_recipe: bool,
}

fn positive(text: &str) -> Result<usize, String> {
    text.parse().ok().filter(|&n| n > 0).ok_or_else(|| "expected a whole number above 0".to_owned())
}

/// Runs `train`. A run that was stopped by a signal ends with 130, as a shell expects.
#[expect(clippy::print_stdout, reason = "the result goes to standard output")]
pub(crate) fn run(mut args: TrainArgs) -> Result<ExitCode> {
    if let Some(weights) = &args.pretrained {
        args.selection.set("network.pretrained", weights)?;
    }
    let recipe = args.selection.load(&args.recipe)?;
    if args.print_recipe {
        print!("{}", recipe.to_toml());
        return Ok(ExitCode::SUCCESS);
    }
    let seed = recipe.training.seed;
    let out = args.out.unwrap_or_else(|| Path::new("runs").join(format!("{}-seed{seed}", recipe.name)));
    let options = Options {
        out: out.clone(),
        device: args.device.open()?,
        device_name: args.device.name,
        commit: option_env!("ADAUTOMIX_COMMIT").map(str::to_owned),
        resume: args.resume,
        checkpoint_steps: args.checkpoint_steps,
        log_steps: args.log_steps,
        keep_every: args.keep_every,
        pretrained: pretrained::find(&recipe, &out)?,
    };
    let pictures = Pictures::open(&recipe, &args.data_dir)?;
    let stop = Arc::new(AtomicBool::new(false));
    let raised = stop.clone();
    ctrlc::set_handler(move || raised.store(true, Ordering::Relaxed)).context("no handler for signals")?;
    let mut run = Run::new(recipe, &pictures, options)?;
    match run.train(&mut [progress::listener()], &stop)? {
        Some(summary) => {
            println!("{}", result(&summary));
            println!("run: {}", out.display());
            Ok(ExitCode::SUCCESS)
        }
        None => Ok(ExitCode::from(130)),
    }
}

/// The accuracy in a few words.
fn result(summary: &Summary) -> String {
    let networks = [("student", Some(&summary.student)), ("teacher", summary.teacher.as_ref())];
    let shown = networks.iter().filter_map(|(name, network)| {
        let top1 = network.as_ref()?.top1;
        Some(format!(
            "{name} {:.2} % (best {:.2}, median of last 10 {:.2})",
            top1.last, top1.best, top1.median_last10
        ))
    });
    format!("top-1: {}", shown.collect::<Vec<_>>().join("; "))
}
