//! The mixing methods and their parameters, under names that say what they do.

use serde::{Deserialize, Serialize, Serializer};
use toml::{Table, Value};

use crate::read::{Problem, ReadError, read};

/// How pictures are mixed and what is learned from them: the recipe's `[method]`, told apart by `name`.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// Qin et al., 2024: a generator of masks, trained against the classifier.
    AdAutoMix(AdAutoMix),
    /// Liu et al., 2022: a generator of masks, trained with the classifier.
    AutoMix(AutoMix),
    /// Li et al., 2021: the same with another generator.
    SAMix(AutoMix),
    /// Zhao et al., NeurIPS 2020: pictures moved to where the network is wrong and unsure, appended to the data.
    MeAda(MeAda),
    /// Li et al., ECCV 2020: a policy of picture operations, learned by gradients beside the weights.
    Dada(Dada),
    /// Zhang et al., MICCAI 2023: amplitudes of another picture where the network errs easily.
    SpectralMixup(SpectralMixup),
    /// Any mixer of the registry of `adautomix-mixing`, which knows its parameters.
    Mixer {
        /// Its name, as `cutmix`.
        name: String,
        /// Its parameters by name; those that are not given are at their default.
        parameters: Table,
    },
}

impl Method {
    /// The name in recipes, as `mixup`.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::AdAutoMix(_) => "adautomix",
            Self::AutoMix(_) => "automix",
            Self::SAMix(_) => "samix",
            Self::MeAda(_) => "me-ada",
            Self::Dada(_) => "dada",
            Self::SpectralMixup(_) => "spectral-mixup",
            Self::Mixer { name, .. } => name,
        }
    }

    /// Reads the recipe's `[method]`: its `name` decides which other keys there are.
    pub(crate) fn read(mut table: Table) -> Result<Self, ReadError> {
        let name = table.remove("name").ok_or_else(|| ReadError::at("name", Problem::Missing))?;
        let name: String = read(name).map_err(|error| error.under("name"))?;
        match name.as_str() {
            "adautomix" => read(Value::Table(table)).map(Self::AdAutoMix),
            "automix" => read(Value::Table(table)).map(Self::AutoMix),
            "samix" => read(Value::Table(table)).map(Self::SAMix),
            "me-ada" => read(Value::Table(table)).map(Self::MeAda),
            "dada" => read(Value::Table(table)).map(Self::Dada),
            "spectral-mixup" => read(Value::Table(table)).map(Self::SpectralMixup),
            _ => Ok(Self::Mixer { name, parameters: table }),
        }
    }

    /// The parameters by name.
    fn parameters(&self) -> Result<Table, toml::ser::Error> {
        match self {
            Self::AdAutoMix(settings) => Table::try_from(settings),
            Self::AutoMix(settings) | Self::SAMix(settings) => Table::try_from(settings),
            Self::MeAda(settings) => Table::try_from(settings),
            Self::Dada(settings) => Table::try_from(settings),
            Self::SpectralMixup(settings) => Table::try_from(settings),
            Self::Mixer { parameters, .. } => Ok(parameters.clone()),
        }
    }

    /// Whether the method needs a teacher, the moving average of the network that is trained.
    #[must_use]
    pub fn has_teacher(&self) -> bool {
        self.has_generator()
    }

    /// Whether the method trains a generator of masks beside the network.
    #[must_use]
    pub fn has_generator(&self) -> bool {
        matches!(self, Self::AdAutoMix(_) | Self::AutoMix(_) | Self::SAMix(_))
    }
}

impl Serialize for Method {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut table = Table::from_iter([("name".to_owned(), self.name().into())]);
        table.extend(self.parameters().map_err(serde::ser::Error::custom)?);
        table.serialize(serializer)
    }
}

/// Parameters of AdAutoMix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AdAutoMix {
    /// How many pictures are mixed into one (the paper's N).
    pub images: usize,
    /// Whether each step draws their number from 2 to `images`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub draw_images: bool,
    /// `a` of Beta(a, a), from which the weights λ are drawn.
    pub beta_parameter: f64,
    /// Share of the linear mix in the classifier's loss beside the generated one (the paper's α, Eq. 11).
    pub linear_weight: f64,
    /// Weight of the teacher's loss in the generator's objective; 1 minus it is the weight of the cosine (the paper's β).
    pub teacher_weight: f64,
    /// Which objective the generator has.
    pub objective: Objective,
    /// Terms that are left out of both losses, as in the paper's ablation (Tables 5 and 8).
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub without: Vec<Term>,
    /// The published objective is adversarial at every step that this divides, the first included.
    pub adversarial_interval: usize,
    /// How probably a step trains the generator; always, where it isn't given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator_probability: Option<f64>,
    /// How near to 0 or 1 the first λ may come before the classifier gets the linear mix.
    pub margin: f64,
    /// What "too near" means.
    pub margin_rule: MarginRule,
    /// Stage of the teacher whose map the generator sees, counted from 0.
    pub feature_stage: usize,
    /// The generator of masks.
    pub generator: GeneratorNetwork,
}

/// A term of AdAutoMix's losses that can be left out (Eq. 11).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Term {
    /// The classifier's loss on plain pictures.
    Clean,
    /// The classifier's loss on the linear mix.
    Linear,
    /// The teacher's loss in the generator's objective.
    Teacher,
    /// The similarity of the teacher's logits in the generator's objective.
    Cosine,
}

