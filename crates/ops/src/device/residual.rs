//! Residual branches.

use adautomix_kernels::device::rows::Factors;
use candle_core::{Result, Tensor};

use super::linear::{column_sums, rows};
use super::{Queue, fault};
use crate::node::record;

pub(crate) fn residual(
    x: &Tensor,
    branch: &Tensor,
    channels: Option<&Tensor>,
    samples: Option<Vec<f32>>,
) -> Result<Tensor> {
    let (queue, x, branch) = (Queue::of(x)?, x.contiguous()?, branch.contiguous()?);
    let channels = channels.map(Tensor::contiguous).transpose()?;
    let samples = samples.map(|samples| Tensor::from_vec(samples, x.dim(0)?, x.device())).transpose()?;
    let result = queue.fresh(x.shape())?;
    rows(&x)?
        .residual(
            &queue,
            Some(queue.span(&x)?),
            queue.span(&branch)?,
            factors(&queue, channels.as_ref(), samples.as_ref())?,
            result.span(&queue)?,
        )
        .map_err(fault)?;
    // The gradients by the branch and the factors of channels; that by x is the gradient itself.
    let below = move |branch: &Tensor, channels: Option<&Tensor>, dy: &Tensor| -> Result<_> {
        let queue = Queue::of(dy)?;
        let factors = factors(&queue, channels, samples.as_ref())?;
        let plain = channels.is_none() && samples.is_none();
        let dbranch = if plain {
            Some(dy.clone())
        } else {
            let (dbranch, to) = queue.fresh_if(branch.track_op(), branch.shape())?;
            to.map_or(Ok(()), |to| {
                rows(dy)?.residual(&queue, None, queue.span(dy)?, factors, to).map_err(fault)
            })?;
            dbranch
        };
        let sums = match channels.filter(|channels| channels.track_op()) {
            Some(_) => Some(column_sums(Some(branch), samples.as_ref(), dy)?),
            None => None,
        };
        Ok((dbranch, sums))
    };
    match channels {
        None => record("residual", result, [&x, &branch], move |[_, branch], _, dy| {
            Ok([Some(dy.clone()), below(branch, None, dy)?.0])
        }),
        Some(channels) => {
            record("residual", result, [&x, &branch, &channels], move |[_, branch, channels], _, dy| {
                let (dbranch, dchannels) = below(branch, Some(channels), dy)?;
                Ok([Some(dy.clone()), dbranch, dchannels])
            })
        }
    }
}

fn factors(queue: &Queue, channels: Option<&Tensor>, samples: Option<&Tensor>) -> Result<Factors> {
    let span = |tensor: Option<&Tensor>| tensor.map(|tensor| queue.span(tensor)).transpose();
    Ok(Factors { channels: span(channels)?, samples: span(samples)? })
}
