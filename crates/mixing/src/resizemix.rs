//! ResizeMix (Qin et al., 2020): the whole partner, made small, is pasted into the picture.

use crate::area::{self, Area};
use crate::registry::{Facts, Registered, positive, within};
use crate::{Mixed, Mixer, Plan, Result, Targets, View, draw};
use rand::{Rng, RngCore};
use serde::{Deserialize, Serialize};

/// One box per batch, whose sides are a share `scale` of the picture's before it is cut at the border; the partner is
/// resized to what is left of it. Labels weigh as many pixels as were really pasted.
///
/// The authors' code neither cuts the box, nor has the batch share it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ResizeMix {
    /// `a` of Beta(a, a), of which the scale is drawn; uniform for 1, as in its paper.
    pub beta_parameter: f64,
    /// The range of scales. A draw that is outside it is replaced by a uniform one inside.
    pub scale: [f64; 2],
    /// How the partner is resized.
    pub interpolation: Interpolation,
}

/// How what is pasted is resized, as [`adautomix_ops::Interpolation`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// The nearest pixel.
    Nearest,
    /// Linear in both directions, without smoothing first.
    Bilinear,
}

impl From<Interpolation> for adautomix_ops::Interpolation {
    fn from(interpolation: Interpolation) -> Self {
        match interpolation {
            Interpolation::Nearest => Self::Nearest,
            Interpolation::Bilinear => Self::Bilinear,
        }
    }
}

impl Default for ResizeMix {
    fn default() -> Self {
        Self { beta_parameter: 1.0, scale: [0.1, 0.8], interpolation: Interpolation::Nearest }
    }
}

impl ResizeMix {
    fn draw_scale(&self, rng: &mut dyn RngCore) -> Result<f64> {
        let [low, high] = self.scale;
        let scale = draw::beta(self.beta_parameter, rng)?;
        Ok(if (low..=high).contains(&scale) { scale } else { rng.random_range(low..=high) })
    }
}

impl Registered for ResizeMix {
    const FACTS: Facts = Facts {
        name: "resizemix",
        title: "ResizeMix",
        citation: "Qin et al., 2020, arXiv 2012.11101",
        draws: "scale of Beta(a, a), uniform if that is out of range, a uniform centre and a permutation, per batch",
        cost: "a resized batch",
    };
}

impl Mixer for ResizeMix {
    fn validate(&self) -> Result<()> {
        positive("beta_parameter", self.beta_parameter)?;
        let [low, high] = self.scale;
        within("scale", low, (0.0..=1.0).contains(&low), "two shares")?;
        within("scale", high, (low..=1.0).contains(&high), "a share, no less than the first")
    }

    fn sample(
        &self,
        batch: usize,
        height: usize,
        width: usize,
        rng: &mut dyn RngCore,
    ) -> Result<Box<dyn Plan>> {
        self.validate()?;
        let scale = self.draw_scale(rng)?;
        let center = draw::pixel(height, width, rng);
        let partner = draw::permutation(batch, rng);
        Ok(Box::new(ResizeMixPlan { scale, center, partner, interpolation: self.interpolation }))
    }
}

/// The draws of [`ResizeMix`].
#[derive(Clone, Debug, PartialEq)]
pub struct ResizeMixPlan {
    /// Side of the box over side of the picture, before the box is cut (τ).
    pub scale: f64,
    /// The centre of the box, `[row, column]`.
    pub center: [usize; 2],
    /// The partner of each sample.
    pub partner: Vec<u32>,
    /// How the partner is resized.
    pub interpolation: Interpolation,
}

impl ResizeMixPlan {
    /// The box, cut at the border of a picture of `size` (rows, columns), and the weight of the sample's own label.
    pub fn area(&self, size: [usize; 2]) -> (Area, f64) {
        let sides = size.map(|side| (side as f64 * self.scale) as usize);
        let area = area::centred(size, sides, self.center);
        (area, area::weight_outside(size, area))
    }
}

impl Plan for ResizeMixPlan {
    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        let (_, _, height, width) = view.images.dims4()?;
        let (area, lambda) = self.area([height, width]);
        let [row1, column1, row2, column2] = area;
        let images = if lambda < 1.0 {
            let size = [row2 - row1, column2 - column1];
            let small = adautomix_ops::interpolate(view.images, self.interpolation.into(), size)?;
            adautomix_ops::paste_patches(view.images, &small, &self.partner, area)?
        } else {
            view.images.clone()
        };
        Ok(Mixed { images, targets: Targets::pair(&self.partner, lambda) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn scales_are_uniform_in_their_range_as_in_the_paper() -> Result<()> {
        let (mixer, rng) = (ResizeMix::default(), &mut ChaCha8Rng::seed_from_u64(1));
        let scales = (0..4000).map(|_| mixer.draw_scale(rng)).collect::<Result<Vec<f64>>>()?;
        assert!(scales.iter().all(|scale| (0.1..=0.8).contains(scale)));
        let mean = scales.iter().sum::<f64>() / 4000.0;
        let variance = scales.iter().map(|scale| (scale - mean).powi(2)).sum::<f64>() / 4000.0;
        assert!((mean - 0.45).abs() < 0.01 && (variance - 0.49 / 12.0).abs() < 0.002, "{mean} {variance}");
        Ok(())
    }

    #[test]
    fn the_whole_partner_is_in_the_box() -> Result<()> {
        let images = Tensor::arange(0f32, 32.0, &Device::Cpu)?.reshape((2, 1, 4, 4))?;
        let (partner, interpolation) = (vec![1, 0], Interpolation::Nearest);
        let plan = ResizeMixPlan { scale: 0.5, center: [2, 1], partner, interpolation };
        let mixed = plan.mix(&View::of(&images))?.images.flatten_all()?.to_vec1::<f32>()?;
        assert_eq!(mixed[4..8], [16.0, 18.0, 6.0, 7.0]);
        assert_eq!(mixed[8..12], [24.0, 26.0, 10.0, 11.0]);
        Ok(())
    }

    #[test]
    fn scales_that_lie_nowhere_are_errors() {
        let message =
            |scale| ResizeMix { scale, ..ResizeMix::default() }.validate().err().map(|e| e.to_string());
        assert_eq!(message([0.5, 0.4]).unwrap(), "`scale` is 0.4, expected a share, no less than the first");
        assert!(message([-0.1, 0.4]).is_some() && message([0.1, 1.1]).is_some());
        assert!(message([0.1, f64::NAN]).is_some() && message([0.3, 0.3]).is_none());
    }
}
