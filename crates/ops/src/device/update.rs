//! In-place updates of many tensors at once.

use adautomix_kernels::device::Span;
use adautomix_kernels::device::update::{self, Slot};
use adautomix_kernels::update::{AdamW, Sgd};
use candle_core::{Result, Tensor};

use super::{Fresh, Queue, fault};
use crate::update::Trained;

/// The tensors of a launch; contiguous gradients are kept until it was made.
fn slots(queue: &Queue, trained: &[Trained<'_>]) -> Result<(Vec<Slot>, Vec<Tensor>)> {
    let mut kept = Vec::new();
    let mut slots = Vec::new();
    for one in trained {
        let gradient = one.gradient.contiguous()?;
        let state = |i: usize| one.state.get(i).map(|state| queue.span(state)).transpose();
        slots.push(Slot {
            target: queue.span(one.parameter)?,
            state: [state(0)?, state(1)?],
            value: Some(queue.span(&gradient)?),
            decay: one.weight_decay as f32,
        });
        kept.push(gradient);
    }
    Ok((slots, kept))
}

pub(crate) fn sgd(trained: &[Trained<'_>], sgd: Sgd) -> Result<()> {
    let Some(first) = trained.first() else { return Ok(()) };
    let queue = Queue::of(first.parameter)?;
    let (slots, _kept) = slots(&queue, trained)?;
    update::sgd(&queue, &slots, sgd).map_err(fault)
}

pub(crate) fn adamw(trained: &[Trained<'_>], adamw: AdamW) -> Result<()> {
    let Some(first) = trained.first() else { return Ok(()) };
    let queue = Queue::of(first.parameter)?;
    let (slots, _kept) = slots(&queue, trained)?;
    update::adamw(&queue, &slots, adamw).map_err(fault)
}

/// `target = keep · target + take · value` for each pair.
pub(crate) fn average(pairs: &[(&Tensor, &Tensor)], keep: f64, take: f64) -> Result<()> {
    let Some((first, _)) = pairs.first() else { return Ok(()) };
    let queue = Queue::of(first)?;
    let values = pairs.iter().map(|(_, value)| value.contiguous()).collect::<Result<Vec<_>>>()?;
    let slot = |((target, _), value): (&(&Tensor, &Tensor), &Tensor)| -> Result<Slot> {
        Ok(Slot::following(queue.span(target)?, queue.span(value)?))
    };
    let slots = pairs.iter().zip(&values).map(slot).collect::<Result<Vec<_>>>()?;
    update::average(&queue, &slots, keep as f32, take as f32).map_err(fault)
}

/// A copy of one, as a result.
pub(crate) fn copy(tensor: &Tensor) -> Result<Fresh> {
    let (queue, tensor) = (Queue::of(tensor)?, tensor.contiguous()?);
    let copy = queue.fresh(tensor.shape())?;
    let slot = Slot::following(copy.span(&queue)?, queue.span(&tensor)?);
    update::average(&queue, &[slot], 0.0, 1.0).map_err(fault)?;
    Ok(copy)
}

/// A copy of each.
pub(crate) fn copies(tensors: &[&Tensor]) -> Result<Vec<Tensor>> {
    let Some(first) = tensors.first() else { return Ok(Vec::new()) };
    let queue = Queue::of(first)?;
    let places = tensors.iter().map(|x| Ok(queue.fresh_tensor::<f32>(x.shape())?.0));
    let copies = places.collect::<Result<Vec<_>>>()?;
    average(&copies.iter().zip(tensors.iter().copied()).collect::<Vec<_>>(), 0.0, 1.0)?;
    Ok(copies)
}

/// `x *= factor` for each.
pub(crate) fn scale(tensors: &[&Tensor], factor: f64) -> Result<()> {
    let Some(first) = tensors.first() else { return Ok(()) };
    let queue = Queue::of(first)?;
    let slots = tensors.iter().map(|x| Ok(Slot::alone(queue.span(x)?))).collect::<Result<Vec<_>>>()?;
    update::scale(&queue, &slots, factor as f32).map_err(fault)
}

/// `Σ x²` of each, `[tensors]`.
fn squares(queue: &Queue, tensors: &[&Tensor]) -> Result<Tensor> {
    let kept = tensors.iter().map(|x| x.contiguous()).collect::<Result<Vec<_>>>()?;
    let spans = kept.iter().map(|x| queue.span(x)).collect::<Result<Vec<Span<f32>>>>()?;
    let (squares, to) = queue.fresh_tensor(spans.len())?;
    let (_workspace, workspace) = queue.fresh_tensor(update::squares_workspace(&spans))?;
    update::squared_norms(queue, &spans, to, workspace).map_err(fault)?;
    Ok(squares)
}

/// `Σ x²` of each, read back at once.
pub(crate) fn squared_norms(tensors: &[&Tensor]) -> Result<Vec<f64>> {
    let Some(first) = tensors.first() else { return Ok(Vec::new()) };
    let squares = squares(&Queue::of(first)?, tensors)?;
    Ok(squares.to_vec1::<f32>()?.into_iter().map(f64::from).collect())
}

/// Scales tensors so that their common norm is at most `max_norm`, without reading it.
pub(crate) fn clip(tensors: &[&Tensor], max_norm: f64) -> Result<()> {
    let Some(first) = tensors.first() else { return Ok(()) };
    let queue = Queue::of(first)?;
    let squares = squares(&queue, tensors)?;
    let slots = tensors.iter().map(|x| Ok(Slot::alone(queue.span(x)?))).collect::<Result<Vec<_>>>()?;
    let (_factor, factor) = queue.fresh_tensor(1)?;
    update::clip(&queue, &slots, queue.span(&squares)?, max_norm as f32, factor).map_err(fault)
}
