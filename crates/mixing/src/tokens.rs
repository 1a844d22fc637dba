//! What the methods for vision transformers share: how much the class token attends to each token of a picture, and
//! pictures whose tokens come from two.

use crate::mixer::with_identity;
use crate::{Error, Result};
use candle_core::{DType, Tensor};

/// The attention of the class token to the other tokens of each picture, averaged over heads. The tokens are a grid that
/// covers the picture, row by row.
#[derive(Clone, Debug)]
pub struct ClassAttention {
    grid: [usize; 2],
    /// `[B, rows * columns]`
    values: Vec<Vec<f32>>,
}

impl ClassAttention {
    /// From the maps `[B, heads, T + 1, T + 1]` of pictures `[B, C, H, W]`, token 0 being the class token. Tokens are
    /// square, so the picture's shape says how many rows and columns `T` of them are.
    ///
    /// # Errors
    /// If the shapes don't fit, or `T` tokens are no grid of the picture's shape.
    pub fn of(attention: &Tensor, images: &Tensor) -> Result<Self> {
        let (batch, _, height, width) = images.dims4()?;
        let wrong = || Error::Shape {
            what: "attention maps",
            got: attention.dims().to_vec(),
            expected: format!(
                "[{batch}, heads, T + 1, T + 1] with T tokens in a grid of the shape of {height}x{width} pixels"
            ),
        };
        let &[maps, heads, queries, keys] = attention.dims() else { return Err(wrong()) };
        if maps != batch || heads == 0 || queries != keys || keys < 2 {
            return Err(wrong());
        }
        let tokens = keys - 1;
        let rows = (tokens as f64 * height as f64 / width as f64).sqrt().round().max(1.0) as usize;
        let grid = [rows, tokens / rows];
        if grid[0] * grid[1] != tokens || grid[0] > height || grid[1] > width {
            return Err(wrong());
        }
        let row = attention.narrow(2, 0, 1)?.narrow(3, 1, tokens)?.squeeze(2)?.contiguous()?;
        Ok(Self { grid, values: row.mean(1)?.to_dtype(DType::F32)?.to_vec2()? })
    }

    /// How many samples there are.
    pub fn batch(&self) -> usize {
        self.values.len()
    }

    /// Rows and columns of tokens.
    pub fn grid(&self) -> [usize; 2] {
        self.grid
    }

    /// The attention to each token of a sample, `[rows * columns]`.
    pub fn tokens(&self, sample: usize) -> &[f32] {
        &self.values[sample]
    }

    /// The sum over the tokens `[row, column]` of a sample that are `chosen`.
    pub fn sum(&self, sample: usize, chosen: impl Fn([usize; 2]) -> bool) -> f64 {
        let columns = self.grid[1];
        let weight = |(token, &value): (usize, &f32)| {
            if chosen([token / columns, token % columns]) { f64::from(value) } else { 0.0 }
        };
        self.values[sample].iter().enumerate().map(weight).sum()
    }

    /// The share of a sample's attention that goes to the tokens that are `kept`; `otherwise` where there is none at all.
    pub fn share(&self, sample: usize, kept: impl Fn([usize; 2]) -> bool, otherwise: f64) -> f64 {
        let total = self.sum(sample, |_| true);
        if total > 0.0 { (self.sum(sample, kept) / total).clamp(0.0, 1.0) } else { otherwise }
    }
}

/// The cell of a grid of `cells` (rows, columns) that position `at` of a grid of `size` falls into: nearest neighbour.
pub(crate) fn cell(at: [usize; 2], size: [usize; 2], cells: [usize; 2]) -> [usize; 2] {
    [at[0] * cells[0] / size[0], at[1] * cells[1] / size[1]]
}

/// `images` `[B, C, H, W]` whose pixels `kept(sample, [row, column])` are their own, and the others those of the partner;
/// and the share of pixels that each sample keeps.
pub(crate) fn patchwork(
    images: &Tensor,
    partner: &[u32],
    kept: impl Fn(usize, [usize; 2]) -> bool,
) -> Result<(Tensor, Vec<f64>)> {
    let (batch, _, height, width) = images.dims4()?;
    let area = height * width;
    let (mut mask, mut shares) = (Vec::with_capacity(2 * batch * area), Vec::with_capacity(batch));
    for sample in 0..batch {
        let own = mask.len();
        mask.extend((0..area).map(|i| f32::from(u8::from(kept(sample, [i / width, i % width])))));
        let count = mask[own..].iter().filter(|&&weight| weight > 0.0).count();
        shares.push(count as f64 / area as f64);
        mask.extend_from_within(own..);
        mask[own + area..].iter_mut().for_each(|weight| *weight = 1.0 - *weight);
    }
    let mask = Tensor::from_vec(mask, (batch, 2, height, width), images.device())?;
    Ok((adautomix_ops::mix_images(images, &with_identity(partner), &mask)?, shares))
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn attention(tokens: usize) -> Result<Tensor> {
        Ok(Tensor::arange(0f32, (2 * (tokens + 1) * (tokens + 1)) as f32, &Device::Cpu)?.reshape((
            1,
            2,
            tokens + 1,
            tokens + 1,
        ))?)
    }

    #[test]
    fn the_class_tokens_row_is_averaged_over_heads_without_itself() -> Result<()> {
        let images = Tensor::zeros((1, 3, 8, 16), DType::F32, &Device::Cpu)?;
        let attention = ClassAttention::of(&attention(2)?, &images)?;
        assert_eq!(attention.grid(), [1, 2]);
        assert_eq!(attention.tokens(0), [(1.0 + 10.0) / 2.0, (2.0 + 11.0) / 2.0]);
        assert_eq!(attention.sum(0, |[_, column]| column == 1), 6.5);
        assert_eq!(attention.share(0, |_| true, 0.0), 1.0);
        Ok(())
    }

    #[test]
    fn tokens_that_are_no_grid_of_the_picture_are_an_error() -> Result<()> {
        let images = Tensor::zeros((1, 3, 8, 8), DType::F32, &Device::Cpu)?;
        assert!(ClassAttention::of(&attention(4)?, &images).is_ok());
        let message = ClassAttention::of(&attention(5)?, &images).unwrap_err().to_string();
        assert!(message.starts_with("attention maps [1, 2, 6, 6], expected [1, heads,"), "{message}");
        assert!(ClassAttention::of(&attention(4)?.narrow(2, 0, 3)?, &images).is_err());
        assert!(ClassAttention::of(&attention(100)?, &images).is_err());
        Ok(())
    }

    #[test]
    fn kept_pixels_are_the_own_ones() -> Result<()> {
        let images = Tensor::arange(0f32, 8.0, &Device::Cpu)?.reshape((2, 1, 2, 2))?;
        let (mixed, shares) =
            patchwork(&images, &[1, 1], |sample, [row, column]| sample == 1 || row + column == 0)?;
        assert_eq!(mixed.flatten_all()?.to_vec1::<f32>()?, [0.0, 5.0, 6.0, 7.0, 4.0, 5.0, 6.0, 7.0]);
        assert_eq!(shares, [0.25, 1.0]);
        Ok(())
    }
}
