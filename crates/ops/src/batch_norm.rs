//! Batch normalisation, alone and fused with what follows it in a residual network.

use adautomix_kernels::batch_norm as kernels;
use adautomix_kernels::scratch::unwritten;
use candle_core::{DType, Result, Tensor, bail};

use crate::buffers::{computed, on_kernels, with_optional, with_slices};
use crate::maps::{by_planes, dims, into_bf16, into_planes};
use crate::node::record;
use crate::update::moving_averages;

/// What is done to the normalised value before it is written.
#[derive(Clone, Copy, Debug)]
pub enum Epilogue<'a> {
    /// Nothing.
    None,
    /// `max(y, 0)`
    Relu,
    /// `max(y + residual, 0)`, the residual shaped like the input, and of its type.
    AddRelu(&'a Tensor),
}

impl<'a> Epilogue<'a> {
    fn residual(&self) -> Option<&'a Tensor> {
        match self {
            Self::AddRelu(residual) => Some(residual),
            Self::None | Self::Relu => None,
        }
    }

    /// The same with another residual, where there is one.
    fn with(self, residual: Option<&Tensor>) -> Epilogue<'_> {
        match (self, residual) {
            (Epilogue::AddRelu(_), Some(residual)) => Epilogue::AddRelu(residual),
            (Epilogue::None, _) => Epilogue::None,
            _ => Epilogue::Relu,
        }
    }
}

/// The statistics of one batch, `[C]` each, outside the graph.
#[derive(Clone, Debug)]
pub struct Moments {
    /// The mean of each channel.
    pub mean: Tensor,
    /// The unbiased variance of each channel.
    pub variance: Tensor,
}

/// Moves the running mean and variance `[C]` of each batch norm towards those of a batch, in place, as `times` passes over the
/// same batch would: `new = (1 - momentum) old + momentum batch`, PyTorch's convention. No buffer may be named twice.
///
/// # Errors
/// If shapes differ.
pub fn update_statistics(norms: &[(&Moments, [&Tensor; 2])], momentum: f64, times: usize) -> Result<()> {
    let pairs = norms
        .iter()
        .flat_map(|(moments, [mean, variance])| [(*mean, &moments.mean), (*variance, &moments.variance)]);
    moving_averages(&pairs.collect::<Vec<_>>(), (1.0 - momentum).powi(times as i32))
}

/// Normalises `x`, `[B, C, H, W]` or `[B, H, W, C]` of `bf16`, with the statistics of the batch (biased variance), scales by `weight` `[C]`, adds
/// `bias` `[C]`, then applies the epilogue. Gives the result and the batch's statistics; buffers are not touched.
///
/// # Errors
/// If the shapes don't fit.
pub fn batch_norm_train(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    eps: f64,
    epilogue: Epilogue<'_>,
) -> Result<(Tensor, Moments)> {
    if x.elem_count() == dims(x)?[1] {
        bail!("batch_norm: one value a channel has no variance; expected more than one picture or pixel");
    }
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes_map(x) {
        return crate::device::batch_norm::batch_norm_train(x, weight, bias, eps, epilogue);
    }
    if x.dtype() == DType::BF16 {
        let (x, residual) = (into_planes(x)?, epilogue.residual().map(into_planes).transpose()?);
        let (y, moments) = batch_norm_train(&x, weight, bias, eps, epilogue.with(residual.as_ref()))?;
        return Ok((into_bf16(&y)?, moments));
    }
    if !on_kernels(x) {
        return composed::batch_norm_train(x, weight, bias, eps, epilogue);
    }
    let x = x.contiguous()?;
    let sizes = sizes(&x)?;
    let (mut mean, mut variance) = (vec![0.0; sizes.channels], vec![0.0; sizes.channels]);
    with_slices([&x], |[x]| {
        sizes.moments(x, &mut mean, &mut variance);
        Ok(())
    })?;
    let inverse = inverse_deviation(&variance, eps);
    let count = (sizes.batch * sizes.pixels) as f32;
    variance.iter_mut().for_each(|v| *v *= count / (count - 1.0));
    let moments = Moments {
        mean: Tensor::from_slice(&mean, sizes.channels, x.device())?,
        variance: Tensor::from_vec(variance, sizes.channels, x.device())?,
    };
    let normalisation = Normalisation { sizes, mean, inverse, training: true };
    Ok((apply(&x, weight, bias, epilogue, normalisation)?, moments))
}

