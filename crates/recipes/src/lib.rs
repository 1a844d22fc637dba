//! What a run is, as data: recipes, the claims they carry and the summaries that runs leave behind.
//!
//! A [`Recipe`] is everything that decides a run except where it happens: data, network, optimizer, schedule, method.
//! It is read from TOML by a [`Library`], with the files that it `extends` laid under it and overrides laid over it.
//! Every key must be there and no other may be, so that the resolved recipe in a run folder says all.
//!
//! # Example
//! ```
//! use adautomix_recipes::{Library, Method, Override};
//!
//! let faster: Override = "training.epochs=2".parse()?;
//! let recipe = Library::embedded().load("quick/adautomix", &[faster])?;
//! assert_eq!(recipe.training.epochs, 2);
//! assert!(matches!(recipe.method, Method::AdAutoMix(method) if method.images >= 2));
//! # Ok::<(), adautomix_recipes::Error>(())
//! ```

mod assemble;
mod claim;
mod data;
mod error;
mod files;
mod layers;
mod library;
mod method;
mod nearest;
mod overrides;
mod read;
mod recipe;
mod summary;
mod validate;

pub use claim::{Claim, ClaimedNetwork, Head, Statistic};
pub use data::{Data, Interpolation, RandAugment, Resize, ResizedCrop};
pub use error::Error;
pub use library::Library;
pub use method::{
    AdAutoMix, Annealing, AutoMix, Dada, GeneratorNetwork, MarginRule, MaskLoss, MeAda, Method, MixBlock,
    Modulation, Objective, SpectralMixup, Term, Upsampling,
};
pub use overrides::Override;
pub use recipe::{
    BeforeScope, GeneratorOptimizer, Heads, LabelWeights, Loss, LossName, Network, Observer, Optimizer,
    OptimizerName, Precision, Recipe, Schedule, ScheduleName, Teacher, TimeUnit, Training, Warmup,
};
pub use summary::{Accuracy, NetworkSummary, Statistics, Summary};
pub use toml::Value;
