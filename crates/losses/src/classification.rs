//! The losses of the paper's equations, from logits.

use adautomix_ops::{Reduction, cosine_similarity, cross_entropy, mixed_targets, soft_cross_entropy};
use candle_core::{Result, Tensor, bail};

/// What the smoothing `e` of [`label_smooth`] means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SmoothingMode {
    /// The target is `(1 - e) onehot + e / K`.
    Original,
    /// The same with `e / (1 + e)` for `e`.
    ClassyVision,
}

/// Eq. 1: mean cross-entropy of `logits` `[B, K]` with `labels` `[B]`.
///
/// # Errors
/// If the shapes don't fit or a label is out of range.
pub fn ce(logits: &Tensor, labels: &[u32]) -> Result<Tensor> {
    cross_entropy(logits, &Tensor::new(labels, logits.device())?, 0.0, Reduction::Mean)
}

/// Eq. 2, `L_ace = sum_i lambda_i CE(psi(x_i), y_i)`: `logits[i]` `[B, K]` are those of the `i`-th images.
///
/// # Errors
/// As [`ce`], or if there aren't as many of each.
pub fn ace(logits: &[Tensor], labels: &[Vec<u32>], lambdas: &[f64]) -> Result<Tensor> {
    if logits.len() != lambdas.len() || labels.len() != lambdas.len() {
        bail!(
            "ace: {} logits and {} lists of labels for {} lambdas",
            logits.len(),
            labels.len(),
            lambdas.len()
        );
    }
    weighted_sum(lambdas, |i| ce(&logits[i], &labels[i]))
}

/// Eq. 3, `L_amce = sum_i lambda_i CE(psi(x_mix), y_i)`: `logits` `[B, K]` are those of the generated mix.
///
/// # Errors
/// As [`ce`], or if there aren't as many lists of labels as lambdas.
pub fn amce(logits: &Tensor, labels: &[Vec<u32>], lambdas: &[f64]) -> Result<Tensor> {
    label_smooth(logits, labels, lambdas, 0.0, SmoothingMode::Original)
}

/// Eq. 4, `L_mce = CE(psi(sum_i lambda_i x_i), sum_i lambda_i y_i)`: `logits` `[B, K]` are those of the linear mix.
///
/// As a function of logits this is [`amce`]: cross-entropy is linear in its target.
///
/// # Errors
/// As [`amce`].
pub fn mce(logits: &Tensor, labels: &[Vec<u32>], lambdas: &[f64]) -> Result<Tensor> {
    amce(logits, labels, lambdas)
}

/// [`amce`] with smoothed labels: `sum_i lambda_i soft_ce(logits, (1 - e') onehot_i + e' / K)`.
///
/// # Errors
/// As [`amce`].
pub fn label_smooth(
    logits: &Tensor,
    labels: &[Vec<u32>],
    lambdas: &[f64],
    smoothing: f64,
    mode: SmoothingMode,
) -> Result<Tensor> {
    if labels.len() != lambdas.len() {
        bail!("{} lists of labels for {} lambdas", labels.len(), lambdas.len());
    }
    let smoothing = match mode {
        SmoothingMode::Original => smoothing,
        SmoothingMode::ClassyVision => smoothing / (1.0 + smoothing),
    };
    let weights: Vec<f32> = lambdas.iter().map(|&lambda| lambda as f32).collect();
    soft_ce(logits, &mixed_targets(labels, &weights, logits.dim(1)?, smoothing, logits.device())?)
}

/// Mean cross-entropy with a soft target, `-sum_k target_k log softmax_k`; both are `[B, K]`, the target a constant.
///
/// # Errors
/// If the shapes don't fit.
pub fn soft_ce(logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    soft_cross_entropy(logits, target, 0.0, Reduction::Mean)
}

/// Cross-entropy of a sigmoid for each class, summed over the classes: `logits` and `target` are `[B, K]`.
///
/// # Errors
/// If the shapes don't fit.
pub fn bce(logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    // max(x, 0) - x target + ln(1 + exp(-|x|)) overflows nowhere; |x| = 2 max(x, 0) - x has the right slope at 0 too.
    let positive = adautomix_ops::relu(logits)?;
    let magnitude = ((&positive * 2.0)? - logits)?;
    let softplus = (magnitude.neg()?.exp()? + 1.0)?.log()?;
    let losses = ((positive - (logits * target)?)? + softplus)?;
    losses.sum(1)?.mean_all()
}

