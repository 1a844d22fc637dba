//! RecursiveMix (Yang et al., NeurIPS 2022): what was mixed, answered and labelled at a step is used at the next.

use std::cell::Cell;

use adautomix_backbones::{Classifier, Linear};
use adautomix_losses::soft_ce;
use adautomix_mixing::recursivemix::{RecursiveMix, RecursiveMixPlan, sources};
use adautomix_mixing::registry;
use adautomix_ops::{Tape, overwrite, roi_align};
use adautomix_random::Key;
use adautomix_recipes::Recipe;
use candle_core::{DType, Device, Tensor};
use candle_nn::ops::softmax;

use super::mixed::{Answer, parameters};
use super::{Inputs, Losses, Measured, Method, Mixed, Shown};
use crate::network::Build;
use crate::{Gradients, Parameters, Result};

/// Classification of pictures into which those of the step before are pasted, and a second loss: a linear layer of its own
/// must see, in the features of the box alone, what the network had answered to the whole picture that is pasted there.
///
/// `loss + ω (1 - λ) CE(layer(RoIAlign(last map, box)), softmax(old logits))`, where `1 - λ` is the box's share of the picture.
/// The cross-entropy has the gradient of the paper's Kullback-Leibler divergence, and is larger by a constant.
pub struct Recursive {
    /// The step without a memory.
    step: Mixed,
    mixer: RecursiveMix,
    layer: Linear,
    layer_parameters: Parameters,
    history: History,
}

impl Recursive {
    /// A new network for `classes` classes, and an empty memory.
    ///
    /// # Errors
    /// If a parameter of the mixer is wrong, or a network can't be built.
    pub fn new(recipe: &Recipe, build: &Build, classes: usize, device: &Device) -> Result<Self> {
        let step = Mixed::new(recipe, build, classes, device)?;
        let backbone = step.student().backbone();
        let layer_parameters = Parameters::trainable(recipe.training.seed, device);
        let channels = backbone.channels(backbone.stages() - 1);
        let layer = Linear::new(channels, classes, &layer_parameters.builder())?;
        let history = History::new(recipe.training.batch_size, recipe.data.input_size, classes, device)?;
        Ok(Self { step, mixer: registry::read(parameters(recipe)?)?, layer, layer_parameters, history })
    }

    /// The second loss and its weight; none where nothing was pasted.
    fn consistency(&self, answer: &Answer, plan: &RecursiveMixPlan) -> Result<Option<(Tensor, f64)>> {
        let (batch, _, height, width) = answer.mixed.dims4()?;
        let (area, lambda) = plan.area([height, width]);
        if lambda == 1.0 || !self.history.is_filled()? {
            return Ok(None);
        }
        let backbone = self.step.student().backbone();
        let map = backbone.map(backbone.stages() - 1, &answer.map)?;
        let (_, _, rows, columns) = map.dims4()?;
        let scaled = |at: usize, to: usize, from: usize| (at * to) as f64 / from as f64;
        let [row1, row2] = [area[0], area[2]].map(|row| scaled(row, rows, height));
        let [column1, column2] = [area[1], area[3]].map(|column| scaled(column, columns, width));
        let pooled = roi_align(&map, [row1, column1, row2, column2])?;
        let old = self.history.logits.index_select(&self.history.sources(batch)?, 0)?;
        let loss = soft_ce(&self.layer.forward(&pooled)?, &softmax(&old, 1)?)?;
        Ok(Some((loss, self.mixer.consistency_weight * (1.0 - lambda))))
    }
}

impl Method for Recursive {
    fn backward(
        &mut self,
        inputs: &Inputs,
        _: usize,
        draws: Key,
        gradients: &mut Gradients,
    ) -> Result<Losses> {
        let (_, _, height, width) = inputs.images.dims4()?;
        let plan = self.mixer.draw(height, width, &mut draws.rng());
        let (tape, (answer, mut losses, consistency)) = Tape::record(|| -> Result<_> {
            let (answer, losses) = self.step.answer(inputs, &plan, self.history.view()?, draws, gradients)?;
            let consistency = self.consistency(&answer, &plan)?;
            Ok((answer, losses, consistency))
        })?;
        let (term, weight, consistency) = match consistency {
            Some((loss, weight)) => (loss.clone(), weight, Measured::of(&loss)?),
            // Without a box the layer has a gradient all the same: that of a loss of 0.
            None => ((self.layer.weight().sum_all()? + self.layer.bias().sum_all()?)?, 0.0, 0.0.into()),
        };
        // A tensor, since candle leaves out what is multiplied by the number 0.
        let weight = Tensor::new(weight as f32, term.device())?;
        let loss = (&answer.loss + (term * weight)?)?;
        losses.push(("consistency", consistency));
        let mut weights = self.step.student().parameters.weights();
        weights.extend(self.layer_parameters.weights());
        gradients.backward(tape, &loss, 1.0, &weights)?;
        // Unsmoothed, since what is made of it will be smoothed.
        let target = self.step.target(&inputs.labels, &answer.targets, 0.0, loss.device())?;
        self.history.remember(&answer.mixed, &target, &answer.logits)?;
        Ok(losses)
    }

