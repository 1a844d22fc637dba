//! Targets and cross-entropy of mixed samples, for any mixer.
//!
//! A sample `b` is made of the samples `partners[0][b] … partners[N-1][b]` of its batch, whose labels weigh
//! `weights[b, i]`. The weights are `[N]` for the whole batch or `[B, N]` in row-major order; they need not sum to 1.

use crate::soft_ce;
use adautomix_ops::mixed_targets;
use candle_core::{Device, Result, Tensor, bail};

/// How cross-entropies with weights of their own become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MixedReduction {
    /// `mean_b(sum_i weights[b, i] CE(logits[b], label_i[b]))`: what every paper defines.
    PerSample,
    /// `sum_i mean_b(weights[b, i]) mean_b(CE(logits[b], label_i[b]))`: what published code computes.
    BatchMean,
}

/// The labels of the images that each sample is mixed of: `result[i][b] = labels[partners[i][b]]`.
///
/// # Errors
/// If a partner is out of range.
pub fn gather_labels(labels: &[u32], partners: &[Vec<u32>]) -> Result<Vec<Vec<u32>>> {
    let label = |&partner: &u32| match labels.get(partner as usize) {
        Some(&label) => Ok(label),
        None => bail!("partner {partner} is out of range, there are {} labels", labels.len()),
    };
    partners.iter().map(|partners| partners.iter().map(label).collect()).collect()
}

/// The target `[B, K]` of every mixed sample: `target[b] = sum_i weights[b, i] e(label_i[b])`, where `e(y)` is
/// `1 - smoothing + smoothing / K` at `y` and `smoothing / K` elsewhere.
///
/// # Errors
/// If a label or partner is out of range or the number of weights doesn't fit.
pub fn mix_targets(
    labels: &[u32],
    partners: &[Vec<u32>],
    weights: &[f32],
    classes: usize,
    smoothing: f64,
    device: &Device,
) -> Result<Tensor> {
    mixed_targets(&gather_labels(labels, partners)?, weights, classes, smoothing, device)
}

/// Cross-entropy of `logits` `[B, K]` with the labels of the samples that each sample is mixed of.
///
/// # Errors
/// As [`mix_targets`].
pub fn mixed_ce(
    logits: &Tensor,
    labels: &[u32],
    partners: &[Vec<u32>],
    weights: &[f32],
    reduction: MixedReduction,
) -> Result<Tensor> {
    let labels = gather_labels(labels, partners)?;
    let weights = match reduction {
        MixedReduction::PerSample => weights.to_vec(),
        // The mean weight comes out of the mean over the batch.
        MixedReduction::BatchMean => batch_mean(weights, labels.len()),
    };
    soft_ce(logits, &mixed_targets(&labels, &weights, logits.dim(1)?, 0.0, logits.device())?)
}

/// The mean over the batch of the weights of each of `n` labels, `[n]`, from weights `[n]` or `[B, n]`.
pub fn batch_mean(weights: &[f32], n: usize) -> Vec<f32> {
    let rows = (weights.len() / n.max(1)).max(1) as f32;
    (0..n).map(|i| weights.iter().skip(i).step_by(n).sum::<f32>() / rows).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_add_up_and_are_smoothed() -> Result<()> {
        let partners = [vec![0, 1], vec![1, 1]];
        let weights = [0.5, 0.25, 1.0, 0.5];
        let target = mix_targets(&[2, 0], &partners, &weights, 4, 0.0, &Device::Cpu)?;
        assert_eq!(target.to_vec2::<f32>()?, [[0.25, 0.0, 0.5, 0.0], [1.5, 0.0, 0.0, 0.0]]);
        let target = mix_targets(&[2, 0], &partners, &[0.75, 0.25], 4, 0.5, &Device::Cpu)?;
        assert_eq!(target.to_vec2::<f32>()?, [[0.25, 0.125, 0.5, 0.125], [0.625, 0.125, 0.125, 0.125]]);
        Ok(())
    }

    #[test]
    fn the_batch_mean_differs_only_with_weights_per_sample() -> Result<()> {
        let logits = Tensor::new(&[[0f32, 2.0], [1.0, 0.0]], &Device::Cpu)?;
        let loss = |weights: &[f32], reduction| {
            mixed_ce(&logits, &[0, 1], &[vec![0, 1], vec![1, 0]], weights, reduction)?.to_scalar::<f32>()
        };
        let (same, own) = ([0.75, 0.25], [1.0, 0.0, 0.5, 0.5]);
        assert_eq!(loss(&same, MixedReduction::PerSample)?, loss(&same, MixedReduction::BatchMean)?);
        // a = (2.1269, 1.3133), b = (0.1269, 0.3133)
        assert!((loss(&own, MixedReduction::PerSample)? - 1.470_09).abs() < 1e-4);
        assert!((loss(&own, MixedReduction::BatchMean)? - 1.345_09).abs() < 1e-4);
        Ok(())
    }

    #[test]
    fn what_is_out_of_range_is_an_error() {
        let targets = |labels: &[u32], partners: &[Vec<u32>], weights: &[f32]| {
            mix_targets(labels, partners, weights, 2, 0.0, &Device::Cpu)
        };
        assert!(targets(&[0, 2], &[vec![0, 1]], &[1.0]).is_err());
        assert!(targets(&[0, 1], &[vec![0, 2]], &[1.0]).is_err());
        assert!(targets(&[0, 1], &[vec![0, 1]], &[1.0, 1.0, 1.0]).is_err());
        assert!(targets(&[0, 1], &[], &[]).is_err());
        assert!(targets(&[0, 1], &[vec![0, 1], vec![0]], &[0.5, 0.5]).is_err());
    }
}
