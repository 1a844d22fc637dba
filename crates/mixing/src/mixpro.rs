//! MixPro (Zhao et al., ICLR 2023): a mosaic of coarse cells, whose labels trust the attention as far as the network is right.

use crate::registry::{Facts, Registered, positive, share, within};
use crate::tokens::{ClassAttention, patchwork};
use crate::{Error, Mixed, Mixer, Need, Plan, Result, Targets, View, draw};
use candle_core::{DType, Tensor};
use rand::RngCore;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// MaskMix: each sample keeps random cells of its own, and takes the others from its partner. Progressive attention
/// labelling: the sample's label weighs `c · attention + (1 - c) · area`, the share of the class token's attention, in the
/// clean picture, to the tokens that are kept, and the share of cells; `c` is the cosine of the angle between the target
/// by area and the network's answer to the mixed picture.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct MixPro {
    /// `a` of Beta(a, a).
    pub beta_parameter: f64,
    /// Side of a cell, in pixels: a multiple of the network's patches.
    pub mask_patch: usize,
    /// Share of every label of the target by area, in `c` only, that is spread over all classes.
    pub smoothing: f64,
}

impl Default for MixPro {
    fn default() -> Self {
        Self { beta_parameter: 1.0, mask_patch: 64, smoothing: 0.0 }
    }
}

impl Registered for MixPro {
    const FACTS: Facts = Facts {
        name: "mixpro",
        title: "MixPro",
        citation: "Zhao et al., ICLR 2023, arXiv 2304.12043",
        draws: "λ of Beta(a, a) and a permutation, per batch; a share λ of the cells, rounded up, per sample",
        cost: "a pass over the clean pictures without a gradient",
    };
}

impl Mixer for MixPro {
    fn validate(&self) -> Result<()> {
        positive("beta_parameter", self.beta_parameter)?;
        within("mask_patch", self.mask_patch as f64, self.mask_patch > 0, "a number of pixels")?;
        share("smoothing", self.smoothing)
    }

    fn sample(
        &self,
        batch: usize,
        height: usize,
        width: usize,
        rng: &mut dyn RngCore,
    ) -> Result<Box<dyn Plan>> {
        let lambda = draw::beta(self.beta_parameter, rng)?;
        let partner = draw::permutation(batch, rng);
        let cells = [height, width].map(|side| side.div_ceil(self.mask_patch));
        let count = cells[0] * cells[1];
        let kept = (lambda * count as f64).ceil() as usize;
        let kept = (0..batch).map(|_| {
            let mut cells: Vec<bool> = (0..count).map(|cell| cell < kept).collect();
            cells.shuffle(rng);
            cells
        });
        Ok(Box::new(MixProPlan {
            lambda,
            kept: kept.collect(),
            columns: cells[1],
            patch: self.mask_patch,
            partner,
            smoothing: self.smoothing,
        }))
    }
}

/// The draws of [`MixPro`].
#[derive(Clone, Debug, PartialEq)]
pub struct MixProPlan {
    /// The share of cells that was to be kept; only the cells count.
    pub lambda: f64,
    /// Whether a sample keeps a cell, `[B]` lists, row by row.
    pub kept: Vec<Vec<bool>>,
    /// Cells in a row.
    pub columns: usize,
    /// Side of a cell, in pixels. The last of a row or column may be cut.
    pub patch: usize,
    /// The partner of each sample.
    pub partner: Vec<u32>,
    /// Share of a label that is spread over all classes.
    pub smoothing: f64,
}

impl MixProPlan {
    fn kept(&self, sample: usize, [row, column]: [usize; 2]) -> bool {
        self.kept[sample][row / self.patch * self.columns + column / self.patch]
    }

    /// Checks that the plan is for `images`.
    fn check(&self, images: &Tensor) -> Result<()> {
        let (batch, _, height, width) = images.dims4()?;
        let cells = height.div_ceil(self.patch) * self.columns;
        let samples = [self.kept.len(), self.partner.len()] == [batch; 2];
        if samples
            && width.div_ceil(self.patch) == self.columns
            && self.kept.iter().all(|kept| kept.len() == cells)
        {
            return Ok(());
        }
        let expected = format!("{} pictures of {} cells in a row", self.partner.len(), self.columns);
        Err(Error::Shape { what: "images", got: images.dims().to_vec(), expected })
    }

    /// The share of cells that each sample keeps, `[B]`: that of pixels, where no cell is cut at the border.
    fn areas(&self) -> Vec<f64> {
        let share =
            |cells: &Vec<bool>| cells.iter().filter(|&&kept| kept).count() as f64 / cells.len() as f64;
        self.kept.iter().map(share).collect()
    }

    /// The share of a clean sample's attention that goes to the tokens it keeps, `[B]`; that of cells where there is none.
    pub fn attended(&self, attention: &ClassAttention, size: [usize; 2]) -> Vec<f64> {
        let [rows, columns] = attention.grid();
        let share = |(sample, area): (usize, f64)| {
            let kept = |[row, column]: [usize; 2]| {
                self.kept(sample, [row * size[0] / rows, column * size[1] / columns])
            };
            attention.share(sample, kept, area)
        };
        self.areas().into_iter().enumerate().map(share).collect()
    }

