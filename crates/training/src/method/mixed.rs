//! Plain classification of what a [`Mixer`] makes of a batch.

use std::borrow::Cow;

use adautomix_backbones::{Backbone, Classifier, Head, Pass};
use adautomix_losses::{batch_mean, binary_of_softmax, mix_targets, soft_ce};
use adautomix_mixing::{self as mixing, Mixer, Need, Place, Plan, Targets, View, registry};
use adautomix_ops::{Tape, into_planes};
use adautomix_random::Key;
use adautomix_recipes::{LabelWeights, Loss, LossName, Method as MethodRecipe, Recipe};
use candle_core::{DType, Device, Tensor};

use super::observed::{Observer, attention};
use super::replays::{Replays, TrainingPass};
use super::{Inputs, Losses, Measured, Method, Passes, Shown};
use crate::network::Build;
use crate::{Error, Gradients, Network, Parameters, Result};

/// A loss on mixed pictures, with the labels weighted as the mixer says.
pub struct Mixed {
    mixer: Box<dyn Mixer>,
    student: Network,
    observer: Observer,
    loss: Loss,
    drop_path: f64,
    classes: usize,
    replays: Replays,
}

/// What a network made of a mixed batch.
pub(super) struct Answer {
    /// What was mixed: pictures, `[B, 3, H, W]`, or maps where the plan mixes those.
    pub(super) mixed: Tensor,
    /// What the last stage gave, which [`Backbone::map`] shows as a map; where the plan mixes the last map, that map.
    pub(super) map: Tensor,
    /// `[B, K]`
    pub(super) logits: Tensor,
    /// What the logits should have been.
    pub(super) targets: Targets,
    /// How far they are from it, a scalar.
    pub(super) loss: Tensor,
}

impl Mixed {
    /// A new network for `classes` classes, trained on the mixes of the recipe's mixer.
    ///
    /// # Errors
    /// If there is no such mixer, or a network can't be built.
    pub fn new(recipe: &Recipe, build: &Build, classes: usize, device: &Device) -> Result<Self> {
        let student = Network::new(build, recipe.training.seed, device)?;
        Ok(Self {
            mixer: mixer(recipe)?,
            student,
            observer: Observer::of(recipe, classes, device)?,
            loss: recipe.loss.clone(),
            drop_path: recipe.network.drop_path.unwrap_or(0.0),
            classes,
            replays: Replays::default(),
        })
    }

    /// Mixes by another mixer from now on.
    pub fn mix_by(&mut self, mixer: Box<dyn Mixer>) {
        self.mixer = mixer;
    }

    fn plan(&self, inputs: &Inputs, draws: Key) -> Result<Box<dyn Plan>> {
        let (batch, _, height, width) = inputs.images.dims4()?;
        Ok(self.mixer.sample(batch, height, width, &mut draws.rng())?)
    }

    /// The network that is trained.
    pub(super) fn student(&self) -> &Network {
        &self.student
    }

    /// The network's answer to the batch as `plan` mixes it, on the open tape, and what there is to log. What the plan looks
    /// at is computed before; `previous` is what the step before left ([`View::previous`]).
    pub(super) fn answer(
        &self,
        inputs: &Inputs,
        plan: &dyn Plan,
        previous: Option<(&Tensor, &Tensor)>,
        draws: Key,
        gradients: &mut Gradients,
    ) -> Result<(Answer, Losses)> {
        let (mut losses, passes) = (Losses::new(), Passes::new(self.drop_path, draws));
        let observed = self.observer.look(&self.student, inputs, plan, &passes, gradients, &mut losses)?;
        let mut clean = self.observer.view(inputs, &observed);
        clean.previous = previous;
        let watches = plan.needs().contains(&Need::MixedAttention);
        let mut pass = if watches { passes.train().watching() } else { passes.train() };
        let (mixed, map, pooled) = self.forward(inputs, plan, &clean, &mut pass)?;
        let logits = self.student.trained.logits(&pooled, Head::OneHot)?;
        pass.commit(1)?;
        let answer = logits.detach();
        let mut seen = View::of(&mixed.images);
        seen.logits = Some(&answer);
        let attended = if watches { Some(attention(&pass)?) } else { None };
        seen.attention = attended.as_ref();
        let targets = match plan.relabels() {
            true => plan.relabel(mixed.targets, &clean, &seen)?,
            false => mixed.targets,
        };
        let target = self.target(&inputs.labels, &targets, self.loss.smoothing, logits.device())?;
        let loss = loss(&self.loss, &logits, &target)?;
        losses.insert(0, ("loss", Measured::of(&loss)?));
        losses.push(("mixed_top1", mixed_top1(&logits, &target)?));
        Ok((Answer { mixed: mixed.images, map, logits, targets, loss }, losses))
    }

