//! The fully connected layer.

use candle_core::{Result, Tensor};

/// `x · weightᵀ + bias`: `x` `[B, I]`, `weight` `[O, I]`, `bias` `[O]`; the result is `[B, O]`.
///
/// # Errors
/// If the shapes don't fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let y = x.matmul(&weight.t()?)?;
    match bias {
        Some(bias) => y.broadcast_add(bias),
        None => Ok(y),
    }
}
