//! Saliency Grafting (Park et al., AAAI 2022): some of the partner's salient cells, drawn by chance, are grafted onto the
//! sample, and labels weigh how salient is what is to be seen of each.
//!
//! Its authors published no code. Which details are open, and what is done here, is in `docs/methods/saliency.md`.

use crate::cells;
use crate::registry::{Facts, Registered, positive};
use crate::{Error, Mixed, Mixer, Need, Plan, Result, Targets, View, draw};
use rand::RngCore;
use serde::{Deserialize, Serialize};

/// A cell is one position of the network's last map, as many pixels as lie under it. Its saliency is the sum of the absolute
/// values of its features. The partner's cells whose share of the softmax over the map is above the mean may be grafted;
/// each of them is, with a probability of Beta(a, a) that is drawn per batch.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SaliencyGrafting {
    /// `a` of Beta(a, a), where the probability is drawn that a salient cell is grafted.
    pub beta_parameter: f64,
    /// What the saliency, on a scale on which its maximum is 1, is divided by before the softmax.
    pub temperature: f64,
    /// How many times the mean a cell's share of the softmax must exceed.
    pub threshold: f64,
}

impl Default for SaliencyGrafting {
    fn default() -> Self {
        Self { beta_parameter: 1.0, temperature: 0.2, threshold: 1.0 }
    }
}

impl Registered for SaliencyGrafting {
    const FACTS: Facts = Facts {
        name: "saliencygrafting",
        title: "Saliency Grafting",
        citation: "Park et al., AAAI 2022, arXiv 2112.08796",
        draws: "a probability of Beta(a, a) and a permutation per batch, a trial of that probability per cell",
        cost: "features of the unmixed pictures",
    };
}

impl Mixer for SaliencyGrafting {
    fn validate(&self) -> Result<()> {
        positive("beta_parameter", self.beta_parameter)?;
        positive("temperature", self.temperature)?;
        positive("threshold", self.threshold)
    }

    fn sample(&self, batch: usize, _: usize, _: usize, rng: &mut dyn RngCore) -> Result<Box<dyn Plan>> {
        let probability = draw::beta(self.beta_parameter, rng)?;
        let partner = draw::permutation(batch, rng);
        let trials = (0..batch).map(|_| Trials(rng.next_u64())).collect();
        Ok(Box::new(SaliencyGraftingPlan { method: *self, probability, partner, trials }))
    }
}

/// A uniform number for each cell of a map. They follow from one draw, because how many cells there are is not known when a
/// plan is drawn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trials(pub u64);

impl Trials {
    /// The number of a cell, in [0, 1): the output of SplitMix64 after so many steps.
    pub fn of(self, cell: usize) -> f64 {
        let z = self.0.wrapping_add((cell as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }
}

/// The draws of [`SaliencyGrafting`].
#[derive(Clone, Debug)]
pub struct SaliencyGraftingPlan {
    /// How cells are chosen.
    pub method: SaliencyGrafting,
    /// The probability that a salient cell is grafted.
    pub probability: f64,
    /// The partner of each sample.
    pub partner: Vec<u32>,
    /// The trials of each sample: those of its partner's cells that are below the probability are grafted if they are salient.
    pub trials: Vec<Trials>,
}

impl Plan for SaliencyGraftingPlan {
    fn needs(&self) -> &'static [Need] {
        &[Need::Features]
    }

    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        let batch = view.images.dim(0)?;
        if self.partner.len() != batch {
            let expected = format!("[{}, C, H, W]", self.partner.len());
            return Err(Error::Shape { what: "pictures", got: view.images.dims().to_vec(), expected });
        }
        let (maps, grid) = cells::channel_sums(&view.features()?.abs()?, batch)?;
        let salient: Vec<Vec<bool>> = maps.iter().map(|map| self.method.salient(map)).collect();
        let (mut own, mut weights) = (Vec::new(), Vec::new());
        for ((map, &partner), trials) in maps.iter().zip(&self.partner).zip(&self.trials) {
            let partner = partner as usize;
            let drawn = salient[partner].iter().enumerate();
            let grafted: Vec<bool> =
                drawn.map(|(cell, salient)| *salient && trials.of(cell) < self.probability).collect();
            let kept = importance(map, grafted.iter().map(|grafted| !grafted));
            let added = importance(&maps[partner], grafted.iter().copied());
            let weight = kept / (kept + added);
            weights.push([weight as f32, (1.0 - weight) as f32]);
            own.extend(grafted.iter().map(|&grafted| f32::from(u8::from(!grafted))));
        }
        let mask = cells::enlarged(own, grid, view.images)?;
        let images = cells::blend(view.images, &self.partner, &mask)?.images;
        Ok(Mixed { images, targets: Targets::pairs(&self.partner, weights) })
    }
}

