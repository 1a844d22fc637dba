//! MixUp (Zhang et al., ICLR 2018): the weighted mean of a picture and its partner.

use crate::mixer::with_identity;
use crate::registry::{Facts, Registered, positive};
use crate::{Mixed, Mixer, Plan, Result, Targets, View, draw};
use rand::RngCore;
use serde::{Deserialize, Serialize};

/// `lambda x + (1 - lambda) x[partner]` with one `lambda` of Beta(a, a) per batch.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MixUp {
    /// `a` of Beta(a, a).
    pub beta_parameter: f64,
}

impl Default for MixUp {
    fn default() -> Self {
        Self { beta_parameter: 1.0 }
    }
}

impl Registered for MixUp {
    const FACTS: Facts = Facts {
        name: "mixup",
        title: "MixUp",
        citation: "Zhang et al., ICLR 2018, arXiv 1710.09412",
        draws: "λ of Beta(a, a) and a permutation, per batch",
        cost: "nothing",
    };
}

impl Mixer for MixUp {
    fn validate(&self) -> Result<()> {
        positive("beta_parameter", self.beta_parameter)
    }

    fn sample(&self, batch: usize, _: usize, _: usize, rng: &mut dyn RngCore) -> Result<Box<dyn Plan>> {
        let lambda = draw::beta(self.beta_parameter, rng)?;
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
