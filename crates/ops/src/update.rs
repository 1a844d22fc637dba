//! What changes tensors in place: a step of descent, moving averages, sums of gradients. Nothing here is differentiable.

use adautomix_kernels::update;
use candle_core::{Result, Tensor, bail};

use crate::custom::{on_kernels, with_slice_mut, with_slices};

pub use adautomix_kernels::update::{AdamW, Sgd};

/// One step of stochastic gradient descent: `g = gradient + decay · p`; `v = momentum · v + g`; `p -= lr · v`. All three
/// tensors have one shape; `parameter` and `velocity` are changed.
///
/// # Errors
/// If the shapes differ, or two tensors share their memory.
pub fn sgd_step(parameter: &Tensor, velocity: &Tensor, gradient: &Tensor, sgd: Sgd) -> Result<()> {
    same_shape("sgd_step", parameter, &[velocity, gradient])?;
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(parameter) {
        let weight_decay = f64::from(sgd.weight_decay);
        let state = std::slice::from_ref(velocity);
        return crate::device::update::sgd(&[Trained { parameter, state, gradient, weight_decay }], sgd);
    }
    if on_kernels(parameter) {
        let gradient = gradient.contiguous()?;
        return with_slice_mut(velocity, |v| {
            with_slice_mut(parameter, |p| {
                with_slices([&gradient], |[g]| {
                    sgd.update(p, v, g);
                    Ok(())
                })
            })
        });
    }
    let (p, v) = (parameter.detach(), velocity.detach());
    let keep = if sgd.first { 0.0 } else { f64::from(sgd.momentum) };
    let g = (gradient.detach() + (&p * f64::from(sgd.weight_decay))?)?;
    let v = if sgd.first { g.clone() } else { ((v * keep)? + &g)? };
    let step = if sgd.nesterov { (&g + (&v * f64::from(sgd.momentum))?)? } else { v.clone() };
    overwrite(parameter, &(p - (step * f64::from(sgd.lr))?)?)?;
    overwrite(velocity, &v)
}

/// One step of AdamW, as [`AdamW::update`] has it. All four tensors have one shape; all but `gradient` are changed.
///
/// # Errors
/// If the shapes differ, or two tensors share their memory.
pub fn adamw_step(
    parameter: &Tensor,
    mean: &Tensor,
    square: &Tensor,
    gradient: &Tensor,
    adamw: AdamW,
) -> Result<()> {
    same_shape("adamw_step", parameter, &[mean, square, gradient])?;
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(parameter) {
        let (weight_decay, state) = (adamw.weight_decay, &[mean.clone(), square.clone()]);
        return crate::device::update::adamw(&[Trained { parameter, state, gradient, weight_decay }], adamw);
    }
    if on_kernels(parameter) {
        let gradient = gradient.contiguous()?;
        return with_slice_mut(square, |s| {
            with_slice_mut(mean, |m| {
                with_slice_mut(parameter, |p| {
                    with_slices([&gradient], |[g]| {
                        adamw.update(p, m, s, g);
                        Ok(())
                    })
                })
            })
        });
    }
    let [beta1, beta2] = adamw.betas;
    let bias = |beta: f64| 1.0 - beta.powi(i32::try_from(adamw.step).unwrap_or(i32::MAX));
    let (p, g) = (parameter.detach(), gradient.detach());
    let m = ((mean.detach() * beta1)? + (&g * (1.0 - beta1))?)?;
    let s = ((square.detach() * beta2)? + (g.sqr()? * (1.0 - beta2))?)?;
    let root = ((&s / bias(beta2))?.sqrt()? + adamw.eps)?;
    let step = ((&m * (adamw.lr / bias(beta1)))? / root)?;
    overwrite(parameter, &((p * (1.0 - adamw.lr * adamw.weight_decay))? - step)?)?;
    overwrite(mean, &m)?;
    overwrite(square, &s)
}

/// `average = momentum · average + (1 - momentum) · value`, in place.
///
/// # Errors
/// If the shapes differ, or the tensors share their memory.
pub fn moving_average(average: &Tensor, value: &Tensor, momentum: f64) -> Result<()> {
    same_shape("moving_average", average, &[value])?;
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(average) {
        return crate::device::update::average(&[(average, value)], momentum, 1.0 - momentum);
    }
    if on_kernels(average) {
        let value = value.contiguous()?;
        return with_slice_mut(average, |a| {
            with_slices([&value], |[v]| {
                update::moving_average(a, v, momentum);
                Ok(())
            })
        });
    }
    overwrite(average, &((average.detach() * momentum)? + (value.detach() * (1.0 - momentum))?)?)
}

