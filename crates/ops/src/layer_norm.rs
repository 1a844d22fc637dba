//! Layer normalisation.

use crate::custom::{detached, on_kernels, output, slice, with_slices};
use adautomix_kernels::layer_norm as kernel;
use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor, bail};

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
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, LayerNorm { eps: eps as f32 })
}

/// [`layer_norm`] over the channels of `x` `[B, C, H, W]`, at every pixel.
///
/// # Errors
/// If the shapes don't fit.
pub fn layer_norm_channels_first(x: &Tensor, weight: &Tensor, bias: &Tensor, eps: f64) -> Result<Tensor> {
    layer_norm(&x.permute((0, 2, 3, 1))?, weight, bias, eps)?.permute((0, 3, 1, 2))?.contiguous()
}

struct LayerNorm {
    eps: f32,
}

impl CustomOp3 for LayerNorm {
    fn name(&self) -> &'static str {
        "layer-norm"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, x_layout)?;
        let mut y = vec![0.0; x.len()];
        kernel::forward(x, slice(weight, weight_layout)?, slice(bias, bias_layout)?, self.eps, &mut y);
        output(y, x_layout.shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = detached(dy)?;
        let (mut dx, mut dweight, mut dbias) = (None, None, None);
        with_slices([x, weight, &dy], |[data, scale, dy]| {
            if x.track_op() {
                let mut gradient = vec![0.0; data.len()];
                kernel::backward_input(data, scale, self.eps, dy, &mut gradient);
                dx = Some(Tensor::from_vec(gradient, x.shape(), x.device())?);
            }
            if weight.track_op() || bias.track_op() {
                let (scales, biases) = kernel::backward_parameters(data, scale.len(), self.eps, dy);
                dweight = Some(Tensor::from_vec(scales, weight.shape(), x.device())?);
                dbias = Some(Tensor::from_vec(biases, bias.shape(), x.device())?);
            }
            Ok(())
        })?;
        Ok((dx, dweight, dbias))
    }
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
