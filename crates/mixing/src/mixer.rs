//! What every mixing method has in common.

use crate::{Error, Result};
use candle_core::Tensor;
use rand::RngCore;
use std::fmt::Debug;

/// A mixing method with its parameters.
pub trait Mixer: Send + Sync {
    /// Checks the parameters.
    ///
    /// # Errors
    /// For the first that is out of its range.
    fn validate(&self) -> Result<()> {
        Ok(())
    }

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
    /// What [`mix`](Self::mix) looks at beside the pictures and their labels.
    fn needs(&self) -> &'static [Need] {
        &[]
    }

    /// Where in the network the batch is mixed.
    fn place(&self) -> Place {
        Place::Pictures
    }

    /// Mixes the batch that the plan was drawn for, deterministically.
    ///
    /// # Errors
    /// If the batch has another shape than the plan, or lacks what the method looks at.
    fn mix(&self, view: &View<'_>) -> Result<Mixed>;

    /// Whether targets are known only [later](Self::relabel).
    fn relabels(&self) -> bool {
        false
    }

    /// The targets once the network has seen the mixed pictures, where a plan [`relabels`](Self::relabels): methods for vision transformers weigh labels by what it
    /// attended to. `clean` is what [`mix`](Self::mix) saw, `mixed` has the mixed pictures and what the network made of them.
    ///
    /// # Errors
    /// As [`mix`](Self::mix).
    fn relabel(&self, targets: Targets, _clean: &View<'_>, _mixed: &View<'_>) -> Result<Targets> {
        Ok(targets)
    }
}

/// Something that a training step has to compute before a plan can mix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Need {
    /// [`View::gradient`].
    Gradient,
    /// [`View::features`], of the classifier that is trained or of another one that is frozen.
    Features,
    /// [`View::features`] of the classifier that is trained, and [`View::head`].
    Head,
    /// [`View::attention`], of the clean pictures.
    Attention,
    /// [`View::attention`] of the mixed pictures, for [`Plan::relabel`].
    MixedAttention,
}

/// Where in the network a batch is mixed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// Before the network.
    Pictures,
    /// After so many of its stages, at least 1.
    Stage(usize),
    /// After its last stage, before the pool.
    LastStage,
}

/// What a mixer may look at: a batch, and what a training step has computed of it because the plan
/// [needs](Plan::needs) it. A new view has pictures only; set what else there is.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct View<'a> {
    /// The batch, `[B, C, H, W]`, normalised; or a hidden feature map for methods that mix those.
    pub images: &'a Tensor,
    /// The class of each picture, `[B]`.
    pub labels: Option<&'a [u32]>,
    /// How the pictures were normalised.
    pub normalisation: Option<Normalisation>,
    /// The gradient of the loss of the unmixed pictures with respect to them, `[B, 3, H, W]`.
    pub gradient: Option<&'a Tensor>,
    /// The last map of a network in evaluation mode, `[B, C, h, w]`.
    pub features: Option<&'a Tensor>,
    /// Weight `[K, C]` and bias `[K]` of the classifier on those features.
    pub head: Option<(&'a Tensor, &'a Tensor)>,
    /// The last attention maps of a transformer, `[B, heads, T + 1, T + 1]`; token 0 is the class token.
    pub attention: Option<&'a Tensor>,
    /// The logits, `[B, K]`.
    pub logits: Option<&'a Tensor>,
    /// The mixed pictures of the step before, `[M, C, H, W]`, and their targets, `[M, K]`; none at the first step.
    pub previous: Option<(&'a Tensor, &'a Tensor)>,
}

impl<'a> View<'a> {
    /// The view of a batch `[B, C, H, W]` and nothing else.
    pub fn of(images: &'a Tensor) -> Self {
        Self {
            images,
            labels: None,
            normalisation: None,
            gradient: None,
            features: None,
            head: None,
            attention: None,
            logits: None,
            previous: None,
        }
    }

    /// The labels.
    ///
    /// # Errors
    /// If the view has none, as for each of the following.
    pub fn labels(&self) -> Result<&'a [u32]> {
        self.labels.ok_or(Error::Unseen("labels"))
    }

    /// The normalisation.
    ///
    /// # Errors
    /// If there is none.
    pub fn normalisation(&self) -> Result<Normalisation> {
        self.normalisation.ok_or(Error::Unseen("normalisation"))
    }

    /// The gradient at the pictures.
    ///
    /// # Errors
    /// If there is none.
    pub fn gradient(&self) -> Result<&'a Tensor> {
        self.gradient.ok_or(Error::Unseen("gradient"))
    }

    /// The last map.
    ///
    /// # Errors
    /// If there is none.
    pub fn features(&self) -> Result<&'a Tensor> {
        self.features.ok_or(Error::Unseen("features"))
    }

    /// Weight and bias of the classifier.
    ///
    /// # Errors
    /// If there are none.
    pub fn head(&self) -> Result<(&'a Tensor, &'a Tensor)> {
        self.head.ok_or(Error::Unseen("classifier"))
    }

    /// The attention maps.
    ///
    /// # Errors
    /// If there are none.
    pub fn attention(&self) -> Result<&'a Tensor> {
        self.attention.ok_or(Error::Unseen("attention maps"))
    }

    /// The logits.
    ///
    /// # Errors
    /// If there are none.
    pub fn logits(&self) -> Result<&'a Tensor> {
        self.logits.ok_or(Error::Unseen("logits"))
    }
}

/// How pictures were normalised: `(value - mean) / std` of red, green and blue, on a scale from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// What was taken off.
    pub mean: [f32; 3],
    /// What was divided by.
    pub std: [f32; 3],
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
    /// Every sample of a batch has its own label only.
    pub(crate) fn own(batch: usize) -> Self {
        Self::Labels { partners: vec![(0..batch as u32).collect()], weights: vec![1.0] }
    }

    /// A sample of weight `lambda` and its partner of weight `1 - lambda`, alike in the whole batch.
    pub fn pair(partner: &[u32], lambda: f64) -> Self {
        Self::Labels { partners: with_identity(partner), weights: vec![lambda as f32, (1.0 - lambda) as f32] }
    }

    /// Samples and their partners, each sample of a weight of its own and its partner of what is left.
    pub(crate) fn shares(partner: &[u32], own: Vec<f64>) -> Self {
        Self::pairs(partner, own.into_iter().map(|own| [own as f32, (1.0 - own) as f32]).collect())
    }

    /// Samples and their partners, each sample `[own, partner's]` with weights of its own.
    pub fn pairs(partner: &[u32], weights: Vec<[f32; 2]>) -> Self {
        Self::Labels { partners: with_identity(partner), weights: weights.into_flattened() }
    }
}

/// The lists of partners of samples that are mixed with one other each: themselves, and the other.
pub(crate) fn with_identity(partner: &[u32]) -> Vec<Vec<u32>> {
    vec![(0..partner.len() as u32).collect(), partner.to_vec()]
}
