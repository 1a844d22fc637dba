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
    lines.push(match tried() {
        Ok(()) => "a convolution on cuda:0 gives what it should".to_owned(),
        Err(error) => format!("WRONG: cuda:0: {}", error.to_string().lines().next().unwrap_or_default()),
    });
    lines
}

/// Runs a convolution and a kernel of our own on the first device, and compares with the processor.
#[cfg(feature = "cuda")]
fn tried() -> candle_core::Result<()> {
    use adautomix_ops::{ConvSpec, conv2d, relu};
    use candle_core::{Device, Tensor};

    let settings = adautomix_ops::cuda::Settings { tf32: false, deterministic: true, record: false };
    let device = adautomix_ops::cuda::open(0, settings)?;
    let on = |device: &Device| -> candle_core::Result<Vec<f32>> {
        let wave = |count: usize, shape: (usize, usize, usize, usize)| {
            Tensor::from_vec((0..count).map(|i| (i as f32).sin()).collect(), shape, device)
        };
        let y = conv2d(&wave(512, (2, 4, 8, 8))?, &wave(288, (8, 4, 3, 3))?, None, &ConvSpec::new(1, 1))?;
        relu(&y)?.flatten_all()?.to_vec1()
    };
    let (got, want) = (on(&device)?, on(&Device::Cpu)?);
    let error = got.iter().zip(&want).map(|(got, want)| (got - want).abs()).fold(0.0, f32::max);
    // A NaN fails the comparison.
    if error < 1e-4 && got.iter().all(|x| x.is_finite()) {
        return Ok(());
    }
    candle_core::bail!("a convolution is off by {error:e}")
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
