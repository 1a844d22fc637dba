//! Pooling over windows and over whole maps.

use adautomix_kernels::device::pool;
use adautomix_kernels::pool::Window;
use candle_core::{DType, Result, Tensor};

use super::{Queue, fault};
use crate::node::record1;

/// `window` fits `x`.
pub(crate) fn max_pool2d(x: &Tensor, window: Window) -> Result<Tensor> {
    let (queue, x) = (Queue::of(x)?, x.contiguous()?);
    let (batch, channels, _, _) = x.dims4()?;
    let ([rows, columns], maps) = (window.output().unwrap_or_default(), batch * channels);
    let shape = (batch, channels, rows, columns);
    let (result, cells) = (queue.fresh(shape)?, Tensor::zeros(shape, DType::U32, x.device())?);
    let to = result.span(&queue)?;
    window.device_max_forward(&queue, maps, queue.span(&x)?, to, queue.span(&cells)?).map_err(fault)?;
    let backward = move |x: &Tensor, _: &Tensor, dy: &Tensor| {
        let queue = Queue::of(x)?;
        let (dx, to) = queue.fresh_tensor(x.shape())?;
        let (cells, dy) = (queue.span(&cells)?, queue.span(dy)?);
        window.device_max_backward(&queue, maps, cells, dy, to).map_err(fault)?;
        Ok(Some(dx))
    };
    record1("max-pool2d", result, &x, backward)
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
