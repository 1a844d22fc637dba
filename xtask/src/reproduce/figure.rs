//! Figures: diagrams from the values of runs, and pictures that the program draws of them.

use super::Profile;
use super::assemble::{Assembly, Found, Place};
use super::cell::Step;
use super::measure::{CALIBRATION, curve, diversity, over_trials, reliability};
use crate::artefact::{self, Point, Status, Whose};
use crate::paper::{self, Choice, Definition, FromTable, Measure, Source};

/// A diagram; none where the profile doesn't have it.
pub(crate) fn panel(
    assembly: &mut Assembly,
    definition: &Definition,
    panel: &paper::Panel,
) -> Option<artefact::Panel> {
    let mut drawn = artefact::Panel {
        title: panel.title.clone(),
        shape: panel.shape,
        x_label: panel.x_label.clone(),
        y_label: panel.y_label.clone(),
        places: Vec::new(),
        series: Vec::new(),
    };
    if let Some(from) = &panel.from_table {
        table_as_panel(assembly, definition, from, &mut drawn)?;
    }
    for series in &panel.series {
        let choice = panel.run.with(&series.run);
        drawn.series.push(match series.source {
            Source::Fixed => published(definition, series),
            Source::Points => points(assembly, definition, series, &choice),
            _ => of_one_run(assembly, definition, series, &choice),
        });
    }
    if assembly.options.profile == Profile::Quick
        && let Some(heading) = &panel.run.quick
    {
        drawn.title = format!("{}: {heading}", drawn.title);
    }
    Some(drawn)
}

/// A picture of a run.
pub(crate) fn picture(
    assembly: &mut Assembly,
    definition: &Definition,
    picture: &paper::Picture,
) -> artefact::Picture {
    let step = if picture.command.is_empty() {
        Step::Diversity
    } else {
        Step::Draw { name: picture.name.clone(), command: picture.command.clone() }
    };
    let wanted = assembly.options.wants_figures();
    let found = assembly.want(&picture.run, Some(&step), wanted);
    let (path, found) = match found {
        Ok((cells, step)) => {
            // The first trial's: a picture has no mean.
            let first = &cells[..1];
            let cell = &assembly.cells[first[0]];
            let drawn = step.filter(|&step| cell.result(step).is_some());
            let path = drawn.map(|step| cell.folder.join(cell.steps[step].picture()));
            (path, assembly.found_of(first, step))
        }
        Err(reason) => (None, Found { status: Status::NotThereYet, reason: Some(reason), ran: None }),
    };
    let ran = found.ran.map_or_else(String::new, |ran| format!(" ({ran})"));
    artefact::Picture {
        path: path.map(|path| assembly.relative(&path)),
        caption: format!("{}{ran}", picture.caption),
        command: missing(assembly, definition, found.status),
        status: found.status,
        reason: found.reason,
    }
}

fn missing(assembly: &Assembly, definition: &Definition, status: Status) -> Option<String> {
    (!matches!(status, Status::Done | Status::NotThereYet)).then(|| assembly.command(definition, None))
}

fn published(definition: &Definition, series: &paper::Series) -> artefact::Series {
    artefact::Series {
        name: series.name.clone(),
        whose: series.whose,
        ran: Some(definition.source.clone()).filter(|_| series.whose == Whose::Paper),
        points: series.values.iter().map(|&[x, y]| Point { x, y, sd: None }).collect(),
        status: Status::Done,
        reason: None,
        command: None,
    }
}

fn ours(
    assembly: &Assembly,
    definition: &Definition,
    name: &str,
    points: Vec<Point>,
    found: Found,
) -> artefact::Series {
    artefact::Series {
        name: name.to_owned(),
        whose: Whose::Ours,
        ran: found.ran,
        points,
        command: missing(assembly, definition, found.status),
        status: found.status,
        reason: found.reason,
    }
}

/// A series whose points are values of a run each.
fn points(
    assembly: &mut Assembly,
    definition: &Definition,
    series: &paper::Series,
    choice: &Choice,
) -> artefact::Series {
    let quick = assembly.options.profile == Profile::Quick;
    let wanted = assembly.options.wants_figures();
    let mut drawn = Vec::new();
    let mut all: Option<Found> = None;
    for point in series.points.iter().filter(|point| point.quick || !quick) {
        let place = assembly.place(&choice.with(&point.run), wanted);
        let found = assembly.found(&place);
        if let Ok(place) = &place {
            drawn.extend(compared(assembly, place).map(|(y, sd)| Point { x: point.x, y, sd }));
        }
        all = Some(match all {
            Some(known) if known.status != Status::Done || found.status == Status::Done => known,
            _ => found,
        });
    }
    let mut found = all.unwrap_or(Found { status: Status::NotRun, reason: None, ran: None });
    if found.status != Status::Done && !drawn.is_empty() {
        found.reason.get_or_insert_with(|| "some points are missing".to_owned());
    }
    ours(assembly, definition, &series.name, drawn, found)
}

/// The value that compares with the paper's, over the trials.
fn compared(assembly: &Assembly, place: &Place) -> Option<(f64, Option<f64>)> {
    let values = over_trials(&assembly.readings(place));
    values.into_iter().find(|value| value.compared).map(|value| (value.mean, value.sd))
}