/// `sum += value`, in place.
///
/// # Errors
/// If the shapes differ, or the tensors share their memory.
pub fn accumulate(sum: &Tensor, value: &Tensor) -> Result<()> {
    same_shape("accumulate", sum, &[value])?;
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(sum) {
        return crate::device::update::average(&[(sum, value)], 1.0, 1.0);
    }
    if on_kernels(sum) {
        let value = value.contiguous()?;
        return with_slice_mut(sum, |s| {
            with_slices([&value], |[v]| {
                update::add(s, v);
                Ok(())
            })
        });
    }
    overwrite(sum, &(sum.detach() + value.detach())?)
}

/// `x *= factor`, in place.
///
/// # Errors
/// If `x` isn't contiguous.
pub fn scale(x: &Tensor, factor: f64) -> Result<()> {
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(x) {
        return crate::device::update::scale(&[x], factor);
    }
    if on_kernels(x) {
        return with_slice_mut(x, |x| {
            update::scale(x, factor as f32);
            Ok(())
        });
    }
    overwrite(x, &(x.detach() * factor)?)
}

/// `Σ x²`; not finite if an element isn't.
///
/// # Errors
/// If the tensor can't be read.
pub fn squared_norm(x: &Tensor) -> Result<f64> {
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(x) {
        return Ok(crate::device::update::squared_norms(&[x])?.iter().sum());
    }
    if on_kernels(x) {
        return with_slices([&x.contiguous()?], |[x]| Ok(update::squared_norm(x)));
    }
    x.detach().sqr()?.sum_all()?.to_dtype(candle_core::DType::F64)?.to_scalar()
}

/// Copies `value` into a tensor of the same shape, in place.
///
/// # Errors
/// If the shapes or types differ, or the tensors share their memory.
pub fn overwrite(tensor: &Tensor, value: &Tensor) -> Result<()> {
    same_shape("overwrite", tensor, &[value])?;
    if tensor.rank() == 0 {
        return tensor.reshape(1)?.slice_set(&value.reshape(1)?.detach(), 0, 0);
    }
    tensor.slice_set(&value.detach().contiguous()?, 0, 0)
}

/// A parameter, what is kept of its gradients, and its gradient; all of one shape.
#[derive(Clone, Copy, Debug)]
pub struct Trained<'a> {
    /// What is changed.
    pub parameter: &'a Tensor,
    /// What is kept and changed: the velocity, or the mean and the mean square.
    pub state: &'a [Tensor],
    /// By the parameter.
    pub gradient: &'a Tensor,
    /// Its weight decay, in place of the step's.
    pub weight_decay: f64,
}

