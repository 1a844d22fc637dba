//! `cargo xtask reproduce`: runs the cells of a table, each a process of its own, and makes the table of what is there.

mod cell;
mod layout;
mod plan;
mod render;
mod results;
mod runner;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use adautomix_recipes::Library;
use anyhow::{Context, Result};
use clap::ValueEnum;

use crate::{paper, program, workspace};
use cell::Cell;
use layout::{Column, Profile};
use runner::Runner;

/// What to reproduce, and how.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// The table of the paper
    table: Table,
    /// `quick`: minutes on two cores, on drawn pictures; `paper`: as published
    #[arg(long, value_enum, default_value_t = Profile::Quick)]
    profile: Profile,
    /// Only these columns, as CIFAR100/ResNet18,CIFAR100/ResNeXt50
    #[arg(long, value_delimiter = ',', value_name = "COLUMN", value_parser = layout::parse_column)]
    columns: Vec<&'static Column>,
    /// Only these rows, as Vanilla,AdAutoMix; of the others, what is there already is shown
    #[arg(long, value_delimiter = ',', value_name = "METHOD", value_parser = layout::parse_method)]
    methods: Vec<String>,
    /// Runs of each cell, with the seeds 0, 1, 2 ...
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    trials: u64,
    /// Where the runs compute, as `adautomix train --device` has it
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Where runs and tables go [default: results/TABLE-PROFILE]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Where the data sets are
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Runs at a time; they share the cores
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    jobs: u64,
    /// Run nothing: time a few steps, and print the cells and the hours that they will take
    #[arg(long)]
    plan: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Table {
    /// Top-1 accuracy of nine methods
    Table1,
}

/// Reproduces a table.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let Table::Table1 = arguments.table;
    let columns: Vec<_> = layout::columns(arguments.profile)
        .filter(|column| arguments.columns.is_empty() || arguments.columns.contains(column))
        .collect();
    if columns.is_empty() {
        let known: Vec<_> = layout::columns(arguments.profile).map(|column| column.heading).collect();
        eprintln!("error: profile {} has only the columns {}", arguments.profile, known.join(", "));
        return Ok(ExitCode::from(2));
    }
    let out = arguments
        .out
        .clone()
        .unwrap_or_else(|| workspace::root().join("results").join(format!("table1-{}", arguments.profile)));
    let cells = cells(arguments, &columns, &out)?;
    if arguments.plan {
        let program = program::build();
        let absent =
            columns.len() * paper::table1().rows().count() * usize::try_from(arguments.trials)? - cells.len();
        let program = program.as_deref().map_err(ToString::to_string);
        println!("{}", plan::plan(&cells, &program, arguments, absent));
        return Ok(ExitCode::SUCCESS);
    }
    let wanted: Vec<&Cell> = cells.iter().filter(|cell| is_wanted(arguments, cell)).collect();
    // A table that is whole is made again at once, without a build.
    let program =
        if wanted.iter().all(|cell| cell.summary().is_some()) { PathBuf::new() } else { program::build()? };
    run_with(&program, arguments, &columns, &cells, &out)
}

fn is_wanted(arguments: &Arguments, cell: &Cell) -> bool {
    arguments.methods.is_empty() || arguments.methods.contains(&cell.method)
}

/// All cells of the columns that have a recipe; also those of methods that were not asked for.
fn cells(arguments: &Arguments, columns: &[&'static Column], out: &Path) -> Result<Vec<Cell>> {
    let library = Library::embedded();
    let names = library.names()?;
    let table = paper::table1();
    let mut cells = Vec::new();
    for column in columns {
        for method in table.rows() {
            let recipe = column.recipe(method);
            if names.contains(&recipe) {
                for trial in 0..arguments.trials {
                    cells.push(Cell::new(column, method, &library, &recipe, trial, out)?);
                }
            }
        }
    }
    Ok(cells)
}

fn run_with(
    program: &Path,
    arguments: &Arguments,
    columns: &[&'static Column],
    cells: &[Cell],
    out: &Path,
) -> Result<ExitCode> {
    let wanted: Vec<&Cell> = cells.iter().filter(|cell| is_wanted(arguments, cell)).collect();
    let runner = Runner {
        program,
        device: &arguments.device,
        data_dir: arguments.data_dir.as_deref(),
        jobs: usize::try_from(arguments.jobs).unwrap_or(usize::MAX),
    };
    let failures = runner.run(&wanted)?;
    let failed: Vec<&Cell> = failures.iter().map(|failure| failure.cell).collect();
    let results = results::collect(arguments, columns, cells, &failed);
    for (extension, text) in [
        ("md", render::markdown(&results)),
        ("csv", render::csv(&results)),
        ("tex", render::latex(&results)),
        ("json", render::json(&results)),
    ] {
        write(&out.join(format!("table1.{extension}")), &text)?;
    }
    println!("{}", render::terminal(&results));
    println!("Written to {}: table1.md, table1.csv, table1.tex, table1.json", out.display());
    if arguments.profile == Profile::Quick {
        println!("\n{}", layout::farewell());
    }
    for failure in &failures {
        eprintln!("\n{failure}");
    }
    Ok(if failures.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Writes a file aside and gives it its name when it is whole.
fn write(path: &Path, text: &str) -> Result<()> {
    let aside = path.with_extension("part");
    std::fs::create_dir_all(path.parent().unwrap_or(Path::new(".")))
        .and_then(|()| std::fs::write(&aside, text))
        .and_then(|()| std::fs::rename(&aside, path))
        .with_context(|| format!("{}: cannot be written", path.display()))
}

#[cfg(test)]
#[cfg(unix)]
mod tests;
