//! ReLU and GELU.

use crate::custom::{detached, on_kernels, output, slice, with_slices};
use adautomix_kernels::activation;
use candle_core::{CpuStorage, CustomOp1, Layout, Result, Shape, Tensor};

/// `max(x, 0)`; its slope at 0 is 0, as in PyTorch.
///
/// # Errors
/// Those of the device.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(x) {
        return crate::device::activation::relu(x);
    }
    if on_kernels(x) { x.contiguous()?.apply_op1(Relu) } else { composed::relu(x) }
}

/// `x Φ(x)` with the normal distribution function `Φ`, by the error function (PyTorch's `approximate='none'`).
///
/// # Errors
/// Those of the device.
pub fn gelu(x: &Tensor) -> Result<Tensor> {
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(x) {
        return crate::device::activation::gelu(x);
    }
    if on_kernels(x) { x.contiguous()?.apply_op1(Gelu) } else { x.gelu_erf() }
}

struct Relu;

impl CustomOp1 for Relu {
    fn name(&self) -> &'static str {
        "relu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(storage, layout)?;
        let mut y = vec![0.0; x.len()];
        activation::relu_forward(x, &mut y);
        output(y, layout.shape())
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let mut dx = vec![0.0; x.elem_count()];
        with_slices([y, &detached(dy)?], |[y, dy]| {
            activation::relu_backward(y, dy, &mut dx);
            Ok(())
        })?;
        Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
    }
}

struct Gelu;

impl CustomOp1 for Gelu {
    fn name(&self) -> &'static str {
        "gelu"
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(storage, layout)?;
        let mut y = vec![0.0; x.len()];
        activation::gelu_forward(x, &mut y);
        output(y, layout.shape())
    }

    fn bwd(&self, x: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let mut dx = vec![0.0; x.elem_count()];
        with_slices([x, &detached(dy)?], |[x, dy]| {
            activation::gelu_backward(x, dy, &mut dx);
            Ok(())
        })?;
        Tensor::from_vec(dx, x.shape(), x.device()).map(Some)
    }
}

mod composed {
    use super::*;

    pub(super) fn relu(x: &Tensor) -> Result<Tensor> {
        let zeros = x.zeros_like()?;
        x.gt(&zeros)?.where_cond(x, &zeros)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::agrees;
    use candle_core::{Device, Var};

    #[test]
    fn activations_agree_with_their_composition() -> Result<()> {
        agrees(&[&[3, 5, 7]], |x| relu(&x[0]))?;
        agrees(&[&[3, 5, 7]], |x| gelu(&(&x[0] * 3.0)?))?;
        agrees(&[&[4, 6]], |x| relu(&x[0].t()?))
    }

    #[test]
    fn relu_has_no_slope_at_zero() -> Result<()> {
        let x = Var::new(&[-1f32, 0.0, 1.0], &Device::Cpu)?;
        let gradients = relu(&x)?.sum_all()?.backward()?;
        let slope = gradients.get(&x).map(Tensor::to_vec1::<f32>).transpose()?;
        assert_eq!(slope, Some(vec![0.0, 0.0, 1.0]));
        Ok(())
    }
}
