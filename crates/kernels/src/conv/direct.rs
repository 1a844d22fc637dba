//! Convolution as matrix products over the taps of the filter, any stride, padding, dilation and groups.
//!
//! Forward and input gradient are the same gathering: a result pixel is a sum over taps of a source pixel's channels
//! times a matrix. For the input gradient with stride s the result pixels fall into s × s classes, each of which sees
//! its own taps only; no zero is ever multiplied.

use rayon::prelude::*;

use super::Conv;
use super::layout::{ChannelsLast, Frame};
use crate::gemm::{CACHED, Outer, PANEL, Rows, padded};
use crate::scratch;

/// Result pixels that share their taps.
struct Class {
    /// For each pixel of a picture: where its source starts, and where its result goes.
    pixels: Vec<(usize, usize)>,
    /// Offsets of the taps from a pixel's source.
    taps: Vec<usize>,
    /// The matrix of each tap, `[groups][panel][taps * depth][PANEL]`.
    panels: Vec<f32>,
}

/// Pixels per task: enough to amortise the reading of the filters.
const PIXELS: usize = 256;

pub(super) fn forward(conv: &Conv, input: &[f32], weight: &[f32], bias: Option<&[f32]>, output: &mut [f32]) {
    let frame = [0, 1].map(|i| Frame { before: conv.padding[i], extent: conv.size[i] + 2 * conv.padding[i] });
    let source = ChannelsLast::from_planes(input, conv.channels, conv.size, frame, conv.channels);
    let [height, width] = conv.out();
    let mut result = ChannelsLast::results(conv.batch, conv.filters, height, width);
    let at = |y: usize, x: usize| (y * source.width + x) * source.stride;
    let pixels = (0..height).flat_map(|y| {
        let stride = result.stride;
        (0..width).map(move |x| (at(y * conv.stride[0], x * conv.stride[1]), (y * width + x) * stride))
    });
    let all: Vec<(usize, usize)> = taps(conv).collect();
    let class = Class {
        pixels: pixels.collect(),
        taps: all.iter().map(|&(i, j)| at(i * conv.dilation[0], j * conv.dilation[1])).collect(),
        panels: panels(conv, weight, &all, false),
    };
    let depth = conv.channels / conv.groups;
    gather(&source, &mut result, &[class], conv.groups, depth, conv.filters / conv.groups);
    result.to_planes(output, bias, conv.filters, [height, width]);
}

pub(super) fn backward_input(conv: &Conv, grad: &[f32], weight: &[f32], grad_input: &mut [f32]) {
    // Row y of the input meets tap i at output row (y + padding - i · dilation) / stride, where that is whole.
    let out = conv.out();
    let before = [0, 1].map(|i| {
        let reach = (conv.kernel[i] - 1) * conv.dilation[i];
        reach.saturating_sub(conv.padding[i]).div_ceil(conv.stride[i])
    });
    let frame = [0, 1].map(|i| {
        let last = (conv.size[i] - 1 + conv.padding[i]) / conv.stride[i];
        Frame { before: before[i], extent: before[i] + out[i].max(last + 1) }
    });
    let source = ChannelsLast::from_planes(grad, conv.filters, out, frame, conv.filters);
    let [height, width] = conv.size;
    let mut result = ChannelsLast::results(conv.batch, conv.channels, height, width);
    let meets = |axis: usize, place: usize, tap: usize| {
        let position = place + before[axis] * conv.stride[axis] + conv.padding[axis];
        let position = position - tap * conv.dilation[axis];
        position.is_multiple_of(conv.stride[axis]).then_some(position / conv.stride[axis])
    };
    let at = |y: usize, x: usize| (y * source.width + x) * source.stride;
    let mut classes = Vec::new();
    for first_row in 0..conv.stride[0].min(height) {
        for first_column in 0..conv.stride[1].min(width) {
            let seen: Vec<(usize, usize)> = taps(conv)
                .filter(|&(i, j)| meets(0, first_row, i).is_some() && meets(1, first_column, j).is_some())
                .collect();
            let offsets = seen
                .iter()
                .filter_map(|&(i, j)| Some(at(meets(0, first_row, i)?, meets(1, first_column, j)?)));
            let pixels = (first_row..height).step_by(conv.stride[0]).flat_map(|y| {
                let stride = result.stride;
                (first_column..width).step_by(conv.stride[1]).map(move |x| {
                    let source = at((y - first_row) / conv.stride[0], (x - first_column) / conv.stride[1]);
                    (source, (y * width + x) * stride)
                })
            });
            let (taps, pixels) = (offsets.collect(), pixels.collect());
            classes.push(Class { pixels, taps, panels: panels(conv, weight, &seen, true) });
        }
    }
    let depth = conv.filters / conv.groups;
    gather(&source, &mut result, &classes, conv.groups, depth, conv.channels / conv.groups);
    result.to_planes(grad_input, None, conv.channels, conv.size);
}

/// All taps, rows first.
fn taps(conv: &Conv) -> impl Iterator<Item = (usize, usize)> + use<> {
    let [rows, columns] = conv.kernel;
    (0..rows).flat_map(move |i| (0..columns).map(move |j| (i, j)))
}

