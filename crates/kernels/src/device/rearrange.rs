//! Tokens in another order, matrices transposed: see [`crate::rearrange`].

use half::bf16;

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

/// What a transposition reads and writes.
pub trait Transposed<To> {
    /// The kernels that do it: by tiles, and where a side is shorter than a tile.
    const KERNELS: [&'static str; 2];
}

impl Transposed<f32> for f32 {
    const KERNELS: [&'static str; 2] = ["transpose", "transpose_thin"];
}

impl Transposed<bf16> for f32 {
    const KERNELS: [&'static str; 2] = ["transpose_to_bf16", "transpose_thin_to_bf16"];
}

impl Transposed<f32> for bf16 {
    const KERNELS: [&'static str; 2] = ["transpose_from_bf16", "transpose_thin_from_bf16"];
}

/// Transposes each matrix `[rows, columns]` of `x`; what becomes `bf16` is rounded to the nearest, ties to even.
///
/// # Errors
/// If the buffers aren't whole matrices of equal number.
pub fn transpose<From: Transposed<To>, To>(
    queue: &impl Launch,
    x: Span<From>,
    [rows, columns]: [usize; 2],
    y: Span<To>,
) -> Result<()> {
    let count = x.len() / (rows * columns).max(1);
    whole("transpose", x, &[count, rows, columns])?;
    whole("transpose", y, &[count, rows, columns])?;
    let ([by_tiles, thin], arguments) = (From::KERNELS, arguments![x, y, count, rows, columns]);
    if rows.min(columns) < WARP {
        let threads = if columns < rows { count * rows } else { y.len() };
        return each(queue, thin, threads, arguments);
    }
    let tiles = rows.div_ceil(WARP) * columns.div_ceil(WARP);
    blocks(queue, by_tiles, [tiles, count.min(MATRICES)], BLOCK, arguments)
}
