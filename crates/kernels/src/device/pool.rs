//! Pooling over windows and over whole maps: see [`crate::pool`].

use super::{Fault, Launch, Result, Span, arguments, each, each_by_warp, whole};
use crate::pool::Window;

impl Window {
    fn windows(&self) -> Result<[usize; 2]> {
        self.output().ok_or_else(|| Fault::new("max_pool: the window is larger than the map"))
    }

    /// The largest value of each window of `maps` maps, and the cell that holds it, which the gradient needs.
    ///
    /// # Errors
    /// If the window or a buffer doesn't fit.
    pub fn device_max_forward(
        &self,
        queue: &impl Launch,
        maps: usize,
        x: Span<f32>,
        y: Span<f32>,
        cells: Span<u32>,
    ) -> Result<()> {
        let ([height, width], [rows, columns]) = (self.input, self.windows()?);
        whole("max_pool", x, &[maps, height, width])?;
        whole("max_pool", y, &[maps, rows, columns])?;
        whole("max_pool", cells, &[maps, rows, columns])?;
        let ([kernel, kernels], [stride, strides], [padding, paddings]) =
            (self.kernel, self.stride, self.padding);
        let arguments = arguments![
            x, y, cells, maps, height, width, rows, columns, kernel, kernels, stride, strides, padding,
            paddings
        ];
        each(queue, "max_pool_forward", y.len(), arguments)
    }

    /// The gradient of [`device_max_forward`](Self::device_max_forward).
    ///
    /// # Errors
    /// If the window or a buffer doesn't fit.
    pub fn device_max_backward(
        &self,
        queue: &impl Launch,
        maps: usize,
        cells: Span<u32>,
        dy: Span<f32>,
        dx: Span<f32>,
    ) -> Result<()> {
        let ([height, width], [rows, columns]) = (self.input, self.windows()?);
        whole("max_pool", dx, &[maps, height, width])?;
        whole("max_pool", dy, &[maps, rows, columns])?;
        whole("max_pool", cells, &[maps, rows, columns])?;
        let ([kernel, kernels], [stride, strides], [padding, paddings]) =
            (self.kernel, self.stride, self.padding);
        let arguments = arguments![
            cells, dy, dx, maps, height, width, rows, columns, kernel, kernels, stride, strides, padding,
            paddings
        ];
        each(queue, "max_pool_backward", dx.len(), arguments)
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
