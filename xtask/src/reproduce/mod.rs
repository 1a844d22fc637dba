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

use crate::{program, workspace};
use cell::Cell;
use layout::{Column, Profile, Table};
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
    #[arg(long, value_delimiter = ',', value_name = "COLUMN")]
    columns: Vec<String>,
    /// Only these rows, as Vanilla,AdAutoMix; of the others, what is there already is shown
    #[arg(long, value_delimiter = ',', value_name = "METHOD")]
    methods: Vec<String>,
    /// Runs of each cell, with the seeds 0, 1, 2 ...
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    trials: u64,
    /// Where the runs compute, as `adautomix train --device` has it
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Where runs and tables go; tables that need the same run share it [default: results/PROFILE]
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

/// Reproduces a table.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let columns = match wanted_columns(arguments) {
        Ok(columns) => columns,
        Err(message) => {
            eprintln!("error: {}, profile {}: {message}", arguments.table, arguments.profile);
            return Ok(ExitCode::from(2));
        }
    };
    let out = arguments
        .out
        .clone()
        .unwrap_or_else(|| workspace::root().join("results").join(arguments.profile.to_string()));
    let cells = cells(arguments, &columns, &out)?;
    if arguments.plan {
        let program = program::build(arguments.device == "cpu");
        let absent =
            columns.len() * arguments.table.paper().rows().count() * usize::try_from(arguments.trials)?
                - cells.len();
        let program = program.as_deref().map_err(ToString::to_string);
        println!("{}", plan::plan(&cells, &program, arguments, absent));
        return Ok(ExitCode::SUCCESS);
    }
    let wanted: Vec<&Cell> = cells.iter().filter(|cell| is_wanted(arguments, cell)).collect();
    // A table that is whole is made again at once, without a build.
    let program = if wanted.iter().all(|cell| cell.summary().is_some()) {
        PathBuf::new()
    } else {
        program::build(arguments.device == "cpu")?
    };
    run_with(&program, arguments, &columns, &cells, &out)
}

/// The columns that were asked for, after a look whether there are such columns and rows in the table.
fn wanted_columns(arguments: &Arguments) -> Result<Vec<&'static Column>, String> {
    let table = arguments.table.paper();
    for method in &arguments.methods {
        layout::heading(method, "row", table.rows())?;
    }
    let columns: Vec<_> = layout::columns(arguments.table, arguments.profile).collect();
    let headings = columns.iter().map(|column| column.heading);
    let mut wanted = Vec::new();
    for column in &arguments.columns {
        wanted.push(layout::heading(column, "column", headings.clone())?);
    }
    Ok(columns.into_iter().filter(|column| wanted.is_empty() || wanted.contains(&column.heading)).collect())
}

fn is_wanted(arguments: &Arguments, cell: &Cell) -> bool {
    arguments.methods.is_empty()
        || arguments.methods.iter().any(|method| method.eq_ignore_ascii_case(&cell.method))
}

/// All cells of the columns that have a recipe; also those of methods that were not asked for.
fn cells(arguments: &Arguments, columns: &[&'static Column], out: &Path) -> Result<Vec<Cell>> {
    let library = Library::embedded();
    let names = library.names()?;
    let table = arguments.table.paper();
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
        write(&out.join(format!("{}.{extension}", arguments.table)), &text)?;
    }
    println!("{}", render::terminal(&results));
    println!("Written to {}: {}.md, .csv, .tex, .json", out.display(), arguments.table);
    if arguments.profile == Profile::Quick {
        println!("\n{}", layout::farewell(arguments.table));
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
