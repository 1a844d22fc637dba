//! 3×3 convolution with stride 1 and padding 1 by Winograd's F(4×4, 3×3): 36 products for 16 outputs instead of 144.
//!
//! A tile of 4×4 outputs needs a tile d of 6×6 inputs: `Y = Aᵀ [ (G g Gᵀ) ⊙ (Bᵀ d B) ] A`. Summed over channels, the
//! middle is 36 matrix products, one for each place of a tile. The gradient by the filter is the adjoint of the same
//! expression, `dg = Gᵀ [ Σ (Bᵀ d B) ⊙ (A dY Aᵀ) ] G`. (Winograd 1980; Lavin and Gray 2016, with the points
//! 0, ±1, ±2, ∞.) Rounding is a few times that of the plain sum: some 1e-6 of the largest output.

mod filters;

use std::marker::PhantomData;
use std::mem::MaybeUninit;

use pulp::{Arch, Simd, WithSimd};
use rayon::prelude::*;

use super::Conv;
use super::layout::{ChannelsLast, Frame};
use crate::gemm::{Outer, PANEL, Rows, padded};
use crate::scratch;
use crate::slots::Slots;
pub(super) use filters::Filter;
use filters::{FilterGradient, transform_filters};

/// Side of an output tile, and of the input tile under it.
const OUT: usize = 4;
const IN: usize = 6;
/// Places of a tile.
const PLACES: usize = IN * IN;

/// Elements of the transformed inputs of a chunk of tiles; a chunk's data stays in the cache that the cores share.
const CHUNK: usize = 1 << 20;

/// `channels` rounded up to whole vectors of the widest kind.
fn lanes(channels: usize) -> usize {
    channels.next_multiple_of(16)
}

/// The tiles of a batch.
#[derive(Clone, Copy)]
struct Tiles {
    rows: usize,
    columns: usize,
    count: usize,
}

impl Tiles {
    fn new(conv: &Conv) -> Self {
        let [rows, columns] = conv.size.map(|size| size.div_ceil(OUT));
        Self { rows, columns, count: conv.batch * rows * columns }
    }

    /// Tiles per chunk, for the sum of channels and filters that are transformed.
    fn chunk(&self, channels: usize) -> usize {
        (CHUNK / (PLACES * channels)).next_multiple_of(64).clamp(64, self.count.max(64))
    }

    /// Where the first pixel of a tile lies in a channels-last buffer.
    fn start(&self, tile: usize, pictures: &ChannelsLast) -> usize {
        let (picture, tile) = (tile / (self.rows * self.columns), tile % (self.rows * self.columns));
        let (y, x) = (tile / self.columns * OUT, tile % self.columns * OUT);
        picture * pictures.picture() + (y * pictures.width + x) * pictures.stride
    }

    /// The frame of inputs (one pixel before, and whole tiles after).
    fn frame(&self) -> [Frame; 2] {
        [self.rows, self.columns].map(|tiles| Frame { before: 1, extent: tiles * OUT + 2 })
    }
}

pub(super) fn forward(
    conv: &Conv,
    input: &[f32],
    weight: &[f32],
    filter: Filter,
    bias: Option<&[f32]>,
    output: &mut [f32],
) {
    let tiles = Tiles::new(conv);
    let source =
        ChannelsLast::from_planes(input, conv.channels, conv.size, tiles.frame(), lanes(conv.channels));
    let mut result =
        ChannelsLast::results(conv.batch, lanes(conv.filters), tiles.rows * OUT, tiles.columns * OUT);
    let filters = transform_filters(conv, weight, filter);
    let (depth, columns) = (source.stride, result.stride);
    let chunk = tiles.chunk(depth + columns);
    let mut inputs = scratch::take(PLACES * chunk * depth);
    let mut products = scratch::take(PLACES * chunk * columns);
    for first in (0..tiles.count).step_by(chunk) {
        let here = chunk.min(tiles.count - first);
        spread::<Input, IN>(&source, tiles, first, here, chunk, &mut inputs);
        let (a_offsets, c_offsets): (Vec<_>, Vec<_>) = (0..here).map(|t| (t * depth, t * columns)).unzip();
        let work = products.par_chunks_mut(chunk * columns).zip(inputs.par_chunks(chunk * depth));
        work.zip(filters.par_chunks(conv.channels * padded(conv.filters))).for_each(|((out, a), panels)| {
            let (taps, depth, columns) = (&[0][..], conv.channels, conv.filters);
            Rows { a, a_offsets: &a_offsets, taps, depth, panels, columns, c_offsets: &c_offsets }
                .multiply_into(out);
        });
        collect(&products, chunk, tiles, first, here, &mut result);
    }
    result.to_planes(output, bias, conv.filters, conv.size);
}

