//! The networks by name, and what a residual network is made of.

use candle_core::{Result, bail};
use candle_nn::VarBuilder;

use crate::{Backbone, ConvNext, ConvNextConfig, ResNet, Swin, SwinConfig, Vit, VitConfig};

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

/// The sizes of a network of any family.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Config {
    /// ResNet and ResNeXt.
    ResNet(ResNetConfig),
    /// ConvNeXt.
    ConvNext(ConvNextConfig),
    /// Swin transformer.
    Swin(SwinConfig),
    /// Vision transformer.
    Vit(VitConfig),
}

/// Every name that [`config()`] and [`build`] know. The suffix `-cifar` stands for the stem for small images.
pub const NAMES: [&str; 14] = [
    "resnet20-cifar",
    "resnet18",
    "resnet18-cifar",
    "resnet34",
    "resnet34-cifar",
    "resnet50",
    "resnet50-cifar",
    "resnext50_32x4d",
    "resnext50_32x4d-cifar",
    "convnext_tiny",
    "convnext_tiny-cifar",
    "swin_tiny_patch4_window7_224",
    "vit_small_patch16_224",
    "deit_small_patch16_224",
];

/// The configuration of a network by name.
///
/// `resnet20-cifar` is the network of He et al. 2016, section 4.2, with projections as shortcuts (their option B): 16, 32
/// and 64 channels in three stages of three basic blocks.
///
/// # Errors
/// If the name is none of [`NAMES`].
pub fn config(name: &str) -> Result<Config> {
    if !NAMES.contains(&name) {
        bail!("unknown backbone `{name}`, expected one of {}", NAMES.join(", "));
    }
    let (base, stem) = match name.strip_suffix("-cifar") {
        Some(base) => (base, Stem::Cifar),
        None => (name, Stem::Imagenet),
    };
    let residual = |block, layers: &[usize], groups, width_per_group, width| {
        let layers = layers.to_vec();
        Config::ResNet(ResNetConfig { block, layers, groups, width_per_group, width, stem })
    };
    Ok(match base {
        "resnet18" => residual(Block::Basic, &[2, 2, 2, 2], 1, 64, 64),
        "resnet34" => residual(Block::Basic, &[3, 4, 6, 3], 1, 64, 64),
        "resnet50" => residual(Block::Bottleneck, &[3, 4, 6, 3], 1, 64, 64),
        "resnext50_32x4d" => residual(Block::Bottleneck, &[3, 4, 6, 3], 32, 4, 64),
        "convnext_tiny" => {
            let (depths, dims) = (vec![3, 3, 9, 3], vec![96, 192, 384, 768]);
            Config::ConvNext(ConvNextConfig { depths, dims, stem })
        }
        "swin_tiny_patch4_window7_224" => {
            let (depths, num_heads) = (vec![2, 2, 6, 2], vec![3, 6, 12, 24]);
            Config::Swin(SwinConfig { img_size: 224, embed_dim: 96, depths, num_heads })
        }
        "vit_small_patch16_224" | "deit_small_patch16_224" => {
            Config::Vit(VitConfig { img_size: 224, embed_dim: 384, depth: 12, num_heads: 6 })
        }
        _ => residual(Block::Basic, &[3, 3, 3], 1, 64, 16),
    })
}

impl Config {
    /// Builds the network.
    ///
    /// # Errors
    /// If the configuration contradicts itself, or `vb` has no such tensors.
    pub fn build(self, vb: &VarBuilder<'_>) -> Result<Box<dyn Backbone>> {
        Ok(match self {
            Self::ResNet(config) => Box::new(ResNet::new(config, vb)?),
            Self::ConvNext(config) => Box::new(ConvNext::new(config, vb)?),
            Self::Swin(config) => Box::new(Swin::new(config, vb)?),
            Self::Vit(config) => Box::new(Vit::new(config, vb)?),
        })
    }
}

/// Builds a network by name.
///
/// # Errors
/// If the name is none of [`NAMES`], or `vb` has no such tensors.
pub fn build(name: &str, vb: &VarBuilder<'_>) -> Result<Box<dyn Backbone>> {
    config(name)?.build(vb)
}
