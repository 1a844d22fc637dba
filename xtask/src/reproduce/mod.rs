//! `cargo xtask reproduce`: runs what tables and figures need, each run a process of its own, and makes them of what is there.

pub(crate) mod assemble;
pub(crate) mod cell;
mod csv;
mod farewell;
mod figure;
pub(crate) mod invocation;
pub(crate) mod manifest;
mod measure;
pub(crate) mod options;
mod plan;
mod render;
pub(crate) mod runner;
mod slurm;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::builder::PossibleValuesParser;

use crate::artefact::Axis;
use crate::paper::{self, Definition};
use crate::program;
use assemble::Assembly;
use cell::Cell;
use invocation::Launch;
pub(crate) use options::{Launcher, Options, Profile, RunOptions};
use runner::{Failure, Runner};

/// What to reproduce, and how.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The table or figure of the paper, or all of them
    #[arg(value_parser = PossibleValuesParser::new(paper::ids().chain(["all"])))]
    artefact: String,
    /// `quick`: minutes on two cores, on drawn pictures; `paper`: as published
    #[arg(long, value_enum, default_value_t = Profile::Quick)]
    profile: Profile,
    /// Only these columns of the table, as CIFAR100/ResNet18,CIFAR100/ResNeXt50
    #[arg(long, value_delimiter = ',', value_name = "COLUMN")]
    columns: Vec<String>,
    /// Only these rows of the table, as Vanilla,AdAutoMix; of the others, what is there already is shown
    #[arg(long, alias = "methods", value_delimiter = ',', value_name = "ROW")]
    rows: Vec<String>,
    #[command(flatten)]
    run: RunOptions,
}

/// Reproduces tables and figures.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let definitions: Vec<Definition> = paper::ids()
        .filter(|id| ["all", id].contains(&arguments.artefact.as_str()))
        .filter_map(paper::definition)
        .collect();
    if let Err(message) = check_headings(arguments, &definitions) {
        eprintln!("error: {}, profile {}: {message}", arguments.artefact, arguments.profile);
        return Ok(ExitCode::from(2));
    }
    let call = format!("cargo xtask reproduce {{id}} --profile {}", arguments.profile);
    let mut options = Options::new(&arguments.run, arguments.profile, &call);
    options.rows.clone_from(&arguments.rows);
    options.columns.clone_from(&arguments.columns);
    make(&arguments.run, options, &definitions)
}

/// Runs what is missing of some definitions, and makes what there is into tables and figures.
pub(crate) fn make(run: &RunOptions, options: Options, definitions: &[Definition]) -> Result<ExitCode> {
    let mut assembly = Assembly::new(options)?;
    for definition in definitions {
        assembly.assemble(definition);
    }
    if run.plan {
        let program = program::build(assembly.options.devices == ["cpu"]);
        let program = program.as_deref().map_err(ToString::to_string);
        println!("{}", plan::plan(&assembly, &program, run.jobs.unwrap_or(1)));
        return Ok(ExitCode::SUCCESS);
    }
    // What is whole is made again at once, without a build.
    let program = if assembly.wanted.iter().all(|&index| assembly.cells[index].is_complete()) {
        PathBuf::new()
    } else {
        program::build(assembly.options.devices == ["cpu"])?
    };
    make_with(&program, run, assembly, definitions)
}

