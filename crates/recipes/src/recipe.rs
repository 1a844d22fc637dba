//! The recipe: everything that decides a run, except where it happens.

use serde::{Deserialize, Serialize};

use crate::claim::Claim;
use crate::data::Data;
use crate::method::Method;

/// A whole, valid recipe. [`Library::load`](crate::Library::load) and [`Recipe::from_toml`] make them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recipe {
    /// The name that it was found by, as `cifar100/resnet18/adautomix`.
    pub name: String,
    /// The pictures and what is done to them before mixing.
    pub data: Data,
    /// The network that is trained.
    pub network: Network,
    /// Length, batch, seed.
    pub training: Training,
    /// How weights follow gradients.
    pub optimizer: Optimizer,
    /// How the learning rate changes during the run.
    pub schedule: Schedule,
    /// The moving average of the network, where the method has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub teacher: Option<Teacher>,
    /// The mixing method.
    pub method: Method,
    /// How mixed pictures are judged; the learned methods have objectives of their own.
    pub loss: Loss,
    /// The frozen network whose features guide a mixer, where it isn't the one that is trained.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub observer: Option<Observer>,
    /// The published figure that the recipe is meant to reproduce.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub claim: Option<Claim>,
}

impl Recipe {
    /// Steps in one epoch over `train_pictures` pictures; a step is one batch.
    #[must_use]
    pub fn steps_per_epoch(&self, train_pictures: usize) -> usize {
        let batch = self.training.batch_size.max(1);
        if self.training.drop_last { train_pictures / batch } else { train_pictures.div_ceil(batch) }
    }

    /// Steps in the whole run: `training.steps` where given, else those of all epochs.
    #[must_use]
    pub fn total_steps(&self, train_pictures: usize) -> usize {
        self.training.steps.unwrap_or(self.training.epochs * self.steps_per_epoch(train_pictures))
    }
}

/// The network that is trained.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Network {
    /// The backbone, as `resnet18-cifar`.
    pub name: String,
    /// How many heads it has.
    pub heads: Heads,
    /// The weights that it begins with: `torchvision` for those of torchvision for ImageNet-1K, or the name of a recipe
    /// for those of its run. Without it they are drawn.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pretrained: Option<String>,
    /// How probably the last residual block is left out for a sample; it rises linearly from 0 at the first.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_path: Option<f64>,
    /// What its maps are computed in; weights, statistics and losses are `f32` in either.
    #[serde(default, skip_serializing_if = "Precision::is_f32")]
    pub precision: Precision,
}

impl Network {
    /// Whether it is a residual network, which computes in `bf16` too.
    #[must_use]
    pub fn takes_bf16(&self) -> bool {
        self.name.starts_with("resnet") || self.name.starts_with("resnext")
    }
}

/// The type of a network's maps.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// 24 bits; on CUDA products may have factors of 11 (TF32).
    #[default]
    F32,
    /// 8 bits with the range of `f32`, the channels of a pixel side by side; for residual networks.
    Bf16,
}

impl Precision {
    fn is_f32(&self) -> bool {
        *self == Self::F32
    }
}

/// How many heads a network has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Heads {
    /// One for all pictures.
    One,
    /// One for unmixed and one for mixed pictures.
    Two,
}

/// Length, batch, seed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Training {
    /// Passes over the training pictures.
    pub epochs: usize,
    /// Length of the run in steps, in place of `epochs`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub steps: Option<usize>,
    /// Pictures in a step.
    pub batch_size: usize,
    /// What all chance is drawn from.
    pub seed: u64,
    /// Steps whose gradients are averaged for one update of the weights.
    pub accumulate: usize,
    /// Largest norm that all gradients together may have.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clip_norm: Option<f64>,
    /// Whether the last, smaller batch of an epoch is left out.
    pub drop_last: bool,
}

