//! Networks that give their features stage by stage, with the parameter names of torchvision and timm.
//!
//! A network is built by a [`candle_nn::VarBuilder`], which decides what its weights are: variables, a file's tensors,
//! or constants that share a trained network's memory. The hints it is given are the initial values of the published
//! experiments (OpenMixup's, `nets.md` of the golden cases): convolutions Kaiming normal by fan-out, the last norm of
//! a residual block 0, heads normal with deviation 0.01.
//!
//! A forward pass never changes the network. In training mode the statistics of each batch are noted in the [`Pass`],
//! and it is the caller who commits them, as often as the pass counts.
//!
//! ```
//! use adautomix_backbones::{Classifier, Head, Pass, build};
//! use candle_core::{DType, Device, Tensor};
//! use candle_nn::{VarBuilder, VarMap};
//!
//! # fn main() -> candle_core::Result<()> {
//! let variables = VarMap::new();
//! let vb = VarBuilder::from_varmap(&variables, DType::F32, &Device::Cpu);
//! let classifier = Classifier::one_head(build("resnet20-cifar", &vb)?, 10, &vb)?;
//!
//! let images = Tensor::zeros((2, 3, 32, 32), DType::F32, &Device::Cpu)?;
//! let mut pass = Pass::train();
//! let features = classifier.backbone.features(&images, &mut pass)?;
//! let logits = classifier.logits(&features.pooled, Head::OneHot)?;
//! pass.commit(1)?;
//!
//! assert_eq!(features.stages[1].dims(), [2, 32, 16, 16]);
//! assert_eq!(logits.dims(), [2, 10]);
//! # Ok(())
//! # }
//! ```

mod backbone;
mod config;
mod convnext;
mod heads;
mod layers;
mod pass;
mod resnet;
mod swin;
#[cfg(test)]
mod tests;
mod tokens;
mod vit;

pub use backbone::{Backbone, Features, is_buffer};
pub use config::{Block, Config, NAMES, ResNetConfig, Stem, build, config};
pub use convnext::{ConvNext, ConvNextConfig};
pub use heads::{Classifier, Head, Heads, Linear};
pub use pass::{Mode, Pass};
pub use resnet::ResNet;
pub use swin::{Swin, SwinConfig};
pub use vit::{Vit, VitConfig};
