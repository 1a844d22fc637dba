//! ReLU and GELU, element by element: see [`crate::activation`].

use super::{Launch, Result, Span, arguments, each, whole};

/// `y = max(x, 0)`
///
/// # Errors
/// If the lengths differ.
pub fn relu_forward(queue: &impl Launch, x: Span<f32>, y: Span<f32>) -> Result<()> {
    whole("relu", y, &[x.len()])?;
    each(queue, "relu_forward", x.len(), arguments![x, y, x.len()])
}

/// The gradient of [`relu_forward`] from its result `y`.
///
/// # Errors
/// If the lengths differ.
pub fn relu_backward(queue: &impl Launch, y: Span<f32>, dy: Span<f32>, dx: Span<f32>) -> Result<()> {
    whole("relu", dy, &[y.len()])?;
    whole("relu", dx, &[y.len()])?;
    each(queue, "relu_backward", y.len(), arguments![y, dy, dx, y.len()])
}

/// `y = x Φ(x)`
///
/// # Errors
/// If the lengths differ.
pub fn gelu_forward(queue: &impl Launch, x: Span<f32>, y: Span<f32>) -> Result<()> {
    whole("gelu", y, &[x.len()])?;
    each(queue, "gelu_forward", x.len(), arguments![x, y, x.len()])
}

/// The gradient of [`gelu_forward`] from its operand `x`.
///
/// # Errors
/// If the lengths differ.
pub fn gelu_backward(queue: &impl Launch, x: Span<f32>, dy: Span<f32>, dx: Span<f32>) -> Result<()> {
    whole("gelu", dy, &[x.len()])?;
    whole("gelu", dx, &[x.len()])?;
    each(queue, "gelu_backward", x.len(), arguments![x, dy, dx, x.len()])
}
