//! Diagrams as SVG, readable at the width of a phone: 360 units, some 11 units a letter.
//!
//! A colour and a marker mean a method; a full line with filled markers means a run of ours, a dashed line with hollow
//! ones a published value. So nothing is told by colour alone.

mod bars;
mod curves;
mod look;
pub(crate) mod pgf;
mod scale;

use maud::{Markup, PreEscaped, html};

use crate::artefact::{Panel, Series, Shape, Whose};

pub(crate) use look::{Look, looks};
pub(crate) use scale::Scale;

/// The width of a diagram in its own units.
const WIDTH: f64 = 360.0;

/// The width of a letter of a label, on average.
const LETTER: f64 = 5.9;

/// The same in a legend, where a wide letter must not run into the next name.
const LEGEND_LETTER: f64 = 6.3;

/// From one line of a name to the next.
const LEGEND_LINE: f64 = 13.0;

/// The style of all diagrams; the page has it once, a picture of its own has it inside.
pub(crate) const STYLE: &str = include_str!("chart.css");

/// A diagram for the page. `id` is unique on it.
pub(crate) fn inline(panel: &Panel, id: &str, reduced: bool) -> Markup {
    draw(panel, id, reduced, None)
}

/// A diagram as a file of its own.
pub(crate) fn file(panel: &Panel, reduced: bool) -> String {
    let drawn = draw(panel, "chart", reduced, Some(STYLE)).into_string();
    format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n{drawn}\n")
}

fn draw(panel: &Panel, id: &str, reduced: bool, style: Option<&str>) -> Markup {
    let shown: Vec<(&Series, Look)> =
        looks_of(panel).into_iter().filter(|(series, _)| !series.points.is_empty()).collect();
    let (body, bottom) = match panel.shape {
        Shape::Bars => bars::draw(panel, &shown),
        Shape::Lines | Shape::Scatter => curves::draw(panel, &shown),
    };
    let (legend, height) = legend(panel.shape, &shown, reduced, bottom);
    html! {
        svg class="chart" xmlns="http://www.w3.org/2000/svg" viewBox=(format!("0 0 {WIDTH} {height:.0}"))
            role="img" aria-labelledby=(format!("{id}-title {id}-desc")) {
            title id=(format!("{id}-title")) { (panel.title) }
            desc id=(format!("{id}-desc")) { (describe(panel, reduced)) }
            @if let Some(style) = style { style { (PreEscaped(style)) } }
            (body)
            (legend)
        }
    }
}

/// The series of a panel with their looks.
pub(crate) fn looks_of(panel: &Panel) -> Vec<(&Series, Look)> {
    let names = |ours: bool| -> Vec<String> {
        let mut names: Vec<String> = Vec::new();
        for series in panel.series.iter().filter(|series| (series.whose == Whose::Ours) == ours) {
            if !names.contains(&series.name) {
                names.push(series.name.clone());
            }
        }
        names
    };
    let (ours, theirs) = (names(true), names(false));
    let (of_ours, of_theirs) = looks(&ours, &theirs);
    let of = |series: &Series| {
        let (names, looks) =
            if series.whose == Whose::Ours { (&ours, &of_ours) } else { (&theirs, &of_theirs) };
        Some(looks[names.iter().position(|name| *name == series.name)?])
    };
    panel.series.iter().filter_map(|series| Some((series, of(series)?))).collect()
}

/// How a kind of series is called in a legend.
pub(crate) fn whose(whose: Whose, reduced: bool) -> &'static str {
    match (whose, reduced) {
        (Whose::Ours, false) => "ours",
        (Whose::Ours, true) => "ours (reduced run)",
        (Whose::Paper, _) => "paper",
        (Whose::Published, _) => "published log",
    }
}

/// What somebody hears who can't see the diagram.
pub(crate) fn describe(panel: &Panel, reduced: bool) -> String {
    let mut text = format!("{} against {}.", panel.y_label, panel.x_label);
    for series in &panel.series {
        let name = format!(" {}, {}", series.name, whose(series.whose, reduced));
        text.push_str(&match series.points.as_slice() {
            [] => format!("{name}: not run."),
            [one] => format!("{name}: {} at {}.", short(one.y), at(panel, one.x)),
            [first, .., last] => format!(
                "{name}: from {} at {} to {} at {}.",
                short(first.y),
                at(panel, first.x),
                short(last.y),
                at(panel, last.x)
            ),
        });
    }
    text
}

