//! A table or figure on the page.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};

use crate::artefact::{Artefact, Panel, Picture, Table};
use crate::report::lines::{Group, Line, Lines, letter, state};
use crate::report::{chart, gather, is_drawn, missing_series};

/// The mark of a value of a reduced run.
pub(super) fn dagger() -> Markup {
    html! { abbr class="dagger" title="reduced run" { "†" } }
}

/// The same in a heading, as a word.
pub(super) fn reduced() -> Markup {
    html! { span class="reduced" { "reduced run" } }
}

/// A command, which breaks between its words and inside one only where that is longer than a line.
pub(super) fn command(text: &str) -> Markup {
    html! {
        code { @for (index, word) in text.split(' ').enumerate() { @if index > 0 { " " } span { (word) } } }
    }
}

/// A table or figure with all that belongs to it.
///
/// # Errors
/// If a picture can't be read.
pub(super) fn artefact(artefact: &Artefact, results: &Path) -> Result<Markup> {
    let id = &artefact.id;
    let filled = gather::filled(artefact);
    let pictures = pictures(artefact, results)?;
    Ok(html! {
        section class="artefact" id=(id) aria-labelledby=(format!("{id}-heading")) {
            h3 id=(format!("{id}-heading")) {
                span class="name" { (artefact.name) } " "
                (artefact.title) " "
                @if artefact.reduced && filled.done > 0 { (reduced()) }
            }
            p class="made" {
                @if filled.all > 0 { (filled.done) " of " (filled.all) " places filled. " }
                "All of it: " (command(&artefact.command))
            }
            @for (index, table) in artefact.tables.iter().enumerate() {
                (lines(table, &format!("{id}-{}", index + 1), artefact))
            }
            (panels(&artefact.panels, id, artefact.reduced))
            (pictures)
            @if !artefact.ran.is_empty() {
                p class="notes" { b { "What was run. " } (artefact.ran.join("; ")) "." }
            }
            ul class="notes" {
                @for note in &artefact.notes { li { (note) } }
                @if !artefact.source.is_empty() { li { "Paper: " (artefact.source) "." } }
            }
        }
    })
}

fn lines(table: &Table, id: &str, artefact: &Artefact) -> Markup {
    let lines = Lines::of(table, &artefact.command);
    let caption = if table.heading.is_empty() { &artefact.name } else { &table.heading };
    html! {
        @if !table.heading.is_empty() { h4 id=(format!("{id}-heading")) { (table.heading) } }
        div class="scroll" role="region" aria-label=(caption) tabindex="0" {
            table class="values" {
                caption { (caption) ": the paper’s values and ours" }
                colgroup {
                    col class="heading"; col class="figure"; col class="figure"; col class="figure"; col class="figure";
                    col class="count"; col;
                }
                thead {
                    tr {
                        th scope="col" { (table.corner) }
                        @for heading in ["Paper", "Ours", "Δ", "s.d.", "n"] { th scope="col" class="number" { (heading) } }
                        th scope="col" { "Run" }
                    }
                }
                @for group in &lines.groups { (body(group, &lines, id, artefact.reduced)) }
            }
        }
        @if !lines.notes.is_empty() {
            ol class="letters" {
                @for (index, note) in lines.notes.iter().enumerate() {
                    li id=(format!("{id}-note-{}", letter(index))) { (note) }
                }
            }
        }
        (every_value(&lines, &table.corner, artefact.reduced))
        (commands(&lines))
    }
}

fn body(group: &Group, lines: &Lines, id: &str, reduced: bool) -> Markup {
    html! {
        tbody {
            (group_row(group, 7))
            @for line in &group.lines {
                tr {
                    th scope="row" { (line.heading) }
                    (figure(&line.paper, lines, false))
                    @if line.ours.is_empty() {
                        td class="missing" colspan="5" { (missing(line)) }
                    } @else {
                        (figure(&line.ours, lines, reduced))
                        (figure(&line.difference, lines, reduced))
                        (figure(&line.sd, lines, reduced))
                        td class="number" { (line.n) }
                        td { @if let Some(note) = line.note {
                            a href=(format!("#{id}-note-{}", letter(note))) { (letter(note)) }
                        } }
                    }
                }
                @if !line.ours.is_empty() && line.missing.is_some() {
                    tr class="rest" { td class="missing" colspan="7" { (missing(line)) } }
                }
            }
        }
    }
}

fn group_row(group: &Group, columns: usize) -> Markup {
    html! {
        tr class="group" {
            th scope="rowgroup" colspan=(columns) {
                (group.heading)
                @if !group.paper.is_empty() { " " span class="soft" { (group.paper) } }
            }
        }
    }
}

fn missing(line: &Line) -> Markup {
    html! {
        @if let Some(missing) = &line.missing {
            (missing.words) " "
            @if let Some(command) = &missing.command { (self::command(command)) }
        } @else { "no value" }
    }
}

/// A number, with room behind it for as many digits as the longest of the table has, so that points stand in line.
fn figure(text: &str, lines: &Lines, reduced: bool) -> Markup {
    html! {
        td class="number" {
            @if !text.is_empty() {
                (text) (lines.padding(text))
                @if reduced { (dagger()) }
            }
        }
    }
}

