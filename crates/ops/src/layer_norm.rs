//! Layer normalisation.

use crate::buffers::{computed, gradient, on_kernels, with_slices};
use crate::node::record;
use adautomix_kernels::layer_norm as kernel;
use candle_core::{D, Result, Tensor, bail};

/// Normalises the last dimension of `x` `[.., C]` (biased variance), scales by `weight` `[C]` and adds `bias` `[C]`.
///
/// # Errors
/// If the shapes don't fit.
pub fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    let width = x.dim(D::Minus1)?;
    if weight.dims() != [width] || bias.dims() != [width] {
        bail!(
            "layer_norm: expected weight and bias [{width}], got {:?} and {:?}",
            weight.dims(),
            bias.dims()
        );
    }
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(x) {
        return crate::device::layer_norm::layer_norm(x, weight, bias, eps);
    }
    if !on_kernels(x) {
        return composed::layer_norm(x, weight, bias, eps);
    }
    let (x, weight, bias) = (x.contiguous()?, weight.contiguous()?, bias.contiguous()?);
    let eps = eps as f32;
    let y = computed(x.shape(), [&x, &weight, &bias], |[x, weight, bias], y| {
        kernel::forward(x, weight, bias, eps, y);
    })?;
    let backward = move |[x, weight, bias]: [&Tensor; 3], _: &Tensor, dy: &Tensor| {
        let dx = gradient(x, [x, weight, dy], |[x, weight, dy], dx| {
            kernel::backward_input(x, weight, eps, dy, dx);
        })?;
        if !weight.track_op() && !bias.track_op() {
            return Ok([dx, None, None]);
        }
        let read = |[x, dy]: [&[f32]; 2]| Ok(kernel::backward_parameters(x, width, eps, dy));
        let (dweight, dbias) = with_slices([x, dy], read)?;
        let wrap = |sums| Tensor::from_vec(sums, width, dy.device());
        Ok([dx, Some(wrap(dweight)?), Some(wrap(dbias)?)])
    };
    record("layer-norm", y, [&x, &weight, &bias], backward)
}

/// [`layer_norm`] over the channels of `x` `[B, C, H, W]`, at every pixel.
///
/// # Errors
/// If the shapes don't fit.
pub fn layer_norm_channels_first(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    layer_norm(&x.permute((0, 2, 3, 1))?, weight, bias, eps)?.permute((0, 3, 1, 2))?.contiguous()
}

mod composed {
    use super::*;

    pub(super) fn layer_norm(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
        let centred = x.broadcast_sub(&x.mean_keepdim(D::Minus1)?)?;
        let variance = centred.sqr()?.mean_keepdim(D::Minus1)?;
        centred.broadcast_div(&(variance + eps)?.sqrt()?)?.broadcast_mul(weight)?.broadcast_add(bias)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::agrees;

    #[test]
    fn layer_norm_agrees_with_its_composition() -> Result<()> {
        agrees(&[&[3, 50, 24], &[24], &[24]], |x| layer_norm(&x[0], &x[1], &x[2], 1e-5))?;
        agrees(&[&[2, 12, 3, 5], &[12], &[12]], |x| layer_norm_channels_first(&x[0], &x[1], &x[2], 1e-6))
    }

    #[test]
    fn parameters_of_another_width_are_an_error() -> Result<()> {
        let ones = |n: usize| Tensor::ones(n, candle_core::DType::F32, &candle_core::Device::Cpu);
        assert!(layer_norm(&ones(6)?.reshape((2, 3))?, &ones(2)?, &ones(3)?, 1e-5).is_err());
        Ok(())
    }
}
