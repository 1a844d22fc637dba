//! Fully connected layers, and sums over rows.

use adautomix_kernels::device::rows::{Rows, add_bias};
use candle_core::backend::BackendStorage;
use candle_core::{D, Result, Storage, Tensor, bail};

use super::{Fresh, Queue, fault};
use crate::node::record;

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
        let flat = |tensor: &Tensor| tensor.detach().reshape(((), tensor.dim(D::Minus1)?));
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
        let dbias = match bias.track_op() {
            true => Some(column_sums(None, None, dy)?),
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

/// The rows `[.., C]` of a tensor.
pub(super) fn rows(x: &Tensor) -> Result<Rows> {
    let width = x.dim(D::Minus1)?;
    Ok(Rows { rows: x.elem_count() / width.max(1), width })
}

/// The sums over the rows of `dy` `[.., C]`, each times that of `x` and its sample's factor where they are given: `[C]`.
pub(super) fn column_sums(x: Option<&Tensor>, samples: Option<&Tensor>, dy: &Tensor) -> Result<Tensor> {
    let (queue, rows) = (Queue::of(dy)?, rows(dy)?);
    let (sums, to) = queue.fresh_tensor(rows.width)?;
    let (_workspace, workspace) = queue.fresh_tensor(rows.workspace())?;
    let [x, samples] = [x, samples].map(|tensor| tensor.map(|tensor| queue.span(tensor)).transpose());
    rows.column_sums(&queue, x?, samples?, queue.span(dy)?, to, workspace).map_err(fault)?;
    Ok(sums)
}
