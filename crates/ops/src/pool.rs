//! Pooling over windows and over whole maps.

use crate::buffers::{computed, gradient, on_kernels};
use crate::interpolate::resize;
use crate::maps::{by_planes, dims, into_planes};
use crate::node::record1;
use adautomix_kernels::pool::{self, Window};
use adautomix_kernels::resize::{Resize, Taps};
use candle_core::{D, DType, Result, Tensor, bail};

/// The largest value of each window of `x` `[B, C, H, W]`; `kernel`, `stride` and `padding` are `[rows, columns]`.
///
/// A map of `bf16` is `[B, H, W, C]`, before and after. Padding never wins, even where every value is negative. The gradient goes to the first maximum of a window in row-major
/// order, as in PyTorch.
///
/// # Errors
/// If the window doesn't fit or padding is more than half of it.
pub fn max_pool2d(x: &Tensor, kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Result<Tensor> {
    let window = window("max_pool2d", x, kernel, stride, padding)?;
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes_map(x) {
        return crate::device::pool::max_pool2d(x, window);
    }
    if x.dtype() == DType::BF16 {
        return by_planes(x, |x| max_pool2d(x, kernel, stride, padding));
    }
    if !on_kernels(x) {
        return composed::max_pool2d(x, &window);
    }
    let (batch, channels, _, _) = x.dims4()?;
    let [rows, columns] = window.output().unwrap_or_default();
    let x = x.contiguous()?;
    let y = computed((batch, channels, rows, columns), [&x], |[x], y| pool::max_forward(x, &window, y))?;
    let backward = move |x: &Tensor, y: &Tensor, dy: &Tensor| {
        gradient(x, [x, y, dy], |[x, y, dy], dx| pool::max_backward(x, y, &window, dy, dx))
    };
    record1("max-pool2d", y, &x, backward)
}

/// The mean of each window of `x` `[B, C, H, W]`; zeros that are padded count, as in PyTorch by default.
///
/// # Errors
/// As [`max_pool2d`].
pub fn avg_pool2d(x: &Tensor, kernel: [usize; 2], stride: [usize; 2], padding: [usize; 2]) -> Result<Tensor> {
    let window = window("avg_pool2d", x, kernel, stride, padding)?;
    let taps = |axis: usize| Taps::average(window.input[axis], kernel[axis], stride[axis], padding[axis]);
    resize(x, Resize { rows: taps(0), columns: taps(1) })
}

/// The mean of each channel: `[B, C, H, W]`, or `[B, H, W, C]` of `bf16`, to `[B, C]` of `f32`.
///
/// # Errors
/// If `x` hasn't four dimensions.
pub fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes_map(x) {
        return match x.dtype() {
            DType::BF16 => crate::device::pool::mean_of_pixels(x),
            _ => crate::device::pool::global_avg_pool(x),
        };
    }
    let x = into_planes(x)?;
    let (batch, channels, height, width) = x.dims4()?;
    if !on_kernels(&x) {
        return x.flatten_from(2)?.mean(D::Minus1);
    }
    let (x, area) = (x.contiguous()?, height * width);
    let y = computed((batch, channels), [&x], |[x], y| pool::global_average_forward(x, area, y))?;
    let backward = move |x: &Tensor, _: &Tensor, dy: &Tensor| {
        gradient(x, [dy], |[dy], dx| pool::global_average_backward(dy, area, dx))
    };
    record1("global-avg-pool", y, &x, backward)
}

fn window(
    op: &str,
    x: &Tensor,
    kernel: [usize; 2],
    stride: [usize; 2],
    padding: [usize; 2],
) -> Result<Window> {
    let [_, _, height, width] = dims(x)?;
    let window = Window { input: [height, width], kernel, stride, padding };
    let half = |axis: usize| kernel[axis] >= 1 && stride[axis] >= 1 && 2 * padding[axis] <= kernel[axis];
    if !(half(0) && half(1)) || window.output().is_none() {
        bail!(
            "{op}: kernel {kernel:?}, stride {stride:?}, padding {padding:?} don't fit a {height}x{width} map"
        );
    }
    Ok(window)
}

mod composed {
    use super::*;

    /// Takes the maximum over the taps of the window, one after the other. A tap in the padding reads the edge instead:
    /// with padding of at most half a window the edge belongs to the window, so that the maximum is the same.
    pub(super) fn max_pool2d(x: &Tensor, window: &Window) -> Result<Tensor> {
        let [rows, columns] = window.output().unwrap_or_default();
        let along = |axis: usize, tap: usize, count: usize| {
            let at = |i: usize| (i * window.stride[axis] + tap).saturating_sub(window.padding[axis]);
            let index: Vec<u32> = (0..count).map(|i| at(i).min(window.input[axis] - 1) as u32).collect();
            Tensor::new(index, x.device())
        };
        let mut best: Option<Tensor> = None;
        for row in 0..window.kernel[0] {
            let x = x.index_select(&along(0, row, rows)?, 2)?;
            for column in 0..window.kernel[1] {
                let x = x.index_select(&along(1, column, columns)?, 3)?;
                best = Some(match best {
                    Some(best) => x.gt(&best)?.where_cond(&x, &best)?,
                    None => x,
                });
            }
        }
        best.map_or_else(|| bail!("max_pool2d: an empty window"), Ok)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::agrees;

    #[test]
    fn pools_agree_with_their_composition() -> Result<()> {
        agrees(&[&[2, 3, 7, 9]], |x| max_pool2d(&x[0], [3, 3], [2, 2], [1, 1]))?;
        agrees(&[&[1, 2, 5, 8]], |x| max_pool2d(&x[0], [2, 3], [1, 2], [1, 0]))?;
        agrees(&[&[2, 2, 5, 6]], |x| avg_pool2d(&x[0], [2, 3], [2, 1], [1, 1]))?;
        agrees(&[&[2, 3, 4, 5]], |x| global_avg_pool(&x[0]))
    }

    #[test]
    fn a_window_that_does_not_fit_is_an_error() -> Result<()> {
        let x = Tensor::zeros((1, 1, 2, 2), candle_core::DType::F32, &candle_core::Device::Cpu)?;
        assert!(max_pool2d(&x, [3, 3], [1, 1], [0, 0]).is_err());
        assert!(max_pool2d(&x, [2, 2], [1, 1], [2, 2]).is_err());
        assert!(avg_pool2d(&x, [2, 2], [0, 1], [0, 0]).is_err());
        Ok(())
    }
}
