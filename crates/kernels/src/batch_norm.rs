//! Batch normalisation over NCHW pictures, with what follows it in a residual network: nothing, a ReLU, or a shortcut
//! and a ReLU.
//!
//! One task computes one channel, whose values fit the cache between the passes over them: the mean, the variance around
//! it (two passes: `E[x²] - E[x]²` loses all digits when the mean is large), and the result.

use rayon::prelude::*;

use crate::reduce::{squared_distance, sum, vectorised};
use crate::slots::Slots;

/// The sizes of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BatchNorm {
    /// Pictures.
    pub batch: usize,
    /// Channels.
    pub channels: usize,
    /// Pixels of a picture.
    pub pixels: usize,
}

/// What is done to the normalised values.
#[derive(Clone, Copy, Debug)]
pub enum Epilogue<'a> {
    /// Nothing.
    None,
    /// `max(y, 0)`
    Relu,
    /// `max(y + residual, 0)`
    AddRelu(&'a [f32]),
}

/// The gradients that [`BatchNorm::backward`] writes; what is `None` is not computed.
#[derive(Debug, Default)]
pub struct Gradients<'a> {
    /// By the input, `[batch, channels, pixels]`.
    pub input: Option<&'a mut [f32]>,
    /// By the residual, shaped like the input; only with a shortcut.
    pub residual: Option<&'a mut [f32]>,
}

/// Mean and inverse deviation of a channel, as they were used.
#[derive(Clone, Copy, Debug)]
pub struct Normaliser<'a> {
    /// `[channels]`
    pub mean: &'a [f32],
    /// `1 / sqrt(variance + eps)`, `[channels]`
    pub inverse: &'a [f32],
}

impl BatchNorm {
    /// Elements of the input.
    pub fn len(&self) -> usize {
        self.batch * self.channels * self.pixels
    }