/// A place on the x-axis in words.
fn at(panel: &Panel, x: f64) -> String {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "places are few")]
    let place = (x >= 0.0).then(|| panel.places.get(x.round() as usize)).flatten();
    place.cloned().unwrap_or_else(|| short(x))
}

/// A value with at most four digits behind the point, and none that say nothing.
pub(crate) fn short(value: f64) -> String {
    let text = format!("{value:.4}");
    text.trim_end_matches('0').trim_end_matches('.').replace('-', "\u{2212}")
}

/// The data of a path through points.
fn path(points: &[(f64, f64)]) -> String {
    let mut data = String::new();
    for (index, (x, y)) in points.iter().enumerate() {
        data.push_str(&format!("{}{x:.1},{y:.1}", if index == 0 { "M" } else { "L" }));
    }
    data
}

fn kind_class(whose: Whose) -> &'static str {
    if whose == Whose::Ours { "ours" } else { "theirs" }
}

/// An entry of a legend: its text, its look unless it is a key to the kinds of lines, and its kind.
type Entry = (String, Option<Look>, Whose);

/// Few series are named with their kind; of many the kinds are keys of their own.
fn entries(shown: &[(&Series, Look)], reduced: bool) -> Vec<Entry> {
    if shown.len() <= 3 {
        let named = |series: &Series| format!("{}, {}", series.name, whose(series.whose, reduced));
        return shown.iter().map(|(series, look)| (named(series), Some(*look), series.whose)).collect();
    }
    let mut entries: Vec<Entry> = Vec::new();
    for (series, look) in shown {
        if !entries.iter().any(|(name, ..)| *name == series.name) {
            entries.push((series.name.clone(), Some(*look), series.whose));
        }
    }
    for kind in [Whose::Ours, Whose::Paper, Whose::Published] {
        if shown.iter().any(|(series, _)| series.whose == kind) {
            entries.push((whose(kind, reduced).to_owned(), None, kind));
        }
    }
    entries
}

/// A name in lines that fit into the picture.
fn wrap(name: &str) -> Vec<String> {
    const LETTERS: usize = 50;
    let mut lines: Vec<String> = vec![String::new()];
    for word in name.split(' ') {
        let letters: Vec<char> = word.chars().collect();
        // A word that is longer than a line is cut.
        for piece in letters.chunks(LETTERS) {
            let piece: String = piece.iter().collect();
            let last = lines.len() - 1;
            match lines[last].chars().count() {
                0 => lines[last] = piece,
                length if length + 1 + piece.chars().count() <= LETTERS => {
                    lines[last].push_str(&format!(" {piece}"));
                }
                _ => lines.push(piece),
            }
        }
    }
    lines
}

