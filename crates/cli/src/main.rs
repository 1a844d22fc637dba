//! The program `adautomix`.

mod chosen;
mod colour;
mod commands;
mod device;
mod memory;
mod nvidia;
mod parity;
mod picture;
mod pretrained;
mod progress;
mod select;

use std::io::IsTerminal;
use std::process::ExitCode;

use anyhow::Result;
use clap::{ArgAction, Parser, Subcommand};
use tracing_subscriber::EnvFilter;

/// Train, evaluate and look at mixing augmentation: Adversarial AutoMixup and the methods it is compared with.
#[derive(Parser)]
#[command(version, arg_required_else_help = true)]
struct Arguments {
    /// Say what happens, on standard error; -vv says more. RUST_LOG has its say instead, where it is set.
    #[arg(short, long, action = ArgAction::Count, global = true)]
    verbose: u8,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Train(commands::train::TrainArgs),
    Evaluate(commands::evaluate::EvaluateArgs),
    Cam(commands::cam::CamArgs),
    Diversity(commands::diversity::DiversityArgs),
    Mix(commands::mix::MixArgs),
    Methods(commands::methods::MethodsArgs),
    Data(commands::data::DataArgs),
    #[cfg(feature = "hub")]
    Hub(commands::hub::HubArgs),
    Parity(commands::parity::ParityArgs),
    Bench(commands::bench::BenchArgs),
    Doctor(commands::doctor::DoctorArgs),
}

/// Stack of the thread that computes: candle walks the graph of a network by recursion.
const STACK: usize = 256 << 20;

fn main() -> ExitCode {
    memory::keep_freed();
    memory::spare_spinning();
    let Arguments { verbose, command } = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(filter(verbose)));
    let colour = std::io::stderr().is_terminal();
    tracing_subscriber::fmt().with_writer(std::io::stderr).with_ansi(colour).with_env_filter(filter).init();
    let worker = std::thread::Builder::new().stack_size(STACK).spawn(move || run(command));
    let result = match worker.map(std::thread::JoinHandle::join) {
        Ok(Ok(result)) => result,
        // The panic has been reported by its thread.
        Ok(Err(_)) => return ExitCode::FAILURE,
        Err(error) => Err(error.into()),
    };
    result.unwrap_or_else(|error| {
        report(&error);
        ExitCode::FAILURE
    })
}

/// Which events are shown. Other people's libraries are heard of errors only; what `hf-hub` calls one may be tried again, and
/// is reported in other words if it stays one.
fn filter(verbose: u8) -> String {
    let level = match verbose {
        0 => "error",
        1 => "info",
        _ => "debug",
    };
    let own = ["datasets", "hub", "training"].map(|name| format!("adautomix_{name}={level}"));
    format!("error,hf_hub=off,{}", own.join(","))
}

fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Train(args) => commands::train::run(args),
        Command::Evaluate(args) => commands::evaluate::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Cam(args) => commands::cam::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Diversity(args) => commands::diversity::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Mix(args) => commands::mix::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Methods(args) => commands::methods::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Data(args) => commands::data::run(args).map(|()| ExitCode::SUCCESS),
        #[cfg(feature = "hub")]
        Command::Hub(args) => commands::hub::run(args).map(|()| ExitCode::SUCCESS),
        Command::Parity(args) => commands::parity::run(&args),
        Command::Bench(args) => commands::bench::run(&args).map(|()| ExitCode::SUCCESS),
        Command::Doctor(args) => commands::doctor::run(&args).map(|()| ExitCode::SUCCESS),
    }
}

/// Prints an error as one line; what a backtrace adds to it stands below and is left out.
#[expect(clippy::print_stderr, reason = "this is where errors are printed")]
fn report(error: &anyhow::Error) {
    let mut causes: Vec<String> = Vec::new();
    for cause in error.chain() {
        let line = cause.to_string().lines().next().unwrap_or_default().trim_end().to_owned();
        // Transparent errors repeat their source.
        if causes.last().is_none_or(|last| !last.ends_with(&line)) {
            causes.push(line);
        }
    }
    eprintln!("error: {}", causes.join(": "));
}
