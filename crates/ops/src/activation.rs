//! ReLU and GELU.

use crate::buffers::{computed, gradient, on_kernels};
use crate::node::record1;
use adautomix_kernels::activation;
use candle_core::{Result, Tensor};

/// `max(x, 0)`; its slope at 0 is 0, as in PyTorch.
///
/// # Errors
/// Those of the device.
pub fn relu(x: &Tensor) -> Result<Tensor> {
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(x) {
        return crate::device::activation::relu(x);
    }
    if !on_kernels(x) {
        return composed::relu(x);
    }
    let x = x.contiguous()?;
    let y = computed(x.shape(), [&x], |[x], y| activation::relu_forward(x, y))?;
    let backward = |x: &Tensor, y: &Tensor, dy: &Tensor| {
        gradient(x, [y, dy], |[y, dy], dx| activation::relu_backward(y, dy, dx))
    };
    record1("relu", y, &x, backward)
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
    if !on_kernels(x) {
        return x.gelu_erf();
    }
    let x = x.contiguous()?;
    let y = computed(x.shape(), [&x], |[x], y| activation::gelu_forward(x, y))?;
    let backward = |x: &Tensor, _: &Tensor, dy: &Tensor| {
        gradient(x, [x, dy], |[x, dy], dx| activation::gelu_backward(x, dy, dx))
    };
    record1("gelu", y, &x, backward)
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
