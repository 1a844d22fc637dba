//! `adautomix bench mixers`: how long it takes to mix a batch, method by method.

use std::time::Instant;

use adautomix_mixing::registry::{self, Entry, Parameters};
use adautomix_mixing::{Mixer, Normalisation, Place, View};
use adautomix_random::{Key, Purpose};
use adautomix_recipes::{Library, Override};
use anyhow::{Context, Result, bail, ensure};
use candle_core::{Device, Tensor};
use rand::Rng;
use rand::distr::Uniform;
use serde_json::json;

use super::{median, step, use_threads};

/// Time what each mixer of the registry does to a batch. The fields are those of `bench/pytorch/mixers.py`.
#[derive(clap::Args, Debug)]
pub(crate) struct MixersArgs {
    /// Only these methods, as `mixup,cutmix` [default: all].
    #[arg(long, value_delimiter = ',', value_name = "NAME")]
    methods: Vec<String>,
    /// Pictures of a batch.
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// Side of the pictures, a multiple of 16.
    #[arg(long, default_value_t = 32)]
    size: usize,
    /// Threads [default: one for each processor].
    #[arg(long)]
    threads: Option<usize>,
    /// How many plans are drawn; their mean counts.
    #[arg(long, default_value_t = 8)]
    draws: usize,
    /// How often each plan is mixed; the median counts.
    #[arg(long, default_value_t = 5)]
    repeats: usize,
    /// Leave out the plain step of ResNet-18 that the times are compared with.
    #[arg(long)]
    no_step: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Parameters that choose among ways to mix which differ in cost, and their values: each is a row of its own. Cells of
/// tokens are given sizes that small pictures have several of.
const ALTERNATIVES: &[(&str, &str, &[&str])] = &[
    ("manifoldmix", "stages", &["[0]", "[1]", "[2]"]),
    ("puzzlemix", "block_counts", &["[2]", "[4]", "[8]", "[16]"]),
    ("alignmix", "manifold_probability", &["0"]),
    ("tokenmix", "patch", &["8"]),
    ("mixpro", "mask_patch", &["16"]),
];

/// What a row measured, in milliseconds.
struct Row {
    name: String,
    sample: f64,
    mix: f64,
}

/// Runs `bench mixers`.
pub(super) fn run(args: &MixersArgs) -> Result<()> {
    ensure!(args.batch > 0 && args.draws > 0 && args.repeats > 0, "expected at least 1 of everything");
    ensure!(args.size > 0 && args.size.is_multiple_of(16), "--size {}: expected a multiple of 16", args.size);
    let threads = use_threads(args.threads)?;
    let plain = if args.no_step { None } else { Some(plain_step(args)?) };
    let batch = Batch::new(args.batch, args.size)?;
    let mut rows = Vec::new();
    for entry in chosen(&args.methods)? {
        for (name, parameters) in cases(entry)? {
            let mixer = registry::build(entry.facts.name, parameters)?;
            rows.push(time(args, &batch, name.clone(), &*mixer).context(name)?);
        }
    }
    print(args, threads, plain, &rows);
    Ok(())
}

fn chosen(names: &[String]) -> Result<Vec<&'static Entry>> {
    let entries = registry::entries();
    for name in names {
        if !entries.iter().any(|entry| entry.facts.name == name) {
            let known = entries.iter().map(|entry| entry.facts.name).collect::<Vec<_>>().join(", ");
            bail!("mixer `{name}` is unknown, expected one of {known}");
        }
    }
    let wanted = |entry: &&Entry| names.is_empty() || names.iter().any(|name| name == entry.facts.name);
    Ok(entries.iter().filter(wanted).collect())
}

/// The rows of a method: one with its defaults, or one for each of the [`ALTERNATIVES`].
fn cases(entry: &Entry) -> Result<Vec<(String, Parameters)>> {
    let name = entry.facts.name;
    let Some((_, key, values)) = ALTERNATIVES.iter().find(|(method, ..)| *method == name) else {
        return Ok(vec![(name.to_owned(), Parameters::default())]);
    };
    let case = |value: &&str| {
        let parameters = [((*key).to_owned(), serde_json::from_str(value)?)].into_iter().collect();
        Ok((format!("{name} {key}={value}"), parameters))
    };
    values.iter().map(case).collect()
}

