//! An artefact as Markdown, LaTeX and for the terminal.

use std::fmt::Write;

use adautomix_recipes::ClaimedNetwork;

use crate::artefact::{Artefact, Axis, Cell, Panel, Picture, Point, Series, Status, Table, Value, Whose};

/// Points of a series that are printed one by one.
const FEW_POINTS: usize = 12;

const MARK: &str =
    "* marks the figure that compares with the paper's; s.d. is its standard deviation over n trials.";

const NETWORKS: &str = "Student: the trained network; teacher: its moving average; one-hot head. Last, best and last-10 are \
     the last epoch, the best epoch on the test pictures, and the median of the last ten epochs.";

/// The part of a table that has columns of its own: one column of the paper, or one row.
struct Section<'a> {
    title: String,
    corner: &'a str,
    lines: Vec<(&'a str, &'a Cell, usize)>,
    /// The values that any line has.
    values: Vec<(ClaimedNetwork, &'a str)>,
}

/// The artefact as Markdown.
pub(crate) fn markdown(artefact: &Artefact) -> String {
    let mut text = format!("# {}\n", title(artefact));
    for section in sections(artefact) {
        let _ = write!(text, "\n## {}\n\n", section.title);
        let headings = section.headings();
        let mut lines = vec![headings.clone()];
        lines.push((0..headings.len()).map(|index| section.rule(index).to_owned()).collect());
        lines
            .extend(section.lines.iter().map(|line| section.cells(line, |command| format!(": `{command}`"))));
        for line in lines {
            let _ = writeln!(text, "| {} |", line.join(" | ").replace('*', "\\*"));
        }
    }
    for panel in &artefact.panels {
        let _ = write!(text, "\n## {}: {} against {}\n\n", panel.title, panel.y_label, panel.x_label);
        for series in &panel.series {
            let command =
                series.command.as_ref().map_or_else(String::new, |command| format!(": `{command}`"));
            let _ = writeln!(text, "- {}{command}", series_line(panel, series));
        }
    }
    for picture in &artefact.pictures {
        let _ = match &picture.path {
            Some(path) => write!(text, "\n![{}](<{path}>)\n\n{}\n", picture.caption, picture.caption),
            None => {
                let command = picture.command.as_ref().map(|command| format!(": `{command}`"));
                writeln!(text, "\n{}{}", picture_line(picture), command.unwrap_or_default())
            }
        };
    }
    let _ = write!(text, "\nPaper: {}.\n", artefact.source);
    for note in notes(artefact) {
        let _ = write!(text, "\n{}\n", note.replace('*', "\\*"));
    }
    text
}

/// The artefact for a terminal, with the commands below it.
pub(crate) fn terminal(artefact: &Artefact) -> String {
    let mut text = format!("{}\n", title(artefact));
    let mut commands: Vec<&str> = Vec::new();
    for section in sections(artefact) {
        let _ = write!(text, "\n{}\n", section.title);
        let mut lines = vec![section.headings()];
        lines.extend(section.lines.iter().map(|line| section.cells(line, |_| String::new())));
        text.push_str(&align(&lines, |index| section.is_figure(index)));
        commands.extend(section.lines.iter().filter_map(|(_, cell, _)| cell.command.as_deref()));
    }
    for panel in &artefact.panels {
        let _ = write!(text, "\n{}: {} against {}\n", panel.title, panel.y_label, panel.x_label);
        for series in &panel.series {
            let _ = writeln!(text, "  {}", series_line(panel, series));
        }
        commands.extend(panel.series.iter().filter_map(|series| series.command.as_deref()));
    }
    for picture in &artefact.pictures {
        let _ = writeln!(text, "\n{}", picture_line(picture));
    }
    commands.extend(artefact.pictures.iter().filter_map(|picture| picture.command.as_deref()));
    for note in notes(artefact) {
        let _ = write!(text, "\n{note}");
    }
    text.push('\n');
    commands.dedup();
    if !commands.is_empty() {
        let _ = write!(text, "\nWhat is missing:\n");
        for command in commands {
            let _ = writeln!(text, "    {command}");
        }
    }
    text
}

/// How far the artefact has come, in a line.
pub(crate) fn line(artefact: &Artefact) -> String {
    let cells = artefact.tables.iter().flat_map(|table| &table.rows).flat_map(|row| &row.cells);
    let mut all: Vec<Status> = cells.map(|cell| cell.status).collect();
    let series = artefact.panels.iter().flat_map(|panel| &panel.series);
    all.extend(series.filter(|series| series.whose == Whose::Ours).map(|series| series.status));
    all.extend(artefact.pictures.iter().map(|picture| picture.status));
    let count = |wanted: Status| all.iter().filter(|status| **status == wanted).count();
    let mut text = format!("{}: {} of {} places filled", artefact.name, count(Status::Done), all.len());
    for rest in [Status::SomeTrialsMissing, Status::Failed, Status::NotRun, Status::NotThereYet] {
        if count(rest) > 0 {
            let _ = write!(text, ", {} {}", count(rest), status(rest));
        }
    }
    text
}

