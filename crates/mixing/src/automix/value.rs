//! The value of the attention: one number for each position.

use super::block::{CONVOLUTION, INIT};
use crate::Result;
use adautomix_ops::{Epilogue, batch_norm_eval, batch_norm_train, conv2d, update_statistics};
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};

/// What the share of a new batch in the running statistics is, as PyTorch has it.
const MOMENTUM: f64 = 0.1;
const EPS: f64 = 1e-5;

/// What the value is computed of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ValueInput {
    /// The partner's features.
    Partner,
    /// The partner's features and a plane of its ratio.
    PartnerAndRatio,
    /// The features of both images.
    Both,
}

/// The network of the value.
pub(super) enum Value {
    /// A 1×1 convolution.
    Convolution { weight: Tensor, bias: Tensor },
    /// 1×1 convolution, batch norm, ELU, 1×1 convolution; SAMix's.
    Neck { first: Tensor, norm: Norm, last: Tensor },
}

pub(super) struct Norm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl Value {
    /// From `weight` and `bias`, or with `hidden` channels from `0.weight`, `0.bn.*` and `1.weight`.
    pub(super) fn new(input: usize, hidden: Option<usize>, vb: &VarBuilder<'_>) -> Result<Self> {
        let Some(hidden) = hidden else {
            return Ok(Self::Convolution {
                weight: vb.get_with_hints((1, input, 1, 1), "weight", INIT)?,
                bias: vb.get_with_hints(1, "bias", Init::Const(0.0))?,
            });
        };
        let norm = |name, start| vb.pp("0.bn").get_with_hints(hidden, name, Init::Const(start));
        Ok(Self::Neck {
            first: vb.get_with_hints((hidden, input, 1, 1), "0.weight", INIT)?,
            norm: Norm {
                weight: norm("weight", 1.0)?,
                bias: norm("bias", 0.0)?,
                // Detached, they are constants to the gradient and still share the builder's memory.
                running_mean: norm("running_mean", 0.0)?.detach(),
                running_var: norm("running_var", 1.0)?.detach(),
            },
            last: vb.get_with_hints((1, hidden, 1, 1), "1.weight", INIT)?,
        })
    }

    /// `[B, C, h, w]` to `[B, 1, h, w]`.
    pub(super) fn forward(&self, x: &Tensor, training: bool) -> Result<Tensor> {
        match self {
            Self::Convolution { weight, bias } => Ok(conv2d(x, weight, Some(bias), &CONVOLUTION)?),
            Self::Neck { first, norm, last } => {
                let hidden = norm.forward(&conv2d(x, first, None, &CONVOLUTION)?, training)?;
                Ok(conv2d(&hidden.elu(1.0)?, last, None, &CONVOLUTION)?)
            }
        }
    }
}

impl Norm {
    fn forward(&self, x: &Tensor, training: bool) -> Result<Tensor> {
        let Self { weight, bias, running_mean, running_var } = self;
        if !training {
            return Ok(batch_norm_eval(x, weight, bias, running_mean, running_var, EPS, Epilogue::None)?);
        }
        let (y, moments) = batch_norm_train(x, weight, bias, EPS, Epilogue::None)?;
        update_statistics(&[(&moments, [running_mean, running_var])], MOMENTUM, 1)?;
        Ok(y)
    }
}
