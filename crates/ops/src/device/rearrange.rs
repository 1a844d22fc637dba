//! Tokens in another order.

use adautomix_kernels::device::rearrange;
use candle_core::{Result, Tensor};

use super::{Fresh, Node, Queue, fault};

/// The tokens of `x` `[B, T, C]` as `source` `[T]` says, whose inverse is `target`.
pub(crate) fn reorder(x: &Tensor, [source, target]: [&Tensor; 2]) -> Result<Tensor> {
    let (x, target) = (x.contiguous()?, target.clone());
    let result = read(&x, source)?;
    let backward = move |_: &Tensor, _: &Tensor, dy: &Tensor| Ok(Some(read(dy, &target)?.tensor()));
    x.apply_op1(Node::of1("reorder", result, backward))
}

fn read(x: &Tensor, source: &Tensor) -> Result<Fresh> {
    let queue = Queue::of(x)?;
    let (result, width) = (queue.fresh(x.shape())?, x.dims3()?.2);
    rearrange::reorder(&queue, queue.span(x)?, queue.span(source)?, width, result.span(&queue)?)
        .map_err(fault)?;
    Ok(result)
}
