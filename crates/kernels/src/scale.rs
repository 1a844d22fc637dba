//! Rows multiplied by a factor for each channel and one for each sample: layer scale and stochastic depth.

use rayon::prelude::*;

use crate::reduce::{add_scaled, vectorised};

/// Elements that one task takes, roughly.
const TASK: usize = 1 << 14;

/// What `[B, rows, C]` is multiplied by.
#[derive(Clone, Copy, Debug)]
pub struct Scales<'a> {
    /// Channels, `C`.
    pub width: usize,
    /// For each channel.
    pub channels: Option<&'a [f32]>,
    /// For each sample.
    pub samples: Option<&'a [f32]>,
}

impl Scales<'_> {
    /// Rows of a task.
    fn share(&self) -> usize {
        (TASK / self.width).max(1)
    }

    /// The factor of the sample that one of `rows` rows belongs to.
    fn sample(&self, row: usize, rows: usize) -> f32 {
        self.samples.map_or(1.0, |samples| samples[row / (rows / samples.len())])
    }

    /// `y = channels · samples · x`; also the gradient by `x` from that by `y`.
    ///
    /// # Panics
    /// If the buffers' lengths differ, or aren't whole samples.
    pub fn apply(&self, x: &[f32], y: &mut [f32]) {
        let (width, share, rows) = (self.width, self.share(), x.len() / self.width);
        assert!(x.len() == y.len() && self.samples.is_none_or(|samples| rows.is_multiple_of(samples.len())));
        let tasks = y.par_chunks_mut(share * width).zip(x.par_chunks(share * width)).enumerate();
        tasks.for_each(|(task, (y, x))| {
            vectorised(
                #[inline(always)]
                || {
                    let lines = y.chunks_exact_mut(width).zip(x.chunks_exact(width));
                    for (row, (y, x)) in (task * share..).zip(lines) {
                        let factor = self.sample(row, rows);
                        y.iter_mut().zip(x).for_each(|(y, x)| *y = factor * x);
                        if let Some(channels) = self.channels {
                            y.iter_mut().zip(channels).for_each(|(y, channel)| *y *= channel);
                        }
                    }
                },
            );
        });
    }

    /// The gradient by the factors of channels.
    pub fn backward_channels(&self, x: &[f32], dy: &[f32]) -> Vec<f32> {
        let (width, share, rows) = (self.width, self.share(), x.len() / self.width);
        let tasks = x.par_chunks(share * width).zip(dy.par_chunks(share * width)).enumerate();
        let sum = |(task, (x, dy)): (usize, (&[f32], &[f32]))| {
            let mut sums = vec![0.0; width];
            vectorised(
                #[inline(always)]
                || {
                    let lines = x.chunks_exact(width).zip(dy.chunks_exact(width));
                    for (row, (x, dy)) in (task * share..).zip(lines) {
                        let factor = self.sample(row, rows);
                        let pairs = x.iter().zip(dy);
                        sums.iter_mut().zip(pairs).for_each(|(sum, (x, dy))| *sum += factor * x * dy);
                    }
                },
            );
            sums
        };
        let parts: Vec<Vec<f32>> = tasks.map(sum).collect();
        let mut total = vec![0.0; width];
        parts.iter().for_each(|part| add_scaled(&mut total, 1.0, part));
        total
    }
}