/// Every value of ours: of student and teacher, last, best and median, by each definition.
fn every_value(lines: &Lines, corner: &str, reduced: bool) -> Markup {
    let tables: Vec<_> = lines.named_alike().into_iter().filter(|(names, _)| !names.is_empty()).collect();
    html! {
        @if tables.iter().any(|(names, _)| names.len() > 1) {
            details {
                summary { "Every value of ours" }
                @for (names, groups) in &tables { (values_table(names, groups, corner, reduced)) }
            }
        }
    }
}

fn values_table(names: &[&str], groups: &[&Group], corner: &str, reduced: bool) -> Markup {
    let mut values = groups.iter().flat_map(|group| &group.lines).flat_map(|line| &line.values);
    let has_deviations = values.any(|value| !value.sd.is_empty());
    html! {
        div class="scroll" role="region" aria-label="Every value of ours" tabindex="0" {
            table {
                caption { "Mean and standard deviation over the runs; bold is what stands beside the paper’s value" }
                thead {
                    tr {
                        th scope="col" { (corner) }
                        @for name in names { th scope="col" class="number" { (name) } }
                    }
                }
                @for group in groups {
                    tbody {
                        (group_row(group, names.len() + 1))
                        @for line in group.lines.iter().filter(|line| !line.values.is_empty()) { tr {
                            th scope="row" { (line.heading) }
                            @for name in names { (value(line, name, has_deviations, reduced)) }
                        } }
                    }
                }
            }
        }
    }
}

/// A value with its deviation, which has its room in every line where any has one.
fn value(line: &Line, name: &str, has_deviations: bool, reduced: bool) -> Markup {
    let value = line.values.iter().find(|value| value.name == name);
    html! {
        td class="number" {
            @if let Some(value) = value {
                @if value.compared { b { (value.mean) } } @else { (value.mean) }
                @if has_deviations {
                    span class="deviation" { @if !value.sd.is_empty() { " ± " (value.sd) } }
                }
                @if reduced { (dagger()) }
            }
        }
    }
}

/// The commands of the values that are there; those of the others stand at their places.
fn commands(lines: &Lines) -> Markup {
    let of = |group: &Group| -> Vec<(String, String)> {
        let there = group.lines.iter().filter(|line| line.missing.is_none());
        there.filter_map(|line| Some((line.heading.clone(), line.command.clone()?))).collect()
    };
    let groups: Vec<_> = lines.groups.iter().map(|group| (group, of(group))).collect();
    html! {
        @if groups.iter().any(|(_, commands)| !commands.is_empty()) {
            details {
                summary { "The command of each value" }
                dl class="commands" {
                    @for (group, commands) in &groups {
                        @for (heading, command) in commands {
                            dt { (heading) ", " (group.heading) }
                            dd { (self::command(command)) }
                        }
                    }
                }
            }
        }
    }
}

/// Diagrams side by side, and what is missing in them.
pub(super) fn panels(panels: &[Panel], id: &str, reduced: bool) -> Markup {
    html! {
        @if !panels.is_empty() {
            div class="panels" {
                @for (index, panel) in panels.iter().enumerate() {
                    @let name = format!("{id}-panel-{}", index + 1);
                    figure id=(name) {
                        @let (letter, title) = lettered(panel, index, panels.len());
                        figcaption { @if !letter.is_empty() { b { (letter) } " " } (title) }
                        @if is_drawn(panel) { (chart::inline(panel, &name, reduced)) }
                        div {
                            @for (words, command) in missing_series(panel) {
                                p class="missing" { (words) " " @if let Some(command) = command { (self::command(command)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The letter of a diagram, which some titles have already, and its title without.
fn lettered(panel: &Panel, index: usize, count: usize) -> (String, &str) {
    match panel.title.strip_prefix('(').and_then(|rest| rest.split_once(") ")) {
        Some((letter, title)) if letter.chars().count() == 1 => (format!("({letter})"), title),
        _ if count > 1 => (format!("({})", letter(index)), &panel.title),
        _ => (String::new(), &panel.title),
    }
}

fn pictures(artefact: &Artefact, results: &Path) -> Result<Markup> {
    let figures: Vec<Markup> =
        artefact.pictures.iter().map(|one| picture(one, artefact, results)).collect::<Result<_>>()?;
    Ok(html! {
        @if !figures.is_empty() { div class="pictures" { @for figure in figures { (figure) } } }
    })
}

fn picture(picture: &Picture, artefact: &Artefact, results: &Path) -> Result<Markup> {
    let uri = match crate::report::picture_file(artefact, picture, results) {
        Some((path, _)) => Some(data_uri(&path)?),
        None => None,
    };
    Ok(html! {
        figure {
            @if let Some(uri) = uri {
                img src=(uri) alt=(format!("{}: {}", artefact.name, picture.caption));
                figcaption { (picture.caption) " " @if artefact.reduced { (reduced()) } }
            } @else {
                figcaption { (picture.caption) }
                p class="missing" {
                    @if picture.path.is_some() { "the file is gone " } @else { (state(picture.status)) " " }
                    @if let Some(reason) = &picture.reason { "(" (reason) ") " }
                    @if let Some(command) = &picture.command { (self::command(command)) }
                }
            }
        }
    })
}

fn data_uri(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| format!("{}: cannot be read", path.display()))?;
    let kind = match path.extension().and_then(|extension| extension.to_str()) {
        Some("jpg" | "jpeg") => "jpeg",
        Some("svg") => "svg+xml",
        _ => "png",
    };
    Ok(format!("data:image/{kind};base64,{}", STANDARD.encode(bytes)))
}
