//! The report as a LaTeX document; diagrams are drawn by pgfplots, pictures are files in `figures/` beside it.

use std::fmt::Write;
use std::path::Path;

use super::chart::pgf;
use super::curves;
use super::gather::Report;
use super::lines::{Group, Line, Lines, letter, state};
use super::{is_drawn, missing_series, picture_file};
use crate::artefact::{Artefact, Panel, Table};

const PREAMBLE: &str = r"% Made by `cargo xtask report`. Any LaTeX engine sets it, in two passes.
\documentclass[10pt]{article}
\usepackage[utf8]{inputenc}
\usepackage[T1]{fontenc}
\usepackage{lmodern,textcomp}
\usepackage[a4paper,margin=22mm]{geometry}
\usepackage{booktabs,longtable,array,graphicx,url}
\usepackage{pgfplots}
\pgfplotsset{compat=1.16}
\setlength{\parindent}{0pt}
\setlength{\parskip}{2pt}
";

/// The document.
pub(super) fn document(report: &Report, results: &Path) -> String {
    let mut text = String::from(PREAMBLE);
    text.push_str(&pgf::colours());
    let filled = report.filled();
    let _ = write!(
        text,
        "\\title{{Adversarial AutoMixup in Rust: results beside the paper's}}\n\\author{{}}\\date{{}}\n\
         \\begin{{document}}\n\\maketitle\n\
         Profile {}; {} of {} places are filled, each that isn't has its command. \
         $\\Delta$ is ours less the paper's, s.d.\\ the standard deviation of ours over $n$ runs.\n",
        escape(&report.profile),
        filled.done,
        filled.all
    );
    if report.reduced {
        text.push_str(
            "\\textsuperscript{\\dag} marks a value of a reduced run (drawn pictures, a small network, few epochs): \
             it says nothing about the paper's.\n",
        );
    }
    for artefact in &report.artefacts {
        section(&mut text, artefact, results);
    }
    if !report.curves.is_empty() {
        text.push_str("\n\\section*{Curves}\n");
        notes(&mut text, curves::notes().iter().map(String::as_str));
    }
    for curves in &report.curves {
        let _ = write!(text, "\n\\subsection*{{{}}}\n", escape(&curves.title));
        panels(&mut text, &curves.panels, curves.reduced);
    }
    environment(&mut text, report);
    text.push_str("\\end{document}\n");
    text
}

fn section(text: &mut String, artefact: &Artefact, results: &Path) {
    let heading = format!("{}. {}", artefact.name, artefact.title);
    let _ = write!(text, "\n\\section*{{{}}}\n", escape(heading.trim_end()));
    let _ = writeln!(text, "{{\\small All of it: {}}}\\par", code(&artefact.command));
    for one in &artefact.tables {
        table(text, one, artefact);
    }
    panels(text, &artefact.panels, artefact.reduced);
    for picture in &artefact.pictures {
        let caption = escape(&picture.caption);
        if let Some((_, name)) = picture_file(artefact, picture, results) {
            let reduced = if artefact.reduced { " (reduced run)" } else { "" };
            let _ = write!(
                text,
                "\n\\begin{{center}}\\includegraphics[width=0.8\\linewidth]{{figures/{name}}}\\\\\n\
                 {{\\small {caption}{reduced}}}\\end{{center}}\n"
            );
        } else {
            let command =
                picture.command.as_deref().map_or_else(String::new, |command| format!(": {}", code(command)));
            let _ = write!(text, "\n{{\\small {caption}: {}{command}}}\\par\n", state(picture.status));
        }
    }
    let paper = format!("Paper: {}.", artefact.source);
    let paper = (!artefact.source.is_empty()).then_some(paper.as_str());
    notes(text, artefact.ran.iter().chain(&artefact.notes).map(String::as_str).chain(paper));
}

fn table(text: &mut String, table: &Table, artefact: &Artefact) {
    let (lines, reduced) = (Lines::of(table, &artefact.command), artefact.reduced);
    if !table.heading.is_empty() {
        let _ = write!(text, "\n\\subsection*{{{}}}\n", escape(&table.heading));
    }
    let _ = write!(
        text,
        "\n{{\\small\n\\begin{{longtable}}{{@{{}}lrrrrrl@{{}}}}\n\\toprule\n\
         {} & Paper & Ours & $\\Delta$ & s.d. & $n$ & Run \\\\\n\\midrule\n\\endhead\n\\bottomrule\n\\endfoot\n",
        escape(&table.corner)
    );
    for (index, group) in lines.groups.iter().enumerate() {
        if index > 0 {
            text.push_str("\\addlinespace\n");
        }
        group_rows(text, group, &lines, reduced);
    }
    text.push_str("\\end{longtable}}\n");
    for (index, note) in lines.notes.iter().enumerate() {
        let _ =
            writeln!(text, "{{\\footnotesize\\textsuperscript{{{}}} {}\\par}}", letter(index), escape(note));
    }
}

fn group_rows(text: &mut String, group: &Group, lines: &Lines, reduced: bool) {
    let paper = if group.paper.is_empty() { String::new() } else { format!(" ({})", escape(&group.paper)) };
    let _ = writeln!(
        text,
        "\\multicolumn{{7}}{{@{{}}l@{{}}}}{{\\textbf{{{}}}{paper}}} \\\\*",
        escape(&group.heading)
    );
    for line in &group.lines {
        let number = |value: &str, marked: bool| -> String {
            if value.is_empty() {
                return String::new();
            }
            let mark = if marked && reduced { "\\rlap{\\textsuperscript{\\dag}}" } else { "" };
            let padding = match lines.padding(value).chars().filter(|blank| *blank == '\u{2007}').count() {
                0 => String::new(),
                digits => format!("\\phantom{{{}}}", "0".repeat(digits)),
            };
            format!("{}{padding}{mark}", escape(value))
        };
        let run = line.note.map_or_else(String::new, letter);
        let _ = writeln!(
            text,
            "{} & {} & {} & {} & {} & {} & {run} \\\\",
            escape(&line.heading),
            number(&line.paper, false),
            number(&line.ours, true),
            number(&line.difference, true),
            number(&line.sd, true),
            line.n
        );
        missing_row(text, line);
    }
}

