//! Pooling over windows and over whole maps: see [`crate::pool`].

use half::bf16;

use super::{BLOCK, Fault, Launch, Map, Result, Span, arguments, blocks, each, each_by_warp, whole};
use crate::pool::Window;

/// Rows of a grid of maps at most: a block then takes several.
const MAPS: usize = 1 << 12;

/// The grid of threads for `places` of each of some maps, and whether a thread takes several channels at once.
fn grid<T: Map>(places: [usize; 2], [maps, inner]: [usize; 2], aligned: bool) -> ([usize; 2], bool) {
    let wide = T::ROWS && aligned && inner.is_multiple_of(T::WIDTH);
    let groups = if wide { inner / T::WIDTH } else { inner };
    let threads = places[0] * places[1] * groups;
    ([threads.div_ceil(BLOCK as usize), maps.min(MAPS)], wide)
}

impl Window {
    /// How many there are along each axis. None of them may lie outside the map, where it would have no largest value.
    fn windows(&self) -> Result<[usize; 2]> {
        let within = (0..2).all(|axis| 2 * self.padding[axis] <= self.kernel[axis]);
        let windows = self.output().filter(|_| within);
        windows.ok_or_else(|| {
            Fault::new("max_pool: the window is larger than the map, or its padding than half of it")
        })
    }

    /// The largest value of each window of `maps` maps of `inner` channels that lie side by side, and the cell that holds it,
    /// which the gradient needs. A plane is a map of one channel.
    ///
    /// # Errors
    /// If the window or a buffer doesn't fit.
    pub fn device_max_forward<T: Map>(
        &self,
        queue: &impl Launch,
        [maps, inner]: [usize; 2],
        x: Span<T>,
        y: Span<T>,
        cells: Span<u32>,
    ) -> Result<()> {
        let ([height, width], [rows, columns]) = (self.input, self.windows()?);
        whole("max_pool", x, &[maps, height, width, inner])?;
        whole("max_pool", y, &[maps, rows, columns, inner])?;
        whole("max_pool", cells, &[maps, rows, columns, inner])?;
        let ([kernel, kernels], [stride, strides], [padding, paddings]) =
            (self.kernel, self.stride, self.padding);
        let arguments = arguments![
            x, y, cells, maps, inner, height, width, rows, columns, kernel, kernels, stride, strides,
            padding, paddings
        ];
        let aligned = x.aligned() && y.aligned() && cells.aligned();
        let (grid, wide) = grid::<T>([rows, columns], [maps, inner], aligned);
        let rows_kernel = if wide { "max_pool_forward_wide" } else { "max_pool_forward_bf16" };
        blocks(queue, T::kernel("max_pool_forward", rows_kernel), grid, BLOCK, arguments)
    }

    /// The gradient of [`device_max_forward`](Self::device_max_forward).
    ///
    /// # Errors
    /// If the window or a buffer doesn't fit.
    pub fn device_max_backward<T: Map>(
        &self,
        queue: &impl Launch,
        [maps, inner]: [usize; 2],
        cells: Span<u32>,
        dy: Span<T>,
        dx: Span<T>,
    ) -> Result<()> {
        let ([height, width], [rows, columns]) = (self.input, self.windows()?);
        whole("max_pool", dx, &[maps, height, width, inner])?;
        whole("max_pool", dy, &[maps, rows, columns, inner])?;
        whole("max_pool", cells, &[maps, rows, columns, inner])?;
        let ([kernel, kernels], [stride, strides], [padding, paddings]) =
            (self.kernel, self.stride, self.padding);
        let arguments = arguments![
            cells, dy, dx, maps, inner, height, width, rows, columns, kernel, kernels, stride, strides,
            padding, paddings
        ];
        let aligned = cells.aligned() && dy.aligned() && dx.aligned();
        let (grid, wide) = grid::<T>([height, width], [maps, inner], aligned);
        let rows_kernel = if wide { "max_pool_backward_wide" } else { "max_pool_backward_bf16" };
        blocks(queue, T::kernel("max_pool_backward", rows_kernel), grid, BLOCK, arguments)
    }
}

/// The mean of each map of `area` cells: `x` `[maps, area]`, `y` `[maps]`.
///
/// # Errors
/// If the lengths don't fit.
pub fn global_average_forward(queue: &impl Launch, area: usize, x: Span<f32>, y: Span<f32>) -> Result<()> {
    whole("global_average", x, &[y.len(), area])?;
    each_by_warp(queue, "global_average_forward", y.len(), arguments![x, y, y.len(), area])
}

/// The gradient of [`global_average_forward`].
///
/// # Errors
/// If the lengths don't fit.
pub fn global_average_backward(queue: &impl Launch, area: usize, dy: Span<f32>, dx: Span<f32>) -> Result<()> {
    whole("global_average", dx, &[dy.len(), area])?;
    each(queue, "global_average_backward", dx.len(), arguments![dy, dx, dy.len(), area])
}

/// The mean over the `area` pixels of each picture of `x` `[maps, area, channels]`: `y` `[maps, channels]`.
///
/// # Errors
/// If the lengths don't fit.
pub fn mean_of_pixels(
    queue: &impl Launch,
    [maps, channels, area]: [usize; 3],
    x: Span<bf16>,
    y: Span<f32>,
) -> Result<()> {
    whole("global_average", x, &[maps, area, channels])?;
    whole("global_average", y, &[maps, channels])?;
    each(queue, "global_average_forward_bf16", y.len(), arguments![x, y, maps, channels, area])
}

/// The gradient of [`mean_of_pixels`].
///
/// # Errors
/// If the lengths don't fit.
pub fn mean_of_pixels_backward(
    queue: &impl Launch,
    [maps, channels, area]: [usize; 3],
    dy: Span<f32>,
    dx: Span<bf16>,
) -> Result<()> {
    whole("global_average", dx, &[maps, area, channels])?;
    whole("global_average", dy, &[maps, channels])?;
    each(queue, "global_average_backward_bf16", dx.len(), arguments![dy, dx, maps, channels, area])
}
