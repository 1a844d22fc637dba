//! `adautomix doctor`: what this machine offers, and what is missing.

use std::path::PathBuf;

use adautomix_datasets::{Split, locate, names};
use adautomix_recipes::Library;
use anyhow::Result;

use crate::nvidia;

/// Say what this program and machine have, a line each.
#[derive(clap::Args, Debug)]
pub(crate) struct DoctorArgs {
    /// Where the data sets are.
    #[arg(long, env = "ADAUTOMIX_DATA", default_value = "datasets", value_name = "DIR")]
    data_dir: PathBuf,
}

/// Runs `doctor`.
#[expect(clippy::print_stdout, reason = "the report goes to standard output")]
pub(crate) fn run(args: &DoctorArgs) -> Result<()> {
    let commit = option_env!("ADAUTOMIX_COMMIT").unwrap_or("unknown commit");
    println!("program    adautomix {} ({commit})", env!("CARGO_PKG_VERSION"));
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    println!("processor  {processors} threads, {}", vectors());
    for line in cuda() {
        println!("cuda       {line}");
    }
    println!("recipes    {} in the program", Library::embedded().names()?.len());
    for name in names() {
        let place =
            match (locate(name, &args.data_dir, Split::Train), locate(name, &args.data_dir, Split::Test)) {
                (Ok(train), Ok(_)) => format!("{} {}", train.format.name(), train.path.display()),
                (Err(error), _) | (_, Err(error)) => format!("not here ({error})"),
            };
        println!("data       {name}: {place}");
    }
    Ok(())
}

/// What this program and machine have for CUDA, and what is wrong.
fn cuda() -> Vec<String> {
    let built = match (cfg!(feature = "cuda"), cfg!(feature = "cudnn")) {
        (false, _) => "not built in; everything runs on the processor",
        (true, false) => "built in without cuDNN: convolutions will be slow",
        (true, true) => "built in, with cuDNN",
    };
    let findings = nvidia::look();
    let mut lines = vec![built.to_owned()];
    lines.extend(findings.found);
    lines.extend(findings.wrong.into_iter().map(|wrong| format!("WRONG: {wrong}")));
    #[cfg(feature = "cuda")]
    lines.extend(trials::lines());
    lines
}

/// What a run needs of the first device, tried in small.
#[cfg(feature = "cuda")]
mod trials {
    use adautomix_ops::{ConvSpec, Graph, Tape, conv2d, cuda, into_bf16, into_planes, overwrite, relu};
    use candle_core::{Device, Result, Tensor, Var, bail};

    type Work = fn(&Device) -> Result<Vec<f32>>;

    /// What is tried, and how far it may be from what the processor computes, in shares of the largest value.
    const TRIALS: [(&str, f32, Work); 5] = [
        ("a convolution", 1e-5, convolution),
        ("a product", 1e-5, product),
        ("a gradient in bf16 by pictures", 1.0 / 32.0, gradient_by_pictures),
        ("a gradient in bf16 by a weight", 1.0 / 32.0, gradient_by_weight),
        ("a recorded pass", 1e-5, recorded),
    ];

    /// A line for each.
    pub(super) fn lines() -> Vec<String> {
        let settings = cuda::Settings { tf32: false, deterministic: true, record: true };
        let device = match cuda::open(0, settings) {
            Ok(device) => device,
            Err(error) => return vec![wrong("cuda:0", &error)],
        };
        let line = |(what, tolerance, work): (&str, f32, Work)| match compare(&device, tolerance, work) {
            Ok(()) => format!("{what} on cuda:0 gives what it should"),
            Err(error) => wrong(&format!("{what} on cuda:0"), &error),
        };
        TRIALS.into_iter().map(line).collect()
    }

    fn wrong(what: &str, error: &candle_core::Error) -> String {
        format!("WRONG: {what}: {}", error.to_string().lines().next().unwrap_or_default())
    }

    fn compare(device: &Device, tolerance: f32, work: Work) -> Result<()> {
        let (got, want) = (work(device)?, work(&Device::Cpu)?);
        let largest = want.iter().fold(0.0f32, |largest, want| largest.max(want.abs()));
        let error = got.iter().zip(&want).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
        // A NaN fails the comparison.
        if error < tolerance * largest && got.iter().all(|x| x.is_finite()) {
            return Ok(());
        }
        bail!("it is off by {error:e}, where the largest value is {largest:e}")
    }

    fn wave(shape: &[usize], device: &Device) -> Result<Tensor> {
        let values = (0..shape.iter().product()).map(|i: usize| (i as f32).sin()).collect();
        Tensor::from_vec(values, shape, device)
    }

    fn values(tensor: &Tensor) -> Result<Vec<f32>> {
        tensor.flatten_all()?.to_vec1()
    }

    fn convolution(device: &Device) -> Result<Vec<f32>> {
        let (images, weight) = (wave(&[2, 4, 8, 8], device)?, wave(&[8, 4, 3, 3], device)?);
        values(&conv2d(&images, &weight, None, &ConvSpec::new(1, 1))?)
    }

    fn product(device: &Device) -> Result<Vec<f32>> {
        values(&wave(&[16, 8], device)?.matmul(&wave(&[8, 4], device)?)?)
    }

    fn gradient_by_pictures(device: &Device) -> Result<Vec<f32>> {
        gradient_in_bf16(device, 0)
    }

    fn gradient_by_weight(device: &Device) -> Result<Vec<f32>> {
        gradient_in_bf16(device, 1)
    }

    /// Of a convolution of pictures, whose three channels suit tensor cores least: by them, or by the weight.
    fn gradient_in_bf16(device: &Device, operand: usize) -> Result<Vec<f32>> {
        let factors = [wave(&[2, 3, 8, 8], device)?, wave(&[8, 3, 3, 3], device)?];
        let [images, weight] = [Var::from_tensor(&factors[0])?, Var::from_tensor(&factors[1])?];
        let (tape, loss) = Tape::record(|| -> Result<Tensor> {
            let y = conv2d(&into_bf16(&images)?, &weight, None, &ConvSpec::new(1, 1))?;
            (into_planes(&y)? * wave(&[2, 8, 8, 8], device)?)?.sum_all()
        })?;
        let gradients = tape.backward(&loss)?;
        match gradients.get([&images, &weight][operand]) {
            Some(gradient) => values(gradient),
            None => bail!("there is no gradient"),
        }
    }

    fn recorded(device: &Device) -> Result<Vec<f32>> {
        let (images, weight) = (wave(&[2, 4, 8, 8], device)?, wave(&[8, 4, 3, 3], device)?);
        let result = wave(&[2, 8, 8, 8], device)?;
        let work = || overwrite(&result, &relu(&conv2d(&images, &weight, None, &ConvSpec::new(1, 1))?)?);
        Graph::prepare(device, work)?;
        if let Some(graph) = Graph::record(device, work)? {
            // So that it is seen whether the launch writes it.
            overwrite(&result, &wave(&[2, 8, 8, 8], device)?)?;
            graph.launch()?;
        }
        values(&result)
    }
}

/// The widest vectors that the kernels find.
fn vectors() -> &'static str {
    #[cfg(target_arch = "x86_64")]
    {
        if std::arch::is_x86_feature_detected!("avx512f") {
            return "AVX-512";
        }
        if std::arch::is_x86_feature_detected!("avx2") && std::arch::is_x86_feature_detected!("fma") {
            return "AVX2";
        }
        "no AVX2: convolutions will be slow"
    }
    #[cfg(not(target_arch = "x86_64"))]
    std::env::consts::ARCH
}
