//! The fully connected layer, `y = x Wᵀ + b`, over many rows.

use rayon::prelude::*;

use crate::gemm::{CACHED, Outer, PANEL, Rows, STEP, padded};
use crate::reduce::{add_scaled, vectorised};
use crate::scratch::{self, Scratch};

/// The shape of a layer whose `weight` is `[outputs, inputs]`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Linear {
    /// Elements of a row that goes in.
    pub inputs: usize,
    /// Elements of a row that comes out.
    pub outputs: usize,
}

/// Rows over which a weight's gradient is summed before the next panel of columns is visited.
const CHUNK: usize = 256;
/// Rows of one part of a weight's gradient; parts are summed in order.
const PART: usize = 2048;

impl Linear {
    /// `y` `[rows, outputs]` of `x` `[rows, inputs]`.
    ///
    /// # Panics
    /// If a buffer has another length than its shape.
    pub fn forward(&self, x: &[f32], weight: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        let &Self { inputs, outputs } = self;
        assert_eq!(weight.len(), inputs * outputs);
        // [panel][input][PANEL]: the transpose.
        let mut panels = scratch::take(padded(outputs) * inputs);
        panels.par_chunks_mut((inputs * PANEL).max(1)).enumerate().for_each(|(panel, lines)| {
            let here = PANEL.min(outputs - panel * PANEL);
            let columns = &weight[panel * PANEL * inputs..][..here * inputs];
            for (input, line) in lines.chunks_exact_mut(PANEL).enumerate() {
                let column = columns[input..].iter().step_by(inputs);
                line.iter_mut().zip(column).for_each(|(line, weight)| *line = *weight);
                line[here..].fill(0.0);
            }
        });
        product(x, inputs, &panels, y, outputs, bias);
    }

    /// The gradient of [`forward`](Self::forward) by `x`; `dx` is overwritten.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn backward_input(&self, weight: &[f32], dy: &[f32], dx: &mut [f32]) {
        let &Self { inputs, outputs } = self;
        assert_eq!(weight.len(), inputs * outputs);
        // [panel][output][PANEL]
        let mut panels = scratch::take(padded(inputs) * outputs);
        panels.par_chunks_mut((outputs * PANEL).max(1)).enumerate().for_each(|(panel, lines)| {
            let here = PANEL.min(inputs - panel * PANEL);
            for (line, row) in lines.chunks_exact_mut(PANEL).zip(weight.chunks_exact(inputs)) {
                line[..here].copy_from_slice(&row[panel * PANEL..][..here]);
                line[here..].fill(0.0);
            }
        });
        product(dy, outputs, &panels, dx, inputs, None);
    }

    /// The gradient of [`forward`](Self::forward) by the weight; `dweight` is overwritten.
    ///
    /// # Panics
    /// As [`forward`](Self::forward).
    pub fn backward_weight(&self, x: &[f32], dy: &[f32], dweight: &mut [f32]) {
        let &Self { inputs, outputs } = self;
        assert_eq!(dweight.len(), inputs * outputs);
        // The narrower operand is the left-hand one: its rows are read piece by piece, and lie closer together.
        if outputs <= inputs {
            let sums = outer(dy, outputs, x, inputs);
            dweight.par_chunks_mut(inputs).enumerate().for_each(|(output, row)| {
                for (panel, row) in row.chunks_mut(PANEL).enumerate() {
                    row.copy_from_slice(&sums[(panel * outputs + output) * PANEL..][..row.len()]);
                }
            });
        } else {
            let sums = outer(x, inputs, dy, outputs);
            dweight.par_chunks_mut(inputs).enumerate().for_each(|(output, row)| {
                let lane = &sums[output / PANEL * inputs * PANEL + output % PANEL..];
                row.iter_mut().zip(lane.iter().step_by(PANEL)).for_each(|(to, from)| *to = *from);
            });
        }
    }
}

/// The sum of rows of `width` elements: the gradient by a bias that was added to each.
pub fn row_sum(rows: &[f32], width: usize) -> Vec<f32> {
    let sum = |rows: &[f32]| {
        let mut sum = vec![0.0; width];
        vectorised(
            #[inline(always)]
            || rows.chunks_exact(width).for_each(|row| add_scaled(&mut sum, 1.0, row)),
        );
        sum
    };
    let parts: Vec<Vec<f32>> = rows.par_chunks(CHUNK * width).map(sum).collect();
    let mut total = vec![0.0; width];
    parts.iter().for_each(|part| add_scaled(&mut total, 1.0, part));
    total
}

