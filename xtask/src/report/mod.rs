//! `cargo xtask report`: every table and figure of a profile on one page that needs nothing else, as Markdown and as LaTeX.

mod chart;
mod curves;
mod gather;
mod html;
mod latex;
mod lines;
mod markdown;
mod runs;
#[cfg(test)]
mod samples;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result, ensure};

use crate::artefact::{Artefact, Panel, Picture};
use crate::reproduce::{Profile, options};
use gather::Report;

/// What to report on, and where to.
#[derive(clap::Args)]
pub(crate) struct Arguments {
    /// Whose results: those of `reproduce --profile quick` or `paper`
    #[arg(long, value_enum, default_value_t = Profile::Quick)]
    profile: Profile,
    /// Where runs and tables are, as `reproduce --out` had it [default: results/PROFILE]
    #[arg(long, value_name = "DIR")]
    results: Option<PathBuf>,
    /// Where the report goes: report.html, report.md, report.tex and figures/ [default: report/ in the folder of results]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
}

/// Makes the report.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode> {
    let profile = arguments.profile;
    let given = arguments.results.clone();
    ensure!(
        given.as_deref().is_none_or(Path::is_dir),
        "{}: no folder of results",
        given.unwrap_or_default().display()
    );
    let results = given.unwrap_or_else(|| options::results(profile));
    let out = arguments.out.clone().unwrap_or_else(|| results.join("report"));
    let report = Report::read(&results, profile)?;
    write(&report, &results, &out)?;
    let filled = report.filled();
    println!(
        "{} of {} places filled in {} tables and figures, {} groups of curves, {} runs and evaluations",
        filled.done,
        filled.all,
        report.artefacts.len(),
        report.curves.len(),
        report.work.len()
    );
    println!("Written to {}: report.html, report.md, report.tex, figures/", out.display());
    Ok(ExitCode::SUCCESS)
}

/// Writes the three renderings, and the pictures that two of them show from files.
fn write(report: &Report, results: &Path, out: &Path) -> Result<()> {
    let figures = out.join("figures");
    fs::create_dir_all(&figures).with_context(|| format!("{}: cannot be made", figures.display()))?;
    for artefact in &report.artefacts {
        for (index, panel) in artefact.panels.iter().enumerate() {
            write_panel(panel, artefact.reduced, &figures.join(panel_file(&artefact.id, index)))?;
        }
        for picture in &artefact.pictures {
            if let Some((source, name)) = picture_file(artefact, picture, results) {
                fs::copy(&source, figures.join(name))
                    .with_context(|| format!("{}: cannot be copied", source.display()))?;
            }
        }
    }
    for curves in &report.curves {
        for (index, panel) in curves.panels.iter().enumerate() {
            write_panel(panel, curves.reduced, &figures.join(panel_file(&curves.id, index)))?;
        }
    }
    whole(&out.join("report.html"), &html::page(report, results)?)?;
    whole(&out.join("report.md"), &markdown::text(report, results))?;
    whole(&out.join("report.tex"), &latex::document(report, results))
}

fn write_panel(panel: &Panel, reduced: bool, path: &Path) -> Result<()> {
    if is_drawn(panel) { whole(path, &chart::file(panel, reduced)) } else { Ok(()) }
}

/// Whether there is anything to draw.
fn is_drawn(panel: &Panel) -> bool {
    panel.series.iter().any(|series| !series.points.is_empty())
}

/// The name of a diagram's file.
fn panel_file(id: &str, index: usize) -> String {
    format!("{id}-{}.svg", index + 1)
}

/// Where a picture is, and its name beside the report; none where it isn't made or its file is gone.
fn picture_file(artefact: &Artefact, picture: &Picture, results: &Path) -> Option<(PathBuf, String)> {
    let path = picture.path.as_ref()?;
    let source = results.join(path);
    let name = path.replace(['/', '\\'], "-");
    source.is_file().then(|| (source, format!("{}-{name}", artefact.id)))
}

/// What is missing in a diagram, in words, with the command that fills it: one entry for what is missing for one reason.
fn missing_series(panel: &Panel) -> Vec<(String, Option<&str>)> {
    let mut missing: Vec<(Vec<&str>, String, Option<&str>)> = Vec::new();
    for series in panel.series.iter().filter(|series| series.points.is_empty()) {
        let words = lines::with_reason(lines::state(series.status), series.reason.as_deref());
        let command = series.command.as_deref();
        match missing.iter_mut().find(|(_, known, of)| (known, *of) == (&words, command)) {
            Some((names, ..)) => names.push(&series.name),
            None => missing.push((vec![&series.name], words, command)),
        }
    }
    missing
        .into_iter()
        .map(|(names, words, command)| (format!("{}: {words}", names.join(", ")), command))
        .collect()
}

/// Writes a file aside and gives it its name when it is whole.
fn whole(path: &Path, text: &str) -> Result<()> {
    let aside = path.with_extension("part");
    fs::write(&aside, text)
        .and_then(|()| fs::rename(&aside, path))
        .with_context(|| format!("{}: cannot be written", path.display()))
}
