//! Softmax cross-entropy: see [`crate::softmax`].

use super::{Argument, Launch, Result, Span, arguments, blocks, each, whole};

/// Threads that share a row.
const THREADS: u32 = 128;

/// What each row of logits should be.
#[derive(Clone, Copy, Debug)]
pub enum Target {
    /// One class per row, `[rows]`. The loss of a class that doesn't exist is NaN.
    Class(Span<u32>),
    /// One weight per row and class, `[rows, classes]`.
    Weights(Span<f32>),
}

impl Target {
    /// The kernels' two pointers, one of them null.
    fn pointers(self, rows: usize, classes: usize) -> Result<[Argument<'static>; 2]> {
        let none = Argument::Address(0);
        match self {
            Self::Class(labels) => whole("cross_entropy", labels, &[rows]).map(|()| [labels.into(), none]),
            Self::Weights(weights) => {
                whole("cross_entropy", weights, &[rows, classes]).map(|()| [none, weights.into()])
            }
        }
    }
}

/// `losses[row] = -sum_k target_k log softmax(logits[row])_k`, `[rows]`.
///
/// # Errors
/// If a buffer has the wrong length.
pub fn cross_entropy_forward(
    queue: &impl Launch,
    logits: Span<f32>,
    target: Target,
    smoothing: f32,
    losses: Span<f32>,
) -> Result<()> {
    let (rows, classes) = (losses.len(), logits.len() / losses.len().max(1));
    whole("cross_entropy", logits, &[rows, classes])?;
    let [labels, weights] = target.pointers(rows, classes)?;
    let arguments = arguments![logits, labels, weights, losses, classes, smoothing];
    blocks(queue, "cross_entropy_forward", [rows, 1], THREADS, arguments)
}

/// The gradient of [`cross_entropy_forward`], where that of each loss is `factor` times an element of `dlosses`: its own
/// in `[rows]`, or the only one in `[1]`.
///
/// # Errors
/// If a buffer has the wrong length.
pub fn cross_entropy_backward(
    queue: &impl Launch,
    logits: Span<f32>,
    target: Target,
    smoothing: f32,
    rows: usize,
    (dlosses, factor): (Span<f32>, f32),
    dlogits: Span<f32>,
) -> Result<()> {
    let classes = logits.len() / rows.max(1);
    whole("cross_entropy", logits, &[rows, classes])?;
    whole("cross_entropy", dlogits, &[rows, classes])?;
    let step = usize::from(dlosses.len() > 1);
    whole("cross_entropy", dlosses, &[if step == 1 { rows } else { 1 }])?;
    let [labels, weights] = target.pointers(rows, classes)?;
    let arguments = arguments![logits, labels, weights, dlosses, dlogits, classes, smoothing, step, factor];
    blocks(queue, "cross_entropy_backward", [rows, 1], THREADS, arguments)
}

/// The mean of `x`, in `y` `[1]`.
///
/// # Errors
/// If `y` has another length.
pub fn mean(queue: &impl Launch, x: Span<f32>, y: Span<f32>) -> Result<()> {
    whole("mean", y, &[1])?;
    blocks(queue, "mean_of", [1, 1], THREADS, arguments![x, y, x.len()])
}

/// `targets[row, k] = sum_i weights[row, i] (floor + keep [labels[i, row] = k])`: `labels` `[count, rows]`, `weights`
/// `[rows, count]`, `targets` `[rows, classes]`.
///
/// # Errors
/// If a buffer has the wrong length.
pub fn mixed_targets(
    queue: &impl Launch,
    labels: Span<u32>,
    weights: Span<f32>,
    [rows, classes]: [usize; 2],
    [keep, floor]: [f32; 2],
    targets: Span<f32>,
) -> Result<()> {
    let count = labels.len() / rows.max(1);
    whole("mixed_targets", labels, &[count, rows])?;
    whole("mixed_targets", weights, &[rows, count])?;
    whole("mixed_targets", targets, &[rows, classes])?;
    let arguments = arguments![labels, weights, targets, rows, classes, count, keep, floor];
    each(queue, "mixed_targets", targets.len(), arguments)
}
