//! Cosine similarity of rows, `x · y / (max(|x|, eps) max(|y|, eps))`.

use super::{Launch, Result, Span, arguments, blocks, whole};

/// Threads that share a row.
const THREADS: u32 = 128;

/// The similarity of each row of `x` and `y`, `[rows, width]`, in `similarities` `[rows]`.
///
/// # Errors
/// If a buffer has the wrong length.
pub fn forward(queue: &impl Launch, [x, y]: [Span<f32>; 2], eps: f32, similarities: Span<f32>) -> Result<()> {
    let (rows, width) = (similarities.len(), x.len() / similarities.len().max(1));
    whole("cosine", x, &[rows, width])?;
    whole("cosine", y, &[rows, width])?;
    blocks(queue, "cosine_forward", [rows, 1], THREADS, arguments![x, y, similarities, width, eps])
}

/// The gradients of [`forward`], where that of each similarity is `factor` times an element of `slopes`: its own in `[rows]`,
/// or the only one in `[1]`.
///
/// # Errors
/// If a buffer has the wrong length.
pub fn backward(
    queue: &impl Launch,
    [x, y]: [Span<f32>; 2],
    eps: f32,
    rows: usize,
    (slopes, factor): (Span<f32>, f32),
    [dx, dy]: [Option<Span<f32>>; 2],
) -> Result<()> {
    let width = x.len() / rows.max(1);
    for span in [Some(x), Some(y), dx, dy].into_iter().flatten() {
        whole("cosine", span, &[rows, width])?;
    }
    let step = usize::from(slopes.len() > 1);
    whole("cosine", slopes, &[if step == 1 { rows } else { 1 }])?;
    let arguments = arguments![x, y, slopes, dx, dy, width, eps, step, factor];
    blocks(queue, "cosine_backward", [rows, 1], THREADS, arguments)
}
