//! TokenMix (Liu et al., ECCV 2022): blocks of tokens are the partner's, and labels weigh as much as was attended to there.

use crate::registry::{Facts, Registered, positive, within};
use crate::tokens::{ClassAttention, cell};
use crate::{Mixed, Mixer, Need, Plan, Result, Targets, Variant, View, draw};
use rand::{Rng, RngCore};
use serde::{Deserialize, Serialize};

/// The smallest ratio of a block's height to its width; the largest is 1 over it.
const ASPECT: f64 = 0.3;

/// How often a block that doesn't fit is drawn again.
const TRIES: usize = 10;

/// One mask of tokens per batch, of rectangles that may overlap. The sample's label weighs the class token's attention, in the
/// clean picture, to the tokens that are kept; the partner's that in the partner to the tokens that were taken from it.
/// These are two shares of two pictures, and need not sum to 1.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TokenMix {
    /// `a` of Beta(a, a), of which the share of kept tokens is.
    pub beta_parameter: f64,
    /// Side of a cell of the mask, in pixels: that of the network's patches.
    pub patch: usize,
    /// Published code weighs each of the two labels by the tokens that come from the *other* picture.
    pub label: Variant,
}

impl Default for TokenMix {
    fn default() -> Self {
        Self { beta_parameter: 1.0, patch: 16, label: Variant::Paper }
    }
}

impl Registered for TokenMix {
    const FACTS: Facts = Facts {
        name: "tokenmix",
        title: "TokenMix",
        citation: "Liu et al., ECCV 2022, arXiv 2207.08409",
        draws: "λ of Beta(a, a), rectangles of tokens that cover 1 - λ and a 14th of them, and a permutation, per batch",
        cost: "a pass over the clean pictures without a gradient",
    };
}

impl Mixer for TokenMix {
    fn validate(&self) -> Result<()> {
        positive("beta_parameter", self.beta_parameter)?;
        within("patch", self.patch as f64, self.patch > 0, "a number of pixels")
    }

    fn sample(
        &self,
        batch: usize,
        height: usize,
        width: usize,
        rng: &mut dyn RngCore,
    ) -> Result<Box<dyn Plan>> {
        let lambda = draw::beta(self.beta_parameter, rng)?;
        let grid = [height, width].map(|side| (side / self.patch).max(1));
        // Published code takes 14 tokens more than asked for, of the 196 of a picture of 224 pixels.
        let tokens = grid[0] * grid[1];
        let count = tokens.min(((1.0 - lambda) * tokens as f64) as usize + tokens / 14);
        let taken = blocks(grid, count, rng);
        Ok(Box::new(TokenMixPlan {
            lambda,
            grid,
            taken,
            partner: draw::permutation(batch, rng),
            label: self.label,
        }))
    }
}

/// Rectangles in a `grid` (rows, columns) that cover `count` cells or fewer, as BEiT draws them: each has at most as many
/// cells as are missing, and is drawn again where it is too large or covers nothing new.
fn blocks([rows, columns]: [usize; 2], count: usize, rng: &mut dyn RngCore) -> Vec<bool> {
    let mut taken = vec![false; rows * columns];
    let mut missing = count;
    let mut tries = 0;
    while missing > 0 && tries < TRIES {
        tries += 1;
        let area = 1.0 + rng.random::<f64>() * (missing as f64 - 1.0);
        let aspect = (ASPECT.ln() * (2.0 * rng.random::<f64>() - 1.0)).exp();
        let [height, width] = [area * aspect, area / aspect].map(|square| square.sqrt().round() as usize);
        if height >= rows || width >= columns {
            continue;
        }
        let (top, left) = (rng.random_range(0..=rows - height), rng.random_range(0..=columns - width));
        let cells = (top..top + height)
            .flat_map(|row| (left..left + width).map(move |column| row * columns + column))
            .filter(|&cell| !taken[cell])
            .collect::<Vec<_>>();
        if !cells.is_empty() && cells.len() <= missing {
            missing -= cells.len();
            cells.into_iter().for_each(|cell| taken[cell] = true);
            tries = 0;
        }
    }
    taken
}

