//! The program `adautomix`.

mod commands;
mod parity;

use std::process::ExitCode;

use clap::Parser;

use commands::parity::ParityArgs;

/// Train, evaluate and look at mixing augmentation.
#[derive(Parser)]
#[command(version)]
enum Command {
    Parity(ParityArgs),
}

fn main() -> ExitCode {
    let result = match Command::parse() {
        Command::Parity(args) => commands::parity::run(&args),
    };
    result.unwrap_or_else(|error| {
        eprintln!("error: {error:#}");
        ExitCode::FAILURE
    })
}