/// The tables as LaTeX with the rules of booktabs; commands for what is missing stand in comments.
pub(crate) fn latex(artefact: &Artefact) -> String {
    let mut text = String::from("% Needs \\usepackage{booktabs}.\n");
    for section in sections(artefact) {
        let headings = section.headings();
        let _ = writeln!(text, "\\begin{{table}}\n\\centering\\small");
        let caption = format!("{} [{}]", title(artefact), section.title);
        let _ = writeln!(text, "\\caption{{{}}}", escape(&caption));
        let columns: String =
            (0..headings.len()).map(|index| if section.is_figure(index) { 'r' } else { 'l' }).collect();
        let _ = writeln!(text, "\\begin{{tabular}}{{{columns}}}\n\\toprule");
        let headings: Vec<_> = headings.iter().map(|heading| escape(heading)).collect();
        let _ = writeln!(text, "{} \\\\\n\\midrule", headings.join(" & "));
        for line in &section.lines {
            let cells: Vec<_> =
                section.cells(line, |_| String::new()).iter().map(|cell| escape(cell)).collect();
            let _ = writeln!(text, "{} \\\\", cells.join(" & "));
            if let Some(command) = &line.1.command {
                let _ = writeln!(text, "% {command}");
            }
        }
        let _ = writeln!(text, "\\bottomrule\n\\end{{tabular}}\n\\end{{table}}");
    }
    for note in notes(artefact) {
        let _ = writeln!(text, "% {note}");
    }
    text
}

/// Lines of cells in columns as wide as their widest cell; `to_the_right` says which columns hold figures.
pub(crate) fn align(lines: &[Vec<String>], to_the_right: impl Fn(usize) -> bool) -> String {
    let columns = lines.iter().map(Vec::len).max().unwrap_or(0);
    let width = |index: usize| lines.iter().filter_map(|line| Some(line.get(index)?.chars().count())).max();
    let widths: Vec<usize> = (0..columns).map(|index| width(index).unwrap_or(0)).collect();
    let mut text = String::new();
    for line in lines {
        let padded = line.iter().zip(&widths).enumerate().map(|(index, (cell, &width))| {
            if to_the_right(index) { format!("{cell:>width$}") } else { format!("{cell:<width$}") }
        });
        let _ = writeln!(text, "{}", padded.collect::<Vec<_>>().join("  ").trim_end());
    }
    text
}

fn title(artefact: &Artefact) -> String {
    let reduced = if artefact.reduced { "quick profile, not the paper's runs" } else { "paper profile" };
    let ran = if artefact.ran.is_empty() { "nothing run yet".to_owned() } else { artefact.ran.join("; ") };
    format!("{} ({reduced}): {}; {ran}", artefact.name, lower_first(&artefact.title))
}

fn notes(artefact: &Artefact) -> Vec<&str> {
    let mut notes = if artefact.tables.is_empty() { Vec::new() } else { vec![MARK, NETWORKS] };
    notes.extend(artefact.notes.iter().map(String::as_str));
    notes
}

fn sections(artefact: &Artefact) -> Vec<Section<'_>> {
    artefact.tables.iter().flat_map(sections_of).collect()
}

fn sections_of(table: &Table) -> Vec<Section<'_>> {
    let column = |index: usize| {
        let lines = table.rows.iter().filter_map(|row| {
            Some((row.heading.as_str(), row.cells.get(index)?, table.columns[index].digits))
        });
        section(table, &table.columns[index].heading, &table.corner, lines.collect())
    };
    let row = |row: usize| {
        let row = &table.rows[row];
        let lines = table.columns.iter().zip(&row.cells);
        let lines = lines.map(|(column, cell)| (column.heading.as_str(), cell, column.digits));
        section(table, &row.heading, "", lines.collect())
    };
    match table.cut_by {
        Axis::Columns => (0..table.columns.len()).map(column).collect(),
        Axis::Rows => (0..table.rows.len()).map(row).collect(),
    }
}

fn section<'a>(
    table: &Table,
    heading: &str,
    corner: &'a str,
    lines: Vec<(&'a str, &'a Cell, usize)>,
) -> Section<'a> {
    let mut values = Vec::new();
    let mut ran: Vec<&str> = Vec::new();
    let mut paper: Vec<String> = Vec::new();
    let mut note = |text: String| {
        if !text.is_empty() && !paper.contains(&text) {
            paper.push(text);
        }
    };
    for (_, cell, _) in &lines {
        for value in &cell.values {
            let kind = (value.network, value.what.as_str());
            if !values.contains(&kind) {
                values.push(kind);
            }
        }
        if let Some(text) = cell.ran.as_deref().filter(|text| !ran.contains(text)) {
            ran.push(text);
        }
        if let Some(printed) = &cell.paper {
            let epochs = printed.epochs.map(|epochs| format!("{epochs} epochs"));
            note(printed.of.iter().cloned().chain(epochs).collect::<Vec<_>>().join(", "));
        }
    }
    // A student's values stand before the teacher's, whichever line had them first.
    values.sort_by_key(|(network, _)| *network != ClaimedNetwork::Student);
    let ran = if ran.is_empty() { "nothing run".to_owned() } else { ran.join(" and ") };
    let paper = if paper.is_empty() { String::new() } else { format!(" (paper: {})", paper.join("; ")) };
    let above = if table.heading.is_empty() { String::new() } else { format!("{}, ", table.heading) };
    Section { title: format!("{above}{heading}: {ran}{paper}"), corner, lines, values }
}

