//! `adautomix parity`: golden cases, a line each.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use candle_core::DType;

use crate::device::DeviceArgs;
use crate::parity::{self, Outcome};

/// Compare this program with golden cases that an independent PyTorch implementation computed.
///
/// Prints a line a case with the largest error, in units of the case's tolerance; exit code 1 if any case fails or its
/// op is unknown. On CUDA a case may miss its tolerance tenfold, unless --no-tf32 is given; in bf16 tolerances are its own, and
/// are printed.
#[derive(clap::Args)]
pub(crate) struct ParityArgs {
    /// Cases, or folders to search for cases.
    #[arg(required = true)]
    paths: Vec<PathBuf>,
    /// Run the cases of these ops only.
    #[arg(long, value_delimiter = ',', value_name = "OP")]
    only: Vec<String>,
    /// Compute maps in bf16, and run the cases that can: those of convolutions, batch norms, pools and residual networks.
    #[arg(long)]
    bf16: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// By how much a case may miss its tolerance where products are rounded to TF32.
const TF32_ALLOWANCE: f64 = 10.0;

/// Runs the cases and prints how they went.
pub(crate) fn run(args: &ParityArgs) -> Result<ExitCode> {
    let device = args.device.open()?;
    // A factor of TF32 has 10 bits, which the cases' tolerances, made for f32, don't know of.
    let allowance = if args.device.rounds() && !args.bf16 { TF32_ALLOWANCE } else { 1.0 };
    let dtype = if args.bf16 { DType::BF16 } else { DType::F32 };
    let (mut passed, mut failed, mut out) = (0, 0, std::io::stdout().lock());
    for path in parity::find(&args.paths)? {
        let Some(outcome) = parity::check(&path, &args.only, &device, dtype) else {
            continue;
        };
        let passes = outcome.result.as_ref().is_ok_and(|worst| worst.error <= allowance);
        *(if passes { &mut passed } else { &mut failed }) += 1;
        writeln!(out, "{}", line(&path, &outcome, passes))?;
    }
    if passed + failed == 0 {
        bail!(
            "no case to run: nothing ends in `.safetensors` there, or no case has the ops given with --only"
        );
    }
    let note = match parity::BF16_TOLERANCES {
        [operation, network] if args.bf16 => {
            format!(" (in bf16: operations to 1/{}, networks to 1/{})", 1.0 / operation, 1.0 / network)
        }
        _ if allowance > 1.0 => format!(" (tolerances x {allowance}, for TF32)"),
        _ => String::new(),
    };
    writeln!(out, "{passed} passed, {failed} failed{note}")?;
    if failed > 0 && allowance > 1.0 {
        writeln!(out, "hint: ten bits are not enough for some cases; --no-tf32 tells rounding from faults")?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn line(path: &Path, outcome: &Outcome, passes: bool) -> String {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    let verdict = if passes { "pass" } else { "FAIL" };
    let what = match &outcome.result {
        Ok(worst) => format!("{:9.2e} of the tolerance, {}", worst.error, worst.tensor),
        // candle's errors may carry a backtrace below their first line.
        Err(error) => format!("{error:#}").lines().next().unwrap_or_default().to_string(),
    };
    format!("{verdict}  {:<22} {name:<60} {what}", outcome.op)
}
