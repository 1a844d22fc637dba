//! Pooling over windows and over whole maps.

use adautomix_kernels::device::{Map, pool};
use adautomix_kernels::pool::Window;
use candle_core::{DType, Result, Shape, Tensor, WithDType};
use half::bf16;

use super::{Queue, fault};
use crate::maps::dims;
use crate::node::record1;

/// `window` fits `x`.
pub(crate) fn max_pool2d(x: &Tensor, window: Window) -> Result<Tensor> {
    let [batch, channels, _, _] = dims(x)?;
    match x.dtype() {
        DType::BF16 => max_pool::<bf16>(x, window, [batch, channels]),
        _ => max_pool::<f32>(x, window, [batch * channels, 1]),
    }
}

/// Of maps with `inner` channels side by side.
fn max_pool<T: Map + WithDType>(x: &Tensor, window: Window, [maps, inner]: [usize; 2]) -> Result<Tensor> {
    let (queue, x) = (Queue::of(x)?, x.contiguous()?);
    let [batch, channels, _, _] = dims(&x)?;
    let [rows, columns] = window.output().unwrap_or_default();
    let shape = shape(x.dtype(), [batch, channels, rows, columns]);
    let (result, (cells, won)) = (queue.fresh_of::<T>(shape.clone())?, queue.fresh_tensor::<u32>(shape)?);
    let (to, maps) = (result.span::<T>(&queue)?, [maps, inner]);
    window.device_max_forward(&queue, maps, queue.span(&x)?, to, won).map_err(fault)?;
    let backward = move |x: &Tensor, _: &Tensor, dy: &Tensor| {
        let queue = Queue::of(x)?;
        let (dx, to) = queue.fresh_tensor::<T>(x.shape())?;
        let (cells, dy) = (queue.span(&cells)?, queue.span(dy)?);
        window.device_max_backward(&queue, maps, cells, dy, to).map_err(fault)?;
        Ok(Some(dx))
    };
    record1("max-pool2d", result, &x, backward)
}

/// The shape of a map of a type and the sizes `[B, C, H, W]`.
fn shape(dtype: DType, [batch, channels, height, width]: [usize; 4]) -> Shape {
    match dtype {
        DType::BF16 => (batch, height, width, channels).into(),
        _ => (batch, channels, height, width).into(),
    }
}

/// `x` has its channels side by side.
pub(crate) fn mean_of_pixels(x: &Tensor) -> Result<Tensor> {
    let (queue, x) = (Queue::of(x)?, x.contiguous()?);
    let [batch, channels, height, width] = dims(&x)?;
    let (result, sizes) = (queue.fresh((batch, channels))?, [batch, channels, height * width]);
    pool::mean_of_pixels(&queue, sizes, queue.span(&x)?, result.span(&queue)?).map_err(fault)?;
    let backward = move |x: &Tensor, _: &Tensor, dy: &Tensor| {
        let queue = Queue::of(x)?;
        let (dx, to) = queue.fresh_tensor(x.shape())?;
        pool::mean_of_pixels_backward(&queue, sizes, queue.span(dy)?, to).map_err(fault)?;
        Ok(Some(dx))
    };
    record1("global-avg-pool", result, &x, backward)
}

pub(crate) fn global_avg_pool(x: &Tensor) -> Result<Tensor> {
    let (queue, x) = (Queue::of(x)?, x.contiguous()?);
    let (batch, channels, height, width) = x.dims4()?;
    let result = queue.fresh((batch, channels))?;
    let to = result.span(&queue)?;
    pool::global_average_forward(&queue, height * width, queue.span(&x)?, to).map_err(fault)?;
    let backward = move |x: &Tensor, _: &Tensor, dy: &Tensor| {
        let queue = Queue::of(x)?;
        let (dx, to) = queue.fresh_tensor(x.shape())?;
        pool::global_average_backward(&queue, height * width, queue.span(dy)?, to).map_err(fault)?;
        Ok(Some(dx))
    };
    record1("global-avg-pool", result, &x, backward)
}
