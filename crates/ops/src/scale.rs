//! Residual branches scaled by channel and by sample.

use crate::buffers::{computed, gradient, on_kernels, with_optional, with_slices};
use crate::node::Node;
use adautomix_kernels::scale::Scales;
use candle_core::{Result, Tensor, bail};

/// `x` `[B, .., C]` times `channels` `[C]` (layer scale, Touvron et al., ICCV 2021) and the constants `samples`, one for each
/// of the `B` (stochastic depth).
///
/// # Errors
/// If the shapes don't fit.
pub fn scaled(x: &Tensor, channels: Option<&Tensor>, samples: Option<Vec<f32>>) -> Result<Tensor> {
    let (Some(&batch), Some(&width)) = (x.dims().first(), x.dims().last()) else {
        bail!("scaled: expected samples and channels, got a number");
    };
    let dims = channels.map(Tensor::dims);
    if dims.is_some_and(|dims| dims != [width]) || samples.as_ref().is_some_and(|all| all.len() != batch) {
        let samples = samples.map(|samples| samples.len());
        bail!("scaled: {:?} by factors {dims:?} of channels and {samples:?} of samples", x.dims());
    }
    if !on_kernels(x) {
        return composed::scaled(x, channels, samples);
    }
    if channels.is_none() && samples.is_none() {
        return Ok(x.clone());
    }
    let (x, channels) = (x.contiguous()?, channels.map(Tensor::contiguous).transpose()?);
    let y = with_optional(channels.as_ref(), |channels| {
        let scales = Scales { width, channels, samples: samples.as_deref() };
        computed(x.shape(), [&x], |[x], y| scales.apply(x, y))
    })?;
    let Some(channels) = channels else {
        let backward = move |x: &Tensor, _: &Tensor, dy: &Tensor| {
            let scales = Scales { width, channels: None, samples: samples.as_deref() };
            gradient(x, [dy], |[dy], dx| scales.apply(dy, dx))
        };
        return x.apply_op1(Node::of1("scaled", y, backward));
    };
    let backward = move |[x, channels]: [&Tensor; 2], _: &Tensor, dy: &Tensor| {
        with_slices([channels], |[factors]| {
            let scales = Scales { width, channels: Some(factors), samples: samples.as_deref() };
            let dx = gradient(x, [dy], |[dy], dx| scales.apply(dy, dx))?;
            if !channels.track_op() {
                return Ok([dx, None]);
            }
            let sums = with_slices([x, dy], |[x, dy]| Ok(scales.backward_channels(x, dy)))?;
            Ok([dx, Some(Tensor::from_vec(sums, width, dy.device())?)])
        })
    };
    x.apply_op2(&channels, Node::of2("scaled", y, backward))
}

mod composed {
    use super::*;

    pub(super) fn scaled(x: &Tensor, channels: Option<&Tensor>, samples: Option<Vec<f32>>) -> Result<Tensor> {
        let x = match channels {
            Some(channels) => x.broadcast_mul(channels)?,
            None => x.clone(),
        };
        let Some(samples) = samples else { return Ok(x) };
        let mut shape = vec![1; x.rank()];
        shape[0] = samples.len();
        x.broadcast_mul(&Tensor::from_vec(samples, shape, x.device())?.to_dtype(x.dtype())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{agrees, values};

    #[test]
    fn scales_agree_with_their_composition() -> Result<()> {
        let samples = vec![0.5, 0.0, 2.0];
        agrees(&[&[3, 4, 5, 7]], |x| scaled(&x[0], None, Some(samples.clone())))?;
        agrees(&[&[3, 700, 40], &[40]], |x| scaled(&x[0], Some(&x[1]), Some(samples.clone()))? / 10.0)?;
        agrees(&[&[3, 6], &[6]], |x| scaled(&x[0], Some(&x[1]), None))
    }

    #[test]
    fn factors_of_another_number_are_errors() -> Result<()> {
        let (x, channels) = (values(&[3, 2, 4], 1)?, values(&[3], 2)?);
        assert!(scaled(&x, Some(&channels), None).is_err() && scaled(&x, None, Some(vec![1.0; 4])).is_err());
        Ok(())
    }
}
