//! Softmax cross-entropy with classes or soft targets.

use crate::buffers::{computed, gradient, on_kernels};
use crate::node::record1;
use adautomix_kernels::softmax::{self, Target};
use candle_core::{D, DType, Result, Tensor, bail};

/// What becomes of the losses of the samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reduction {
    /// Their mean, a scalar.
    Mean,
    /// They stay as they are, `[B]`.
    None,
}

/// Cross-entropy of `logits` `[B, K]` with the classes `labels` `[B]` (`u32` or `i64`). With `smoothing` e the target is
/// `(1 - e) onehot + e / K`.
///
/// # Errors
/// If the shapes don't fit or a label is not below `K` (checked on the CPU; on a device the loss of such a label is NaN).
pub fn cross_entropy(
    logits: &Tensor,
    labels: &Tensor,
    smoothing: f64,
    reduction: Reduction,
) -> Result<Tensor> {
    let (batch, classes) = logits.dims2()?;
    if labels.dims() != [batch] {
        bail!("cross_entropy: expected labels [{batch}], got {:?}", labels.dims());
    }
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(logits) {
        return crate::device::cross_entropy::cross_entropy(logits, labels, smoothing, reduction);
    }
    if !on_kernels(logits) {
        return reduce(&composed::cross_entropy(logits, labels, smoothing)?, reduction);
    }
    let labels = labels.to_dtype(DType::I64)?.to_vec1::<i64>()?;
    if let Some(label) = labels.iter().find(|&&label| label < 0 || label >= classes as i64) {
        bail!("cross_entropy: label {label} is out of range, expected 0 to {}", classes as i64 - 1);
    }
    let target = Owned::Class(labels.into_iter().map(|label| label as u32).collect());
    on_processor(logits, target, smoothing as f32, reduction)
}

/// Cross-entropy of `logits` `[B, K]` with weights of the classes, `target` `[B, K]`: `-sum_k target_k log softmax_k`. The
/// target is a constant and its rows need not sum to 1. With `smoothing` e it is replaced by `(1 - e) target + e / K`.
///
/// # Errors
/// If the shapes don't fit.
pub fn soft_cross_entropy(
    logits: &Tensor,
    target: &Tensor,
    smoothing: f64,
    reduction: Reduction,
) -> Result<Tensor> {
    if logits.dims2()? != target.dims2()? {
        bail!("soft_cross_entropy: expected a target {:?}, got {:?}", logits.dims(), target.dims());
    }
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(logits) {
        return crate::device::cross_entropy::soft_cross_entropy(logits, target, smoothing, reduction);
    }
    if !on_kernels(logits) {
        return reduce(&composed::soft_cross_entropy(logits, target, smoothing)?, reduction);
    }
    let target = Owned::Weights(target.to_dtype(DType::F32)?.flatten_all()?.to_vec1()?);
    on_processor(logits, target, smoothing as f32, reduction)
}

fn reduce(losses: &Tensor, reduction: Reduction) -> Result<Tensor> {
    match reduction {
        Reduction::Mean => losses.mean_all(),
        Reduction::None => Ok(losses.clone()),
    }
}

/// The targets of a batch, kept for the backward pass.
enum Owned {
    Class(Vec<u32>),
    Weights(Vec<f32>),
}

impl Owned {
    fn target(&self) -> Target<'_> {
        match self {
            Self::Class(labels) => Target::Class(labels),
            Self::Weights(weights) => Target::Weights(weights),
        }
    }
}

fn on_processor(logits: &Tensor, target: Owned, smoothing: f32, reduction: Reduction) -> Result<Tensor> {
    let (logits, batch) = (logits.contiguous()?, logits.dim(0)?);
    let losses = computed(batch, [&logits], |[logits], losses| {
        softmax::cross_entropy_forward(logits, target.target(), smoothing, losses);
    })?;
    let result = match reduction {
        Reduction::None => losses,
        Reduction::Mean => computed((), [&losses.tensor()], |[losses], mean| {
            let total: f64 = losses.iter().copied().map(f64::from).sum();
            mean[0] = (total / batch as f64) as f32;
        })?,
    };
    let backward = move |logits: &Tensor, _: &Tensor, dloss: &Tensor| {
        let dlosses = match reduction {
            Reduction::Mean => vec![dloss.to_scalar::<f32>()? / batch as f32; batch],
            Reduction::None => dloss.to_vec1()?,
        };
        gradient(logits, [logits], |[logits], dlogits| {
            softmax::cross_entropy_backward(logits, target.target(), smoothing, &dlosses, dlogits);
        })
    };
    record1("cross-entropy", result, &logits, backward)
}

mod composed {
    use super::*;

    fn log_softmax(logits: &Tensor) -> Result<Tensor> {
        let shifted = logits.broadcast_sub(&logits.detach().max_keepdim(D::Minus1)?)?;
        shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(D::Minus1)?.log()?)
    }

    pub(super) fn cross_entropy(logits: &Tensor, labels: &Tensor, smoothing: f64) -> Result<Tensor> {
        let log = log_softmax(logits)?;
        let chosen = log.gather(&labels.reshape(((), 1))?.contiguous()?, 1)?.squeeze(1)?;
        let spread = log.mean(D::Minus1)?;
        (chosen * (smoothing - 1.0))? - (spread * smoothing)?
    }

    pub(super) fn soft_cross_entropy(logits: &Tensor, target: &Tensor, smoothing: f64) -> Result<Tensor> {
        let classes = logits.dim(1)? as f64;
        let target =
            target.detach().to_dtype(logits.dtype())?.affine(1.0 - smoothing, smoothing / classes)?;
        (log_softmax(logits)? * target)?.sum(D::Minus1)?.neg()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::agrees;
    use candle_core::Device;

    #[test]
    fn cross_entropy_agrees_with_its_composition() -> Result<()> {
        let labels = Tensor::new(&[3i64, 0, 9, 3, 5], &Device::Cpu)?;
        let target: Vec<f32> = (0..50).map(|i| (i % 7) as f32 * 0.1).collect();
        let target = Tensor::from_vec(target, (5, 10), &Device::Cpu)?;
        for reduction in [Reduction::Mean, Reduction::None] {
            for smoothing in [0.0, 0.1] {
                agrees(&[&[5, 10]], |x| cross_entropy(&(&x[0] * 4.0)?, &labels, smoothing, reduction))?;
                agrees(&[&[5, 10]], |x| soft_cross_entropy(&(&x[0] * 4.0)?, &target, smoothing, reduction))?;
            }
        }
        Ok(())
    }

    #[test]
    fn a_label_out_of_range_is_an_error() -> Result<()> {
        let logits = Tensor::zeros((2, 3), DType::F32, &Device::Cpu)?;
        for labels in [Tensor::new(&[0u32, 3], &Device::Cpu)?, Tensor::new(&[-1i64, 0], &Device::Cpu)?] {
            let error = cross_entropy(&logits, &labels, 0.0, Reduction::Mean).map_err(|e| e.to_string());
            assert!(error.is_err_and(|e| e.contains("out of range, expected 0 to 2")));
        }
        assert!(cross_entropy(&logits, &Tensor::new(&[0u32], &Device::Cpu)?, 0.0, Reduction::Mean).is_err());
        assert!(soft_cross_entropy(&logits, &logits.t()?, 0.0, Reduction::Mean).is_err());
        Ok(())
    }
}