/// As [`batch_norm_train`] with given statistics `[C]`, which are constants.
///
/// # Errors
/// If the shapes don't fit.
pub fn batch_norm_eval(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    running_mean: &Tensor,
    running_var: &Tensor,
    eps: f64,
    epilogue: Epilogue<'_>,
) -> Result<Tensor> {
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes_map(x) {
        return crate::device::batch_norm::batch_norm_eval(
            x,
            weight,
            bias,
            running_mean,
            running_var,
            eps,
            epilogue,
        );
    }
    if x.dtype() == DType::BF16 {
        let residual = epilogue.residual().map(into_planes).transpose()?;
        let epilogue = epilogue.with(residual.as_ref());
        return by_planes(x, |x| batch_norm_eval(x, weight, bias, running_mean, running_var, eps, epilogue));
    }
    if !on_kernels(x) {
        return composed::batch_norm_eval(x, weight, bias, running_mean, running_var, eps, epilogue);
    }
    let x = x.contiguous()?;
    let (sizes, mean) = (sizes(&x)?, running_mean.to_vec1()?);
    let inverse = inverse_deviation(&running_var.to_vec1()?, eps);
    apply(&x, weight, bias, epilogue, Normalisation { sizes, mean, inverse, training: false })
}

/// Of maps of `bf16` each pixel counts as a picture.
pub(crate) fn sizes(x: &Tensor) -> Result<kernels::BatchNorm> {
    let [batch, channels, height, width] = dims(x)?;
    Ok(match x.dtype() {
        DType::BF16 => kernels::BatchNorm { batch: batch * height * width, channels, pixels: 1 },
        _ => kernels::BatchNorm { batch, channels, pixels: height * width },
    })
}

fn inverse_deviation(variance: &[f32], eps: f64) -> Vec<f32> {
    variance.iter().map(|&v| (1.0 / (f64::from(v) + eps).sqrt()) as f32).collect()
}

fn apply(
    x: &Tensor,
    weight: &Tensor,
    bias: &Tensor,
    epilogue: Epilogue<'_>,
    op: Normalisation,
) -> Result<Tensor> {
    let channels = op.sizes.channels;
    if weight.dims() != [channels] || bias.dims() != [channels] || op.mean.len() != channels {
        bail!("batch_norm: {channels} channels, but weight {:?} and bias {:?}", weight.dims(), bias.dims());
    }
    let (weight, bias) = (weight.contiguous()?, bias.contiguous()?);
    let forward = |epilogue: kernels::Epilogue<'_>| {
        computed(x.shape(), [x, &weight, &bias], |[x, weight, bias], y| {
            op.sizes.forward(x, op.by(), weight, bias, epilogue, y);
        })
    };
    let (residual, y) = match epilogue {
        Epilogue::AddRelu(residual) if residual.dims() != x.dims() => {
            bail!("batch_norm: expected a residual of {:?}, got {:?}", x.dims(), residual.dims())
        }
        Epilogue::AddRelu(residual) => {
            let residual = residual.contiguous()?;
            let y = with_slices([&residual], |[residual]| forward(kernels::Epilogue::AddRelu(residual)))?;
            (Some(residual), y)
        }
        Epilogue::Relu => (None, forward(kernels::Epilogue::Relu)?),
        Epilogue::None => (None, forward(kernels::Epilogue::None)?),
    };
    let relu = !matches!(epilogue, Epilogue::None);
    let Some(residual) = residual else {
        let backward = move |[x, weight, bias]: [&Tensor; 3], y: &Tensor, dy: &Tensor| {
            let [dx, dweight, dbias, _] = op.backward(x, [weight, bias], None, relu.then_some(y), dy)?;
            Ok([dx, dweight, dbias])
        };
        return record("batch-norm", y, [x, &weight, &bias], backward);
    };
    let backward = move |[x, weight, bias, residual]: [&Tensor; 4], y: &Tensor, dy: &Tensor| {
        op.backward(x, [weight, bias], Some(residual), Some(y), dy)
    };
    record("batch-norm", y, [x, &weight, &bias, &residual], backward)
}

