//! What every mixing method has in common.

use crate::Result;
use candle_core::Tensor;
use rand::RngCore;
use std::fmt::Debug;

/// A mixing method with its parameters.
pub trait Mixer: Send + Sync {
    /// Its name in the registry.
    fn name(&self) -> &'static str;

    /// Draws all that chance decides for a batch of `batch` pictures of `height` × `width` pixels. The same generator
    /// gives the same plan.
    ///
    /// # Errors
    /// If the method can't mix such a batch.
    fn sample(
        &self,
        batch: usize,
        height: usize,
        width: usize,
        rng: &mut dyn RngCore,
    ) -> Result<Box<dyn Plan>>;
}

/// All that chance decided for one batch; its `Debug` form shows every draw.
pub trait Plan: Debug + Send + Sync {
    /// Mixes the batch that the plan was drawn for, deterministically.
    ///
    /// # Errors
    /// If the batch has another shape than the plan, or lacks what the method looks at.
    fn mix(&self, view: &View<'_>) -> Result<Mixed>;
}

/// What a mixer may look at: the pictures, and in time whatever a training step can compute of them beforehand
/// (gradients, features, attention maps), each as an `Option` that is set on the value [`View::of`] gives.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct View<'a> {
    /// The batch, `[B, C, H, W]`, normalised; or a hidden feature map for methods that mix those.
    pub images: &'a Tensor,
}

impl<'a> View<'a> {
    /// The view of a batch `[B, C, H, W]` and nothing else.
    pub fn of(images: &'a Tensor) -> Self {
        Self { images }
    }
}

/// A mixed batch.
#[derive(Clone, Debug)]
pub struct Mixed {
    /// The pictures, `[B, C, H, W]`.
    pub images: Tensor,
    /// What they should be classified as.
    pub targets: Targets,
}

/// What mixed pictures should be classified as, without knowing the labels themselves.
#[derive(Clone, Debug)]
pub enum Targets {
    /// Sample `b` has the labels of the samples `partners[0][b] … partners[N-1][b]` of the batch.
    Labels {
        /// `N` lists of `B` indices.
        partners: Vec<Vec<u32>>,
        /// What each label weighs: `[N]` for the whole batch, or `[B, N]` in row-major order. A row sums to 1, except for
        /// methods that weigh the two labels by themselves.
        weights: Vec<f32>,
    },
    /// A weight for each class, `[B, K]`.
    Soft(Tensor),
}

impl Targets {
    /// A sample of weight `lambda` and its partner of weight `1 - lambda`, alike in the whole batch.
    pub(crate) fn pair(partner: &[u32], lambda: f64) -> Self {
        Self::Labels { partners: with_identity(partner), weights: vec![lambda as f32, (1.0 - lambda) as f32] }
    }
}

/// The lists of partners of samples that are mixed with one other each: themselves, and the other.
pub(crate) fn with_identity(partner: &[u32]) -> Vec<Vec<u32>> {
    vec![(0..partner.len() as u32).collect(), partner.to_vec()]
}