/// Milliseconds of a step that mixes nothing.
fn plain_step(args: &MixersArgs) -> Result<f64> {
    let overrides = [
        Override::new("training.batch_size", args.batch as i64)?,
        Override::new("data.input_size", args.size as i64)?,
    ];
    let recipe = Library::embedded().load("cifar100/resnet18/vanilla", &overrides)?;
    Ok(median(step::times(&recipe, 1, 3, &Device::Cpu)?))
}

fn time(args: &MixersArgs, batch: &Batch, name: String, mixer: &dyn Mixer) -> Result<Row> {
    let mut row = Row { name, sample: 0.0, mix: 0.0 };
    let share = 1.0 / args.draws as f64;
    for draw in 0..args.draws {
        let mut rng = Key::new(0, Purpose::Mixing).step(draw).rng();
        let start = Instant::now();
        let plan = mixer.sample(args.batch, args.size, args.size, &mut rng)?;
        row.sample += share * milliseconds(start);
        let hidden = batch.hidden(plan.place())?;
        let view = batch.view(hidden.as_ref());
        let mix = || -> Result<f64> {
            let start = Instant::now();
            let mixed = plan.mix(&view)?;
            // What the network says of the mixed pictures is of the same shape as of the others.
            let mut seen = view;
            seen.images = &mixed.images;
            plan.relabel(mixed.targets, &view, &seen)?;
            Ok(milliseconds(start))
        };
        mix()?;
        row.mix += share * median((0..args.repeats).map(|_| mix()).collect::<Result<_>>()?);
    }
    Ok(row)
}