/// Normalisation by given statistics.
struct Normalisation {
    sizes: kernels::BatchNorm,
    mean: Vec<f32>,
    inverse: Vec<f32>,
    /// Whether the statistics are those of the input, and so depend on it.
    training: bool,
}

impl Normalisation {
    fn by(&self) -> kernels::Normaliser<'_> {
        kernels::Normaliser { mean: &self.mean, inverse: &self.inverse }
    }

    /// The gradients by input, scale, shift and residual; `y` is the result where it went through a ReLU.
    fn backward(
        &self,
        x: &Tensor,
        [weight, bias]: [&Tensor; 2],
        residual: Option<&Tensor>,
        y: Option<&Tensor>,
        dy: &Tensor,
    ) -> Result<[Option<Tensor>; 4]> {
        let channels = self.sizes.channels;
        let wanted = |tensor: &Tensor| tensor.track_op().then(|| unwritten(self.sizes.len()));
        let (mut by_input, mut by_residual) = (wanted(x), residual.and_then(wanted));
        let [mut by_weight, mut by_bias] = [(); 2].map(|()| vec![0.0; channels]);
        let mut read = |y: Option<&[f32]>, [x, weight, dy]: [&[f32]; 3]| {
            let gradients =
                kernels::Gradients { input: by_input.as_deref_mut(), residual: by_residual.as_deref_mut() };
            let (by, training) = (self.by(), self.training);
            self.sizes.backward(dy, x, y, by, weight, training, &mut by_weight, &mut by_bias, gradients);
            Ok(())
        };
        with_optional(y, |y| with_slices([x, weight, dy], |slices| read(y, slices)))?;
        let map = |data: Vec<f32>| Tensor::from_vec(data, x.shape(), x.device());
        let affine = |operand: &Tensor, data: Vec<f32>| {
            operand.track_op().then(|| Tensor::from_vec(data, channels, x.device())).transpose()
        };
        Ok([
            by_input.map(map).transpose()?,
            affine(weight, by_weight)?,
            affine(bias, by_bias)?,
            by_residual.map(map).transpose()?,
        ])
    }
}

mod composed {
    use super::*;

    pub(super) fn batch_norm_train(
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        eps: f64,
        epilogue: Epilogue<'_>,
    ) -> Result<(Tensor, Moments)> {
        let count = (x.elem_count() / x.dim(1)?) as f64;
        let mean = x.mean_keepdim((0, 2, 3))?;
        let centred = x.broadcast_sub(&mean)?;
        let variance = centred.sqr()?.mean_keepdim((0, 2, 3))?;
        let normalised = centred.broadcast_div(&(&variance + eps)?.sqrt()?)?;
        let moments = Moments {
            mean: mean.detach().flatten_all()?,
            variance: (variance.detach().flatten_all()? * (count / (count - 1.0)))?,
        };
        Ok((finish(&normalised, weight, bias, epilogue)?, moments))
    }

    pub(super) fn batch_norm_eval(
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        running_mean: &Tensor,
        running_var: &Tensor,
        eps: f64,
        epilogue: Epilogue<'_>,
    ) -> Result<Tensor> {
        let inverse = (running_var.detach() + eps)?.sqrt()?.recip()?;
        let normalised =
            x.broadcast_sub(&per_channel(&running_mean.detach())?)?.broadcast_mul(&per_channel(&inverse)?)?;
        finish(&normalised, weight, bias, epilogue)
    }

