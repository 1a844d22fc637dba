//! ReLU and GELU, element by element.

use crate::reduce::{exp, vectorised};
use rayon::prelude::*;

/// Elements that one task takes.
const CHUNK: usize = 1 << 14;

/// `y = f(x)` for every element.
fn map(x: &[f32], y: &mut [f32], f: impl Fn(f32) -> f32 + Sync) {
    debug_assert_eq!(x.len(), y.len());
    y.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).for_each(|(y, x)| {
        vectorised(
            #[inline(always)]
            || {
                for (y, &x) in y.iter_mut().zip(x) {
                    *y = f(x);
                }
            },
        );
    });
}

/// `dx = f(x, dy)` for every element.
fn map2(x: &[f32], dy: &[f32], dx: &mut [f32], f: impl Fn(f32, f32) -> f32 + Sync) {
    debug_assert!(x.len() == dy.len() && x.len() == dx.len());
    dx.par_chunks_mut(CHUNK).zip(x.par_chunks(CHUNK)).zip(dy.par_chunks(CHUNK)).for_each(|((dx, x), dy)| {
        vectorised(
            #[inline(always)]
            || {
                for ((dx, &x), &dy) in dx.iter_mut().zip(x).zip(dy) {
                    *dx = f(x, dy);
                }
            },
        );
    });
}

/// `max(x, 0)`; a NaN stays one.
pub fn relu_forward(x: &[f32], y: &mut [f32]) {
    map(x, y, |x| if x < 0.0 { 0.0 } else { x });
}

/// The gradient of [`relu_forward`] from its result `y`; 0 where the result is 0.
pub fn relu_backward(y: &[f32], dy: &[f32], dx: &mut [f32]) {
    map2(y, dy, dx, |y, dy| if y > 0.0 { dy } else { 0.0 });
}

/// `x Φ(x)` with the normal distribution function `Φ`, by the error function to 1e-7 (no tanh approximation).
pub fn gelu_forward(x: &[f32], y: &mut [f32]) {
    map(x, y, |x| x * normal_cdf(x).0);
}

/// The gradient of [`gelu_forward`]: `Φ(x) + x φ(x)` times that of the result.
pub fn gelu_backward(x: &[f32], dy: &[f32], dx: &mut [f32]) {
    const INV_SQRT_TAU: f32 = 0.398_942_3;
    map2(x, dy, dx, |x, dy| {
        let (cdf, bell) = normal_cdf(x);
        dy * (cdf + x * bell * INV_SQRT_TAU)
    });
}

/// `Φ(x)` and `exp(-x²/2)`.
///
/// `erfc(z) exp(z²)` is smooth in `t = 1 / (1 + 0.62 z)`, `z = |x| / √2`; the polynomial interpolates it at the Chebyshev
/// nodes of `0 <= z <= 3.5`, and errs by less than 2e-8 after the multiplication with `exp(-z²)`, everywhere.
#[inline(always)]
fn normal_cdf(x: f32) -> (f32, f32) {
    let z = x.abs() * std::f32::consts::FRAC_1_SQRT_2;
    let t = 1.0 / (1.0 + 0.62 * z);
    let p = -0.075_573_71;
    let p = p * t + 0.452_553_27;
    let p = p * t - 1.047_24;
    let p = p * t + 0.987_385_33;
    let p = p * t - 0.110_266;
    let p = p * t + 0.459_090_27;
    let p = p * t + 0.332_937_94;
    let p = p * t + 0.001_112_885_7;
    let bell = exp(-z * z);
    let tail = 0.5 * p * bell;
    (if x < 0.0 { tail } else { 1.0 - tail }, bell)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_normal_distribution_is_right_to_single_precision() {
        // Φ from a power series in f64: 1/2 + φ(x) (x + x³/3 + x⁵/15 + …).
        for i in -600..=600 {
            let x = f64::from(i as f32 * 0.01);
            let (mut term, mut sum, mut k) = (x, x, 1.0);
            while term.abs() > 1e-17 {
                k += 2.0;
                term *= x * x / k;
                sum += term;
            }
            let want = 0.5 + sum * (-x * x / 2.0).exp() / std::f64::consts::TAU.sqrt();
            let got = f64::from(normal_cdf(x as f32).0);
            assert!((got - want).abs() < 1.2e-7, "Φ({x}) = {got}, not {want}");
        }
    }

    #[test]
    fn relu_keeps_nan_and_has_no_slope_at_zero() {
        let (mut y, mut dx) = ([9.0; 4], [9.0; 4]);
        relu_forward(&[-1.0, 0.0, 2.0, f32::NAN], &mut y);
        assert_eq!(y[..3], [0.0, 0.0, 2.0]);
        assert!(y[3].is_nan());
        relu_backward(&y, &[5.0; 4], &mut dx);
        assert_eq!(dx[..3], [0.0, 0.0, 5.0]);
    }
}
