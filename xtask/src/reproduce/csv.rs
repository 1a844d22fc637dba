//! An artefact as CSV: a line for each value of a table and each point of a diagram.

use super::render::{network, optional, status, whose};
use crate::artefact::{Artefact, Cell, Panel, Point, Series, Value};

/// A line for each value of a table and each point of a diagram, with all digits.
pub(crate) fn csv(artefact: &Artefact) -> String {
    let head = "id,profile,of,row,column,unit,paper,paper_epochs,paper_of,network,what,x,y,sd,compared,status,n,trials,epochs,\
                ran,command";
    let mut text = format!("{head}\n");
    let start = |of: &str| vec![artefact.id.clone(), artefact.profile.clone(), of.to_owned()];
    for table in &artefact.tables {
        for row in &table.rows {
            for (column, cell) in table.columns.iter().zip(&row.cells) {
                let place = [
                    start(&table.heading),
                    vec![row.heading.clone(), column.heading.clone(), column.unit.clone()],
                ];
                let empty = [None];
                let values: Vec<Option<&Value>> = cell.values.iter().map(Some).collect();
                for value in if values.is_empty() { &empty[..] } else { &values } {
                    text.push_str(&csv_line(&[place.concat(), csv_cell(cell, *value)].concat()));
                }
            }
        }
    }
    for panel in &artefact.panels {
        for series in &panel.series {
            let empty = [None];
            let points: Vec<Option<&Point>> = series.points.iter().map(Some).collect();
            for point in if points.is_empty() { &empty[..] } else { &points } {
                text.push_str(&csv_line(&[start(&panel.title), csv_point(panel, series, *point)].concat()));
            }
        }
    }
    text
}

fn csv_cell(cell: &Cell, value: Option<&Value>) -> Vec<String> {
    let paper = cell.paper.as_ref();
    vec![
        optional(paper.map(|paper| paper.value)),
        optional(paper.and_then(|paper| paper.epochs)),
        optional(paper.and_then(|paper| paper.of.clone())),
        value.map_or_else(String::new, |value| network(value.network).to_lowercase()),
        value.map_or_else(String::new, |value| value.what.clone()),
        String::new(),
        optional(value.map(|value| value.mean)),
        optional(value.and_then(|value| value.sd)),
        optional(value.map(|value| value.compared)),
        status(cell.status).to_owned(),
        cell.n.to_string(),
        cell.trials.to_string(),
        optional(cell.epochs),
        cell.ran.clone().unwrap_or_default(),
        cell.command.clone().unwrap_or_default(),
    ]
}

fn csv_point(panel: &Panel, series: &Series, point: Option<&Point>) -> Vec<String> {
    let mut line = vec![series.name.clone(), whose(series.whose).to_owned(), panel.y_label.clone()];
    line.extend(vec![String::new(); 5]);
    line.extend([
        optional(point.map(|point| point.x)),
        optional(point.map(|point| point.y)),
        optional(point.and_then(|point| point.sd)),
        String::new(),
        status(series.status).to_owned(),
    ]);
    line.extend(vec![String::new(); 3]);
    line.extend([series.ran.clone().unwrap_or_default(), series.command.clone().unwrap_or_default()]);
    line
}

fn csv_line(cells: &[String]) -> String {
    let quoted = |cell: &String| {
        if cell.contains([',', '"', '\n']) {
            format!("\"{}\"", cell.replace('"', "\"\""))
        } else {
            cell.clone()
        }
    };
    format!("{}\n", cells.iter().map(quoted).collect::<Vec<_>>().join(","))
}
