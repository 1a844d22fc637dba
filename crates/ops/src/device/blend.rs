//! Blends of images that are gathered from a batch.

use adautomix_kernels::device::blend::{Blend, Uses, Weights};
use candle_core::{Result, Tensor};

use super::{Queue, fault};
use crate::node::{record, record1};

/// The sizes of a blend of `images` `[M, C, ..]`, and its result's shape.
fn sizes(images: &Tensor, partners: &[Vec<u32>]) -> Result<(Blend, Vec<usize>)> {
    let (batch, channels) = (partners[0].len(), images.dim(1)?);
    let area = images.dims()[2..].iter().product();
    let shape = [&[batch], &images.dims()[1..]].concat();
    Ok((Blend { batch, count: partners.len(), channels, area }, shape))
}

pub(crate) fn mix_images(images: &Tensor, partners: &[Vec<u32>], mask: &Tensor) -> Result<Tensor> {
    let (queue, images, mask) = (Queue::of(images)?, images.contiguous()?, mask.contiguous()?);
    let ((blend, shape), lists) = (sizes(&images, partners)?, queue.partners(partners)?);
    let result = queue.fresh(shape)?;
    let weights = Weights::Mask(queue.span(&mask)?);
    let to = result.span(&queue)?;
    blend.forward(&queue, queue.span(&images)?, queue.span(&lists)?, weights, to).map_err(fault)?;
    let partners = partners.to_vec();
    let backward = move |[images, mask]: [&Tensor; 2], _: &Tensor, dmixed: &Tensor| {
        let (queue, dmixed) = (Queue::of(images)?, dmixed);
        let (dimages, to) = queue.fresh_if(images.track_op(), images.shape())?;
        if let Some(to) = to {
            by_images(&queue, blend, &partners, Weights::Mask(queue.span(mask)?), dmixed, to)?;
        }
        let (dmask, to) = queue.fresh_if(mask.track_op(), mask.shape())?;
        if let Some(to) = to {
            let (images, lists, dmixed) = (queue.span(images)?, queue.span(&lists)?, queue.span(dmixed)?);
            blend.backward_mask(&queue, images, lists, dmixed, to).map_err(fault)?;
        }
        Ok([dimages, dmask])
    };
    record("mix-images", result, [&images, &mask], backward)
}

/// `weights` are `[B, N]`.
pub(crate) fn linear_mix(images: &Tensor, partners: &[Vec<u32>], weights: &[f32]) -> Result<Tensor> {
    let (queue, images) = (Queue::of(images)?, images.contiguous()?);
    let ((blend, shape), lists) = (sizes(&images, partners)?, queue.partners(partners)?);
    let weights = Tensor::from_slice(weights, weights.len(), images.device())?;
    let result = queue.fresh(shape)?;
    let (by, to) = (Weights::Constant(queue.span(&weights)?), result.span(&queue)?);
    blend.forward(&queue, queue.span(&images)?, queue.span(&lists)?, by, to).map_err(fault)?;
    let partners = partners.to_vec();
    let backward = move |images: &Tensor, _: &Tensor, dmixed: &Tensor| {
        let queue = Queue::of(images)?;
        let (dimages, to) = queue.fresh_tensor(images.shape())?;
        by_images(&queue, blend, &partners, Weights::Constant(queue.span(&weights)?), dmixed, to)?;
        Ok(Some(dimages))
    };
    record1("linear-mix", result, &images, backward)
}

/// Writes the gradient by the images to `to`.
fn by_images(
    queue: &Queue,
    blend: Blend,
    partners: &[Vec<u32>],
    weights: Weights,
    dmixed: &Tensor,
    to: adautomix_kernels::device::Span<f32>,
) -> Result<()> {
    let images = to.len() / (blend.channels * blend.area).max(1);
    let uses = Uses::of(partners, images).map_err(fault)?;
    let table = queue.words(&uses.words)?;
    let uses = (&uses, queue.span(&table)?);
    blend.backward_images(queue, uses, weights, queue.span(dmixed)?, to).map_err(fault)
}
