//! The depthwise 7×7 convolution of ConvNeXt, channels last.

use crate::custom::{detached, on_kernels, output, slice, with_slices};
use crate::{ConvSpec, conv2d};
use adautomix_kernels::depthwise::{Depthwise as Kernel, SIDE, TAPS};
use candle_core::{CpuStorage, CustomOp3, D, Layout, Result, Shape, Tensor, bail};

/// Convolves each channel of `x` `[B, H, W, C]` with its own filter, `weight` `[C, 1, 7, 7]`, with 3 zeros around, and adds
/// `bias` `[C]`.
///
/// # Errors
/// If the shapes don't fit.
pub fn depthwise_conv7(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let channels = x.dims4()?.3;
    if weight.dims() != [channels, 1, SIDE, SIDE] || bias.dims() != [channels] {
        let (weight, bias) = (weight.dims(), bias.dims());
        bail!("depthwise_conv7: a weight {weight:?} and a bias {bias:?} for {channels} channels");
    }
    if !on_kernels(x) {
        return composed::depthwise_conv7(x, weight, bias);
    }
    x.contiguous()?.apply_op3(&weight.contiguous()?, &bias.contiguous()?, Depthwise)
}

struct Depthwise;

fn kernel(x: &Shape) -> Result<Kernel> {
    let (batch, height, width, channels) = x.dims4()?;
    Ok(Kernel { batch, size: [height, width], channels })
}

impl CustomOp3 for Depthwise {
    fn name(&self) -> &'static str {
        "depthwise-conv7"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, layout)?;
        let mut y = vec![0.0; x.len()];
        let (weight, bias) = (slice(weight, weight_layout)?, slice(bias, bias_layout)?);
        kernel(layout.shape())?.forward(x, weight, Some(bias), &mut y);
        output(y, layout.shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let (kernel, dy) = (kernel(x.shape())?, detached(dy)?);
        let (mut dx, mut dweight) = (None, None);
        with_slices([x, weight, &dy], |[data, filters, dy]| {
            if x.track_op() {
                let mut gradient = vec![0.0; data.len()];
                kernel.backward_input(filters, dy, &mut gradient);
                dx = Some(Tensor::from_vec(gradient, x.shape(), x.device())?);
            }
            if weight.track_op() {
                let mut gradient = vec![0.0; kernel.channels * TAPS];
                kernel.backward_weight(data, dy, &mut gradient);
                dweight = Some(Tensor::from_vec(gradient, weight.shape(), x.device())?);
            }
            Ok(())
        })?;
        let dbias = match bias.track_op() {
            true => Some(crate::linear::row_sum(&dy)?),
            false => None,
        };
        Ok((dx, dweight, dbias))
    }
}

mod composed {
    use super::*;

    pub(super) fn depthwise_conv7(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let spec = ConvSpec::new(1, SIDE / 2).groups(x.dim(D::Minus1)?);
        let map = x.permute((0, 3, 1, 2))?.contiguous()?;
        conv2d(&map, weight, Some(bias), &spec)?.permute((0, 2, 3, 1))?.contiguous()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{agrees, values};

    #[test]
    fn maps_smaller_and_larger_than_the_filter_agree_with_conv2d() -> Result<()> {
        for (batch, height, width, channels) in [(2, 3, 4, 5), (1, 9, 17, 16), (9, 8, 8, 20)] {
            agrees(&[&[batch, height, width, channels], &[channels, 1, 7, 7], &[channels]], |x| {
                depthwise_conv7(&x[0], &x[1], &x[2])
            })?;
        }
        Ok(())
    }

    #[test]
    fn filters_of_another_size_are_errors() -> Result<()> {
        let (x, bias) = (values(&[1, 4, 4, 2], 1)?, values(&[2], 2)?);
        assert!(depthwise_conv7(&x, &values(&[2, 1, 5, 5], 3)?, &bias).is_err());
        assert!(depthwise_conv7(&x, &values(&[3, 1, 7, 7], 3)?, &bias).is_err());
        Ok(())
    }
}
