//! The program `adautomix`: building it, finding it, handing over to it.

use std::path::PathBuf;
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, ensure};

use crate::{cuda, workspace};

/// Names another program to launch in place of the one built here.
const OTHER_PROGRAM: &str = "ADAUTOMIX_BIN";

/// Commands that are handed over.
const COMMANDS: [&str; 11] =
    ["train", "evaluate", "mix", "cam", "diversity", "methods", "data", "hub", "parity", "bench", "doctor"];

/// The line on them below the help.
pub(crate) fn help() -> String {
    format!(
        "Handed over to `adautomix`, built in release, with all arguments: {}.\nTry `cargo xtask train --help`.",
        COMMANDS.join(", ")
    )
}

/// Builds the program in release and says where it is: for CUDA where the toolkit and a device are found, unless the
/// processor is asked for.
pub(crate) fn build(on_processor: bool) -> Result<PathBuf> {
    if let Some(program) = std::env::var_os(OTHER_PROGRAM) {
        return Ok(PathBuf::from(program));
    }
    let cuda = if on_processor { None } else { cuda::found() };
    let mut command = workspace::cargo();
    command.args(["build", "--release", "--package", "adautomix"]);
    let mut folder = workspace::metadata()?.target_directory;
    if let Some(found) = cuda {
        eprintln!("xtask: building for CUDA ({found}); `--device cpu` builds for the processor");
        folder.push("cuda");
        command.args(["--features", "cudnn", "--target-dir"]).arg(&folder);
    }
    let status = command.status().context("cargo cannot be started")?;
    ensure!(status.success(), "`adautomix` could not be built");
    let name = format!("adautomix{}", std::env::consts::EXE_SUFFIX);
    Ok(folder.join("release").join(name))
}

/// Whether the arguments ask for the processor.
fn asks_for_processor(arguments: &[String]) -> bool {
    let pair = |pair: &[String]| pair[0] == "--device" && pair[1] == "cpu";
    arguments.windows(2).any(pair) || arguments.iter().any(|argument| argument == "--device=cpu")
}

/// Runs the program with all arguments; its exit code becomes ours.
pub(crate) fn hand_over(arguments: &[String]) -> Result<ExitCode> {
    let name = arguments.first().map_or("", String::as_str);
    if !COMMANDS.contains(&name) {
        eprintln!("error: no command `{name}`\n\n{}\nFor the others, try `cargo xtask --help`.", help());
        return Ok(ExitCode::from(2));
    }
    let program = build(asks_for_processor(arguments))?;
    let mut command = Command::new(&program);
    command.args(arguments);
    replace_this_process(&mut command).with_context(|| format!("{}: cannot be started", program.display()))
}

/// On Unix the program takes this process's place, so that signals reach it and nothing stands between.
#[cfg(unix)]
fn replace_this_process(command: &mut Command) -> std::io::Result<ExitCode> {
    use std::os::unix::process::CommandExt;
    Err(command.exec())
}

#[cfg(not(unix))]
fn replace_this_process(command: &mut Command) -> std::io::Result<ExitCode> {
    let code = command.status()?.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_processor_is_asked_for_in_two_ways() {
        let asks = |line: &str| asks_for_processor(&line.split(' ').map(str::to_owned).collect::<Vec<_>>());
        assert!(asks("train quick/vanilla --device cpu --resume") && asks("train --device=cpu"));
        assert!(!asks("train quick/vanilla --device cuda:1") && !asks("train cpu"));
    }
}
