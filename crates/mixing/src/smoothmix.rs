//! SmoothMix (Lee et al., CVPR Workshops 2020): a soft spot of the picture shows the partner.

use crate::registry::{Facts, Registered, positive, within};
use crate::{Mixed, Mixer, Plan, Result, Targets, Variant, View, draw};
use rand::{Rng, RngCore};
use serde::{Deserialize, Serialize};

/// One Gaussian bell per batch, which is 1 at a random pixel: the weight of the partner at each pixel. Labels weigh as much as
/// the pictures do on average.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmoothMix {
    /// The range of the bell's standard deviation, over the side of the picture (the root of its area, if it isn't square).
    pub sigma: [f64; 2],
    /// Published code gives each of the two labels the weight of the other picture.
    pub label: Variant,
}

impl Default for SmoothMix {
    fn default() -> Self {
        Self { sigma: [0.25, 0.5], label: Variant::Paper }
    }
}

impl Registered for SmoothMix {
    const FACTS: Facts = Facts {
        name: "smoothmix",
        title: "SmoothMix",
        citation: "Lee et al., CVPR Workshops 2020",
        draws: "a uniform centre and a uniform width of the bell, and a permutation, per batch",
        cost: "nothing",
    };
}

impl Mixer for SmoothMix {
    fn validate(&self) -> Result<()> {
        let [low, high] = self.sigma;
        positive("sigma", low)?;
        within("sigma", high, high >= low && high.is_finite(), "no less than the first")
    }

    fn sample(
        &self,
        batch: usize,
        height: usize,
        width: usize,
        rng: &mut dyn RngCore,
    ) -> Result<Box<dyn Plan>> {
        self.validate()?;
        let [row, column] = draw::pixel(height, width, rng);
        let shift = [row as i64 - (height / 2) as i64, column as i64 - (width / 2) as i64];
        let side = (height as f64 * width as f64).sqrt();
        let sigma = side * rng.random_range(self.sigma[0]..=self.sigma[1]);
        let partner = draw::permutation(batch, rng);
        Ok(Box::new(SmoothMixPlan { shift, sigma, label: self.label, partner }))
    }
}

/// The draws of [`SmoothMix`].
#[derive(Clone, Debug, PartialEq)]
pub struct SmoothMixPlan {
    /// From the middle of the picture to the bell's, `[rows, columns]`.
    pub shift: [i64; 2],
    /// The bell's standard deviation in pixels.
    pub sigma: f64,
    /// Whether labels weigh what their pictures do.
    pub label: Variant,
    /// The partner of each sample.
    pub partner: Vec<u32>,
}

impl SmoothMixPlan {
    /// What the partner weighs at each pixel: `[H, W]` for pictures of `size` (rows, columns), row by row.
    pub fn kernel(&self, size: [usize; 2]) -> Vec<f32> {
        let along = |axis: usize| -> Vec<f64> {
            let middle = (size[axis] as f64 - 1.0) / 2.0 + self.shift[axis] as f64;
            let weight = |i: usize| (-(i as f64 - middle).powi(2) / (2.0 * self.sigma.powi(2))).exp();
            (0..size[axis]).map(weight).collect()
        };
        let columns = along(1);
        along(0).iter().flat_map(|row| columns.iter().map(move |column| (row * column) as f32)).collect()
    }
}

impl Plan for SmoothMixPlan {
    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        let (_, _, height, width) = view.images.dims4()?;
        let mut keep = self.kernel([height, width]);
        keep.iter_mut().for_each(|weight| *weight = 1.0 - *weight);
        let kept = keep.iter().map(|&weight| f64::from(weight)).sum::<f64>() / keep.len() as f64;
        let lambda = match self.label {
            Variant::Paper => kept,
            Variant::Reference => 1.0 - kept,
        };
        let images = adautomix_ops::mask_mix(view.images, &self.partner, &keep)?;
        Ok(Mixed { images, targets: Targets::pair(&self.partner, lambda) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Tensor};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_bell_is_where_it_was_shifted_to() {
        let plan = SmoothMixPlan { shift: [1, -2], sigma: 1.0, label: Variant::Paper, partner: vec![0] };
        let kernel = plan.kernel([3, 5]);
        assert_eq!(kernel[10], 1.0);
        assert!((kernel[11] - (-0.5f32).exp()).abs() < 1e-7 && (kernel[5] - kernel[11]).abs() < 1e-7);
    }

    /// The partner's share is 0.43 on average and within 0.22 to 0.65 in nine draws of ten.
    #[test]
    fn shares_are_distributed_as_published() -> Result<()> {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let images = Tensor::zeros((1, 1, 32, 32), DType::F32, &Device::Cpu)?;
        let mut shares = Vec::new();
        for _ in 0..1000 {
            let plan = SmoothMix::default().sample(1, 32, 32, rng)?;
            let Targets::Labels { weights, .. } = plan.mix(&View::of(&images))?.targets else {
                unreachable!()
            };
            shares.push(weights[1]);
        }
        shares.sort_by(f32::total_cmp);
        let mean = shares.iter().sum::<f32>() / 1000.0;
        let (low, high) = (shares[50], shares[950]);
        assert!((mean - 0.43).abs() < 0.02, "{mean}");
        assert!((low - 0.22).abs() < 0.03 && (high - 0.65).abs() < 0.03, "{low} {high}");
        Ok(())
    }
}
