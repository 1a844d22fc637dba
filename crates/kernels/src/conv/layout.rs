//! Between NCHW and the channels-last working layout.

use rayon::prelude::*;

use super::Conv;
use crate::gemm::PANEL;
use crate::scratch::{self, Scratch};

/// Channels-last pictures with a border: `[batch, height, width, stride]`, where `stride` is at least the channel count;
/// border and surplus channels are zero. One more panel follows, so that wide reads stay inside.
pub(super) struct ChannelsLast {
    pub(super) data: Scratch,
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) stride: usize,
}

/// Rows or columns around a picture: before it, and the whole extent.
#[derive(Clone, Copy)]
pub(super) struct Frame {
    pub(super) before: usize,
    pub(super) extent: usize,
}

impl ChannelsLast {
    /// Copies `[batch, channels, height, width]` into a frame.
    pub(super) fn from_planes(
        planes: &[f32],
        channels: usize,
        [height, width]: [usize; 2],
        frame: [Frame; 2],
        stride: usize,
    ) -> Self {
        let [rows, columns] = frame;
        let picture = rows.extent * columns.extent * stride;
        let batch = planes.len() / (channels * height * width).max(1);
        let mut data = scratch::take(batch * picture + PANEL);
        data[batch * picture..].fill(0.0);
        data[..batch * picture]
            .par_chunks_mut(picture)
            .zip(planes.par_chunks(channels * height * width))
            .for_each(|(to, from)| {
                let line = columns.extent * stride;
                for (y, to) in to.chunks_exact_mut(line).enumerate() {
                    if y < rows.before || y >= rows.before + height {
                        to.fill(0.0);
                        continue;
                    }
                    let inner = columns.before * stride..(columns.before + width) * stride;
                    to[..inner.start].fill(0.0);
                    to[inner.end..].fill(0.0);
                    let (from, to) = (&from[(y - rows.before) * width..], &mut to[inner]);
                    transpose(from, height * width, to, stride, channels, width);
                    if stride > channels {
                        to.chunks_exact_mut(stride).for_each(|pixel| pixel[channels..].fill(0.0));
                    }
                }
            });
        Self { data, height: rows.extent, width: columns.extent, stride }
    }

    /// An uninitialised buffer of results, without a border.
    pub(super) fn results(batch: usize, stride: usize, height: usize, width: usize) -> Self {
        Self { data: scratch::take(batch * height * width * stride + PANEL), height, width, stride }
    }

    /// Elements of a picture.
    pub(super) fn picture(&self) -> usize {
        self.height * self.width * self.stride
    }

    /// Copies the upper left `[height, width]` of each picture out to planes, adding a bias per channel.
    pub(super) fn to_planes(
        &self,
        planes: &mut [f32],
        bias: Option<&[f32]>,
        channels: usize,
        size: [usize; 2],
    ) {
        let [height, width] = size;
        planes.par_chunks_mut(channels * height * width).zip(self.data.par_chunks(self.picture())).for_each(
            |(to, from)| {
                // Without a margin the whole picture is one line.
                let (lines, line) = if self.width == width { (1, height * width) } else { (height, width) };
                for y in 0..lines {
                    let from = &from[y * self.width * self.stride..];
                    transpose(from, self.stride, &mut to[y * width..], height * width, line, channels);
                }
                if let Some(bias) = bias {
                    for (plane, bias) in to.chunks_exact_mut(height * width).zip(bias) {
                        plane.iter_mut().for_each(|x| *x += bias);
                    }
                }
            },
        );
    }
}

