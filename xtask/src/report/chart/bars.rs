//! Horizontal bars from zero, a group for each place.

use maud::{Markup, html};

use super::{LETTER, Look, Scale, WIDTH, kind_class, path, short};
use crate::artefact::{Panel, Series};

const BAR: f64 = 9.0;
const GAP: f64 = 8.0;

/// The diagram without its legend, and where it ends.
pub(super) fn draw(panel: &Panel, shown: &[(&Series, Look)]) -> (Markup, f64) {
    let values = || shown.iter().flat_map(|(series, _)| series.points.iter().map(|point| point.y));
    let scale = Scale::over(values().chain([0.0]), 5.0);
    #[expect(clippy::cast_precision_loss, reason = "names are short, series and places few")]
    let (longest, group, count) = (
        panel.places.iter().map(|place| place.chars().count()).max().unwrap_or(0) as f64,
        shown.len().max(1) as f64 * (BAR + 1.0) + GAP,
        panel.places.len() as f64,
    );
    let left = (10.0 + longest * LETTER).min(150.0);
    // The value stands behind its bar.
    let right = WIDTH - 40.0;
    let first = if panel.x_label.is_empty() { 6.0 } else { 26.0 };
    let across = |value: f64| left + scale.place(value) * (right - left);
    let bottom = first + count * group;
    let behind = |value: f64| short(value).rsplit_once('.').map_or(0, |(_, digits)| digits.len());
    let decimals = values().map(behind).max().unwrap_or(0).min(2);
    let drawn = html! {
        @if !panel.x_label.is_empty() { text class="label" x="2" y="12" { (panel.x_label) } }
        g class="grid" {
            @for &tick in &scale.ticks { path d=(path(&[(across(tick), first - 4.0), (across(tick), bottom)])) {} }
        }
        g class="axis" {
            @for &tick in &scale.ticks {
                text x=(format!("{:.1}", across(tick))) y=(format!("{:.1}", bottom + 13.0)) text-anchor="middle" {
                    (scale.label(tick))
                }
            }
            @for (index, place) in (0_u32..).zip(&panel.places) {
                text x=(format!("{:.1}", left - 6.0)) text-anchor="end"
                    y=(format!("{:.1}", first + (f64::from(index) + 0.5) * group - GAP / 2.0 + 3.8)) { (place) }
            }
        }
        text class="label" x=(format!("{:.1}", f64::midpoint(left, right))) y=(format!("{:.1}", bottom + 28.0))
            text-anchor="middle" { (panel.y_label) }
        @for (row, (series, look)) in (0_u32..).zip(shown) {
            g class=(format!("{} {}", look.class(), kind_class(series.whose))) {
                @for point in &series.points {
                    @let top = first + point.x * group + f64::from(row) * (BAR + 1.0);
                    @let (start, end) = (across(0.0).min(across(point.y)), across(0.0).max(across(point.y)));
                    rect class="bar" x=(format!("{start:.1}")) y=(format!("{top:.1}"))
                        width=(format!("{:.1}", end - start)) height=(BAR) {}
                    text class="value" x=(format!("{:.1}", end + 4.0)) y=(format!("{:.1}", top + 8.0)) { (format!("{:.decimals$}", point.y)) }
                }
            }
        }
    };
    (drawn, bottom + 32.0)
}
