//! The min-max step of AdAutoMix.
//!
//! The teacher sees the batch once (T1), and gives the features of which the generator makes masks, and the logits of
//! the plain pictures. Published code runs the teacher again for each of the N images of a mix, which are the same
//! pictures in another order: their logits are those of T1 in that order, and so are their batch statistics. Here
//! they are counted (N further commits of T1's statistics), not computed.

use adautomix_backbones::{Classifier, Head, Pass};
use adautomix_losses::{self as losses, Components, Objective, adversarial, gather_labels};
use adautomix_mixing::{DrawPair, Generator, GeneratorConfig, MarginRule, apply_margin};
use adautomix_ops::{Interpolation, linear_mix, mix_images};
use adautomix_random::Key;
use adautomix_recipes as recipes;
use candle_core::{Device, Tensor};

use super::{Inputs, Losses, Method, Shown};
use crate::network::Build;
use crate::schedule::Momentum;
use crate::{Gradients, Network, Parameters, Result, teacher};

/// The settings of the game.
#[derive(Clone, Copy, Debug)]
pub struct AdAutoMixConfig {
    /// Images of a mix, the paper's N.
    pub images: usize,
    /// `a` of Beta(a, a), of which the ratios are drawn.
    pub beta_parameter: f64,
    /// Share of the linear mix beside the plain pictures, the paper's α.
    pub alpha: f64,
    /// Weight of the teacher's loss in the generator's objective, the paper's β.
    pub beta: f64,
    /// Which objective.
    pub objective: Objective,
    /// The published objective is adversarial at every so many steps.
    pub adversarial_interval: usize,
    /// How near to 0 or 1 the first ratio may come before the classifier gets the linear mix.
    pub margin: f64,
    /// What too near means.
    pub margin_rule: MarginRule,
    /// Stage of the teacher that the generator sees, counted from 0.
    pub feature_stage: usize,
    /// The generator; its channels are those of that stage.
    pub generator: GeneratorConfig,
    /// How the teacher follows.
    pub momentum: Momentum,
}

impl AdAutoMixConfig {
    /// The settings of a recipe.
    pub fn of(settings: &recipes::AdAutoMix, momentum: Momentum) -> Self {
        let generator = &settings.generator;
        Self {
            images: settings.images,
            beta_parameter: settings.beta_parameter,
            alpha: settings.linear_weight,
            beta: settings.teacher_weight,
            objective: match settings.objective {
                recipes::Objective::Published => Objective::Published,
                recipes::Objective::Paper => Objective::Paper,
            },
            adversarial_interval: settings.adversarial_interval,
            margin: settings.margin,
            margin_rule: match settings.margin_rule {
                recipes::MarginRule::Pair => MarginRule::Pair,
                recipes::MarginRule::Author => MarginRule::Author,
                recipes::MarginRule::OpenMixup => MarginRule::Openmixup,
                recipes::MarginRule::None => MarginRule::None,
            },
            feature_stage: settings.feature_stage,
            generator: GeneratorConfig {
                // The network says how many there are.
                channels: 0,
                reduction: generator.reduction,
                lambda_plane: generator.lambda_plane,
                scaled: generator.scale,
                relu: generator.relu,
                upsampling: match generator.upsampling {
                    recipes::Upsampling::Bilinear => Interpolation::Bilinear,
                    recipes::Upsampling::Nearest => Interpolation::Nearest,
                    recipes::Upsampling::Bicubic => Interpolation::Bicubic,
                },
                scale_factor: generator.upsampling_factor,
            },
            momentum,
        }
    }
}

/// What an iteration computed on its way, outside the graph.
#[derive(Clone, Debug)]
pub struct Iteration {
    /// The component losses, scalars.
    pub components: Components,
    /// What the classifier descended.
    pub classifier: Tensor,
    /// What the generator descended.
    pub generator: Tensor,
    /// The teacher's map that the generator saw, `[B, C, h, h]`.
    pub feature: Tensor,
    /// Masks and mix that trained the generator, `[B, N, H, W]` and `[B, 3, H, W]`.
    pub generator_mix: (Tensor, Tensor),
    /// Masks and mix that trained the classifier.
    pub classifier_mix: (Tensor, Tensor),
}

