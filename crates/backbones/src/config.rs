//! The networks by name, and what a residual network is made of.

use candle_core::{Result, bail};
use candle_nn::VarBuilder;

use crate::{Backbone, ResNet};

/// The residual block.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// Two 3x3 convolutions.
    Basic,
    /// 1x1, 3x3 (which has the stride) and 1x1 convolutions; the last gives four times the stage's width.
    Bottleneck,
}

/// What is before the first stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stem {
    /// 7x7 convolution with stride 2, then 3x3 max-pool with stride 2.
    Imagenet,
    /// 3x3 convolution with stride 1.
    Cifar,
}

/// A residual network: He et al. 2016, and with groups Xie et al. 2017 (ResNeXt).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ResNetConfig {
    /// The block.
    pub block: Block,
    /// Blocks in each stage.
    pub layers: Vec<usize>,
    /// Groups of a bottleneck's 3x3 convolution.
    pub groups: usize,
    /// Channels of each group in the first stage, where a stage of 64 is the unit.
    pub width_per_group: usize,
    /// Channels after the stem; doubled by every stage but the first.
    pub width: usize,
    /// The stem.
    pub stem: Stem,
}

/// Every name that [`config()`] and [`build`] know. The suffix `-cifar` stands for the stem for small images.
pub const NAMES: [&str; 9] = [
    "resnet20-cifar",
    "resnet18",
    "resnet18-cifar",
    "resnet34",
    "resnet34-cifar",
    "resnet50",
    "resnet50-cifar",
    "resnext50_32x4d",
    "resnext50_32x4d-cifar",
];

/// The configuration of a network by name.
///
/// `resnet20-cifar` is the network of He et al. 2016, section 4.2, with projections as shortcuts (their option B): 16, 32
/// and 64 channels in three stages of three basic blocks.
///
/// # Errors
/// If the name is none of [`NAMES`].
pub fn config(name: &str) -> Result<ResNetConfig> {
    if !NAMES.contains(&name) {
        bail!("unknown backbone `{name}`, expected one of {}", NAMES.join(", "));
    }
    let (base, stem) = match name.strip_suffix("-cifar") {
        Some(base) => (base, Stem::Cifar),
        None => (name, Stem::Imagenet),
    };
    let (block, layers, groups, width_per_group, width) = match base {
        "resnet18" => (Block::Basic, vec![2, 2, 2, 2], 1, 64, 64),
        "resnet34" => (Block::Basic, vec![3, 4, 6, 3], 1, 64, 64),
        "resnet50" => (Block::Bottleneck, vec![3, 4, 6, 3], 1, 64, 64),
        "resnext50_32x4d" => (Block::Bottleneck, vec![3, 4, 6, 3], 32, 4, 64),
        _ => (Block::Basic, vec![3, 3, 3], 1, 64, 16),
    };
    Ok(ResNetConfig { block, layers, groups, width_per_group, width, stem })
}

/// Builds a network by name.
///
/// # Errors
/// If the name is none of [`NAMES`], or `vb` has no such tensors.
pub fn build(name: &str, vb: &VarBuilder<'_>) -> Result<Box<dyn Backbone>> {
    Ok(Box::new(ResNet::new(config(name)?, vb)?))
}
