//! `cargo xtask check`: everything that must hold before a push, the cheapest first.

use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{cuda, emulated, tidy, workspace};

/// Runs all steps, up to the first that fails.
pub(crate) fn run() -> Result<ExitCode> {
    let start = Instant::now();
    if !step("format", || cargo(&["fmt", "--all", "--check"], &[]))?
        || !step("tidy", || Ok(tidy::run()? == ExitCode::SUCCESS))?
        || !step("lints", || cargo(&["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"], &[]))?
        || !step("tests", || cargo(tests(), &[]))?
        || !step("examples in the documentation", || cargo(&["test", "--workspace", "--doc"], &[]))?
        || !step("documentation", || {
            cargo(&["doc", "--workspace", "--no-deps"], &[("RUSTDOCFLAGS", "-D warnings")])
        })?
    {
        return Ok(ExitCode::FAILURE);
    }
    println!("check: all well ({:.0} s)", start.elapsed().as_secs_f64());
    Ok(ExitCode::SUCCESS)
}

/// Lints the crates that know CUDA, links the program, with what is compiled in a folder of its own, and runs it on an emulated
/// device. Where there is no toolkit it lints only, over kernels that are empty files, in another folder.
pub(crate) fn cuda() -> Result<ExitCode> {
    let whole = cuda::nvcc().is_some();
    let folder = workspace::metadata()?.target_directory.join(if whole { "cuda" } else { "cuda-types" });
    let instead = if whole { Vec::new() } else { cuda::stand_in(&folder)?.to_vec() };
    let variables: Vec<(&str, &str)> = instead.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let folder = folder.to_str().context("the target folder's name is not UTF-8")?;
    let packages = ["adautomix-kernels", "adautomix-ops", "adautomix-training", "adautomix"];
    let mut common: Vec<&str> = packages.iter().flat_map(|package| ["--package", package]).collect();
    common.extend(["--features", "adautomix/cudnn", "--target-dir", folder]);
    let lints = [&["clippy"], &common[..], &["--", "-D", "warnings"]].concat();
    if !step("lints for CUDA", || cargo(&lints, &variables))? {
        return Ok(ExitCode::FAILURE);
    }
    if !whole {
        println!(
            "check: types and lints are well for CUDA; nvcc isn't found, so no kernel was compiled and nothing linked"
        );
        println!("hint: install the CUDA toolkit, or set CUDA_HOME to its folder");
        return Ok(ExitCode::SUCCESS);
    }
    if !step("program for CUDA", || emulated::program().map(|_| true))?
        || !step("golden cases on an emulated device", emulated::golden_cases)?
        || !step("runs on an emulated device", emulated::runs_alike)?
    {
        return Ok(ExitCode::FAILURE);
    }
    println!("check: all well for CUDA; nothing has run on a device that isn't emulated");
    Ok(ExitCode::SUCCESS)
}

fn step(name: &str, action: impl FnOnce() -> Result<bool>) -> Result<bool> {
    println!("check: {name} ...");
    let start = Instant::now();
    let passed = action()?;
    let verdict = if passed { "passed" } else { "FAILED" };
    println!("check: {name} {verdict} ({:.1} s)", start.elapsed().as_secs_f64());
    Ok(passed)
}

fn cargo(arguments: &[&str], variables: &[(&str, &str)]) -> Result<bool> {
    let mut command = workspace::cargo();
    command.args(arguments).envs(variables.iter().copied());
    Ok(command.status().context("cargo cannot be started")?.success())
}

/// The test runner that is there: nextest runs the tests of all crates side by side.
fn tests() -> &'static [&'static str] {
    let nextest = Command::new("cargo-nextest")
        .arg("--version")
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    if nextest {
        &["nextest", "run", "--workspace"]
    } else {
        &["test", "--workspace", "--lib", "--bins", "--tests"]
    }
}
