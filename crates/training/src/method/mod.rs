//! What one step of training does, method by method.

mod adautomix;
mod facts;
mod mixed;
mod observed;

use adautomix_backbones::Classifier;
use adautomix_random::Key;
use adautomix_recipes::{Heads, Method as MethodRecipe, Recipe};
use candle_core::{Device, Tensor};

pub use adautomix::{AdAutoMix, AdAutoMixConfig, Iteration};
pub use facts::OWN_STEPS;
pub use mixed::{Mixed, mixer};

use crate::absent::refuse_training;
use crate::network::named;
use crate::{Gradients, Parameters, Result, teacher};

/// A batch on its device.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Normalised pictures, `[B, 3, H, W]`.
    pub images: Tensor,
    /// The class of each picture, `[B]`.
    pub labels: Vec<u32>,
}

/// The losses of a step, by name, and what else was measured of it.
pub type Losses = Vec<(&'static str, f64)>;

/// One training step: which losses, of which networks, on which pictures.
///
/// The loop around it owns data, optimizer, schedule and files. It calls [`backward`](Self::backward) for each batch,
/// moves [`trained`](Self::trained) against the gradients, then calls [`updated`](Self::updated).
pub trait Method: Send {
    /// Forward and backward of one batch. `step` counts from 0; `draws` is the key of the step's chance.
    ///
    /// # Errors
    /// If an operation fails.
    fn backward(
        &mut self,
        inputs: &Inputs,
        step: usize,
        draws: Key,
        gradients: &mut Gradients,
    ) -> Result<Losses>;

    /// Called when the optimizer has moved the weights at `step`.
    ///
    /// # Errors
    /// If an operation fails.
    fn updated(&mut self, _step: usize) -> Result<()> {
        Ok(())
    }

    /// What optimizers move: `student`, and `generator` where there is one.
    fn trained(&self) -> Vec<(&'static str, &Parameters)>;

    /// All tensors of the method, for checkpoints: what is trained, and the `teacher` where there is one.
    fn state(&self) -> Vec<(&'static str, &Parameters)> {
        self.trained()
    }

    /// The networks to evaluate, without a graph: `student`, and `teacher` where there is one.
    fn evaluated(&self) -> Vec<(&'static str, &Classifier)>;

    /// The masks and blends that the method makes of a batch, for pictures.
    ///
    /// # Errors
    /// If an operation fails.
    fn show(&self, inputs: &Inputs, draws: Key) -> Result<Shown>;
}

/// What a method makes of a batch.
#[derive(Clone, Debug)]
pub struct Shown {
    /// For each sample, the indices of the pictures that were mixed, `N` lists of `B`.
    pub partners: Vec<Vec<u32>>,
    /// The weight of each picture's label, `[B * N]`, row by row.
    pub weights: Vec<f32>,
    /// The masks `[B, N, H, W]`, where the method has some.
    pub masks: Option<Tensor>,
    /// The blends `[B, 3, H, W]`.
    pub blends: Tensor,
}

/// The method of a recipe, with new networks for `classes` classes; `steps` is the length of the run.
///
/// # Errors
/// If the recipe asks for what doesn't exist or doesn't fit.
pub fn build(recipe: &Recipe, classes: usize, steps: usize, device: &Device) -> Result<Box<dyn Method>> {
    refuse_training(recipe)?;
    let network = named(&recipe.network.name, classes, recipe.network.heads == Heads::Two);
    let seed = recipe.training.seed;
    match &recipe.method {
        MethodRecipe::AdAutoMix(settings) => {
            let config = AdAutoMixConfig::of(settings, teacher::schedule(recipe, steps)?);
            Ok(Box::new(AdAutoMix::new(&*network, config, seed, device)?))
        }
        MethodRecipe::Mixer { .. } => Ok(Box::new(Mixed::new(recipe, &*network, classes, device)?)),
    }
}
