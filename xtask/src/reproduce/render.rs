//! The table as Markdown, CSV, LaTeX, JSON and for the terminal.

use std::fmt::Write;

use adautomix_recipes::{ClaimedNetwork, Statistic};

use super::results::{Compared, Figures, Results, Row, Section, Spread, Status};

const STATISTICS: [Statistic; 3] = [Statistic::Last, Statistic::Best, Statistic::MedianLast10];

/// Columns of a rendered table.
const WIDTH: usize = 12;

const HEADINGS: [&str; WIDTH] = [
    "Method",
    "Paper",
    "Student last",
    "Student best",
    "Student last-10",
    "Teacher last",
    "Teacher best",
    "Teacher last-10",
    "n",
    "s.d.",
    "Epochs",
    "Remark",
];

/// The table as Markdown.
pub(crate) fn markdown(results: &Results) -> String {
    let mut text = format!("# {}\n", results.title);
    for section in &results.sections {
        let _ = write!(text, "\n## {}\n\n", section_title(section));
        let mut lines = vec![HEADINGS.map(str::to_owned)];
        lines.push(std::array::from_fn(|index| if is_figure(index) { "---:" } else { "---" }.to_owned()));
        lines.extend(section.rows.iter().map(|row| cells(row, |command| format!(": `{command}`"))));
        for line in lines {
            let _ = writeln!(text, "| {} |", line.map(|cell| cell.replace('*', "\\*")).join(" | "));
        }
    }
    let _ = write!(text, "\nPaper: {}.\n", results.source);
    for note in &results.notes {
        let _ = write!(text, "\n{}\n", note.replace('*', "\\*"));
    }
    text
}

/// The table for a terminal, with the commands below it.
pub(crate) fn terminal(results: &Results) -> String {
    let mut text = format!("{}\n", results.title);
    let mut commands = String::new();
    for section in &results.sections {
        let _ = write!(text, "\n{}\n", section_title(section));
        let mut lines = vec![HEADINGS.map(str::to_owned)];
        lines.extend(section.rows.iter().map(|row| cells(row, |_| String::new())));
        text.push_str(&align(&lines, is_figure));
        for command in section.rows.iter().filter_map(|row| row.command.as_ref()) {
            let _ = writeln!(commands, "    {command}");
        }
    }
    for note in &results.notes {
        let _ = write!(text, "\n{note}");
    }
    text.push('\n');
    if !commands.is_empty() {
        let _ = write!(text, "\nWhat is missing:\n{commands}");
    }
    text
}

/// The table as LaTeX with the rules of booktabs; commands for what is missing stand in comments.
pub(crate) fn latex(results: &Results) -> String {
    let mut text = String::from("% Needs \\usepackage{booktabs}.\n");
    for section in &results.sections {
        let _ = writeln!(text, "\\begin{{table}}\n\\centering\\small");
        let _ = writeln!(
            text,
            "\\caption{{{}}}",
            escape(&format!("{} [{}]", results.title, section_title(section)))
        );
        let _ = writeln!(text, "\\begin{{tabular}}{{lrrrrrrrrrrl}}\n\\toprule");
        let _ = writeln!(text, "{} \\\\\n\\midrule", HEADINGS.join(" & "));
        for row in &section.rows {
            let line = cells(row, |_| String::new()).map(|cell| escape(&cell));
            let _ = writeln!(text, "{} \\\\", line.join(" & "));
            if let Some(command) = &row.command {
                let _ = writeln!(text, "% {command}");
            }
        }
        let _ = writeln!(text, "\\bottomrule\n\\end{{tabular}}\n\\end{{table}}");
    }
    for note in &results.notes {
        let _ = writeln!(text, "% {note}");
    }
    text
}