/// The draws of [`TokenMix`].
#[derive(Clone, Debug, PartialEq)]
pub struct TokenMixPlan {
    /// The share of tokens that was to be kept; only the mask counts.
    pub lambda: f64,
    /// Rows and columns of the mask.
    pub grid: [usize; 2],
    /// Whether a cell is the partner's, row by row.
    pub taken: Vec<bool>,
    /// The partner of each sample.
    pub partner: Vec<u32>,
    /// Which tokens a label weighs.
    pub label: Variant,
}

impl TokenMixPlan {
    /// Whether position `at` of a grid of `size` is the partner's.
    fn taken(&self, at: [usize; 2], size: [usize; 2]) -> bool {
        let [row, column] = cell(at, size, self.grid);
        self.taken[row * self.grid[1] + column]
    }
}

impl Plan for TokenMixPlan {
    fn needs(&self) -> &'static [Need] {
        &[Need::Attention]
    }

    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        let (_, _, height, width) = view.images.dims4()?;
        let attention = ClassAttention::of(view.attention()?, view.images)?;
        let pixel = |i: usize| if self.taken([i / width, i % width], [height, width]) { 0.0 } else { 1.0 };
        let mask: Vec<f32> = (0..height * width).map(pixel).collect();
        let images = adautomix_ops::mask_mix(view.images, &self.partner, &mask)?;
        let swapped = self.label == Variant::Reference;
        let weigh = |(sample, &partner): (usize, &u32)| {
            let sum = |sample: usize, of_partner: bool| {
                attention.sum(sample, |token| self.taken(token, attention.grid()) == of_partner) as f32
            };
            [sum(sample, swapped), sum(partner as usize, !swapped)]
        };
        let weights = self.partner.iter().enumerate().map(weigh).collect();
        Ok(Mixed { images, targets: Targets::pairs(&self.partner, weights) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Tensor};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn covered(grid: [usize; 2], count: usize, seed: u64) -> usize {
        blocks(grid, count, &mut ChaCha8Rng::seed_from_u64(seed)).into_iter().filter(|&taken| taken).count()
    }

    #[test]
    fn blocks_cover_what_is_asked_for_and_never_more() {
        let counts: Vec<usize> = (0..100).map(|seed| covered([14, 14], 98, seed)).collect();
        assert!(counts.iter().all(|&count| count <= 98));
        assert!(counts.iter().filter(|&&count| count == 98).count() > 90, "{counts:?}");
        assert_eq!(covered([14, 14], 0, 1), 0);
        assert!(covered([7, 14], 98, 2) > 70);
        // A rectangle is smaller than the grid on both sides, so there is none in one row.
        assert_eq!(covered([1, 4], 2, 3), 0);
    }

    #[test]
    fn each_label_weighs_its_own_tokens_and_in_published_code_the_others() -> Result<()> {
        // The left token of two is taken. The class token looks at the tokens with 0.5 and 0.25, 0.125 and 0.0625.
        let maps = [[0.0, 0.5, 0.25], [0.0, 0.125, 0.0625]].map(|row| [row, [0.0; 3], [0.0; 3]]);
        let attention = Tensor::new(&[[maps[0]], [maps[1]]], &Device::Cpu)?.to_dtype(DType::F32)?;
        let images = Tensor::arange(0f32, 4.0, &Device::Cpu)?.reshape((2, 1, 1, 2))?;
        let mut view = View::of(&images);
        view.attention = Some(&attention);
        let mix = |label| {
            let taken = vec![true, false];
            TokenMixPlan { lambda: 0.5, grid: [1, 2], taken, partner: vec![1, 0], label }.mix(&view)
        };
        let weights = |mixed: Mixed| match mixed.targets {
            Targets::Labels { weights, .. } => weights,
            Targets::Soft(_) => Vec::new(),
        };
        let paper = mix(Variant::Paper)?;
        assert_eq!(paper.images.flatten_all()?.to_vec1::<f32>()?, [2.0, 1.0, 0.0, 3.0]);
        assert_eq!(weights(paper), [0.25, 0.125, 0.0625, 0.5]);
        assert_eq!(weights(mix(Variant::Reference)?), [0.5, 0.0625, 0.125, 0.25]);
        Ok(())
    }
}
