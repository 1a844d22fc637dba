//! Softmax cross-entropy.

use adautomix_kernels::device::softmax::{self, Target};
use candle_core::{DType, Device, Result, Tensor};

use super::{Queue, fault};
use crate::cross_entropy::Reduction;
use crate::node::record1;

/// Cross-entropy with classes `[B]`, of any integer type; the loss of a class that doesn't exist is NaN.
pub(crate) fn cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    smoothing: f64,
    reduction: Reduction,
) -> Result<Tensor> {
    apply(logits, labels.to_dtype(DType::U32)?.contiguous()?, smoothing as f32, reduction)
}

/// Cross-entropy with weights of the classes, `[B, K]`.
pub(crate) fn soft_cross_entropy(
    logits: &Tensor,
    target: &Tensor,
    smoothing: f64,
    reduction: Reduction,
) -> Result<Tensor> {
    let target = target.detach().to_dtype(DType::F32)?.contiguous()?;
    apply(logits, target, smoothing as f32, reduction)
}

fn target(queue: &Queue, target: &Tensor) -> Result<Target> {
    Ok(match target.dtype() {
        DType::U32 => Target::Class(queue.span(target)?),
        _ => Target::Weights(queue.span(target)?),
    })
}

fn apply(logits: &Tensor, wanted: Tensor, smoothing: f32, reduction: Reduction) -> Result<Tensor> {
    let (queue, logits, rows) = (Queue::of(logits)?, logits.contiguous()?, logits.dim(0)?);
    let losses = queue.fresh(rows)?;
    let (logits_span, losses_span) = (queue.span(&logits)?, losses.span(&queue)?);
    softmax::cross_entropy_forward(&queue, logits_span, target(&queue, &wanted)?, smoothing, losses_span)
        .map_err(fault)?;
    let (result, factor) = match reduction {
        Reduction::None => (losses, 1.0),
        Reduction::Mean => {
            let mean = queue.fresh(())?;
            softmax::mean(&queue, losses_span, mean.span(&queue)?).map_err(fault)?;
            (mean, 1.0 / rows as f32)
        }
    };
    let backward = move |logits: &Tensor, _: &Tensor, dlosses: &Tensor| {
        let queue = Queue::of(logits)?;
        let (dlogits, to) = queue.fresh_tensor(logits.shape())?;
        let slope = (queue.span(dlosses)?, factor);
        let (logits, wanted) = (queue.span(logits)?, target(&queue, &wanted)?);
        softmax::cross_entropy_backward(&queue, logits, wanted, smoothing, rows, slope, to).map_err(fault)?;
        Ok(Some(dlogits))
    };
    record1("cross-entropy", result, &logits, backward)
}

/// The targets of mixed samples, of their labels and weights; see [`crate::mixed_targets`].
pub(crate) fn mixed_targets(
    labels: &[Vec<u32>],
    weights: &[f32],
    classes: usize,
    factors: [f32; 2],
    device: &Device,
) -> Result<Tensor> {
    let rows = labels.first().map_or(0, Vec::len);
    let labels = Tensor::new(labels.concat(), device)?;
    let (queue, weights) = (Queue::of(&labels)?, Tensor::new(weights, device)?);
    let (targets, to) = queue.fresh_tensor((rows, classes))?;
    let (labels, weights) = (queue.span(&labels)?, queue.span(&weights)?);
    softmax::mixed_targets(&queue, labels, weights, [rows, classes], factors, to).map_err(fault)?;
    Ok(targets)
}
