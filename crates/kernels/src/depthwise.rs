//! The 7×7 convolution of ConvNeXt, channels last: every channel has its own filter, stride 1, and 3 zeros around a map.
//!
//! Maps `[B, H, W, C]` are first cut into blocks of 16 channels with zeros around, `[B, C / 16, rows, columns, 16]`:
//! what one filter sees is then contiguous, and stays in the first-level cache.

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use crate::reduce::add_scaled;
use crate::scratch::{self, Scratch};

/// Side of the filter.
pub const SIDE: usize = 7;
/// Places of the filter.
pub const TAPS: usize = SIDE * SIDE;
/// Zeros around a map.
const AROUND: usize = SIDE / 2;
/// Channels of a block: a vector of the widest kind.
const LANES: usize = 16;
/// Pixels of a row that are computed together.
const RUN: usize = 8;
/// Pictures over which one task sums a filter's gradient; also how these sums are grouped.
const PICTURES: usize = 8;

/// The shape `[batch, size[0], size[1], channels]` of a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Depthwise {
    /// Pictures.
    pub batch: usize,
    /// Height and width.
    pub size: [usize; 2],
    /// Channels.
    pub channels: usize,
}

impl Depthwise {
    /// `y[h, w, c] = bias[c] + Σ_ij weight[c, i, j] x[h + i - 3, w + j - 3, c]`, with `weight` `[C, 7, 7]`.
    ///
    /// # Panics
    /// If a buffer has another length than its shape.
    pub fn forward(&self, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        self.filter(&self.blocks(x), &self.filters(weight, false), bias, y);
    }

    /// The gradient of [`forward`](Self::forward) by `x`; `dx` is overwritten.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn backward_input(&self, weight: &[f32], dy: &[f32], dx: &mut [f32]) {
        self.filter(&self.blocks(dy), &self.filters(weight, true), None, dx);
    }

    /// The gradient of [`forward`](Self::forward) by the weight; `dweight` is overwritten.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn backward_weight(&self, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
        assert_eq!(dweight.len(), self.channels * TAPS);
        let (x, dy, blocks) = (self.blocks(x), self.blocks(dy), self.channels.div_ceil(LANES));
        let parts = self.batch.div_ceil(PICTURES);
        let mut sums = vec![0.0; parts * blocks * TAPS * LANES];
        sums.par_chunks_mut(TAPS * LANES).enumerate().for_each(|(task, sums)| {
            let (part, block) = (task / blocks, task % blocks);
            for picture in part * PICTURES..self.batch.min((part + 1) * PICTURES) {
                let at = (picture * blocks + block) * self.block();
                let (x, dy) = (&x[at..][..self.block()], &dy[at..][..self.block()]);
                Arch::new().dispatch(Correlate { spec: self, x, dy, sums });
            }
        });
        let (total, rest) = sums.split_at_mut(blocks * TAPS * LANES);
        rest.chunks(total.len()).for_each(|part| add_scaled(total, 1.0, part));
        for (channel, filter) in dweight.chunks_exact_mut(TAPS).enumerate() {
            let from = &total[channel / LANES * TAPS * LANES + channel % LANES..];
            filter.iter_mut().zip(from.iter().step_by(LANES)).for_each(|(to, from)| *to = *from);
        }
    }

    /// Rows and columns of a block, with the zeros around; columns for whole runs.
    fn padded(&self) -> [usize; 2] {
        [self.size[0] + 2 * AROUND, self.size[1].next_multiple_of(RUN) + 2 * AROUND]
    }

    /// Elements of a block.
    fn block(&self) -> usize {
        let [rows, columns] = self.padded();
        rows * columns * LANES
    }

    /// A map in blocks.
    fn blocks(&self, map: &[f32]) -> Scratch {
        let (channels, [height, width], [_, columns]) = (self.channels, self.size, self.padded());
        assert_eq!(map.len(), self.batch * height * width * channels);
        let count = channels.div_ceil(LANES);
        let mut blocks = scratch::take(self.batch * count * self.block());
        blocks.par_chunks_mut(self.block()).enumerate().for_each(|(task, block)| {
            let (picture, first) = (task / count, task % count * LANES);
            let here = LANES.min(channels - first);
            block.fill(0.0);
            for row in 0..height {
                let to = &mut block[((row + AROUND) * columns + AROUND) * LANES..][..width * LANES];
                let from = &map[(picture * height + row) * width * channels..][..width * channels];
                for (to, from) in to.chunks_exact_mut(LANES).zip(from.chunks_exact(channels)) {
                    to[..here].copy_from_slice(&from[first..first + here]);
                }
            }
        });
        blocks
    }

    /// Filters in blocks, `[C / LANES, 49, LANES]`; turned by 180° for the gradient by the input.
    fn filters(&self, weight: &[f32], turned: bool) -> Vec<f32> {
        assert_eq!(weight.len(), self.channels * TAPS);
        let mut filters = vec![0.0; self.channels.next_multiple_of(LANES) * TAPS];
        for (channel, filter) in weight.chunks_exact(TAPS).enumerate() {
            for (tap, &value) in filter.iter().enumerate() {
                let tap = if turned { TAPS - 1 - tap } else { tap };
                filters[(channel / LANES * TAPS + tap) * LANES + channel % LANES] = value;
            }
        }
        filters
    }

    fn filter(&self, blocks: &[f32], filters: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        let (channels, [height, width], [_, columns]) = (self.channels, self.size, self.padded());
        assert_eq!(y.len(), self.batch * height * width * channels);
        let count = channels.div_ceil(LANES);
        y.par_chunks_mut(width * channels).enumerate().for_each(|(line, y)| {
            let (picture, row) = (line / height, line % height);
            let mut results = [0.0; RUN * LANES];
            for block in 0..count {
                let first = block * LANES;
                let here = LANES.min(channels - first);
                let mut start = [0.0; LANES];
                if let Some(bias) = bias {
                    start[..here].copy_from_slice(&bias[first..first + here]);
                }
                let x = &blocks[(picture * count + block) * self.block()..][..self.block()];
                let taps = &filters[block * TAPS * LANES..][..TAPS * LANES];
                for column in (0..width).step_by(RUN) {
                    let x = &x[(row * columns + column) * LANES..];
                    let stride = columns * LANES;
                    Arch::new().dispatch(Run { x, stride, taps, start: &start, results: &mut results });
                    let to = y[column * channels..].chunks_mut(channels).zip(results.chunks_exact(LANES));
                    to.for_each(|(to, from)| to[first..first + here].copy_from_slice(&from[..here]));
                }
            }
        });
    }
}

