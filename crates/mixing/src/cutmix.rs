//! CutMix (Yun et al., ICCV 2019): a box of the partner is pasted into the picture.

use crate::area::{self, Area};
use crate::registry::Parameters;
use crate::{Mixed, Mixer, Plan, Result, Targets, View, draw};
use rand::RngCore;

/// One box per batch, whose area is a share `1 - lambda` of the picture before it is cut at the border; `lambda` is of
/// Beta(`alpha`, `alpha`), the centre uniform. Labels weigh as many pixels as were really pasted.
#[derive(Clone, Copy, Debug)]
pub struct CutMix {
    /// The Beta distribution's parameter.
    pub alpha: f64,
}

impl CutMix {
    /// With `alpha`, 0.2 (as published for networks on small pictures) unless given.
    ///
    /// # Errors
    /// If `alpha` isn't a positive number.
    pub fn build(parameters: &mut Parameters) -> Result<Box<dyn Mixer>> {
        Ok(Box::new(Self { alpha: parameters.positive("alpha", 0.2)? }))
    }
}

impl Mixer for CutMix {
    fn name(&self) -> &'static str {
        "cutmix"
    }

    fn sample(
        &self,
        batch: usize,
        height: usize,
        width: usize,
        rng: &mut dyn RngCore,
    ) -> Result<Box<dyn Plan>> {
        let lambda = draw::beta(self.alpha, rng)?;
        let center = draw::pixel(height, width, rng);
        Ok(Box::new(CutMixPlan { lambda, center, partner: draw::avoiding_fixed_points(batch, rng) }))
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
        let share = (1.0 - self.lambda).sqrt();
        let sides = size.map(|side| (side as f64 * share) as usize);
        let area = area::centred(size, sides, self.center);
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
