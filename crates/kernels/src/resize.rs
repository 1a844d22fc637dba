//! Fixed linear maps along rows and columns: interpolation and average pooling. The backward is the adjoint map.

use crate::reduce::{add_scaled, exp, vectorised};
use rayon::prelude::*;

/// A linear map along one axis: output `i` is the sum of `per_output` inputs, each times a weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Taps {
    input: usize,
    per_output: usize,
    index: Vec<u32>,
    weight: Vec<f32>,
}

impl Taps {
    /// Builds the taps of `output` positions; `taps(i)` gives `per_output` pairs of a position, which is moved into the
    /// input's range, and a weight.
    fn build<const N: usize>(input: usize, output: usize, taps: impl Fn(usize) -> [(i64, f64); N]) -> Self {
        let (mut index, mut weight) = (Vec::with_capacity(N * output), Vec::with_capacity(N * output));
        for (position, w) in (0..output).flat_map(taps) {
            index.push(position.clamp(0, input as i64 - 1) as u32);
            weight.push(w as f32);
        }
        Self { input, per_output: N, index, weight }
    }

    /// Nearest neighbour: output `i` is input `floor(i input / output)`.
    pub fn nearest(input: usize, output: usize) -> Self {
        Self::build(input, output, |i| [((i * input / output) as i64, 1.0)])
    }

    /// Bilinear with half-pixel centres (`align_corners=False`), no antialiasing; a position before the first centre
    /// counts as the first centre.
    pub fn bilinear(input: usize, output: usize) -> Self {
        Self::build(input, output, |i| {
            let source = ((i as f64 + 0.5) * input as f64 / output as f64 - 0.5).max(0.0);
            let (low, t) = (source.floor(), source.fract());
            [(low as i64, 1.0 - t), (low as i64 + 1, t)]
        })
    }

    /// Bilinear with the outermost centres of input and output on each other (`align_corners=True`); an output of one
    /// position is the first input.
    pub fn bilinear_aligned(input: usize, output: usize) -> Self {
        Self::build(input, output, |i| {
            // The first position is 0 whatever the step, which an output of one position doesn't have.
            let source = i as f64 * (input - 1) as f64 / (output - 1).max(1) as f64;
            let (low, t) = (source.floor(), source.fract());
            [(low as i64, 1.0 - t), (low as i64 + 1, t)]
        })
    }

    /// Bicubic convolution with `a = -0.75`, half-pixel centres, no antialiasing; taps outside repeat the edge.
    pub fn bicubic(input: usize, output: usize) -> Self {
        const A: f64 = -0.75;
        let near = |d: f64| ((A + 2.0) * d - (A + 3.0)) * d * d + 1.0;
        let far = |d: f64| ((A * d - 5.0 * A) * d + 8.0 * A) * d - 4.0 * A;
        Self::build(input, output, |i| {
            let source = (i as f64 + 0.5) * input as f64 / output as f64 - 0.5;
            let low = source.floor();
            let t = source - low;
            let low = low as i64;
            [(low - 1, far(t + 1.0)), (low, near(t)), (low + 1, near(1.0 - t)), (low + 2, far(2.0 - t))]
        })
    }

    /// The mean of a window of `kernel` cells that moves by `stride`; `padding` zeros on either side count in the mean.
    pub fn average(input: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        let output = (input + 2 * padding).saturating_sub(kernel) / stride + 1;
        let (mut index, mut weight) = (Vec::new(), Vec::new());
        for position in (0..output).flat_map(|i| i * stride..i * stride + kernel) {
            let inside = position >= padding && position - padding < input;
            index.push(if inside { position - padding } else { 0 } as u32);
            weight.push(if inside { 1.0 / kernel as f32 } else { 0.0 });
        }
        Self { input, per_output: kernel, index, weight }
    }

    /// Length of the input axis.
    pub fn input(&self) -> usize {
        self.input
    }

    /// Length of the output axis.
    pub fn output(&self) -> usize {
        self.index.len() / self.per_output
    }

