//! The settings of methods that train a generator of masks.

use adautomix_backbones::Backbone;
use adautomix_losses::{Objective, adversarial};
use adautomix_mixing::{
    Generator, GeneratorConfig, MarginRule, MaskLoss, MaskMaker, MixBlock, MixBlockConfig, Modulation,
    ValueInput,
};
use adautomix_ops::Interpolation;
use adautomix_recipes::{self as recipes, Term};
use candle_nn::VarBuilder;

use crate::schedule::{MaskWeight, Momentum};
use crate::{Error, Result};

/// What sets the methods apart.
#[derive(Clone, Copy, Debug)]
pub struct LearnedConfig {
    /// Images of a mix, AdAutoMix's N.
    pub images: usize,
    /// Whether each step draws their number from 2 to `images`.
    pub draw_images: bool,
    /// `a` of Beta(a, a), of which the ratios are drawn.
    pub beta_parameter: f64,
    /// Whether pairs are drawn again, a few times, as long as an image is mixed with itself.
    pub distinct_partners: bool,
    /// Share of the linear mix beside the plain pictures, AdAutoMix's α.
    pub alpha: f64,
    /// Weight of the teacher's loss in the objective of an adversarial generator, AdAutoMix's β.
    pub beta: f64,
    /// Which objective.
    pub objective: Objective,
    /// 1, or 0 where it is left out, for the classifier's terms on linear mixes and plain pictures, and the generator's
    /// terms of the teacher's loss and of the similarity.
    pub terms: [f64; 4],
    /// The published objective is adversarial at every so many steps, never if there is none.
    pub adversarial_interval: Option<usize>,
    /// How probably a step trains the generator.
    pub generator_probability: f64,
    /// The share of every target that is spread over all classes.
    pub smoothing: f64,
    /// How probably the last block of a transformer or ConvNeXt is left out for a sample.
    pub drop_path: f64,
    /// How near to 0 or 1 the first ratio may come before the classifier gets the linear mix.
    pub margin: f64,
    /// What too near means.
    pub margin_rule: MarginRule,
    /// Stage of the teacher that the generator sees, counted from 0.
    pub feature_stage: usize,
    /// The generator.
    pub generator: MaskMakerConfig,
    /// What the generator's own loss of its masks weighs, where it has one.
    pub mask_weight: MaskWeight,
    /// How the teacher follows.
    pub momentum: Momentum,
}

/// Which network makes the masks. Its channels are those of the feature stage, whatever is said here.
#[derive(Clone, Copy, Debug)]
pub enum MaskMakerConfig {
    /// AdAutoMix's.
    Generator(GeneratorConfig),
    /// AutoMix's and SAMix's.
    MixBlock(MixBlockConfig),
}

impl MaskMakerConfig {
    /// How much larger the pictures are than the features.
    pub(super) fn scale_factor(&self) -> usize {
        match self {
            Self::Generator(config) => config.scale_factor,
            Self::MixBlock(config) => config.scale_factor,
        }
    }

    /// The network, for features of so many channels.
    pub(super) fn build(self, channels: usize, vb: VarBuilder<'_>) -> Result<Box<dyn MaskMaker>> {
        Ok(match self {
            Self::Generator(config) => Box::new(Generator::new(GeneratorConfig { channels, ..config }, vb)?),
            Self::MixBlock(config) => Box::new(MixBlock::new(MixBlockConfig { channels, ..config }, vb)?),
        })
    }
}

impl LearnedConfig {
    /// The weights of `amce_bb`, `mce` and `clean` for a mix of so many images.
    pub(super) fn classifier_weights(&self, images: usize) -> [f64; 3] {
        let [mixed, linear, clean] = self.objective.classifier_weights(images, self.alpha);
        [mixed, self.terms[0] * linear, self.terms[1] * clean]
    }

    /// The weights of `amce_mb_student`, `amce_mb_teacher` and `cosine` at a step.
    pub(super) fn generator_weights(&self, step: usize) -> [f64; 3] {
        let adversarial = self.adversarial_interval.is_some_and(|interval| adversarial(step, interval));
        let [student, teacher, cosine] = self.objective.generator_weights(self.beta, adversarial);
        [student, self.terms[2] * teacher, self.terms[3] * cosine]
    }

    /// The margin rule of a mix of so many images: that of two where `draw_images` has drawn two.
    pub(super) fn margin_rule(&self, images: usize) -> MarginRule {
        match self.margin_rule {
            MarginRule::Author | MarginRule::Openmixup if images == 2 => MarginRule::Pair,
            rule => rule,
        }
    }

    /// Whether the teacher's logits of a mix are compared with those of its plain images.
    pub(super) fn compares_with_plain(&self) -> bool {
        self.objective == Objective::Paper || self.adversarial_interval.is_some()
    }

