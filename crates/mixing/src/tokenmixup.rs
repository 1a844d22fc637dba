//! TokenMixup (Choi et al., NeurIPS 2022), its horizontal form, on the patches of pictures: easy samples get the salient
//! patches of whichever samples make the batch most salient.

use crate::registry::{Facts, Registered, within};
use crate::tokens::{ClassAttention, cell, patchwork};
use crate::{Error, Mixed, Mixer, Need, Plan, Result, Targets, View, assignment};
use candle_core::{DType, Tensor};
use rand::RngCore;
use serde::{Deserialize, Serialize};

/// Of the saliencies `S` (the class token's attention to each token), a sample `i` and a partner `j`:
/// - `i` is mixed if its loss is at most τ;
/// - a token `t` is replaced if `S_j[t] - S_i[t] > ρ`;
/// - the gain of the pair is `Σ_t max(0, S_j[t] - S_i[t] - ρ)`, and partners are assigned to the samples that are mixed, none
///   twice, so that all gains sum to the most;
/// - the labels weigh what is left of `S_i`, and what was taken of `S_j`, over their sum.
///
/// The paper mixes tokens between two layers of the network. Here the patches of the tokens are mixed, before the network.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenMixup {
    /// τ: the largest loss of a sample that is mixed, a cross-entropy in nats.
    pub difficulty_threshold: f64,
    /// ρ: how much more attention a token must get than the one that it replaces.
    pub saliency_threshold: f64,
}

impl Default for TokenMixup {
    fn default() -> Self {
        Self { difficulty_threshold: 2.0, saliency_threshold: 0.005 }
    }
}

impl Registered for TokenMixup {
    const FACTS: Facts = Facts {
        name: "tokenmixup",
        title: "TokenMixup",
        citation: "Choi et al., NeurIPS 2022, arXiv 2210.07562",
        draws: "nothing",
        cost: "a pass over the clean pictures without a gradient, and an assignment, on the CPU",
    };
}

impl Mixer for TokenMixup {
    fn validate(&self) -> Result<()> {
        let [difficulty, saliency] = [self.difficulty_threshold, self.saliency_threshold];
        within("difficulty_threshold", difficulty, difficulty >= 0.0, "0 or more")?;
        within("saliency_threshold", saliency, saliency >= 0.0, "0 or more")
    }

    fn sample(&self, _: usize, _: usize, _: usize, _: &mut dyn RngCore) -> Result<Box<dyn Plan>> {
        Ok(Box::new(TokenMixupPlan(*self)))
    }
}

/// [`TokenMixup`] leaves nothing to chance.
#[derive(Clone, Copy, Debug)]
pub struct TokenMixupPlan(pub TokenMixup);

impl TokenMixupPlan {
    /// The partner of each sample: itself where it isn't easy, or gains nothing.
    fn partners(&self, losses: &[f64], attention: &ClassAttention) -> Vec<u32> {
        let easy: Vec<usize> =
            (0..losses.len()).filter(|&sample| losses[sample] <= self.0.difficulty_threshold).collect();
        let gain = |sample: usize, other: usize| -> f64 {
            let pairs = attention.tokens(sample).iter().zip(attention.tokens(other));
            pairs.map(|(&own, &other)| self.excess(own, other).max(0.0)).sum()
        };
        let gains: Vec<Vec<f64>> =
            easy.iter().map(|&sample| (0..losses.len()).map(|other| gain(sample, other)).collect()).collect();
        let mut partners: Vec<u32> = (0..losses.len() as u32).collect();
        for ((sample, partner), gains) in easy.into_iter().zip(assignment::maximal(&gains)).zip(&gains) {
            // A partner that gives nothing is as good as any other, and as none.
            if gains[partner] > 0.0 {
                partners[sample] = partner as u32;
            }
        }
        partners
    }

    /// By how much a partner's token is more salient than it must be to replace a sample's own.
    fn excess(&self, own: f32, other: f32) -> f64 {
        f64::from(other) - f64::from(own) - self.0.saliency_threshold
    }
}

