//! Multi-head self-attention: batched products, and kernels between them.

use adautomix_kernels::device::attention::{Attention as Kernel, Direction};
use candle_core::{DType, Result, Tensor};

use super::{Queue, fault};
use crate::node::{record, record1};

/// What the backward pass needs of the forward pass.
struct Kept {
    kernel: Kernel,
    /// Queries, keys and values, `[3, B · heads, T, width]`.
    apart: Tensor,
    /// `[B · heads, T, T]`
    weights: Tensor,
}

pub(crate) fn attention(
    qkv: &Tensor,
    heads: usize,
    bias: Option<&Tensor>,
    mask: Option<&Tensor>,
) -> Result<Tensor> {
    let (queue, qkv) = (Queue::of(qkv)?, qkv.contiguous()?);
    let bias = bias.map(Tensor::contiguous).transpose()?;
    let (batch, tokens, channels) = qkv.dims3()?;
    let kernel = Kernel { batch, tokens, heads, width: channels / 3 / heads };
    let (apart, to) = queue.fresh_tensor((3, batch * heads, tokens, kernel.width))?;
    kernel.heads(&queue, Direction::Apart, (queue.span(&qkv)?, 3), (to, 0)).map_err(fault)?;
    let scores = apart.get(0)?.matmul(&apart.get(1)?.transpose(1, 2)?)?;
    let (weights, to) = queue.fresh_tensor(scores.shape())?;
    let mask = mask.map(|mask| mask.detach().to_dtype(DType::F32)?.contiguous()).transpose()?;
    let mask_span = mask.as_ref().map(|mask| queue.span(mask)).transpose()?;
    let bias_span = bias.as_ref().map(|bias| queue.span(bias)).transpose()?;
    kernel.softmax(&queue, queue.span(&scores)?, bias_span, mask_span, to).map_err(fault)?;
    let blended = weights.matmul(&apart.get(2)?)?;
    let result = queue.fresh((batch, tokens, channels / 3))?;
    let (from, to) = (queue.span(&blended)?, result.span(&queue)?);
    kernel.heads(&queue, Direction::Together, (to, 1), (from, 0)).map_err(fault)?;
    let kept = Kept { kernel, apart, weights };
    match bias {
        None => {
            let backward = move |qkv: &Tensor, _: &Tensor, dy: &Tensor| {
                kept.backward(qkv, None, dy).map(|[dqkv, _]| dqkv)
            };
            record1("attention", result, &qkv, backward)
        }
        Some(bias) => {
            let backward =
                move |[qkv, bias]: [&Tensor; 2], _: &Tensor, dy: &Tensor| kept.backward(qkv, Some(bias), dy);
            record("attention", result, [&qkv, &bias], backward)
        }
    }
}

impl Kept {
    /// The gradients by queries, keys and values, and by the bias, where variables depend on them.
    fn backward(&self, qkv: &Tensor, bias: Option<&Tensor>, dy: &Tensor) -> Result<[Option<Tensor>; 2]> {
        let (queue, kernel) = (Queue::of(qkv)?, &self.kernel);
        let part = |index| self.apart.get(index);
        let (dblended, to) = queue.fresh_tensor(part(0)?.shape())?;
        kernel.heads(&queue, Direction::Apart, (queue.span(dy)?, 1), (to, 0)).map_err(fault)?;
        let dweights = dblended.matmul(&part(2)?.transpose(1, 2)?)?;
        let (slopes, to) = queue.fresh_tensor(dweights.shape())?;
        kernel
            .softmax_backward(&queue, queue.span(&self.weights)?, queue.span(&dweights)?, to)
            .map_err(fault)?;
        let (dqkv, to) = queue.fresh_if(qkv.track_op(), qkv.shape())?;
        if let Some(to) = to {
            let dqueries = slopes.matmul(&part(1)?)?;
            let dkeys = slopes.transpose(1, 2)?.matmul(&part(0)?)?;
            let dvalues = self.weights.transpose(1, 2)?.matmul(&dblended)?;
            for (index, gradient) in [&dqueries, &dkeys, &dvalues].into_iter().enumerate() {
                let from = (queue.span(gradient)?, index);
                kernel.heads(&queue, Direction::Together, (to, 3), from).map_err(fault)?;
            }
        }
        let tracked = bias.filter(|bias| bias.track_op());
        let dbias = tracked.map(|bias| queue.fresh_tensor(bias.shape())).transpose()?;
        if let Some((_, to)) = &dbias {
            let (_workspace, workspace) = queue.fresh_tensor(kernel.bias_workspace())?;
            kernel.bias(&queue, queue.span(&slopes)?, *to, workspace).map_err(fault)?;
        }
        Ok([dqkv, dbias.map(|(dbias, _)| dbias)])
    }
}