    fn trained(&self) -> Vec<(&'static str, &Parameters)> {
        let mut trained = self.step.trained();
        trained.push(("box_layer", &self.layer_parameters));
        trained
    }

    fn state(&self) -> Vec<(&'static str, &Parameters)> {
        let mut state = self.trained();
        state.push(("history", &self.history.parameters));
        state
    }

    fn evaluated(&self) -> Vec<(&'static str, &Classifier)> {
        self.step.evaluated()
    }

    fn show(&self, inputs: &Inputs, draws: Key) -> Result<Shown> {
        self.step.show(inputs, draws)
    }
}

/// What the step before left, in tensors whose shapes never change, so that a checkpoint can hold them. A smaller batch is
/// repeated until they are full.
struct History {
    parameters: Parameters,
    /// Mixed pictures, `[B, 3, S, S]`.
    images: Tensor,
    /// Their targets, `[B, K]`.
    targets: Tensor,
    /// What the network answered to them, `[B, K]`.
    logits: Tensor,
    /// `[1]`: 1 once there has been a step.
    filled: Tensor,
    /// Whether that has been read: once there is a memory there always is one, and nobody waits for a device again.
    is_filled: Cell<bool>,
}

impl History {
    /// The empty memory of batches of `batch` pictures of `side` × `side` pixels.
    fn new(batch: usize, side: usize, classes: usize, device: &Device) -> Result<Self> {
        let zeros = |shape: &[usize]| Tensor::zeros(shape, DType::F32, device);
        let (images, targets) = (zeros(&[batch, 3, side, side])?, zeros(&[batch, classes])?);
        let (logits, filled) = (zeros(&[batch, classes])?, zeros(&[1])?);
        let named = [("images", &images), ("targets", &targets), ("logits", &logits), ("filled", &filled)];
        let parameters = Parameters::of(named.map(|(name, tensor)| (name, tensor.clone())).to_vec(), device);
        Ok(Self { parameters, images, targets, logits, filled, is_filled: Cell::new(false) })
    }

    fn is_filled(&self) -> Result<bool> {
        if !self.is_filled.get() {
            self.is_filled.set(self.filled.to_vec1::<f32>()? == [1.0]);
        }
        Ok(self.is_filled.get())
    }

    /// Pictures and targets of the step before, if there was one.
    fn view(&self) -> Result<Option<(&Tensor, &Tensor)>> {
        Ok(self.is_filled()?.then_some((&self.images, &self.targets)))
    }

    /// Which of the old samples each of a batch of so many has in its box.
    fn sources(&self, batch: usize) -> Result<Tensor> {
        Ok(Tensor::new(sources(batch, self.logits.dim(0)?), self.logits.device())?)
    }

