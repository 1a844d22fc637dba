//! Layer normalisation of rows.

use crate::reduce::{add_scaled, dot, fold, squared_distance, sum, vectorised};
use rayon::prelude::*;

/// Rows that one task takes; also how the sums over rows are grouped.
const ROWS: usize = 64;

/// Mean and inverse deviation of a row; two passes, as the difference of the mean square and the squared mean has no
/// digits left when the mean is large.
#[inline(always)]
fn moments(row: &[f32], eps: f32) -> (f32, f32) {
    let count = row.len() as f32;
    let mean = sum(row) / count;
    // The mean is itself rounded: what that leaves of it in the differences is taken out of the variance.
    let rest = fold(row, |x| x - mean) / count;
    let variance = (squared_distance(row, mean) / count - rest * rest).max(0.0);
    (mean + rest, (variance + eps).sqrt().recip())
}

/// `y = (x - mean) / sqrt(variance + eps) * weight + bias` for each row of `weight.len()` elements, with the biased
/// variance.
pub fn forward(x: &[f32], weight: &[f32], bias: &[f32], eps: f32, y: &mut [f32]) {
    let width = weight.len();
    debug_assert!(bias.len() == width && x.len() == y.len() && x.len().is_multiple_of(width));
    y.par_chunks_mut(ROWS * width).zip(x.par_chunks(ROWS * width)).for_each(|(y, x)| {
        vectorised(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_mut(width).zip(x.chunks(width)) {
                    let (mean, inverse) = moments(x, eps);
                    for (((y, x), weight), bias) in y.iter_mut().zip(x).zip(weight).zip(bias) {
                        *y = (x - mean) * inverse * weight + bias;
                    }
                }
            },
        );
    });
}

/// The gradient of [`forward`] with respect to the input; `dx` is overwritten.
pub fn backward_input(x: &[f32], weight: &[f32], eps: f32, dy: &[f32], dx: &mut [f32]) {
    let width = weight.len();
    let rows =
        dx.par_chunks_mut(ROWS * width).zip(x.par_chunks(ROWS * width)).zip(dy.par_chunks(ROWS * width));
    rows.for_each_init(
        || (vec![0.0; width], vec![0.0; width]),
        |(normal, scaled), ((dx, x), dy)| {
            vectorised(
                #[inline(always)]
                || {
                    for ((dx, x), dy) in dx.chunks_mut(width).zip(x.chunks(width)).zip(dy.chunks(width)) {
                        let (mean, inverse) = moments(x, eps);
                        for (normal, x) in normal.iter_mut().zip(x) {
                            *normal = (x - mean) * inverse;
                        }
                        for ((scaled, dy), weight) in scaled.iter_mut().zip(dy).zip(weight) {
                            *scaled = dy * weight;
                        }
                        let average = sum(scaled) / width as f32;
                        let slope = dot(scaled, normal) / width as f32;
                        for ((dx, scaled), normal) in dx.iter_mut().zip(scaled.iter()).zip(normal.iter()) {
                            *dx = inverse * (scaled - average - slope * normal);
                        }
                    }
                },
            );
        },
    );
}

/// The gradients of [`forward`] with respect to `weight` and `bias`.
pub fn backward_parameters(x: &[f32], width: usize, eps: f32, dy: &[f32]) -> (Vec<f32>, Vec<f32>) {
    let parts: Vec<(Vec<f32>, Vec<f32>)> = x
        .par_chunks(ROWS * width)
        .zip(dy.par_chunks(ROWS * width))
        .map(|(x, dy)| {
            let (mut dweight, mut dbias) = (vec![0.0; width], vec![0.0; width]);
            vectorised(
                #[inline(always)]
                || {
                    for (x, dy) in x.chunks(width).zip(dy.chunks(width)) {
                        let (mean, inverse) = moments(x, eps);
                        add_scaled(&mut dbias, 1.0, dy);
                        for ((dweight, x), dy) in dweight.iter_mut().zip(x).zip(dy) {
                            *dweight += dy * (x - mean) * inverse;
                        }
                    }
                },
            );
            (dweight, dbias)
        })
        .collect();
    let (mut dweight, mut dbias) = (vec![0.0; width], vec![0.0; width]);
    for (weight, bias) in &parts {
        add_scaled(&mut dweight, 1.0, weight);
        add_scaled(&mut dbias, 1.0, bias);
    }
    (dweight, dbias)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mean_far_above_the_deviation_costs_no_digits() {
        let x: Vec<f32> = (0..48).map(|i| 4096.0 + [0.0, 0.25, -0.25][i % 3]).collect();
        let mut y = vec![0.0; 48];
        forward(&x, &[1.0; 48], &[0.0; 48], 0.0, &mut y);
        for (i, y) in y.iter().enumerate() {
            assert!((y - [0.0, 1.5f32.sqrt(), -(1.5f32.sqrt())][i % 3]).abs() < 1e-5, "{y}");
        }
    }
}
