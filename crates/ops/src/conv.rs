//! Convolution.

use adautomix_kernels::conv::Conv;
use candle_core::{DType, Result, Tensor, bail};

use crate::buffers::{computed, gradient, on_kernels, with_optional};
use crate::maps::{by_planes, dims};
use crate::node::record;

/// How a filter moves over the picture; `[rows, columns]` each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvSpec {
    /// Steps between outputs.
    pub stride: [usize; 2],
    /// Zeros added on either side.
    pub padding: [usize; 2],
    /// Steps between the taps of the filter.
    pub dilation: [usize; 2],
    /// Channel groups that don't see each other; as many as channels makes it depthwise.
    pub groups: usize,
}

impl ConvSpec {
    /// A square specification, without dilation or groups.
    pub fn new(stride: usize, padding: usize) -> Self {
        Self { stride: [stride; 2], padding: [padding; 2], dilation: [1; 2], groups: 1 }
    }

    /// The same with channel groups.
    pub fn groups(self, groups: usize) -> Self {
        Self { groups, ..self }
    }
}

/// Cross-correlation of `input` `[B, C, H, W]` with `weight` `[O, C / groups, kh, kw]`, plus `bias` `[O]`.
///
/// Of an input in `bf16`, `[B, H, W, C]`, the result is another; the weight is `f32` and rounded on the way.
///
/// # Errors
/// If the shapes don't fit.
pub fn conv2d(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>, spec: &ConvSpec) -> Result<Tensor> {
    let conv = sizes(input, weight, bias, spec)?;
    #[cfg(feature = "cudnn")]
    if input.device().is_cuda() {
        match (input.dtype(), bias) {
            (DType::F32, _) => return crate::device::conv::conv2d(input, weight, bias, conv),
            (DType::BF16, None) => return crate::device::conv::conv2d_bf16(input, weight, conv),
            _ => {}
        }
    }
    if input.dtype() == DType::BF16 {
        let weight = weight.to_dtype(DType::BF16)?.to_dtype(DType::F32)?;
        return by_planes(input, |input| conv2d(input, &weight, bias, spec));
    }
    if !on_kernels(input) {
        return composed::conv2d(input, weight, bias, spec);
    }
    let (x, weight) = (input.contiguous()?, weight.contiguous()?);
    let bias = bias.map(Tensor::contiguous).transpose()?;
    let [height, width] = conv.out();
    let y = with_optional(bias.as_ref(), |bias| {
        let shape = (conv.batch, conv.filters, height, width);
        computed(shape, [&x, &weight], |[x, weight], y| conv.forward(x, weight, bias, y))
    })?;
    let by_factors = move |x: &Tensor, weight: &Tensor, dy: &Tensor| -> Result<[Option<Tensor>; 2]> {
        let dx = gradient(x, [dy, weight], |[dy, weight], dx| conv.backward_input(dy, weight, dx))?;
        let dweight = gradient(weight, [x, dy], |[x, dy], dweight| conv.backward_weight(x, dy, dweight))?;
        Ok([dx, dweight])
    };
    let Some(bias) = bias else {
        let backward = move |[x, weight]: [&Tensor; 2], _: &Tensor, dy: &Tensor| by_factors(x, weight, dy);
        return record("conv2d", y, [&x, &weight], backward);
    };
    let backward = move |[x, weight, bias]: [&Tensor; 3], _: &Tensor, dy: &Tensor| {
        let [dx, dweight] = by_factors(x, weight, dy)?;
        Ok([dx, dweight, gradient(bias, [dy], |[dy], dbias| conv.backward_bias(dy, dbias))?])
    };
    record("conv2d", y, [&x, &weight, &bias], backward)
}

/// The sizes of the convolution, where they fit.
fn sizes(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>, spec: &ConvSpec) -> Result<Conv> {
    let [batch, channels, height, width] = dims(input)?;
    let (filters, depth, rows, columns) = weight.dims4()?;
    let conv = Conv {
        batch,
        channels,
        size: [height, width],
        filters,
        kernel: [rows, columns],
        stride: spec.stride,
        padding: spec.padding,
        dilation: spec.dilation,
        groups: spec.groups,
    };
    if let Some(fault) = conv.fault() {
        bail!("conv2d: {fault}");
    }
    if depth * spec.groups != channels {
        bail!("conv2d: {channels} channels in {} groups, but the weight is {:?}", spec.groups, weight.dims());
    }
    if let Some(bias) = bias
        && bias.dims() != [filters]
    {
        bail!("conv2d: expected a bias of [{filters}], got {:?}", bias.dims());
    }
    Ok(conv)
}

