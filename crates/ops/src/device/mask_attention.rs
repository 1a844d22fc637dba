//! The cross attention of the mask generator.

use adautomix_kernels::device::blend::Uses;
use adautomix_kernels::device::mask_attention::{MaskAttention as Kernel, Slopes};
use candle_core::{Result, Tensor};

use super::{Queue, fault};
use crate::mask_attention::MaskAttention;
use crate::node::{record, record1};

/// The attention with what the backward pass needs of the forward pass.
struct Kept {
    spec: MaskAttention,
    partners: Tensor,
    lambdas: Tensor,
    queries: Tensor,
    others: Tensor,
    attention: Tensor,
}

pub(crate) fn mask_attention(base: &Tensor, shift: Option<&Tensor>, spec: MaskAttention) -> Result<Tensor> {
    let (queue, base) = (Queue::of(base)?, base.contiguous()?);
    let shift = shift.map(Tensor::contiguous).transpose()?;
    let (result, kept) = forward(&queue, &base, shift.as_ref(), spec)?;
    match shift {
        None => {
            let backward = move |base: &Tensor, planes: &Tensor, dplanes: &Tensor| {
                kept.backward(base, None, planes, dplanes).map(|[dbase, _]| dbase)
            };
            record1("mask-attention", result, &base, backward)
        }
        Some(shift) => {
            let backward = move |[base, shift]: [&Tensor; 2], planes: &Tensor, dplanes: &Tensor| {
                kept.backward(base, Some(shift), planes, dplanes)
            };
            record("mask-attention", result, [&base, &shift], backward)
        }
    }
}

fn forward(
    queue: &Queue,
    base: &Tensor,
    shift: Option<&Tensor>,
    spec: MaskAttention,
) -> Result<(super::Fresh, Kept)> {
    let (_, channels, positions) = base.dims3()?;
    let (batch, count, depth) = (spec.partners[0].len(), spec.partners.len(), (channels - 1) / 2);
    let partners = queue.partners(&spec.partners)?;
    let lambdas = Tensor::from_slice(&spec.lambdas, count, base.device())?;
    let kernel = kernel(queue, base, shift, &spec, &partners, &lambdas)?;
    let (queries, queries_span) = queue.fresh_tensor((batch * count, depth, positions))?;
    let (others, others_span) = queue.fresh_tensor((batch * count, depth, positions))?;
    kernel.operands(queue, queries_span, others_span).map_err(fault)?;
    let attention = queries.transpose(1, 2)?.matmul(&others)?;
    let result = queue.fresh((batch, count, positions))?;
    kernel.planes(queue, queue.span(&attention)?, result.span(queue)?).map_err(fault)?;
    Ok((result, Kept { spec, partners, lambdas, queries, others, attention }))
}

fn kernel(
    queue: &Queue,
    base: &Tensor,
    shift: Option<&Tensor>,
    spec: &MaskAttention,
    partners: &Tensor,
    lambdas: &Tensor,
) -> Result<Kernel> {
    let (_, channels, positions) = base.dims3()?;
    Ok(Kernel {
        base: queue.span(base)?,
        shift: shift.map(|shift| queue.span(shift)).transpose()?,
        partners: queue.span(partners)?,
        lambdas: queue.span(lambdas)?,
        batch: spec.partners[0].len(),
        count: spec.partners.len(),
        depth: (channels - 1) / 2,
        positions,
        scale: spec.scale as f32,
        relu: spec.relu,
    })
}

impl Kept {
    /// The gradients by base and shift, where variables depend on them.
    fn backward(
        &self,
        base: &Tensor,
        shift: Option<&Tensor>,
        planes: &Tensor,
        dplanes: &Tensor,
    ) -> Result<[Option<Tensor>; 2]> {
        let queue = Queue::of(base)?;
        let kernel = kernel(&queue, base, shift, &self.spec, &self.partners, &self.lambdas)?;
        let (dproducts, dproducts_span) = queue.fresh_tensor(self.attention.shape())?;
        let (dvalues, values) = queue.fresh_tensor(planes.shape())?;
        let both = [queue.span(planes)?, queue.span(dplanes)?];
        kernel.slopes(&queue, queue.span(&self.attention)?, both, dproducts_span, values).map_err(fault)?;
        let dqueries = self.others.matmul(&dproducts.transpose(1, 2)?)?;
        let dothers = self.queries.matmul(&dproducts)?;
        let slopes = Slopes { queries: queue.span(&dqueries)?, others: queue.span(&dothers)?, values };
        let (dbase, to) = queue.fresh_if(base.track_op(), base.shape())?;
        if let Some(to) = to {
            let uses = Uses::of(&self.spec.partners, base.dim(0)?).map_err(fault)?;
            let table = queue.words(&uses.words)?;
            kernel.base(&queue, slopes, (&uses, queue.span(&table)?), to).map_err(fault)?;
        }
        let tracked = shift.filter(|shift| shift.track_op());
        let dshift = tracked.map(|shift| queue.fresh_tensor(shift.shape())).transpose()?;
        if let Some((_, to)) = &dshift {
            kernel.shift(&queue, slopes, *to).map_err(fault)?;
        }
        // Alive until here: their memory is given back behind the launches that read it.
        drop((dvalues, dqueries, dothers));
        Ok([dbase, dshift.map(|(dshift, _)| dshift)])
    }
}
