//! Residual branches, whose rows are multiplied by a factor for each channel (layer scale) and one for each sample
//! (stochastic depth).

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

    /// `y = x + channels · samples · branch`.
    ///
    /// # Panics
    /// If the buffers' lengths differ, or aren't whole samples.
    pub fn add(&self, x: &[f32], branch: &[f32], y: &mut [f32]) {
        assert_eq!(x.len(), y.len(), "as many elements as the branch has");
        let share = self.share() * self.width;
        self.each(branch, y, |task, line, y| {
            let x = &x[task * share + line * self.width..][..self.width];
            y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
        });
    }

    /// The gradient by the branch of [`add`](Self::add) from that by its result: `channels · samples · dy`.
    ///
    /// # Panics
    /// As [`add`](Self::add).
    pub fn backward(&self, dy: &[f32], dbranch: &mut [f32]) {
        self.each(dy, dbranch, |_, _, _| {});
    }

    /// `y = channels · samples · x`, row by row, and what is done to each then: `(task, row of the task, y)`.
    fn each(&self, x: &[f32], y: &mut [f32], then: impl Fn(usize, usize, &mut [f32]) + Sync) {
        let (width, share, rows) = (self.width, self.share(), x.len() / self.width);
        assert!(x.len() == y.len() && self.samples.is_none_or(|samples| rows.is_multiple_of(samples.len())));
        let tasks = y.par_chunks_mut(share * width).zip(x.par_chunks(share * width)).enumerate();
        tasks.for_each(|(task, (y, x))| {
            vectorised(
                #[inline(always)]
                || {
                    let lines = y.chunks_exact_mut(width).zip(x.chunks_exact(width)).enumerate();
                    for (line, (y, x)) in lines {
                        let factor = self.sample(task * share + line, rows);
                        match self.channels {
                            Some(channels) => {
                                let scaled = x.iter().zip(channels).map(|(x, channel)| factor * x * channel);
                                y.iter_mut().zip(scaled).for_each(|(y, scaled)| *y = scaled);
                            }
                            None => y.iter_mut().zip(x).for_each(|(y, x)| *y = factor * x),
                        }
                        then(task, line, y);
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
