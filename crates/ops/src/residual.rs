//! Residual branches, scaled by channel and by sample.

use crate::buffers::{computed, gradient, on_kernels, with_optional, with_slices};
use crate::node::record;
use adautomix_kernels::residual::Scales;
use candle_core::{Result, Tensor, bail};

/// `x + channels · samples · branch`, all `[B, .., C]`, with `channels` `[C]` (layer scale, Touvron et al., ICCV 2021) and the
/// constants `samples`, one for each of the `B` (stochastic depth), where they are given.
///
/// # Errors
/// If the shapes don't fit.
pub fn residual(
    x: &Tensor,
    branch: &Tensor,
    channels: Option<&Tensor>,
    samples: Option<Vec<f32>>,
) -> Result<Tensor> {
    let (Some(&batch), Some(&width)) = (x.dims().first(), x.dims().last()) else {
        bail!("residual: expected samples and channels, got a number");
    };
    let factors = channels.map(Tensor::dims);
    if branch.dims() != x.dims()
        || factors.is_some_and(|dims| dims != [width])
        || samples.as_ref().is_some_and(|all| all.len() != batch)
    {
        let (x, branch, samples) = (x.dims(), branch.dims(), samples.map(|samples| samples.len()));
        bail!("residual: {x:?} and {branch:?} by factors {factors:?} of channels and {samples:?} of samples");
    }
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(x) {
        return crate::device::residual::residual(x, branch, channels, samples);
    }
    if !on_kernels(x) {
        return composed::residual(x, branch, channels, samples);
    }
    let (x, branch, channels) =
        (x.contiguous()?, branch.contiguous()?, channels.map(Tensor::contiguous).transpose()?);
    let y = with_optional(channels.as_ref(), |channels| {
        let scales = Scales { width, channels, samples: samples.as_deref() };
        computed(x.shape(), [&x, &branch], |[x, branch], y| scales.add(x, branch, y))
    })?;
    let Some(channels) = channels else {
        let backward = move |[_, branch]: [&Tensor; 2], _: &Tensor, dy: &Tensor| {
            // What is only added has the gradient of the sum.
            let Some(samples) = &samples else { return Ok([(); 2].map(|()| Some(dy.clone()))) };
            let scales = Scales { width, channels: None, samples: Some(samples) };
            Ok([Some(dy.clone()), gradient(branch, [dy], |[dy], to| scales.backward(dy, to))?])
        };
        return record("residual", y, [&x, &branch], backward);
    };
    let backward = move |[_, branch, channels]: [&Tensor; 3], _: &Tensor, dy: &Tensor| {
        with_slices([channels], |[factors]| {
            let scales = Scales { width, channels: Some(factors), samples: samples.as_deref() };
            let dbranch = gradient(branch, [dy], |[dy], to| scales.backward(dy, to))?;
            if !channels.track_op() {
                return Ok([Some(dy.clone()), dbranch, None]);
            }
            let sums = with_slices([branch, dy], |[branch, dy]| Ok(scales.backward_channels(branch, dy)))?;
            Ok([Some(dy.clone()), dbranch, Some(Tensor::from_vec(sums, width, dy.device())?)])
        })
    };
    record("residual", y, [&x, &branch, &channels], backward)
}

mod composed {
    use super::*;

    pub(super) fn residual(
        x: &Tensor,
        branch: &Tensor,
        channels: Option<&Tensor>,
        samples: Option<Vec<f32>>,
    ) -> Result<Tensor> {
        let mut branch = match channels {
            Some(channels) => branch.broadcast_mul(channels)?,
            None => branch.clone(),
        };
        if let Some(samples) = samples {
            let mut shape = vec![1; x.rank()];
            shape[0] = samples.len();
            let samples = Tensor::from_vec(samples, shape, x.device())?.to_dtype(x.dtype())?;
            branch = branch.broadcast_mul(&samples)?;
        }
        x + branch
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{agrees, values};

    #[test]
    fn branches_agree_with_their_composition() -> Result<()> {
        let samples = vec![0.5, 0.0, 2.0];
        agrees(&[&[3, 4, 5, 7], &[3, 4, 5, 7]], |x| residual(&x[0], &x[1], None, Some(samples.clone())))?;
        agrees(&[&[3, 700, 40], &[3, 700, 40], &[40]], |x| {
            residual(&x[0], &x[1], Some(&x[2]), Some(samples.clone()))? / 10.0
        })?;
        agrees(&[&[3, 6], &[3, 6], &[6]], |x| residual(&x[0], &x[1], Some(&x[2]), None))?;
        agrees(&[&[3, 6], &[3, 6]], |x| residual(&x[0], &x[1], None, None))
    }

    #[test]
    fn factors_of_another_number_are_errors() -> Result<()> {
        let (x, channels) = (values(&[3, 2, 4], 1)?, values(&[3], 2)?);
        assert!(residual(&x, &x, Some(&channels), None).is_err());
        assert!(residual(&x, &x, None, Some(vec![1.0; 4])).is_err());
        assert!(residual(&x, &channels, None, None).is_err());
        Ok(())
    }
}
