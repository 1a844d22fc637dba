//! `adautomix bench`: how long a step, its mixing and its operations take.

mod candle;
mod mixers;
mod ops;
mod step;

use anyhow::Result;

/// Measure how long a training step, mixing a batch, or single operations take.
#[derive(clap::Args, Debug)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    what: What,
}

#[derive(clap::Subcommand, Debug)]
enum What {
    Step(step::StepArgs),
    Mixers(mixers::MixersArgs),
    Ops(ops::OpsArgs),
    Candle(candle::CandleArgs),
}

/// Runs `bench`.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    match &args.what {
        What::Step(args) => step::run(args),
        What::Mixers(args) => mixers::run(args),
        What::Ops(args) => ops::run(args),
        What::Candle(args) => candle::run(args),
    }
}

/// Makes the pool of threads that the kernels use; `None` is one for each processor.
fn use_threads(threads: Option<usize>) -> Result<usize> {
    if let Some(threads) = threads {
        rayon::ThreadPoolBuilder::new().num_threads(threads).build_global()?;
    }
    Ok(rayon::current_num_threads())
}

/// The median of some times.
fn median(mut times: Vec<f64>) -> f64 {
    times.sort_by(f64::total_cmp);
    times.get(times.len() / 2).copied().unwrap_or(f64::NAN)
}