/// `y` `[rows, columns]`: each row of `x` `[rows, depth]` times the panels, plus the bias.
fn product(x: &[f32], depth: usize, panels: &[f32], y: &mut [f32], columns: usize, bias: Option<&[f32]>) {
    let rows = y.len() / columns;
    assert!(x.len() == rows * depth && y.len() == rows * columns);
    // No result depends on the shares, so they may depend on the number of threads.
    let most = (CACHED / depth.max(1)).clamp(32, 512);
    let tasks = rows.div_ceil(most).next_multiple_of(rayon::current_num_threads());
    let share = rows.div_ceil(tasks.max(1)).next_multiple_of(STEP).max(STEP);
    y.par_chunks_mut(share * columns).zip(x.par_chunks(share * depth)).for_each(|(y, x)| {
        let starts = |width: usize| -> Vec<usize> { (0..y.len() / columns).map(|row| row * width).collect() };
        let (a_offsets, c_offsets) = (&starts(depth)[..], &starts(columns)[..]);
        Rows { a: x, a_offsets, taps: &[0], depth, panels, columns, c_offsets }.multiply_into(y);
        if let Some(bias) = bias {
            vectorised(
                #[inline(always)]
                || y.chunks_exact_mut(columns).for_each(|row| add_scaled(row, 1.0, bias)),
            );
        }
    });
}

/// `Σ_r a[r] ⊗ b[r]` over all rows, of `rows` and `columns` elements, as panels of columns `[panel][rows][PANEL]`.
fn outer(a: &[f32], rows: usize, b: &[f32], columns: usize) -> Scratch {
    let count = a.len() / rows;
    assert!(a.len() == count * rows && b.len() == count * columns);
    let (wide_a, wide_b) = (widened(a, rows, STEP), widened(b, columns, PANEL));
    let (a, b) = (wide_a.as_deref().unwrap_or(a), wide_b.as_deref().unwrap_or(b));
    let strides = (rows.next_multiple_of(STEP), columns.next_multiple_of(PANEL));
    let (panels, size) = (padded(columns) / PANEL, padded(columns) * rows);
    let mut sums = scratch::take(size * count.div_ceil(PART).max(1));
    // Several parts read each row once; the panels of few parts are tasks of their own, and share the rows.
    let group = if count > 4 * PART { panels } else { 1 };
    sums.par_chunks_mut(group * rows * PANEL).enumerate().for_each(|(task, sums)| {
        sums.fill(0.0);
        let (part, panel) = (task * group / panels, task * group % panels);
        let last = count.min((part + 1) * PART);
        for first in (part * PART..last).step_by(CHUNK) {
            for (panel, sums) in (panel..).zip(sums.chunks_exact_mut(rows * PANEL)) {
                let runs = &[(first * strides.0, first * strides.1 + panel * PANEL)][..];
                let (count, columns) = (CHUNK.min(last - first), PANEL.min(columns - panel * PANEL));
                Outer { a, b, runs, count, strides, rows, columns }.accumulate_into(sums);
            }
        }
    });
    let (total, parts) = sums.split_at_mut(size);
    total.par_chunks_mut(rows * PANEL).enumerate().for_each(|(panel, total)| {
        for part in parts.chunks_exact(size) {
            let part = &part[panel * rows * PANEL..][..rows * PANEL];
            vectorised(
                #[inline(always)]
                || add_scaled(total, 1.0, part),
            );
        }
    });
    sums
}

/// A copy of rows of `width` elements with zeros behind each, up to a multiple of `step`; none where nothing is missing.
fn widened(rows: &[f32], width: usize, step: usize) -> Option<Scratch> {
    let wide = width.next_multiple_of(step);
    if wide == width {
        return None;
    }
    let mut copy = scratch::take(rows.len() / width * wide);
    for (copy, row) in copy.chunks_exact_mut(wide).zip(rows.chunks_exact(width)) {
        copy[..width].copy_from_slice(row);
        copy[width..].fill(0.0);
    }
    Some(copy)
}