/// A series that is read of one run, the first trial's.
fn of_one_run(
    assembly: &mut Assembly,
    definition: &Definition,
    series: &paper::Series,
    choice: &Choice,
) -> artefact::Series {
    if series.source == Source::Cost {
        return cost(assembly, definition, series, choice);
    }
    let step = match series.source {
        Source::Reliability => Some(CALIBRATION),
        Source::Diversity => Some(Step::Diversity),
        _ => None,
    };
    let wanted = assembly.options.wants_figures();
    match assembly.want(choice, step.as_ref(), wanted) {
        Ok((cells, step)) => {
            let first = &cells[..1];
            let cell = &assembly.cells[first[0]];
            let points = match (series.source, step) {
                (Source::Reliability, Some(step)) => reliability(cell, step),
                (Source::Diversity, Some(step)) => diversity(cell, step),
                _ => curve(cell),
            };
            let found = assembly.found_of(first, step);
            ours(assembly, definition, &series.name, points.unwrap_or_default(), found)
        }
        Err(reason) => {
            let found = Found { status: Status::NotThereYet, reason: Some(reason), ran: None };
            ours(assembly, definition, &series.name, Vec::new(), found)
        }
    }
}

/// Seconds a step against what is measured.
fn cost(
    assembly: &mut Assembly,
    definition: &Definition,
    series: &paper::Series,
    choice: &Choice,
) -> artefact::Series {
    let wanted = assembly.options.wants_figures();
    let place = assembly.place(choice, wanted);
    let time = assembly.place(&Choice { measure: Some(Measure::SecondsPerStep), ..choice.clone() }, wanted);
    let found = assembly.found(&place);
    let points = place.ok().zip(time.ok()).and_then(|(place, time)| {
        let (y, sd) = compared(assembly, &place)?;
        let (x, _) = compared(assembly, &time)?;
        Some(vec![Point { x, y, sd }])
    });
    ours(assembly, definition, &series.name, points.unwrap_or_default(), found)
}

/// A table, or a column of it, as a diagram: ours and the paper's.
fn table_as_panel(
    assembly: &mut Assembly,
    definition: &Definition,
    from: &FromTable,
    drawn: &mut artefact::Panel,
) -> Option<()> {
    let source = paper::definition(&from.table)?;
    let mut part = source.parts.get(from.part)?.clone();
    let measures: Vec<Option<Measure>> = part.columns.iter().map(|column| column.run.measure).collect();
    if let Some(column) = &from.column {
        part.columns.retain(|known| known.heading == *column);
        let index = source.parts[from.part].columns.iter().position(|known| known.heading == *column)?;
        for row in &mut part.rows {
            row.values = vec![row.values.get(index).copied().flatten()];
        }
    }
    // The quick profile may not have this part: then only the paper's values are drawn.
    let table = assembly.table(definition, &part);
    let x = |index: usize| match measures.get(index) {
        Some(Some(Measure::Occlusion(share))) => 100.0 * share,
        #[expect(clippy::cast_precision_loss, reason = "a handful of columns")]
        _ => index as f64,
    };
    if from.column.is_some() {
        let table = table?;
        drawn.places = table.rows.iter().map(|row| row.heading.clone()).collect();
        let cells: Vec<_> = table.rows.iter().filter_map(|row| row.cells.first()).collect();
        let name = table.columns.first()?.heading.clone();
        let run = ours_of(
            assembly,
            definition,
            &name,
            cells.iter().copied().enumerate().map(|(at, cell)| (x(at), cell)),
        );
        let printed =
            cells.iter().enumerate().filter_map(|(at, cell)| Some((x(at), cell.paper.as_ref()?.value)));
        let printed = printed_of(&source, from.column.as_deref().unwrap_or_default(), printed);
        drawn.series.extend([run, printed]);
        return Some(());
    }
    for (row, printed) in part.rows.iter().enumerate() {
        if let Some(row) = table.as_ref().and_then(|table| table.rows.get(row)) {
            let cells = row.cells.iter().enumerate().map(|(at, cell)| (x(at), cell));
            drawn.series.push(ours_of(assembly, definition, &row.heading, cells));
        }
        let values = printed.values.iter().enumerate().filter_map(|(at, value)| Some((x(at), (*value)?)));
        drawn.series.push(printed_of(&source, &printed.heading, values));
    }
    Some(())
}

/// A series of ours from cells of a table.
fn ours_of<'a>(
    assembly: &Assembly,
    definition: &Definition,
    name: &str,
    cells: impl Iterator<Item = (f64, &'a artefact::Cell)>,
) -> artefact::Series {
    let mut points = Vec::new();
    let mut found: Option<Found> = None;
    for (x, cell) in cells {
        let value = cell.values.iter().find(|value| value.compared);
        points.extend(value.map(|value| Point { x, y: value.mean, sd: value.sd }));
        let this = Found { status: cell.status, reason: cell.reason.clone(), ran: cell.ran.clone() };
        found = Some(match found {
            Some(known) if known.status != Status::Done || this.status == Status::Done => known,
            _ => this,
        });
    }
    let found = found.unwrap_or(Found { status: Status::NotRun, reason: None, ran: None });
    ours(assembly, definition, name, points, found)
}

/// A series of the paper from values of a table.
fn printed_of(source: &Definition, name: &str, values: impl Iterator<Item = (f64, f64)>) -> artefact::Series {
    artefact::Series {
        name: name.to_owned(),
        whose: Whose::Paper,
        ran: Some(source.source.clone()),
        points: values.map(|(x, y)| Point { x, y, sd: None }).collect(),
        status: Status::Done,
        reason: None,
        command: None,
    }
}
