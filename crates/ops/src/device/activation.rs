//! ReLU and GELU.

use adautomix_kernels::device::activation;
use candle_core::{Result, Tensor};

use super::{Queue, fault};
use crate::node::record1;

pub(crate) fn relu(x: &Tensor) -> Result<Tensor> {
    let (queue, x) = (Queue::of(x)?, x.contiguous()?);
    let result = queue.fresh(x.shape())?;
    activation::relu_forward(&queue, queue.span(&x)?, result.span(&queue)?).map_err(fault)?;
    let backward = |x: &Tensor, y: &Tensor, dy: &Tensor| {
        let queue = Queue::of(x)?;
        let (dx, to) = queue.fresh_tensor(x.shape())?;
        activation::relu_backward(&queue, queue.span(y)?, queue.span(dy)?, to).map_err(fault)?;
        Ok(Some(dx))
    };
    record1("relu", result, &x, backward)
}

pub(crate) fn gelu(x: &Tensor) -> Result<Tensor> {
    let (queue, x) = (Queue::of(x)?, x.contiguous()?);
    let result = queue.fresh(x.shape())?;
    activation::gelu_forward(&queue, queue.span(&x)?, result.span(&queue)?).map_err(fault)?;
    let backward = |x: &Tensor, _: &Tensor, dy: &Tensor| {
        let queue = Queue::of(x)?;
        let (dx, to) = queue.fresh_tensor(x.shape())?;
        activation::gelu_backward(&queue, queue.span(x)?, queue.span(dy)?, to).map_err(fault)?;
        Ok(Some(dx))
    };
    record1("gelu", result, &x, backward)
}
