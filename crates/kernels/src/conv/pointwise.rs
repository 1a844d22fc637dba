//! 1×1 filters that see every pixel: products of matrices that are planes of pixels as they lie, `[channels, pixels]`.
//! Nothing is turned to channels-last but one operand of the weight's gradient.

use rayon::prelude::*;

use super::Conv;
use super::layout::transpose;
use crate::gemm::{CACHED, PANEL, Rows, STEP, padded};
use crate::scratch;

impl Conv {
    /// Whether pixels are columns that a matrix is multiplied with.
    pub(super) fn is_pointwise(&self) -> bool {
        self.kernel == [1, 1] && self.stride == [1, 1] && self.padding == [0, 0] && self.groups == 1
    }

    /// Whether panels of pixels are nearly full.
    pub(super) fn fills_panels(&self) -> bool {
        let pixels = self.size[0] * self.size[1];
        8 * pixels >= 7 * padded(pixels)
    }
}

pub(super) fn forward(conv: &Conv, input: &[f32], weight: &[f32], bias: Option<&[f32]>, output: &mut [f32]) {
    product(weight, [conv.filters, conv.channels], input, conv.size[0] * conv.size[1], output);
    let Some(bias) = bias else { return };
    let planes = output.par_chunks_mut((conv.size[0] * conv.size[1]).max(1)).enumerate();
    planes.for_each(|(plane, to)| to.iter_mut().for_each(|x| *x += bias[plane % conv.filters]));
}

pub(super) fn backward_input(conv: &Conv, grad: &[f32], weight: &[f32], grad_input: &mut [f32]) {
    let (filters, channels) = (conv.filters, conv.channels);
    let mut adjoint = scratch::take(weight.len());
    transpose(weight, channels, &mut adjoint, filters, filters, channels);
    product(&adjoint, [channels, filters], grad, conv.size[0] * conv.size[1], grad_input);
}

/// `matrix` `[rows, depth]` times the planes `[depth, pixels]` of each picture.
fn product(matrix: &[f32], [rows, depth]: [usize; 2], planes: &[f32], pixels: usize, out: &mut [f32]) {
    // Panels that are made at once, and leave room for the matrix.
    let wide = (CACHED / 2 / depth.max(1) / PANEL).max(1) * PANEL;
    let a_offsets: Vec<usize> = (0..rows).map(|row| row * depth).collect();
    let pictures = out.par_chunks_mut((rows * pixels).max(1)).zip(planes.par_chunks((depth * pixels).max(1)));
    pictures.for_each(|(out, planes)| {
        let mut panels = scratch::take(padded(wide.min(pixels)) * depth);
        for first in (0..pixels).step_by(wide) {
            let columns = wide.min(pixels - first);
            for (panel, lines) in panels.chunks_exact_mut(depth * PANEL).enumerate() {
                let from = first + panel * PANEL;
                let here = PANEL.min((first + columns).saturating_sub(from));
                for (row, line) in lines.chunks_exact_mut(PANEL).enumerate() {
                    if here > 0 {
                        line[..here].copy_from_slice(&planes[row * pixels + from..][..here]);
                    }
                    line[here..].fill(0.0);
                }
            }
            let c_offsets: Vec<usize> = (0..rows).map(|row| row * pixels + first).collect();
            let (a_offsets, c_offsets) = (&a_offsets[..], &c_offsets[..]);
            Rows { a: matrix, a_offsets, taps: &[0], depth, panels: &panels, columns, c_offsets }
                .multiply_into(out);
        }
    });
}

pub(super) fn backward_weight(conv: &Conv, input: &[f32], grad: &[f32], grad_weight: &mut [f32]) {
    let (filters, channels, pixels) = (conv.filters, conv.channels, conv.size[0] * conv.size[1]);
    // The operand with fewer channels is turned.
    if channels <= filters {
        outer(grad, filters, input, channels, pixels, grad_weight);
    } else {
        let mut turned = scratch::take(grad_weight.len());
        outer(input, channels, grad, filters, pixels, &mut turned);
        transpose(&turned, filters, grad_weight, channels, channels, filters);
    }
}

/// `[rows, columns]`: the sums over all pictures and pixels of the planes `a` `[batch, rows, pixels]` times `b`
/// `[batch, columns, pixels]`.
fn outer(a: &[f32], rows: usize, b: &[f32], columns: usize, pixels: usize, out: &mut [f32]) {
    let batch = a.len() / (rows * pixels).max(1);
    // [panel][picture][pixel][PANEL]
    let mut panels = scratch::take(padded(columns) * batch * pixels);
    panels.par_chunks_mut((pixels * PANEL).max(1)).enumerate().for_each(|(task, to)| {
        let (panel, picture) = (task / batch, task % batch);
        let here = PANEL.min(columns - panel * PANEL);
        if here < PANEL {
            to.fill(0.0);
        }
        transpose(&b[(picture * columns + panel * PANEL) * pixels..], pixels, to, PANEL, here, pixels);
    });
    let taps: Vec<usize> = (0..batch).map(|picture| picture * rows * pixels).collect();
    // No result depends on the shares, so they may depend on the number of threads.
    let share = rows.div_ceil(4 * rayon::current_num_threads()).next_multiple_of(STEP);
    out.par_chunks_mut((share * columns).max(1)).enumerate().for_each(|(task, out)| {
        let here = 0..out.len() / columns;
        let a_offsets: Vec<usize> = here.clone().map(|row| (task * share + row) * pixels).collect();
        let c_offsets: Vec<usize> = here.map(|row| row * columns).collect();
        let (a_offsets, c_offsets) = (&a_offsets[..], &c_offsets[..]);
        Rows { a, a_offsets, taps: &taps, depth: pixels, panels: &panels, columns, c_offsets }
            .multiply_into(out);
    });
}
