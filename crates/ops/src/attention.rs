//! Multi-head self-attention, whole: products, bias, mask, softmax.

use crate::buffers::{computed, gradient, on_kernels, with_optional};
use crate::node::{record, record1};
use adautomix_kernels::multi_head::MultiHead;
use candle_core::{D, Result, Tensor, bail};

/// Attends among the `T` tokens of each sequence. `qkv` `[B, T, 3 C]` holds queries, keys and values, each of `heads` heads
/// behind one another; the result is `[B, T, C]`. Products of queries and keys are divided by the root of a head's
/// channels; then `bias` `[heads, T, T]` is added, and the constant `mask` `[W, T, T]`, which belongs to the sequences
/// `b` with `b % W`: those are the windows of one picture.
///
/// # Errors
/// If the shapes don't fit.
pub fn attention(qkv: &Tensor, heads: usize, bias: Option<&Tensor>, mask: Option<&Tensor>) -> Result<Tensor> {
    let (batch, tokens, channels) = qkv.dims3()?;
    if heads == 0 || channels % (3 * heads) != 0 {
        bail!("attention: {channels} channels for queries, keys and values of {heads} heads");
    }
    if bias.is_some_and(|bias| bias.dims() != [heads, tokens, tokens]) {
        bail!("attention: expected a bias {:?}, got {:?}", [heads, tokens, tokens], bias.map(Tensor::dims));
    }
    if let Some(mask) = mask {
        let (windows, rows, columns) = mask.dims3()?;
        if (rows, columns) != (tokens, tokens) || windows == 0 || batch % windows != 0 {
            bail!("attention: a mask {:?} for {batch} sequences of {tokens} tokens", mask.dims());
        }
    }
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(qkv) {
        return crate::device::attention::attention(qkv, heads, bias, mask);
    }
    if !on_kernels(qkv) {
        return composed::attention(qkv, heads, bias, mask);
    }
    let mask = mask.map(|mask| mask.flatten_all()?.to_vec1::<f32>()).transpose()?;
    let (qkv, bias) = (qkv.contiguous()?, bias.map(Tensor::contiguous).transpose()?);
    let width = channels / 3 / heads;
    let kernel = MultiHead { heads, tokens, width, mask: mask.as_deref() };
    let y = with_optional(bias.as_ref(), |bias| {
        computed((batch, tokens, channels / 3), [&qkv], |[qkv], y| kernel.forward(qkv, bias, y))
    })?;
    let Some(bias) = bias else {
        let backward = move |qkv: &Tensor, _: &Tensor, dy: &Tensor| {
            let kernel = MultiHead { heads, tokens, width, mask: mask.as_deref() };
            gradient(qkv, [qkv, dy], |[qkv, dy], dqkv| {
                kernel.backward(qkv, None, dy, dqkv);
            })
        };
        return record1("attention", y, &qkv, backward);
    };
    let backward = move |[qkv, bias]: [&Tensor; 2], _: &Tensor, dy: &Tensor| {
        let kernel = MultiHead { heads, tokens, width, mask: mask.as_deref() };
        let mut dbias = None;
        let dqkv = computed(qkv.shape(), [qkv, bias, dy], |[qkv, bias, dy], dqkv| {
            dbias = kernel.backward(qkv, Some(bias), dy, dqkv);
        })?;
        let dbias = dbias.map(|dbias| Tensor::from_vec(dbias, bias.shape(), bias.device())).transpose()?;
        Ok([Some(dqkv.tensor()), dbias])
    };
    record("attention", y, [&qkv, &bias], backward)
}

/// The weights with which each token attends to each, `[B, heads, T, T]`, for `qkv` `[B, T, 3 C]` and `bias` as in
/// [`attention`], outside the graph.
///
/// # Errors
/// If the shapes don't fit.
pub fn attention_map(qkv: &Tensor, heads: usize, bias: Option<&Tensor>) -> Result<Tensor> {
    composed::weights(&qkv.detach(), heads, bias.map(Tensor::detach).as_ref(), None)
}

