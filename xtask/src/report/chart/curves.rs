//! Lines and points over two axes.

use maud::{Markup, html};

use super::{LETTER, Look, Scale, WIDTH, at, kind_class, path, short};
use crate::artefact::{Panel, Point, Series, Shape};

const TOP: f64 = 26.0;
const HEIGHT: f64 = 190.0;
const RIGHT: f64 = WIDTH - 15.0;

/// Markers of a line, when it has more points than are told apart.
const MARKERS: usize = 12;

/// Where the axes put a value.
struct Frame {
    left: f64,
    x: Scale,
    y: Scale,
}

impl Frame {
    fn of(panel: &Panel, shown: &[(&Series, Look)]) -> Self {
        let points = || shown.iter().flat_map(|(series, _)| &series.points);
        let ends = |point: &Point| {
            let sd = point.sd.unwrap_or(0.0);
            [point.y - sd, point.y + sd]
        };
        let x = if panel.places.is_empty() {
            x_scale(points().map(|point| point.x))
        } else {
            Scale::of_places(panel.places.len())
        };
        let y = Scale::over(points().flat_map(ends), 5.0);
        let longest = y.ticks.iter().map(|&tick| y.label(tick).chars().count()).max().unwrap_or(0);
        #[expect(clippy::cast_precision_loss, reason = "a label is short")]
        let left = 10.0 + longest as f64 * LETTER;
        Self { left, x, y }
    }

    fn place(&self, point: &Point) -> (f64, f64) {
        (self.across(point.x), self.up(point.y))
    }

    fn across(&self, x: f64) -> f64 {
        self.left + self.x.place(x) * (RIGHT - self.left)
    }

    fn up(&self, y: f64) -> f64 {
        TOP + (1.0 - self.y.place(y)) * HEIGHT
    }
}

/// The range of the x-axis; from zero where there is but one place on it.
fn x_scale(values: impl Iterator<Item = f64> + Clone) -> Scale {
    let first = values.clone().next().unwrap_or(0.0);
    let is_one = values.clone().all(|value| (value - first).abs() < f64::EPSILON);
    Scale::over(values.chain(is_one.then_some([0.0, 2.0 * first]).into_iter().flatten()), 5.0)
}

/// The diagram without its legend, and where it ends.
pub(super) fn draw(panel: &Panel, shown: &[(&Series, Look)]) -> (Markup, f64) {
    let frame = Frame::of(panel, shown);
    let (labels, bottom) = x_labels(panel, &frame);
    let drawn = html! {
        text class="label" x="2" y="12" { (panel.y_label) }
        g class="grid" {
            @for &tick in &frame.y.ticks {
                path d=(path(&[(frame.left, frame.up(tick)), (RIGHT, frame.up(tick))])) {}
            }
        }
        g class="axis" {
            @for &tick in &frame.y.ticks {
                text x=(format!("{:.1}", frame.left - 5.0)) y=(format!("{:.1}", frame.up(tick) + 3.8)) text-anchor="end" {
                    (frame.y.label(tick))
                }
            }
            path d=(path(&[(frame.left, TOP + HEIGHT), (RIGHT, TOP + HEIGHT)])) {}
            (labels)
        }
        text class="label" x=(format!("{:.1}", f64::midpoint(frame.left, RIGHT))) y=(format!("{:.1}", bottom + 14.0))
            text-anchor="middle" { (panel.x_label) }
        // What is published lies below what is ours.
        @for (series, look) in shown.iter().rev() { (draw_series(panel, &frame, series, *look)) }
    };
    (drawn, bottom + 18.0)
}

/// The labels of the x-axis: its ticks, or the names of its places, slanted where they would touch. Returns where they end.
fn x_labels(panel: &Panel, frame: &Frame) -> (Markup, f64) {
    let base = TOP + HEIGHT;
    if panel.places.is_empty() {
        let drawn = html! {
            @for &tick in &frame.x.ticks {
                path d=(path(&[(frame.across(tick), base), (frame.across(tick), base + 4.0)])) {}
                text x=(format!("{:.1}", frame.across(tick))) y=(base + 15.0) text-anchor="middle" { (frame.x.label(tick)) }
            }
        };
        return (drawn, base + 18.0);
    }
    #[expect(clippy::cast_precision_loss, reason = "places are few and their names short")]
    let (room, longest) = (
        (RIGHT - frame.left) / panel.places.len() as f64,
        panel.places.iter().map(|place| place.chars().count()).max().unwrap_or(0) as f64 * LETTER,
    );
    let slanted = longest + 4.0 > room;
    let drawn = html! {
        @for (x, place) in (0_u32..).zip(&panel.places) {
            @let across = frame.across(f64::from(x));
            @if slanted {
                text transform=(format!("translate({across:.1} {:.1}) rotate(-35)", base + 12.0)) text-anchor="end" { (place) }
            } @else {
                text x=(format!("{across:.1}")) y=(base + 15.0) text-anchor="middle" { (place) }
            }
        }
    };
    // The sine of 35 degrees is 0.57.
    (drawn, base + if slanted { 14.0 + longest * 0.57 } else { 18.0 })
}

fn draw_series(panel: &Panel, frame: &Frame, series: &Series, look: Look) -> Markup {
    let places: Vec<_> = series.points.iter().map(|point| frame.place(point)).collect();
    // In the middle of each stretch, so that lines that end at one epoch don't have their markers on one another.
    let stretch = if panel.shape == Shape::Lines { series.points.len().div_ceil(MARKERS) } else { 1 };
    let offset = if stretch == 1 { 0 } else { (look.colour() * stretch / 7).min(stretch - 1) };
    html! {
        g class=(format!("{} {}", look.class(), kind_class(series.whose))) {
            @if panel.shape == Shape::Lines { path class="line" d=(path(&places)) {} }
            @for (point, &(x, y)) in series.points.iter().zip(&places) {
                @if let Some(sd) = point.sd.filter(|sd| *sd > 0.0) {
                    @let (low, high) = (frame.up(point.y - sd), frame.up(point.y + sd));
                    path class="error" d=(format!(
                        "M{x:.1},{low:.1}L{x:.1},{high:.1}M{:.1},{low:.1}h6M{:.1},{high:.1}h6", x - 3.0, x - 3.0
                    )) {}
                }
                @let _ = y;
            }
            @for (point, &(x, y)) in series.points.iter().zip(&places).skip(offset).step_by(stretch) {
                path class="mark" d=(look.marker(x, y)) {
                    title { (series.name) ": " (short(point.y)) " at " (at(panel, point.x)) }
                }
            }
        }
    }
}
