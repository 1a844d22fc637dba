//! CutMix (Yun et al., ICCV 2019): a box of the partner is pasted into the picture.

use crate::area::{self, Area};
use crate::registry::{Facts, Registered, positive};
use crate::{Mixed, Mixer, Plan, Result, Targets, View, draw};
use rand::RngCore;
use serde::{Deserialize, Serialize};

/// One box per batch, whose area is a share `1 - lambda` of the picture before it is cut at the border; `lambda` is of
/// Beta(a, a), the centre uniform. Labels weigh as many pixels as were really pasted.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CutMix {
    /// `a` of Beta(a, a); 1 in its paper, 0.2 in the published comparison on small pictures.
    pub beta_parameter: f64,
}

impl Default for CutMix {
    fn default() -> Self {
        Self { beta_parameter: 1.0 }
    }
}

impl Registered for CutMix {
    const FACTS: Facts = Facts {
        name: "cutmix",
        title: "CutMix",
        citation: "Yun et al., ICCV 2019, arXiv 1905.04899",
        draws: "λ of Beta(a, a), a uniform centre and a permutation without fixed points, per batch",
        cost: "nothing",
    };
}

impl Mixer for CutMix {
    fn validate(&self) -> Result<()> {
        positive("beta_parameter", self.beta_parameter)
    }

    fn sample(
        &self,
        batch: usize,
        height: usize,
        width: usize,
        rng: &mut dyn RngCore,
    ) -> Result<Box<dyn Plan>> {
        Ok(Box::new(self.draw(batch, height, width, rng)?))
    }
}

impl CutMix {
    /// The draws for a batch, for methods that do something else with the same box.
    ///
    /// # Errors
    /// If the parameter is out of range.
    pub fn draw(
        &self,
        batch: usize,
        height: usize,
        width: usize,
        rng: &mut dyn RngCore,
    ) -> Result<CutMixPlan> {
        let lambda = draw::beta(self.beta_parameter, rng)?;
        let center = draw::pixel(height, width, rng);
        Ok(CutMixPlan { lambda, center, partner: draw::avoiding_fixed_points(batch, rng) })
    }
}

/// The draws of [`CutMix`].
#[derive(Clone, Debug, PartialEq)]
pub struct CutMixPlan {
    /// The share of the picture that the box leaves, before it is cut.
    pub lambda: f64,
    /// The centre of the box, `[row, column]`.
    pub center: [usize; 2],
    /// The partner of each sample.
    pub partner: Vec<u32>,
}

impl CutMixPlan {
    /// The box, cut at the border of a picture of `size` (rows, columns), and the weight of the sample's own label.
    pub fn area(&self, size: [usize; 2]) -> (Area, f64) {
        let area = area::leaving(size, self.lambda, self.center);
        (area, area::weight_outside(size, area))
    }
}

impl Plan for CutMixPlan {
    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        let (_, _, height, width) = view.images.dims4()?;
        let (area, lambda) = self.area([height, width]);
        let images = adautomix_ops::paste_box(view.images, &self.partner, area)?;
        Ok(Mixed { images, targets: Targets::pair(&self.partner, lambda) })
    }
}
