//! SMMix (Chen et al., ICCV 2023): what is attended to most in the partner replaces what is attended to least.

use crate::area::Area;
use crate::registry::{Facts, Registered, within};
use crate::tokens::ClassAttention;
use crate::{Mixed, Mixer, Need, Plan, Result, Targets, View};
use candle_core::Tensor;
use rand::{Rng, RngCore};
use serde::{Deserialize, Serialize};

/// A square of tokens per sample, of one size in the batch: the one of the partner with the most attention of the class
/// token replaces the sample's own with the least. Sample `i` of `N` is mixed with sample `N - 1 - i`. Labels weigh as
/// many pixels as were really pasted.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SmMix {
    /// Smallest and largest side of the square, as shares of the shorter side of the grid of tokens.
    pub sides: [f64; 2],
}

impl Default for SmMix {
    fn default() -> Self {
        Self { sides: [0.25, 0.75] }
    }
}

impl Registered for SmMix {
    const FACTS: Facts = Facts {
        name: "smmix",
        title: "SMMix",
        citation: "Chen et al., ICCV 2023, arXiv 2212.12977",
        draws: "the side of the square, a uniform number of tokens from a quarter to three quarters, per batch",
        cost: "a pass over the clean pictures without a gradient",
    };
}

impl Mixer for SmMix {
    fn validate(&self) -> Result<()> {
        let [low, high] = self.sides;
        within("sides", low, (0.0..=1.0).contains(&low), "two shares")?;
        within("sides", high, (low..=1.0).contains(&high), "a share, no less than the first")
    }

    fn sample(&self, _: usize, _: usize, _: usize, rng: &mut dyn RngCore) -> Result<Box<dyn Plan>> {
        Ok(Box::new(SmMixPlan { sides: self.sides, uniform: rng.random() }))
    }
}

/// The draw of [`SmMix`]. How many tokens a side is depends on the grid, which the attention maps tell.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SmMixPlan {
    /// Smallest and largest side, as shares of the grid's.
    pub sides: [f64; 2],
    /// A uniform number from 0 to 1 that chooses among the whole numbers between them.
    pub uniform: f64,
}

/// Squares of `side` × `side` tokens of a sample: where the attention is least, and where it is most, `[row, column]` of
/// their upper left tokens. The first in row-major order counts.
pub fn extremes(attention: &ClassAttention, sample: usize, side: usize) -> [[usize; 2]; 2] {
    let [rows, columns] = attention.grid();
    let (mut least, mut most) = ((f64::INFINITY, [0, 0]), (f64::NEG_INFINITY, [0, 0]));
    let tokens = attention.tokens(sample);
    for row in 0..=rows - side {
        for column in 0..=columns - side {
            let line = |row: usize| &tokens[row * columns + column..][..side];
            let sum: f64 = (row..row + side).flat_map(line).map(|&value| f64::from(value)).sum();
            if sum < least.0 {
                least = (sum, [row, column]);
            }
            if sum > most.0 {
                most = (sum, [row, column]);
            }
        }
    }
    [least.1, most.1]
}

impl SmMixPlan {
    /// The side of the squares in a `grid` of tokens.
    pub fn side(&self, grid: [usize; 2]) -> usize {
        let shorter = grid[0].min(grid[1]);
        let [low, high] = self.sides.map(|share| (share * shorter as f64) as usize);
        low + ((self.uniform * (high - low + 1) as f64) as usize).min(high - low)
    }
}

impl Plan for SmMixPlan {
    fn needs(&self) -> &'static [Need] {
        &[Need::Attention]
    }

    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        let (batch, _, height, width) = view.images.dims4()?;
        let attention = ClassAttention::of(view.attention()?, view.images)?;
        let grid = attention.grid();
        let side = self.side(grid);
        let patch = [height / grid[0], width / grid[1]];
        let [rows, columns] = patch.map(|pixels| pixels * side);
        let partner: Vec<u32> = (0..batch as u32).rev().collect();
        let lambda = 1.0 - (rows * columns) as f64 / (height * width) as f64;
        if side == 0 {
            return Ok(Mixed { images: view.images.clone(), targets: Targets::pair(&partner, lambda) });
        }
        let squares: Vec<_> = (0..batch).map(|sample| extremes(&attention, sample, side)).collect();
        let mix = |sample: usize| -> Result<Tensor> {
            let other = batch - 1 - sample;
            let corner = |[row, column]: [usize; 2]| [row * patch[0], column * patch[1]];
            let ([to_row, to_column], [row, column]) =
                (corner(squares[sample][0]), corner(squares[other][1]));
            let pasted = view.images.narrow(0, other, 1)?.narrow(2, row, rows)?.narrow(3, column, columns)?;
            let area: Area = [to_row, to_column, to_row + rows, to_column + columns];
            Ok(adautomix_ops::paste_patches(&view.images.narrow(0, sample, 1)?, &pasted, &[0], area)?)
        };
        let images = Tensor::cat(&(0..batch).map(mix).collect::<Result<Vec<_>>>()?, 0)?;
        Ok(Mixed { images, targets: Targets::pair(&partner, lambda) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn sides_are_whole_numbers_of_tokens_within_their_range() {
        let side = |uniform, grid| SmMixPlan { sides: [0.25, 0.75], uniform }.side(grid);
        assert_eq!([0.0, 0.199, 0.2, 0.999].map(|uniform| side(uniform, [7, 7])), [1, 1, 2, 5]);
        assert_eq!([side(0.0, [2, 9]), side(0.999, [2, 9])], [0, 1]);
        assert!(SmMix { sides: [0.5, 0.4] }.validate().is_err());
        assert!(SmMix { sides: [0.5, 0.5] }.validate().is_ok());
    }

    #[test]
    fn the_most_salient_square_of_the_partner_replaces_the_least() -> Result<()> {
        // Four tokens of one pixel. Sample 0 looks at the last one most and at the second least; sample 1 at the first
        // most and at the third least.
        let map = |row: [f32; 5]| [row, [0.0; 5], [0.0; 5], [0.0; 5], [0.0; 5]];
        let maps = [[map([9.0, 0.2, 0.1, 0.3, 0.4])], [map([9.0, 0.4, 0.2, 0.1, 0.3])]];
        let (attention, images) = (
            Tensor::new(&maps, &Device::Cpu)?,
            Tensor::arange(0f32, 8.0, &Device::Cpu)?.reshape((2, 1, 2, 2))?,
        );
        let mut view = View::of(&images);
        view.attention = Some(&attention);
        let mixed = SmMixPlan { sides: [0.5, 0.5], uniform: 0.3 }.mix(&view)?;
        assert_eq!(mixed.images.flatten_all()?.to_vec1::<f32>()?, [0.0, 4.0, 2.0, 3.0, 4.0, 5.0, 3.0, 7.0]);
        let Targets::Labels { partners, weights } = mixed.targets else { unreachable!() };
        assert_eq!((&partners[1][..], &weights[..]), (&[1, 0][..], &[0.75, 0.25][..]));
        let nothing = SmMixPlan { sides: [0.0, 0.0], uniform: 0.3 }.mix(&view)?;
        assert_eq!(nothing.images.flatten_all()?.to_vec1::<f32>()?, images.flatten_all()?.to_vec1::<f32>()?);
        Ok(())
    }
}