/// Binary cross-entropy of each class's softmax `p`, `-(t ln p + (1 - t) ln(1 - p))`, averaged over classes and batch:
/// `logits` and `target` are `[B, K]`. The authors of Co-Mixup train with it.
///
/// Both logarithms are of sums of exponentials, and exact for any logits. PyTorch's `BCELoss` of a softmax, in 32 bits,
/// rounds `1 - p` to 0 where a logit is 17 above the rest: the class's loss then jumps from 17 to 100, and the gradient from
/// below 1 to some 10 000.
///
/// # Errors
/// If the shapes don't fit.
pub fn binary_of_softmax(logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?.detach())?;
    let exponentials = shifted.exp()?;
    let sum = exponentials.sum_keepdim(1)?;
    let log_sum = sum.log()?;
    let classes = Tensor::arange(0, logits.dim(1)? as u32, logits.device())?;
    let largest = logits.argmax_keepdim(1)?.broadcast_eq(&classes)?.to_dtype(logits.dtype())?;
    let others = largest.affine(-1.0, 1.0)?;
    // The sum over all classes but one loses nothing where the largest stays in it; without the largest it is a sum of its own.
    let without_one = sum.broadcast_sub(&(&exponentials * &others)?)?.log()?;
    let rest = (&shifted + (&largest * -1e30)?)?;
    let second = rest.max_keepdim(1)?.detach();
    let without_largest = (rest.broadcast_sub(&second)?.exp()?.sum_keepdim(1)?.log()? + second)?;
    let not = ((without_one * others)? + largest.broadcast_mul(&without_largest)?)?;
    let hit = (target * shifted.broadcast_sub(&log_sum)?)?;
    let miss = (target.affine(-1.0, 1.0)? * not.broadcast_sub(&log_sum)?)?;
    (hit + miss)?.mean_all()?.neg()
}

/// The mean entropy of the softmax of `logits` `[B, K]`, in nats: `-sum_k p_k ln p_k`. ME-ADA (Zhao et al., 2020) ascends
/// it.
///
/// # Errors
/// Those of the device.
pub fn entropy(logits: &Tensor) -> Result<Tensor> {
    let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?.detach())?;
    let exponentials = shifted.exp()?;
    let sum = exponentials.sum_keepdim(1)?;
    // -ln p = ln sum - shifted, which is finite where p is 0.
    let surprise = sum.log()?.broadcast_sub(&shifted)?;
    (exponentials.broadcast_div(&sum)? * surprise)?.sum(1)?.mean_all()
}

/// The mean Jensen-Shannon divergence of the softmaxes `p` and `q` of two `[B, K]` of logits, in nats, with `m` their mean:
/// `½ sum_k p_k ln(p_k / m_k) + ½ sum_k q_k ln(q_k / m_k)`, at most `ln 2`. AugMix (Hendrycks et al., 2020) and spectral
/// adversarial mixup (Zhang et al., 2023) descend it.
///
/// # Errors
/// If the shapes don't fit.
pub fn jensen_shannon(logits: &Tensor, others: &Tensor) -> Result<Tensor> {
    let logarithms = |logits: &Tensor| {
        let shifted = logits.broadcast_sub(&logits.max_keepdim(1)?.detach())?;
        shifted.broadcast_sub(&shifted.exp()?.sum_keepdim(1)?.log()?)
    };
    let (ln_p, ln_q) = (logarithms(logits)?, logarithms(others)?);
    let (p, q) = (ln_p.exp()?, ln_q.exp()?);
    // Where both are 0 to rounding, their mean has no logarithm, and none is needed.
    let ln_m = ((&p + &q)? * 0.5)?.maximum(f64::from(f32::MIN_POSITIVE))?.log()?;
    let terms = ((p * (ln_p - &ln_m)?)? + (q * (ln_q - &ln_m)?)?)?;
    terms.sum(1)?.mean_all()? * 0.5
}

