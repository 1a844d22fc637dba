//! What changes tensors in place: a step of descent, moving averages, sums of gradients. Nothing here is differentiable.
//!
//! Every function takes all tensors of a network at once: on a device they are one launch for 64 of them.

use adautomix_kernels::update;
use candle_core::{DType, Result, Tensor, bail};

use crate::buffers::{on_kernels, with_slice_mut, with_slices};

pub use adautomix_kernels::update::{AdamW, Sgd};

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

/// One step of stochastic gradient descent: `g = gradient + decay · p`; `v = momentum · v + g`; `p -= lr · v`.
///
/// # Errors
/// If the shapes of a parameter differ, or two tensors share their memory.
pub fn sgd_steps(trained: &[Trained<'_>], sgd: Sgd) -> Result<()> {
    check("sgd_steps", trained, 1)?;
    #[cfg(any(feature = "cuda", test))]
    if trained.first().is_some_and(|first| crate::device::takes(first.parameter)) {
        return crate::device::update::sgd(trained, sgd);
    }
    for one in trained {
        sgd_step(*one, Sgd { weight_decay: one.weight_decay as f32, ..sgd })?;
    }
    Ok(())
}

/// One step of AdamW, as [`AdamW::update`] has it.
///
/// # Errors
/// If the shapes of a parameter differ, or two tensors share their memory.
pub fn adamw_steps(trained: &[Trained<'_>], adamw: AdamW) -> Result<()> {
    check("adamw_steps", trained, 2)?;
    #[cfg(any(feature = "cuda", test))]
    if trained.first().is_some_and(|first| crate::device::takes(first.parameter)) {
        return crate::device::update::adamw(trained, adamw);
    }
    for one in trained {
        adamw_step(*one, AdamW { weight_decay: one.weight_decay, ..adamw })?;
    }
    Ok(())
}

/// For each pair `average = momentum · average + (1 - momentum) · value`, in place.
///
/// # Errors
/// If the shapes of a pair differ, or, on the processor, its tensors share their memory.
pub fn moving_averages(pairs: &[(&Tensor, &Tensor)], momentum: f64) -> Result<()> {
    check_pairs("moving_averages", pairs)?;
    #[cfg(any(feature = "cuda", test))]
    if pairs.first().is_some_and(|(first, _)| crate::device::takes(first)) {
        return crate::device::update::average(pairs, momentum, 1.0 - momentum);
    }
    pairs.iter().try_for_each(|(average, value)| {
        if on_kernels(average) {
            return into(average, value, |a, v| update::moving_average(a, v, momentum));
        }
        overwrite(average, &((average.detach() * momentum)? + (value.detach() * (1.0 - momentum))?)?)
    })
}

/// For each pair `tensor = value`, in place.
///
/// # Errors
/// If the shapes of a pair differ, or, on the processor, its tensors share their memory.
pub fn overwrite_all(pairs: &[(&Tensor, &Tensor)]) -> Result<()> {
    check_pairs("overwrite_all", pairs)?;
    #[cfg(any(feature = "cuda", test))]
    if pairs.first().is_some_and(|(first, _)| crate::device::takes(first)) {
        return crate::device::update::average(pairs, 0.0, 1.0);
    }
    pairs.iter().try_for_each(|(tensor, value)| overwrite(tensor, value))
}

/// A copy of each tensor, outside the graph.
///
/// # Errors
/// If memory can't be had.
pub fn copies(tensors: &[&Tensor]) -> Result<Vec<Tensor>> {
    #[cfg(any(feature = "cuda", test))]
    if tensors.first().is_some_and(|first| crate::device::takes(first)) {
        return crate::device::update::copies(tensors);
    }
    tensors.iter().map(|tensor| tensor.detach().contiguous()?.copy()).collect()
}

/// For each pair `sum += value`, in place.
///
/// # Errors
/// If the shapes of a pair differ, or, on the processor, its tensors share their memory.
pub fn accumulate(pairs: &[(&Tensor, &Tensor)]) -> Result<()> {
    check_pairs("accumulate", pairs)?;
    #[cfg(any(feature = "cuda", test))]
    if pairs.first().is_some_and(|(first, _)| crate::device::takes(first)) {
        return crate::device::update::average(pairs, 1.0, 1.0);
    }
    pairs.iter().try_for_each(|(sum, value)| {
        if on_kernels(sum) {
            return into(sum, value, update::add);
        }
        overwrite(sum, &(sum.detach() + value.detach())?)
    })
}

/// `x *= factor` for each tensor, in place.
///
/// # Errors
/// If one isn't contiguous.
pub fn scale(tensors: &[&Tensor], factor: f64) -> Result<()> {
    #[cfg(any(feature = "cuda", test))]
    if tensors.first().is_some_and(|first| crate::device::takes(first)) {
        return crate::device::update::scale(tensors, factor);
    }
    tensors.iter().try_for_each(|x| {
        if on_kernels(x) {
            return with_slice_mut(x, |x| {
                update::scale(x, factor as f32);
                Ok(())
            });
        }
        overwrite(x, &(x.detach() * factor)?)
    })
}

/// `Σ x²` of each tensor; not finite if an element isn't. A device is waited for once.
///
/// # Errors
/// If a tensor can't be read.
pub fn squared_norms(tensors: &[&Tensor]) -> Result<Vec<f64>> {
    #[cfg(any(feature = "cuda", test))]
    if tensors.first().is_some_and(|first| crate::device::takes(first)) {
        return crate::device::update::squared_norms(tensors);
    }
    let norm = |x: &&Tensor| {
        if on_kernels(x) {
            return with_slices([&x.contiguous()?], |[x]| Ok(update::squared_norm(x)));
        }
        x.detach().sqr()?.sum_all()?.to_dtype(DType::F64)?.to_scalar()
    };
    tensors.iter().map(norm).collect()
}

/// Copies `value` into a tensor of the same shape, in place.
///
/// # Errors
/// If the shapes or types differ, or the tensors share their memory.
pub fn overwrite(tensor: &Tensor, value: &Tensor) -> Result<()> {
    same_shape("overwrite", tensor, value)?;
    if tensor.rank() == 0 {
        return tensor.reshape(1)?.slice_set(&value.reshape(1)?.detach(), 0, 0);
    }
    tensor.slice_set(&value.detach().contiguous()?, 0, 0)
}

/// [`sgd_steps`] for one parameter on the processor.
fn sgd_step(Trained { parameter, state, gradient, .. }: Trained<'_>, sgd: Sgd) -> Result<()> {
    let velocity = &state[0];
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

/// [`adamw_steps`] for one parameter on the processor.
fn adamw_step(Trained { parameter, state, gradient, .. }: Trained<'_>, adamw: AdamW) -> Result<()> {
    let (mean, square) = (&state[0], &state[1]);
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

/// Changes `target` by the numbers of `value`.
fn into(target: &Tensor, value: &Tensor, change: impl FnOnce(&mut [f32], &[f32])) -> Result<()> {
    let value = value.contiguous()?;
    with_slice_mut(target, |target| {
        with_slices([&value], |[value]| {
            change(target, value);
            Ok(())
        })
    })
}

/// Fails unless each parameter has `states` tensors of state, and all of it one shape.
fn check(op: &str, trained: &[Trained<'_>], states: usize) -> Result<()> {
    for &Trained { parameter, state, gradient, .. } in trained {
        if state.len() != states {
            bail!("{op}: expected {states} tensors of state, got {}", state.len());
        }
        state.iter().chain([gradient]).try_for_each(|other| same_shape(op, parameter, other))?;
    }
    Ok(())
}

fn check_pairs(op: &str, pairs: &[(&Tensor, &Tensor)]) -> Result<()> {
    pairs.iter().try_for_each(|(target, value)| same_shape(op, target, value))
}

/// Scales tensors so that their common norm is at most `max_norm`: the factor is `min(1, max_norm / (norm + 1e-6))`. On a
/// device the norm stays there, and nobody waits for it.
///
/// # Errors
/// As [`scale`].
pub fn clip(tensors: &[&Tensor], max_norm: f64) -> Result<()> {
    #[cfg(any(feature = "cuda", test))]
    if tensors.first().is_some_and(|first| crate::device::takes(first)) {
        return crate::device::update::clip(tensors, max_norm);
    }
    let norm = squared_norms(tensors)?.iter().sum::<f64>().sqrt();
    let factor = max_norm / (norm + 1e-6);
    if factor < 1.0 {
        scale(tensors, factor)?;
    }
    Ok(())
}

fn same_shape(op: &str, tensor: &Tensor, other: &Tensor) -> Result<()> {
    match other.dims() == tensor.dims() {
        true => Ok(()),
        false => bail!("{op}: expected {:?}, got {:?}", tensor.dims(), other.dims()),
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

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
        let ([p, p64], [g, g64]) = (pairs(0.3)?, pairs(1.1)?);
        let trained =
            |parameter, state, gradient| [Trained { parameter, state, gradient, weight_decay: 0.05 }];
        let [v, v64] = pairs(0.7)?.map(|velocity| [velocity]);
        for (first, nesterov) in [(true, false), (false, false), (false, true)] {
            let sgd = Sgd { lr: 0.1, momentum: 0.9, nesterov, weight_decay: 9.0, first };
            sgd_steps(&trained(&p, &v, &g), sgd)?;
            sgd_steps(&trained(&p64, &v64, &g64), sgd)?;
            assert!(close(&p, &p64)? && close(&v[0], &v64[0])?);
        }
        let ([m, m64], [s, s64]) = (pairs(0.0)?, pairs(0.0)?);
        let (moments, moments64) = ([m, s], [m64, s64]);
        for step in 1..4 {
            let adamw = AdamW { lr: 0.1, betas: [0.9, 0.99], eps: 1e-6, weight_decay: 9.0, step };
            adamw_steps(&trained(&p, &moments, &g), adamw)?;
            adamw_steps(&trained(&p64, &moments64, &g64), adamw)?;
            assert!(close(&p, &p64)?);
            assert!(close(&moments[0], &moments64[0])? && close(&moments[1], &moments64[1])?);
        }
        moving_averages(&[(&p, &g)], 0.9)?;
        moving_averages(&[(&p64, &g64)], 0.9)?;
        assert!(close(&p, &p64)? && !close(&p, &g)?);
        accumulate(&[(&p, &g), (&p64, &g64)])?;
        scale(&[&p, &p64], 0.5)?;
        let norms = squared_norms(&[&p, &p64])?;
        assert!(close(&p, &p64)? && (norms[0] - norms[1]).abs() < 1e-5);
        let short = g.narrow(0, 0, 2)?;
        let sgd = Sgd { lr: 0.1, momentum: 0.0, nesterov: false, weight_decay: 0.0, first: true };
        assert!(sgd_steps(&trained(&p, &v, &short), sgd).is_err());
        assert!(sgd_steps(&trained(&p, &moments, &g), sgd).is_err());
        Ok(())
    }
}
