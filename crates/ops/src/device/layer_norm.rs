//! Layer normalisation of rows.

use adautomix_kernels::device::layer_norm::{LayerNorm, Moments};
use candle_core::{Result, Tensor};

use super::{Queue, fault};
use crate::node::record;

pub(crate) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let queue = Queue::of(x)?;
    let (x, weight, bias) = (x.contiguous()?, weight.contiguous()?, bias.contiguous()?);
    let width = weight.elem_count();
    let sizes = LayerNorm { rows: x.elem_count() / width.max(1), width };
    let (mean, mean_span) = queue.fresh_tensor(sizes.rows)?;
    let (inverse, inverse_span) = queue.fresh_tensor(sizes.rows)?;
    let (result, moments) = (queue.fresh(x.shape())?, Moments { mean: mean_span, inverse: inverse_span });
    let (affine, to) = ([queue.span(&weight)?, queue.span(&bias)?], result.span(&queue)?);
    sizes.forward(&queue, queue.span(&x)?, affine, eps as f32, to, moments).map_err(fault)?;
    let backward = move |[x, weight, bias]: [&Tensor; 3], _: &Tensor, dy: &Tensor| {
        let queue = Queue::of(x)?;
        let moments = Moments { mean: queue.span(&mean)?, inverse: queue.span(&inverse)? };
        let (data, slope) = (queue.span(x)?, queue.span(dy)?);
        let (dx, to) = queue.fresh_if(x.track_op(), x.shape())?;
        if let Some(to) = to {
            let weight = queue.span(weight)?;
            sizes.backward_input(&queue, data, weight, moments, slope, to).map_err(fault)?;
        }
        if !weight.track_op() && !bias.track_op() {
            return Ok([dx, None, None]);
        }
        let (by_weight, weight_to) = queue.fresh_tensor(width)?;
        let (by_bias, bias_to) = queue.fresh_tensor(width)?;
        let (_workspace, workspace) = queue.fresh_tensor(sizes.workspace())?;
        sizes
            .backward_parameters(&queue, data, moments, slope, [weight_to, bias_to], workspace)
            .map_err(fault)?;
        Ok([dx, Some(by_weight), Some(by_bias)])
    };
    record("layer-norm", result, [&x, &weight, &bias], backward)
}
