//! Cosine similarity.

use candle_core::{Result, Tensor};

use crate::Reduction;

/// `x · y / (max(|x|, eps) max(|y|, eps))` along `dim`, which the result no longer has, or the mean of all of them; finite, with
/// a finite gradient, also for zero vectors.
///
/// # Errors
/// If the shapes don't fit.
pub fn cosine_similarity(
    x: &Tensor,
    y: &Tensor,
    dim: usize,
    eps: f64,
    reduction: Reduction,
) -> Result<Tensor> {
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(x) && x.rank() == 2 && dim == 1 && x.dims() == y.dims() {
        return crate::device::cosine::cosine_similarity(x, y, eps, reduction);
    }
    // The bound goes inside the root, whose slope at 0 is infinite.
    let norm = |x: &Tensor| x.sqr()?.sum(dim)?.maximum(eps * eps)?.sqrt();
    let similarity = ((x * y)?.sum(dim)? / (norm(x)? * norm(y)?)?)?;
    match reduction {
        Reduction::None => Ok(similarity),
        Reduction::Mean => similarity.mean_all(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    #[test]
    fn a_zero_vector_has_similarity_zero_and_a_finite_gradient() -> Result<()> {
        let x = Var::new(&[[0f32, 0.0], [3.0, 4.0]], &Device::Cpu)?;
        let y = Tensor::new(&[[1f32, 0.0], [4.0, 3.0]], &Device::Cpu)?;
        let similarity = cosine_similarity(&x, &y, 1, 1e-8, Reduction::None)?;
        assert_eq!(similarity.to_vec1::<f32>()?, [0.0, 0.96]);
        let gradients = similarity.sum_all()?.backward()?;
        let gradient = gradients.get(&x).map(Tensor::to_vec2::<f32>).transpose()?.unwrap_or_default();
        assert_eq!(gradient[0], [1e8, 0.0]);
        assert!(
            (gradient[1][0] - 0.0448).abs() < 1e-6 && (gradient[1][1] + 0.0336).abs() < 1e-6,
            "{gradient:?}"
        );
        Ok(())
    }
}