/// The legend below `top`, and the height of all.
fn legend(shape: Shape, shown: &[(&Series, Look)], reduced: bool, top: f64) -> (Markup, f64) {
    let entries: Vec<(Vec<String>, Option<Look>, Whose)> =
        entries(shown, reduced).into_iter().map(|(name, look, kind)| (wrap(&name), look, kind)).collect();
    #[expect(clippy::cast_precision_loss, reason = "names are short")]
    let longest =
        entries.iter().flat_map(|(lines, ..)| lines).map(|line| line.chars().count()).max().unwrap_or(0)
            as f64;
    let column = 29.0 + longest * LEGEND_LETTER + 8.0;
    let columns = (WIDTH / column).floor().max(1.0);
    let (mut x, mut y) = (4.0, top + 16.0);
    let mut drawn = Vec::new();
    for (lines, look, kind) in entries {
        if x + column > 4.0 + columns * column + 1.0 {
            (x, y) = (4.0, y + 17.0);
        }
        let class = format!("{} {}", look.map_or_else(|| "key".to_owned(), Look::class), kind_class(kind));
        drawn.push(html! {
            g class=(class) {
                @if shape == Shape::Bars {
                    rect class="bar" x=(x + 4.0) y=(y - 9.0) width="16" height="9" {}
                } @else {
                    @if shape == Shape::Lines {
                        path class="line" d=(path(&[(x, y - 4.0), (x + 24.0, y - 4.0)])) {}
                    }
                    @if let Some(look) = look { path class="mark" d=(look.marker(x + 12.0, y - 4.0)) {} }
                    @else if shape == Shape::Scatter { circle class="mark" cx=(x + 12.0) cy=(y - 4.0) r="3.2" {} }
                }
                text x=(x + 29.0) y=(y) {
                    @for (index, line) in lines.iter().enumerate() {
                        tspan x=(x + 29.0) dy=[(index > 0).then_some(LEGEND_LINE)] { (line) }
                    }
                }
            }
        });
        x += column;
        // A name of several lines is as wide as the picture, and so alone in its row.
        #[expect(clippy::cast_precision_loss, reason = "lines are few")]
        let more = LEGEND_LINE * lines.len().saturating_sub(1) as f64;
        y += more;
    }
    (html! { g class="legend" { @for entry in drawn { (entry) } } }, y + 8.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::samples;

    /// The numbers in an attribute of all elements, as the places of a path.
    fn paths(drawn: &str, class: &str) -> Vec<String> {
        let start = format!("<path class=\"{class}\" d=\"");
        drawn.split(&start).skip(1).filter_map(|rest| Some(rest.split('"').next()?.to_owned())).collect()
    }

    #[test]
    fn lines_go_through_their_points() {
        let drawn = inline(&samples::panel(), "x", false).into_string();
        let lines = paths(&drawn, "line");
        // Two series, and their two entries in the legend; the one without points is not drawn.
        assert_eq!(lines.len(), 4, "{drawn}");
        assert!(lines.iter().any(|line| line.matches('L').count() == 2), "{lines:?}");
        assert!(drawn.contains("CutMix, ours: not run."), "{drawn}");
        assert!(drawn.contains("AdAutoMix, paper: from 82 at 0 to 52 at 2."), "{drawn}");
        assert!(drawn.contains("<title>AdAutoMix: 71.5 at 1</title>"), "{drawn}");
    }

    #[test]
    fn nothing_lies_outside_of_the_picture() {
        let mut panel = samples::panel();
        for shape in [Shape::Lines, Shape::Scatter, Shape::Bars] {
            for places in
                [Vec::new(), vec!["after one epoch".to_owned(), "two".to_owned(), "at the end".to_owned()]]
            {
                (panel.shape, panel.places) = (shape, places);
                let drawn = inline(&panel, "x", true).into_string();
                let height: f64 = drawn
                    .split("viewBox=\"0 0 360 ")
                    .nth(1)
                    .unwrap()
                    .split('"')
                    .next()
                    .unwrap()
                    .parse()
                    .unwrap();
                for path in drawn.split(" d=\"M").skip(1).filter_map(|rest| rest.split('"').next()) {
                    let (x, y) = path.split(['L', 'a', 'h', 'Z']).next().unwrap().split_once(',').unwrap();
                    let (x, y): (f64, f64) = (x.parse().unwrap(), y.parse().unwrap());
                    assert!((0.0..=WIDTH).contains(&x) && (0.0..=height).contains(&y), "{path} of {height}");
                }
            }
        }
    }

    #[test]
    fn long_names_are_wrapped() {
        let name = "AdAutoMix with many keys that are set, and one-of-them-is-longer-than-a-whole-line-of-a-legend-can-be";
        let lines = wrap(name);
        assert!(lines.len() > 2 && lines.iter().all(|line| line.chars().count() <= 50), "{lines:?}");
        assert_eq!(lines.concat().replace(' ', ""), name.replace(' ', ""));
        assert_eq!(wrap("MixUp"), ["MixUp"]);
    }

    #[test]
    fn a_file_of_its_own_has_its_style_and_is_escaped() {
        let file = file(&samples::panel(), true);
        assert!(file.starts_with("<?xml") && file.contains("<style>") && file.contains("--c0:"));
        assert!(file.contains("Under &lt;occlusion&gt;") && file.contains("ours (reduced run)"));
    }
}
