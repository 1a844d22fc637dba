//! What networks that generate masks have in common.

use crate::{Draw, Result};
use candle_core::Tensor;

/// A network that generates masks: it sees the features of a batch, and for each mix which of its images are mixed. It is
/// trained along with the classifier, so it is no [`Mixer`](crate::Mixer).
pub trait MaskMaker: Send + Sync {
    /// Looks at the features `[B, C, h, w]` of a batch: what depends on nothing else is computed here, once for all mixes.
    /// A network with batch norms normalises with the batch's statistics while `training`, and moves its running ones with
    /// each mix.
    ///
    /// # Errors
    /// If the features don't fit.
    fn look(&self, features: &Tensor, training: bool) -> Result<MasksOf<'_>>;

    /// What the masks `[B, N, H, W]` of a mix with the ratios `lambdas` `[N]` cost beside what networks make of the mixed
    /// images: a scalar to be descended, where there is such a cost.
    ///
    /// # Errors
    /// If an operation fails.
    fn mask_loss(&self, _masks: &Tensor, _lambdas: &[f64]) -> Result<Option<Tensor>> {
        Ok(None)
    }
}

/// Gives the masks `[B, N, H, W]` of a mix, which sum to 1 at every pixel.
pub type MasksOf<'a> = Box<dyn Fn(&Draw) -> Result<Tensor> + 'a>;