/// [`sgd_step`] for many parameters, each with its own weight decay; on a device in one launch for 64 of them.
///
/// # Errors
/// As [`sgd_step`].
pub fn sgd_steps(trained: &[Trained<'_>], sgd: Sgd) -> Result<()> {
    #[cfg(any(feature = "cuda", test))]
    if trained.first().is_some_and(|first| crate::device::takes(first.parameter)) {
        return crate::device::update::sgd(trained, sgd);
    }
    for &Trained { parameter, state, gradient, weight_decay } in trained {
        let [velocity] = state else { bail!("sgd_step: expected a velocity, got {} tensors", state.len()) };
        sgd_step(parameter, velocity, gradient, Sgd { weight_decay: weight_decay as f32, ..sgd })?;
    }
    Ok(())
}

/// [`adamw_step`] for many parameters, each with its own weight decay; on a device in one launch for 64 of them.
///
/// # Errors
/// As [`adamw_step`].
pub fn adamw_steps(trained: &[Trained<'_>], adamw: AdamW) -> Result<()> {
    #[cfg(any(feature = "cuda", test))]
    if trained.first().is_some_and(|first| crate::device::takes(first.parameter)) {
        return crate::device::update::adamw(trained, adamw);
    }
    for &Trained { parameter, state, gradient, weight_decay } in trained {
        let [mean, square] = state else { bail!("adamw_step: expected two moments, got {}", state.len()) };
        adamw_step(parameter, mean, square, gradient, AdamW { weight_decay, ..adamw })?;
    }
    Ok(())
}

/// [`moving_average`] for many pairs of an average and a value.
///
/// # Errors
/// As [`moving_average`].
pub fn moving_averages(pairs: &[(&Tensor, &Tensor)], momentum: f64) -> Result<()> {
    #[cfg(any(feature = "cuda", test))]
    if pairs.first().is_some_and(|(first, _)| crate::device::takes(first)) {
        return crate::device::update::average(pairs, momentum, 1.0 - momentum);
    }
    pairs.iter().try_for_each(|(average, value)| moving_average(average, value, momentum))
}

/// [`accumulate`] for many pairs of a sum and a value.
///
/// # Errors
/// As [`accumulate`].
pub fn accumulate_all(pairs: &[(&Tensor, &Tensor)]) -> Result<()> {
    #[cfg(any(feature = "cuda", test))]
    if pairs.first().is_some_and(|(first, _)| crate::device::takes(first)) {
        return crate::device::update::average(pairs, 1.0, 1.0);
    }
    pairs.iter().try_for_each(|(sum, value)| accumulate(sum, value))
}

/// [`scale`] for many tensors.
///
/// # Errors
/// As [`scale`].
pub fn scale_all(tensors: &[&Tensor], factor: f64) -> Result<()> {
    #[cfg(any(feature = "cuda", test))]
    if tensors.first().is_some_and(|first| crate::device::takes(first)) {
        return crate::device::update::scale(tensors, factor);
    }
    tensors.iter().try_for_each(|x| scale(x, factor))
}

/// [`squared_norm`] of many tensors; a device is waited for once.
///
/// # Errors
/// As [`squared_norm`].
pub fn squared_norms(tensors: &[&Tensor]) -> Result<Vec<f64>> {
    #[cfg(any(feature = "cuda", test))]
    if tensors.first().is_some_and(|first| crate::device::takes(first)) {
        return crate::device::update::squared_norms(tensors);
    }
    tensors.iter().map(|x| squared_norm(x)).collect()
}

/// Scales tensors so that their common norm is at most `max_norm`: the factor is `min(1, max_norm / (norm + 1e-6))`. On a
/// device the norm stays there, and nobody waits for it.
///
/// # Errors
/// As [`scale`].
pub fn clip_all(tensors: &[&Tensor], max_norm: f64) -> Result<()> {
    #[cfg(any(feature = "cuda", test))]
    if tensors.first().is_some_and(|first| crate::device::takes(first)) {
        return crate::device::update::clip(tensors, max_norm);
    }
    let norm = squared_norms(tensors)?.iter().sum::<f64>().sqrt();
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 {
        scale_all(tensors, factor)?;
    }
    Ok(())
}

fn same_shape(op: &str, tensor: &Tensor, others: &[&Tensor]) -> Result<()> {
    match others.iter().find(|other| other.dims() != tensor.dims()) {
        Some(other) => bail!("{op}: expected {:?}, got {:?}", tensor.dims(), other.dims()),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{DType, Device};

    use super::*;

    fn wave(pace: f64, dtype: DType) -> Result<Tensor> {
        let values: Vec<f64> = (0..40).map(|i| (i as f64 * pace).sin()).collect();
        Tensor::from_vec(values, (8, 5), &Device::Cpu)?.to_dtype(dtype)
    }

    fn close(a: &Tensor, b: &Tensor) -> Result<bool> {
        let difference = (a.to_dtype(DType::F64)? - b.to_dtype(DType::F64)?)?.abs()?;
        Ok(difference.max_all()?.to_scalar::<f64>()? < 1e-6)
    }

    #[test]
    fn kernels_and_compositions_agree() -> Result<()> {
        let (fast, slow) = (DType::F32, DType::F64);
        let pairs = |pace| -> Result<[Tensor; 2]> { Ok([wave(pace, fast)?, wave(pace, slow)?]) };
        let ([p, p64], [v, v64], [g, g64]) = (pairs(0.3)?, pairs(0.7)?, pairs(1.1)?);
        for (first, nesterov) in [(true, false), (false, false), (false, true)] {
            let sgd = Sgd { lr: 0.1, momentum: 0.9, nesterov, weight_decay: 0.01, first };
            sgd_step(&p, &v, &g, sgd)?;
            sgd_step(&p64, &v64, &g64, sgd)?;
            assert!(close(&p, &p64)? && close(&v, &v64)?);
        }
        let ([m, m64], [s, s64]) = (pairs(0.0)?, pairs(0.0)?);
        for step in 1..4 {
            let adamw = AdamW { lr: 0.1, betas: [0.9, 0.99], eps: 1e-6, weight_decay: 0.1, step };
            adamw_step(&p, &m, &s, &g, adamw)?;
            adamw_step(&p64, &m64, &s64, &g64, adamw)?;
            assert!(close(&p, &p64)? && close(&m, &m64)? && close(&s, &s64)?);
        }
        moving_average(&p, &g, 0.9)?;
        moving_average(&p64, &g64, 0.9)?;
        assert!(close(&p, &p64)? && !close(&p, &g)?);
        accumulate(&p, &g)?;
        accumulate(&p64, &g64)?;
        scale(&p, 0.5)?;
        scale(&p64, 0.5)?;
        assert!(close(&p, &p64)? && (squared_norm(&p)? - squared_norm(&p64)?).abs() < 1e-5);
        assert!(
            sgd_step(
                &p,
                &v,
                &g.narrow(0, 0, 2)?,
                Sgd { lr: 0.1, momentum: 0.0, nesterov: false, weight_decay: 0.0, first: true }
            )
            .is_err()
        );
        Ok(())
    }
}
