//! `adautomix bench step`: whole training steps on random pictures.

use std::time::Instant;

use adautomix_random::{Key, Purpose};
use adautomix_recipes::{Library, Override, Recipe};
use adautomix_training::{Gradients, Inputs, Stepper, classes};
use anyhow::{Result, ensure};
use candle_core::{Device, Tensor};
use rand::Rng;
use serde_json::json;

use super::{median, use_threads};
use crate::device::DeviceArgs;
use crate::memory;

/// Time training steps: forward, backward, optimizer and teacher. The fields are those of `bench/pytorch/step.py`.
#[derive(clap::Args, Debug)]
pub(crate) struct StepArgs {
    /// The recipe whose step is timed, instead of --backbone and --method.
    #[arg(long, conflicts_with_all = ["backbone", "method"])]
    recipe: Option<String>,
    /// The network, as `resnet18-cifar`.
    #[arg(long, default_value = "resnet18-cifar")]
    backbone: String,
    /// The method, as `adautomix` or `vanilla`.
    #[arg(long, default_value = "adautomix")]
    method: String,
    /// Set a key of the recipe, as `network.precision=bf16`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<Override>,
    /// Pictures of a step [default: that of the recipe].
    #[arg(long)]
    batch: Option<usize>,
    /// Threads [default: one for each processor].
    #[arg(long)]
    threads: Option<usize>,
    /// Steps that are timed.
    #[arg(long, default_value_t = 8)]
    steps: usize,
    /// Steps before them.
    #[arg(long, default_value_t = 2)]
    warmup: usize,
    #[command(flatten)]
    device: DeviceArgs,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

impl StepArgs {
    fn recipe(&self) -> Result<Recipe> {
        let library = Library::embedded();
        let batch = self.batch.map(|batch| Override::new("training.batch_size", batch as i64)).transpose()?;
        if let Some(name) = &self.recipe {
            let overrides: Vec<Override> = batch.into_iter().chain(self.overrides.iter().cloned()).collect();
            return Ok(library.load(name, &overrides)?);
        }
        // ResNet-20 has three stages, and so a recipe of its own.
        let base = if self.backbone == "resnet20-cifar" { "quick" } else { "cifar100/resnet18" };
        let mut overrides = vec![Override::new("network.name", self.backbone.as_str())?];
        overrides.extend(batch.into_iter().chain(self.overrides.iter().cloned()));
        Ok(library.load(&format!("{base}/{}", self.method), &overrides)?)
    }
}

/// Runs `bench step`.
pub(super) fn run(args: &StepArgs) -> Result<()> {
    ensure!(args.steps > 0, "--steps 0: expected at least 1");
    let (threads, device) = (use_threads(args.threads)?, args.device.open()?);
    let recipe = args.recipe()?;
    let batch = recipe.training.batch_size;
    Report {
        framework: "adautomix",
        backbone: &recipe.network.name,
        method: recipe.method.name(),
        batch,
        threads,
        device: &args.device.name,
        times: times(&recipe, args.warmup, args.steps, &device)?,
    }
    .print(args.json);
    Ok(())
}

/// What was timed, and the milliseconds of steps.
pub(super) struct Report<'a> {
    pub(super) framework: &'static str,
    pub(super) backbone: &'a str,
    pub(super) method: &'a str,
    pub(super) batch: usize,
    pub(super) threads: usize,
    pub(super) device: &'a str,
    pub(super) times: Vec<f64>,
}

impl Report<'_> {
    #[expect(clippy::print_stdout, reason = "the result goes to standard output")]
    pub(super) fn print(self, as_json: bool) {
        let Self { framework, backbone, method, batch, threads, device, times } = self;
        let (steps, least) = (times.len(), times.iter().copied().fold(f64::INFINITY, f64::min));
        let (ms, memory) = (median(times), memory::peak_mib());
        let rate = batch as f64 / ms * 1e3;
        if as_json {
            let result = json!({
                "framework": framework,
                "version": env!("CARGO_PKG_VERSION"),
                "backbone": backbone,
                "method": method,
                "batch": batch,
                "threads": threads,
                "device": device,
                "steps": steps,
                "ms_per_step": ms,
                "ms_per_step_min": least,
                "images_per_second": rate,
                "peak_memory_mb": memory,
            });
            println!("{result:#}");
        } else {
            println!("{method}, {backbone}, batch {batch}, {threads} threads on {device}");
            println!(
                "{ms:.1} ms a step (least {least:.1}), {rate:.1} pictures/s, peak memory {memory:.0} MiB"
            );
        }
    }
}

/// Milliseconds of `steps` training steps of a recipe on random pictures, after `warmup` others.
pub(super) fn times(recipe: &Recipe, warmup: usize, steps: usize, device: &Device) -> Result<Vec<f64>> {
    let (batch, classes) = (recipe.training.batch_size, classes(recipe)?);
    let mut stepper = Stepper::new(recipe, classes, warmup + steps, 500, device)?;
    let mut gradients = Gradients::default();
    time(
        device,
        warmup,
        steps,
        |step| random(batch, classes, recipe.data.input_size, step, device),
        |step, inputs| {
            stepper.step(&inputs, step, Key::new(0, Purpose::Mixing).step(step), &mut gradients)?;
            Ok(())
        },
    )
}

/// Steps that are timed together on a device: as in a run, the host is ahead of it, and waits for it at the end of them.
const TOGETHER: usize = 10;

/// Milliseconds of each of `steps` calls of `make` on what `prepare` gives for the step, which isn't timed, after `warmup`
/// others. On a device, steps that are timed together have their mean.
pub(super) fn time(
    device: &Device,
    warmup: usize,
    steps: usize,
    mut prepare: impl FnMut(usize) -> Result<Inputs>,
    mut make: impl FnMut(usize, Inputs) -> Result<()>,
) -> Result<Vec<f64>> {
    for step in 0..warmup {
        make(step, prepare(step)?)?;
    }
    let together = if device.is_cpu() { 1 } else { TOGETHER };
    let (mut times, end) = (Vec::with_capacity(steps), warmup + steps);
    for first in (warmup..end).step_by(together) {
        let group = first..end.min(first + together);
        let prepared = group.clone().map(&mut prepare).collect::<Result<Vec<_>>>()?;
        device.synchronize()?;
        let start = Instant::now();
        group.clone().zip(prepared).try_for_each(|(step, inputs)| make(step, inputs))?;
        device.synchronize()?;
        let mean = start.elapsed().as_secs_f64() * 1e3 / group.len() as f64;
        times.extend(group.map(|_| mean));
    }
    Ok(times)
}

/// Random pictures with random labels.
pub(super) fn random(
    batch: usize,
    classes: usize,
    size: usize,
    step: usize,
    device: &Device,
) -> Result<Inputs> {
    let mut rng = Key::new(0, Purpose::Test).step(step).rng();
    let images: Vec<f32> = (0..batch * 3 * size * size).map(|_| rng.random_range(-2.0..2.0)).collect();
    let labels = (0..batch).map(|_| rng.random_range(0..classes as u32)).collect();
    Ok(Inputs { images: Tensor::from_vec(images, (batch, 3, size, size), device)?, labels })
}