/// The classifier, its EMA teacher, and the generator of masks.
pub struct AdAutoMix {
    config: AdAutoMixConfig,
    student: Network,
    teacher: Network,
    generator: Generator,
    generator_parameters: Parameters,
}

impl AdAutoMix {
    /// New networks; the teacher starts as a copy of the student.
    ///
    /// # Errors
    /// If a network can't be built, or has no such stage.
    pub fn new(build: &Build, mut config: AdAutoMixConfig, seed: u64, device: &Device) -> Result<Self> {
        let student = Network::new(build, seed, device)?;
        let teacher = student.teacher(build)?;
        let (stage, stages) = (config.feature_stage, student.backbone().stages());
        if stage >= stages {
            let text = format!("method.feature_stage is {stage}, but the network has {stages} stages");
            return Err(crate::Error::Recipe(text));
        }
        let ((channels, stride), factor) =
            (student.backbone().mixing_size(stage), config.generator.scale_factor);
        if stride != factor {
            let text =
                format!("method.generator.upsampling_factor is {factor}, but the stage's stride is {stride}");
            return Err(crate::Error::Recipe(text));
        }
        config.generator.channels = channels;
        let generator_parameters = Parameters::trainable(seed, device);
        let generator = Generator::new(config.generator, generator_parameters.builder().pp("mix_block"))?;
        Ok(Self { config, student, teacher, generator, generator_parameters })
    }

    /// The classifier.
    pub fn student(&self) -> &Network {
        &self.student
    }

    /// Its moving average.
    pub fn teacher(&self) -> &Network {
        &self.teacher
    }

    /// The generator's tensors, under `mix_block.`
    pub fn generator(&self) -> &Parameters {
        &self.generator_parameters
    }

    /// Forward and backward of one batch with everything that chance decides given. Gradients of the classifier's
    /// objective go to the student, those of the generator's to the generator; running statistics are updated in
    /// the order of the published passes.
    ///
    /// # Errors
    /// If an operation fails.
    pub fn iterate(
        &mut self,
        inputs: &Inputs,
        draws: &DrawPair,
        adversarial: bool,
        gradients: &mut Gradients,
    ) -> Result<Iteration> {
        let (config, images) = (self.config, &inputs.images);
        // T1: features for the masks, logits of the plain pictures.
        let mut plain = Pass::train();
        let features = self.teacher.fixed.backbone.features(images, &mut plain)?;
        let clean_logits = self.teacher.fixed.logits(&features.pooled, Head::Mixup)?.detach();
        plain.commit(1)?;
        let stage = config.feature_stage;
        let feature = self.teacher.fixed.backbone.mixing_map(stage, &features.stages[stage])?.detach();
        drop(features);
        let projection = self.generator.project(&feature)?;
        let classifier_masks =
            projection.detached().masks(&draws.classifier.partners, &draws.classifier.lambdas)?;
        let classifier_masks =
            apply_margin(&classifier_masks, &draws.classifier.lambdas, config.margin, config.margin_rule)?;
        let blend = mix_images(images, &draws.classifier.partners, &classifier_masks)?.detach();
        let masks = projection.masks(&draws.generator.partners, &draws.generator.lambdas)?;
        let challenge = mix_images(images, &draws.generator.partners, &masks)?;
        let from_teacher = self.teacher_losses(inputs, draws, &challenge, &clean_logits)?;
        if config.objective == Objective::Published {
            plain.commit(config.images)?;
        }
        let (clean, mce, amce_bb) = self.train_student(inputs, draws, &blend, gradients)?;
        let amce_mb_student = match config.objective {
            Objective::Paper => Some(self.student_as_adversary(inputs, draws, &challenge)?),
            Objective::Published => None,
        };
        let [amce_mb_teacher, cosine] = from_teacher;
        let components =
            Components { amce_bb, mce, clean, amce_mb_student, amce_mb_teacher, cosine: Some(cosine) };
        let generator = config.objective.generator(&components, config.beta, adversarial)?;
        gradients.backward(&generator, 1.0, &self.generator_parameters.weights())?;
        Ok(Iteration {
            classifier: config.objective.classifier(&components, config.images, config.alpha)?,
            generator: generator.detach(),
            components: detached(components),
            feature,
            generator_mix: (masks.detach(), challenge.detach()),
            classifier_mix: (classifier_masks, blend),
        })
    }

