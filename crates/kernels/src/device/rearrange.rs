//! Tokens in another order: see [`crate::rearrange`].

use super::{Launch, Result, Span, arguments, each, whole};

/// Token `i` of `y` is that at `source[i]` of `x`, both `[batch, tokens, width]`; `source` `[tokens]` is within the tokens.
///
/// # Errors
/// If a buffer has the wrong length.
pub fn reorder(
    queue: &impl Launch,
    x: Span<f32>,
    source: Span<u32>,
    width: usize,
    y: Span<f32>,
) -> Result<()> {
    let tokens = source.len();
    let batch = x.len() / (tokens * width).max(1);
    whole("reorder", x, &[batch, tokens, width])?;
    whole("reorder", y, &[batch, tokens, width])?;
    each(queue, "reorder", y.len(), arguments![x, source, y, batch, tokens, width])
}
