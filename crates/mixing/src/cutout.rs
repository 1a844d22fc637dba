//! Cutout (DeVries and Taylor, 2017): squares of a picture are set to 0.

use crate::registry::{Facts, Registered, within};
use crate::{Mixed, Mixer, Plan, Result, Targets, View, area, draw};
use candle_core::Tensor;
use rand::RngCore;
use serde::{Deserialize, Serialize};

/// Every picture loses squares of its own, cut at its border; labels stay. What is 0 in a normalised picture is the mean of
/// the data.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Cutout {
    /// Side of a square in pixels. In its paper 16 for CIFAR-10, 8 for CIFAR-100, both at 32 pixels.
    pub length: usize,
    /// Squares per picture.
    pub holes: usize,
}

impl Default for Cutout {
    fn default() -> Self {
        Self { length: 16, holes: 1 }
    }
}

impl Registered for Cutout {
    const FACTS: Facts = Facts {
        name: "cutout",
        title: "Cutout",
        citation: "DeVries and Taylor, 2017, arXiv 1708.04552",
        draws: "uniform centres, per sample",
        cost: "nothing",
    };
}

impl Mixer for Cutout {
    fn validate(&self) -> Result<()> {
        // Half a side is rounded down, so that a square of one pixel is empty.
        within("length", self.length as f64, self.length >= 2, "at least 2")?;
        within("holes", self.holes as f64, self.holes >= 1, "at least 1")
    }

    fn sample(
        &self,
        batch: usize,
        height: usize,
        width: usize,
        rng: &mut dyn RngCore,
    ) -> Result<Box<dyn Plan>> {
        let mut centers = || (0..self.holes).map(|_| draw::pixel(height, width, rng)).collect();
        Ok(Box::new(CutoutPlan { length: self.length, centers: (0..batch).map(|_| centers()).collect() }))
    }
}

/// The draws of [`Cutout`].
#[derive(Clone, Debug, PartialEq)]
pub struct CutoutPlan {
    /// Side of a square in pixels.
    pub length: usize,
    /// The centres `[row, column]` of the squares of each sample.
    pub centers: Vec<Vec<[usize; 2]>>,
}

impl CutoutPlan {
    /// 0 in the squares, 1 around them: `[B, H, W]` for pictures of `size` (rows, columns), row by row.
    pub fn mask(&self, size: [usize; 2]) -> Vec<f32> {
        let pixels = size[0] * size[1];
        let mut mask = vec![1.0; self.centers.len() * pixels];
        for (sample, centers) in self.centers.iter().enumerate() {
            for &center in centers {
                let [row1, column1, row2, column2] = area::centred(size, [self.length; 2], center);
                for row in row1..row2 {
                    let start = sample * pixels + row * size[1];
                    mask[start + column1..start + column2].fill(0.0);
                }
            }
        }
        mask
    }
}

impl Plan for CutoutPlan {
    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        let (_, _, height, width) = view.images.dims4()?;
        let batch = self.centers.len();
        let mask =
            Tensor::from_vec(self.mask([height, width]), (batch, 1, height, width), view.images.device())?;
        let images = view.images.broadcast_mul(&mask.to_dtype(view.images.dtype())?)?;
        Ok(Mixed { images, targets: Targets::own(batch) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn every_sample_has_holes_of_its_own_and_keeps_its_label() -> Result<()> {
        let images = Tensor::ones((2, 3, 4, 5), DType::F32, &Device::Cpu)?;
        let plan = CutoutPlan { length: 2, centers: vec![vec![[1, 1], [3, 4]], vec![[0, 0], [0, 0]]] };
        let mixed = plan.mix(&View::of(&images))?;
        let lost = images.sub(&mixed.images)?.sum((1, 2, 3))?.to_vec1::<f32>()?;
        assert_eq!(lost, [3.0 * 8.0, 3.0]);
        let Targets::Labels { partners, weights } = mixed.targets else { panic!("labels stay") };
        assert_eq!((partners, weights), (vec![vec![0, 1]], vec![1.0]));
        Ok(())
    }

    #[test]
    fn centres_reach_every_pixel_and_differ_between_samples() -> Result<()> {
        let cutout = Cutout { length: 2, holes: 1 };
        let images = Tensor::ones((400, 1, 6, 9), DType::F32, &Device::Cpu)?;
        let plan = cutout.sample(400, 6, 9, &mut ChaCha8Rng::seed_from_u64(1))?;
        let kept = plan.mix(&View::of(&images))?.images.mean(0)?.flatten_all()?.to_vec1::<f32>()?;
        // A square of side 2 is a pixel and those above and left of it: an inner pixel is in it for 4 of 54 centres.
        let inner = kept[2 * 9 + 2];
        assert!(kept.iter().all(|&kept| kept < 1.0) && (inner - (1.0 - 4.0 / 54.0)).abs() < 0.05, "{kept:?}");
        Ok(())
    }
}