/// The cross-entropy of each sample, in nats, of the classifier on the mean of the last map.
fn losses(features: &Tensor, head: (&Tensor, &Tensor), labels: &[u32]) -> Result<Vec<f64>> {
    let pooled = features.flatten_from(2)?.mean(2)?;
    let logits = pooled.matmul(&head.0.t()?)?.broadcast_add(head.1)?;
    let rows = logits.to_dtype(DType::F64)?.to_vec2::<f64>()?;
    let loss = |(row, &label): (&Vec<f64>, &u32)| {
        let top = row.iter().fold(f64::NEG_INFINITY, |top, &logit| top.max(logit));
        let total: f64 = row.iter().map(|logit| (logit - top).exp()).sum();
        Some(top + total.ln() - row.get(label as usize)?)
    };
    let losses: Option<Vec<f64>> = rows.iter().zip(labels).map(loss).collect();
    losses.filter(|losses| losses.len() == labels.len() && rows.len() == labels.len()).ok_or_else(|| {
        let expected = format!("[B, K] for the labels of {} pictures", labels.len());
        Error::Shape { what: "logits", got: logits.dims().to_vec(), expected }
    })
}

impl Plan for TokenMixupPlan {
    fn needs(&self) -> &'static [Need] {
        &[Need::Head, Need::Attention]
    }

    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        let (batch, _, height, width) = view.images.dims4()?;
        let attention = ClassAttention::of(view.attention()?, view.images)?;
        let losses = losses(view.features()?, view.head()?, view.labels()?)?;
        if losses.len() != batch {
            let expected = format!("{batch} labels");
            return Err(Error::Shape { what: "labels", got: vec![losses.len()], expected });
        }
        let partner = self.partners(&losses, &attention);
        let grid = attention.grid();
        let keeps = |sample: usize, token: [usize; 2]| {
            let index = token[0] * grid[1] + token[1];
            let other = attention.tokens(partner[sample] as usize)[index];
            self.excess(attention.tokens(sample)[index], other) <= 0.0
        };
        let (images, areas) = patchwork(view.images, &partner, |sample, pixel| {
            keeps(sample, cell(pixel, [height, width], grid))
        })?;
        let weight = |(sample, area): (usize, f64)| {
            let own = attention.sum(sample, |token| keeps(sample, token));
            let other = attention.sum(partner[sample] as usize, |token| !keeps(sample, token));
            // Without any attention there is nothing to weigh but pixels.
            if own + other > 0.0 { own / (own + other) } else { area }
        };
        let own = areas.into_iter().enumerate().map(weight).collect();
        Ok(Mixed { images, targets: Targets::shares(&partner, own) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// A batch of five pictures of 4x6 pixels, of tokens of 2x2, with all that is looked at.
    struct Batch {
        images: Tensor,
        features: Tensor,
        head: (Tensor, Tensor),
        attention: Tensor,
    }

    const LABELS: [u32; 5] = [0, 1, 2, 1, 0];

    impl Batch {
        fn new(seed: u64) -> Result<Self> {
            let rng = &mut ChaCha8Rng::seed_from_u64(seed);
            let mut noise = |shape: &[usize]| {
                let count = shape.iter().product();
                let values: Vec<f32> = (0..count).map(|_| rng.random_range(0.0..1.0)).collect();
                Tensor::from_vec(values, shape, &Device::Cpu)
            };
            Ok(Self {
                images: noise(&[5, 3, 4, 6])?,
                features: noise(&[5, 4, 2, 3])?,
                head: (noise(&[3, 4])?, noise(&[3])?),
                attention: noise(&[5, 2, 7, 7])?,
            })
        }

        fn mix(&self, mixer: TokenMixup) -> Result<Mixed> {
            let mut view = View::of(&self.images);
            view.labels = Some(&LABELS);
            view.features = Some(&self.features);
            view.head = Some((&self.head.0, &self.head.1));
            view.attention = Some(&self.attention);
            TokenMixupPlan(mixer).mix(&view)
        }

        /// `S[i][t]`, read off the maps one by one.
        fn saliency(&self) -> Result<Vec<Vec<f64>>> {
            let maps: Vec<f32> = self.attention.flatten_all()?.to_vec1()?;
            let at = |i: usize, head: usize, key: usize| f64::from(maps[(i * 2 + head) * 49 + key]);
            Ok((0..5).map(|i| (1..7).map(|t| (at(i, 0, t) + at(i, 1, t)) / 2.0).collect()).collect())
        }

        fn loss(&self, i: usize) -> Result<f64> {
            let features: Vec<Vec<f32>> = self.features.get(i)?.flatten_from(1)?.to_vec2()?;
            let (weight, bias) = (self.head.0.to_vec2::<f32>()?, self.head.1.to_vec1::<f32>()?);
            let logit = |k: usize| -> f64 {
                let mean = |c: usize| f64::from(features[c].iter().sum::<f32>()) / 6.0;
                (0..4).map(|c| mean(c) * f64::from(weight[k][c])).sum::<f64>() + f64::from(bias[k])
            };
            Ok((0..3).map(|k| logit(k).exp()).sum::<f64>().ln() - logit(LABELS[i] as usize))
        }
    }

    /// All ways to give each of `count` samples one of five partners, none twice.
    fn assignments(count: usize) -> Vec<Vec<usize>> {
        (0..count).fold(vec![Vec::new()], |ways, _| {
            let longer = |way: Vec<usize>| {
                let free = (0..5).filter(|partner| !way.contains(partner)).collect::<Vec<_>>();
                free.into_iter().map(move |partner| [way.clone(), vec![partner]].concat()).collect::<Vec<_>>()
            };
            ways.into_iter().flat_map(longer).collect()
        })
    }

    #[test]
    fn it_is_what_the_formulas_say() -> Result<()> {
        let mut mixed_samples = 0;
        for seed in 0..8 {
            let batch = Batch::new(seed)?;
            let (rho, tau) = (0.05 * seed as f64, 0.9 + 0.1 * seed as f64);
            let saliency = batch.saliency()?;
            let easy: Vec<usize> = (0..5).filter(|&i| batch.loss(i).unwrap() <= tau).collect();
            let gain = |i: usize, j: usize| -> f64 {
                (0..6).map(|t| (saliency[j][t] - saliency[i][t] - rho).max(0.0)).sum()
            };
            let total = |way: &Vec<usize>| easy.iter().zip(way).map(|(&i, &j)| gain(i, j)).sum::<f64>();
            let ways = assignments(easy.len());
            let best = ways.iter().max_by(|a, b| total(a).total_cmp(&total(b))).unwrap();
            let mixed = batch.mix(TokenMixup { difficulty_threshold: tau, saliency_threshold: rho })?;
            let Targets::Labels { partners, weights } = &mixed.targets else { unreachable!() };
            let (pixels, own): (Vec<f32>, Vec<f32>) =
                (mixed.images.flatten_all()?.to_vec1()?, batch.images.flatten_all()?.to_vec1()?);
            for i in 0..5 {
                let at = easy.iter().position(|&easy| easy == i);
                let partner = at.map_or(i, |at| if gain(i, best[at]) > 0.0 { best[at] } else { i });
                assert_eq!(partners[1][i] as usize, partner);
                let replaced = |t: usize| saliency[partner][t] - saliency[i][t] > rho;
                for (pixel, &value) in pixels[i * 72..][..72].iter().enumerate() {
                    let (row, column) = (pixel % 24 / 6, pixel % 6);
                    let from = if replaced(row / 2 * 3 + column / 2) { partner } else { i };
                    assert_eq!(value, own[from * 72 + pixel]);
                }
                let kept: f64 = (0..6).filter(|&t| !replaced(t)).map(|t| saliency[i][t]).sum();
                let taken: f64 = (0..6).filter(|&t| replaced(t)).map(|t| saliency[partner][t]).sum();
                assert!((f64::from(weights[2 * i]) - kept / (kept + taken)).abs() < 1e-6);
                assert!((weights[2 * i] + weights[2 * i + 1] - 1.0).abs() < 1e-6);
                mixed_samples += usize::from(taken > 0.0);
            }
        }
        assert!((5..40).contains(&mixed_samples), "{mixed_samples}");
        Ok(())
    }

    #[test]
    fn hard_samples_stay_as_they_are() -> Result<()> {
        let batch = Batch::new(1)?;
        let mixed = batch.mix(TokenMixup { difficulty_threshold: 0.0, saliency_threshold: 0.0 })?;
        assert_eq!(
            mixed.images.flatten_all()?.to_vec1::<f32>()?,
            batch.images.flatten_all()?.to_vec1::<f32>()?
        );
        Ok(())
    }
}
