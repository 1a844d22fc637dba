//! Tokens in another order, matrices transposed.

use adautomix_kernels::device::rearrange;
use candle_core::{D, Result, Shape, Tensor};

use super::{Fresh, Queue, fault};
use crate::node::record1;

/// The tokens of `x` as `source` says, whose inverse is `target`, seen as `shape`.
pub(crate) fn reorder(x: &Tensor, [source, target]: [&Tensor; 2], shape: Shape) -> Result<Tensor> {
    let (x, target) = (x.contiguous()?, target.clone());
    let result = reordered(&x, source, shape)?;
    let backward = move |x: &Tensor, _: &Tensor, dy: &Tensor| {
        Ok(Some(reordered(dy, &target, x.shape().clone())?.tensor()))
    };
    record1("reorder", result, &x, backward)
}

fn reordered(x: &Tensor, source: &Tensor, shape: Shape) -> Result<Fresh> {
    let queue = Queue::of(x)?;
    let (result, width) = (queue.fresh(shape)?, x.dim(D::Minus1)?);
    rearrange::reorder(&queue, queue.span(x)?, queue.span(source)?, width, result.span(&queue)?)
        .map_err(fault)?;
    Ok(result)
}

/// The matrices of `x` transposed, seen as `shape`.
pub(crate) fn transpose(x: &Tensor, [rows, columns]: [usize; 2], shape: Shape) -> Result<Tensor> {
    let x = x.contiguous()?;
    let result = transposed(&x, [rows, columns], shape)?;
    let backward = move |x: &Tensor, _: &Tensor, dy: &Tensor| {
        Ok(Some(transposed(dy, [columns, rows], x.shape().clone())?.tensor()))
    };
    record1("transpose", result, &x, backward)
}

fn transposed(x: &Tensor, matrix: [usize; 2], shape: Shape) -> Result<Fresh> {
    let queue = Queue::of(x)?;
    let result = queue.fresh(shape)?;
    rearrange::transpose(&queue, queue.span(x)?, matrix, result.span(&queue)?).map_err(fault)?;
    Ok(result)
}
