//! The report as Markdown; diagrams and pictures are files in `figures/` beside it.

use std::fmt::Write;
use std::path::Path;

use super::curves;
use super::gather::Report;
use super::lines::{Line, Lines, letter, state};
use super::{is_drawn, missing_series, panel_file, picture_file};
use crate::artefact::{Artefact, Panel, Table};

/// The mark of a value of a reduced run.
const REDUCED: &str = "†";

/// The report.
pub(super) fn text(report: &Report, results: &Path) -> String {
    let filled = report.filled();
    let mut text = format!(
        "# Adversarial AutoMixup in Rust: results beside the paper's\n\n\
         Profile {}; {} of {} places are filled, each that isn't has its command.\n\
         Δ is ours less the paper's, s.d. the standard deviation of ours over n runs.\n",
        report.profile, filled.done, filled.all
    );
    if report.reduced {
        let _ = writeln!(
            text,
            "{REDUCED} marks a value of a reduced run (drawn pictures, a small network, few epochs): it says nothing about the paper's."
        );
    }
    for artefact in &report.artefacts {
        section(&mut text, artefact, results);
    }
    if !report.curves.is_empty() {
        text.push_str("\n## Curves\n");
        notes(&mut text, curves::notes().iter().map(String::as_str));
    }
    for curves in &report.curves {
        let reduced = if curves.reduced { " (reduced run)" } else { "" };
        let _ = write!(text, "\n### {}{reduced}\n", curves.title);
        panels(&mut text, &curves.panels, &curves.id);
    }
    environment(&mut text, report);
    for one in &report.work {
        let _ = write!(text, "\n- {} ({}): `{}`", escape(&one.title), state(one.status), one.command);
        if let Some(failure) = &one.failure {
            let _ = write!(text, "\n\n  ```text\n  {}\n  ```\n", failure.trim_end().replace('\n', "\n  "));
        }
    }
    text.push('\n');
    text
}

fn section(text: &mut String, artefact: &Artefact, results: &Path) {
    let heading = format!("{}. {}", artefact.name, artefact.title);
    let _ = write!(text, "\n## {}\n\nAll of it: `{}`\n", escape(heading.trim_end()), artefact.command);
    for one in &artefact.tables {
        table(text, one, artefact);
    }
    panels(text, &artefact.panels, &artefact.id);
    for picture in &artefact.pictures {
        let caption = escape(&picture.caption);
        match (picture_file(artefact, picture, results), &picture.command) {
            (Some((_, name)), _) => {
                let reduced = if artefact.reduced { " (reduced run)" } else { "" };
                let _ = write!(text, "\n![{caption}](figures/{name})\n\n*{caption}{reduced}*\n");
            }
            (None, Some(command)) => {
                let _ = write!(text, "\n{caption}: {}: `{command}`\n", state(picture.status));
            }
            (None, None) => {
                let _ = write!(text, "\n{caption}: {}\n", state(picture.status));
            }
        }
    }
    let paper = format!("Paper: {}.", artefact.source);
    let paper = (!artefact.source.is_empty()).then_some(paper.as_str());
    notes(text, artefact.ran.iter().chain(&artefact.notes).map(String::as_str).chain(paper));
}

fn table(text: &mut String, table: &Table, artefact: &Artefact) {
    let (lines, reduced) = (Lines::of(table, &artefact.command), artefact.reduced);
    if !table.heading.is_empty() {
        let _ = write!(text, "\n### {}\n", escape(&table.heading));
    }
    for group in &lines.groups {
        let paper = if group.paper.is_empty() { String::new() } else { format!(" ({})", group.paper) };
        let _ = write!(text, "\n**{}**{}\n\n", escape(&group.heading), escape(&paper));
        let _ = writeln!(text, "| {} | Paper | Ours | Δ | n | s.d. | Run |", escape(&table.corner));
        text.push_str("| --- | ---: | ---: | ---: | ---: | ---: | --- |\n");
        for line in &group.lines {
            let _ = writeln!(text, "| {} |", row(line, reduced).join(" | "));
        }
    }
    if !lines.notes.is_empty() {
        text.push('\n');
    }
    for (index, note) in lines.notes.iter().enumerate() {
        let _ = writeln!(text, "- {}: {}", letter(index), escape(note));
    }
}

