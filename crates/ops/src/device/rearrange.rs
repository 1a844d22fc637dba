//! Tokens in another order, matrices transposed.

use adautomix_kernels::device::rearrange;
use candle_core::{D, Result, Shape, Tensor};

use super::{Fresh, Queue, fault};
use crate::node::record1;

/// The tokens of `x` as `source` says, whose inverse is `target`, seen as `shape`.
pub(crate) fn reorder(x: &Tensor, [source, target]: [&Tensor; 2], shape: Shape) -> Result<Tensor> {
    // The width of a token is the operand's: the result may be seen as one of other tokens.
    let (x, target, width) = (x.contiguous()?, target.clone(), x.dim(D::Minus1)?);
    let result = reordered(&x, source, width, shape)?;
    let backward = move |x: &Tensor, _: &Tensor, dy: &Tensor| {
        Ok(Some(reordered(dy, &target, width, x.shape().clone())?.tensor()))
    };
    record1("reorder", result, &x, backward)
}

fn reordered(x: &Tensor, source: &Tensor, width: usize, shape: Shape) -> Result<Fresh> {
    let queue = Queue::of(x)?;
    let result = queue.fresh(shape)?;
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
