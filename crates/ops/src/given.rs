//! A scalar whose gradient is known.

use candle_core::{Result, Tensor, bail};

use crate::buffers::computed;
use crate::node::record1;

/// A scalar that was computed of `x` before, with its gradient by `x`, as an operation: `value`, whose backward pass gives
/// `gradient` times its own gradient. Both are read when they are needed: `gradient` in the backward pass.
///
/// # Errors
/// If `value` isn't a scalar, or `gradient` is of another shape than `x`.
pub fn given(x: &Tensor, value: &Tensor, gradient: &Tensor) -> Result<Tensor> {
    if value.rank() != 0 || gradient.dims() != x.dims() {
        bail!("given: a value {:?} and a gradient {:?} of {:?}", value.dims(), gradient.dims(), x.dims());
    }
    let gradient = gradient.detach();
    let backward = move |_: &Tensor, _: &Tensor, slope: &Tensor| gradient.broadcast_mul(slope).map(Some);
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(value) {
        return record1("given", crate::device::update::copy(value)?, x, backward);
    }
    record1("given", computed((), [value], |[value], to| to[0] = value[0])?, x, backward)
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn the_gradient_is_the_given_one_times_the_slope() -> Result<()> {
        let x = Var::new(&[1f32, 2.0], &Device::Cpu)?;
        let (value, gradient) = (Tensor::new(7f32, &Device::Cpu)?, Tensor::new(&[3f32, -1.0], &Device::Cpu)?);
        let y = (given(&x, &value, &gradient)? * 2.0)?;
        assert_eq!(y.to_scalar::<f32>()?, 14.0);
        let gradients = y.backward()?;
        assert_eq!(gradients.get(&x).map(Tensor::to_vec1::<f32>).transpose()?, Some(vec![6.0, -2.0]));
        assert!(given(&x, &value, &value).is_err() && given(&x, &gradient, &gradient).is_err());
        Ok(())
    }
}