impl SaliencyGrafting {
    /// The cells of a map whose share of `softmax(saliency / temperature)` exceeds the threshold.
    fn salient(&self, map: &[f32]) -> Vec<bool> {
        let largest = f64::from(map.iter().fold(0.0f32, |largest, &value| largest.max(value)));
        if largest == 0.0 {
            return vec![false; map.len()];
        }
        let power = |&value: &f32| ((f64::from(value) / largest - 1.0) / self.temperature).exp();
        let mean = map.iter().map(power).sum::<f64>() / map.len() as f64;
        map.iter().map(|value| power(value) > self.threshold * mean).collect()
    }
}

/// How much of a map's saliency lies in some of its cells: the quotient of the L2 norms. In a map of zeros all cells are as
/// important.
fn importance(map: &[f32], cells: impl Iterator<Item = bool>) -> f64 {
    let flat = map.iter().all(|&value| value == 0.0);
    let square = |&value: &f32| if flat { 1.0 } else { f64::from(value).powi(2) };
    let total: f64 = map.iter().map(square).sum();
    let inside: f64 =
        map.iter().zip(cells).filter(|(_, inside)| *inside).map(|(value, _)| square(value)).sum();
    (inside / total).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Tensor};
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    const BATCH: usize = 5;
    const CHANNELS: usize = 4;
    /// Rows and columns of a picture and of its map; the cells don't divide the picture.
    const SIZES: [[usize; 2]; 2] = [[11, 9], [3, 2]];

    /// Random values, some of them negative.
    fn noise(len: usize, rng: &mut ChaCha8Rng) -> Vec<f32> {
        (0..len).map(|_| rng.random_range(-1.0..3.0)).collect()
    }

    fn tensor(values: &[f32], channels: usize, [height, width]: [usize; 2]) -> Result<Tensor> {
        Ok(Tensor::from_slice(
            values,
            (values.len() / channels / height / width, channels, height, width),
            &Device::Cpu,
        )?)
    }

    /// The saliency of a cell, as the formulas have it.
    fn saliency(features: &[f32], sample: usize, cell: usize) -> f64 {
        let cells = SIZES[1][0] * SIZES[1][1];
        (0..CHANNELS).map(|c| f64::from(features[(sample * CHANNELS + c) * cells + cell]).abs()).sum()
    }

    /// Pixel by pixel and cell by cell: the mixed picture of a sample, and the weight of its own label.
    fn slow(plan: &SaliencyGraftingPlan, images: &[f32], features: &[f32], sample: usize) -> (Vec<f32>, f64) {
        let [[height, width], [rows, columns]] = SIZES;
        let (cells, partner) = (rows * columns, plan.partner[sample] as usize);
        let maximum = |s: usize| (0..cells).map(|cell| saliency(features, s, cell)).fold(0.0, f64::max);
        let power =
            |cell| (saliency(features, partner, cell) / maximum(partner) / plan.method.temperature).exp();
        let softmax = |cell: usize| power(cell) / (0..cells).map(power).sum::<f64>();
        let grafted: Vec<bool> = (0..cells)
            .map(|cell| softmax(cell) > plan.method.threshold / cells as f64)
            .zip((0..cells).map(|cell| plan.trials[sample].of(cell) < plan.probability))
            .map(|(salient, drawn)| salient && drawn)
            .collect();
        let norm = |s: usize, counts: &dyn Fn(usize) -> bool| {
            let squares =
                (0..cells).filter(|&cell| counts(cell)).map(|cell| saliency(features, s, cell).powi(2));
            squares.sum::<f64>().sqrt()
        };
        let kept = norm(sample, &|cell| !grafted[cell]) / norm(sample, &|_| true);
        let added = norm(partner, &|cell| grafted[cell]) / norm(partner, &|_| true);
        let pixels = (0..3 * height * width).map(|at| {
            let (row, column) = (at / width % height, at % width);
            let cell = row * rows / height * columns + column * columns / width;
            images[if grafted[cell] { partner } else { sample } * 3 * height * width + at]
        });
        (pixels.collect(), kept / (kept + added))
    }

    #[test]
    fn grafts_and_weighs_as_the_formulas_say() -> Result<()> {
        for (seed, temperature, threshold) in [(1, 0.2, 1.0), (2, 1.0, 0.5), (3, 0.05, 2.0)] {
            let rng = &mut ChaCha8Rng::seed_from_u64(seed);
            let [[height, width], [rows, columns]] = SIZES;
            let images = noise(BATCH * 3 * height * width, rng);
            let features = noise(BATCH * CHANNELS * rows * columns, rng);
            let method = SaliencyGrafting { temperature, threshold, ..SaliencyGrafting::default() };
            let partner = draw::permutation(BATCH, rng);
            let trials = (0..BATCH).map(|_| Trials(rng.next_u64())).collect();
            let plan = SaliencyGraftingPlan { method, probability: 0.7, partner, trials };
            let pictures = tensor(&images, 3, SIZES[0])?;
            let map = tensor(&features, CHANNELS, SIZES[1])?;
            let mut view = View::of(&pictures);
            view.features = Some(&map);
            let mixed = plan.mix(&view)?;
            let Targets::Labels { weights, .. } = &mixed.targets else { unreachable!() };
            for sample in 0..BATCH {
                let (pixels, weight) = slow(&plan, &images, &features, sample);
                assert_eq!(mixed.images.get(sample)?.flatten_all()?.to_vec1::<f32>()?, pixels);
                assert!(
                    (f64::from(weights[2 * sample]) - weight).abs() < 1e-6,
                    "{weights:?}, expected {weight}"
                );
            }
            let changed = weights.iter().step_by(2).filter(|weight| **weight < 1.0).count();
            assert!(changed > 0, "nothing was grafted");
        }
        Ok(())
    }

    #[test]
    fn nothing_is_grafted_at_probability_zero_or_from_a_map_of_zeros() -> Result<()> {
        let rng = &mut ChaCha8Rng::seed_from_u64(4);
        let pictures = tensor(&noise(BATCH * 3 * 99, rng), 3, SIZES[0])?;
        let map = tensor(&noise(BATCH * CHANNELS * 6, rng), CHANNELS, SIZES[1])?;
        for (probability, map) in [(0.0, map.clone()), (1.0, map.zeros_like()?)] {
            let mut view = View::of(&pictures);
            view.features = Some(&map);
            let trials = (0..BATCH as u64).map(Trials).collect();
            let method = SaliencyGrafting::default();
            let mixed = SaliencyGraftingPlan { method, probability, partner: vec![1, 2, 3, 4, 0], trials }
                .mix(&view)?;
            let Targets::Labels { weights, .. } = mixed.targets else { unreachable!() };
            assert_eq!(weights, [1.0, 0.0].repeat(BATCH));
            assert_eq!(
                mixed.images.flatten_all()?.to_vec1::<f32>()?,
                pictures.flatten_all()?.to_vec1::<f32>()?
            );
        }
        Ok(())
    }

    #[test]
    fn trials_are_uniform() {
        let drawn: Vec<f64> =
            (0..100).flat_map(|seed| (0..49).map(move |cell| Trials(seed).of(cell))).collect();
        let mean = drawn.iter().sum::<f64>() / drawn.len() as f64;
        let below = drawn.iter().filter(|drawn| **drawn < 0.1).count() as f64 / drawn.len() as f64;
        assert!((mean - 0.5).abs() < 0.02 && (below - 0.1).abs() < 0.02, "{mean} {below}");
        assert!(drawn.iter().all(|drawn| (0.0..1.0).contains(drawn)));
    }
}
