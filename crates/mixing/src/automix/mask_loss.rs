//! The loss of a mask.

use crate::Result;
use adautomix_ops::relu;
use candle_core::Tensor;

/// What a mask costs by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskLoss {
    /// How far the mean of the masks may be from the ratio at no cost.
    pub margin: f64,
    /// What the variance of the partner's mask earns: AutoMix 0, SAMix 2.
    pub variance_weight: f64,
}

impl MaskLoss {
    /// `max(|1 - mean - lambda| - margin, 0) - variance_weight · variance`, with mean and variance of the partner's masks over
    /// the batch and all pixels; `masks` `[B, 2, H, W]`, the result a scalar.
    ///
    /// # Errors
    /// If there is no second mask.
    pub fn of(&self, masks: &Tensor, lambda: f64) -> Result<Tensor> {
        let partner = masks.narrow(1, 1, 1)?.contiguous()?;
        let mean = partner.mean_all()?;
        let off = (mean.affine(-1.0, 1.0 - lambda)?.abs()? - self.margin)?;
        let distance = relu(&off)?;
        if self.variance_weight == 0.0 {
            return Ok(distance);
        }
        let variance = partner.broadcast_sub(&mean)?.sqr()?.mean_all()?;
        Ok((distance - (variance * self.variance_weight)?)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    /// The loss and its gradient at the partner's mask, of means 0.25 and variance 0.0625.
    fn loss(margin: f64, variance_weight: f64) -> Result<(f32, Vec<f32>)> {
        let masks = Var::new(&[[[[1f32, 0.5]], [[0.0, 0.5]]]], &Device::Cpu)?;
        let loss = MaskLoss { margin, variance_weight }.of(&masks, 0.5)?;
        let gradient = loss.backward()?.get(&masks).map(|g| g.narrow(1, 1, 1)?.flatten_all()?.to_vec1());
        Ok((loss.to_scalar()?, gradient.transpose()?.unwrap_or_default()))
    }

    #[test]
    fn a_mean_off_the_ratio_costs_beyond_the_margin_and_variance_earns() -> Result<()> {
        // |1 - 0.25 - 0.5| = 0.25
        let (value, gradient) = loss(0.125, 0.0)?;
        assert_eq!((value, gradient), (0.125, vec![-0.5, -0.5]));
        assert_eq!(loss(0.3, 0.0)?, (0.0, vec![0.0, 0.0]));
        // The slope of the variance at a value is 2 (value - mean) / count.
        assert_eq!(loss(0.3, 2.0)?, (-0.125, vec![0.5, -0.5]));
        Ok(())
    }
}