/// How weights follow gradients.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Optimizer {
    /// The rule.
    pub name: OptimizerName,
    /// Learning rate at the start.
    pub lr: f64,
    /// Share of the last update that is kept; SGD only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub momentum: Option<f64>,
    /// Whether the momentum is Nesterov's; SGD only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nesterov: Option<bool>,
    /// What the moving averages of gradients and of their squares keep; AdamW only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub betas: Option<[f64; 2]>,
    /// What is added to the root of the averaged squares; AdamW only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub eps: Option<f64>,
    /// Share of every weight that is added to its gradient (SGD), or taken off it with the learning rate (AdamW).
    pub weight_decay: f64,
    /// Weights without decay: those whose name contains one of these; `norm_layers` for all of normalisation layers.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub no_weight_decay: Vec<String>,
    /// The generator's own rate, where it has one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub generator: Option<GeneratorOptimizer>,
}

/// The rules for updates.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerName {
    /// Stochastic gradient descent with momentum.
    Sgd,
    /// Adam with decoupled weight decay (Loshchilov and Hutter, 2019).
    AdamW,
}

/// The generator's own rate; it follows the schedule without its warm-up, and all else of the optimizer is the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GeneratorOptimizer {
    /// Learning rate at the start.
    pub lr: f64,
    /// Learning rate that the schedule falls to.
    pub min_lr: f64,
    /// Share of every weight that is added to its gradient.
    pub weight_decay: f64,
}

/// How the learning rate changes during the run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// The curve.
    pub name: ScheduleName,
    /// Learning rate that it falls to.
    pub min_lr: f64,
    /// How often it changes.
    pub by: TimeUnit,
    /// A slower start.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub warmup: Option<Warmup>,
}

/// The curves of a schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ScheduleName {
    /// Half a cosine, from the rate at the start to the lowest.
    Cosine,
}

/// What a schedule counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TimeUnit {
    /// Epochs.
    Epoch,
    /// Steps.
    Step,
}

/// A linear rise of the learning rate at the start of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warmup {
    /// Its length.
    pub length: usize,
    /// What the length counts; the rate rises at every step either way.
    pub by: TimeUnit,
    /// Share of the scheduled rate at the first step.
    pub ratio: f64,
}

/// How mixed pictures are judged.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Loss {
    /// What compares logits with targets.
    pub name: LossName,
    /// The share of the target that is spread over all classes.
    pub smoothing: f64,
    /// How the weights of labels are averaged.
    pub label_weights: LabelWeights,
    /// Weight of the loss of the unmixed pictures, which is added; 0 adds nothing.
    pub clean_weight: f64,
}

/// What compares logits with targets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LossName {
    /// Softmax cross-entropy.
    #[default]
    CrossEntropy,
    /// Binary cross-entropy of every class's softmax, averaged over classes: that of Co-Mixup's authors.
    BinaryOfSoftmax,
}

/// How the weights of the labels of mixed pictures are averaged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelWeights {
    /// Each picture's labels have their own weights: what every paper defines.
    #[default]
    PerSample,
    /// Losses are averaged before they are weighted with the batch's mean weights: what published code computes.
    BatchMean,
}

/// A frozen network whose features guide a mixer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Observer {
    /// The backbone, as `resnet18`.
    pub network: String,
    /// Its weights, a safetensors file with the names of timm or torchvision.
    pub weights: std::path::PathBuf,
    /// Side of the pictures that it is shown, in pixels; they are enlarged bilinearly.
    pub input_size: usize,
}

/// The moving average of the network: momentum rises along half a cosine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Teacher {
    /// Momentum at the start.
    pub base_momentum: f64,
    /// Momentum at the end.
    pub end_momentum: f64,
    /// Where the rise begins and ends, as shares of all steps.
    pub scope: [f64; 2],
    /// What the momentum does before the rise begins.
    pub before_scope: BeforeScope,
}

/// What the teacher's momentum does before its rise begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BeforeScope {
    /// It stays at the start's.
    Constant,
    /// It rises linearly to the end's.
    Linear,
}