pub(super) fn backward_weight(conv: &Conv, input: &[f32], grad: &[f32], grad_weight: &mut [f32]) {
    let tiles = Tiles::new(conv);
    let source =
        ChannelsLast::from_planes(input, conv.channels, conv.size, tiles.frame(), lanes(conv.channels));
    let whole = [tiles.rows, tiles.columns].map(|tiles| Frame { before: 0, extent: tiles * OUT });
    let grad = ChannelsLast::from_planes(grad, conv.filters, conv.size, whole, lanes(conv.filters));
    let (depth, columns) = (source.stride, grad.stride);
    let chunk = tiles.chunk(depth + columns);
    let mut inputs = scratch::take(PLACES * chunk * depth);
    // A panel is read whole, so past the last filter of the last tile.
    let mut grads = scratch::take(PLACES * chunk * columns + PANEL);
    grads[PLACES * chunk * columns..].fill(0.0);
    // [place][panel of filters][channel][PANEL]
    let sum = padded(conv.filters) * conv.channels;
    let mut sums = scratch::take(PLACES * sum);
    sums.fill(0.0);
    for first in (0..tiles.count).step_by(chunk) {
        let here = chunk.min(tiles.count - first);
        spread::<Input, IN>(&source, tiles, first, here, chunk, &mut inputs);
        spread::<Gradient, OUT>(&grad, tiles, first, here, chunk, &mut grads);
        let work = sums.par_chunks_mut(sum).zip(inputs.par_chunks(chunk * depth));
        work.enumerate().for_each(|(place, (sums, a))| {
            let b = &grads[place * chunk * columns..];
            for (panel, out) in sums.chunks_exact_mut(conv.channels * PANEL).enumerate() {
                let (runs, strides) = (&[(0, panel * PANEL)][..], (depth, columns));
                let (rows, columns) = (conv.channels, conv.filters - panel * PANEL);
                Outer { a, b, runs, count: here, strides, rows, columns }.accumulate_into(out);
            }
        });
    }
    let slots = Slots::new(grad_weight);
    let pairs = sum / PANEL;
    (0..pairs).into_par_iter().with_min_len(16).for_each(|pair| {
        let (panel, channel) = (pair / conv.channels, pair % conv.channels);
        let mut lanes = [[0.0; PANEL]; 9];
        Arch::new().dispatch(FilterGradient { sums: &sums[pair * PANEL..], plane: sum, lanes: &mut lanes });
        for lane in 0..PANEL.min(conv.filters - panel * PANEL) {
            for (tap, values) in lanes.iter().enumerate() {
                let at = ((panel * PANEL + lane) * conv.channels + channel) * 9 + tap;
                // SAFETY: the filters of this panel and this channel belong to this task alone.
                unsafe { slots.part(at..at + 1)[0] = values[lane] };
            }
        }
    });
}

/// `factor · x + y`; a function, for a closure is compiled without the vector instructions of its caller.
#[inline(always)]
fn scaled<S: Simd>(simd: S, factor: f32, x: S::f32s, y: S::f32s) -> S::f32s {
    simd.mul_add_f32s(simd.splat_f32s(factor), x, y)
}

/// A row of a tile that is transformed along one axis. Rows begin unwritten: zeros in them took as long as the arithmetic of a
/// thin layer.
///
/// # Safety
/// All of it was written.
#[inline(always)]
unsafe fn written<S: Simd, const N: usize>(row: &[MaybeUninit<S::f32s>; N]) -> [S::f32s; N] {
    // SAFETY: an array of written values is one of values.
    unsafe { row.as_ptr().cast::<[S::f32s; N]>().read() }
}

/// What [`spread`] computes of a tile: six points from `N` values, along either axis.
trait Points<const N: usize>: Sync {
    fn points<S: Simd>(simd: S, values: [S::f32s; N]) -> [S::f32s; IN];
}

/// `Bᵀ d B` of 6×6 inputs.
struct Input;

/// `A dY Aᵀ` of 4×4 output gradients.
struct Gradient;

/// Transforms `here` tiles from `first` on into `[place][tile of the chunk][channel]`.
fn spread<P: Points<N>, const N: usize>(
    pictures: &ChannelsLast,
    tiles: Tiles,
    first: usize,
    here: usize,
    chunk: usize,
    out: &mut [f32],
) {
    let plane = chunk * pictures.stride;
    let slots = Slots::new(out);
    (0..here).into_par_iter().with_min_len(8).for_each(|tile| {
        let from = &pictures.data[tiles.start(first + tile, pictures)..];
        let (stride, line) = (pictures.stride, pictures.width * pictures.stride);
        let points = PhantomData::<P>;
        Arch::new().dispatch(TileSpread::<P, N> {
            from,
            stride,
            line,
            plane,
            row: tile * stride,
            slots: &slots,
            points,
        });
    });
}

struct TileSpread<'a, P, const N: usize> {
    from: &'a [f32],
    stride: usize,
    line: usize,
    plane: usize,
    row: usize,
    slots: &'a Slots<'a>,
    points: PhantomData<P>,
}

