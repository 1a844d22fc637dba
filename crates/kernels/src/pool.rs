//! Pooling over windows and over whole maps.

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

    /// Index of the largest value in a window: the first of equals, and a NaN beats everything.
    fn winner(&self, map: &[f32], row: usize, column: usize) -> usize {
        let (rows, columns) = (self.cells(0, row), self.cells(1, column));
        let width = self.input[1];
        let mut best = rows.start * width + columns.start;
        for r in rows {
            for at in r * width + columns.start..r * width + columns.end {
                if map[at] > map[best] || (map[at].is_nan() && !map[best].is_nan()) {
                    best = at;
                }
            }
        }
        best
    }
}

/// The largest value of each window of each map: `x` `[maps, H, W]`, `y` `[maps, windows]`. Padding never wins.
///
/// # Panics
/// If the window doesn't fit, or padding is more than half a window (a window would be all padding).
pub fn max_forward(x: &[f32], window: &Window, y: &mut [f32]) {
    let [rows, columns] = window.output().expect("the window is not larger than the map");
    let map = window.input[0] * window.input[1];
    y.par_chunks_mut(rows * columns).zip(x.par_chunks(map)).for_each(|(y, x)| {
        for (row, y) in y.chunks_mut(columns).enumerate() {
            for (column, y) in y.iter_mut().enumerate() {
                *y = x[window.winner(x, row, column)];
            }
        }
    });
}

/// The gradient of [`max_forward`]: that of each window goes to its first largest value. `dx` is overwritten.
///
/// # Panics
/// As [`max_forward`].
pub fn max_backward(x: &[f32], window: &Window, dy: &[f32], dx: &mut [f32]) {
    let [rows, columns] = window.output().expect("the window is not larger than the map");
    let map = window.input[0] * window.input[1];
    let maps = dx.par_chunks_mut(map).zip(x.par_chunks(map)).zip(dy.par_chunks(rows * columns));
    maps.for_each(|((dx, x), dy)| {
        dx.fill(0.0);
        for (row, dy) in dy.chunks(columns).enumerate() {
            for (column, dy) in dy.iter().enumerate() {
                dx[window.winner(x, row, column)] += dy;
            }
        }
    });
}

/// Maps that one task of the global pooling takes.
const MAPS: usize = 64;

/// The mean of each map of `area` cells: `x` `[maps, area]`, `y` `[maps]`.
pub fn global_average_forward(x: &[f32], area: usize, y: &mut [f32]) {
    debug_assert_eq!(x.len(), area * y.len());
    y.par_chunks_mut(MAPS).zip(x.par_chunks(MAPS * area)).for_each(|(y, x)| {
        for (y, x) in y.iter_mut().zip(x.chunks(area)) {
            *y = crate::reduce::sum(x) / area as f32;
        }
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
        max_backward(&x, &window, &[2.0, 5.0], &mut dx);
        assert_eq!(dx, [0.0, 7.0, 0.0, 0.0, 0.0, 0.0]);
        let too_large = Window { kernel: [5, 5], ..window };
        assert_eq!(too_large.output(), None);
    }
}
