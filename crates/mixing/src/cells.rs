//! Mixes by a mask of few cells: those of a network's last map.

use crate::mixer::with_identity;
use crate::{Error, Result};
use adautomix_ops::{Interpolation, interpolate, mix_images};
use candle_core::Tensor;

/// A batch that was mixed cell by cell.
pub(crate) struct Cells {
    /// The blends, `[B, C, H, W]`.
    pub(crate) images: Tensor,
    /// The share of each picture that is the sample's own.
    pub(crate) own: Vec<f64>,
}

/// The masks of the samples themselves, `[B, 1, H, W]`: `own` `[B, h, w]`, each cell 0 or 1, enlarged to `size` by nearest
/// neighbour.
pub(crate) fn enlarged(own: Vec<f32>, grid: [usize; 2], images: &Tensor) -> Result<Tensor> {
    let (batch, _, height, width) = images.dims4()?;
    let small = Tensor::from_vec(own, (batch, 1, grid[0], grid[1]), images.device())?;
    Ok(interpolate(&small, Interpolation::Nearest, [height, width])?)
}

/// `mask x + (1 - mask) x[partner]` for a mask `[B, 1, H, W]`.
pub(crate) fn blend(images: &Tensor, partner: &[u32], mask: &Tensor) -> Result<Cells> {
    let both = Tensor::cat(&[mask, &mask.affine(-1.0, 1.0)?], 1)?;
    let images = mix_images(images, &with_identity(partner), &both)?;
    let mask = mask.flatten_from(1)?;
    let (pixels, counts) = (mask.dim(1)? as f64, mask.sum(1)?.to_vec1::<f32>()?);
    Ok(Cells { images, own: counts.iter().map(|&count| f64::from(count) / pixels).collect() })
}

/// The sum over the channels of `features` `[B, C, h, w]` at each cell, one list of `h · w` for each of `batch` samples, on the
/// host; and `[h, w]`.
pub(crate) fn channel_sums(features: &Tensor, batch: usize) -> Result<(Vec<Vec<f32>>, [usize; 2])> {
    let (count, channels, height, width) = features.dims4()?;
    if count != batch || channels * height * width == 0 {
        let expected = format!("[{batch}, C, h, w]");
        return Err(Error::Shape { what: "features", got: features.dims().to_vec(), expected });
    }
    // A product with ones is many times as fast as candle's sum over a dimension that isn't the last.
    let ones = Tensor::ones((batch, 1, channels), features.dtype(), features.device())?;
    let sums = ones.matmul(&features.reshape((batch, channels, height * width))?)?;
    Ok((sums.squeeze(1)?.to_vec2()?, [height, width]))
}