impl<P: Points<N>, const N: usize> WithSimd for TileSpread<'_, P, N> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for channel in (0..self.stride).step_by(S::F32_LANES) {
            let mut half = [[MaybeUninit::uninit(); N]; IN];
            for j in 0..N {
                let mut column = [simd.splat_f32s(0.0); N];
                for i in 0..N {
                    let from = &self.from[i * self.line + j * self.stride + channel..][..S::F32_LANES];
                    column[i] = S::as_simd_f32s(from).0[0];
                }
                let column = P::points(simd, column);
                for i in 0..IN {
                    half[i][j].write(column[i]);
                }
            }
            for i in 0..IN {
                // SAFETY: every column was written.
                let row = P::points(simd, unsafe { written::<S, N>(&half[i]) });
                for j in 0..IN {
                    let at = (i * IN + j) * self.plane + self.row + channel;
                    // SAFETY: the tile's row belongs to this task alone, and lies in its place's plane.
                    let to = unsafe { self.slots.part(at..at + S::F32_LANES) };
                    S::as_mut_simd_f32s(to).0[0] = row[j];
                }
            }
        }
    }
}

impl Points<IN> for Input {
    #[inline(always)]
    fn points<S: Simd>(simd: S, d: [S::f32s; IN]) -> [S::f32s; IN] {
        let (even, odd) = (scaled(simd, -4.0, d[2], d[4]), scaled(simd, -4.0, d[1], d[3]));
        let (near, tilt) = (simd.sub_f32s(d[4], d[2]), simd.sub_f32s(d[3], d[1]));
        [
            scaled(simd, 4.0, d[0], scaled(simd, -5.0, d[2], d[4])),
            simd.add_f32s(even, odd),
            simd.sub_f32s(even, odd),
            scaled(simd, 2.0, tilt, near),
            scaled(simd, -2.0, tilt, near),
            scaled(simd, 4.0, d[1], scaled(simd, -5.0, d[3], d[5])),
        ]
    }
}

impl Points<OUT> for Gradient {
    #[inline(always)]
    fn points<S: Simd>(simd: S, y: [S::f32s; OUT]) -> [S::f32s; IN] {
        let (even, odd) = (simd.add_f32s(y[0], y[2]), simd.add_f32s(y[1], y[3]));
        let (far, tilt) = (scaled(simd, 4.0, y[2], y[0]), scaled(simd, 4.0, y[3], y[1]));
        [
            y[0],
            simd.add_f32s(even, odd),
            simd.sub_f32s(even, odd),
            scaled(simd, 2.0, tilt, far),
            scaled(simd, -2.0, tilt, far),
            y[3],
        ]
    }
}

/// `Aᵀ m`
#[inline(always)]
fn output_points<S: Simd>(simd: S, m: [S::f32s; IN]) -> [S::f32s; OUT] {
    let (near, tilt) = (simd.add_f32s(m[1], m[2]), simd.sub_f32s(m[1], m[2]));
    let (far, steep) = (simd.add_f32s(m[3], m[4]), simd.sub_f32s(m[3], m[4]));
    [
        simd.add_f32s(m[0], simd.add_f32s(near, far)),
        scaled(simd, 2.0, steep, tilt),
        scaled(simd, 4.0, far, near),
        simd.add_f32s(scaled(simd, 8.0, steep, tilt), m[5]),
    ]
}

/// Transforms the products of a chunk back to pixels.
fn collect(
    products: &[f32],
    chunk: usize,
    tiles: Tiles,
    first: usize,
    here: usize,
    result: &mut ChannelsLast,
) {
    let starts: Vec<usize> = (first..first + here).map(|tile| tiles.start(tile, result)).collect();
    let (stride, line) = (result.stride, result.width * result.stride);
    let slots = Slots::new(&mut result.data);
    starts.into_par_iter().enumerate().with_min_len(8).for_each(|(tile, start)| {
        let products = &products[tile * stride..];
        Arch::new().dispatch(TileCollect {
            products,
            plane: chunk * stride,
            stride,
            line,
            start,
            slots: &slots,
        });
    });
}

struct TileCollect<'a> {
    products: &'a [f32],
    plane: usize,
    stride: usize,
    line: usize,
    start: usize,
    slots: &'a Slots<'a>,
}

impl WithSimd for TileCollect<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        for channel in (0..self.stride).step_by(S::F32_LANES) {
            let mut half = [[MaybeUninit::uninit(); IN]; OUT];
            for j in 0..IN {
                let mut column = [simd.splat_f32s(0.0); IN];
                for i in 0..IN {
                    let from = &self.products[(i * IN + j) * self.plane + channel..][..S::F32_LANES];
                    column[i] = S::as_simd_f32s(from).0[0];
                }
                let column = output_points(simd, column);
                for i in 0..OUT {
                    half[i][j].write(column[i]);
                }
            }
            for i in 0..OUT {
                // SAFETY: every column was written.
                let row = output_points(simd, unsafe { written::<S, IN>(&half[i]) });
                for j in 0..OUT {
                    let at = self.start + i * self.line + j * self.stride + channel;
                    // SAFETY: a tile's pixels belong to its task alone, and lie in the picture.
                    let to = unsafe { self.slots.part(at..at + S::F32_LANES) };
                    S::as_mut_simd_f32s(to).0[0] = row[j];
                }
            }
        }
    }
}
