//! The layers of networks whose maps are tokens, channels last.

use adautomix_ops::{gelu, layer_norm, linear};
use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

/// The deviation that weights of transformers and ConvNeXt start with.
pub(crate) const DEVIATION: f64 = 0.02;

/// A fully connected layer over the last dimension, `weight` `[outputs, inputs]`, with or without `bias`.
pub(crate) struct Dense {
    weight: Tensor,
    bias: Option<Tensor>,
}

impl Dense {
    pub(crate) fn new(inputs: usize, outputs: usize, with_bias: bool, vb: &VarBuilder<'_>) -> Result<Self> {
        let init = Init::Randn { mean: 0.0, stdev: DEVIATION };
        Ok(Self {
            weight: vb.get_with_hints((outputs, inputs), "weight", init)?,
            bias: with_bias.then(|| vb.get_with_hints(outputs, "bias", Init::Const(0.0))).transpose()?,
        })
    }

    /// `[.., inputs]` to `[.., outputs]`.
    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        linear(x, &self.weight, self.bias.as_ref())
    }
}

/// Layer norm over the last dimension.
pub(crate) struct Norm {
    weight: Tensor,
    bias: Tensor,
    eps: f64,
}

impl Norm {
    pub(crate) fn new(channels: usize, eps: f64, vb: &VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            weight: vb.get_with_hints(channels, "weight", Init::Const(1.0))?,
            bias: vb.get_with_hints(channels, "bias", Init::Const(0.0))?,
            eps,
        })
    }

    /// The same norm with weights that nothing trains.
    pub(crate) fn detached(self) -> Self {
        Self { weight: self.weight.detach(), bias: self.bias.detach(), ..self }
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        layer_norm(x, &self.weight, &self.bias, self.eps)
    }
}

/// Two fully connected layers with a GELU between them; the hidden layer is four times as wide.
pub(crate) struct Mlp {
    fc1: Dense,
    fc2: Dense,
}

impl Mlp {
    pub(crate) fn new(channels: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            fc1: Dense::new(channels, 4 * channels, true, &vb.pp("fc1"))?,
            fc2: Dense::new(4 * channels, channels, true, &vb.pp("fc2"))?,
        })
    }

    pub(crate) fn forward(&self, x: &Tensor) -> Result<Tensor> {
        self.fc2.forward(&gelu(&self.fc1.forward(x)?)?)
    }
}

/// How many blocks come before a stage, and how many there are.
pub(crate) fn before(depths: &[usize], stage: usize) -> (usize, usize) {
    (depths[..stage].iter().sum(), depths.iter().sum())
}
