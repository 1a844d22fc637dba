//! Cosine similarity.

use adautomix_kernels::device::{cosine, softmax};
use candle_core::{Result, Tensor};

use super::{Queue, fault};
use crate::Reduction;
use crate::node::record;

/// Of the rows of `x` and `y`, `[B, K]`.
pub(crate) fn cosine_similarity(x: &Tensor, y: &Tensor, eps: f64, reduction: Reduction) -> Result<Tensor> {
    let (queue, x, y, rows) = (Queue::of(x)?, x.contiguous()?, y.contiguous()?, x.dim(0)?);
    let (similarities, eps) = (queue.fresh(rows)?, eps as f32);
    let to = similarities.span(&queue)?;
    cosine::forward(&queue, [queue.span(&x)?, queue.span(&y)?], eps, to).map_err(fault)?;
    let (result, factor) = match reduction {
        Reduction::None => (similarities, 1.0),
        Reduction::Mean => {
            let mean = queue.fresh(())?;
            softmax::mean(&queue, to, mean.span(&queue)?).map_err(fault)?;
            (mean, 1.0 / rows as f32)
        }
    };
    record("cosine", result, [&x, &y], move |[x, y], _, slopes| {
        let queue = Queue::of(x)?;
        let (dx, to_x) = queue.fresh_if::<f32>(x.track_op(), x.shape())?;
        let (dy, to_y) = queue.fresh_if::<f32>(y.track_op(), y.shape())?;
        let (operands, slope) = ([queue.span(x)?, queue.span(y)?], (queue.span(slopes)?, factor));
        cosine::backward(&queue, operands, eps, rows, slope, [to_x, to_y]).map_err(fault)?;
        Ok([dx, dy])
    })
}
