//! Residual branches scaled by channel and by sample.

use crate::custom::{detached, on_kernels, output, slice, with_slices};
use adautomix_kernels::scale::Scales;
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor, bail};

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
    let (x, scaled) = (x.contiguous()?, Scaled(samples));
    match (channels, &scaled.0) {
        (Some(channels), _) => x.apply_op2(&channels.contiguous()?, scaled),
        (None, Some(_)) => x.apply_op1(scaled),
        (None, None) => Ok(x),
    }
}

/// The factors of samples.
struct Scaled(Option<Vec<f32>>);

impl Scaled {
    fn scales<'a>(&'a self, channels: Option<&'a [f32]>, shape: &Shape) -> Scales<'a> {
        let width = shape.dims().last().copied().unwrap_or(1);
        Scales { width, channels, samples: self.0.as_deref() }
    }

    fn forward(&self, x: &[f32], channels: Option<&[f32]>, shape: &Shape) -> Result<(CpuStorage, Shape)> {
        let mut y = vec![0.0; x.len()];
        self.scales(channels, shape).apply(x, &mut y);
        output(y, shape)
    }
}

impl CustomOp1 for Scaled {
    fn name(&self) -> &'static str {
        "scaled"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.forward(slice(x, layout)?, None, layout.shape())
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        detached(dy)?.apply_op1_no_bwd(&Self(self.0.clone())).map(Some)
    }
}

impl CustomOp2 for Scaled {
    fn name(&self) -> &'static str {
        "scaled"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        layout: &Layout,
        channels: &CpuStorage,
        channels_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.forward(slice(x, layout)?, Some(slice(channels, channels_layout)?), layout.shape())
    }

    fn bwd(
        &self,
        x: &Tensor,
        channels: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = detached(dy)?;
        let (mut dx, mut dchannels) = (None, None);
        with_slices([x, channels, &dy], |[data, factors, dy]| {
            let scales = self.scales(Some(factors), x.shape());
            if x.track_op() {
                let mut gradient = vec![0.0; data.len()];
                scales.apply(dy, &mut gradient);
                dx = Some(Tensor::from_vec(gradient, x.shape(), x.device())?);
            }
            if channels.track_op() {
                let sums = scales.backward_channels(data, dy);
                dchannels = Some(Tensor::from_vec(sums, channels.shape(), x.device())?);
            }
            Ok(())
        })?;
        Ok((dx, dchannels))
    }
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