/// The table as CSV: a line a method, figures with all their digits.
pub(crate) fn csv(results: &Results) -> String {
    let mut head =
        ["table", "profile", "column", "ran", "method", "paper", "paper_column", "paper_epochs", "status"]
            .map(str::to_owned)
            .to_vec();
    for network in ["student", "teacher"] {
        for statistic in ["last", "best", "median_last10"] {
            head.extend([format!("{network}_{statistic}"), format!("{network}_{statistic}_sd")]);
        }
    }
    head.extend(["compared", "n", "trials", "epochs", "command"].map(str::to_owned));
    let mut text = csv_line(&head);
    for section in &results.sections {
        for row in &section.rows {
            let mut line = vec![results.table.to_string(), results.profile.clone(), section.column.clone()];
            line.extend([section.title.clone(), row.method.clone(), optional(row.paper)]);
            line.extend([section.paper_column.clone(), section.paper_epochs.to_string()]);
            line.push(status(row.status).to_owned());
            for figures in [row.student, row.teacher] {
                for statistic in STATISTICS {
                    let spread = figures.map(|figures| figures.get(statistic));
                    line.push(optional(spread.map(|spread| spread.mean)));
                    line.push(optional(spread.and_then(|spread| spread.sd)));
                }
            }
            line.push(row.compared.map_or_else(String::new, compared_name));
            line.extend([row.n.to_string(), row.trials.to_string(), optional(row.epochs)]);
            line.push(row.command.clone().unwrap_or_default());
            text.push_str(&csv_line(&line));
        }
    }
    text
}

/// The table as JSON.
pub(crate) fn json(results: &Results) -> String {
    let mut text = serde_json::to_string_pretty(results).expect("results have only string keys");
    text.push('\n');
    text
}

