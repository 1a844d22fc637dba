//! The mixing methods and their parameters, under names that say what they do.

use serde::{Deserialize, Serialize, Serializer};
use toml::{Table, Value};

use crate::read::{Problem, ReadError, read};

/// How pictures are mixed and what is learned from them: the recipe's `[method]`, told apart by `name`.
#[derive(Debug, Clone, PartialEq)]
pub enum Method {
    /// Qin et al., 2024: a generator of masks, trained against the classifier.
    AdAutoMix(AdAutoMix),
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
            Self::Mixer { name, .. } => name,
        }
    }

    /// Reads the recipe's `[method]`: its `name` decides which other keys there are.
    pub(crate) fn read(mut table: Table) -> Result<Self, ReadError> {
        let name = table.remove("name").ok_or_else(|| ReadError::at("name", Problem::Missing))?;
        let name: String = read(name).map_err(|error| error.under("name"))?;
        match name.as_str() {
            "adautomix" => read(Value::Table(table)).map(Self::AdAutoMix),
            _ => Ok(Self::Mixer { name, parameters: table }),
        }
    }

    /// The parameters by name.
    fn parameters(&self) -> Result<Table, toml::ser::Error> {
        match self {
            Self::AdAutoMix(settings) => Table::try_from(settings),
            Self::Mixer { parameters, .. } => Ok(parameters.clone()),
        }
    }

    /// Whether the method needs a teacher, the moving average of the network that is trained.
    #[must_use]
    pub fn has_teacher(&self) -> bool {
        matches!(self, Self::AdAutoMix(_))
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
