//! Softmax cross-entropy, forward and backward each in one pass over the logits.

use crate::reduce::{exp, max, sum};
use rayon::prelude::*;

/// What each row of logits should be.
#[derive(Clone, Copy, Debug)]
pub enum Target<'a> {
    /// One class per row.
    Class(&'a [u32]),
    /// One weight per row and class, `[rows, classes]`; they need not sum to 1.
    Weights(&'a [f32]),
}

/// Rows that one task takes.
const ROWS: usize = 16;

/// The target of one row with its smoothing: `(1 - smoothing) target + smoothing / classes`.
struct Row<'a> {
    target: Target<'a>,
    smoothing: f32,
    classes: usize,
}

impl Row<'_> {
    /// The sum of the smoothed weights.
    fn total(&self) -> f32 {
        let given = match self.target {
            Target::Class(_) => 1.0,
            Target::Weights(weights) => sum(weights),
        };
        (1.0 - self.smoothing) * given + self.smoothing
    }

    /// Calls `f(class, weight)` for every class whose weight is not 0.
    fn for_each(&self, mut f: impl FnMut(usize, f32)) {
        let (keep, floor) = (1.0 - self.smoothing, self.smoothing / self.classes as f32);
        match self.target {
            Target::Class(class) if self.smoothing == 0.0 => f(class[0] as usize, 1.0),
            Target::Class(class) => (0..self.classes)
                .for_each(|k| f(k, if k == class[0] as usize { keep + floor } else { floor })),
            Target::Weights(weights) => weights.iter().enumerate().for_each(|(k, weight)| {
                let weight = keep * weight + floor;
                if weight != 0.0 {
                    f(k, weight);
                }
            }),
        }
    }
}

impl<'a> Target<'a> {
    fn row(self, row: usize, classes: usize, smoothing: f32) -> Row<'a> {
        let target = match self {
            Target::Class(class) => Target::Class(&class[row..=row]),
            Target::Weights(weights) => Target::Weights(&weights[row * classes..(row + 1) * classes]),
        };
        Row { target, smoothing, classes }
    }
}

/// `losses[b] = -sum_k target[b, k] log softmax(logits[b])_k`, `[rows]`; finite for any finite logits.
pub fn cross_entropy_forward(logits: &[f32], target: Target<'_>, smoothing: f32, losses: &mut [f32]) {
    let classes = logits.len() / losses.len().max(1);
    losses.par_chunks_mut(ROWS).enumerate().for_each(|(chunk, losses)| {
        let mut shifted = vec![0.0; classes];
        for (row, loss) in losses.iter_mut().enumerate() {
            let row = chunk * ROWS + row;
            let logits = &logits[row * classes..(row + 1) * classes];
            let top = max(logits);
            shifted.iter_mut().zip(logits).for_each(|(shifted, logit)| *shifted = exp(logit - top));
            let target = target.row(row, classes, smoothing);
            let mut chosen = 0.0;
            target.for_each(|k, weight| chosen += weight * (logits[k] - top));
            *loss = target.total() * sum(&shifted).ln() - chosen;
        }
    });
}

/// The gradient of [`cross_entropy_forward`]: `(sum(target) softmax - target) · dlosses[b]`; `dlogits` is overwritten.
pub fn cross_entropy_backward(
    logits: &[f32],
    target: Target<'_>,
    smoothing: f32,
    dlosses: &[f32],
    dlogits: &mut [f32],
) {
    let classes = logits.len() / dlosses.len().max(1);
    dlogits.par_chunks_mut((ROWS * classes).max(1)).enumerate().for_each(|(chunk, dlogits)| {
        for (row, dlogits) in dlogits.chunks_mut(classes).enumerate() {
            let row = chunk * ROWS + row;
            let logits = &logits[row * classes..(row + 1) * classes];
            let top = max(logits);
            dlogits.iter_mut().zip(logits).for_each(|(dlogit, logit)| *dlogit = exp(logit - top));
            let target = target.row(row, classes, smoothing);
            let scale = dlosses[row] * target.total() / sum(dlogits);
            dlogits.iter_mut().for_each(|dlogit| *dlogit *= scale);
            target.for_each(|k, weight| dlogits[k] -= weight * dlosses[row]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extreme_logits_give_finite_losses() {
        let logits = [1e4, -1e4, 0.0, 3e38, 3e38, -3e38];
        let (mut losses, mut dlogits) = ([0.0; 2], [0.0; 6]);
        cross_entropy_forward(&logits, Target::Class(&[1, 0]), 0.0, &mut losses);
        assert_eq!(losses[0], 2e4);
        assert!((losses[1] - 2f32.ln()).abs() < 1e-6);
        cross_entropy_backward(&logits, Target::Class(&[1, 0]), 0.0, &[1.0, 1.0], &mut dlogits);
        assert_eq!(dlogits, [1.0, -1.0, 0.0, -0.5, 0.5, 0.0]);
    }

    #[test]
    fn weights_that_do_not_sum_to_one_are_allowed() {
        let (mut loss, mut dlogits) = ([0.0], [0.0; 2]);
        cross_entropy_forward(&[0.0, 0.0], Target::Weights(&[0.5, 1.0]), 0.0, &mut loss);
        assert!((loss[0] - 1.5 * 2f32.ln()).abs() < 1e-6);
        cross_entropy_backward(&[0.0, 0.0], Target::Weights(&[0.5, 1.0]), 0.0, &[2.0], &mut dlogits);
        assert_eq!(dlogits, [0.5, -0.5]);
    }
}
