//! Resizing of maps, alone and with the softmax over images that ends the mask generator.

use crate::buffers::{computed, gradient, on_kernels};
use crate::node::record1;
use adautomix_kernels::resize::{self, Resize, Taps};
use candle_core::{Result, Tensor, bail};

/// How values between pixels are found. Pixel centres are at half positions (`align_corners=False`) unless it is said
/// otherwise; nothing is smoothed before a reduction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Interpolation {
    /// The pixel at `floor(i / scale)`.
    Nearest,
    /// Linear between the two nearest centres on each axis.
    Bilinear,
    /// The same with the outermost centres before and after on each other (`align_corners=True`).
    BilinearAligned,
    /// Cubic convolution with `a = -0.75` over four pixels on each axis.
    Bicubic,
}

impl Interpolation {
    fn resize(self, [height, width]: [usize; 2], [out_height, out_width]: [usize; 2]) -> Resize {
        let taps = match self {
            Self::Nearest => Taps::nearest,
            Self::Bilinear => Taps::bilinear,
            Self::BilinearAligned => Taps::bilinear_aligned,
            Self::Bicubic => Taps::bicubic,
        };
        Resize { rows: taps(height, out_height), columns: taps(width, out_width) }
    }
}

/// Resizes `x` `[B, C, h, w]` to `size` `[H, W]`, as PyTorch's `interpolate`.
///
/// # Errors
/// If a side is 0.
pub fn interpolate(x: &Tensor, mode: Interpolation, size: [usize; 2]) -> Result<Tensor> {
    resize(x, mode.resize(input_size("interpolate", x, size)?, size))
}

/// Resizes the planes `x` `[B, N, h, w]` to `size` `[H, W]`, then takes the softmax over the `N` planes at every pixel:
/// the masks of the generator (Eq. 6 of the paper, in the published order).
///
/// # Errors
/// If a side is 0.
pub fn upsample_softmax(x: &Tensor, mode: Interpolation, size: [usize; 2]) -> Result<Tensor> {
    let resize = mode.resize(input_size("upsample_softmax", x, size)?, size);
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(x) {
        return crate::device::interpolate::upsample_softmax(x, resize);
    }
    if !on_kernels(x) {
        return candle_nn::ops::softmax(&composed::resize(x, &resize)?, 1);
    }
    let (x, planes) = (x.contiguous()?, x.dim(1)?);
    let y = computed(resized(&x, &resize)?, [&x], |[x], y| resize::softmax_forward(&resize, planes, x, y))?;
    let backward = move |x: &Tensor, y: &Tensor, dy: &Tensor| {
        gradient(x, [y, dy], |[y, dy], dx| resize::softmax_backward(&resize, planes, y, dy, dx))
    };
    record1("upsample-softmax", y, &x, backward)
}

fn input_size(op: &str, x: &Tensor, size: [usize; 2]) -> Result<[usize; 2]> {
    let (_, _, height, width) = x.dims4()?;
    if [height, width].contains(&0) || size.contains(&0) {
        bail!("{op}: can't resize {height}x{width} to {}x{}", size[0], size[1]);
    }
    Ok([height, width])
}

/// Applies fixed linear maps along rows and columns of `x` `[B, C, h, w]`.
pub(crate) fn resize(x: &Tensor, resize: Resize) -> Result<Tensor> {
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(x) {
        return crate::device::interpolate::resize(x, resize);
    }
    if !on_kernels(x) {
        return composed::resize(x, &resize);
    }
    let x = x.contiguous()?;
    let y = computed(resized(&x, &resize)?, [&x], |[x], y| resize::forward(&resize, x, y))?;
    let backward = move |x: &Tensor, _: &Tensor, dy: &Tensor| {
        gradient(x, [dy], |[dy], dx| resize::backward(&resize, dy, dx))
    };
    record1("resize", y, &x, backward)
}

/// The result's shape.
fn resized(x: &Tensor, resize: &Resize) -> Result<(usize, usize, usize, usize)> {
    let (batch, channels, _, _) = x.dims4()?;
    Ok((batch, channels, resize.rows.output(), resize.columns.output()))
}

mod composed {
    use super::*;

    /// Two products with the dense matrices of the maps.
    pub(super) fn resize(x: &Tensor, resize: &Resize) -> Result<Tensor> {
        let (batch, channels, height, width) = x.dims4()?;
        let (rows, columns) = (resize.rows.output(), resize.columns.output());
        let matrix = |taps: &Taps| {
            let shape = (taps.output(), taps.input());
            Tensor::from_vec(taps.matrix(), shape, x.device())?.to_dtype(x.dtype())?.t()?.contiguous()
        };
        let wide = x.reshape((batch * channels * height, width))?.matmul(&matrix(&resize.columns)?)?;
        let turned = wide.reshape((batch * channels, height, columns))?.transpose(1, 2)?.contiguous()?;
        let tall = turned.reshape((batch * channels * columns, height))?.matmul(&matrix(&resize.rows)?)?;
        tall.reshape((batch, channels, columns, rows))?.transpose(2, 3)?.contiguous()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::agrees;

    #[test]
    fn resizing_agrees_with_its_matrices() -> Result<()> {
        use Interpolation::{Bicubic, Bilinear, BilinearAligned, Nearest};
        for mode in [Nearest, Bilinear, BilinearAligned, Bicubic] {
            agrees(&[&[2, 3, 5, 4]], |x| interpolate(&x[0], mode, [12, 9]))?;
            agrees(&[&[1, 2, 9, 7]], |x| interpolate(&x[0], mode, [4, 7]))?;
            agrees(&[&[2, 3, 4, 5]], |x| upsample_softmax(&x[0], mode, [8, 15]))?;
        }
        Ok(())
    }

    #[test]
    fn an_empty_side_is_an_error() -> Result<()> {
        let x = Tensor::zeros((1, 1, 2, 2), candle_core::DType::F32, &candle_core::Device::Cpu)?;
        assert!(interpolate(&x, Interpolation::Bilinear, [0, 4]).is_err());
        assert!(upsample_softmax(&x, Interpolation::Nearest, [4, 0]).is_err());
        Ok(())
    }
}