/// The same with a given program.
fn make_with(
    program: &Path,
    run: &RunOptions,
    mut assembly: Assembly,
    definitions: &[Definition],
) -> Result<ExitCode> {
    let failures = run_cells(program, run, &assembly, definitions)?;
    assembly.failures = failures.iter().map(|failure| (failure.cell.clone(), failure.to_string())).collect();
    let out = assembly.options.out.clone();
    for definition in definitions {
        let artefact = assembly.assemble(definition);
        for (extension, text) in [
            ("json", artefact.to_json()),
            ("md", render::markdown(&artefact)),
            ("csv", csv::csv(&artefact)),
            ("tex", render::latex(&artefact)),
        ] {
            write(&out.join(format!("{}.{extension}", definition.id)), &text)?;
        }
        if definitions.len() == 1 {
            println!("{}", render::terminal(&artefact));
        } else {
            println!("{}", render::line(&artefact));
        }
    }
    let ids: Vec<_> = definitions.iter().map(|definition| definition.id.as_str()).collect();
    println!("Written to {}: {} as .md, .csv, .tex, .json", out.display(), ids.join(", "));
    let is_paper = |definition: &Definition| paper::ids().any(|id| id == definition.id);
    if assembly.options.profile == Profile::Quick && definitions.iter().all(is_paper) {
        println!("\n{}", farewell::farewell(&assembly.options, definitions));
    }
    for failure in &failures {
        eprintln!("\n{failure}");
    }
    if !failures.is_empty() {
        eprintln!(
            "\n{} of {} cells failed; the same command tries them again",
            failures.len(),
            assembly.wanted.len()
        );
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn run_cells(
    program: &Path,
    run: &RunOptions,
    assembly: &Assembly,
    definitions: &[Definition],
) -> Result<Vec<Failure>> {
    let cells: Vec<&Cell> = assembly.wanted.iter().map(|&index| &assembly.cells[index]).collect();
    let options = &assembly.options;
    let id = if definitions.len() == 1 { definitions[0].id.as_str() } else { "all" };
    manifest::write(&options.out, id, &cells)?;
    // Those that begin with the weights of another cell's run come when that is there.
    let (second, first): (Vec<&Cell>, Vec<&Cell>) = cells.iter().partition(|cell| cell.from.is_some());
    let mut failures = run_wave(program, run, options, id, &first)?;
    let (ready, orphaned): (Vec<&Cell>, Vec<&Cell>) = second.iter().partition(|cell| {
        cell.from.as_ref().is_none_or(|from| from.join("summary.json").exists()) || cell.is_complete()
    });
    failures.extend(run_wave(program, run, options, id, &ready)?);
    let reason = |cell: &Cell| {
        format!(
            "there is no run that has ended in {}",
            cell.from.as_deref().unwrap_or(Path::new("")).display()
        )
    };
    failures.extend(orphaned.into_iter().map(|cell| Failure::of(cell, reason(cell))));
    Ok(failures)
}

fn run_wave(
    program: &Path,
    run: &RunOptions,
    options: &Options,
    id: &str,
    cells: &[&Cell],
) -> Result<Vec<Failure>> {
    match run.launcher {
        Launcher::Local => {
            let jobs =
                run.jobs.map_or(options.devices.len(), |jobs| usize::try_from(jobs).unwrap_or(usize::MAX));
            let data_dir = options.data_dir.clone();
            let runner = Runner { program, devices: &options.devices, data_dir, jobs };
            Ok(runner.run(cells))
        }
        Launcher::Slurm => {
            let launch = Launch { device: options.device(), data_dir: options.data_dir.clone() };
            slurm::run(program, &launch, run, &options.out, id, cells)
        }
    }
}

/// Whether the rows and columns that were asked for are there.
fn check_headings(arguments: &Arguments, definitions: &[Definition]) -> Result<(), String> {
    for (asked, axis, what) in
        [(&arguments.columns, Axis::Columns, "column"), (&arguments.rows, Axis::Rows, "row")]
    {
        let known: Vec<String> = definitions
            .iter()
            .flat_map(|definition| assemble::headings(definition, arguments.profile, axis))
            .collect();
        for heading in asked {
            if !known.iter().any(|known| known.eq_ignore_ascii_case(heading)) {
                let known =
                    if known.is_empty() { "none: it is no table".to_owned() } else { known.join(", ") };
                return Err(format!("no {what} `{heading}` here; expected one of {known}"));
            }
        }
    }
    Ok(())
}

/// Writes a file aside and gives it its name when it is whole.
pub(crate) fn write(path: &Path, text: &str) -> Result<()> {
    let aside = path.with_extension("part");
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))
        .and_then(|()| std::fs::write(&aside, text))
        .and_then(|()| std::fs::rename(&aside, path))
        .with_context(|| format!("{}: cannot be written", path.display()))
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