    /// How near the answer to each mixed sample is to its target by area, `[B]`: the cosine of the angle between them.
    fn trust(&self, labels: &[u32], areas: &[f64], logits: &Tensor) -> Result<Vec<f64>> {
        let answers = logits.to_dtype(DType::F64)?.to_vec2::<f64>()?;
        let class = |sample: usize| labels.get(sample).map(|&label| label as usize);
        let mut trust = Vec::with_capacity(areas.len());
        for (sample, (&area, &partner)) in areas.iter().zip(&self.partner).enumerate() {
            let answer = answers.get(sample).filter(|answer| !answer.is_empty());
            let (Some(answer), Some(own), Some(other)) = (answer, class(sample), class(partner as usize))
            else {
                return Err(misfit(logits, labels));
            };
            if own.max(other) >= answer.len() {
                return Err(misfit(logits, labels));
            }
            let mut target = vec![self.smoothing / answer.len() as f64; answer.len()];
            target[own] += (1.0 - self.smoothing) * area;
            target[other] += (1.0 - self.smoothing) * (1.0 - area);
            trust.push(cosine(&target, &softmax(answer)));
        }
        Ok(trust)
    }
}

fn misfit(logits: &Tensor, labels: &[u32]) -> Error {
    Error::Shape {
        what: "logits",
        got: logits.dims().to_vec(),
        expected: format!("[B, K] for the labels of {} pictures", labels.len()),
    }
}

fn softmax(logits: &[f64]) -> Vec<f64> {
    let top = logits.iter().fold(f64::NEG_INFINITY, |top, &logit| top.max(logit));
    let powers: Vec<f64> = logits.iter().map(|logit| (logit - top).exp()).collect();
    let total: f64 = powers.iter().sum();
    powers.into_iter().map(|power| power / total).collect()
}

fn cosine(a: &[f64], b: &[f64]) -> f64 {
    let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

impl Plan for MixProPlan {
    fn needs(&self) -> &'static [Need] {
        &[Need::Attention]
    }

    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        self.check(view.images)?;
        let (images, _) = patchwork(view.images, &self.partner, |sample, pixel| self.kept(sample, pixel))?;
        Ok(Mixed { images, targets: Targets::shares(&self.partner, self.areas()) })
    }

    fn relabels(&self) -> bool {
        true
    }

    fn relabel(&self, _: Targets, clean: &View<'_>, mixed: &View<'_>) -> Result<Targets> {
        self.check(clean.images)?;
        let (_, _, height, width) = clean.images.dims4()?;
        let areas = self.areas();
        let attention = ClassAttention::of(clean.attention()?, clean.images)?;
        let attended = self.attended(&attention, [height, width]);
        let trust = self.trust(clean.labels()?, &areas, mixed.logits()?)?;
        let own = trust
            .iter()
            .zip(attended)
            .zip(&areas)
            .map(|((c, attended), area)| c * attended + (1.0 - c) * area);
        Ok(Targets::shares(&self.partner, own.collect()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn every_sample_keeps_the_drawn_share_of_cells_at_places_of_its_own() -> Result<()> {
        let mixer = MixPro { mask_patch: 8, ..MixPro::default() };
        for seed in 0..10 {
            let text = format!("{:?}", mixer.sample(6, 20, 24, &mut ChaCha8Rng::seed_from_u64(seed))?);
            let lambda = draw::beta(1.0, &mut ChaCha8Rng::seed_from_u64(seed))?;
            let kept = (9.0 * lambda).ceil() as usize;
            assert_eq!(text.matches("true").count(), 6 * kept, "{text}");
            assert_eq!(text.matches("false").count(), 6 * (9 - kept));
        }
        Ok(())
    }

    #[test]
    fn attention_counts_as_far_as_the_answer_is_right() -> Result<()> {
        // Both tokens are half of a picture; the class token looks at the kept one only.
        let images = Tensor::arange(0f32, 2.0, &Device::Cpu)?.reshape((1, 1, 1, 2))?;
        let attention = Tensor::new(&[[[[0f32, 1.0, 0.0], [0.0; 3], [0.0; 3]]]], &Device::Cpu)?;
        let kept = vec![vec![true, false]];
        let plan = MixProPlan { lambda: 0.5, kept, columns: 2, patch: 1, partner: vec![0], smoothing: 0.0 };
        let mut clean = View::of(&images);
        clean.labels = Some(&[1]);
        clean.attention = Some(&attention);
        let own = |logits: [f32; 3]| -> Result<Vec<f32>> {
            let logits = Tensor::new(&[logits], &Device::Cpu)?;
            let mut seen = View::of(&images);
            seen.logits = Some(&logits);
            assert!(plan.relabels());
            match plan.relabel(plan.mix(&clean)?.targets, &clean, &seen)? {
                Targets::Labels { weights, .. } => Ok(weights),
                Targets::Soft(_) => Ok(Vec::new()),
            }
        };
        assert_eq!(own([-100.0, 100.0, -100.0])?, [1.0, 0.0]);
        assert_eq!(own([100.0, -100.0, -100.0])?, [0.5, 0.5]);
        // An answer without an opinion: the cosine is 1 / √3.
        assert!((f64::from(own([0.0; 3])?[0]) - (0.5 + 0.5 / 3f64.sqrt())).abs() < 1e-6);
        let two = Tensor::zeros((2, 1, 1, 2), DType::F32, &Device::Cpu)?;
        let error = plan.mix(&View::of(&two)).unwrap_err().to_string();
        assert_eq!(error, "images [2, 1, 1, 2], expected 1 pictures of 2 cells in a row");
        clean.labels = Some(&[3]);
        let logits = Tensor::zeros((1, 3), DType::F32, &Device::Cpu)?;
        let mut seen = View::of(&images);
        seen.logits = Some(&logits);
        let error = plan.relabel(plan.mix(&clean)?.targets, &clean, &seen).unwrap_err().to_string();
        assert_eq!(error, "logits [1, 3], expected [B, K] for the labels of 1 pictures");
        Ok(())
    }
}
