//! FMix (Harris et al., 2020): the partner is where noise of low frequencies is dark.

mod noise;

use crate::registry::{Facts, Registered, positive, share, within};
use crate::{Mixed, Mixer, Plan, Result, Targets, Variant, View, draw};
use rand::{Rng, RngCore};
use rand_distr::StandardNormal;
use serde::{Deserialize, Serialize};

/// One mask per batch: of a grey picture of random low frequencies, the brightest share `lambda` of the pixels is the
/// sample's, the rest its partner's. Labels weigh `lambda` and `1 - lambda`, which is what was pasted up to a part of one
/// pixel.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct FMix {
    /// `a` of Beta(a, a).
    pub beta_parameter: f64,
    /// How fast amplitudes fall: with the frequency to this power (δ).
    pub decay_power: f64,
    /// The share of pixels on either side of the edge that are blended; 0 is a sharp edge. Never more than the smaller of the
    /// two pictures' shares.
    pub max_soft: f64,
    /// Published code reads the axes of its noise in the wrong order, so that masks have the two lowest frequencies only along
    /// a row.
    pub variant: Variant,
}

impl Default for FMix {
    fn default() -> Self {
        Self { beta_parameter: 1.0, decay_power: 3.0, max_soft: 0.0, variant: Variant::Paper }
    }
}

impl Registered for FMix {
    const FACTS: Facts = Facts {
        name: "fmix",
        title: "FMix",
        citation: "Harris et al., 2020, arXiv 2002.12047",
        draws: "λ of Beta(a, a), normal noise, whether λ is rounded up, and a permutation without fixed points, per batch",
        cost: "one mask per batch, on the CPU",
    };
}

impl Mixer for FMix {
    fn validate(&self) -> Result<()> {
        positive("beta_parameter", self.beta_parameter)?;
        let decays = self.decay_power >= 0.0 && self.decay_power.is_finite();
        within("decay_power", self.decay_power, decays, "a number, at least 0")?;
        share("max_soft", self.max_soft)
    }

    fn sample(
        &self,
        batch: usize,
        height: usize,
        width: usize,
        rng: &mut dyn RngCore,
    ) -> Result<Box<dyn Plan>> {
        let count = 2 * height * noise::columns(width);
        Ok(Box::new(FMixPlan {
            lambda: draw::beta(self.beta_parameter, rng)?,
            noise: (0..count).map(|_| rng.sample(StandardNormal)).collect(),
            round_up: rng.random(),
            decay_power: self.decay_power,
            max_soft: self.max_soft,
            variant: self.variant,
            partner: draw::avoiding_fixed_points(batch, rng),
        }))
    }
}

/// The draws of [`FMix`].
#[derive(Clone, Debug, PartialEq)]
pub struct FMixPlan {
    /// The share of the sample's own pixels.
    pub lambda: f64,
    /// Normal noise `[H, W/2 + 1, 2]`, row by row, for each frequency a complex number; an odd width has one column more.
    pub noise: Vec<f64>,
    /// Whether the share is rounded up to whole pixels, or down.
    pub round_up: bool,
    /// How fast amplitudes fall.
    pub decay_power: f64,
    /// The share of pixels on either side of the edge that are blended.
    pub max_soft: f64,
    /// How the noise is read.
    pub variant: Variant,
    /// The partner of each sample.
    pub partner: Vec<u32>,
}

impl FMixPlan {
    /// The grey picture `[H, W]`, from 0 to 1, for pictures of `size` (rows, columns), row by row.
    ///
    /// # Errors
    /// If the noise was drawn for another size, or there are too few rows for the variant.
    pub fn grey(&self, size: [usize; 2]) -> Result<Vec<f64>> {
        noise::grey(&self.noise, size, self.decay_power, self.variant)
    }

