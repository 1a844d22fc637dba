//! A small table and a small figure for the tests of the renderings.

use adautomix_recipes::ClaimedNetwork;

use crate::artefact::{
    Artefact, Axis, Cell, Column, Panel, Paper, Picture, Point, Row, Series, Shape, Status, Table, Value,
    Whose,
};

fn value(network: ClaimedNetwork, mean: f64, sd: f64, compared: bool) -> Value {
    Value { network, what: "last-10".to_owned(), mean, sd: Some(sd), compared }
}

fn cell(paper: f64, values: Vec<Value>, status: Status, method: &str) -> Cell {
    let done = status == Status::Done;
    Cell {
        paper: Some(Paper { value: paper, epochs: Some(800), of: None }),
        values,
        status,
        n: if done { 2 } else { 0 },
        trials: 2,
        epochs: done.then_some(800),
        ran: done.then(|| "cifar100, 800 epochs".to_owned()),
        reason: None,
        command: Some(format!("cargo xtask reproduce table1 --methods {method}")),
    }
}

/// Two rows, of which one has been run.
pub(crate) fn table() -> Table {
    let values = vec![
        value(ClaimedNetwork::Student, 75.0, 0.25, false),
        value(ClaimedNetwork::Teacher, 82.25, 0.125, true),
    ];
    let row = |heading: &str, cell| Row { heading: heading.to_owned(), cells: vec![cell] };
    Table {
        heading: String::new(),
        corner: "Method".to_owned(),
        cut_by: Axis::Columns,
        columns: vec![Column { heading: "CIFAR100/ResNet18".to_owned(), unit: "%".to_owned(), digits: 2 }],
        rows: vec![
            row("AdAutoMix", cell(82.32, values, Status::Done, "AdAutoMix")),
            row("MixUp", cell(79.12, Vec::new(), Status::NotRun, "MixUp")),
        ],
    }
}

/// Lines of ours and of the paper, and one that wasn't run.
pub(crate) fn panel() -> Panel {
    let series = |name: &str, whose, values: &[f64]| Series {
        name: name.to_owned(),
        whose,
        ran: None,
        points: (0_u32..).zip(values).map(|(x, &y)| Point { x: f64::from(x), y, sd: None }).collect(),
        status: if values.is_empty() { Status::NotRun } else { Status::Done },
        reason: None,
        command: values.is_empty().then(|| "cargo xtask reproduce fig5 --methods CutMix".to_owned()),
    };
    Panel {
        title: "Under <occlusion>".to_owned(),
        shape: Shape::Lines,
        x_label: "Occluded (%)".to_owned(),
        y_label: "Top-1 (%)".to_owned(),
        places: Vec::new(),
        series: vec![
            series("AdAutoMix", Whose::Ours, &[80.0, 70.0, 50.0]),
            series("AdAutoMix", Whose::Paper, &[82.0, 71.5, 52.0]),
            series("CutMix", Whose::Ours, &[]),
        ],
    }
}

/// A table, a diagram, and a picture that isn't made.
pub(crate) fn artefact(id: &str, reduced: bool) -> Artefact {
    Artefact {
        id: id.to_owned(),
        name: "Table 1".to_owned(),
        title: "Top-1 accuracy & more".to_owned(),
        profile: "quick".to_owned(),
        reduced,
        source: "the paper, Table 1".to_owned(),
        command: format!("cargo xtask reproduce {id}"),
        ran: vec!["cifar100, 800 epochs".to_owned()],
        notes: vec!["A note.".to_owned()],
        tables: vec![table()],
        panels: vec![panel()],
        pictures: vec![Picture {
            path: None,
            caption: "Blends".to_owned(),
            status: Status::NotRun,
            reason: None,
            command: Some("cargo xtask reproduce fig13".to_owned()),
        }],
        work: Vec::new(),
    }
}