mod composed {
    use super::*;

    pub(super) fn conv2d(
        input: &Tensor,
        weight: &Tensor,
        bias: Option<&Tensor>,
        spec: &ConvSpec,
    ) -> Result<Tensor> {
        let [dilation, dilation_w] = spec.dilation;
        if dilation != dilation_w {
            candle_core::bail!("conv2d: dilation {:?} differs between rows and columns", spec.dilation);
        }
        let padded = input.pad_with_zeros(2, spec.padding[0], spec.padding[0])?.pad_with_zeros(
            3,
            spec.padding[1],
            spec.padding[1],
        )?;
        let [rows, columns] = spec.stride;
        let y = if rows == columns {
            padded.conv2d(weight, 0, rows, dilation, spec.groups)?
        } else {
            let dense = padded.conv2d(weight, 0, 1, dilation, spec.groups)?;
            every(&every(&dense, 2, rows)?, 3, columns)?
        };
        match bias {
            Some(bias) => y.broadcast_add(&bias.reshape((1, (), 1, 1))?),
            None => Ok(y),
        }
    }

    /// Every `step`-th slice along a dimension.
    fn every(x: &Tensor, dim: usize, step: usize) -> Result<Tensor> {
        let picked: Vec<u32> = (0..x.dim(dim)? as u32).step_by(step).collect();
        x.index_select(&Tensor::new(picked, x.device())?, dim)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    /// Values in [-1, 1) without a pattern: sums over a regular one cancel, and leave only rounding to compare.
    fn noise(shape: &[usize], seed: u32) -> Result<Var> {
        let mut state = seed;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 8) as f32 / (1 << 23) as f32 - 1.0
        };
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| next()).collect();
        Var::from_vec(values, shape, &Device::Cpu)
    }

    #[test]
    fn agrees_with_the_composition() -> Result<()> {
        let specs = [
            (ConvSpec::new(1, 1), [36, 36, 3, 3]),
            (ConvSpec::new(2, 1), [6, 36, 3, 3]),
            (ConvSpec::new(2, 0).groups(3), [6, 12, 1, 1]),
        ];
        for (spec, shape) in specs {
            // Square: candle's own backward fails on pictures with stride 2 and one odd side.
            let (x, w, b) = (noise(&[3, 36, 10, 10], 7)?, noise(&shape, 13)?, noise(&shape[..1], 3)?);
            let fused = conv2d(&x, &w, Some(&b), &spec)?;
            let plain = composed::conv2d(&x, &w, Some(&b), &spec)?;
            let cotangent = noise(fused.dims(), 9)?.detach();
            let got = (&fused * &cotangent)?.sum_all()?.backward()?;
            let want = (&plain * &cotangent)?.sum_all()?.backward()?;
            // Both round sums of hundreds of products, so errors are measured against the largest value.
            let error = |got: &Tensor, want: &Tensor| -> Result<f32> {
                let largest = |x: &Tensor| x.abs()?.max_all()?.to_scalar::<f32>();
                Ok(largest(&(got - want)?)? / largest(want)?)
            };
            assert!(error(&fused, &plain)? < 1e-5, "{spec:?}");
            for variable in [&x, &w, &b] {
                let (got, want) = (got.get(variable).unwrap(), want.get(variable).unwrap());
                assert!(error(got, want)? < 1e-5, "{spec:?}: {:?}", variable.dims());
            }
        }
        Ok(())
    }

    #[test]
    fn a_frozen_weight_gets_no_gradient() -> Result<()> {
        let (x, w) = (noise(&[1, 3, 6, 6], 7)?, noise(&[4, 3, 3, 3], 13)?);
        let y = conv2d(&x, &w.detach(), None, &ConvSpec::new(1, 1))?;
        let gradients = y.sum_all()?.backward()?;
        assert!(gradients.get(&x).is_some() && gradients.get(&w).is_none());
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_refused() -> Result<()> {
        let (x, w) = (noise(&[1, 3, 6, 6], 7)?, noise(&[4, 2, 3, 3], 13)?);
        assert!(conv2d(&x, &w, None, &ConvSpec::new(1, 1)).is_err());
        let large = noise(&[4, 3, 9, 9], 10)?;
        assert!(conv2d(&x, &large, None, &ConvSpec::new(1, 1)).is_err());
        Ok(())
    }
}
