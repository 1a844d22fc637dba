//! The fully connected layer.

use crate::buffers::{computed, gradient, on_kernels, with_optional, with_slices};
use crate::node::record;
use adautomix_kernels::linear::{self as kernels, Linear};
use candle_core::{Result, Shape, Tensor, bail};

/// `x · weightᵀ + bias`: `x` `[.., I]`, `weight` `[O, I]`, `bias` `[O]`; the result is `[.., O]`.
///
/// # Errors
/// If the shapes don't fit.
pub fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
    let (outputs, inputs) = weight.dims2()?;
    if x.dims().last() != Some(&inputs) || bias.is_some_and(|bias| bias.dims() != [outputs]) {
        let bias = bias.map(Tensor::dims);
        bail!("linear: {:?} and a bias {bias:?} for a weight {:?}", x.dims(), weight.dims());
    }
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(x) {
        return crate::device::linear::linear(x, weight, bias);
    }
    if !on_kernels(x) {
        return composed::linear(x, weight, bias);
    }
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    let bias = bias.map(Tensor::contiguous).transpose()?;
    let kernel = Linear { inputs, outputs };
    let y = with_optional(bias.as_ref(), |bias| {
        let shape = widened(&x, outputs);
        computed(shape, [&x, &weight], |[x, weight], y| kernel.forward(x, weight, bias, y))
    })?;
    let by_factors = move |x: &Tensor, weight: &Tensor, dy: &Tensor| -> Result<[Option<Tensor>; 2]> {
        let dx = gradient(x, [weight, dy], |[weight, dy], dx| kernel.backward_input(weight, dy, dx))?;
        let dweight = gradient(weight, [x, dy], |[x, dy], dweight| kernel.backward_weight(x, dy, dweight))?;
        Ok([dx, dweight])
    };
    let Some(bias) = bias else {
        let backward = move |[x, weight]: [&Tensor; 2], _: &Tensor, dy: &Tensor| by_factors(x, weight, dy);
        return record("linear", y, [&x, &weight], backward);
    };
    let backward = move |[x, weight, bias]: [&Tensor; 3], _: &Tensor, dy: &Tensor| {
        let [dx, dweight] = by_factors(x, weight, dy)?;
        Ok([dx, dweight, row_sum(bias, dy)?])
    };
    record("linear", y, [&x, &weight, &bias], backward)
}

/// The shape of `x` with another last dimension.
fn widened(x: &Tensor, width: usize) -> Shape {
    let mut dims = x.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = width;
    }
    dims.into()
}

/// The gradient by a bias `[O]` of `dy` `[.., O]`: the sum of its rows.
pub(crate) fn row_sum(bias: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
    if !bias.track_op() {
        return Ok(None);
    }
    let sums = with_slices([dy], |[dy]| Ok(kernels::row_sum(dy, bias.elem_count())))?;
    Tensor::from_vec(sums, bias.shape(), dy.device()).map(Some)
}

mod composed {
    use super::*;

    pub(super) fn linear(x: &Tensor, weight: &Tensor, bias: Option<&Tensor>) -> Result<Tensor> {
        let (outputs, inputs) = weight.dims2()?;
        let y = x.reshape(((), inputs))?.matmul(&weight.t()?)?;
        let y = match bias {
            Some(bias) => y.broadcast_add(bias)?,
            None => y,
        };
        y.reshape(widened(x, outputs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{agrees, values};

    #[test]
    fn sizes_in_and_out_of_step_agree_with_their_composition() -> Result<()> {
        for (rows, inputs, outputs) in [(3, 5, 7), (70, 64, 40), (1, 33, 100), (600, 32, 8)] {
            agrees(&[&[rows, inputs], &[outputs, inputs], &[outputs]], |x| {
                linear(&x[0], &x[1], Some(&x[2]))
            })?;
        }
        agrees(&[&[2, 9, 4, 6], &[3, 6]], |x| linear(&x[0], &x[1], None))
    }

    #[test]
    fn many_rows_are_summed_in_parts() -> Result<()> {
        agrees(&[&[9000, 4], &[3, 4], &[3]], |x| linear(&x[0], &x[1], Some(&x[2]))? / 100.0)
    }

    #[test]
    fn shapes_that_do_not_fit_are_errors() -> Result<()> {
        let (x, weight, bias) = (values(&[2, 3], 1)?, values(&[4, 3], 2)?, values(&[3], 3)?);
        assert!(linear(&x, &weight, Some(&bias)).is_err() && linear(&weight.t()?, &weight, None).is_err());
        Ok(())
    }
}
