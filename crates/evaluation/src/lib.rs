//! How good a trained network is: accuracy, calibration, and what is left of both under corruption, attack and occlusion.
//!
//! Each measure is a function on tensors ([`Reliability`], [`fgsm`], [`pgd`], [`occlude`]); an [`Evaluator`] applies them
//! to all pictures of a source. What is looked at rather than measured are functions alone: where a network looks
//! ([`grad_cam`]), and how blends change in a run ([`blend_diversity`]). Where the tools published with AdAutoMix compute something else than the definition,
//! both exist: [`Ece`], [`Space`] and [`Cells`] name them.
//!
//! ```no_run
//! use adautomix_evaluation::{Evaluator, Metric, Settings};
//! use adautomix_training::{Pictures, load};
//! use candle_core::Device;
//!
//! # fn main() -> Result<(), adautomix_evaluation::Error> {
//! let run = load("runs/first".as_ref(), "last", &Device::Cpu)?;
//! let pictures = Pictures::open(&run.recipe, "datasets".as_ref())?;
//! for (network, classifier) in run.method.evaluated() {
//!     let evaluator = Evaluator::new(classifier, pictures.test.clone(), &run.recipe, &Device::Cpu);
//!     let settings = Settings { metrics: vec![Metric::Top1, Metric::Fgsm], ..Settings::default() };
//!     let reports = evaluator.report(&settings, &mut |_, _| {})?;
//!     assert!(reports.iter().all(|(_, report)| report.fgsm.is_some()), "{network}");
//! }
//! # Ok(())
//! # }
//! ```

mod attack;
mod calibration;
mod cam;
mod diversity;
mod error;
mod evaluator;
mod occlusion;
mod predictions;
mod report;

pub use attack::{Pgd, Space, fgsm, gradient, pgd};
pub use calibration::{Bin, Ece, Reliability};
pub use cam::{Activation, grad_cam, probabilities};
pub use diversity::{Diversity, blend_diversity, mask_diversity};
pub use error::{Error, Result};
pub use evaluator::{Evaluator, Progress};
pub use occlusion::{Cells, cells, covered, default_patch, occlude};
pub use predictions::Predictions;
pub use report::{
    AttackReport, CalibrationReport, CorruptionReport, FgsmReport, HeadReport, Metric, OcclusionReport,
    PgdReport, Settings,
};