mod composed {
    use super::*;

    pub(super) fn attention(
        qkv: &Tensor,
        heads: usize,
        bias: Option<&Tensor>,
        mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (batch, tokens, channels) = qkv.dims3()?;
        let weights = weights(qkv, heads, bias, mask)?;
        weights.matmul(&part(qkv, heads, 2)?)?.transpose(1, 2)?.reshape((batch, tokens, channels / 3))
    }

    /// Queries (0), keys (1) or values (2), `[B, heads, T, C / heads]`.
    fn part(qkv: &Tensor, heads: usize, index: usize) -> Result<Tensor> {
        let (batch, tokens, channels) = qkv.dims3()?;
        let part = qkv.narrow(2, index * channels / 3, channels / 3)?;
        part.reshape((batch, tokens, heads, channels / 3 / heads))?.transpose(1, 2)?.contiguous()
    }

    pub(super) fn weights(
        qkv: &Tensor,
        heads: usize,
        bias: Option<&Tensor>,
        mask: Option<&Tensor>,
    ) -> Result<Tensor> {
        let (batch, tokens, channels) = qkv.dims3()?;
        let width = channels / 3 / heads;
        let (queries, keys) = ((part(qkv, heads, 0)? / (width as f64).sqrt())?, part(qkv, heads, 1)?);
        let mut scores = queries.matmul(&keys.transpose(2, 3)?)?;
        if let Some(bias) = bias {
            scores = scores.broadcast_add(bias)?;
        }
        if let Some(mask) = mask {
            let windows = mask.dim(0)?;
            let grouped = scores.reshape((batch / windows, windows, heads, tokens, tokens))?;
            let mask = mask.reshape((1, windows, 1, tokens, tokens))?;
            scores = grouped.broadcast_add(&mask)?.reshape((batch, heads, tokens, tokens))?;
        }
        softmax(&scores)
    }

    /// Softmax over the last dimension, with a backward.
    fn softmax(x: &Tensor) -> Result<Tensor> {
        let shifted = x.broadcast_sub(&x.max_keepdim(D::Minus1)?.detach())?.exp()?;
        shifted.broadcast_div(&shifted.sum_keepdim(D::Minus1)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::agrees;
    use candle_core::Device;

    #[test]
    fn heads_of_any_width_agree_with_their_composition() -> Result<()> {
        // A panel is 32 tokens or channels: below, at, and beyond it.
        for (tokens, heads, width) in [(5, 2, 3), (33, 1, 32), (9, 2, 40)] {
            agrees(&[&[3, tokens, 3 * heads * width]], |x| attention(&x[0], heads, None, None))?;
        }
        Ok(())
    }

    #[test]
    fn windows_have_a_bias_and_a_mask() -> Result<()> {
        let mask: Vec<f32> = (0..2 * 36).map(|i| if i % 5 == 0 { -100.0 } else { 0.0 }).collect();
        agrees(&[&[4, 6, 24], &[2, 6, 6]], |x| {
            let mask = Tensor::from_vec(mask.clone(), (2, 6, 6), &Device::Cpu)?.to_dtype(x[0].dtype())?;
            attention(&x[0], 2, Some(&x[1]), Some(&mask))
        })
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() -> Result<()> {
        let qkv = Tensor::zeros((4, 6, 24), candle_core::DType::F32, &Device::Cpu)?;
        let square = |n: usize, side: usize| Tensor::zeros((n, side, side), qkv.dtype(), qkv.device());
        assert!(attention(&qkv, 3, None, None).is_err());
        assert!(attention(&qkv, 2, Some(&square(3, 6)?), None).is_err());
        assert!(attention(&qkv, 2, None, Some(&square(3, 6)?)).is_err());
        assert!(attention(&qkv, 2, Some(&square(2, 6)?), Some(&square(4, 6)?)).is_ok());
        Ok(())
    }
}