    /// What the sample itself weighs at each pixel of a grey picture, whose brightest pixels it keeps. Of pixels of the same
    /// grey the first in order are taken to be brighter.
    pub fn mask(&self, grey: &[f64]) -> Vec<f32> {
        let count = grey.len() as f64;
        let smaller = self.lambda.min(1.0 - self.lambda);
        let soft = (count * self.max_soft.min(smaller)) as usize;
        let own = self.lambda * count;
        let own = if self.round_up { own.ceil() } else { own.floor() } as usize;
        let (low, high) = (own.saturating_sub(soft), own + soft);

        let mut order: Vec<usize> = (0..grey.len()).collect();
        order.sort_by(|&a, &b| grey[b].total_cmp(&grey[a]));
        let mut mask = vec![0.0; grey.len()];
        for (rank, pixel) in order.into_iter().enumerate().take(high) {
            let ramp = || 1.0 - (rank - low) as f64 / (high - low - 1) as f64;
            mask[pixel] = if rank < low { 1.0 } else { ramp() as f32 };
        }
        mask
    }
}

impl Plan for FMixPlan {
    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        let (_, _, height, width) = view.images.dims4()?;
        let mask = self.mask(&self.grey([height, width])?);
        let images = adautomix_ops::mask_mix(view.images, &self.partner, &mask)?;
        Ok(Mixed { images, targets: Targets::pair(&self.partner, self.lambda) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn plan(lambda: f64, round_up: bool, max_soft: f64) -> FMixPlan {
        let (noise, partner) = (vec![], vec![]);
        FMixPlan { lambda, noise, round_up, decay_power: 3.0, max_soft, variant: Variant::Paper, partner }
    }

    #[test]
    fn the_brightest_pixels_are_kept() {
        let grey = [0.2, 0.9, 0.4, 0.0, 0.7];
        assert_eq!(plan(0.5, false, 0.0).mask(&grey), [0.0, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!(plan(0.5, true, 0.0).mask(&grey), [0.0, 1.0, 1.0, 0.0, 1.0]);
        // 2 pixels and 1 on either side, of which the first is still whole and the last has gone.
        assert_eq!(plan(0.5, false, 0.3).mask(&grey), [0.0, 1.0, 0.0, 0.0, 1.0]);
        assert_eq!(plan(1.0, false, 0.3).mask(&grey), [1.0; 5]);
        assert_eq!(plan(0.0, true, 0.3).mask(&grey), [0.0; 5]);
    }

    /// Mean of the sample's own pixels, and changes between neighbours along each row, of masks for pictures of 32 by 24.
    fn masks(mixer: FMix) -> Result<(f64, Vec<usize>)> {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        // The first picture is 0 everywhere and the second 1, which shows the mask.
        let images = Tensor::arange(0f32, 2.0, &Device::Cpu)?.reshape((2, 1, 1, 1))?;
        let images = images.broadcast_as((2, 1, 32, 24))?.contiguous()?;
        let (mut own, mut changes) = (Vec::new(), Vec::new());
        for _ in 0..100 {
            let mixed = mixer.sample(2, 32, 24, rng)?.mix(&View::of(&images))?.images;
            let mask: Vec<f32> = mixed.get(1)?.flatten_all()?.to_vec1()?;
            changes
                .extend(mask.chunks(24).map(|row| row.windows(2).filter(|pair| pair[0] != pair[1]).count()));
            own.extend(mask.into_iter().map(f64::from));
        }
        Ok((own.iter().sum::<f64>() / own.len() as f64, changes))
    }

    #[test]
    fn masks_are_of_few_pieces_and_published_ones_of_one_wave_along_a_row() -> Result<()> {
        let (own, changes) = masks(FMix::default())?;
        assert!((own - 0.5).abs() < 0.1, "{own}");
        // Of independent pixels, 8 of 23 neighbours differ on average.
        assert!(changes.iter().sum::<usize>() < 2 * changes.len());
        assert!(changes.iter().any(|&changes| changes > 3));
        let (_, changes) = masks(FMix { variant: Variant::Reference, ..FMix::default() })?;
        assert!(changes.iter().all(|&changes| changes <= 2));
        Ok(())
    }
}