    /// The settings of a recipe for AdAutoMix.
    pub fn adautomix(settings: &recipes::AdAutoMix, recipe: &recipes::Recipe, momentum: Momentum) -> Self {
        let generator = &settings.generator;
        let terms = [Term::Linear, Term::Clean, Term::Teacher, Term::Cosine];
        Self {
            images: settings.images,
            draw_images: settings.draw_images,
            generator_probability: settings.generator_probability.unwrap_or(1.0),
            smoothing: recipe.loss.smoothing,
            drop_path: recipe.network.drop_path.unwrap_or(0.0),
            beta_parameter: settings.beta_parameter,
            distinct_partners: false,
            alpha: settings.linear_weight,
            beta: settings.teacher_weight,
            objective: match settings.objective {
                recipes::Objective::Published => Objective::Published,
                recipes::Objective::Paper => Objective::Paper,
            },
            terms: terms.map(|term| if settings.without.contains(&term) { 0.0 } else { 1.0 }),
            adversarial_interval: Some(settings.adversarial_interval),
            margin: settings.margin,
            margin_rule: match settings.margin_rule {
                recipes::MarginRule::Pair => MarginRule::Pair,
                recipes::MarginRule::Author => MarginRule::Author,
                recipes::MarginRule::OpenMixup => MarginRule::Openmixup,
                recipes::MarginRule::None => MarginRule::None,
            },
            feature_stage: settings.feature_stage,
            generator: MaskMakerConfig::Generator(GeneratorConfig {
                channels: 0,
                reduction: generator.reduction,
                lambda_plane: generator.lambda_plane,
                scaled: generator.scale,
                relu: generator.relu,
                upsampling: interpolation(generator.upsampling),
                scale_factor: generator.upsampling_factor,
            }),
            mask_weight: MaskWeight::constant(0.0),
            momentum,
        }
    }

    /// The settings of a recipe for AutoMix or SAMix, and a run of so many steps: AdAutoMix's published step of two images
    /// without an adversary.
    pub fn automix(
        settings: &recipes::AutoMix,
        recipe: &recipes::Recipe,
        momentum: Momentum,
        steps: usize,
    ) -> Self {
        let (generator, loss) = (&settings.generator, &settings.mask_loss);
        Self {
            images: 2,
            draw_images: false,
            generator_probability: 1.0,
            smoothing: recipe.loss.smoothing,
            drop_path: recipe.network.drop_path.unwrap_or(0.0),
            beta_parameter: settings.beta_parameter,
            distinct_partners: settings.distinct_partners,
            // Two images have no linear mix, and the generator is with the teacher alone.
            alpha: 0.0,
            beta: 1.0,
            objective: Objective::Published,
            terms: [1.0; 4],
            adversarial_interval: None,
            margin: settings.margin,
            margin_rule: MarginRule::Pair,
            feature_stage: settings.feature_stage,
            generator: MaskMakerConfig::MixBlock(MixBlockConfig {
                channels: 0,
                reduction: generator.reduction,
                scaled: generator.scale,
                lambda_plane: generator.lambda_plane,
                modulation: generator
                    .modulation
                    .as_ref()
                    .map(|modulation| Modulation { curve: modulation.curve, residual: modulation.residual }),
                joint: generator.joint,
                value_input: ValueInput::Partner,
                value_hidden: generator.value_hidden,
                upsampling: interpolation(generator.upsampling),
                scale_factor: generator.upsampling_factor,
                mask_loss: MaskLoss { margin: loss.margin, variance_weight: loss.variance_weight },
            }),
            mask_weight: MaskWeight { base: loss.weight, annealing: loss.annealing, steps },
            momentum,
        }
    }

    /// Channels of the map that the generator sees of a network.
    pub(super) fn channels(&self, backbone: &dyn Backbone) -> Result<usize> {
        let (stage, stages, factor) = (self.feature_stage, backbone.stages(), self.generator.scale_factor());
        if stage >= stages {
            let text = format!("method.feature_stage is {stage}, but the network has {stages} stages");
            return Err(Error::Recipe(text));
        }
        let (channels, stride) = backbone.mixing_size(stage);
        if stride != factor {
            let text =
                format!("method.generator.upsampling_factor is {factor}, but the stage's stride is {stride}");
            return Err(Error::Recipe(text));
        }
        Ok(channels)
    }
}

fn interpolation(upsampling: recipes::Upsampling) -> Interpolation {
    match upsampling {
        recipes::Upsampling::Bilinear => Interpolation::Bilinear,
        recipes::Upsampling::Nearest => Interpolation::Nearest,
        recipes::Upsampling::Bicubic => Interpolation::Bicubic,
    }
}