    fn finish(normalised: &Tensor, weight: &Tensor, bias: &Tensor, epilogue: Epilogue<'_>) -> Result<Tensor> {
        let y = normalised.broadcast_mul(&per_channel(weight)?)?.broadcast_add(&per_channel(bias)?)?;
        match epilogue {
            Epilogue::None => Ok(y),
            Epilogue::Relu => y.relu(),
            Epilogue::AddRelu(residual) => (y + residual)?.relu(),
        }
    }

    fn per_channel(x: &Tensor) -> Result<Tensor> {
        x.reshape((1, (), 1, 1))
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    fn wave(shape: &[usize], pace: f64, offset: f64) -> Result<Var> {
        let len = shape.iter().product::<usize>();
        let values: Vec<f32> = (0..len).map(|i| ((i as f64 * pace).sin() + offset) as f32).collect();
        Var::from_vec(values, shape, &Device::Cpu)
    }

    fn difference(a: &Tensor, b: &Tensor) -> Result<f32> {
        (a - b)?.abs()?.max_all()?.to_scalar()
    }

    #[test]
    fn agrees_with_the_composition() -> Result<()> {
        let (x, r) = (wave(&[3, 5, 4, 5], 0.37, 2.0)?, wave(&[3, 5, 4, 5], 0.73, 0.1)?);
        let (w, b) = (wave(&[5], 1.1, 1.2)?, wave(&[5], 0.5, 0.0)?);
        let (mean, variance) = (wave(&[5], 0.3, 0.0)?, wave(&[5], 0.9, 1.5)?);
        for (name, epilogue) in
            [("none", Epilogue::None), ("relu", Epilogue::Relu), ("add", Epilogue::AddRelu(&r))]
        {
            let (trained, moments) = batch_norm_train(&x, &w, &b, 1e-5, epilogue)?;
            let (plain, plain_moments) = composed::batch_norm_train(&x, &w, &b, 1e-5, epilogue)?;
            assert!(difference(&moments.mean, &plain_moments.mean)? < 1e-6);
            assert!(difference(&moments.variance, &plain_moments.variance)? < 1e-5);
            let tested = batch_norm_eval(&x, &w, &b, &mean, &variance, 1e-5, epilogue)?;
            let plain_tested = composed::batch_norm_eval(&x, &w, &b, &mean, &variance, 1e-5, epilogue)?;
            for (fused, plain) in [(trained, plain), (tested, plain_tested)] {
                assert!(difference(&fused, &plain)? < 1e-5, "{name}");
                let cotangent = wave(fused.dims(), 0.9, 0.0)?.detach();
                let got = (&fused * &cotangent)?.sum_all()?.backward()?;
                let want = (&plain * &cotangent)?.sum_all()?.backward()?;
                for variable in [&x, &w, &b, &r] {
                    match (got.get(variable), want.get(variable)) {
                        (Some(got), Some(want)) => assert!(difference(got, want)? < 2e-5, "{name}"),
                        (got, want) => assert_eq!(got.is_some(), want.is_some(), "{name}"),
                    }
                }
            }
        }
        Ok(())
    }

    #[test]
    fn several_passes_at_once_are_several_passes() -> Result<()> {
        let moments =
            Moments { mean: wave(&[4], 0.3, 0.0)?.detach(), variance: wave(&[4], 0.9, 1.5)?.detach() };
        let start = || -> Result<[Var; 2]> { Ok([wave(&[4], 0.1, 0.0)?, wave(&[4], 0.2, 2.0)?]) };
        let ([mean, variance], [mean3, variance3]) = (start()?, start()?);
        for _ in 0..3 {
            update_statistics(&[(&moments, [&mean, &variance])], 0.1, 1)?;
        }
        update_statistics(&[(&moments, [&mean3, &variance3])], 0.1, 3)?;
        assert!(difference(&mean, &mean3)? < 1e-6 && difference(&variance, &variance3)? < 1e-6);
        let [untouched, _] = start()?;
        assert!(difference(&mean, &untouched)? > 1e-2);
        Ok(())
    }
}
