//! In-place updates of parameters: stochastic gradient descent, AdamW, moving averages, the norm of a gradient.

use rayon::prelude::*;

use crate::reduce::{dot, vectorised};

/// Elements per task; also the unit in which norms are summed, so it is fixed.
const CHUNK: usize = 1 << 14;

/// One step of stochastic gradient descent.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sgd {
    /// Learning rate.
    pub lr: f32,
    /// Momentum of the velocity; 0 is plain descent.
    pub momentum: f32,
    /// Whether the step looks ahead (Nesterov).
    pub nesterov: bool,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f32,
    /// Whether this is the parameter's first step: the velocity then starts as the gradient, as in PyTorch.
    pub first: bool,
}

impl Sgd {
    /// `g = grad + decay · p`; `v = momentum · v + g`; `p -= lr · v` (or `lr · (g + momentum · v)` with Nesterov).
    ///
    /// # Panics
    /// If the buffers differ in length.
    pub fn update(self, parameter: &mut [f32], velocity: &mut [f32], grad: &[f32]) {
        assert_eq!((parameter.len(), velocity.len()), (grad.len(), grad.len()));
        let parts =
            parameter.par_chunks_mut(CHUNK).zip(velocity.par_chunks_mut(CHUNK)).zip(grad.par_chunks(CHUNK));
        parts.for_each(|((parameter, velocity), grad)| {
            vectorised(
                #[inline(always)]
                || {
                    let keep = if self.first { 0.0 } else { self.momentum };
                    for ((p, v), g) in parameter.iter_mut().zip(velocity).zip(grad) {
                        let g = g + self.weight_decay * *p;
                        *v = keep * *v + g;
                        let step = if self.nesterov { g + self.momentum * *v } else { *v };
                        *p -= self.lr * step;
                    }
                },
            );
        });
    }
}

/// One step of AdamW (Loshchilov and Hutter, ICLR 2019): Adam with a weight decay of its own.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AdamW {
    /// Learning rate.
    pub lr: f64,
    /// Shares of the old mean and of the old mean square that are kept.
    pub betas: [f64; 2],
    /// Added to the root of the mean square.
    pub eps: f64,
    /// Share of a parameter, times the learning rate, that is taken off at each step.
    pub weight_decay: f64,
    /// The number of this step, from 1.
    pub step: usize,
}

impl AdamW {
    /// `p *= 1 - lr · decay`; `m = β₁ m + (1 - β₁) g`; `s = β₂ s + (1 - β₂) g²`;
    /// `p -= lr / (1 - β₁ᵗ) · m / (sqrt(s / (1 - β₂ᵗ)) + eps)`.
    ///
    /// # Panics
    /// If the buffers differ in length.
    pub fn update(self, parameter: &mut [f32], mean: &mut [f32], square: &mut [f32], grad: &[f32]) {
        assert_eq!([parameter.len(), mean.len(), square.len()], [grad.len(); 3]);
        let t = i32::try_from(self.step).unwrap_or(i32::MAX);
        let [keep_mean, keep_square] = self.betas.map(|beta| beta as f32);
        let [take_mean, take_square] = self.betas.map(|beta| (1.0 - beta) as f32);
        let [of_mean, of_square] = self.betas.map(|beta| 1.0 - beta.powi(t));
        let (shrink, rate) = ((1.0 - self.lr * self.weight_decay) as f32, (self.lr / of_mean) as f32);
        let (inverse, eps) = (of_square.sqrt().recip() as f32, self.eps as f32);
        let parts = parameter
            .par_chunks_mut(CHUNK)
            .zip(mean.par_chunks_mut(CHUNK))
            .zip(square.par_chunks_mut(CHUNK))
            .zip(grad.par_chunks(CHUNK));
        parts.for_each(|(((parameter, mean), square), grad)| {
            vectorised(
                #[inline(always)]
                || {
                    for (((p, m), s), g) in parameter.iter_mut().zip(mean).zip(square).zip(grad) {
                        *m = keep_mean * *m + take_mean * g;
                        *s = keep_square * *s + take_square * g * g;
                        *p = *p * shrink - rate * *m / (s.sqrt() * inverse + eps);
                    }
                },
            );
        });
    }
}