    /// The inputs of output `i` with their weights.
    pub(crate) fn of(&self, i: usize) -> impl Iterator<Item = (usize, f32)> + '_ {
        let range = i * self.per_output..(i + 1) * self.per_output;
        self.index[range.clone()]
            .iter()
            .zip(&self.weight[range])
            .map(|(&index, &weight)| (index as usize, weight))
    }

    /// The map as a dense matrix, row-major `[output, input]`.
    pub fn matrix(&self) -> Vec<f32> {
        let mut matrix = vec![0.0; self.output() * self.input];
        for (i, row) in matrix.chunks_mut(self.input).enumerate() {
            self.of(i).for_each(|(index, weight)| row[index] += weight);
        }
        matrix
    }
}

/// The map of a picture: taps along its rows' axis (height) and along its columns' axis (width).
#[derive(Clone, Debug, PartialEq)]
pub struct Resize {
    /// From input height to output height.
    pub rows: Taps,
    /// From input width to output width.
    pub columns: Taps,
}

impl Resize {
    fn input_area(&self) -> usize {
        self.rows.input * self.columns.input
    }

    fn output_area(&self) -> usize {
        self.rows.output() * self.columns.output()
    }

    /// One map: `x` `[h, w]` to `y` `[H, W]`; `narrow` is scratch.
    #[inline(always)]
    fn apply(&self, x: &[f32], y: &mut [f32], narrow: &mut Vec<f32>) {
        let width = self.columns.output();
        narrow.clear();
        for x in x.chunks(self.columns.input) {
            narrow
                .extend((0..width).map(|i| self.columns.of(i).map(|(j, weight)| weight * x[j]).sum::<f32>()));
        }
        y.fill(0.0);
        for (i, y) in y.chunks_mut(width).enumerate() {
            self.rows
                .of(i)
                .for_each(|(j, weight)| add_scaled(y, weight, &narrow[j * width..(j + 1) * width]));
        }
    }

    /// The adjoint of [`Resize::apply`]: `dy` `[H, W]` to `dx` `[h, w]`, overwritten.
    #[inline(always)]
    fn apply_adjoint(&self, dy: &[f32], dx: &mut [f32], narrow: &mut Vec<f32>) {
        let width = self.columns.output();
        narrow.clear();
        narrow.resize(self.rows.input * width, 0.0);
        for (i, dy) in dy.chunks(width).enumerate() {
            self.rows
                .of(i)
                .for_each(|(j, weight)| add_scaled(&mut narrow[j * width..(j + 1) * width], weight, dy));
        }
        dx.fill(0.0);
        for (dx, narrow) in dx.chunks_mut(self.columns.input).zip(narrow.chunks(width)) {
            for (i, dy) in narrow.iter().enumerate() {
                self.columns.of(i).for_each(|(j, weight)| dx[j] += weight * dy);
            }
        }
    }
}

/// Resizes every map: `x` `[maps, h, w]`, `y` `[maps, H, W]`.
pub fn forward(resize: &Resize, x: &[f32], y: &mut [f32]) {
    debug_assert_eq!(x.len() / resize.input_area(), y.len() / resize.output_area());
    let maps = y.par_chunks_mut(resize.output_area()).zip(x.par_chunks(resize.input_area()));
    maps.for_each_init(Vec::new, |scratch, (y, x)| {
        vectorised(
            #[inline(always)]
            || resize.apply(x, y, scratch),
        );
    });
}

/// The gradient of [`forward`]; `dx` `[maps, h, w]` is overwritten.
pub fn backward(resize: &Resize, dy: &[f32], dx: &mut [f32]) {
    debug_assert_eq!(dx.len() / resize.input_area(), dy.len() / resize.output_area());
    let maps = dx.par_chunks_mut(resize.input_area()).zip(dy.par_chunks(resize.output_area()));
    maps.for_each_init(Vec::new, |scratch, (dx, dy)| {
        vectorised(
            #[inline(always)]
            || resize.apply_adjoint(dy, dx, scratch),
        );
    });
}

