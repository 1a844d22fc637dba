//! The fully connected layer.

use crate::custom::{detached, on_kernels, output, slice, with_slices};
use adautomix_kernels::linear::Linear as Kernel;
use candle_core::{CpuStorage, CustomOp2, CustomOp3, D, Layout, Result, Shape, Tensor, bail};

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
    if !on_kernels(x) {
        return composed::linear(x, weight, bias);
    }
    let (x, weight) = (x.contiguous()?, weight.contiguous()?);
    match bias {
        Some(bias) => x.apply_op3(&weight, &bias.contiguous()?, Linear),
        None => x.apply_op2(&weight, Linear),
    }
}

struct Linear;

fn kernel(weight: &Shape) -> Result<Kernel> {
    let (outputs, inputs) = weight.dims2()?;
    Ok(Kernel { inputs, outputs })
}

fn forward(
    (x, x_layout): (&CpuStorage, &Layout),
    (weight, weight_layout): (&CpuStorage, &Layout),
    bias: Option<&[f32]>,
) -> Result<(CpuStorage, Shape)> {
    let (kernel, x) = (kernel(weight_layout.shape())?, slice(x, x_layout)?);
    let mut dims = x_layout.dims().to_vec();
    if let Some(last) = dims.last_mut() {
        *last = kernel.outputs;
    }
    let shape = Shape::from(dims);
    let mut y = vec![0.0; shape.elem_count()];
    kernel.forward(x, slice(weight, weight_layout)?, bias, &mut y);
    output(y, shape)
}

/// The sum of the rows of a contiguous `dy` `[.., O]`: the gradient by a bias.
pub(crate) fn row_sum(dy: &Tensor) -> Result<Tensor> {
    let width = dy.dim(D::Minus1)?;
    let sums = with_slices([dy], |[dy]| Ok(adautomix_kernels::linear::row_sum(dy, width)))?;
    Tensor::from_vec(sums, width, dy.device())
}

/// The gradients by `x` and the weight.
fn backward(x: &Tensor, weight: &Tensor, dy: &Tensor) -> Result<[Option<Tensor>; 2]> {
    let kernel = kernel(weight.shape())?;
    let (mut dx, mut dweight) = (None, None);
    with_slices([x, weight, dy], |[data, scale, dy]| {
        if x.track_op() {
            let mut gradient = vec![0.0; data.len()];
            kernel.backward_input(scale, dy, &mut gradient);
            dx = Some(Tensor::from_vec(gradient, x.shape(), x.device())?);
        }
        if weight.track_op() {
            let mut gradient = vec![0.0; scale.len()];
            kernel.backward_weight(data, dy, &mut gradient);
            dweight = Some(Tensor::from_vec(gradient, weight.shape(), x.device())?);
        }
        Ok(())
    })?;
    Ok([dx, dweight])
}

impl CustomOp2 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        forward((x, x_layout), (weight, weight_layout), None)
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [dx, dweight] = backward(x, weight, &detached(dy)?)?;
        Ok((dx, dweight))
    }
}

impl CustomOp3 for Linear {
    fn name(&self) -> &'static str {
        "linear"
    }

    fn cpu_fwd(
        &self,
        x: &CpuStorage,
        x_layout: &Layout,
        weight: &CpuStorage,
        weight_layout: &Layout,
        bias: &CpuStorage,
        bias_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        forward((x, x_layout), (weight, weight_layout), Some(slice(bias, bias_layout)?))
    }

    fn bwd(
        &self,
        x: &Tensor,
        weight: &Tensor,
        bias: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let dy = detached(dy)?;
        let [dx, dweight] = backward(x, weight, &dy)?;
        let dbias = match bias.track_op() {
            true => Some(row_sum(&dy)?),
            false => None,
        };
        Ok((dx, dweight, dbias))
    }
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
        let mut dims = x.dims().to_vec();
        if let Some(last) = dims.last_mut() {
            *last = outputs;
        }
        y.reshape(dims)
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
