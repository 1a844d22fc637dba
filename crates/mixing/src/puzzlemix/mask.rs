//! Which block shows how much of which picture: PuzzleMix's mask objective as integer costs, and the labels that are
//! cheapest.

use super::unary::Terms;
use crate::Result;
use crate::swap::{Problem, Solver, integer};

/// The costs of a labelling with `L` labels, as integers. Label 0 keeps the sample, `L - 1` takes the partner.
#[derive(Clone, Debug)]
pub struct Costs {
    /// Of each label, `[B, B, L]`.
    pub unary: Vec<i64>,
    /// Weights of the edges downwards, `[B - 1, B]`.
    pub down: Vec<i64>,
    /// Weights of the edges to the right, `[B, B - 1]`.
    pub right: Vec<i64>,
}

/// What a labelling of `blocks` blocks a side costs. `lambda` is the share that the sample should keep: the logarithm of
/// each label's binomial probability counts `eta`. `smoothness` is what different neighbours cost in any case.
pub fn costs(terms: &Terms, lambda: f64, blocks: usize, labels: usize, smoothness: f64, eta: f64) -> Costs {
    let area = (blocks * blocks) as f64;
    let big = 1000.0 * area;
    let last = labels - 1;
    let prior: Vec<f64> = (0..labels)
        .map(|label| {
            let ways = (0..label).fold(1.0, |ways, i| ways * (last - i) as f64 / (i + 1) as f64);
            let share = ways * lambda.powi((last - label) as i32) * (1.0 - lambda).powi(label as i32);
            -eta * (share + 1e-8).ln() / area
        })
        .collect();
    let unary = terms.unary1.iter().zip(&terms.unary2).flat_map(|(&lost, &kept)| {
        let prior = &prior;
        (0..labels).map(move |label| {
            let taken = label as f64 / last as f64;
            integer(big * ((1.0 - taken) * f64::from(kept) + taken * f64::from(lost) + prior[label]))
        })
    });
    // Colours from 0 to 1 never make an edge negative; others must not break the cut.
    let edge = |&pair: &f32| integer(f64::from(big as f32 * (pair + smoothness as f32))).max(0);
    Costs {
        unary: unary.collect(),
        down: terms.down.iter().map(edge).collect(),
        right: terms.right.iter().map(edge).collect(),
    }
}

/// `100 (l - l')² / (L - 1)²`, truncated: what labels of neighbours cost. `[L, L]`.
pub fn distances(labels: usize) -> Vec<i64> {
    let last = (labels - 1) as i64;
    let entry = |pair: usize| {
        let apart = (pair / labels) as i64 - (pair % labels) as i64;
        100 * apart * apart / (last * last)
    };
    (0..labels * labels).map(entry).collect()
}

/// The labels `[B, B]` that alpha-beta swaps find, and their energy.
///
/// # Errors
/// If the costs don't fit `blocks`.
pub fn cut(
    solver: &mut Solver,
    costs: &Costs,
    blocks: usize,
    labels: usize,
    table: &[i64],
) -> Result<(Vec<usize>, i64)> {
    let scaled = |costs: &[i64], scale: i64| -> Vec<i64> { costs.iter().map(|cost| cost * scale).collect() };
    // What published code's solver makes of costs and weights. Both are multiples of 1000, but not of 100 000.
    let unary = scaled(&costs.unary, 100_000);
    let (down, right) = (scaled(&costs.down, 1000), scaled(&costs.right, 1000));
    let problem = Problem::new([blocks; 2], labels, &unary, [&down, &right], table)?;
    Ok(solver.solve(&problem))
}

/// How much of the sample each block shows, from its label: 1 for label 0, 0 for the last. `[B, B]`.
pub fn shown(found: &[usize], labels: usize) -> Vec<f32> {
    found.iter().map(|&label| 1.0 - label as f32 / (labels - 1) as f32).collect()
}