/// Lines of cells in columns as wide as their widest cell; `to_the_right` says which columns hold figures.
pub(crate) fn align<const N: usize>(lines: &[[String; N]], to_the_right: fn(usize) -> bool) -> String {
    let widths: [usize; N] =
        std::array::from_fn(|index| lines.iter().map(|line| line[index].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for line in lines {
        let padded: [String; N] = std::array::from_fn(|index| {
            let (cell, width) = (&line[index], widths[index]);
            if to_the_right(index) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        let _ = writeln!(text, "{}", padded.join("  ").trim_end());
    }
    text
}

/// What was run in a section, and what the paper's figures beside it are of.
fn section_title(section: &Section) -> String {
    let same = section.paper_column == section.column;
    let column = if same { String::new() } else { format!("{}, ", section.paper_column) };
    format!("{} (paper: {column}{} epochs)", section.title, section.paper_epochs)
}

/// Whether a column of the rendered table holds figures, which stand to the right.
fn is_figure(index: usize) -> bool {
    (1..WIDTH - 1).contains(&index)
}

/// The cells of a row; `command` says how the command for what is missing is shown after the remark.
fn cells(row: &Row, command: impl Fn(&str) -> String) -> [String; WIDTH] {
    let [student_last, student_best, student_median] = three(row, row.student, ClaimedNetwork::Student);
    let [teacher_last, teacher_best, teacher_median] = three(row, row.teacher, ClaimedNetwork::Teacher);
    let mut remark = match row.status {
        Status::Done => String::new(),
        Status::SomeTrialsMissing => format!("{} of {} trials", row.n, row.trials),
        other => status(other).to_owned(),
    };
    remark.push_str(&row.command.as_deref().map(command).unwrap_or_default());
    [
        row.method.clone(),
        row.paper.map_or_else(String::new, |value| format!("{value:.2}")),
        student_last,
        student_best,
        student_median,
        teacher_last,
        teacher_best,
        teacher_median,
        if row.n > 0 { row.n.to_string() } else { String::new() },
        row.compared.and_then(|compared| compared.sd).map_or_else(String::new, |sd| format!("{sd:.2}")),
        optional(row.epochs),
        remark,
    ]
}

fn three(row: &Row, figures: Option<Figures>, network: ClaimedNetwork) -> [String; 3] {
    STATISTICS.map(|statistic| {
        let Some(figures) = figures else { return String::new() };
        let Spread { mean, .. } = figures.get(statistic);
        let compares = row
            .compared
            .is_some_and(|compared| compared.network == network && compared.statistic == statistic);
        format!("{mean:.2}{}", if compares { "*" } else { "" })
    })
}

fn status(status: Status) -> &'static str {
    match status {
        Status::Done => "done",
        Status::SomeTrialsMissing => "some trials missing",
        Status::Failed => "failed",
        Status::NotRun => "not run",
        Status::NotThereYet => "not there yet",
    }
}

fn compared_name(compared: Compared) -> String {
    let network = match compared.network {
        ClaimedNetwork::Student => "student",
        ClaimedNetwork::Teacher => "teacher",
    };
    let statistic = match compared.statistic {
        Statistic::Last => "last",
        Statistic::Best => "best",
        Statistic::MedianLast10 => "median_last10",
    };
    format!("{network}_{statistic}")
}

fn optional(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
}

fn csv_line(cells: &[String]) -> String {
    let quoted: Vec<_> = cells
        .iter()
        .map(|cell| {
            if cell.contains([',', '"', '\n']) {
                format!("\"{}\"", cell.replace('"', "\"\""))
            } else {
                cell.clone()
            }
        })
        .collect();
    format!("{}\n", quoted.join(","))
}

fn escape(text: &str) -> String {
    let mut escaped = String::new();
    for letter in text.chars() {
        if matches!(letter, '&' | '%' | '_' | '#' | '$' | '{' | '}') {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    fn figures(last: f64, best: f64, median: f64, sd: Option<f64>) -> Option<Figures> {
        let spread = |mean| Spread { mean, sd };
        Some(Figures { last: spread(last), best: spread(best), median_last10: spread(median) })
    }

    fn row(method: &str, paper: f64, status: Status) -> Row {
        Row {
            method: method.to_owned(),
            paper: Some(paper),
            status,
            command: None,
            n: 0,
            trials: 2,
            epochs: None,
            student: None,
            teacher: None,
            compared: None,
        }
    }

    fn fixed() -> Results {
        let statistic = Statistic::MedianLast10;
        let section = Section {
            column: "CIFAR100/ResNet18".to_owned(),
            title: "CIFAR100/ResNet18: cifar100, 100 % of 50,000 pictures".to_owned(),
            paper_column: "CIFAR100/ResNet18".to_owned(),
            paper_epochs: 800,
            rows: vec![
                Row {
                    n: 2,
                    epochs: Some(800),
                    student: figures(74.0, 76.5, 75.0, Some(0.25)),
                    teacher: figures(82.125, 82.5, 82.25, Some(0.125)),
                    compared: Some(Compared { network: ClaimedNetwork::Teacher, statistic, sd: Some(0.125) }),
                    ..row("AdAutoMix", 82.32, Status::Done)
                },
                Row {
                    n: 1,
                    epochs: Some(800),
                    student: figures(78.0, 78.5, 78.25, None),
                    compared: Some(Compared { network: ClaimedNetwork::Student, statistic, sd: None }),
                    command: Some("cargo xtask a_b".to_owned()),
                    ..row("Vanilla", 78.04, Status::SomeTrialsMissing)
                },
                Row { command: Some("cargo xtask c".to_owned()), ..row("MixUp", 79.12, Status::NotRun) },
                row("FMix", 79.69, Status::NotThereYet),
            ],
        };
        Results {
            table: 1,
            profile: "paper".to_owned(),
            title: "Table 1".to_owned(),
            source: "the paper".to_owned(),
            notes: vec!["* compares.".to_owned()],
            sections: vec![section],
        }
    }

    #[test]
    fn as_markdown() {
        let expected = "\
# Table 1

## CIFAR100/ResNet18: cifar100, 100 % of 50,000 pictures (paper: 800 epochs)

| Method | Paper | Student last | Student best | Student last-10 | Teacher last | Teacher best | Teacher last-10 | n | s.d. | Epochs | Remark |
| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | --- |
| AdAutoMix | 82.32 | 74.00 | 76.50 | 75.00 | 82.12 | 82.50 | 82.25\\* | 2 | 0.12 | 800 |  |
| Vanilla | 78.04 | 78.00 | 78.50 | 78.25\\* |  |  |  | 1 |  | 800 | 1 of 2 trials: `cargo xtask a_b` |
| MixUp | 79.12 |  |  |  |  |  |  |  |  |  | not run: `cargo xtask c` |
| FMix | 79.69 |  |  |  |  |  |  |  |  |  | not there yet |

Paper: the paper.

\\* compares.
";
        assert_eq!(markdown(&fixed()), expected);
    }

    #[test]
    fn for_a_terminal() {
        let expected = "\
Table 1

CIFAR100/ResNet18: cifar100, 100 % of 50,000 pictures (paper: 800 epochs)
Method     Paper  Student last  Student best  Student last-10  Teacher last  Teacher best  Teacher last-10  n  s.d.  Epochs  Remark
AdAutoMix  82.32         74.00         76.50            75.00         82.12         82.50           82.25*  2  0.12     800
Vanilla    78.04         78.00         78.50           78.25*                                               1           800  1 of 2 trials
MixUp      79.12                                                                                                             not run
FMix       79.69                                                                                                             not there yet

* compares.

What is missing:
    cargo xtask a_b
    cargo xtask c
";
        assert_eq!(terminal(&fixed()), expected);
    }

    #[test]
    fn as_latex() {
        let expected = "\
% Needs \\usepackage{booktabs}.
\\begin{table}
\\centering\\small
\\caption{Table 1 [CIFAR100/ResNet18: cifar100, 100 \\% of 50,000 pictures (paper: 800 epochs)]}
\\begin{tabular}{lrrrrrrrrrrl}
\\toprule
Method & Paper & Student last & Student best & Student last-10 & Teacher last & Teacher best & Teacher last-10 & n & s.d. & Epochs & Remark \\\\
\\midrule
AdAutoMix & 82.32 & 74.00 & 76.50 & 75.00 & 82.12 & 82.50 & 82.25* & 2 & 0.12 & 800 &  \\\\
Vanilla & 78.04 & 78.00 & 78.50 & 78.25* &  &  &  & 1 &  & 800 & 1 of 2 trials \\\\
% cargo xtask a_b
MixUp & 79.12 &  &  &  &  &  &  &  &  &  & not run \\\\
% cargo xtask c
FMix & 79.69 &  &  &  &  &  &  &  &  &  & not there yet \\\\
\\bottomrule
\\end{tabular}
\\end{table}
% * compares.
";
        assert_eq!(latex(&fixed()), expected);
    }

    #[test]
    fn as_csv_and_json() {
        let csv = csv(&fixed());
        let lines: Vec<_> = csv.lines().collect();
        assert_eq!(lines.len(), 5);
        assert_eq!(
            lines[1],
            "1,paper,CIFAR100/ResNet18,\"CIFAR100/ResNet18: cifar100, 100 % of 50,000 pictures\",AdAutoMix,82.32,\
             CIFAR100/ResNet18,800,done,74,0.25,76.5,0.25,75,0.25,82.125,0.125,82.5,0.125,82.25,0.125,\
             teacher_median_last10,2,2,800,"
        );
        assert!(lines[4].ends_with("not there yet,,,,,,,,,,,,,,0,2,,"), "{}", lines[4]);
        let columns = |line: &str| line.replace(", ", "").replace("50,000", "").split(',').count();
        assert!(lines.iter().all(|line| columns(line) == columns(lines[0])), "{csv}");

        let json: serde_json::Value = serde_json::from_str(&json(&fixed())).unwrap();
        let row = &json["sections"][0]["rows"][0];
        assert_eq!(row["teacher"]["median_last10"]["mean"], 82.25);
        assert_eq!(row["compared"]["network"], "teacher");
        assert_eq!(json["sections"][0]["rows"][3]["status"], "not_there_yet");
    }
}
