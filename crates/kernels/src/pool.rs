//! Pooling over windows and over whole maps.

use crate::reduce::{sum, vectorised};
use rayon::prelude::*;

/// A window that moves over maps of one size; `[rows, columns]` each.
#[derive(Clone, Copy, Debug)]
pub struct Window {
    /// Size of the input map.
    pub input: [usize; 2],
    /// Size of the window.
    pub kernel: [usize; 2],
    /// Steps between windows.
    pub stride: [usize; 2],
    /// Cells added on either side.
    pub padding: [usize; 2],
}

impl Window {
    /// How many windows there are along each axis; `None` where a window is larger than the padded map.
    pub fn output(&self) -> Option<[usize; 2]> {
        let along = |axis: usize| {
            let room = (self.input[axis] + 2 * self.padding[axis]).checked_sub(self.kernel[axis])?;
            Some(room / self.stride[axis] + 1)
        };
        Some([along(0)?, along(1)?])
    }

    /// The cells of the map that the `index`-th window along `axis` covers.
    fn cells(&self, axis: usize, index: usize) -> std::ops::Range<usize> {
        let start = index * self.stride[axis];
        let end = (start + self.kernel[axis]).saturating_sub(self.padding[axis]).min(self.input[axis]);
        start.saturating_sub(self.padding[axis])..end
    }

    /// For each window of a row, the first cell in row-major order that holds its largest value, `y`. Offsets are tried
    /// from the last to the first, each for the whole row at once.
    #[inline(always)]
    fn first_in_row(&self, map: &[f32], row: usize, y: &[f32], first: &mut [usize]) {
        let (width, stride, padding) = (self.input[1], self.stride[1], self.padding[1]);
        for line in self.cells(0, row).rev() {
            for offset in (0..self.kernel[1]).rev() {
                // The windows whose cell at this offset lies in the map.
                let from = padding.saturating_sub(offset).div_ceil(stride);
                let Some(room) = (width + padding).checked_sub(offset + 1) else { continue };
                let to = (room / stride + 1).min(first.len());
                for column in from..to {
                    let cell = line * width + column * stride + offset - padding;
                    let holds = map[cell] == y[column] || (map[cell].is_nan() && y[column].is_nan());
                    first[column] = if holds { cell } else { first[column] };
                }
            }
        }
    }
}

/// The larger of two values; a NaN beats everything.
#[inline(always)]
fn larger(a: f32, b: f32) -> f32 {
    if b > a || b.is_nan() { b } else { a }
}

/// The largest value of each window of each map: `x` `[maps, H, W]`, `y` `[maps, windows]`. Padding never wins.
///
/// # Panics
/// If the window doesn't fit, or padding is more than half a window (a window would be all padding).
pub fn max_forward(x: &[f32], window: &Window, y: &mut [f32]) {
    let [rows, columns] = window.output().expect("the window is not larger than the map");
    let [height, width] = window.input;
    let maps = y.par_chunks_mut(rows * columns).zip(x.par_chunks(height * width));
    maps.for_each_init(Vec::new, |line, (y, x)| {
        vectorised(
            #[inline(always)]
            || {
                for (row, y) in y.chunks_mut(columns).enumerate() {
                    // First down the columns, for whole rows at once, then along the row.
                    let cells = window.cells(0, row);
                    line.clear();
                    line.extend_from_slice(&x[cells.start * width..][..width]);
                    for x in x[(cells.start + 1) * width..cells.end * width].chunks(width) {
                        line.iter_mut().zip(x).for_each(|(line, &x)| *line = larger(*line, x));
                    }
                    for (column, y) in y.iter_mut().enumerate() {
                        let cells = &line[window.cells(1, column)];
                        *y = cells[1..].iter().fold(cells[0], |top, &x| larger(top, x));
                    }
                }
            },
        );
    });
}

/// The gradient of [`max_forward`] from its operand and result: that of each window goes to its first largest value.
/// `dx` is overwritten.
///
/// # Panics
/// As [`max_forward`].
pub fn max_backward(x: &[f32], y: &[f32], window: &Window, dy: &[f32], dx: &mut [f32]) {
    let [rows, columns] = window.output().expect("the window is not larger than the map");
    let (large, small) = (window.input[0] * window.input[1], rows * columns);
    let results = y.par_chunks(small).zip(dy.par_chunks(small));
    let maps = dx.par_chunks_mut(large).zip(x.par_chunks(large)).zip(results);
    maps.for_each_init(
        || vec![0; columns],
        |first, ((dx, x), (y, dy))| {
            dx.fill(0.0);
            vectorised(
                #[inline(always)]
                || {
                    for (row, (y, dy)) in y.chunks(columns).zip(dy.chunks(columns)).enumerate() {
                        window.first_in_row(x, row, y, first);
                        first.iter().zip(dy).for_each(|(&cell, dy)| dx[cell] += dy);
                    }
                },
            );
        },
    );
}

/// Maps that one task of the global pooling takes.
const MAPS: usize = 64;

/// The mean of each map of `area` cells: `x` `[maps, area]`, `y` `[maps]`.
pub fn global_average_forward(x: &[f32], area: usize, y: &mut [f32]) {
    debug_assert_eq!(x.len(), area * y.len());
    y.par_chunks_mut(MAPS).zip(x.par_chunks(MAPS * area)).for_each(|(y, x)| {
        vectorised(
            #[inline(always)]
            || {
                for (y, x) in y.iter_mut().zip(x.chunks(area)) {
                    *y = sum(x) / area as f32;
                }
            },
        );
    });
}

/// The gradient of [`global_average_forward`]; `dx` is overwritten.
pub fn global_average_backward(dy: &[f32], area: usize, dx: &mut [f32]) {
    debug_assert_eq!(dx.len(), area * dy.len());
    dx.par_chunks_mut(MAPS * area).zip(dy.par_chunks(MAPS)).for_each(|(dx, dy)| {
        for (dx, dy) in dx.chunks_mut(area).zip(dy) {
            dx.fill(dy / area as f32);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_maximum_gets_the_gradient_and_padding_never_wins() {
        let window = Window { input: [2, 3], kernel: [3, 3], stride: [2, 2], padding: [1, 1] };
        assert_eq!(window.output(), Some([1, 2]));
        let x = [-3.0, -1.0, -1.0, -1.0, -2.0, -1.0];
        let (mut y, mut dx) = ([0.0; 2], [9.0; 6]);
        max_forward(&x, &window, &mut y);
        assert_eq!(y, [-1.0, -1.0]);
        max_backward(&x, &y, &window, &[2.0, 5.0], &mut dx);
        assert_eq!(dx, [0.0, 7.0, 0.0, 0.0, 0.0, 0.0]);
        max_forward(&[0.0, 1.0, 2.0, f32::NAN, 3.0, 4.0], &window, &mut y);
        assert!(y[0].is_nan() && y[1] == 4.0);
        let too_large = Window { kernel: [5, 5], ..window };
        assert_eq!(too_large.output(), None);
    }
}