    /// The step of a plan that [`changes_pictures_alone`], by a pass that is recorded once.
    fn replay(
        &mut self,
        inputs: &Inputs,
        plan: &dyn Plan,
        draws: Key,
        gradients: &mut Gradients,
    ) -> Result<Losses> {
        let (mut losses, passes) = (Losses::new(), Passes::new(self.drop_path, draws));
        let observed = self.observer.look(&self.student, inputs, plan, &passes, gradients, &mut losses)?;
        let mixed = plan.mix(&self.observer.view(inputs, &observed))?;
        let device = inputs.images.device();
        let target = self.target(&inputs.labels, &mixed.targets, self.loss.smoothing, device)?;
        let of = &self.loss;
        let pass = TrainingPass {
            network: &self.student,
            head: Head::OneHot,
            weight: 1.0,
            loss: &|logits, target| loss(of, logits, target),
        };
        let (loss, logits) = pass.run(&mut self.replays, &mixed.images, &target, gradients)?;
        losses.insert(0, ("loss", Measured::of(&loss)?));
        losses.push(("mixed_top1", mixed_top1(&logits, &target)?));
        Ok(losses)
    }

    /// The batch, mixed where the plan says, what the last stage made of it, and the features that heads read.
    fn forward(
        &self,
        inputs: &Inputs,
        plan: &dyn Plan,
        clean: &View<'_>,
        pass: &mut Pass,
    ) -> Result<(mixing::Mixed, Tensor, Tensor)> {
        let (backbone, place) = (self.student.backbone(), plan.place());
        let all = backbone.stages();
        let below = match place {
            Place::Pictures => 0,
            Place::Stage(stages) => stages.min(all),
            Place::LastStage => all,
        };
        let mut view = *clean;
        let hidden;
        if below > 0 {
            let map = climb(backbone, backbone.stem(&inputs.images, pass)?, 0, below, pass)?;
            hidden = match place {
                Place::LastStage => backbone.map(all - 1, &map)?,
                // What is mixed is of f32, whatever the network computes in.
                _ => into_planes(&map)?,
            };
            view.images = &hidden;
        }
        let mixed = plan.mix(&view)?;
        let map = match below {
            0 => backbone.stem(&mixed.images, pass)?,
            _ => mixed.images.clone(),
        };
        if place == Place::LastStage {
            let pooled = backbone.pool_map(&map)?;
            return Ok((mixed, map, pooled));
        }
        let map = climb(backbone, map, below, all, pass)?;
        let pooled = backbone.pool(&map)?;
        Ok((mixed, map, pooled))
    }

    /// The target of every sample, `[B, K]`, of which `smoothing` is spread over all classes.
    pub(super) fn target(
        &self,
        labels: &[u32],
        targets: &Targets,
        smoothing: f64,
        device: &Device,
    ) -> Result<Tensor> {
        let (partners, weights) = match targets {
            Targets::Labels { partners, weights } => (partners, weights),
            Targets::Soft(target) if smoothing == 0.0 => return Ok(target.clone()),
            Targets::Soft(target) => {
                return Ok(target.affine(1.0 - smoothing, smoothing / self.classes as f64)?);
            }
        };
        let weights = match self.loss.label_weights {
            LabelWeights::PerSample => Cow::Borrowed(weights),
            LabelWeights::BatchMean => Cow::Owned(batch_mean(weights, partners.len())),
        };
        Ok(mix_targets(labels, partners, &weights, self.classes, smoothing, device)?)
    }
}

/// Whether a plan mixes pictures, and their targets are known before the network has seen them.
fn changes_pictures_alone(plan: &dyn Plan) -> bool {
    plan.place() == Place::Pictures && !plan.relabels()
}

/// The loss of a recipe.
pub(super) fn loss(loss: &Loss, logits: &Tensor, target: &Tensor) -> Result<Tensor> {
    Ok(match loss.name {
        LossName::CrossEntropy => soft_ce(logits, target)?,
        LossName::BinaryOfSoftmax => binary_of_softmax(logits, target)?,
    })
}

/// The stages `from` to `to` of a network.
fn climb(
    backbone: &dyn Backbone,
    mut map: Tensor,
    from: usize,
    to: usize,
    pass: &mut Pass,
) -> Result<Tensor> {
    for stage in from..to {
        map = backbone.stage(stage, &map, pass)?;
    }
    Ok(map)
}

/// The mixer of a recipe.
///
/// # Errors
/// If there is none of this name, or a parameter is wrong.
pub fn mixer(recipe: &Recipe) -> Result<Box<dyn Mixer>> {
    Ok(registry::build(recipe.method.name(), parameters(recipe)?)?)
}

/// The parameters of the mixer of a recipe.
pub(super) fn parameters(recipe: &Recipe) -> Result<registry::Parameters> {
    let MethodRecipe::Mixer { parameters, .. } = &recipe.method else {
        return Err(Error::Recipe(format!("{} has a step of its own", recipe.method.name())));
    };
    let parameters = serde_json::to_value(parameters).map_err(|error| Error::Recipe(error.to_string()))?;
    Ok(parameters.as_object().cloned().unwrap_or_default())
}

impl Method for Mixed {
    fn backward(
        &mut self,
        inputs: &Inputs,
        _: usize,
        draws: Key,
        gradients: &mut Gradients,
    ) -> Result<Losses> {
        let plan = self.plan(inputs, draws)?;
        if self.drop_path == 0.0 && changes_pictures_alone(&*plan) && Replays::take(&inputs.images) {
            return self.replay(inputs, &*plan, draws, gradients);
        }
        let (tape, (answer, losses)) = Tape::record(|| self.answer(inputs, &*plan, None, draws, gradients))?;
        gradients.backward(tape, &answer.loss, 1.0, &self.student.parameters.weights())?;
        Ok(losses)
    }

