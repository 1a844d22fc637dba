//! Batch normalisation and what follows it.

use adautomix_kernels::batch_norm::BatchNorm;
use adautomix_kernels::device::Map;
use adautomix_kernels::device::batch_norm::{Followed, Gradients, Statistics};
use candle_core::{DType, Result, Tensor, WithDType};
use half::bf16;

use super::{Queue, fault};
use crate::batch_norm::{Epilogue, Moments, sizes};
use crate::node::record;

pub(crate) fn batch_norm_train(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    epilogue: Epilogue<'_>,
) -> Result<(Tensor, Moments)> {
    match x.dtype() {
        DType::BF16 => train::<bf16>(x, weight, bias, eps, epilogue),
        _ => train::<f32>(x, weight, bias, eps, epilogue),
    }
}

fn train<T: Map + WithDType>(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    epilogue: Epilogue<'_>,
) -> Result<(Tensor, Moments)> {
    let (queue, x) = (Queue::of(x)?, x.contiguous()?);
    let sizes = sizes(&x)?;
    let (mean, mean_span) = queue.fresh_tensor(sizes.channels)?;
    let (inverse, inverse_span) = queue.fresh_tensor(sizes.channels)?;
    let (variance, unbiased) = queue.fresh_tensor(sizes.channels)?;
    let (_workspace, workspace) = queue.fresh_tensor(sizes.workspace::<T>())?;
    let by = Statistics { mean: mean_span, inverse: inverse_span };
    sizes.device_moments::<T>(&queue, queue.span(&x)?, eps as f32, by, unbiased, workspace).map_err(fault)?;
    let op = Normalisation { sizes, mean: mean.clone(), inverse, training: true };
    Ok((op.apply::<T>(&queue, &x, weight, bias, epilogue)?, Moments { mean, variance }))
}

pub(crate) fn batch_norm_eval(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    running_mean: &Tensor,
    running_var: &Tensor,
    eps: f64,
    epilogue: Epilogue<'_>,
) -> Result<Tensor> {
    let (queue, x) = (Queue::of(x)?, x.contiguous()?);
    let sizes = sizes(&x)?;
    let (inverse, to) = queue.fresh_tensor(sizes.channels)?;
    let variance = running_var.contiguous()?;
    sizes.device_inverse(&queue, queue.span(&variance)?, eps as f32, to).map_err(fault)?;
    // The running mean may move before the backward pass, which needs the one that was used.
    let mean = running_mean.detach().copy()?;
    let op = Normalisation { sizes, mean, inverse, training: false };
    match x.dtype() {
        DType::BF16 => op.apply::<bf16>(&queue, &x, weight, bias, epilogue),
        _ => op.apply::<f32>(&queue, &x, weight, bias, epilogue),
    }
}

/// Normalisation by given statistics, and what follows it.
struct Normalisation {
    sizes: BatchNorm,
    mean: Tensor,
    inverse: Tensor,
    /// Whether the statistics are those of the input, and so depend on it.
    training: bool,
}

impl Normalisation {
    fn by(&self, queue: &Queue) -> Result<Statistics> {
        Ok(Statistics { mean: queue.span(&self.mean)?, inverse: queue.span(&self.inverse)? })
    }

    fn apply<T: Map + WithDType>(
        self,
        queue: &Queue,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        epilogue: Epilogue<'_>,
    ) -> Result<Tensor> {
        let (weight, bias) = (weight.contiguous()?, bias.contiguous()?);
        let (residual, relu) = match epilogue {
            Epilogue::None => (None, false),
            Epilogue::Relu => (None, true),
            Epilogue::AddRelu(residual) => (Some(residual.contiguous()?), true),
        };
        let result = queue.fresh_of::<T>(x.shape())?;
        let affine = [queue.span(&weight)?, queue.span(&bias)?];
        let added = residual.as_ref().map(|residual| queue.span::<T>(residual)).transpose()?;
        let (by, to) = (self.by(queue)?, result.span(queue)?);
        self.sizes.device_forward(queue, queue.span(x)?, by, affine, added, relu, to).map_err(fault)?;
        let Some(residual) = residual else {
            let backward = move |[x, weight, bias]: [&Tensor; 3], _: &Tensor, dy: &Tensor| {
                let followed = if relu { Followed::Relu } else { Followed::Alone };
                let learns = weight.track_op() || bias.track_op();
                let [by_input, by_weight, by_bias, _] =
                    self.backward::<T>(x, [weight, bias], followed, dy, [x.track_op(), learns, false])?;
                Ok([by_input, by_weight, by_bias])
            };
            return record("batch-norm", result, [x, &weight, &bias], backward);
        };
        let backward = move |[x, weight, bias, residual]: [&Tensor; 4], y: &Tensor, dy: &Tensor| {
            let followed = Followed::AddRelu(Queue::of(y)?.span::<T>(y)?);
            let wanted = [x.track_op(), weight.track_op() || bias.track_op(), residual.track_op()];
            self.backward(x, [weight, bias], followed, dy, wanted)
        };
        record("batch-norm", result, [x, &weight, &bias, &residual], backward)
    }

    /// The gradients by input, scale, shift and residual; `wanted` says which, scale and shift together.
    fn backward<T: Map + WithDType>(
        &self,
        x: &Tensor,
        [weight, bias]: [&Tensor; 2],
        followed: Followed<T>,
        dy: &Tensor,
        [input, learns, residual]: [bool; 3],
    ) -> Result<[Option<Tensor>; 4]> {
        let (queue, channels) = (Queue::of(x)?, self.sizes.channels);
        let (by_input, input) = queue.fresh_if::<T>(input, x.shape())?;
        let (by_residual, residual) = queue.fresh_if::<T>(residual, x.shape())?;
        let (by_weight, weight_span) = queue.fresh_tensor(channels)?;
        let (by_bias, bias_span) = queue.fresh_tensor(channels)?;
        let (_workspace, workspace) = queue.fresh_tensor(self.sizes.workspace::<T>())?;
        let gradients = Gradients { weight: weight_span, bias: bias_span, input, residual };
        let (operands, affine) =
            ([queue.span(dy)?, queue.span(x)?], [queue.span(weight)?, queue.span(bias)?]);
        let by = self.by(&queue)?;
        self.sizes
            .device_backward(&queue, operands, followed, by, affine, self.training, gradients, workspace)
            .map_err(fault)?;
        let if_wanted = |gradient: Tensor| learns.then_some(gradient);
        Ok([by_input, if_wanted(by_weight), if_wanted(by_bias), by_residual])
    }
}
