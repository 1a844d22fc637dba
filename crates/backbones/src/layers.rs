//! A convolution and the batch norm behind it, which residual networks always have in this order.

use adautomix_ops::{ConvSpec, Epilogue, batch_norm_eval, batch_norm_train, conv2d};
use candle_core::{Result, Tensor};
use candle_nn::{Init, VarBuilder};

use crate::{Mode, Pass};

const EPS: f64 = 1e-5;

/// What a batch norm's weight starts at.
#[derive(Clone, Copy)]
pub(crate) enum NormStart {
    /// As usual.
    One,
    /// The last one of a residual block: the block starts as the identity (goldens' `nets.md`).
    Zero,
}

/// A convolution without bias, batch norm, and an epilogue.
pub(crate) struct ConvNorm {
    weight: Tensor,
    spec: ConvSpec,
    norm: BatchNorm,
}

impl ConvNorm {
    /// A `kernel`-sided convolution from `channels.0` to `channels.1` channels, padded so that stride 1 keeps the size.
    /// `conv` and `norm` are the two layers' own places in the state dict.
    pub(crate) fn new(
        channels: (usize, usize),
        kernel: usize,
        spec: ConvSpec,
        start: NormStart,
        conv: &VarBuilder<'_>,
        norm: &VarBuilder<'_>,
    ) -> Result<Self> {
        let (input, output) = channels;
        // Kaiming normal by fan-out. PyTorch counts all outputs here, also of a grouped convolution.
        let init = Init::Randn { mean: 0.0, stdev: (2.0 / (output * kernel * kernel) as f64).sqrt() };
        let weight = conv.get_with_hints((output, input / spec.groups, kernel, kernel), "weight", init)?;
        Ok(Self { weight, spec, norm: BatchNorm::new(output, start, norm)? })
    }

    /// `x` `[B, C, H, W]` through all three.
    pub(crate) fn forward(&self, x: &Tensor, epilogue: Epilogue<'_>, pass: &mut Pass) -> Result<Tensor> {
        self.norm.forward(&conv2d(x, &self.weight, None, &self.spec)?, epilogue, pass)
    }
}

struct BatchNorm {
    weight: Tensor,
    bias: Tensor,
    running_mean: Tensor,
    running_var: Tensor,
}

impl BatchNorm {
    fn new(channels: usize, start: NormStart, vb: &VarBuilder<'_>) -> Result<Self> {
        let start = match start {
            NormStart::One => 1.0,
            NormStart::Zero => 0.0,
        };
        let get = |name, value| vb.get_with_hints(channels, name, Init::Const(value));
        Ok(Self {
            weight: get("weight", start)?,
            bias: get("bias", 0.0)?,
            // Detached, they are constants to the gradient and still share the builder's memory.
            running_mean: get("running_mean", 0.0)?.detach(),
            running_var: get("running_var", 1.0)?.detach(),
        })
    }

    fn forward(&self, x: &Tensor, epilogue: Epilogue<'_>, pass: &mut Pass) -> Result<Tensor> {
        let Self { weight, bias, running_mean, running_var } = self;
        match pass.mode() {
            Mode::Eval => batch_norm_eval(x, weight, bias, running_mean, running_var, EPS, epilogue),
            Mode::Train => {
                let (y, moments) = batch_norm_train(x, weight, bias, EPS, epilogue)?;
                pass.record(moments, running_mean, running_var);
                Ok(y)
            }
        }
    }
}
