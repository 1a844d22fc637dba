//! A method with its optimizers and schedules: everything between a batch and moved weights.

use adautomix_random::Key;
use adautomix_recipes::{Recipe, TimeUnit};
use candle_core::{Device, Tensor};

use crate::method::{self, Inputs, Losses, Method};
use crate::optimizer::{Sgd, SgdConfig};
use crate::schedule::{LearningRate, Warmup};
use crate::{Error, Gradients, Parameters, Result};

/// Makes the steps of a recipe. A [`Run`](crate::Run) adds data and files; a program of one's own may do without.
pub struct Stepper {
    method: Box<dyn Method>,
    groups: Vec<Group>,
    accumulate: usize,
    clip_norm: Option<f64>,
    steps: usize,
    started: bool,
}

/// Weights with an optimizer and a schedule of their own.
struct Group {
    name: &'static str,
    weights: Vec<(String, Tensor)>,
    optimizer: Sgd,
    rate: LearningRate,
}

impl Stepper {
    /// New networks for `classes` classes, and optimizers for a run of `steps` steps.
    ///
    /// # Errors
    /// If the recipe asks for what doesn't exist or doesn't fit.
    pub fn new(
        recipe: &Recipe,
        classes: usize,
        steps: usize,
        steps_per_epoch: usize,
        device: &Device,
    ) -> Result<Self> {
        let method = method::build(recipe, classes, steps, device)?;
        let group = |(name, parameters)| group(recipe, name, parameters, steps, steps_per_epoch);
        let groups = method.trained().into_iter().map(group).collect::<Result<_>>()?;
        let (accumulate, clip_norm) = (recipe.training.accumulate, recipe.training.clip_norm);
        Ok(Self { method, groups, accumulate, clip_norm, steps, started: false })
    }

    /// One batch, forward and backward. After the last of each `accumulate` batches, and of the run, weights move and
    /// the teacher follows. `step` counts from 0; `gradients` carries over from batch to batch.
    ///
    /// # Errors
    /// If a loss stops being a number, or a variable has no finite gradient after the first batch.
    pub fn step(
        &mut self,
        inputs: &Inputs,
        step: usize,
        draws: Key,
        gradients: &mut Gradients,
    ) -> Result<Losses> {
        let losses = self.method.backward(inputs, step, draws, gradients)?;
        if let Some(&(loss, value)) = losses.iter().find(|(_, value)| !value.is_finite()) {
            return Err(Error::NotFinite { step, loss, value });
        }
        if !self.started {
            self.groups.iter().try_for_each(|group| gradients.check(&group.weights))?;
        }
        if !self.is_pending_after(step) {
            self.update(gradients, step)?;
        }
        Ok(losses)
    }

    /// Whether gradients of this step wait for further batches before weights move.
    pub fn is_pending_after(&self, step: usize) -> bool {
        !(step + 1).is_multiple_of(self.accumulate) && step + 1 != self.steps
    }

    fn update(&mut self, gradients: &mut Gradients, step: usize) -> Result<()> {
        for group in &mut self.groups {
            if self.accumulate > 1 {
                gradients.scale(&group.weights, 1.0 / self.accumulate as f64)?;
            }
            if let Some(max_norm) = self.clip_norm {
                gradients.clip(&group.weights, max_norm)?;
            }
            group.optimizer.step(gradients, group.rate.at(step))?;
        }
        self.started = true;
        *gradients = Gradients::default();
        self.method.updated(step)
    }

    /// The method.
    pub fn method(&self) -> &dyn Method {
        &*self.method
    }

    /// The method alone, when no further step will be made.
    pub fn into_method(self) -> Box<dyn Method> {
        self.method
    }

    /// The learning rate of the student at a step.
    pub fn learning_rate(&self, step: usize) -> f64 {
        self.groups[0].rate.at(step)
    }

    /// Whether weights have moved.
    pub fn started(&self) -> bool {
        self.started
    }

    /// All tensors of the state by their names in a checkpoint.
    pub(crate) fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut tensors = Vec::new();
        for (part, parameters) in self.method.state() {
            let named =
                parameters.entries().into_iter().map(|(name, tensor)| (format!("{part}.{name}"), tensor));
            tensors.extend(named);
        }
        for group in &self.groups {
            let velocities = group.optimizer.velocities();
            tensors
                .extend(velocities.map(|(name, v)| (format!("velocity.{}.{name}", group.name), v.clone())));
        }
        tensors
    }

    /// Goes on after [`tensors`](Self::tensors) have been restored.
    pub(crate) fn resume(&mut self, started: bool) {
        self.started = started;
        self.groups.iter_mut().for_each(|group| group.optimizer.resume(started));
    }
}

/// The generator's group has its own rate where the recipe gives one.
fn group(
    recipe: &Recipe,
    name: &'static str,
    parameters: &Parameters,
    steps: usize,
    steps_per_epoch: usize,
) -> Result<Group> {
    let optimizer = &recipe.optimizer;
    let own = optimizer.generator.as_ref().filter(|_| name == "generator");
    let config = SgdConfig {
        momentum: optimizer.momentum,
        nesterov: optimizer.nesterov,
        weight_decay: own.map_or(optimizer.weight_decay, |own| own.weight_decay),
    };
    let warmup = recipe.schedule.warmup.as_ref().map(|warmup| Warmup {
        steps: match warmup.by {
            TimeUnit::Epoch => warmup.length * steps_per_epoch,
            TimeUnit::Step => warmup.length,
        },
        ratio: warmup.ratio,
    });
    let rate = LearningRate {
        base: own.map_or(optimizer.lr, |own| own.lr),
        min: own.map_or(recipe.schedule.min_lr, |own| own.min_lr),
        by_epoch: recipe.schedule.by == TimeUnit::Epoch,
        epochs: steps.div_ceil(steps_per_epoch),
        steps_per_epoch,
        warmup,
    };
    let weights = parameters.weights();
    Ok(Group { name, optimizer: Sgd::new(weights.clone(), config)?, weights, rate })
}