    fn remember(&self, images: &Tensor, targets: &Tensor, logits: &Tensor) -> Result<()> {
        let rows = Tensor::new(sources(self.images.dim(0)?, images.dim(0)?), images.device())?;
        for (kept, new) in [(&self.images, images), (&self.targets, targets), (&self.logits, logits)] {
            overwrite(kept, &new.detach().index_select(&rows, 0)?)?;
        }
        overwrite(&self.filled, &self.filled.ones_like()?)?;
        self.is_filled.set(true);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use adautomix_backbones::{Head, Pass};
    use adautomix_losses::mix_targets;
    use adautomix_mixing::{Plan, View};
    use adautomix_random::Purpose;
    use adautomix_recipes::{Library, Override};

    use super::*;
    use crate::Stepper;
    use crate::method::read_losses;

    const CLASSES: usize = 10;

    fn recipe(method: &str) -> Recipe {
        let overrides = [method, "data.input_size=16", "training.batch_size=4"];
        let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
        Library::embedded().load("quick/vanilla", &overrides).unwrap()
    }

    /// Pictures that are others at each step; every third batch is smaller.
    fn batch(step: usize) -> Inputs {
        let count = if step % 3 == 2 { 3 } else { 4 };
        let value = |i: usize| (i as f32 * 0.37 + step as f32).sin();
        let values: Vec<f32> = (0..count * 3 * 16 * 16).map(value).collect();
        let images = Tensor::from_vec(values, (count, 3, 16, 16), &Device::Cpu).unwrap();
        Inputs { images, labels: (0..count).map(|i| ((i * 3 + step) % CLASSES) as u32).collect() }
    }

    fn key(step: usize) -> Key {
        Key::new(5, Purpose::Mixing).step(step)
    }

    fn stepper() -> Stepper {
        Stepper::new(&recipe("method.name=recursivemix"), CLASSES, 8, 8, &Device::Cpu).unwrap()
    }

    fn advance(stepper: &mut Stepper, steps: std::ops::Range<usize>) -> Vec<Vec<(&'static str, f64)>> {
        let mut step = |step| stepper.step(&batch(step), step, key(step), &mut Gradients::default()).unwrap();
        read_losses(&steps.map(&mut step).collect::<Vec<_>>()).unwrap()
    }

    fn values(stepper: &Stepper) -> Vec<(String, Vec<f32>)> {
        let flat = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1().unwrap();
        stepper.tensors().into_iter().map(|(name, tensor)| (name, flat(tensor))).collect()
    }

    #[test]
    fn a_resumed_run_is_the_run_that_never_stopped() {
        let (mut whole, mut stopped, mut resumed) = (stepper(), stepper(), stepper());
        let start = values(&whole);
        let losses = advance(&mut whole, 0..6);
        advance(&mut stopped, 0..3);
        for ((_, tensor), (_, saved)) in resumed.tensors().into_iter().zip(stopped.tensors()) {
            overwrite(&tensor, &saved.copy().unwrap()).unwrap();
        }
        resumed.resume(3);
        assert_eq!(advance(&mut resumed, 3..6), losses[3..]);
        let end = values(&whole);
        assert_eq!(values(&resumed), end);
        for ((name, before), (_, after)) in start.iter().zip(&end) {
            assert_ne!(before, after, "{name} hasn't moved");
        }
    }

    #[test]
    fn the_losses_are_those_of_the_formula() -> Result<()> {
        let recipe = recipe("method.name=recursivemix");
        let build = crate::named(&recipe.network.name, CLASSES, false);
        let mut method = Recursive::new(&recipe, &*build, CLASSES, &Device::Cpu)?;
        let first = method.backward(&batch(0), 0, key(0), &mut Gradients::default())?;
        assert_eq!(read_losses(&[first])?[0].last(), Some(&("consistency", 0.0)));
        let student = &method.step.student().trained;
        let look = |images: &Tensor| -> Result<(Tensor, Tensor)> {
            let features = student.backbone.features(images, &mut Pass::train())?;
            let logits = student.logits(&features.pooled, Head::OneHot)?;
            Ok((features.stages.last().unwrap().clone(), logits))
        };
        let one_hot = |inputs: &Inputs| {
            let own = (0..inputs.labels.len() as u32).collect();
            mix_targets(&inputs.labels, &[own], &[1.0], CLASSES, 0.0, &Device::Cpu)
        };
        // No optimizer has moved a weight, so the old answers can be had again.
        let (old, new, step) = (batch(0), batch(1), 4);
        let (_, old_logits) = look(&old.images)?;
        let plan = method.mixer.draw(16, 16, &mut key(step).rng());
        let (area, lambda) = plan.area([16, 16]);
        assert!(lambda < 0.95, "the test needs a box, not {area:?}");
        let mut view = View::of(&new.images);
        let old_target = one_hot(&old)?;
        view.labels = Some(&new.labels);
        view.previous = Some((&old.images, &old_target));
        let (map, logits) = look(&plan.mix(&view)?.images)?;
        let target = RecursiveMixPlan::targets(&one_hot(&new)?, &old_target, lambda)?;
        let scale = map.dim(2)? as f64 / 16.0;
        let pooled = roi_align(&map, area.map(|side| side as f64 * scale))?;
        let soft = softmax(&old_logits, 1)?;
        let want = [soft_ce(&logits, &target)?, soft_ce(&method.layer.forward(&pooled)?, &soft)?];
        let losses =
            read_losses(&[method.backward(&new, 1, key(step), &mut Gradients::default())?])?.remove(0);
        for (name, want) in ["loss", "consistency"].into_iter().zip(want) {
            let got = losses.iter().find(|(loss, _)| *loss == name).unwrap().1;
            let want = f64::from(want.to_scalar::<f32>()?);
            assert!((got - want).abs() < 1e-5, "{name}: {got} {want}");
        }
        Ok(())
    }

    #[test]
    fn methods_for_transformers_say_that_they_are() {
        for name in ["transmix", "tokenmix", "smmix", "mixpro", "tokenmixup"] {
            let recipe = recipe(&format!("method.name={name}"));
            let mut stepper = Stepper::new(&recipe, CLASSES, 8, 8, &Device::Cpu).unwrap();
            let error = stepper.step(&batch(0), 0, key(0), &mut Gradients::default()).unwrap_err();
            assert!(error.to_string().contains("which only transformers have"), "{name}: {error}");
        }
    }
}