impl Section<'_> {
    fn headings(&self) -> Vec<String> {
        let mut headings = vec![self.corner.to_owned(), "Paper".to_owned()];
        headings.extend(self.values.iter().map(|(of, what)| format!("{} {what}", network(*of))));
        headings.extend(["n", "s.d.", "Epochs", "Remark"].map(str::to_owned));
        headings
    }

    /// Whether a column holds figures, which stand to the right.
    fn is_figure(&self, index: usize) -> bool {
        (1..self.values.len() + 5).contains(&index)
    }

    fn rule(&self, index: usize) -> &'static str {
        if self.is_figure(index) { "---:" } else { "---" }
    }

    /// The cells of a line; `command` says how the command for what is missing is shown after the remark.
    fn cells(
        &self,
        (heading, cell, digits): &(&str, &Cell, usize),
        command: impl Fn(&str) -> String,
    ) -> Vec<String> {
        let figure = |value: f64| format!("{value:.digits$}");
        let mut line = vec![(*heading).to_owned()];
        line.push(cell.paper.as_ref().map_or_else(String::new, |paper| figure(paper.value)));
        for kind in &self.values {
            let value = cell.values.iter().find(|value| (value.network, value.what.as_str()) == *kind);
            let mark = |value: &Value| if value.compared { "*" } else { "" };
            line.push(value.map_or_else(String::new, |value| figure(value.mean) + mark(value)));
        }
        let sd = cell.values.iter().find(|value| value.compared).and_then(|value| value.sd);
        line.push(if cell.n > 0 { cell.n.to_string() } else { String::new() });
        line.push(sd.map_or_else(String::new, figure));
        line.push(optional(cell.epochs));
        let mut remark = match cell.status {
            Status::Done => String::new(),
            Status::SomeTrialsMissing => format!("{} of {} trials", cell.n, cell.trials),
            other => status(other).to_owned(),
        };
        if let Some(reason) = cell.reason.as_deref().filter(|_| cell.status == Status::NotThereYet) {
            let _ = write!(remark, ": {reason}");
        }
        remark.push_str(&cell.command.as_deref().map(command).unwrap_or_default());
        line.push(remark);
        line
    }
}

fn series_line(panel: &Panel, series: &Series) -> String {
    let mut text = format!("{} ({})", series.name, whose(series.whose));
    if series.status != Status::Done {
        let reason = series.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
        let _ = write!(text, ", {}{reason}", status(series.status));
    }
    if !series.points.is_empty() {
        let _ = write!(text, ": {}", points(panel, &series.points));
    }
    text
}

fn points(panel: &Panel, points: &[Point]) -> String {
    let shown = |point: &Point| {
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "places are small and whole"
        )]
        let place = panel.places.get(point.x as usize);
        let x = place.cloned().unwrap_or_else(|| {
            format!("{:.4}", point.x).trim_end_matches('0').trim_end_matches('.').to_owned()
        });
        format!("{x}: {:.2}", point.y)
    };
    match points {
        [first, .., last] if points.len() > FEW_POINTS => {
            format!("{} points, {} to {}", points.len(), shown(first), shown(last))
        }
        _ => points.iter().map(shown).collect::<Vec<_>>().join(", "),
    }
}

fn picture_line(picture: &Picture) -> String {
    let reason = picture.reason.as_ref().map_or_else(String::new, |reason| format!(": {reason}"));
    match &picture.path {
        Some(path) => format!("{}: {path}", picture.caption),
        None => format!("{} ({}{reason})", picture.caption, status(picture.status)),
    }
}

pub(super) fn status(status: Status) -> &'static str {
    match status {
        Status::Done => "done",
        Status::SomeTrialsMissing => "some trials missing",
        Status::Failed => "failed",
        Status::NotRun => "not run",
        Status::NotThereYet => "not there yet",
    }
}

pub(super) fn network(network: ClaimedNetwork) -> &'static str {
    match network {
        ClaimedNetwork::Student => "Student",
        ClaimedNetwork::Teacher => "Teacher",
    }
}

pub(super) fn whose(whose: Whose) -> &'static str {
    match whose {
        Whose::Ours => "ours",
        Whose::Paper => "paper",
        Whose::Published => "published",
    }
}

fn lower_first(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map_or_else(String::new, |first| first.to_lowercase().chain(letters).collect())
}

pub(super) fn optional(value: Option<impl ToString>) -> String {
    value.map_or_else(String::new, |value| value.to_string())
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
