//! Residual branches and fully connected layers.

use adautomix_kernels::device::rows::{Factors, Rows, add_bias};
use candle_core::backend::BackendStorage;
use candle_core::{Result, Storage, Tensor, bail};

use super::{Fresh, Queue, fault};
use crate::node::record;

fn rows(x: &Tensor) -> Result<Rows> {
    let width = x.dim(candle_core::D::Minus1)?;
    Ok(Rows { rows: x.elem_count() / width.max(1), width })
}

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
            Some(_) => Some(column_sums(&queue, Some(branch), factors, dy)?),
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

/// The sums over rows of `samples · x · dy`, `[C]`.
fn column_sums(queue: &Queue, x: Option<&Tensor>, factors: Factors, dy: &Tensor) -> Result<Tensor> {
    let rows = rows(dy)?;
    let (sums, to) = queue.fresh_tensor(rows.width)?;
    let (_workspace, workspace) = queue.fresh_tensor(rows.workspace())?;
    let x = x.map(|x| queue.span(x)).transpose()?;
    rows.column_sums(queue, x, factors.samples, queue.span(dy)?, to, workspace).map_err(fault)?;
    Ok(sums)
}

/// `x · weightᵀ + bias`, `x` `[.., I]` and `weight` `[O, I]`; products are candle's.
pub(crate) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (queue, x, weight) = (Queue::of(x)?, x.contiguous()?, weight.contiguous()?);
    let bias = bias.map(Tensor::contiguous).transpose()?;
    let mut result = product(&x, &weight)?;
    if let Some(bias) = &bias {
        add_bias(&queue, result.span(&queue)?, queue.span(bias)?, 1).map_err(fault)?;
    }
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = weight.dim(0)?;
    }
    result.shape = dims.into();
    let by_factors = |x: &Tensor, weight: &Tensor, dy: &Tensor| -> Result<[Option<Tensor>; 2]> {
        let flat = |tensor: &Tensor| tensor.detach().reshape(((), tensor.dim(candle_core::D::Minus1)?));
        let dx = match x.track_op() {
            true => Some(flat(dy)?.matmul(&weight.detach())?.reshape(x.shape())?),
            false => None,
        };
        let dweight = match weight.track_op() {
            true => Some(flat(dy)?.t()?.matmul(&flat(x)?)?),
            false => None,
        };
        Ok([dx, dweight])
    };
    let Some(bias) = bias else {
        return record("linear", result, [&x, &weight], move |[x, weight], _, dy| by_factors(x, weight, dy));
    };
    record("linear", result, [&x, &weight, &bias], move |[x, weight, bias], _, dy| {
        let [dx, dweight] = by_factors(x, weight, dy)?;
        let nothing = Factors { channels: None, samples: None };
        let dbias = match bias.track_op() {
            true => Some(column_sums(&Queue::of(dy)?, None, nothing, dy)?),
            false => None,
        };
        Ok([dx, dweight, dbias])
    })
}

/// `x · weightᵀ` as a buffer of its own.
fn product(x: &Tensor, weight: &Tensor) -> Result<Fresh> {
    let (outputs, inputs) = weight.dims2()?;
    let count = x.elem_count() / inputs.max(1);
    let (x, weight) = (x.detach().reshape((count, inputs))?, weight.detach().t()?);
    let (x, x_layout) = x.storage_and_layout();
    let (weight, weight_layout) = weight.storage_and_layout();
    let sizes = (1, count, outputs, inputs);
    let storage = match (&*x, &*weight) {
        (Storage::Cpu(x), Storage::Cpu(weight)) => {
            Storage::Cpu(x.matmul(weight, sizes, x_layout, weight_layout)?)
        }
        (Storage::Cuda(x), Storage::Cuda(weight)) => {
            Storage::Cuda(x.matmul(weight, sizes, x_layout, weight_layout)?)
        }
        _ => bail!("linear: expected operands on one device"),
    };
    Ok(Fresh { storage, shape: (count, outputs).into() })
}