    /// T2: the teacher on the generator's mix; its loss (Eq. 3) and the similarity to the plain pictures (Eq. 11).
    fn teacher_losses(
        &self,
        inputs: &Inputs,
        draws: &DrawPair,
        challenge: &Tensor,
        clean_logits: &Tensor,
    ) -> Result<[Tensor; 2]> {
        let mut pass = Pass::train();
        let pooled = self.teacher.fixed.backbone.features(challenge, &mut pass)?.pooled;
        let logits = self.teacher.fixed.logits(&pooled, Head::Mixup)?;
        pass.commit(1)?;
        let draw = &draws.generator;
        let labels = gather_labels(&inputs.labels, &draw.partners)?;
        let rows = |partner: &Vec<u32>| {
            clean_logits.index_select(&Tensor::new(partner.as_slice(), clean_logits.device())?, 0)
        };
        let plain: Vec<Tensor> = draw.partners.iter().map(rows).collect::<candle_core::Result<_>>()?;
        Ok([losses::amce(&logits, &labels, &draw.lambdas)?, losses::cosine(&logits, &plain, &draw.lambdas)?])
    }

    /// S1 to S3: the student on the pictures, on their linear mix, and on the generated mix. Each term is differentiated
    /// on its own. Gives `clean`, `mce` and `amce_bb`.
    fn train_student(
        &self,
        inputs: &Inputs,
        draws: &DrawPair,
        blend: &Tensor,
        gradients: &mut Gradients,
    ) -> Result<(Tensor, Option<Tensor>, Tensor)> {
        let (config, draw) = (self.config, &draws.classifier);
        let [mixed, linear, plain] = config.objective.classifier_weights(config.images, config.alpha);
        let labels = gather_labels(&inputs.labels, &draw.partners)?;
        let weights = self.student.parameters.weights();
        let mut descend =
            |images: &Tensor, head: Head, weight: f64, loss: &dyn Fn(&Tensor) -> _| -> Result<Tensor> {
                let mut pass = Pass::train();
                let pooled = self.student.backbone().features(images, &mut pass)?.pooled;
                let loss: Tensor = loss(&self.student.trained.logits(&pooled, head)?)?;
                pass.commit(1)?;
                gradients.backward(&loss, weight, &weights)?;
                Ok(loss.detach())
            };
        let clean =
            descend(&inputs.images, Head::OneHot, plain, &|logits| losses::ce(logits, &inputs.labels))?;
        let mce = if config.objective.reads_linear_mix(config.images) {
            let images = linear_mix(&inputs.images, &draw.partners, &draw.weights())?;
            let loss = |logits: &Tensor| losses::mce(logits, &labels, &draw.lambdas);
            Some(descend(&images, Head::Mixup, linear, &loss)?)
        } else {
            None
        };
        let loss = |logits: &Tensor| losses::amce(logits, &labels, &draw.lambdas);
        Ok((clean, mce, descend(blend, Head::Mixup, mixed, &loss)?))
    }

