//! The depthwise 7×7 convolution of ConvNeXt, channels last.

use crate::buffers::{computed, gradient, on_kernels};
use crate::linear::row_sum;
use crate::node::record;
use crate::{ConvSpec, channels_first, channels_last, conv2d};
use adautomix_kernels::depthwise::{Depthwise, SIDE};
use candle_core::{D, Result, Tensor, bail};

/// Convolves each channel of `x` `[B, H, W, C]` with its own filter, `weight` `[C, 1, 7, 7]`, with 3 zeros around, and adds
/// `bias` `[C]`.
///
/// # Errors
/// If the shapes don't fit.
pub fn depthwise_conv7(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    if weight.dims() != [channels, 1, SIDE, SIDE] || bias.dims() != [channels] {
        let (weight, bias) = (weight.dims(), bias.dims());
        bail!("depthwise_conv7: a weight {weight:?} and a bias {bias:?} for {channels} channels");
    }
    if !on_kernels(x) {
        return composed::depthwise_conv7(x, weight, bias);
    }
    let (x, weight, bias) = (x.contiguous()?, weight.contiguous()?, bias.contiguous()?);
    let kernel = Depthwise { batch, size: [height, width], channels };
    let y = computed(x.shape(), [&x, &weight, &bias], |[x, weight, bias], y| {
        kernel.forward(x, weight, Some(bias), y);
    })?;
    let backward = move |[x, weight, bias]: [&Tensor; 3], _: &Tensor, dy: &Tensor| {
        let dx = gradient(x, [weight, dy], |[weight, dy], dx| kernel.backward_input(weight, dy, dx))?;
        let dweight = gradient(weight, [x, dy], |[x, dy], dweight| kernel.backward_weight(x, dy, dweight))?;
        Ok([dx, dweight, row_sum(bias, dy)?])
    };
    record("depthwise-conv7", y, [&x, &weight, &bias], backward)
}

mod composed {
    use super::*;

    pub(super) fn depthwise_conv7(x: &Tensor, weight: &Tensor, bias: &Tensor) -> Result<Tensor> {
        let spec = ConvSpec::new(1, SIDE / 2).groups(x.dim(D::Minus1)?);
        channels_last(&conv2d(&channels_first(x)?, weight, Some(bias), &spec)?)
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