    /// Whether there is nothing to normalise.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn plane(&self, picture: usize, channel: usize) -> std::ops::Range<usize> {
        let start = (picture * self.channels + channel) * self.pixels;
        start..start + self.pixels
    }

    /// Mean and biased variance of each channel.
    ///
    /// # Panics
    /// If a buffer has the wrong length.
    pub fn moments(&self, x: &[f32], mean: &mut [f32], variance: &mut [f32]) {
        assert_eq!((x.len(), mean.len(), variance.len()), (self.len(), self.channels, self.channels));
        let count = (self.batch * self.pixels) as f64;
        mean.par_iter_mut().zip(variance).enumerate().for_each(|(channel, (mean, variance))| {
            vectorised(
                #[inline(always)]
                || {
                    let total: f64 =
                        (0..self.batch).map(|b| f64::from(sum(&x[self.plane(b, channel)]))).sum();
                    *mean = (total / count) as f32;
                    let spread: f64 = (0..self.batch)
                        .map(|b| f64::from(squared_distance(&x[self.plane(b, channel)], *mean)))
                        .sum();
                    *variance = (spread / count) as f32;
                },
            );
        });
    }

    /// `y = (x - mean) · inverse · weight + bias`, then the epilogue.
    ///
    /// # Panics
    /// If a buffer has the wrong length.
    pub fn forward(
        &self,
        x: &[f32],
        by: Normaliser<'_>,
        weight: &[f32],
        bias: &[f32],
        epilogue: Epilogue<'_>,
        y: &mut [f32],
    ) {
        assert_eq!((x.len(), y.len()), (self.len(), self.len()));
        assert_eq!((by.mean.len(), by.inverse.len()), (self.channels, self.channels));
        y.par_chunks_mut(self.pixels).zip(x.par_chunks(self.pixels)).enumerate().with_min_len(16).for_each(
            |(plane, (y, x))| {
                let channel = plane % self.channels;
                let (mean, scale, bias) =
                    (by.mean[channel], by.inverse[channel] * weight[channel], bias[channel]);
                vectorised(
                    #[inline(always)]
                    || match epilogue {
                        Epilogue::None => {
                            y.iter_mut().zip(x).for_each(|(y, x)| *y = (x - mean) * scale + bias);
                        }
                        Epilogue::Relu => {
                            y.iter_mut().zip(x).for_each(|(y, x)| *y = positive((x - mean) * scale + bias));
                        }
                        Epilogue::AddRelu(residual) => {
                            let residual = &residual[plane * self.pixels..][..self.pixels];
                            y.iter_mut()
                                .zip(x)
                                .zip(residual)
                                .for_each(|((y, x), r)| *y = positive((x - mean) * scale + bias + r));
                        }
                    },
                );
            },
        );
    }

    /// The gradients, from that of the result. `y` is the result where a ReLU followed (it knows where the slope is 0);
    /// `training` says whether mean and deviation came from this batch, and so depend on the input.
    ///
    /// # Panics
    /// If a buffer has the wrong length.
    pub fn backward(
        &self,
        grad: &[f32],
        x: &[f32],
        y: Option<&[f32]>,
        by: Normaliser<'_>,
        weight: &[f32],
        training: bool,
        by_weight: &mut [f32],
        by_bias: &mut [f32],
        gradients: Gradients<'_>,
    ) {
        assert_eq!((grad.len(), x.len()), (self.len(), self.len()));
        assert_eq!((by_weight.len(), by_bias.len()), (self.channels, self.channels));
        assert!(y.is_none_or(|y| y.len() == self.len()));
        let (input, residual) = (gradients.input.map(Slots::new), gradients.residual.map(Slots::new));
        let count = (self.batch * self.pixels) as f64;
        by_weight.par_iter_mut().zip(by_bias).enumerate().for_each(|(channel, (by_weight, by_bias))| {
            let (mean, inverse) = (by.mean[channel], by.inverse[channel]);
            // Past the ReLU; kept only where the shortcut wants it, and computed twice elsewhere.
            let (mut total, mut aligned) = (0.0, 0.0);
            for plane in (0..self.batch).map(|b| self.plane(b, channel)) {
                let (grad, x, y) = (&grad[plane.clone()], &x[plane.clone()], y.map(|y| &y[plane.clone()]));
                let (sum, product) = vectorised(
                    #[inline(always)]
                    || sums(grad, x, y, mean),
                );
                total += f64::from(sum);
                aligned += f64::from(product);
                if let (Some(residual), Some(y)) = (&residual, y) {
                    // SAFETY: this channel's planes belong to this task.
                    let out = unsafe { residual.part(plane) };
                    vectorised(
                        #[inline(always)]
                        || out.iter_mut().zip(grad).zip(y).for_each(|((out, g), y)| *out = past(*g, *y)),
                    );
                }
            }
            *by_weight = (aligned * f64::from(inverse)) as f32;
            *by_bias = total as f32;
            let Some(input) = &input else { return };
            // dx = w/σ (g - mean(g) - x̂ mean(g x̂)), x̂ = (x - μ)/σ; with constant statistics the means drop out.
            let scale = weight[channel] * inverse;
            let (shift, tilt) = if training {
                let tilt = aligned / count * f64::from(inverse) * f64::from(inverse);
                ((total / count) as f32, tilt as f32)
            } else {
                (0.0, 0.0)
            };
            for plane in (0..self.batch).map(|b| self.plane(b, channel)) {
                let (grad, x, y) = (&grad[plane.clone()], &x[plane.clone()], y.map(|y| &y[plane.clone()]));
                // SAFETY: this channel's planes belong to this task.
                let out = unsafe { input.part(plane) };
                vectorised(
                    #[inline(always)]
                    || match y {
                        Some(y) => {
                            for (((out, g), x), y) in out.iter_mut().zip(grad).zip(x).zip(y) {
                                *out = (past(*g, *y) - shift - (x - mean) * tilt) * scale;
                            }
                        }
                        None => {
                            for ((out, g), x) in out.iter_mut().zip(grad).zip(x) {
                                *out = (g - shift - (x - mean) * tilt) * scale;
                            }
                        }
                    },
                );
            }
        });
    }
}

/// `max(x, 0)`; a NaN stays one, so that it is seen.
#[inline(always)]
fn positive(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// The gradient before a ReLU whose result was `y`: nothing passes where it was cut, nor at 0.
#[inline(always)]
fn past(grad: f32, y: f32) -> f32 {
    if y > 0.0 { grad } else { 0.0 }
}

/// `Σ g` and `Σ g (x - mean)`, in an order that depends on the length only.
#[inline(always)]
fn sums(grad: &[f32], x: &[f32], y: Option<&[f32]>, mean: f32) -> (f32, f32) {
    const LANES: usize = 16;
    let (mut total, mut aligned) = ([0.0f32; LANES], [0.0f32; LANES]);
    let y = y.unwrap_or(&[]);
    let whole = grad.len() / LANES * LANES;
    for start in (0..whole).step_by(LANES) {
        let (grad, x) = (&grad[start..start + LANES], &x[start..start + LANES]);
        if y.is_empty() {
            for lane in 0..LANES {
                total[lane] += grad[lane];
                aligned[lane] += grad[lane] * (x[lane] - mean);
            }
        } else {
            let y = &y[start..start + LANES];
            for lane in 0..LANES {
                let g = past(grad[lane], y[lane]);
                total[lane] += g;
                aligned[lane] += g * (x[lane] - mean);
            }
        }
    }
    let (mut total, mut aligned) = (total.iter().sum::<f32>(), aligned.iter().sum::<f32>());
    for i in whole..grad.len() {
        let g = if y.is_empty() { grad[i] } else { past(grad[i], y[i]) };
        total += g;
        aligned += g * (x[i] - mean);
    }
    (total, aligned)
}