/// `average = momentum · average + (1 - momentum) · value`, the weights given so that neither is rounded twice.
///
/// # Panics
/// If the buffers differ in length.
pub fn moving_average(average: &mut [f32], value: &[f32], momentum: f64) {
    assert_eq!(average.len(), value.len());
    let (keep, take) = (momentum as f32, (1.0 - momentum) as f32);
    average.par_chunks_mut(CHUNK).zip(value.par_chunks(CHUNK)).for_each(|(average, value)| {
        vectorised(
            #[inline(always)]
            || average.iter_mut().zip(value).for_each(|(a, v)| *a = keep * *a + take * v),
        );
    });
}

/// `sum += value`
///
/// # Panics
/// If the buffers differ in length.
pub fn add(sum: &mut [f32], value: &[f32]) {
    assert_eq!(sum.len(), value.len());
    sum.par_chunks_mut(CHUNK).zip(value.par_chunks(CHUNK)).for_each(|(sum, value)| {
        vectorised(
            #[inline(always)]
            || sum.iter_mut().zip(value).for_each(|(s, v)| *s += v),
        );
    });
}

/// `x *= factor`
pub fn scale(x: &mut [f32], factor: f32) {
    x.par_chunks_mut(CHUNK).for_each(|x| {
        vectorised(
            #[inline(always)]
            || x.iter_mut().for_each(|x| *x *= factor),
        );
    });
}

/// `Σ x²`, in a fixed order. It is not finite exactly if an element isn't, or if the sum overflows `f32` in a chunk.
pub fn squared_norm(x: &[f32]) -> f64 {
    let parts: Vec<f64> = x
        .par_chunks(CHUNK)
        .map(|x| {
            f64::from(vectorised(
                #[inline(always)]
                || dot(x, x),
            ))
        })
        .collect();
    parts.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_step_takes_the_gradient_as_velocity() {
        let mut sgd = Sgd { lr: 0.1, momentum: 0.9, nesterov: false, weight_decay: 0.5, first: true };
        let (mut p, mut v) = (vec![2.0f32], vec![f32::MAX]);
        sgd.update(&mut p, &mut v, &[1.0]);
        assert_eq!((p[0], v[0]), (1.8, 2.0));
        sgd.first = false;
        sgd.update(&mut p, &mut v, &[0.0]);
        assert!((v[0] - (1.8 + 0.9)).abs() < 1e-6 && (p[0] - (1.8 - 0.27)).abs() < 1e-6);
    }

    #[test]
    fn adamw_steps_by_the_rate_at_first_and_decays_apart() {
        let adamw = AdamW { lr: 0.1, betas: [0.9, 0.999], eps: 0.0, weight_decay: 0.5, step: 1 };
        let (mut p, mut m, mut s) = ([2.0f32, 2.0], [0.0; 2], [0.0; 2]);
        adamw.update(&mut p, &mut m, &mut s, &[3.0, -0.01]);
        // Whatever its size, the first gradient moves by the rate; the decay is no part of it.
        assert!((p[0] - (1.9 - 0.1)).abs() < 1e-5 && (p[1] - (1.9 + 0.1)).abs() < 1e-5, "{p:?}");
        assert!((m[0] - 0.3).abs() < 1e-6 && (s[0] - 0.009).abs() < 1e-6);
    }

    #[test]
    fn sums_do_not_depend_on_where_a_chunk_ends() {
        let x: Vec<f32> = (0..40_000).map(|i| (i % 7) as f32).collect();
        assert_eq!(squared_norm(&x), x.iter().map(|x| f64::from(x * x)).sum::<f64>());
        assert!(!squared_norm(&[1.0, f32::NAN]).is_finite());
    }
}