/// The similarity of Eq. 11: `mean_b(sum_i lambda_i cos(logits_mix, logits[i]))`, each norm at least 1e-8. The generator
/// of the paper *ascends* it.
///
/// # Errors
/// If the shapes don't fit or there aren't as many logits as lambdas.
pub fn cosine(logits_mix: &Tensor, logits: &[Tensor], lambdas: &[f64]) -> Result<Tensor> {
    if logits.len() != lambdas.len() {
        bail!("cosine: {} logits for {} lambdas", logits.len(), lambdas.len());
    }
    weighted_sum(lambdas, |i| cosine_similarity(logits_mix, &logits[i], 1, 1e-8, Reduction::Mean))
}

/// `sum_i lambda_i term(i)`
fn weighted_sum(lambdas: &[f64], term: impl Fn(usize) -> Result<Tensor>) -> Result<Tensor> {
    let mut sum: Option<Tensor> = None;
    for (i, &lambda) in lambdas.iter().enumerate() {
        let term = (term(i)? * lambda)?;
        sum = Some(match sum {
            Some(sum) => (sum + term)?,
            None => term,
        });
    }
    sum.map_or_else(|| bail!("expected at least one lambda"), Ok)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn equal_logits_make_the_four_losses_one() -> Result<()> {
        let logits = Tensor::new(&[[1f32, -1.0, 0.5], [0.0, 2.0, -2.0]], &Device::Cpu)?;
        let (labels, lambdas) = ([vec![0, 1], vec![2, 1]], [0.6, 0.4]);
        let value = |loss: Result<Tensor>| loss?.to_scalar::<f32>();
        let want = 0.6 * value(ce(&logits, &labels[0]))? + 0.4 * value(ce(&logits, &labels[1]))?;
        let same = [logits.clone(), logits.clone()];
        for got in
            [ace(&same, &labels, &lambdas), amce(&logits, &labels, &lambdas), mce(&logits, &labels, &lambdas)]
        {
            assert!((value(got)? - want).abs() < 1e-6);
        }
        assert!((value(cosine(&logits, &same, &lambdas))? - 1.0).abs() < 1e-6);
        Ok(())
    }

    #[test]
    fn bce_is_finite_at_extreme_logits_and_has_slope_sigmoid_minus_target() -> Result<()> {
        let logits = Var::new(&[[0f32, 200.0, -200.0, 0.0]], &Device::Cpu)?;
        let target = Tensor::new(&[[1f32, 0.0, 0.0, 0.25]], &Device::Cpu)?;
        let loss = bce(&logits, &target)?;
        assert!((loss.to_scalar::<f32>()? - (200.0 + 2.0 * 2f32.ln())).abs() < 1e-4);
        let gradients = loss.backward()?;
        let gradient = gradients.get(&logits).map(Tensor::to_vec2::<f32>).transpose()?.unwrap_or_default();
        assert_eq!(gradient, [[-0.5, 1.0, 0.0, 0.25]]);
        Ok(())
    }

    /// Against PyTorch's `BCELoss` of a softmax in 64 bits, which is exact up to logits 30 apart.
    #[test]
    fn binary_of_softmax_is_exact_for_sure_networks_too() -> Result<()> {
        let check = |logits: [f32; 3], target: [f32; 3], value: f64, slope: [f64; 3]| -> Result<()> {
            let logits = Var::new(&[logits], &Device::Cpu)?;
            let loss = binary_of_softmax(&logits, &Tensor::new(&[target], &Device::Cpu)?)?;
            let gradients = loss.backward()?;
            let gradient: Vec<f32> =
                gradients.get(&logits).map_or(Ok(vec![]), |g| g.flatten_all()?.to_vec1())?;
            let found = [gradient.as_slice(), &[loss.to_scalar()?]].concat();
            for (got, want) in found.into_iter().zip(slope.into_iter().chain([value])) {
                assert!(
                    (f64::from(got) - want).abs() <= 2e-6 * want.abs() + 1e-7,
                    "{got} {want} in {gradient:?}"
                );
            }
            assert_eq!(gradient.len(), 3);
            Ok(())
        };
        let slope = [-0.038317725992033, 0.009057751987763, 0.029259974004371];
        check([0.5, -1.25, 2.0], [0.25, 0.0, 0.75], 0.3926218683159955, slope)?;
        let right = [-4.139801066281615e-5, 3.026448762708722e-5, 1.1133523035769843e-5];
        check([10.0, 0.0, -1.0], [1.0, 0.0, 0.0], 4.139954881453183e-5, right)?;
        let wrong = [0.6666666548529527, -0.5770195110550087, -0.08964713462870269];
        check([20.0, 0.0, -1.0], [0.0, 1.0, 0.0], 13.22891275410902, wrong)?;
        // Beyond what PyTorch's can do: its loss is at most 100 for each class, and its gradient is 0 there.
        check([120.0, 0.0, -1.0], [0.0, 1.0, 0.0], (240.0 - 0.31326168751822286) / 3.0, wrong)?;
        check([2.0, 2.0, 2.0], [1.0, 0.0, 0.0], 0.6365141682948128, [-1.0 / 3.0, 1.0 / 6.0, 1.0 / 6.0])
    }

    #[test]
    fn entropy_is_that_of_the_softmax_and_finite_where_a_share_is_nothing() -> Result<()> {
        let logits = Var::new(&[[0f32, 3f32.ln(), -200.0], [1.0, 1.0, 1.0]], &Device::Cpu)?;
        let value = entropy(&logits)?;
        let first = -(0.25 * 0.25f32.ln() + 0.75 * 0.75f32.ln());
        assert!((value.to_scalar::<f32>()? - (first + 3f32.ln()) / 2.0).abs() < 1e-6);
        // dH/dz_k = -p_k (ln p_k + H), here over a batch of two.
        let gradients = value.backward()?;
        let gradient = gradients.get(&logits).map(Tensor::to_vec2::<f32>).transpose()?.unwrap_or_default();
        let expected = [-0.125 * (0.25f32.ln() + first), -0.375 * (0.75f32.ln() + first), 0.0];
        for (got, want) in gradient[0].iter().zip(expected) {
            assert!((got - want).abs() < 1e-6, "{gradient:?}");
        }
        assert!(gradient[1].iter().all(|got| got.abs() < 1e-6), "{gradient:?}");
        Ok(())
    }

    #[test]
    fn lists_of_other_lengths_are_errors() -> Result<()> {
        let logits = Tensor::zeros((1, 2), candle_core::DType::F32, &Device::Cpu)?;
        assert!(amce(&logits, &[vec![0]], &[0.5, 0.5]).is_err());
        assert!(ace(std::slice::from_ref(&logits), &[vec![0], vec![1]], &[0.5, 0.5]).is_err());
        assert!(cosine(&logits, std::slice::from_ref(&logits), &[0.5, 0.5]).is_err());
        assert!(cosine(&logits, &[], &[]).is_err());
        assert!(ce(&logits, &[2]).is_err());
        Ok(())
    }

    #[test]
    fn divergence_is_that_of_the_probabilities_and_nothing_between_equals() -> Result<()> {
        let first = [[0.3f32, -1.2, 2.0], [200.0, 0.0, -200.0], [0.0, 0.0, 0.0]];
        let second = [[1.0f32, 0.5, -0.5], [0.0, 200.0, -200.0], [0.0, 0.0, 0.0]];
        let softmax = |row: [f32; 3]| {
            let exponentials = row.map(|value| (f64::from(value) - 200.0).exp());
            exponentials.map(|value| value / exponentials.iter().sum::<f64>())
        };
        let expected = [0, 1, 2].map(|row| {
            let (p, q) = (softmax(first[row]), softmax(second[row]));
            let term = |a: f64, b: f64| if a > 0.0 { a * (2.0 * a / (a + b)).ln() } else { 0.0 };
            (0..3).map(|k| term(p[k], q[k]) + term(q[k], p[k])).sum::<f64>() / 2.0
        });
        assert!((expected[1] - 2f64.ln()).abs() < 1e-9 && expected[2] == 0.0);
        let (first, second) = (Var::new(&first, &Device::Cpu)?, Var::new(&second, &Device::Cpu)?);
        let divergence = jensen_shannon(&first, &second)?;
        let mean = expected.iter().sum::<f64>() / 3.0;
        assert!((f64::from(divergence.to_scalar::<f32>()?) - mean).abs() < 1e-6, "{divergence}");
        let gradients = divergence.backward()?;
        for logits in [&first, &second] {
            let gradient = gradients.get(logits).map(Tensor::to_vec2::<f32>).transpose()?.unwrap_or_default();
            assert!(gradient.iter().flatten().all(|value| value.is_finite()), "{gradient:?}");
            assert!(gradient[0].iter().any(|value| value.abs() > 1e-3) && gradient[2] == [0.0; 3]);
        }
        Ok(())
    }
}
