//! DADA: differentiable automatic data augmentation (Li et al., ECCV 2020).
//!
//! For the first part of a run a policy is learned beside the weights: which pairs of operations to apply, each operation
//! how likely and how far. What it descends is the loss of pictures that aren't augmented, after a step of the weights on
//! pictures that are; the gradient of the choices is estimated by [`relax`], that of magnitudes goes straight
//! through. Then the best sub-policies are fixed and the rest of the run is trained with them.

mod policy;
mod relax;

use adautomix_backbones::{Classifier, Head, Pass};
use adautomix_datasets::{Change, Normalize, View};
use adautomix_losses::ce;
use adautomix_ops::{Tape, overwrite, squared_norms};
use adautomix_random::Key;
use adautomix_recipes::{self as recipes, Recipe};
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use rand::Rng;
use rayon::prelude::*;

use self::policy::{Policy, SubPolicy, Values, sub_policies};
use self::relax::{Noise, Sample};
use super::{Inputs, Losses, Measured, Method, Passes, Shown, bytes};
use crate::network::Build;
use crate::{Gradients, Network, Parameters, Result};

/// A classifier and the policy that it learns to augment pictures with.
pub struct Dada {
    settings: recipes::Dada,
    student: Network,
    normalize: Normalize,
    operations: Vec<SubPolicy>,
    policy: Policy,
    /// Steps of the search.
    search: usize,
    /// Length of the step of the weights that the policy looks ahead by.
    rate: f64,
    drop_path: f64,
}

impl Dada {
    /// A new network and an undecided policy for a run of `steps` steps.
    ///
    /// # Errors
    /// If the network can't be built.
    pub fn new(
        recipe: &Recipe,
        settings: &recipes::Dada,
        build: &Build,
        steps: usize,
        device: &Device,
    ) -> Result<Self> {
        let (seed, operations) = (recipe.training.seed, sub_policies());
        Ok(Self {
            student: Network::new(build, seed, device)?,
            normalize: bytes::normalize(recipe),
            policy: Policy::new(operations.len(), settings.hidden, seed)?,
            operations,
            search: (settings.search_share * steps as f64).round() as usize,
            rate: recipe.optimizer.lr,
            drop_path: recipe.network.drop_path.unwrap_or(0.0),
            settings: settings.clone(),
        })
    }

    /// A step of the search: weights learn from the first half of the batch, all of it augmented by one draw of the
    /// policy, and the policy from the second half. Gives the loss of the first.
    fn search(&self, inputs: &Inputs, draws: Key, gradients: &mut Gradients) -> Result<Tensor> {
        let values = self.policy.values()?;
        let rng = &mut draws.rng();
        let sample =
            Sample::of(values.theta(), self.settings.temperature, &Noise::draw(self.operations.len(), rng));
        let chosen = sample.chosen;
        let applied = [0, 1].map(|at| sample.applied[2 * chosen + at]);
        let count = inputs.labels.len().div_ceil(2);
        let changes: Vec<_> =
            (0..count).map(|_| values.changes(self.operations[chosen], chosen, applied, rng)).collect();
        let training = self.augmented(&part(inputs, 0, count)?, &changes)?;
        let mut pass = Passes::new(self.drop_path, draws).train();
        let (tape, loss) = loss(&self.student.trained, &training.images, &training.labels, &mut pass)?;
        pass.commit(1)?;
        let step = gradients.backward(tape, &loss, 1.0, &self.student.parameters.weights())?;
        // A picture alone has no other to be judged by.
        if count < inputs.labels.len() {
            let validation = part(inputs, count, inputs.labels.len() - count)?;
            let probe = self.probe(&training, &validation, &step)?;
            let (theta, control) = sample.relax(probe.value, &values.control());
            let mut magnitudes = vec![0.0; 2 * self.operations.len()];
            for at in 0..2 {
                magnitudes[2 * chosen + at] = if applied[at] { probe.along_pixels } else { 0.0 };
            }
            self.policy.descend(&[theta, magnitudes, control].concat(), self.settings.policy_lr)?;
        }
        Ok(loss.detach())
    }

