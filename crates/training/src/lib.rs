//! The min-max loop: optimizers, schedules, the EMA teacher, methods, checkpoints and the run's folder.
//!
//! A [`Method`] is one training step: that of a learned generator of masks, or plain classification of what a mixer makes. A [`Run`] is the loop
//! around it. It reads batches, moves weights, and tells [`Listener`]s what happens ([`Event`]); everything that decides
//! its numbers is in the recipe, so the same recipe gives the same files, and a run that was killed and resumed ends in
//! the same bytes as one that was not.
//!
//! ```no_run
//! use std::sync::atomic::AtomicBool;
//!
//! use adautomix_recipes::Library;
//! use adautomix_training::{Options, Pictures, Run};
//! use candle_core::Device;
//!
//! # fn main() -> Result<(), adautomix_training::Error> {
//! let recipe = Library::embedded().load("quick/adautomix", &[])?;
//! let pictures = Pictures::open(&recipe, "datasets".as_ref())?;
//! let options = Options {
//!     out: "runs/first".into(),
//!     device: Device::Cpu,
//!     device_name: "cpu".into(),
//!     commit: None,
//!     resume: false,
//!     checkpoint_steps: 500,
//!     log_steps: 50,
//!     keep_every: None,
//!     pretrained: None,
//! };
//! let summary = Run::new(recipe, &pictures, options)?.train(&mut [], &AtomicBool::new(false))?;
//! assert!(summary.is_some_and(|summary| summary.student.top1.last > 10.0));
//! # Ok(())
//! # }
//! ```

mod accuracy;
pub mod checkpoint;
mod data;
mod error;
mod event;
mod feed;
mod gradients;
mod loaded;
pub mod method;
mod metrics;
mod network;
mod optimizer;
mod parameters;
mod pretrained;
mod run;
mod schedule;
pub mod state_dict;
mod stepper;
mod summary;
pub mod teacher;
mod tensorboard;

pub use accuracy::{HeadAccuracy, evaluate, heads, top_1_and_5};
pub use data::{Pictures, classes, test_transform};
pub use error::{Error, Result};
pub use event::{Event, Listener};
pub use gradients::Gradients;
pub use loaded::{Loaded, load};
pub use method::{
    Dada, Inputs, Iteration, Learned, LearnedConfig, MaskMakerConfig, MeAda, Method, Mixed, Passes,
    Recursive, SpectralMixup,
};
pub use network::{Build, Network, named};
pub use optimizer::{Optimizer, Rule};
pub use parameters::Parameters;
pub use pretrained::Pretrained;
pub use run::{Options, Run, inputs};
pub use schedule::{BeforeScope, LearningRate, MaskWeight, Momentum, Warmup};
pub use stepper::Stepper;

/// The example of the README, which is compiled and run with the tests.
#[cfg(doctest)]
#[doc = include_str!("../../../README.md")]
struct Readme;