/// Resizes the `count` maps of every sample, then takes the softmax over them at every pixel: `x` `[B, count, h, w]`,
/// `y` `[B, count, H, W]`.
pub fn softmax_forward(resize: &Resize, count: usize, x: &[f32], y: &mut [f32]) {
    let (small, large) = (resize.input_area(), resize.output_area());
    debug_assert_eq!(x.len() * large, y.len() * small);
    let samples = y.par_chunks_mut(count * large).zip(x.par_chunks(count * small));
    samples.for_each_init(Vec::new, |scratch, (y, x)| {
        vectorised(
            #[inline(always)]
            || {
                for (y, x) in y.chunks_mut(large).zip(x.chunks(small)) {
                    resize.apply(x, y, scratch);
                }
                softmax_over_maps(y, large, scratch);
            },
        );
    });
}

/// The softmax of `y` `[maps, area]` over the maps, in place.
#[inline(always)]
fn softmax_over_maps(y: &mut [f32], area: usize, scratch: &mut Vec<f32>) {
    scratch.clear();
    scratch.extend_from_slice(&y[..area]);
    for y in y.chunks(area).skip(1) {
        scratch.iter_mut().zip(y).for_each(|(top, &y)| *top = if y > *top { y } else { *top });
    }
    for y in y.chunks_mut(area) {
        y.iter_mut().zip(scratch.iter()).for_each(|(y, top)| *y = exp(*y - top));
    }
    scratch.fill(0.0);
    for y in y.chunks(area) {
        add_scaled(scratch, 1.0, y);
    }
    for y in y.chunks_mut(area) {
        y.iter_mut().zip(scratch.iter()).for_each(|(y, total)| *y /= total);
    }
}

/// The gradient of [`softmax_forward`] from its result `y`; `dx` `[B, count, h, w]` is overwritten.
pub fn softmax_backward(resize: &Resize, count: usize, y: &[f32], dy: &[f32], dx: &mut [f32]) {
    let (small, large) = (resize.input_area(), resize.output_area());
    debug_assert!(y.len() == dy.len() && dx.len() * large == dy.len() * small);
    let samples =
        dx.par_chunks_mut(count * small).zip(y.par_chunks(count * large)).zip(dy.par_chunks(count * large));
    let scratch = || (Vec::new(), vec![0.0; large], vec![0.0; large]);
    samples.for_each_init(scratch, |(narrow, mean, inner), ((dx, y), dy)| {
        vectorised(
            #[inline(always)]
            || {
                mean.fill(0.0);
                for (y, dy) in y.chunks(large).zip(dy.chunks(large)) {
                    mean.iter_mut().zip(y).zip(dy).for_each(|((mean, y), dy)| *mean += y * dy);
                }
                for ((dx, y), dy) in dx.chunks_mut(small).zip(y.chunks(large)).zip(dy.chunks(large)) {
                    for (((inner, y), dy), mean) in inner.iter_mut().zip(y).zip(dy).zip(mean.iter()) {
                        *inner = y * (dy - mean);
                    }
                    resize.apply_adjoint(inner, dx, narrow);
                }
            },
        );
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taps_are_those_of_the_definitions() {
        assert_eq!(Taps::nearest(2, 5).index, [0, 0, 0, 1, 1]);
        let bilinear = Taps::bilinear(2, 4).matrix();
        assert_eq!(bilinear, [1.0, 0.0, 0.75, 0.25, 0.25, 0.75, 0.0, 1.0]);
        // Half way between two pixels: -3/32, 19/32, 19/32, -3/32; the outer taps fall on the repeated edge.
        assert_eq!(Taps::bicubic(2, 1).matrix(), [0.5, 0.5]);
        assert_eq!(Taps::bicubic(4, 2).matrix()[..4], [0.5, 0.59375, -0.09375, 0.0]);
        assert_eq!(Taps::average(3, 2, 2, 1).matrix(), [0.5, 0.0, 0.0, 0.0, 0.5, 0.5]);
    }

    #[test]
    fn rows_sum_to_one_at_any_size() {
        for (input, output) in [(1, 7), (5, 12), (7, 5), (9, 3)] {
            for taps in
                [Taps::nearest(input, output), Taps::bilinear(input, output), Taps::bicubic(input, output)]
            {
                for row in taps.matrix().chunks(input) {
                    assert!((row.iter().sum::<f32>() - 1.0).abs() < 1e-6, "{taps:?}");
                }
            }
        }
    }
}