    /// How the loss of `validation` after a step of the weights along `step` would change if the loss of `training` weighed
    /// more, and if all its pixels were brighter: differences between the weights moved by `± ε` along the gradient of the
    /// former loss, `ε` such that they move by 0.01. Weights are put back; running statistics don't see it, and no path is
    /// dropped, which would be another one on either side of a difference.
    fn probe(&self, training: &Inputs, validation: &Inputs, step: &GradStore) -> Result<Probe> {
        let weights = self.student.parameters.weights();
        let saved: Vec<Tensor> =
            weights.iter().map(|(_, weight)| weight.detach().copy()).collect::<candle_core::Result<_>>()?;
        let moved = |direction: &GradStore, length: f64| -> Result<()> {
            for ((_, weight), saved) in weights.iter().zip(&saved) {
                if let Some(gradient) = direction.get(weight) {
                    overwrite(weight, &(saved + (gradient.detach() * length)?)?)?;
                }
            }
            Ok(())
        };
        moved(step, -self.rate)?;
        let (tape, beyond) =
            loss(&self.student.trained, &validation.images, &validation.labels, &mut Pass::train())?;
        let ahead = tape.backward(&beyond)?;
        let gradients: Vec<_> = weights.iter().filter_map(|(_, weight)| ahead.get(weight)).collect();
        let epsilon = 0.01 / squared_norms(&gradients)?.iter().sum::<f64>().sqrt().max(1e-12);
        let side = |length: f64| -> Result<[f64; 2]> {
            moved(&ahead, length)?;
            let images = Var::from_tensor(&training.images)?;
            let (tape, loss) = loss(&self.student.fixed, &images, &training.labels, &mut Pass::train())?;
            let store = tape.backward(&loss)?;
            let along = store.get(&images).map(|g| g.sum_all()?.to_scalar::<f32>()).transpose()?;
            Ok([loss.to_scalar::<f32>()?, along.unwrap_or(0.0)].map(f64::from))
        };
        let (above, below) = (side(epsilon)?, side(-epsilon)?);
        weights.iter().zip(&saved).try_for_each(|((_, weight), saved)| overwrite(weight, saved))?;
        // The step goes down the gradient, hence the sign; its length is left out, which Adam doesn't see.
        let [value, along_pixels] = [0, 1].map(|i| (below[i] - above[i]) / (2.0 * epsilon));
        Ok(Probe { value, along_pixels })
    }

    /// Every picture changed by one of the best sub-policies, each as likely, each operation with its probability.
    fn by_policy(&self, values: &Values, inputs: &Inputs, draws: Key) -> Result<Inputs> {
        let (best, rng) = (values.best(self.settings.sub_policies), &mut draws.rng());
        let changes = (0..inputs.labels.len()).map(|_| {
            let chosen = best[rng.random_range(0..best.len())];
            let probabilities = values.probabilities(chosen);
            let applied = [0, 1].map(|at| rng.random::<f64>() < probabilities[at]);
            values.changes(self.operations[chosen], chosen, applied, rng)
        });
        let changes: Vec<_> = changes.collect();
        self.augmented(inputs, &changes)
    }

    fn augmented(&self, inputs: &Inputs, changes: &[Vec<Change>]) -> Result<Inputs> {
        let mut pictures = bytes::pictures(&inputs.images, &self.normalize)?;
        pictures.par_iter_mut().zip(changes).for_each(|(picture, changes)| {
            let mut spare = Vec::new();
            changes.iter().for_each(|change| change.apply(picture, &mut spare));
        });
        let views: Vec<_> =
            pictures.iter().map(|picture| View::whole([picture.height, picture.width])).collect();
        let images = bytes::images(&pictures, &views, &self.normalize, inputs.images.device())?;
        Ok(Inputs { images, labels: inputs.labels.clone() })
    }
}

/// What the policy's choice of a step was worth.
struct Probe {
    /// Lower is better.
    value: f64,
    /// Its change along a common shift of all pixels of the augmented pictures, the straight-through gradient of magnitudes.
    along_pixels: f64,
}

/// `count` pictures of a batch from `from` on.
fn part(inputs: &Inputs, from: usize, count: usize) -> Result<Inputs> {
    let images = inputs.images.narrow(0, from, count)?.contiguous()?;
    Ok(Inputs { images, labels: inputs.labels[from..from + count].to_vec() })
}

fn loss(classifier: &Classifier, images: &Tensor, labels: &[u32], pass: &mut Pass) -> Result<(Tape, Tensor)> {
    Tape::record(|| Ok(ce(&classifier.forward(images, Head::OneHot, pass)?, labels)?))
}

impl Method for Dada {
    fn backward(
        &mut self,
        inputs: &Inputs,
        step: usize,
        draws: Key,
        gradients: &mut Gradients,
    ) -> Result<Losses> {
        let loss = if step < self.search {
            self.search(inputs, draws, gradients)?
        } else {
            let augmented = self.by_policy(&self.policy.values()?, inputs, draws)?;
            let mut pass = Passes::new(self.drop_path, draws).train();
            let (tape, loss) = loss(&self.student.trained, &augmented.images, &augmented.labels, &mut pass)?;
            pass.commit(1)?;
            gradients.backward(tape, &loss, 1.0, &self.student.parameters.weights())?;
            loss
        };
        let entropy = self.policy.values()?.entropy();
        Ok(vec![("loss", Measured::of(&loss)?), ("policy_entropy", entropy.into())])
    }

    fn trained(&self) -> Vec<(&'static str, &Parameters)> {
        vec![("student", &self.student.parameters)]
    }

    fn state(&self) -> Vec<(&'static str, &Parameters)> {
        vec![("student", &self.student.parameters), ("policy", &self.policy.tensors)]
    }

    fn evaluated(&self) -> Vec<(&'static str, &Classifier)> {
        vec![("student", &self.student.fixed)]
    }

