//! A method with its optimizers and schedules: everything between a batch and moved weights.

use adautomix_random::Key;
use adautomix_recipes::{self as recipes, OptimizerName, Recipe, TimeUnit};
use candle_core::{Device, Tensor};

use crate::method::{self, Inputs, Losses, Method};
use crate::optimizer::{Optimizer, Rule};
use crate::schedule::{LearningRate, Warmup};
use crate::{Error, Gradients, Parameters, Result};

/// Makes the steps of a recipe. A [`Run`](crate::Run) adds data and files; a program of one's own may do without.
pub struct Stepper {
    method: Box<dyn Method>,
    groups: Vec<Group>,
    accumulate: usize,
    clip_norm: Option<f64>,
    steps: usize,
    steps_per_epoch: usize,
    /// Batches whose gradients have been summed since weights moved.
    summed: usize,
    /// How often weights have moved.
    updates: usize,
}

/// Weights with an optimizer and a schedule of their own.
struct Group {
    name: &'static str,
    weights: Vec<(String, Tensor)>,
    optimizer: Optimizer,
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
        Ok(Self { method, groups, accumulate, clip_norm, steps, steps_per_epoch, summed: 0, updates: 0 })
    }

    /// One batch, forward and backward. After the last of each `accumulate` batches, of an epoch and of the run, weights
    /// move by the mean of the gradients, and the teacher follows. `step` counts from 0; `gradients` carries over from batch to batch.
    ///
    /// # Errors
    /// If a loss stops being a number, or a variable has no finite gradient after the first batch. Losses on a device
    /// aren't known here: whoever [reads](method::read_losses) them sees it.
    pub fn step(
        &mut self,
        inputs: &Inputs,
        step: usize,
        draws: Key,
        gradients: &mut Gradients,
    ) -> Result<Losses> {
        let losses = self.method.backward(inputs, step, draws, gradients)?;
        let known = losses.iter().filter_map(|(loss, measured)| Some((*loss, measured.number()?)));
        if let Some((loss, value)) = known.into_iter().find(|(_, value)| !value.is_finite()) {
            return Err(Error::NotFinite { step, loss, value });
        }
        if self.updates == 0 {
            self.groups.iter().try_for_each(|group| gradients.check(&group.weights))?;
        }
        self.summed += 1;
        if !self.is_pending_after(step) {
            self.update(gradients, step)?;
        }
        Ok(losses)
    }

    /// Whether gradients of this step wait for further batches before weights move.
    pub fn is_pending_after(&self, step: usize) -> bool {
        let in_epoch = step % self.steps_per_epoch + 1;
        let last = in_epoch == self.steps_per_epoch || step + 1 == self.steps;
        !in_epoch.is_multiple_of(self.accumulate) && !last
    }

    fn update(&mut self, gradients: &mut Gradients, step: usize) -> Result<()> {
        let all: Vec<_> = self.groups.iter().flat_map(|group| group.weights.iter().cloned()).collect();
        if self.summed > 1 {
            gradients.scale(&all, 1.0 / self.summed as f64)?;
        }
        if let Some(max_norm) = self.clip_norm {
            gradients.clip(&all, max_norm)?;
        }
        for group in &mut self.groups {
            group.optimizer.step(gradients, group.rate.at(step))?;
        }
        self.summed = 0;
        self.updates += 1;
        *gradients = Gradients::default();
        self.method.updated(step)
    }

    /// The method.
    pub fn method(&self) -> &dyn Method {
        &*self.method
    }

    /// The learning rate of the student at a step.
    pub fn learning_rate(&self, step: usize) -> f64 {
        self.groups[0].rate.at(step)
    }

    /// How often weights have moved.
    pub fn updates(&self) -> usize {
        self.updates
    }

    /// All tensors of the state by their names in a checkpoint.
    pub(crate) fn tensors(&self) -> Vec<(String, Tensor)> {
        let mut tensors = method::tensors(&*self.method);
        for group in &self.groups {
            let named = |(kind, name, tensor): (&str, &str, &Tensor)| {
                (format!("{kind}.{}.{name}", group.name), tensor.clone())
            };
            tensors.extend(group.optimizer.state().map(named));
        }
        tensors
    }

    /// Goes on after [`tensors`](Self::tensors) have been restored.
    pub(crate) fn resume(&mut self, updates: usize) {
        self.updates = updates;
        self.groups.iter_mut().for_each(|group| group.optimizer.resume(updates));
    }
}

/// The rule of a recipe's optimizer.
fn rule(optimizer: &recipes::Optimizer) -> Rule {
    match optimizer.name {
        OptimizerName::Sgd => Rule::Sgd {
            momentum: optimizer.momentum.unwrap_or(0.0),
            nesterov: optimizer.nesterov.unwrap_or(false),
        },
        OptimizerName::AdamW => {
            Rule::AdamW { betas: optimizer.betas.unwrap_or([0.9, 0.999]), eps: optimizer.eps.unwrap_or(1e-8) }
        }
    }
}