/// `to[column][row] = from[row][column]`; the strides separate the rows of `from` and of `to`.
pub(super) fn transpose(
    from: &[f32],
    from_stride: usize,
    to: &mut [f32],
    to_stride: usize,
    rows: usize,
    columns: usize,
) {
    if rows == 0 || columns == 0 {
        return;
    }
    assert!((rows - 1) * from_stride + columns <= from.len() && (columns - 1) * to_stride + rows <= to.len());
    #[cfg_attr(not(target_arch = "x86_64"), expect(unused_mut))]
    let (mut whole_rows, mut whole_columns) = (0, 0);
    #[cfg(target_arch = "x86_64")]
    if std::arch::is_x86_feature_detected!("avx") {
        (whole_rows, whole_columns) = (rows / 8 * 8, columns / 8 * 8);
        for row in (0..whole_rows).step_by(8) {
            for column in (0..whole_columns).step_by(8) {
                // SAFETY: the processor has AVX, and the 8×8 blocks lie in both matrices by the assertion.
                unsafe {
                    let from = from.as_ptr().add(row * from_stride + column);
                    transpose_block(
                        from,
                        from_stride,
                        to.as_mut_ptr().add(column * to_stride + row),
                        to_stride,
                    );
                }
            }
        }
    }
    for column in 0..columns {
        let first = if column < whole_columns { whole_rows } else { 0 };
        for row in first..rows {
            to[column * to_stride + row] = from[row * from_stride + column];
        }
    }
}

/// Transposes 8×8 elements in registers.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx")]
unsafe fn transpose_block(from: *const f32, from_stride: usize, to: *mut f32, to_stride: usize) {
    use std::arch::x86_64::*;
    // SAFETY: the caller vouches for eight rows of eight elements on either side.
    let r: [__m256; 8] = std::array::from_fn(|i| unsafe { _mm256_loadu_ps(from.add(i * from_stride)) });
    let pair = |i: usize| (_mm256_unpacklo_ps(r[i], r[i + 1]), _mm256_unpackhi_ps(r[i], r[i + 1]));
    let ((a0, a1), (b0, b1), (c0, c1), (d0, d1)) = (pair(0), pair(2), pair(4), pair(6));
    let low = [
        _mm256_shuffle_ps::<0x44>(a0, b0),
        _mm256_shuffle_ps::<0xee>(a0, b0),
        _mm256_shuffle_ps::<0x44>(a1, b1),
        _mm256_shuffle_ps::<0xee>(a1, b1),
    ];
    let high = [
        _mm256_shuffle_ps::<0x44>(c0, d0),
        _mm256_shuffle_ps::<0xee>(c0, d0),
        _mm256_shuffle_ps::<0x44>(c1, d1),
        _mm256_shuffle_ps::<0xee>(c1, d1),
    ];
    for i in 0..4 {
        let (left, right) = (
            _mm256_permute2f128_ps::<0x20>(low[i], high[i]),
            _mm256_permute2f128_ps::<0x31>(low[i], high[i]),
        );
        // SAFETY: as above.
        unsafe {
            _mm256_storeu_ps(to.add(i * to_stride), left);
            _mm256_storeu_ps(to.add((i + 4) * to_stride), right);
        }
    }
}

/// The pixels that a 1×1 filter with a stride sees.
pub(super) fn picked(conv: &Conv, input: &[f32]) -> Scratch {
    let ([height, width], [rows, columns]) = (conv.size, conv.out());
    let mut picked = scratch::take(conv.batch * conv.channels * rows * columns);
    picked.par_chunks_mut(rows * columns).zip(input.par_chunks(height * width)).for_each(|(to, from)| {
        for (to, from) in to.chunks_exact_mut(columns).zip(from.chunks_exact(width).step_by(conv.stride[0])) {
            to.iter_mut().zip(from.iter().step_by(conv.stride[1])).for_each(|(to, from)| *to = *from);
        }
    });
    picked
}

/// The inverse of [`picked`], with zeros where the filter doesn't look.
pub(super) fn spread(conv: &Conv, picked: &[f32], output: &mut [f32]) {
    let ([height, width], [rows, columns]) = (conv.size, conv.out());
    output.par_chunks_mut(height * width).zip(picked.par_chunks(rows * columns)).for_each(|(to, from)| {
        to.fill(0.0);
        for (to, from) in to.chunks_exact_mut(width).step_by(conv.stride[0]).zip(from.chunks_exact(columns)) {
            to.iter_mut().step_by(conv.stride[1]).zip(from).for_each(|(to, from)| *to = *from);
        }
    });
}