    fn show(&self, inputs: &Inputs, draws: Key) -> Result<Shown> {
        let augmented = self.by_policy(&self.policy.values()?, inputs, draws)?;
        Ok(Shown::unmixed(augmented.images, inputs.labels.len()))
    }
}

#[cfg(test)]
mod tests {
    use adautomix_recipes::Library;

    use super::*;
    use crate::method::tests::{Means, batch};
    use crate::network::named;

    fn method(build: &Build) -> Dada {
        let recipe = Library::embedded().load("quick/dada", &[]).unwrap();
        let recipes::Method::Dada(settings) = &recipe.method else { unreachable!() };
        Dada { rate: 0.01, ..Dada::new(&recipe, settings, build, 100, &Device::Cpu).unwrap() }
    }

    fn gradient(method: &Dada, inputs: &Inputs) -> GradStore {
        let trained = &method.student.trained;
        let (tape, loss) = loss(trained, &inputs.images, &inputs.labels, &mut Pass::train()).unwrap();
        tape.backward(&loss).unwrap()
    }

    /// The objective of the policy differentiated by hand: minus the gradient of `validation` after a step on `training`, times that of
    /// `training`, and how this changes when the pictures of `training` get brighter.
    fn by_hand(method: &Dada, training: &Inputs, validation: &Inputs) -> [f64; 2] {
        let (weights, step) = (method.student.parameters.weights(), gradient(method, training));
        let saved: Vec<Tensor> = weights.iter().map(|(_, weight)| weight.detach().copy().unwrap()).collect();
        for ((_, weight), saved) in weights.iter().zip(&saved) {
            let length = (step.get(weight).unwrap().detach() * method.rate).unwrap();
            overwrite(weight, &(saved - length).unwrap()).unwrap();
        }
        let ahead = gradient(method, validation);
        weights.iter().zip(&saved).for_each(|((_, weight), saved)| overwrite(weight, saved).unwrap());
        let value = |by: f64| {
            let images = (&training.images + by).unwrap();
            let store = gradient(method, &Inputs { images, labels: training.labels.clone() });
            let product = |(_, weight): &(String, Tensor)| {
                let product = (ahead.get(weight).unwrap() * store.get(weight).unwrap()).unwrap();
                f64::from(product.sum_all().unwrap().to_scalar::<f32>().unwrap())
            };
            -weights.iter().map(product).sum::<f64>()
        };
        [value(0.0), (value(0.05) - value(-0.05)) / 0.1]
    }

    #[test]
    fn the_probe_is_the_product_of_two_gradients_and_leaves_no_trace() {
        let (training, validation) = (batch(6, 1), batch(5, 2));
        let smooth: Box<Build> = Box::new(|vb| Classifier::one_head(Box::new(Means), 10, vb));
        for (build, is_smooth) in [(smooth, true), (named("resnet20-cifar", 10, false), false)] {
            let method = method(&*build);
            let state = || -> Vec<Vec<f32>> {
                let values = |tensor: Tensor| tensor.detach().flatten_all()?.to_vec1();
                let entries = method.student.parameters.entries().into_iter();
                entries.map(|(_, tensor)| values(tensor).unwrap()).collect()
            };
            let before = state();
            let probe = method.probe(&training, &validation, &gradient(&method, &training)).unwrap();
            assert_eq!(state(), before);
            let [value, along_pixels] = by_hand(&method, &training, &validation);
            assert!((probe.value - value).abs() < 1e-3 * value.abs(), "{} {value}", probe.value);
            // Batch norm takes a shift of all pixels away again, but for the border: too little of it is left to compare.
            let difference = (probe.along_pixels - along_pixels).abs();
            assert!(!is_smooth || difference < 1e-2 * along_pixels.abs(), "{difference} {along_pixels}");
        }
    }

    #[test]
    fn the_best_sub_policies_are_applied_as_likely_as_their_operations_are() {
        let method = method(&*named("resnet20-cifar", 10, false));
        let inputs = batch(40, 0);
        // Half a magnitude is nothing in most operations: all go to nine tenths.
        let start = method.policy.values().unwrap();
        let count = start.theta().len();
        let rest = start.control().parameters.len();
        let gradient = [vec![0.0; count], vec![-1.0; count / 3 * 2], vec![0.0; rest]].concat();
        method.policy.descend(&gradient, 0.4).unwrap();
        let values = method.policy.values().unwrap();
        let draws = Key::new(3, adautomix_random::Purpose::Test);
        let augmented = method.by_policy(&values, &inputs, draws).unwrap();
        let differences = (augmented.images - inputs.images).unwrap().abs().unwrap().flatten_from(1).unwrap();
        let differences: Vec<f32> = differences.max(1).unwrap().to_vec1().unwrap();
        // A quarter stays as it is, where neither of two operations of probability one half is applied, but for bytes.
        let same = differences.iter().filter(|difference| **difference < 0.01).count();
        assert!((4..17).contains(&same), "{same}");
    }
}
