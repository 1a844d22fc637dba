//! Tokens in another order, matrices transposed.

use adautomix_kernels::device::rearrange::{self, Transposed};
use candle_core::{D, DType, Result, Shape, Tensor, WithDType};
use half::bf16;

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
pub(crate) fn transpose(x: &Tensor, matrix: [usize; 2], shape: Shape) -> Result<Tensor> {
    turn::<f32, f32>(x, matrix, shape)
}

/// The matrices of `x` transposed and in another type, seen as `shape`: from `f32` to `bf16` or back.
pub(crate) fn transpose_into(x: &Tensor, matrix: [usize; 2], dtype: DType, shape: Shape) -> Result<Tensor> {
    match dtype {
        DType::BF16 => turn::<f32, bf16>(x, matrix, shape),
        _ => turn::<bf16, f32>(x, matrix, shape),
    }
}

fn turn<From, To>(x: &Tensor, [rows, columns]: [usize; 2], shape: Shape) -> Result<Tensor>
where
    From: WithDType + Transposed<To>,
    To: WithDType + Transposed<From>,
{
    let x = x.contiguous()?;
    let result = transposed::<From, To>(&x, [rows, columns], shape)?;
    let backward = move |x: &Tensor, _: &Tensor, dy: &Tensor| {
        Ok(Some(transposed::<To, From>(dy, [columns, rows], x.shape().clone())?.tensor()))
    };
    record1("transpose", result, &x, backward)
}

/// The matrices of a contiguous `x` transposed, seen as `shape`.
pub(crate) fn transposed<From, To>(x: &Tensor, matrix: [usize; 2], shape: Shape) -> Result<Fresh>
where
    From: WithDType + Transposed<To>,
    To: WithDType,
{
    let queue = Queue::of(x)?;
    let result = queue.fresh_of::<To>(shape)?;
    let (from, to) = (queue.span::<From>(x)?, result.span::<To>(&queue)?);
    rearrange::transpose(&queue, from, matrix, to).map_err(fault)?;
    Ok(result)
}
