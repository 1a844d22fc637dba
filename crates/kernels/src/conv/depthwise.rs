//! Convolution in which every channel has its own filter: sums of shifted rows, channel by channel.

use rayon::prelude::*;

use super::Conv;

/// For tap `(i, j)` and output row `y`: the output columns, the first input index, and the step between inputs.
struct Line {
    columns: std::ops::Range<usize>,
    first: usize,
    step: usize,
}

fn line(conv: &Conv, y: usize, i: usize, j: usize) -> Option<Line> {
    let row = (y * conv.stride[0] + i * conv.dilation[0]).checked_sub(conv.padding[0])?;
    if row >= conv.size[0] {
        return None;
    }
    let shift = j * conv.dilation[1];
    let start = conv.padding[1].saturating_sub(shift).div_ceil(conv.stride[1]);
    let end =
        (conv.size[1] + conv.padding[1]).saturating_sub(shift).div_ceil(conv.stride[1]).min(conv.out()[1]);
    (start < end).then(|| Line {
        columns: start..end,
        first: row * conv.size[1] + start * conv.stride[1] + shift - conv.padding[1],
        step: conv.stride[1],
    })
}

fn for_each_line(conv: &Conv, mut each: impl FnMut(usize, usize, Line)) {
    for y in 0..conv.out()[0] {
        for i in 0..conv.kernel[0] {
            for j in 0..conv.kernel[1] {
                if let Some(line) = line(conv, y, i, j) {
                    each(y, i * conv.kernel[1] + j, line);
                }
            }
        }
    }
}

pub(super) fn forward(conv: &Conv, input: &[f32], weight: &[f32], bias: Option<&[f32]>, output: &mut [f32]) {
    let ([height, width], taps) = (conv.out(), conv.kernel[0] * conv.kernel[1]);
    let planes = input.par_chunks(conv.size[0] * conv.size[1]);
    output.par_chunks_mut(height * width).zip(planes).enumerate().for_each(|(plane, (to, from))| {
        let channel = plane % conv.channels;
        to.fill(bias.map_or(0.0, |bias| bias[channel]));
        for_each_line(conv, |y, tap, line| {
            let w = weight[channel * taps + tap];
            let to = &mut to[y * width..][line.columns];
            if line.step == 1 {
                to.iter_mut().zip(&from[line.first..]).for_each(|(to, x)| *to += w * x);
            } else {
                to.iter_mut()
                    .zip(from[line.first..].iter().step_by(line.step))
                    .for_each(|(to, x)| *to += w * x);
            }
        });
    });
}

pub(super) fn backward_input(conv: &Conv, grad: &[f32], weight: &[f32], grad_input: &mut [f32]) {
    let ([height, width], taps) = (conv.out(), conv.kernel[0] * conv.kernel[1]);
    let planes = grad.par_chunks(height * width);
    grad_input.par_chunks_mut(conv.size[0] * conv.size[1]).zip(planes).enumerate().for_each(
        |(plane, (to, from))| {
            let channel = plane % conv.channels;
            to.fill(0.0);
            for_each_line(conv, |y, tap, line| {
                let w = weight[channel * taps + tap];
                let from = &from[y * width..][line.columns];
                to[line.first..].iter_mut().step_by(line.step).zip(from).for_each(|(to, g)| *to += w * g);
            });
        },
    );
}

pub(super) fn backward_weight(conv: &Conv, input: &[f32], grad: &[f32], grad_weight: &mut [f32]) {
    let ([height, width], taps) = (conv.out(), conv.kernel[0] * conv.kernel[1]);
    let (size, out) = (conv.size[0] * conv.size[1], height * width);
    grad_weight.par_chunks_mut(taps).enumerate().for_each(|(channel, to)| {
        to.fill(0.0);
        for picture in 0..conv.batch {
            let plane = picture * conv.channels + channel;
            let (from, grad) = (&input[plane * size..][..size], &grad[plane * out..][..out]);
            for_each_line(conv, |y, tap, line| {
                let grad = &grad[y * width..][line.columns];
                to[tap] +=
                    from[line.first..].iter().step_by(line.step).zip(grad).map(|(x, g)| x * g).sum::<f32>();
            });
        }
    });
}
