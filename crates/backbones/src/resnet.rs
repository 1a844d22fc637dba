//! Residual networks: every ResNet and ResNeXt is this one type.

use adautomix_ops::{ConvSpec, Epilogue, global_avg_pool, into_bf16, into_planes, max_pool2d};
use candle_core::{DType, Result, Tensor, bail};
use candle_nn::VarBuilder;

use crate::layers::{ConvNorm, NormStart};
use crate::{Backbone, Block, Pass, ResNetConfig, Stem};

/// A residual network without its head; names as in torchvision (`conv1`, `layer1.0.bn2`, `layer2.0.downsample.0`).
pub struct ResNet {
    config: ResNetConfig,
    stem: ConvNorm,
    stages: Vec<Vec<Residual>>,
    dtype: DType,
}

impl ResNet {
    /// Builds the network, asking `vb` for tensors in the order of PyTorch's state dict.
    ///
    /// # Errors
    /// If `vb` has no such tensors, or the configuration contradicts itself.
    pub fn new(config: ResNetConfig, vb: &VarBuilder<'_>) -> Result<Self> {
        if config.layers.len() < 2 || config.layers.contains(&0) || config.width == 0 {
            bail!("a residual network needs two stages or more of one block or more, got {config:?}");
        }
        if config.block == Block::Basic && (config.groups, config.width_per_group) != (1, 64) {
            bail!("basic blocks have one group of width 64, got {config:?}");
        }
        if config.inner(0) == 0 {
            bail!("a bottleneck's groups need a channel each, got {config:?}");
        }
        let (kernel, spec) = match config.stem {
            Stem::Imagenet => (7, ConvSpec::new(2, 3)),
            Stem::Cifar => (3, ConvSpec::new(1, 1)),
        };
        let stem =
            ConvNorm::new((3, config.width), kernel, spec, NormStart::One, &vb.pp("conv1"), &vb.pp("bn1"))?;
        let mut input = config.width;
        let mut stages = Vec::with_capacity(config.layers.len());
        for (stage, &blocks) in config.layers.iter().enumerate() {
            let vb = vb.pp(format!("layer{}", stage + 1));
            let mut residuals = Vec::with_capacity(blocks);
            for block in 0..blocks {
                let stride = if stage > 0 && block == 0 { 2 } else { 1 };
                residuals.push(Residual::new(&config, stage, input, stride, &vb.pp(block))?);
                input = config.output(stage);
            }
            stages.push(residuals);
        }
        Ok(Self { config, stem, stages, dtype: DType::F32 })
    }
}

impl ResNet {
    /// A map in the type that is computed in.
    fn enter(&self, map: &Tensor) -> Result<Tensor> {
        match self.dtype {
            DType::BF16 => into_bf16(map),
            _ => Ok(map.clone()),
        }
    }
}

impl Backbone for ResNet {
    fn stem(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let x = self.stem.forward(&self.enter(images)?, Epilogue::Relu, pass)?;
        match self.config.stem {
            Stem::Imagenet => max_pool2d(&x, [3, 3], [2, 2], [1, 1]),
            Stem::Cifar => Ok(x),
        }
    }

    fn stage(&self, index: usize, x: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let Some(blocks) = self.stages.get(index) else {
            bail!("stage {index} asked of a network with {}", self.stages.len());
        };
        blocks.iter().try_fold(self.enter(x)?, |x, block| block.forward(&x, pass))
    }

    fn stages(&self) -> usize {
        self.stages.len()
    }

    fn channels(&self, stage: usize) -> usize {
        self.config.output(stage)
    }

    fn stride(&self, stage: usize) -> usize {
        let stem = match self.config.stem {
            Stem::Imagenet => 4,
            Stem::Cifar => 1,
        };
        stem << stage
    }

    fn map(&self, _: usize, hidden: &Tensor) -> Result<Tensor> {
        into_planes(hidden)
    }

    fn compute_in(&mut self, dtype: DType) -> Result<()> {
        if !matches!(dtype, DType::F32 | DType::BF16) {
            bail!("a residual network computes in f32 or bf16, not {dtype:?}");
        }
        self.dtype = dtype;
        Ok(())
    }

    fn pool(&self, map: &Tensor) -> Result<Tensor> {
        global_avg_pool(map)
    }
}

impl ResNetConfig {
    /// The channels between a block's convolutions.
    fn inner(&self, stage: usize) -> usize {
        let width = self.width << stage;
        match self.block {
            Block::Basic => width,
            Block::Bottleneck => width * self.width_per_group / 64 * self.groups,
        }
    }

    /// The channels of a stage's map.
    fn output(&self, stage: usize) -> usize {
        match self.block {
            Block::Basic => self.width << stage,
            Block::Bottleneck => 4 * (self.width << stage),
        }
    }
}

/// A residual block: convolutions, and a projection where the shape changes.
struct Residual {
    convs: Vec<ConvNorm>,
    downsample: Option<ConvNorm>,
}

impl Residual {
    fn new(
        config: &ResNetConfig,
        stage: usize,
        input: usize,
        stride: usize,
        vb: &VarBuilder<'_>,
    ) -> Result<Self> {
        let (inner, output) = (config.inner(stage), config.output(stage));
        // Kernel, channels and specification of each convolution in turn.
        let plan = match config.block {
            Block::Basic => {
                vec![(3, (input, inner), ConvSpec::new(stride, 1)), (3, (inner, output), ConvSpec::new(1, 1))]
            }
            Block::Bottleneck => vec![
                (1, (input, inner), ConvSpec::new(1, 0)),
                (3, (inner, inner), ConvSpec::new(stride, 1).groups(config.groups)),
                (1, (inner, output), ConvSpec::new(1, 0)),
            ],
        };
        let last = plan.len();
        let mut convs = Vec::with_capacity(last);
        for (number, (kernel, channels, spec)) in (1..).zip(plan) {
            let start = if number == last { NormStart::Zero } else { NormStart::One };
            let (conv, norm) = (vb.pp(format!("conv{number}")), vb.pp(format!("bn{number}")));
            convs.push(ConvNorm::new(channels, kernel, spec, start, &conv, &norm)?);
        }
        let downsample = if stride != 1 || input != output {
            let vb = vb.pp("downsample");
            let spec = ConvSpec::new(stride, 0);
            Some(ConvNorm::new((input, output), 1, spec, NormStart::One, &vb.pp(0), &vb.pp(1))?)
        } else {
            None
        };
        Ok(Self { convs, downsample })
    }

    fn forward(&self, x: &Tensor, pass: &mut Pass) -> Result<Tensor> {
        let (last, first) = self.convs.split_last().expect("a block has convolutions");
        let hidden = first.iter().try_fold(x.clone(), |x, conv| conv.forward(&x, Epilogue::Relu, pass))?;
        // The norms are met in another order than they have in the state dict; `Pass` doesn't mind.
        let shortcut = match &self.downsample {
            Some(projection) => projection.forward(x, Epilogue::None, pass)?,
            None => x.clone(),
        };
        last.forward(&hidden, Epilogue::AddRelu(&shortcut), pass)
    }
}