/// The two objectives of AdAutoMix's generator.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Objective {
    /// What the authors' code does: the teacher only, adversarial and cooperative steps in turn.
    Published,
    /// What the paper's equations say: ascends the student's loss, with teacher and cosine as regularisers.
    Paper,
}

/// When the first λ is so near to 0 or 1 that the classifier's masks are replaced by the weights themselves.
/// With the margin `m` and the first weight `λ`:
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MarginRule {
    /// Two pictures: `m >= λ` or `m >= 1 - λ`.
    Pair,
    /// Three and more, as in the authors' code: `m >= λ` or `m > 1 - λ`.
    Author,
    /// Three and more, as in OpenMixup, whose comparison is turned round: `m >= λ` or `m < 1 - λ`.
    OpenMixup,
    /// Never.
    None,
}

/// The generator of masks: one attention block (Eq. 5 to 7).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorNetwork {
    /// Channels of the map over channels of query and key.
    pub reduction: usize,
    /// Whether λ is joined to the map as a further plane.
    pub lambda_plane: bool,
    /// Whether the attention is divided by the square root of its channels.
    pub scale: bool,
    /// Whether query and key pass a ReLU.
    pub relu: bool,
    /// How masks are brought from the map's size to the picture's.
    pub upsampling: Upsampling,
    /// Side of the picture over side of the map.
    pub upsampling_factor: usize,
}

/// Parameters of AutoMix and SAMix.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AutoMix {
    /// `a` of Beta(a, a), from which the weights λ are drawn.
    pub beta_parameter: f64,
    /// Whether partners are drawn again, up to ten times, as long as a picture is mixed with itself.
    pub distinct_partners: bool,
    /// How near to 0 or 1 λ may come before the classifier gets the linear mix.
    pub margin: f64,
    /// Stage of the teacher whose map the generator sees, counted from 0.
    pub feature_stage: usize,
    /// The generator of masks.
    pub generator: MixBlock,
    /// What masks cost by themselves.
    pub mask_loss: MaskLoss,
}

/// The generator of AutoMix and SAMix: one attention block for two pictures.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MixBlock {
    /// Channels of the map over channels of query and key.
    pub reduction: usize,
    /// Whether the attention is divided by the square root of its channels.
    pub scale: bool,
    /// Whether λ is joined to the maps as a further plane.
    pub lambda_plane: bool,
    /// Whether query and key have weights of their own and see both pictures.
    pub joint: bool,
    /// Channels between the two convolutions of the value, where it has two.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value_hidden: Option<usize>,
    /// How masks are brought from the map's size to the picture's.
    pub upsampling: Upsampling,
    /// Side of the picture over side of the map.
    pub upsampling_factor: usize,
    /// How maps are multiplied by something that depends on λ.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modulation: Option<Modulation>,
}

/// How a map is multiplied by something that depends on λ.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Modulation {
    /// The `k` of a cubic that takes the place of λ: flat around 1/2, and the straighter the larger `k` is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub curve: Option<f64>,
    /// The map is multiplied by 1 plus so many times λ; by λ alone where this isn't given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub residual: Option<f64>,
}

/// What masks cost by themselves.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MaskLoss {
    /// Its weight beside the loss of the teacher.
    pub weight: f64,
    /// How far the mean of the masks may be from λ at no cost.
    pub margin: f64,
    /// What the variance of the masks earns.
    pub variance_weight: f64,
    /// How the weight falls during the run.
    pub annealing: Annealing,
}

/// How a weight falls during a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Annealing {
    /// It stays.
    None,
    /// Along half a cosine over all steps, to 0.
    Cosine,
    /// As in published code, which takes each step's weight for the base of the next: by the product of all factors so far.
    Reference,
}

/// How a mask is made larger.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Upsampling {
    /// Linear in both directions.
    Bilinear,
    /// The nearest value.
    Nearest,
    /// Cubic in both directions.
    Bicubic,
}

/// Parameters of ME-ADA.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MeAda {
    /// How often adversarial pictures are appended (the paper's K).
    pub phases: usize,
    /// The share of the run that lies before the first phase and between each two.
    pub interval: f64,
    /// Adversarial pictures that each phase appends.
    pub memory: usize,
    /// Steps of ascent that make a picture (the paper's T_max).
    pub ascent_steps: usize,
    /// Length of a step for a gradient of 1, in normalised pixels (the paper's η).
    pub step_size: f64,
    /// Weight of the entropy of the prediction, which is ascended with the loss (the paper's β).
    pub entropy_weight: f64,
    /// Weight of the cost, half the squared distance of the features, which is descended (the paper's γ).
    pub transport_weight: f64,
}

/// Parameters of DADA.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dada {
    /// The share of the run, from its start, in which the policy is learned.
    pub search_share: f64,
    /// Learning rate of the policy, by Adam.
    pub policy_lr: f64,
    /// Temperature of the relaxed choices (the paper's τ and λ).
    pub temperature: f64,
    /// Neurons of the control variate's hidden layer.
    pub hidden: usize,
    /// How many sub-policies, those of the highest weight, are trained with after the search.
    pub sub_policies: usize,
}

/// Parameters of spectral adversarial mixup.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SpectralMixup {
    /// Steps of ascent that make the strength of a blend (the paper's λ*).
    pub ascent_steps: usize,
    /// Length of a step of the strength.
    pub step_size: f64,
    /// Over how many measurements the error rate at a frequency is a mean; later ones count more.
    pub window: usize,
    /// Weight of the divergence of what is said of a picture and of its blend (the paper's μ).
    pub consistency_weight: f64,
}