fn missing_row(text: &mut String, line: &Line) {
    let Some(missing) = &line.missing else { return };
    let command =
        missing.command.as_deref().map_or_else(String::new, |command| format!(": {}", code(command)));
    let _ = writeln!(
        text,
        "\\multicolumn{{7}}{{@{{\\quad}}p{{0.9\\linewidth}}@{{}}}}{{\\footnotesize {}{command}}} \\\\",
        escape(&missing.words)
    );
}

fn panels(text: &mut String, panels: &[Panel], reduced: bool) {
    for panel in panels {
        if is_drawn(panel) {
            let _ = write!(text, "\n\\begin{{center}}\n{}\\end{{center}}\n", pgf::axis(panel, reduced));
        } else {
            let _ = write!(text, "\n{}\\par\n", escape(&panel.title));
        }
        for (words, command) in missing_series(panel) {
            let command = command.map_or_else(String::new, |command| format!(": {}", code(command)));
            let _ = writeln!(text, "{{\\footnotesize {}{command}\\par}}", escape(&words));
        }
    }
}

fn notes<'a>(text: &mut String, notes: impl Iterator<Item = &'a str>) {
    for note in notes {
        let _ = writeln!(text, "{{\\footnotesize {}\\par}}", escape(note));
    }
}

fn environment(text: &mut String, report: &Report) {
    text.push_str("\n\\section*{Environment}\n");
    if let Some(commit) = &report.commit {
        let _ = writeln!(text, "Report made at commit {}.\\par", code(commit));
    }
    for (one, count, hours) in &report.environments {
        let commit = one.commit.as_deref().unwrap_or("unknown");
        let what = format!(
            "{count} runs in {hours:.2} h: {}, commit {commit}, {}, {}, {} processors",
            one.program, one.device, one.system, one.processors
        );
        let _ = writeln!(text, "{}\\par", escape(&what));
    }
    text.push_str("\n\\section*{Runs and evaluations}\n");
    for one in &report.work {
        let _ = writeln!(
            text,
            "{{\\footnotesize {} ({}): {}\\par}}",
            escape(&one.title),
            state(one.status),
            code(&one.command)
        );
    }
}

/// A command, which may break at any of its characters that `url` breaks at.
fn code(command: &str) -> String {
    let words: Vec<String> = command.split(' ').map(|word| format!("\\path{{{word}}}")).collect();
    // Words of shell syntax would end the argument.
    if command.contains(['{', '}', '\\', '%', '#']) {
        return format!("\\texttt{{{}}}", escape(command));
    }
    words.join(" ")
}

/// Text in which nothing is taken for LaTeX.
pub(super) fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        match letter {
            '&' | '%' | '_' | '#' | '$' | '{' | '}' => escaped.extend(['\\', letter]),
            '\\' => escaped.push_str("\\textbackslash{}"),
            '~' => escaped.push_str("\\textasciitilde{}"),
            '^' => escaped.push_str("\\textasciicircum{}"),
            '<' | '>' => escaped.push_str(&format!("${letter}$")),
            '\u{2212}' => escaped.push_str("$-$"),
            '×' => escaped.push_str("$\\times$"),
            '±' => escaped.push_str("$\\pm$"),
            '†' => escaped.push_str("\\dag{}"),
            '≤' => escaped.push_str("$\\leq$"),
            '≥' => escaped.push_str("$\\geq$"),
            '→' => escaped.push_str("$\\to$"),
            '∞' => escaped.push_str("$\\infty$"),
            'α' => escaped.push_str("$\\alpha$"),
            'β' => escaped.push_str("$\\beta$"),
            'ε' => escaped.push_str("$\\varepsilon$"),
            'λ' => escaped.push_str("$\\lambda$"),
            'σ' => escaped.push_str("$\\sigma$"),
            'Δ' => escaped.push_str("$\\Delta$"),
            '\u{2007}' | '\u{2008}' | '\u{a0}' => escaped.push('~'),
            _ => escaped.push(letter),
        }
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
        let dag = "\\rlap{\\textsuperscript{\\dag}}";
        let row = format!("AdAutoMix & 82.32 & 82.25{dag} & $-$0.07{dag} & 0.12{dag} & 2 & a \\\\");
        assert!(text.contains(&row), "{text}");
        assert!(text.contains("MixUp & 79.12 &  &  &  &  &  \\\\\n"), "{text}");
        assert!(text.contains("\\path{reproduce} \\path{table1}"), "{text}");
        assert!(text.contains("\\textbf{CIFAR100/ResNet18 (\\%)} (paper: 800 epochs)"), "{text}");
    }

    #[test]
    fn what_latex_takes_for_syntax_is_escaped() {
        assert_eq!(escape("a_b & 50 % \\x λ"), "a\\_b \\& 50 \\% \\textbackslash{}x $\\lambda$");
        assert_eq!(code("echo ${HOME}"), "\\texttt{echo \\$\\{HOME\\}}");
    }
}