fn row(line: &Line, reduced: bool) -> [String; 7] {
    let marked = |value: &str| {
        if value.is_empty() || !reduced { value.to_owned() } else { format!("{value}{REDUCED}") }
    };
    let mut run = line.note.map_or_else(String::new, letter);
    if let Some(missing) = &line.missing {
        let command = missing.command.as_ref().map_or_else(String::new, |command| format!(": `{command}`"));
        run.push_str(&format!(
            "{}{}{command}",
            if run.is_empty() { "" } else { "; " },
            escape(&missing.words)
        ));
    }
    [
        escape(&line.heading),
        line.paper.clone(),
        marked(&line.ours),
        marked(&line.difference),
        line.n.clone(),
        line.sd.clone(),
        run,
    ]
}

fn panels(text: &mut String, panels: &[Panel], id: &str) {
    for (index, panel) in panels.iter().enumerate() {
        let title = escape(&panel.title);
        if is_drawn(panel) {
            let _ = write!(text, "\n![{title}](figures/{})\n", panel_file(id, index));
        } else {
            let _ = write!(text, "\n{title}\n");
        }
        for (words, command) in missing_series(panel) {
            let command = command.map_or_else(String::new, |command| format!(": `{command}`"));
            let _ = write!(text, "\n- {}{command}", escape(&words));
        }
        text.push('\n');
    }
}

fn notes<'a>(text: &mut String, notes: impl Iterator<Item = &'a str>) {
    for note in notes {
        let _ = write!(text, "\n{}\n", escape(note));
    }
}

fn environment(text: &mut String, report: &Report) {
    text.push_str("\n## Environment\n\n");
    if let Some(commit) = &report.commit {
        let _ = write!(text, "Report made at commit {commit}.\n\n");
    }
    if report.environments.is_empty() {
        text.push_str("No run has ended yet.\n");
    } else {
        text.push_str("| Program | Commit | Device | System | Processors | Runs | Hours |\n");
        text.push_str("| --- | --- | --- | --- | ---: | ---: | ---: |\n");
    }
    for (one, count, hours) in &report.environments {
        let commit = one.commit.as_deref().unwrap_or("unknown");
        let _ = writeln!(
            text,
            "| {} | {commit} | {} | {} | {} | {count} | {hours:.2} |",
            one.program, one.device, one.system, one.processors
        );
    }
    text.push_str("\n## Runs and evaluations\n");
}

/// Text in which nothing is taken for Markdown.
fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        if matches!(letter, '*' | '_' | '`' | '|' | '<' | '[' | ']' | '\\') {
            escaped.push('\\');
        }
        escaped.push(if letter == '\n' { ' ' } else { letter });
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    #[test]
    fn a_table_says_all_of_each_value() {
        let mut text = String::new();
        table(&mut text, &samples::table(), &samples::artefact("table1", true));
        let expected = "
**CIFAR100/ResNet18 (%)** (paper: 800 epochs)

| Method | Paper | Ours | Δ | n | s.d. | Run |
| --- | ---: | ---: | ---: | ---: | ---: | --- |
| AdAutoMix | 82.32 | 82.25† | \u{2212}0.07† | 2 | 0.12 | a |
| MixUp | 79.12 |  |  |  |  | not run: `cargo xtask reproduce table1 --methods MixUp` |

- a: teacher, last-10: cifar100, 800 epochs
";
        assert_eq!(text, expected);
    }

    #[test]
    fn figures_are_linked_and_what_is_missing_has_its_command() {
        let mut text = String::new();
        section(&mut text, &samples::artefact("fig5", false), Path::new("nowhere"));
        assert!(text.contains("![Under \\<occlusion>](figures/fig5-1.svg)\n"), "{text}");
        assert!(
            text.contains("- CutMix: not run: `cargo xtask reproduce fig5 --methods CutMix`\n"),
            "{text}"
        );
        assert!(text.contains("Blends: not run: `cargo xtask reproduce fig13`\n"), "{text}");
    }
}
