//! `adautomix doctor`: what this machine offers, and what is missing.

use std::path::PathBuf;

use adautomix_datasets::{Split, locate, names};
use adautomix_recipes::Library;
use anyhow::Result;

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
    println!("cuda       not built in; everything runs on the processor");
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
