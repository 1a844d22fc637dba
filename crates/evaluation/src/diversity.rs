//! How far blends of the same pictures differ from checkpoint to checkpoint of a run: Fig. 14 of the paper as a number.

use candle_core::{DType, Tensor};
use serde::Serialize;

use crate::{Error, Result, Space};

/// How far what one checkpoint makes is from what another does.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Diversity {
    /// The mean over all pairs of checkpoints.
    pub mean: f64,
    /// The distance of each checkpoint from the one before.
    pub successive: Vec<f64>,
}

/// The diversity of blends `[B, 3, H, W]`, a tensor for each checkpoint: the distance of two blends is the root of their
/// mean squared difference, in pixels between 0 and 1, and that of two checkpoints the mean over their blends.
///
/// # Errors
/// If there are fewer than two checkpoints, or the shapes differ.
pub fn blend_diversity(blends: &[Tensor], space: &Space) -> Result<Diversity> {
    let pixels = blends.iter().map(|blends| space.pixels(blends)).collect::<candle_core::Result<Vec<_>>>()?;
    over_pairs(&pixels, |one, other| (one - other)?.sqr()?.mean((1, 2, 3))?.sqrt()?.mean_all())
}

/// The diversity of masks `[B, N, H, W]`, a tensor for each checkpoint: the distance of two is half the sum over the N of
/// their absolute differences, in the mean over the pixels: the share of the picture that changed hands.
///
/// # Errors
/// If there are fewer than two checkpoints, or the shapes differ.
pub fn mask_diversity(masks: &[Tensor]) -> Result<Diversity> {
    over_pairs(masks, |one, other| (one - other)?.abs()?.sum(1)?.mean_all()? * 0.5)
}

fn over_pairs(
    checkpoints: &[Tensor],
    distance: impl Fn(&Tensor, &Tensor) -> candle_core::Result<Tensor>,
) -> Result<Diversity> {
    if checkpoints.len() < 2 {
        return Err(Error::setting("the number of checkpoints", checkpoints.len(), "at least 2"));
    }
    let (mut sum, mut pairs, mut successive) = (0.0, 0, Vec::new());
    for (later, other) in checkpoints.iter().enumerate() {
        for (earlier, one) in checkpoints[..later].iter().enumerate() {
            let distance = distance(one, other)?.to_dtype(DType::F64)?.to_scalar::<f64>()?;
            sum += distance;
            pairs += 1;
            if earlier + 1 == later {
                successive.push(distance);
            }
        }
    }
    Ok(Diversity { mean: sum / f64::from(pairs), successive })
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    fn tensor(values: [f32; 4], shape: (usize, usize, usize, usize)) -> Tensor {
        Tensor::new(&values, &Device::Cpu).unwrap().reshape(shape).unwrap()
    }

    fn close(got: &Diversity, mean: f64, successive: &[f64]) {
        let all = got.successive.iter().zip(successive).all(|(got, want)| (got - want).abs() < 1e-6);
        assert!((got.mean - mean).abs() < 1e-6 && all && got.successive.len() == successive.len(), "{got:?}");
    }

    #[test]
    fn blends_differ_by_pixels() {
        // Two blends of one pixel in three channels, of which the first two differ by 0.3 · √(2/3) and not at all.
        let pixel =
            |value: [f32; 3]| Tensor::new(&value, &Device::Cpu).unwrap().reshape((1, 3, 1, 1)).unwrap();
        let pair = |a, b| Tensor::cat(&[pixel(a), pixel(b)], 0).unwrap();
        let first = pair([0.1, 0.2, 0.3], [0.5; 3]);
        let blends = [first.clone(), pair([0.4, 0.5, 0.3], [0.5; 3]), first];
        let distance = 0.3 * (2f64 / 3.0).sqrt() / 2.0;
        close(&blend_diversity(&blends, &Space::Unit).unwrap(), 2.0 / 3.0 * distance, &[distance, distance]);
        // Normalised numbers are four times as far apart.
        let space = Space::Normalized { mean: [0.5; 3], std: [0.25; 3] };
        close(&blend_diversity(&blends[..2], &space).unwrap(), distance / 4.0, &[distance / 4.0]);
        let error = blend_diversity(&blends[..1], &space).unwrap_err().to_string();
        assert_eq!(error, "the number of checkpoints is 1, expected at least 2");
    }

    #[test]
    fn masks_differ_by_the_share_that_changed_hands() {
        // One of two pixels goes from the first picture to the second, of the other a tenth.
        let shape = (1, 2, 1, 2);
        let masks = [tensor([1.0, 0.5, 0.0, 0.5], shape), tensor([0.0, 0.4, 1.0, 0.6], shape)];
        close(&mask_diversity(&masks).unwrap(), 0.55, &[0.55]);
    }
}