/// Whether a weight decays: not if its name contains one of `exempt`, nor if it is of a normalisation layer (its weight and
/// bias have one dimension, and it isn't the bias of a layer with a larger weight) and those are exempt.
fn decays(name: &str, exempt: &[String]) -> bool {
    let of_norm = || {
        let layer = name.rsplit_once('.').map_or(name, |(layer, _)| layer);
        let last = layer.rsplit('.').next().unwrap_or(layer);
        last.starts_with("norm")
            || last.starts_with("bn")
            || layer.ends_with("stem.1")
            || { layer.ends_with("downsample.0") && name.starts_with("stages.") }
            || (layer.ends_with("downsample.1") && name.starts_with("layer"))
    };
    !exempt.iter().any(|part| if part == "norm_layers" { of_norm() } else { name.contains(part.as_str()) })
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
    let rule = rule(optimizer);
    let weight_decay = own.map_or(optimizer.weight_decay, |own| own.weight_decay);
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
        // A rate of the generator's own begins at once, as published.
        warmup: warmup.filter(|_| own.is_none()),
    };
    let weights = parameters.weights();
    let optimizer = {
        let exempt = &optimizer.no_weight_decay;
        let of = |name: &str, _: &Tensor| if decays(name, exempt) { weight_decay } else { 0.0 };
        Optimizer::new(weights.clone(), rule, of)?
    };
    Ok(Group { name, optimizer, weights, rate })
}

#[cfg(test)]
mod tests {
    use adautomix_random::Purpose;
    use adautomix_recipes::{Library, Override};

    use super::*;

    fn inputs() -> Inputs {
        let values: Vec<f32> = (0..4 * 3 * 32 * 32).map(|i| (i as f32 * 0.1).sin()).collect();
        let images = Tensor::from_vec(values, (4, 3, 32, 32), &Device::Cpu).unwrap();
        Inputs { images, labels: vec![0, 3, 1, 3] }
    }

    /// The weights after `batches` of the same pictures.
    fn weights(overrides: &[&str], batches: usize) -> Vec<f32> {
        let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
        let recipe = Library::embedded().load("quick/vanilla", &overrides).unwrap();
        let mut stepper = Stepper::new(&recipe, 10, 100, 10, &Device::Cpu).unwrap();
        let mut gradients = Gradients::default();
        for step in 0..batches {
            stepper.step(&inputs(), step, Key::new(0, Purpose::Mixing).step(step), &mut gradients).unwrap();
        }
        let student = stepper.method().trained()[0].1.get("conv1.weight").unwrap();
        student.flatten_all().unwrap().to_vec1().unwrap()
    }

    fn difference(a: &[f32], b: &[f32]) -> f32 {
        a.iter().zip(b).fold(0.0, |most, (a, b)| most.max((a - b).abs()))
    }

    #[test]
    fn two_halves_accumulated_are_one_step() {
        let (start, once) = (weights(&[], 0), weights(&[], 1));
        let twice = weights(&["training.accumulate=2"], 2);
        assert!(difference(&start, &once) > 1e-4);
        assert!(difference(&once, &twice) < 1e-6);
        assert_eq!(weights(&["training.accumulate=2"], 1), start);
        // Ten batches an epoch here: the tenth moves the weights, though it is the first of four.
        assert_ne!(weights(&["training.accumulate=9"], 9), weights(&["training.accumulate=9"], 10));
    }

    #[test]
    fn norms_and_named_weights_are_exempt_from_decay() {
        let exempt = ["norm_layers", ".bias", "position"].map(str::to_owned);
        for (name, expected) in [
            ("stages.1.blocks.0.norm.weight", false),
            ("stages.1.downsample.0.weight", false),
            ("stages.1.downsample.1.weight", true),
            ("stem.0.weight", true),
            ("stem.1.weight", false),
            ("layers.0.blocks.1.norm2.weight", false),
            ("layers.0.blocks.1.attn.relative_position_bias_table", false),
            ("layers.0.blocks.1.attn.qkv.weight", true),
            ("layers.0.blocks.1.attn.qkv.bias", false),
            ("layer1.0.bn2.weight", false),
            ("layer2.0.downsample.1.weight", false),
            ("layer2.0.downsample.0.weight", true),
            ("head_one.weight", true),
        ] {
            assert_eq!(decays(name, &exempt), expected, "{name}");
        }
        assert!(decays("bn1.weight", &[]));
    }

    #[test]
    fn a_small_norm_makes_a_small_step() {
        let overrides = ["training.clip_norm=0.001", "optimizer.weight_decay=0"];
        let step = difference(&weights(&[], 0), &weights(&overrides, 1));
        assert!(step > 0.0 && step <= 0.1 * 0.001 * 1.01, "{step}");
    }
}