    fn trained(&self) -> Vec<(&'static str, &Parameters)> {
        vec![("student", &self.student.parameters)]
    }

    fn evaluated(&self) -> Vec<(&'static str, &Classifier)> {
        vec![("student", &self.student.fixed)]
    }

    fn show(&self, inputs: &Inputs, draws: Key) -> Result<Shown> {
        let plan = self.plan(inputs, draws)?;
        let (gradients, losses) = (&mut Gradients::default(), &mut Losses::new());
        let passes = Passes::new(self.drop_path, draws);
        let observed = self.observer.look(&self.student, inputs, &*plan, &passes, gradients, losses)?;
        let mut view = self.observer.view(inputs, &observed);
        let previous = before(inputs, self.classes)?;
        view.previous = Some((&previous.0, &previous.1));
        let mixed = plan.mix(&view)?;
        let (partners, weights) = label_weights(mixed.targets, &inputs.labels)?;
        Ok(Shown { partners, weights, masks: None, blends: mixed.images })
    }
}

/// A step before that saw the same pictures, each in the place of the next, and left them unmixed: what methods that reach
/// back are shown with.
fn before(inputs: &Inputs, classes: usize) -> Result<(Tensor, Tensor)> {
    let batch = inputs.labels.len() as u32;
    let order: Vec<u32> = (0..batch).map(|sample| (sample + 1) % batch).collect();
    let device = inputs.images.device();
    let images = inputs.images.index_select(&Tensor::new(&*order, device)?, 0)?;
    Ok((images, mix_targets(&inputs.labels, &[order], &[1.0], classes, 0.0, device)?))
}

/// Targets as [`Shown`] has them. The weight of a class is shared by the pictures of that class.
fn label_weights(targets: Targets, labels: &[u32]) -> Result<(Vec<Vec<u32>>, Vec<f32>)> {
    let batch = labels.len();
    let target = match targets {
        Targets::Labels { partners, weights } => {
            let length = partners.len() * batch;
            return Ok((partners, weights.into_iter().cycle().take(length).collect()));
        }
        Targets::Soft(target) => target.to_vec2::<f32>()?,
    };
    let alike = |label: u32| labels.iter().filter(|&&other| other == label).count() as f32;
    let weight = |row: &Vec<f32>, label: u32| row[label as usize] / alike(label);
    let weights = target.iter().flat_map(|row| labels.iter().map(move |&label| weight(row, label)));
    Ok(((0..batch as u32).map(|picture| vec![picture; batch]).collect(), weights.collect()))
}

/// The share of mixed pictures, in percent, for which the network answers the heaviest label, or one of them.
fn mixed_top1(logits: &Tensor, target: &Tensor) -> Result<Measured> {
    let weight = target.gather(&logits.detach().argmax_keepdim(1)?, 1)?;
    let hits = weight.eq(&target.max_keepdim(1)?)?.to_dtype(DType::F32)?.sum_all()?;
    Measured::of(&(hits * (100.0 / logits.dim(0)?.max(1) as f64))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_counts_if_no_label_weighs_more() -> Result<()> {
        let target = Tensor::new(
            &[[0.5f32, 0.5, 0.0], [0.2, 0.8, 0.0], [0.0, 0.0, 1.0], [0.5, 0.0, 0.5]],
            &Device::Cpu,
        )?;
        let logits = Tensor::new(
            &[[0.0f32, 3.0, 1.0], [2.0, 1.0, 0.0], [0.0, 1.0, 2.0], [0.0, 5.0, 1.0]],
            &Device::Cpu,
        )?;
        assert_eq!(mixed_top1(&logits, &target)?.number(), Some(50.0));
        Ok(())
    }

    #[test]
    fn labels_weigh_per_picture_whatever_form_the_targets_have() -> Result<()> {
        let pair = |weights| Targets::Labels { partners: vec![vec![0, 1, 2], vec![1, 2, 0]], weights };
        let (partners, weights) = label_weights(pair(vec![0.75, 0.25]), &[4, 4, 1])?;
        assert_eq!((partners.len(), weights), (2, vec![0.75, 0.25, 0.75, 0.25, 0.75, 0.25]));
        let own = vec![0.1, 0.9, 0.2, 0.8, 0.3, 0.7];
        assert_eq!(label_weights(pair(own.clone()), &[4, 4, 1])?.1, own);
        let soft = Tensor::new(&[[0.5f32, 0.5], [0.0, 1.0], [1.0, 0.0]], &Device::Cpu)?;
        let (partners, weights) = label_weights(Targets::Soft(soft), &[0, 0, 1])?;
        assert_eq!(partners, [[0; 3], [1; 3], [2; 3]]);
        assert_eq!(weights, [0.25, 0.25, 0.5, 0.0, 0.0, 1.0, 0.5, 0.5, 0.0]);
        Ok(())
    }
}
