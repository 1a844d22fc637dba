//! The same diagrams for LaTeX, as axes of pgfplots.

use std::fmt::Write;

use super::{looks_of, whose};
use crate::artefact::{Panel, Shape, Whose};
use crate::report::latex::escape;

/// The colours of `chart.css` on white.
const COLOURS: [&str; 7] = ["c94f00", "0068a8", "2b2b2b", "007f5c", "b0538a", "a87400", "2b86c0"];

/// The definitions of the colours, for the preamble.
pub(crate) fn colours() -> String {
    (0..)
        .zip(COLOURS)
        .map(|(index, colour): (u32, _)| {
            format!("\\definecolor{{look{index}}}{{HTML}}{{{}}}\n", colour.to_uppercase())
        })
        .collect()
}

/// A diagram.
pub(crate) fn axis(panel: &Panel, reduced: bool) -> String {
    let bars = panel.shape == Shape::Bars;
    let (across, up) = if bars { (&panel.y_label, &panel.x_label) } else { (&panel.x_label, &panel.y_label) };
    let rows = panel.places.len() * panel.series.len();
    // Centimetres; a bar has its three millimetres.
    #[expect(clippy::cast_precision_loss, reason = "places are few")]
    let height = if bars { 2.5 + 0.3 * rows as f64 } else { 5.6 };
    let mut text = format!(
        "\\begin{{tikzpicture}}\n\\begin{{axis}}[width=0.6\\linewidth, height={height}cm, title={{{}}}, xlabel={{{}}}, ylabel={{{}}},\n\
         legend style={{font=\\scriptsize, draw=none, at={{(1.03,1)}}, anchor=north west, cells={{anchor=west}}}}",
        escape(&panel.title),
        escape(across),
        escape(up)
    );
    if !panel.places.is_empty() {
        let places: Vec<String> = panel.places.iter().map(|place| format!("{{{}}}", escape(place))).collect();
        let ticks: Vec<String> = (0..places.len()).map(|index| index.to_string()).collect();
        let (axis, style) =
            if bars { ("y", "") } else { ("x", ", x tick label style={rotate=35, anchor=east}") };
        let _ = write!(
            text,
            ",\n{axis}tick={{{}}}, {axis}ticklabels={{{}}}{style}",
            ticks.join(","),
            places.join(",")
        );
    }
    if bars {
        text.push_str(",\nxbar, bar width=4pt, xmin=0, y dir=reverse, nodes near coords, every node near coord/.append style={font=\\tiny}");
    }
    text.push_str("]\n");
    for (series, look) in looks_of(panel).into_iter().filter(|(series, _)| !series.points.is_empty()) {
        let ours = series.whose == Whose::Ours;
        let (colour, mark) = (format!("look{}", look.colour()), look.pgf_mark());
        let style = match (panel.shape, ours) {
            (Shape::Bars, true) => format!("{colour}, fill={colour}"),
            (Shape::Bars, false) => format!("{colour}, fill=white, dashed"),
            (Shape::Scatter, _) => format!("{colour}, only marks, mark={mark}"),
            (Shape::Lines, _) => {
                let (dash, every) = (if ours { "solid" } else { "dashed" }, series.points.len().div_ceil(8));
                format!("{colour}, {dash}, mark={mark}, mark repeat={every}")
            }
        };
        let style =
            if ours || panel.shape == Shape::Bars { style } else { format!("{style}, fill opacity=0.25") };
        let _ = write!(text, "\\addplot+[{style}, mark size=1.6pt] coordinates {{");
        for point in &series.points {
            let (x, y) = if bars { (point.y, point.x) } else { (point.x, point.y) };
            let _ = write!(text, "({x},{y})");
        }
        let name = format!("{}, {}", series.name, whose(series.whose, reduced));
        let _ = writeln!(text, "}};\n\\addlegendentry{{{}}}", escape(&name));
    }
    text.push_str("\\end{axis}\n\\end{tikzpicture}\n");
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::{chart, samples};

    #[test]
    fn every_series_with_points_is_drawn_and_named() {
        let text = axis(&samples::panel(), true);
        assert_eq!(text.matches("\\addplot").count(), 2, "{text}");
        assert!(text.contains("(0,80)(1,70)(2,50)"), "{text}");
        assert!(text.contains("\\addlegendentry{AdAutoMix, ours (reduced run)}"), "{text}");
        assert!(text.contains("title={Under $<$occlusion$>$}"), "{text}");
    }

    #[test]
    fn the_colours_are_those_of_the_page() {
        for (index, colour) in COLOURS.iter().enumerate() {
            assert!(chart::STYLE.contains(&format!("--c{index}: #{colour};")), "{colour}");
        }
    }
}