/// A run of results of one block, from the pixel at the top left of what its first filter sees.
struct Run<'a> {
    x: &'a [f32],
    /// From row to row.
    stride: usize,
    taps: &'a [f32],
    /// What the sums begin with.
    start: &'a [f32; LANES],
    results: &'a mut [f32; RUN * LANES],
}

impl WithSimd for Run<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for lane in (0..LANES).step_by(S::F32_LANES) {
            let vector =
                |from: &[f32], at: usize| S::as_simd_f32s(&from[at * LANES + lane..][..S::F32_LANES]).0[0];
            let mut sums = [vector(self.start, 0); RUN];
            for i in 0..SIDE {
                let row = &self.x[i * self.stride..][..(RUN + SIDE - 1) * LANES];
                let mut seen = [simd.splat_f32s(0.0); RUN + SIDE - 1];
                for column in 0..RUN + SIDE - 1 {
                    seen[column] = vector(row, column);
                }
                for j in 0..SIDE {
                    let tap = vector(self.taps, i * SIDE + j);
                    for run in 0..RUN {
                        sums[run] = simd.mul_add_f32s(tap, seen[run + j], sums[run]);
                    }
                }
            }
            for run in 0..RUN {
                S::as_mut_simd_f32s(&mut self.results[run * LANES + lane..][..S::F32_LANES]).0[0] = sums[run];
            }
        }
    }
}

/// Adds a block's part of the filters' gradients to `sums` `[49, LANES]`.
struct Correlate<'a> {
    spec: &'a Depthwise,
    x: &'a [f32],
    dy: &'a [f32],
    sums: &'a mut [f32],
}

impl WithSimd for Correlate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let ([height, width], [_, columns]) = (self.spec.size, self.spec.padded());
        for lane in (0..LANES).step_by(S::F32_LANES) {
            for i in 0..SIDE {
                let mut sums = [simd.splat_f32s(0.0); SIDE];
                for j in 0..SIDE {
                    let at = (i * SIDE + j) * LANES + lane;
                    sums[j] = S::as_simd_f32s(&self.sums[at..][..S::F32_LANES]).0[0];
                }
                for row in 0..height {
                    let dy = &self.dy[((row + AROUND) * columns + AROUND) * LANES..][..width * LANES];
                    let x = &self.x[(row + i) * columns * LANES..][..(width + SIDE - 1) * LANES];
                    for column in 0..width {
                        let slope = S::as_simd_f32s(&dy[column * LANES + lane..][..S::F32_LANES]).0[0];
                        for j in 0..SIDE {
                            let x = &x[(column + j) * LANES + lane..][..S::F32_LANES];
                            sums[j] = simd.mul_add_f32s(slope, S::as_simd_f32s(x).0[0], sums[j]);
                        }
                    }
                }
                for j in 0..SIDE {
                    let at = (i * SIDE + j) * LANES + lane;
                    S::as_mut_simd_f32s(&mut self.sums[at..][..S::F32_LANES]).0[0] = sums[j];
                }
            }
        }
    }
}
