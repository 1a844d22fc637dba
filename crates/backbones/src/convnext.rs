//! ConvNeXt (Liu et al., CVPR 2022).

use adautomix_ops::{ConvSpec, channels_first, channels_last, conv2d, depthwise_conv7, global_avg_pool};
use candle_core::{Result, Tensor, bail};
use candle_nn::{Init, VarBuilder};

use crate::tokens::{DEVIATION, Mlp, Norm, before};
use crate::{Backbone, Pass, Stem};

const EPS: f64 = 1e-6;

/// What the layer scale starts with.
const LAYER_SCALE: f64 = 1e-6;

/// The sizes of a ConvNeXt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConvNextConfig {
    /// Blocks in each stage.
    pub depths: Vec<usize>,
    /// Channels of each stage.
    pub dims: Vec<usize>,
    /// A 4×4 convolution of stride 4, or for small pictures 3×3 of stride 1.
    pub stem: Stem,
}

/// A ConvNeXt without its classifier; names as in timm (`stem.0`, `stages.0.blocks.0.conv_dw`, `head.norm`).
pub struct ConvNext {
    config: ConvNextConfig,
    stem: Conv,
    stem_norm: Norm,
    stages: Vec<Stage>,
    norm: Norm,
}

/// A convolution with bias.
struct Conv {
    weight: Tensor,
    bias: Tensor,
    spec: ConvSpec,
}

impl Conv {
    fn new(channels: [usize; 2], kernel: usize, spec: ConvSpec, vb: &VarBuilder<'_>) -> Result<Self> {
        let [input, output] = channels;
        let init = Init::Randn { mean: 0.0, stdev: DEVIATION };
        Ok(Self {
            weight: vb.get_with_hints((output, input / spec.groups, kernel, kernel), "weight", init)?,
            bias: vb.get_with_hints(output, "bias", Init::Const(0.0))?,
            spec,
        })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        conv2d(x, &self.weight, Some(&self.bias), &self.spec)
    }
}

struct Stage {
    downsample: Option<(Norm, Conv)>,
    blocks: Vec<Block>,
}

struct Block {
    gamma: Tensor,
    depthwise: (Tensor, Tensor),
    norm: Norm,
    mlp: Mlp,
}

impl Block {
    fn new(channels: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let (depthwise, init) = (vb.pp("conv_dw"), Init::Randn { mean: 0.0, stdev: DEVIATION });
        Ok(Self {
            gamma: vb.get_with_hints(channels, "gamma", Init::Const(LAYER_SCALE))?,
            depthwise: (
                depthwise.get_with_hints((channels, 1, 7, 7), "weight", init)?,
                depthwise.get_with_hints(channels, "bias", Init::Const(0.0))?,
            ),
            norm: Norm::new(channels, EPS, &vb.pp("norm"))?,
            mlp: Mlp::new(channels, &vb.pp("mlp"))?,
        })
    }

    /// `[B, H, W, C]` to the same; `place` is the block's number and how many there are.
    fn forward(&self, x: &Tensor, place: [usize; 2], pass: &mut Pass) -> Result<Tensor> {
        let (weight, bias) = &self.depthwise;
        let y = self.norm.forward(&depthwise_conv7(x, weight, bias)?)?;
        pass.residual(x, &self.mlp.forward(&y)?, Some(&self.gamma), place)
    }
}

impl ConvNext {
    /// Builds the network, asking `vb` for tensors in the order of timm's state dict.
    ///
    /// # Errors
    /// If `vb` has no such tensors, or the configuration contradicts itself.
    pub fn new(config: ConvNextConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        if config.depths.len() < 2 || config.depths.len() != config.dims.len() {
            bail!("a ConvNeXt needs depths and dims of two stages or more, got {config:?}");
        }
        let (kernel, spec) = match config.stem {
            Stem::Imagenet => (4, ConvSpec::new(4, 0)),
            Stem::Cifar => (3, ConvSpec::new(1, 1)),
        };
        let stem = Conv::new([3, config.dims[0]], kernel, spec, &vb.pp("stem.0"))?;
        let stem_norm = Norm::new(config.dims[0], EPS, &vb.pp("stem.1"))?;
        let mut stages = Vec::with_capacity(config.dims.len());
        for (index, (&depth, &channels)) in config.depths.iter().zip(&config.dims).enumerate() {
            let vb = vb.pp(format!("stages.{index}"));
            let downsample = match index {
                0 => None,
                _ => {
                    let (before, vb) = (config.dims[index - 1], vb.pp("downsample"));
                    let norm = Norm::new(before, EPS, &vb.pp(0))?;
                    Some((norm, Conv::new([before, channels], 2, ConvSpec::new(2, 0), &vb.pp(1))?))
                }
            };
            let block = |block| Block::new(channels, &vb.pp(format!("blocks.{block}")));
            let blocks = (0..depth).map(block).collect::<Result<_>>()?;
            stages.push(Stage { downsample, blocks });
        }
        let norm = Norm::new(config.dims[config.dims.len() - 1], EPS, &vb.pp("head.norm"))?;
        Ok(Self { config, stem, stem_norm, stages, norm })
    }
}

impl Backbone for ConvNext {
    fn stem(&self, images: &Tensor, _: &mut Pass) -> Result<Tensor> {
        channels_first(&self.stem_norm.forward(&channels_last(&self.stem.forward(images)?)?)?)
    }

    fn stage(&self, index: usize, x: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let Some(stage) = self.stages.get(index) else {
            bail!("stage {index} asked of a network with {}", self.stages.len());
        };
        let x = match &stage.downsample {
            None => x.clone(),
            Some((norm, conv)) => conv.forward(&channels_first(&norm.forward(&channels_last(x)?)?)?)?,
        };
        let (before, all) = before(&self.config.depths, index);
        let mut blocks = (before..).zip(&stage.blocks);
        let x = channels_last(&x)?;
        channels_first(&blocks.try_fold(x, |x, (number, block)| block.forward(&x, [number, all], pass))?)
    }

    fn stages(&self) -> usize {
        self.stages.len()
    }

    fn channels(&self, stage: usize) -> usize {
        self.config.dims[stage]
    }

    fn stride(&self, stage: usize) -> usize {
        let stem = match self.config.stem {
            Stem::Imagenet => 4,
            Stem::Cifar => 1,
        };
        stem << stage
    }

    fn pool(&self, hidden: &Tensor) -> Result<Tensor> {
        self.norm.forward(&global_avg_pool(hidden)?)
    }

    fn head_name(&self) -> &'static str {
        "head.fc"
    }
}
