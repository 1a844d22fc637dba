//! `cargo xtask check`: everything that must hold before a push, the cheapest first.

use std::process::{Command, ExitCode, Stdio};
use std::time::Instant;

use anyhow::{Context, Result};

use crate::{tidy, workspace};

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
