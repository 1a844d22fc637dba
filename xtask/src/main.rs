//! `cargo xtask`: plans runs, launches the program `adautomix` for them and makes the tables; checks the code.
//!
//! Nothing here knows of tensors: it builds in seconds, and each run is a process of its own.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a program talks to whoever started it")]

mod ablate;
mod artefact;
mod check;
mod cuda;
mod emulated;
mod paper;
mod program;
mod report;
mod reproduce;
mod status;
mod tidy;
mod workspace;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Plans and launches runs of `adautomix`, makes the tables, checks the code.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", after_help = program::help())]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs what tables and figures of the paper need, and makes them
    Reproduce(reproduce::Arguments),
    /// Runs variants of a recipe side by side: a grid over its keys, or paper against published code
    Ablate(ablate::Arguments),
    /// Tells how far the runs of tables, figures and ablations are
    Status(status::Arguments),
    /// Makes one page of all tables, figures and curves, also as Markdown and LaTeX
    Report(report::Arguments),
    /// Runs every check of the code, the cheapest first
    Check {
        /// Lint and link the CUDA program instead, and run it on an emulated device; needs the toolkit, but no device
        #[arg(long)]
        cuda: bool,
    },
    /// Runs the CUDA program on an emulated device, slowly: `cargo xtask emulate parity tests/goldens/core`
    Emulate {
        /// What the program gets
        #[arg(trailing_var_arg = true, allow_hyphen_values = true, required = true)]
        arguments: Vec<String>,
    },
    /// Checks what the compiler doesn't: edges between crates, headers, recipes
    Tidy,
    #[command(external_subcommand)]
    Program(Vec<String>),
}

fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Reproduce(arguments) => reproduce::run(&arguments),
        Command::Ablate(arguments) => ablate::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Report(arguments) => report::run(&arguments),
        Command::Check { cuda: false } => check::run(),
        Command::Check { cuda: true } => check::cuda(),
        Command::Emulate { arguments } => emulated::run(&arguments),
        Command::Tidy => tidy::run(),
        Command::Program(arguments) => program::hand_over(&arguments),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
