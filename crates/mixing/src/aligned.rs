//! Resizing that keeps the corners where they are, as SnapMix and RecursiveMix do it with what they paste.

use crate::Result;
use adautomix_ops::{Interpolation, interpolate};
use candle_core::Tensor;

/// Resizes `images` `[B, C, h, w]` to `size` `[H, W]`: bilinear, the outermost pixels of the result being those of the
/// source (PyTorch's `align_corners=True`). A side of 1 is the source's first pixel.
///
/// # Errors
/// If a side is 0.
pub fn resize_aligned(images: &Tensor, size: [usize; 2]) -> Result<Tensor> {
    Ok(interpolate(images, Interpolation::BilinearAligned, size)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn corners_stay_and_a_side_of_one_is_the_first_pixel() -> Result<()> {
        let picture = Tensor::new(&[[[[0f32, 3.0, 6.0], [10.0, 13.0, 16.0]]]], &Device::Cpu)?;
        let resized = |size| -> Result<Vec<Vec<f32>>> {
            Ok(resize_aligned(&picture, size)?.squeeze(0)?.squeeze(0)?.to_vec2()?)
        };
        let wide = resized([3, 5])?;
        assert_eq!(wide[0], [0.0, 1.5, 3.0, 4.5, 6.0]);
        assert_eq!(wide[1], [5.0, 6.5, 8.0, 9.5, 11.0]);
        assert_eq!(wide[2], [10.0, 11.5, 13.0, 14.5, 16.0]);
        assert_eq!(resized([1, 2])?, [[0.0, 6.0]]);
        assert_eq!(resized([2, 1])?, [[0.0], [10.0]]);
        assert_eq!(
            resize_aligned(&picture.narrow(3, 1, 1)?, [1, 3])?.flatten_all()?.to_vec1::<f32>()?,
            [3.0; 3]
        );
        assert!(resize_aligned(&picture, [0, 2]).is_err());
        Ok(())
    }
}
