//! Loops that the compiler turns into vector code: sums over slices in a fixed order, and the exponential.

/// Runs `f`, and what is inlined into it, compiled for the widest vectors of this machine. Results don't depend on which:
/// the order of every sum is written out, and no multiplication is fused with an addition. A closure that is more than a
/// few lines needs `#[inline(always)]`, or it is compiled as a function of its own, for the oldest machine.
#[inline(always)]
pub(crate) fn vectorised<R>(f: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(f)
}

/// Partial sums kept side by side: enough for the widest vectors, and it keeps rounding errors small.
const LANES: usize = 16;

/// The sum of `f` over pairs of elements, in an order that depends on the length only.
#[inline(always)]
fn fold2(a: &[f32], b: &[f32], f: impl Fn(f32, f32) -> f32) -> f32 {
    debug_assert_eq!(a.len(), b.len());
    let mut lanes = [0f32; LANES];
    let (a_chunks, b_chunks) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    let tail: f32 = a_chunks.remainder().iter().zip(b_chunks.remainder()).map(|(&a, &b)| f(a, b)).sum();
    for (a, b) in a_chunks.zip(b_chunks) {
        for lane in 0..LANES {
            lanes[lane] += f(a[lane], b[lane]);
        }
    }
    lanes.iter().sum::<f32>() + tail
}

/// `sum_i x_i`
#[inline(always)]
pub(crate) fn sum(x: &[f32]) -> f32 {
    fold(x, |x| x)
}

/// `sum_i a_i b_i`
#[inline(always)]
pub(crate) fn dot(a: &[f32], b: &[f32]) -> f32 {
    fold2(a, b, |a, b| a * b)
}

/// `sum_i f(x_i)`
#[inline(always)]
pub(crate) fn fold(x: &[f32], f: impl Fn(f32) -> f32) -> f32 {
    fold2(x, x, |x, _| f(x))
}

/// `sum_i (x_i - centre)²`
#[inline(always)]
pub(crate) fn squared_distance(x: &[f32], centre: f32) -> f32 {
    fold(x, |x| (x - centre) * (x - centre))
}

/// The largest element; negative infinity for none. A NaN is passed over.
#[inline(always)]
pub(crate) fn max(x: &[f32]) -> f32 {
    let mut lanes = [f32::NEG_INFINITY; LANES];
    let chunks = x.chunks_exact(LANES);
    let tail = chunks.remainder().iter().fold(f32::NEG_INFINITY, |m, &x| if x > m { x } else { m });
    for chunk in chunks {
        for lane in 0..LANES {
            lanes[lane] = if chunk[lane] > lanes[lane] { chunk[lane] } else { lanes[lane] };
        }
    }
    lanes.iter().fold(tail, |m, &x| if x > m { x } else { m })
}

/// `y += a x`
#[inline(always)]
pub(crate) fn add_scaled(y: &mut [f32], a: f32, x: &[f32]) {
    debug_assert_eq!(x.len(), y.len());
    for (y, x) in y.iter_mut().zip(x) {
        *y += a * x;
    }
}

/// `eˣ` to two units in the last place, without a branch or a call, so that loops over it become vector code.
///
/// `x = n ln 2 + r` with `|r| <= ln 2 / 2`; a Taylor polynomial gives `eʳ`, and `n` is added to the exponent. Values under
/// the smallest normal number become 0; a NaN stays one.
#[inline(always)]
pub(crate) fn exp(x: f32) -> f32 {
    /// 1.5 · 2²³: adding it rounds to the nearest whole number, which is then in the low bits.
    const ROUND: f32 = 12_582_912.0;
    /// ln 2 in two parts; the product of the first with a small whole number is exact.
    const LN2_HIGH: f32 = 0.693_359_4;
    const LN2_LOW: f32 = -2.121_944_4e-4;
    // Beyond these the result is infinite or not a normal number; comparisons are written so that a NaN passes.
    let clamped = if x > 88.8 { 88.8 } else { x };
    let clamped = if clamped < -87.3 { -87.3 } else { clamped };
    let shifted = clamped * std::f32::consts::LOG2_E + ROUND;
    let n = shifted - ROUND;
    let r = (clamped - n * LN2_HIGH) - n * LN2_LOW;
    let p = 1.0 / 5040.0;
    let p = p * r + 1.0 / 720.0;
    let p = p * r + 1.0 / 120.0;
    let p = p * r + 1.0 / 24.0;
    let p = p * r + 1.0 / 6.0;
    let p = p * r + 0.5;
    let p = p * r + 1.0;
    let p = p * r + 1.0;
    // 2ⁿ in two factors, as n = 128 alone is not representable.
    let n = (shifted.to_bits() as i32).wrapping_sub(ROUND.to_bits() as i32);
    let half = n >> 1;
    let power = |n: i32| f32::from_bits((n.wrapping_add(127) as u32) << 23);
    let y = p * power(half) * power(n.wrapping_sub(half));
    if x < -87.3 { 0.0 } else { y }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_agrees_with_the_library() {
        for i in -8730..8872 {
            let x = i as f32 * 0.01 + 0.003;
            let want = f64::from(x).exp();
            let got = f64::from(exp(x));
            assert!(
                (got - want).abs() <= 2.5e-7 * want || !(want as f32).is_finite(),
                "exp({x}) = {got}, not {want}"
            );
        }
        assert_eq!(exp(0.0), 1.0);
        assert_eq!(exp(f32::NEG_INFINITY), 0.0);
        assert_eq!(exp(f32::INFINITY), f32::INFINITY);
        assert!(exp(f32::NAN).is_nan());
    }

    #[test]
    fn sums_include_the_tail() {
        let x: Vec<f32> = (0..37).map(|i| i as f32).collect();
        assert_eq!(sum(&x), 666.0);
        assert_eq!(dot(&x, &x), 16_206.0);
        assert_eq!(squared_distance(&x, 18.0), 4_218.0);
        assert_eq!(fold(&x, |x| 2.0 * x), 1332.0);
        assert_eq!(max(&x), 36.0);
        assert_eq!(max(&[]), f32::NEG_INFINITY);
    }
}
