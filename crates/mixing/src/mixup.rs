//! MixUp (Zhang et al., ICLR 2018): the weighted mean of a picture and its partner.

use crate::mixer::with_identity;
use crate::registry::Parameters;
use crate::{Mixed, Mixer, Plan, Result, Targets, View, draw};
use rand::RngCore;

/// `lambda x + (1 - lambda) x[partner]` with one `lambda` of Beta(`alpha`, `alpha`) per batch.
#[derive(Clone, Copy, Debug)]
pub struct MixUp {
    /// The Beta distribution's parameter.
    pub alpha: f64,
}

impl MixUp {
    /// With `alpha`, 1 unless given.
    ///
    /// # Errors
    /// If `alpha` isn't a positive number.
    pub fn build(parameters: &mut Parameters) -> Result<Box<dyn Mixer>> {
        Ok(Box::new(Self { alpha: parameters.positive("alpha", 1.0)? }))
    }
}

impl Mixer for MixUp {
    fn name(&self) -> &'static str {
        "mixup"
    }

    fn sample(&self, batch: usize, _: usize, _: usize, rng: &mut dyn RngCore) -> Result<Box<dyn Plan>> {
        let lambda = draw::beta(self.alpha, rng)?;
        Ok(Box::new(MixUpPlan { lambda, partner: draw::permutation(batch, rng) }))
    }
}

/// The draws of [`MixUp`].
#[derive(Clone, Debug, PartialEq)]
pub struct MixUpPlan {
    /// The weight of the sample itself.
    pub lambda: f64,
    /// The partner of each sample.
    pub partner: Vec<u32>,
}

impl Plan for MixUpPlan {
    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        let weights = [self.lambda as f32, (1.0 - self.lambda) as f32];
        let images = adautomix_ops::linear_mix(view.images, &with_identity(&self.partner), &weights)?;
        Ok(Mixed { images, targets: Targets::pair(&self.partner, self.lambda) })
    }
}