fn milliseconds(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

#[expect(clippy::print_stdout, reason = "the result goes to standard output")]
fn print(args: &MixersArgs, threads: usize, plain: Option<f64>, rows: &[Row]) {
    if args.json {
        let row = |row: &Row| json!({ "method": row.name, "sample_ms": row.sample, "mix_ms": row.mix });
        let result = json!({
            "framework": "adautomix", "version": env!("CARGO_PKG_VERSION"), "device": "cpu",
            "batch": args.batch, "size": args.size, "threads": threads, "draws": args.draws,
            "step_ms": plain, "mixers": rows.iter().map(row).collect::<Vec<_>>(),
        });
        println!("{result:#}");
        return;
    }
    println!("batch {}, {size} x {size}, {threads} threads", args.batch, size = args.size);
    if let Some(plain) = plain {
        println!("a plain step of ResNet-18: {plain:.1} ms");
    }
    let share = if plain.is_some() { "of a step" } else { "" };
    println!("{:32}{:>12}{:>12}{share:>12}", "method", "sample, ms", "mix, ms");
    for row in rows {
        let share = plain.map_or_else(String::new, |plain| format!("{:.2} %", 100.0 * row.mix / plain));
        println!("{:32}{:>12.3}{:>12.3}{share:>12}", row.name, row.sample, row.mix);
    }
}

const CLASSES: usize = 100;
/// Channels of ResNet-18's stages.
const CHANNELS: [usize; 4] = [64, 128, 256, 512];

/// A random batch, and what ResNet-18, or a transformer with 8 x 8 patches and 3 heads, would make of it.
struct Batch {
    images: Tensor,
    labels: Vec<u32>,
    gradient: Tensor,
    features: Tensor,
    head: (Tensor, Tensor),
    attention: Tensor,
    logits: Tensor,
    targets: Tensor,
}

impl Batch {
    fn new(batch: usize, size: usize) -> Result<Self> {
        let tokens = (size / 8) * (size / 8) + 1;
        let labels: Vec<u32> = (0..batch as u32).map(|i| i % CLASSES as u32).collect();
        let classes = Tensor::arange(0u32, CLASSES as u32, &Device::Cpu)?;
        let targets = Tensor::new(&*labels, &Device::Cpu)?.unsqueeze(1)?.broadcast_eq(&classes)?;
        let attention = noise(5, &[batch, 3, tokens, tokens])?.exp()?;
        // A loss looks at some place of a picture more than at others.
        let gradient = noise(1, &[batch, 3, size, size])?.broadcast_mul(&bumps(batch, size)?)?;
        Ok(Self {
            images: noise(0, &[batch, 3, size, size])?,
            labels,
            gradient,
            features: noise(2, &[batch, CHANNELS[3], size / 8, size / 8])?.relu()?,
            head: (noise(3, &[CLASSES, CHANNELS[3]])?, noise(4, &[CLASSES])?),
            attention: attention.broadcast_div(&attention.sum_keepdim(3)?)?,
            logits: noise(6, &[batch, CLASSES])?,
            targets: targets.to_dtype(candle_core::DType::F32)?,
        })
    }

    /// The hidden map of ResNet-18 that is mixed at `place`.
    fn hidden(&self, place: Place) -> Result<Option<Tensor>> {
        let stage = match place {
            Place::Pictures => return Ok(None),
            Place::Stage(stages) => stages.clamp(1, CHANNELS.len()) - 1,
            Place::LastStage => return Ok(Some(self.features.clone())),
        };
        let (batch, _, height, width) = self.images.dims4()?;
        Ok(Some(noise(7, &[batch, CHANNELS[stage], height >> stage, width >> stage])?.relu()?))
    }

    fn view<'a>(&'a self, hidden: Option<&'a Tensor>) -> View<'a> {
        let mut view = View::of(hidden.unwrap_or(&self.images));
        view.labels = Some(&self.labels);
        view.normalisation = Some(Normalisation { mean: [0.5; 3], std: [0.25; 3] });
        view.gradient = Some(&self.gradient);
        view.features = Some(&self.features);
        view.head = Some((&self.head.0, &self.head.1));
        view.attention = Some(&self.attention);
        view.logits = Some(&self.logits);
        view.previous = Some((&self.images, &self.targets));
        view
    }
}

/// Uniform values from -2 to 2.
fn noise(sample: usize, shape: &[usize]) -> Result<Tensor> {
    let rng = Key::new(0, Purpose::Test).sample(sample).rng();
    let values = rng.sample_iter(Uniform::new(-2.0f32, 2.0)?).take(shape.iter().product()).collect();
    Ok(Tensor::from_vec::<_, f32>(values, shape, &Device::Cpu)?)
}

/// A bump at a random place of each picture, `[B, 1, S, S]`, whose deviation is a sixth of the side.
fn bumps(batch: usize, size: usize) -> Result<Tensor> {
    let mut rng = Key::new(0, Purpose::Test).sample(8).rng();
    let (side, mut values) = (size as f32, Vec::with_capacity(batch * size * size));
    for _ in 0..batch {
        let [row, column] = [(); 2].map(|()| rng.random_range(0.0..side));
        let square = |at: usize, center: f32| ((at as f32 - center) * 6.0 / side).powi(2);
        let bump = |at: usize| (-0.5 * (square(at / size, row) + square(at % size, column))).exp();
        values.extend((0..size * size).map(bump));
    }
    Ok(Tensor::from_vec(values, (batch, 1, size, size), &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_has_rows_that_can_be_timed() -> Result<()> {
        let args = MixersArgs {
            methods: Vec::new(),
            batch: 4,
            size: 32,
            threads: None,
            draws: 2,
            repeats: 1,
            no_step: true,
            json: false,
        };
        let batch = Batch::new(args.batch, args.size)?;
        for entry in chosen(&[])? {
            for (name, parameters) in cases(entry)? {
                let row = time(&args, &batch, name, &*registry::build(entry.facts.name, parameters)?)?;
                assert!(row.mix > 0.0 && row.name.starts_with(entry.facts.name), "{}", row.name);
            }
        }
        let unknown = chosen(&["mixdown".to_owned()]).unwrap_err().to_string();
        assert!(unknown.contains("mixdown") && unknown.contains("mixup"), "{unknown}");
        Ok(())
    }
}
