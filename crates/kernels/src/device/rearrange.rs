//! Tokens in another order, matrices transposed: see [`crate::rearrange`].

use super::{BLOCK, Launch, Result, Span, WARP, arguments, blocks, each, whole};

/// Rows of a grid of matrices at most: a block then takes several.
const MATRICES: usize = 1 << 12;

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

/// Transposes each matrix `[rows, columns]` of `x`.
///
/// # Errors
/// If the buffers aren't whole matrices of equal number.
pub fn transpose(queue: &impl Launch, x: Span<f32>, [rows, columns]: [usize; 2], y: Span<f32>) -> Result<()> {
    let count = x.len() / (rows * columns).max(1);
    whole("transpose", x, &[count, rows, columns])?;
    whole("transpose", y, &[count, rows, columns])?;
    let tiles = rows.div_ceil(WARP) * columns.div_ceil(WARP);
    let grid = [tiles, count.min(MATRICES)];
    blocks(queue, "transpose", grid, BLOCK, arguments![x, y, count, rows, columns])
}
