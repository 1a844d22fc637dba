//! Resizing of maps, alone and with the softmax over the maps of a sample.

use adautomix_kernels::device::resize::{Table, map_softmax_backward};
use adautomix_kernels::resize::Resize;
use candle_core::{Result, Tensor};

use super::{Queue, fault};
use crate::node::record1;

pub(crate) fn resize(x: &Tensor, resize: Resize) -> Result<Tensor> {
    let (queue, x) = (Queue::of(x)?, x.contiguous()?);
    let (batch, channels, _, _) = x.dims4()?;
    let (table, result) = (Table::forward(&resize), fresh(&queue, &x, &resize)?);
    let (words, to) = (queue.words(&table.words)?, result.span(&queue)?);
    table.apply(&queue, queue.span(&words)?, batch * channels, queue.span(&x)?, to).map_err(fault)?;
    let backward = move |x: &Tensor, _: &Tensor, dy: &Tensor| adjoint(x, &resize, dy).map(Some);
    record1("resize", result, &x, backward)
}

pub(crate) fn upsample_softmax(x: &Tensor, resize: Resize) -> Result<Tensor> {
    let (queue, x) = (Queue::of(x)?, x.contiguous()?);
    let (batch, count, _, _) = x.dims4()?;
    let (table, result) = (Table::forward(&resize), fresh(&queue, &x, &resize)?);
    let (words, to) = (queue.words(&table.words)?, result.span(&queue)?);
    table.apply_softmax(&queue, queue.span(&words)?, [batch, count], queue.span(&x)?, to).map_err(fault)?;
    let backward = move |x: &Tensor, y: &Tensor, dy: &Tensor| {
        let queue = Queue::of(x)?;
        let (inner, to) = queue.fresh_tensor(y.shape())?;
        let sizes = [batch, count, y.elem_count() / (batch * count).max(1)];
        map_softmax_backward(&queue, sizes, queue.span(y)?, queue.span(dy)?, to).map_err(fault)?;
        adjoint(x, &resize, &inner).map(Some)
    };
    record1("upsample-softmax", result, &x, backward)
}

fn fresh(queue: &Queue, x: &Tensor, resize: &Resize) -> Result<super::Fresh> {
    let (batch, channels, _, _) = x.dims4()?;
    queue.fresh((batch, channels, resize.rows.output(), resize.columns.output()))
}

/// The gradient by `x` from that of its resized maps.
fn adjoint(x: &Tensor, resize: &Resize, dy: &Tensor) -> Result<Tensor> {
    let (queue, table) = (Queue::of(x)?, Table::adjoint(resize));
    let (dx, to) = queue.fresh_tensor(x.shape())?;
    let (batch, channels, _, _) = x.dims4()?;
    let words = queue.words(&table.words)?;
    table.apply(&queue, queue.span(&words)?, batch * channels, queue.span(dy)?, to).map_err(fault)?;
    Ok(dx)
}