/// The filters as panels: `[groups][panel][taps * depth][PANEL]`, from input to filter, or the other way round.
fn panels(conv: &Conv, weight: &[f32], taps: &[(usize, usize)], transposed: bool) -> Vec<f32> {
    let (inputs, outputs) = (conv.channels / conv.groups, conv.filters / conv.groups);
    let (depth, columns) = if transposed { (outputs, inputs) } else { (inputs, outputs) };
    let [rows, width] = conv.kernel;
    let mut panels = vec![0.0; conv.groups * padded(columns) * taps.len() * depth];
    panels.par_chunks_mut((PANEL * taps.len() * depth).max(1)).enumerate().for_each(|(index, panel)| {
        let (group, first) = (index / (padded(columns) / PANEL), index % (padded(columns) / PANEL) * PANEL);
        for (row, line) in panel.chunks_exact_mut(PANEL).enumerate() {
            let ((i, j), from) = (taps[row / depth], row % depth);
            for (column, value) in (first..columns.min(first + PANEL)).zip(line) {
                let (input, output) = if transposed { (column, from) } else { (from, column) };
                *value = weight[(((group * outputs + output) * inputs + input) * rows + i) * width + j];
            }
        }
    });
    panels
}

/// Fills all results, group by group and class by class, in parallel over runs of pictures.
fn gather(
    source: &ChannelsLast,
    result: &mut ChannelsLast,
    classes: &[Class],
    groups: usize,
    depth: usize,
    columns: usize,
) {
    let (from, to, stride) = (source.picture(), result.picture(), result.stride);
    let pictures = PIXELS.div_ceil((result.height * result.width).max(1));
    let whole = (result.data.len() - PANEL) / to.max(1) * to;
    result.data[..whole].par_chunks_mut((pictures * to).max(1)).enumerate().for_each(|(task, out)| {
        let first = task * pictures;
        for class in classes {
            if class.taps.is_empty() {
                for picture in 0..out.len() / to {
                    class.pixels.iter().for_each(|&(_, c)| out[picture * to + c..][..stride].fill(0.0));
                }
                continue;
            }
            for group in 0..groups {
                let here = 0..out.len() / to;
                let place = |picture: usize| class.pixels.iter().map(move |&(a, c)| (picture, a, c));
                let all: Vec<_> = here.flat_map(place).collect();
                let a_offsets: Vec<_> =
                    all.iter().map(|&(p, a, _)| (first + p) * from + a + group * depth).collect();
                let c_offsets: Vec<_> = all.iter().map(|&(p, _, c)| p * to + c + group * columns).collect();
                let size = class.panels.len() / groups;
                let panels = &class.panels[group * size..(group + 1) * size];
                // Pixels that stay in the second-level cache while all panels are gone through.
                let share = (CACHED / source.stride).max(PIXELS);
                for (a_offsets, c_offsets) in a_offsets.chunks(share).zip(c_offsets.chunks(share)) {
                    let (a, taps) = (&source.data[..], &class.taps[..]);
                    Rows { a, a_offsets, taps, depth, panels, columns, c_offsets }.multiply_into(out);
                }
            }
        }
    });
}

pub(super) fn backward_weight(conv: &Conv, input: &[f32], grad: &[f32], grad_weight: &mut [f32]) {
    let frame = [0, 1].map(|i| Frame { before: conv.padding[i], extent: conv.size[i] + 2 * conv.padding[i] });
    let source = ChannelsLast::from_planes(input, conv.channels, conv.size, frame, conv.channels);
    let [height, width] = conv.out();
    let tight = [height, width].map(|extent| Frame { before: 0, extent });
    let grad = ChannelsLast::from_planes(grad, conv.filters, [height, width], tight, padded(conv.filters));
    let (inputs, outputs) = (conv.channels / conv.groups, conv.filters / conv.groups);
    let all: Vec<(usize, usize)> = taps(conv).collect();
    let panels = padded(outputs) / PANEL;
    // Small filters are summed over a few parts of the batch at once; the parts are fixed, and so is the sum's order.
    let parts = (conv.output_len() / conv.weight_len().max(1)).clamp(1, 8).min(conv.batch.max(1));
    let share = conv.batch.div_ceil(parts.max(1)).max(1);
    let tile = inputs * PANEL;
    let units = conv.groups * all.len() * panels;
    let mut sums = scratch::take(parts * units * tile);
    sums.par_chunks_mut(tile).enumerate().for_each(|(index, sums)| {
        sums.fill(0.0);
        let (part, unit) = (index / units, index % units);
        let (group, tap, panel) = (unit / (all.len() * panels), unit / panels % all.len(), unit % panels);
        let (i, j) = all[tap];
        let runs: Vec<(usize, usize)> = (part * share..conv.batch.min((part + 1) * share))
            .flat_map(|b| (0..height).map(move |y| (b, y)))
            .map(|(b, y)| {
                let row = y * conv.stride[0] + i * conv.dilation[0];
                let a = b * source.picture() + (row * source.width + j * conv.dilation[1]) * source.stride;
                let g = b * grad.picture() + y * width * grad.stride;
                (a + group * inputs, g + group * outputs + panel * PANEL)
            })
            .collect();
        let strides = (conv.stride[1] * source.stride, grad.stride);
        let (a, b, columns) = (&source.data, &grad.data, outputs - panel * PANEL);
        Outer { a, b, runs: &runs, count: width, strides, rows: inputs, columns }.accumulate_into(sums);
    });
    grad_weight.par_chunks_mut((inputs * all.len()).max(1)).enumerate().for_each(|(filter, to)| {
        let (group, output) = (filter / outputs, filter % outputs);
        for tap in 0..all.len() {
            let unit = (group * all.len() + tap) * panels + output / PANEL;
            for input in 0..inputs {
                let place = input * PANEL + output % PANEL;
                to[input * all.len() + tap] =
                    (0..parts).map(|part| sums[(part * units + unit) * tile + place]).sum();
            }
        }
    });
}
