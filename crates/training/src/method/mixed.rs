//! Plain classification of what a [`Mixer`] makes of a batch.

use adautomix_backbones::{Classifier, Head, Pass};
use adautomix_losses::{MixedReduction, mixed_ce, soft_ce};
use adautomix_mixing::{Mixer, Targets, View, registry};
use adautomix_random::Key;
use adautomix_recipes::Method as MethodRecipe;
use candle_core::{Device, Tensor};

use super::{Inputs, Losses, Method, Shown};
use crate::network::Build;
use crate::{Error, Gradients, Network, Parameters, Result};

/// Cross-entropy on mixed pictures, with the labels weighted as the mixer says.
pub struct Mixed {
    mixer: Box<dyn Mixer>,
    student: Network,
}

impl Mixed {
    /// A new network trained on the mixes of `mixer`.
    ///
    /// # Errors
    /// If the network can't be built.
    pub fn new(build: &Build, mixer: Box<dyn Mixer>, seed: u64, device: &Device) -> Result<Self> {
        Ok(Self { mixer, student: Network::new(build, seed, device)? })
    }

    fn mix(&self, inputs: &Inputs, draws: Key) -> Result<adautomix_mixing::Mixed> {
        let (batch, _, height, width) = inputs.images.dims4()?;
        let plan = self.mixer.sample(batch, height, width, &mut draws.rng())?;
        Ok(plan.mix(&View::of(&inputs.images))?)
    }
}

/// The mixer of a recipe's method.
pub(super) fn mixer(method: &MethodRecipe) -> Result<Box<dyn Mixer>> {
    let beta = match method {
        MethodRecipe::Vanilla => None,
        MethodRecipe::MixUp(mixup) => Some(mixup.beta_parameter),
        MethodRecipe::CutMix(cutmix) => Some(cutmix.beta_parameter),
        MethodRecipe::AdAutoMix(_) => return Err(Error::Recipe("adautomix has a step of its own".into())),
    };
    Ok(registry::build(method.name(), beta.map(|beta| ("alpha".to_owned(), beta)).into_iter().collect())?)
}

impl Method for Mixed {
    fn backward(
        &mut self,
        inputs: &Inputs,
        _: usize,
        draws: Key,
        gradients: &mut Gradients,
    ) -> Result<Losses> {
        let mixed = self.mix(inputs, draws)?;
        let mut pass = Pass::train();
        let pooled = self.student.backbone().features(&mixed.images, &mut pass)?.pooled;
        let logits = self.student.trained.logits(&pooled, Head::OneHot)?;
        let loss = loss(&logits, &inputs.labels, &mixed.targets)?;
        pass.commit(1)?;
        gradients.backward(&loss, 1.0, &self.student.parameters.weights())?;
        Ok(vec![("loss", f64::from(loss.to_scalar::<f32>()?))])
    }

    fn trained(&self) -> Vec<(&'static str, &Parameters)> {
        vec![("student", &self.student.parameters)]
    }

    fn evaluated(&self) -> Vec<(&'static str, &Classifier)> {
        vec![("student", &self.student.fixed)]
    }

    fn show(&self, inputs: &Inputs, draws: Key) -> Result<Shown> {
        let mixed = self.mix(inputs, draws)?;
        let (partners, weights) = match mixed.targets {
            Targets::Labels { partners, weights } => (partners, weights),
            Targets::Soft(_) => (Vec::new(), Vec::new()),
        };
        Ok(Shown { partners, weights, masks: None, blends: mixed.images })
    }
}

/// Cross-entropy against weighted labels or soft targets.
fn loss(logits: &Tensor, labels: &[u32], targets: &Targets) -> Result<Tensor> {
    Ok(match targets {
        Targets::Labels { partners, weights } => {
            mixed_ce(logits, labels, partners, weights, MixedReduction::PerSample)?
        }
        Targets::Soft(target) => soft_ce(logits, target)?,
    })
}