    /// S4: the student as a fixed function, on the generator's mix.
    fn student_as_adversary(&self, inputs: &Inputs, draws: &DrawPair, challenge: &Tensor) -> Result<Tensor> {
        let mut pass = Pass::train();
        let pooled = self.student.fixed.backbone.features(challenge, &mut pass)?.pooled;
        let logits = self.student.fixed.logits(&pooled, Head::Mixup)?;
        pass.commit(1)?;
        let labels = gather_labels(&inputs.labels, &draws.generator.partners)?;
        Ok(losses::amce(&logits, &labels, &draws.generator.lambdas)?)
    }

    fn draw(&self, batch: usize, draws: Key) -> Result<DrawPair> {
        let (n, beta, mut rng) = (self.config.images, self.config.beta_parameter, draws.rng());
        Ok(match self.config.objective {
            Objective::Published => DrawPair::published(n, beta, batch, &mut rng)?,
            Objective::Paper => DrawPair::shared(n, beta, batch, &mut rng)?,
        })
    }
}

fn detached(components: Components) -> Components {
    let detach = |loss: Option<Tensor>| loss.map(|loss| loss.detach());
    Components {
        amce_bb: components.amce_bb.detach(),
        mce: detach(components.mce),
        clean: components.clean.detach(),
        amce_mb_student: detach(components.amce_mb_student),
        amce_mb_teacher: components.amce_mb_teacher.detach(),
        cosine: detach(components.cosine),
    }
}

impl Method for AdAutoMix {
    fn backward(
        &mut self,
        inputs: &Inputs,
        step: usize,
        draws: Key,
        gradients: &mut Gradients,
    ) -> Result<Losses> {
        let draws = self.draw(inputs.labels.len(), draws)?;
        let adversarial = adversarial(step, self.config.adversarial_interval);
        let iteration = self.iterate(inputs, &draws, adversarial, gradients)?;
        let components = &iteration.components;
        let named = [
            ("classifier", Some(&iteration.classifier)),
            ("generator", Some(&iteration.generator)),
            ("clean", Some(&components.clean)),
            ("mce", components.mce.as_ref()),
            ("amce_bb", Some(&components.amce_bb)),
            ("amce_mb_student", components.amce_mb_student.as_ref()),
            ("amce_mb_teacher", Some(&components.amce_mb_teacher)),
            ("cosine", components.cosine.as_ref()),
        ];
        let there = named.into_iter().filter_map(|(name, loss)| Some((name, loss?)));
        there.map(|(name, loss)| Ok((name, f64::from(loss.to_scalar::<f32>()?)))).collect()
    }

    fn updated(&mut self, step: usize) -> Result<()> {
        teacher::follow(&self.teacher.parameters, &self.student.parameters, self.config.momentum.at(step))
    }

    fn trained(&self) -> Vec<(&'static str, &Parameters)> {
        vec![("student", &self.student.parameters), ("generator", &self.generator_parameters)]
    }

    fn state(&self) -> Vec<(&'static str, &Parameters)> {
        let mut state = self.trained();
        state.push(("teacher", &self.teacher.parameters));
        state
    }

    fn evaluated(&self) -> Vec<(&'static str, &Classifier)> {
        vec![("student", &self.student.fixed), ("teacher", &self.teacher.fixed)]
    }

    fn show(&self, inputs: &Inputs, draws: Key) -> Result<Shown> {
        let draw = self.draw(inputs.labels.len(), draws)?.classifier;
        // Running statistics here: a picture's masks shouldn't depend on which others are shown beside it.
        let features = self.teacher.fixed.backbone.features(&inputs.images, &mut Pass::eval())?;
        let masks = self.generator.masks(
            &features.stages[self.config.feature_stage],
            &draw.partners,
            &draw.lambdas,
        )?;
        let blends = mix_images(&inputs.images, &draw.partners, &masks)?.detach();
        let weights = draw.weights().repeat(inputs.labels.len());
        Ok(Shown { partners: draw.partners, weights, masks: Some(masks.detach()), blends })
    }
}
