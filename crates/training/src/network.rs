//! A classifier together with the tensors that it is made of.

use adautomix_backbones::{self as backbones, Backbone, Classifier};
use candle_core::{DType, Device};
use candle_nn::VarBuilder;

use crate::{Parameters, Result};

/// How a classifier is built from named tensors.
pub type Build = dyn Fn(&VarBuilder<'static>) -> candle_core::Result<Classifier> + Send;

/// What [`Build`] does for a network of the registry: `name` as `resnet18-cifar`, with one head or the two of AdAutoMix.
pub fn named(name: &str, classes: usize, two_heads: bool) -> Box<Build> {
    let name = name.to_owned();
    Box::new(move |vb| {
        let backbone = backbones::build(&name, vb)?;
        if two_heads {
            Classifier::two_heads(backbone, classes, vb)
        } else {
            Classifier::one_head(backbone, classes, vb)
        }
    })
}

/// What `build` does, in maps of `bf16`.
pub(crate) fn in_bf16(build: Box<Build>) -> Box<Build> {
    Box::new(move |vb| {
        let mut classifier = build(vb)?;
        classifier.backbone.compute_in(DType::BF16)?;
        Ok(classifier)
    })
}

/// A network: its tensors, and two classifiers that read them.
pub struct Network {
    /// The tensors.
    pub parameters: Parameters,
    /// The classifier whose weights are variables, if the parameters are trainable.
    pub trained: Classifier,
    /// The same weights as constants: gradients pass through to the images, none is taken by the weights.
    pub fixed: Classifier,
}

impl Network {
    /// A new network whose weights are drawn from `seed`.
    ///
    /// # Errors
    /// If it can't be built.
    pub fn new(build: &Build, seed: u64, device: &Device) -> Result<Self> {
        Self::over(build, Parameters::trainable(seed, device))
    }

    /// A copy that no optimizer moves: a teacher at its start.
    ///
    /// # Errors
    /// If memory can't be had.
    pub fn teacher(&self, build: &Build) -> Result<Self> {
        Self::over(build, self.parameters.frozen_copy()?)
    }

    fn over(build: &Build, parameters: Parameters) -> Result<Self> {
        let trained = build(&parameters.builder())?;
        let fixed = build(&parameters.detached())?;
        Ok(Self { parameters, trained, fixed })
    }

    /// The backbone of the trained classifier.
    pub fn backbone(&self) -> &dyn Backbone {
        &*self.trained.backbone
    }
}
