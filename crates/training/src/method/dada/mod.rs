//! DADA: differentiable automatic data augmentation (Li et al., ECCV 2020).
//!
//! For the first part of a run a policy is learned beside the weights: which pairs of operations to apply, each operation
//! how likely and how far. What it descends is the loss of pictures that aren't augmented, after a step of the weights on
//! pictures that are (Eq. 12); the gradient of the choices is estimated by [`relax`], that of magnitudes goes straight
//! through. Then the best sub-policies are fixed and the rest of the run is trained with them.

mod policy;
mod relax;

use adautomix_backbones::{Classifier, Head, Pass};
use adautomix_datasets::{Change, Normalize, View};
use adautomix_losses::ce;
use adautomix_ops::{overwrite, squared_norm};
use adautomix_random::Key;
use adautomix_recipes::{self as recipes, Recipe};
use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor, Var};
use rand::Rng;
use rayon::prelude::*;

use self::policy::{Policy, SubPolicy, Values, sub_policies};
use self::relax::{Noise, Sample};
use super::{Inputs, Losses, Method, Shown, bytes};
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
        let mut pass = Pass::train();
        let loss = loss(&self.student.trained, &training.images, &training.labels, &mut pass)?;
        pass.commit(1)?;
        let step = gradients.backward(&loss, 1.0, &self.student.parameters.weights())?;
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
    /// former loss (Eq. 13), `ε` such that they move by 0.01. Weights are put back; running statistics don't see it.
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
        let ahead = loss(&self.student.trained, &validation.images, &validation.labels, &mut Pass::train())?
            .backward()?;
        let mut norm = 0.0;
        for gradient in weights.iter().filter_map(|(_, weight)| ahead.get(weight)) {
            norm += squared_norm(gradient)?;
        }
        let epsilon = 0.01 / norm.sqrt().max(1e-12);
        let side = |length: f64| -> Result<[f64; 2]> {
            moved(&ahead, length)?;
            let images = Var::from_tensor(&training.images)?;
            let loss = loss(&self.student.fixed, &images, &training.labels, &mut Pass::train())?;
            let store = loss.backward()?;
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
        pictures
            .par_iter_mut()
            .zip(changes)
            .for_each(|(picture, changes)| changes.iter().for_each(|change| change.apply(picture)));
        let views = vec![View::default(); pictures.len()];
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

fn loss(classifier: &Classifier, images: &Tensor, labels: &[u32], pass: &mut Pass) -> Result<Tensor> {
    let pooled = classifier.backbone.features(images, pass)?.pooled;
    Ok(ce(&classifier.logits(&pooled, Head::OneHot)?, labels)?)
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
            let mut pass = Pass::train();
            let loss = loss(&self.student.trained, &augmented.images, &augmented.labels, &mut pass)?;
            pass.commit(1)?;
            gradients.backward(&loss, 1.0, &self.student.parameters.weights())?;
            loss
        };
        let entropy = self.policy.values()?.entropy();
        Ok(vec![("loss", f64::from(loss.to_scalar::<f32>()?)), ("policy_entropy", entropy)])
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
    use adautomix_random::Purpose;
    use adautomix_recipes::{Library, Override};

    use super::*;
    use crate::method::tests::{SMALL, batch};
    use crate::network::named;

    fn method(overrides: &[&str]) -> Dada {
        let overrides = [&SMALL[..], overrides].concat();
        let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
        let recipe = Library::embedded().load("quick/dada", &overrides).unwrap();
        let recipes::Method::Dada(settings) = &recipe.method else { unreachable!() };
        let build = named("resnet20-cifar", 10, false);
        Dada::new(&recipe, settings, &*build, 100, &Device::Cpu).unwrap()
    }

    fn values(parameters: &Parameters) -> Vec<Vec<f32>> {
        let values = |tensor: Tensor| tensor.detach().flatten_all()?.to_vec1();
        parameters.entries().into_iter().map(|(_, tensor)| values(tensor).unwrap()).collect()
    }

    #[test]
    fn the_probe_is_the_product_of_the_two_gradients() {
        let method = method(&["optimizer.lr=0.01"]);
        let (training, validation) = (batch(6, 1), batch(5, 2));
        let weights = method.student.parameters.weights();
        let gradient = |inputs: &Inputs| {
            let trained = &method.student.trained;
            loss(trained, &inputs.images, &inputs.labels, &mut Pass::train()).unwrap().backward().unwrap()
        };
        let step = gradient(&training);
        let before = values(&method.student.parameters);
        let probe = method.probe(&training, &validation, &step).unwrap();
        assert_eq!(values(&method.student.parameters), before, "the probe leaves no trace");
        // By hand: the gradient of the unaugmented pictures after the step, times that of the augmented ones before it.
        for (_, weight) in &weights {
            let target = (weight.detach() - (step.get(weight).unwrap().detach() * 0.01).unwrap()).unwrap();
            overwrite(weight, &target).unwrap();
        }
        let ahead = gradient(&validation);
        for ((_, weight), before) in weights.iter().zip(&saved_weights(&method, &before)) {
            overwrite(weight, before).unwrap();
        }
        let product = |other: &GradStore| -> f64 {
            let each = |(_, weight): &(String, Tensor)| {
                let product = (ahead.get(weight).unwrap() * other.get(weight).unwrap()).unwrap();
                f64::from(product.sum_all().unwrap().to_scalar::<f32>().unwrap())
            };
            weights.iter().map(each).sum()
        };
        let exact = -product(&step);
        println!("{} {exact}", probe.value);
        assert!((probe.value - exact).abs() < 0.02 * exact.abs(), "{} {exact}", probe.value);
        let brighter = |by: f64| {
            let images = (&training.images + by).unwrap();
            product(&gradient(&Inputs { images, labels: training.labels.clone() }))
        };
        for d in [0.1, 0.03, 1e-2, 3e-3, 1e-3] {
            let exact = -(brighter(d) - brighter(-d)) / (2.0 * d);
            println!("{} {exact}", probe.along_pixels);
        }
    }

    fn saved_weights(method: &Dada, values: &[Vec<f32>]) -> Vec<Tensor> {
        let entries = method.student.parameters.entries().into_iter().zip(values);
        let weights = entries.filter(|((name, _), _)| !adautomix_backbones::is_buffer(name));
        weights
            .map(|((_, tensor), v)| Tensor::from_vec(v.clone(), tensor.shape(), &Device::Cpu).unwrap())
            .collect()
    }
}
