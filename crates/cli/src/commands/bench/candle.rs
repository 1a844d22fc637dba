//! `adautomix bench candle`: a plain step of ResNet-18 as candle itself offers it, to compare with `bench step`.

use anyhow::{Result, ensure};
use candle_core::{DType, Device, Tensor};
#[expect(clippy::disallowed_types, reason = "it is what is measured")]
use candle_nn::BatchNorm;
use candle_nn::{
    Conv2d, Conv2dConfig, Linear, Module, ModuleT, Optimizer, SGD, VarBuilder, VarMap, batch_norm,
    conv2d_no_bias, linear, loss,
};

use super::step::{Report, random, time};

const CLASSES: usize = 100;

/// Time plain training steps of ResNet-18 (CIFAR stem) with candle's own layers, loss and SGD, on a device opened as candle
/// opens it. The fields are those of `bench step`.
#[derive(clap::Args, Debug)]
pub(crate) struct CandleArgs {
    /// Pictures of a step.
    #[arg(long, default_value_t = 100)]
    batch: usize,
    /// Steps that are timed.
    #[arg(long, default_value_t = 8)]
    steps: usize,
    /// Steps before them.
    #[arg(long, default_value_t = 2)]
    warmup: usize,
    /// Where to compute: `cpu` or `cuda:N`.
    #[arg(long, default_value = "cpu")]
    device: String,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `bench candle`.
pub(super) fn run(args: &CandleArgs) -> Result<()> {
    ensure!(args.steps > 0 && args.batch > 0, "expected at least 1 step of at least 1 picture");
    let device = match args.device.trim_start_matches("cuda:").parse() {
        Ok(number) => Device::new_cuda(number)?,
        Err(_) => {
            ensure!(args.device == "cpu", "device `{}`: expected `cpu` or `cuda:N`", args.device);
            Device::Cpu
        }
    };
    let weights = VarMap::new();
    let network = Network::new(&VarBuilder::from_varmap(&weights, DType::F32, &device))?;
    let mut sgd = SGD::new(weights.all_vars(), 0.1)?;
    let times = time(
        &device,
        args.warmup,
        args.steps,
        |step| random(args.batch, CLASSES, 32, step, &device),
        |_, inputs| {
            let labels = Tensor::from_slice(&inputs.labels, inputs.labels.len(), &device)?;
            Ok(sgd.backward_step(&loss::cross_entropy(&network.logits(&inputs.images)?, &labels)?)?)
        },
    )?;
    Report {
        framework: "candle",
        backbone: "resnet18-cifar",
        method: "vanilla",
        batch: args.batch,
        threads: candle_core::utils::get_num_threads(),
        device: &args.device,
        times,
    }
    .print(args.json);
    Ok(())
}

/// A convolution and its batch norm.
struct Normalised {
    conv: Conv2d,
    #[expect(clippy::disallowed_types, reason = "it is what is measured")]
    norm: BatchNorm,
}

impl Normalised {
    fn new(channels: [usize; 2], kernel: usize, stride: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let config = Conv2dConfig { stride, padding: kernel / 2, ..Conv2dConfig::default() };
        let conv = conv2d_no_bias(channels[0], channels[1], kernel, config, vb.pp("conv"))?;
        Ok(Self { conv, norm: batch_norm(channels[1], 1e-5, vb.pp("norm"))? })
    }

    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(self.norm.forward_t(&self.conv.forward(x)?, true)?)
    }
}

struct Block {
    first: Normalised,
    second: Normalised,
    shortcut: Option<Normalised>,
}

struct Network {
    stem: Normalised,
    blocks: Vec<Block>,
    head: Linear,
}

impl Network {
    fn new(vb: &VarBuilder<'_>) -> Result<Self> {
        let mut blocks = Vec::new();
        let mut channels = 64;
        for (index, filters) in [64, 64, 128, 128, 256, 256, 512, 512].into_iter().enumerate() {
            let (vb, stride) = (vb.pp(format!("block{index}")), filters / channels);
            let shortcut = (stride > 1).then(|| Normalised::new([channels, filters], 1, stride, &vb.pp("s")));
            blocks.push(Block {
                first: Normalised::new([channels, filters], 3, stride, &vb.pp("a"))?,
                second: Normalised::new([filters, filters], 3, 1, &vb.pp("b"))?,
                shortcut: shortcut.transpose()?,
            });
            channels = filters;
        }
        let (stem, head) =
            (Normalised::new([3, 64], 3, 1, &vb.pp("stem"))?, linear(512, CLASSES, vb.pp("head"))?);
        Ok(Self { stem, blocks, head })
    }

    fn logits(&self, images: &Tensor) -> Result<Tensor> {
        let mut x = self.stem.forward(images)?.relu()?;
        for Block { first, second, shortcut } in &self.blocks {
            let y = second.forward(&first.forward(&x)?.relu()?)?;
            let past = match shortcut {
                Some(shortcut) => shortcut.forward(&x)?,
                None => x,
            };
            x = (y + past)?.relu()?;
        }
        Ok(self.head.forward(&x.mean((2, 3))?)?)
    }
}
