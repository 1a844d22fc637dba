//! Mixing augmentation: pictures of a batch are blended, and their labels weighed alike.
//!
//! A [`Mixer`] first *samples*: it draws everything that is left to chance and gives a [`Plan`]. The plan then *mixes*:
//! arithmetic only, the same result every time. What comes out is [`Mixed`]: the blended pictures, and [`Targets`] that say
//! which labels weigh how much. [`registry`] knows every mixer by name.
//!
//! The generators of AdAutoMix ([`adautomix`]), AutoMix and SAMix ([`automix`]) are trained and see the features of a network,
//! so they aren't mixers that can be applied to pictures alone: a training step draws a [`DrawPair`], asks the [`MaskMaker`] for
//! masks, and blends.
//!
//! ```
//! use adautomix_mixing::{Targets, View, registry};
//! use candle_core::{DType, Device, Tensor};
//! use rand::SeedableRng;
//!
//! # fn main() -> Result<(), adautomix_mixing::Error> {
//! let mixer = registry::build("mixup", registry::Parameters::default())?;
//! let images = Tensor::ones((4, 3, 8, 8), DType::F32, &Device::Cpu)?;
//!
//! let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(7);
//! let plan = mixer.sample(4, 8, 8, &mut rng)?;
//! let mixed = plan.mix(&View::of(&images))?;
//!
//! assert_eq!(mixed.images.dims(), images.dims());
//! let Targets::Labels { partners, weights } = mixed.targets else { unreachable!() };
//! assert_eq!(partners[0], [0, 1, 2, 3]);
//! assert!((weights.iter().sum::<f32>() - 1.0).abs() < 1e-6);
//! # Ok(())
//! # }
//! ```

pub mod adautomix;
pub mod aligned;
pub mod alignmix;
pub mod area;
mod assignment;
pub mod attentivemix;
pub mod automix;
mod cells;
pub mod comixup;
pub mod cutmix;
pub mod cutout;
pub mod draw;
mod error;
pub mod fine_grained;
pub mod fmix;
pub mod gridmix;
pub mod manifoldmix;
mod mask_maker;
mod mixer;
pub mod mixpro;
pub mod mixup;
pub mod puzzlemix;
pub mod recursivemix;
pub mod registry;
pub mod resizemix;
pub mod saliencygrafting;
pub mod saliencymix;
pub mod smmix;
pub mod smoothmix;
pub mod snapmix;
pub mod swap;
pub mod switch;
pub mod tokenmix;
pub mod tokenmixup;
pub mod tokens;
pub mod transmix;
pub mod vanilla;
mod variant;

pub use adautomix::{Generator, GeneratorConfig, MarginRule, Projection, apply_margin};
pub use automix::{MaskLoss, MixBlock, MixBlockConfig, Modulation, ValueInput};
pub use draw::{Draw, DrawPair};
pub use error::{Error, Result};
pub use mask_maker::{MaskMaker, MasksOf};
pub use mixer::{Mixed, Mixer, Need, Normalisation, Place, Plan, Targets, View};
pub use variant::Variant;

/// The example of the page about new mixers, which has to compile.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/adding-a-mixer.md")]
struct AddingAMixer;
