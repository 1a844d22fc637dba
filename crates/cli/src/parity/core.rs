//! Operations of `core`: the mask generator, the losses, the objectives, the schedules, one whole step.

use std::str::FromStr;

use adautomix_losses::{self as losses, Components, Objective, SmoothingMode};
use adautomix_mixing::adautomix::{Generator, GeneratorConfig, MarginRule, apply_margin};
use adautomix_mixing::automix::{MaskLoss, MixBlock, MixBlockConfig, Modulation, ValueInput};
use adautomix_mixing::{Draw, MaskMaker};
use anyhow::{Context, Result, bail};
use candle_core::{DType, Tensor};
use serde::Deserialize;

use super::case::Case;
use super::{Op, Outputs, nets};

pub(super) const OPS: &[(&str, Op)] = &[
    ("mask_generator", mask_generator),
    ("mix_images", mix_images),
    ("mixblock", mixblock),
    ("lam_margin", lam_margin),
    ("losses", loss),
    ("objective", objective),
    ("adv_schedule", adv_schedule),
];

/// The generator's settings, under the names of the golden cases.
#[derive(Deserialize)]
pub(super) struct GeneratorParams {
    in_channel: usize,
    reduction: usize,
    lam_concat: bool,
    use_scale: bool,
    qk_relu: bool,
    mode: String,
    scale_factor: usize,
}

impl GeneratorParams {
    /// The same settings under our names.
    pub(super) fn config(&self) -> Result<GeneratorConfig> {
        Ok(GeneratorConfig {
            channels: self.in_channel,
            reduction: self.reduction,
            lambda_plane: self.lam_concat,
            scaled: self.use_scale,
            relu: self.qk_relu,
            upsampling: nets::interpolation(&self.mode)?,
            scale_factor: self.scale_factor,
        })
    }
}

/// The rows of sample 0, 1, … where tensors of one batch each are put behind each other.
fn rows(parts: &[Tensor]) -> Result<Vec<Vec<u32>>> {
    let mut start = 0;
    let mut rows = Vec::with_capacity(parts.len());
    for part in parts {
        let end = start + part.dim(0)? as u32;
        rows.push((start..end).collect());
        start = end;
    }
    Ok(rows)
}

fn mask_generator(case: &Case) -> Result<Outputs> {
    let features = case.inputs("features_")?;
    let lambdas: Vec<f64> = case.param("lambdas")?;
    let generator = Generator::new(case.all_params::<GeneratorParams>()?.config()?, case.weights())?;
    let mask = generator.project(&Tensor::cat(&features, 0)?)?.masks(&rows(&features)?, &lambdas)?;
    Ok(vec![("mask".into(), mask)])
}

fn mix_images(case: &Case) -> Result<Outputs> {
    let images = case.inputs("image_")?;
    let mask = case.input("mask")?;
    let mixed = adautomix_ops::mix_images(&Tensor::cat(&images, 0)?, &rows(&images)?, &mask)?;
    Ok(vec![("mixed".into(), mixed)])
}

/// The settings of a mixblock, under the names of the golden cases.
#[derive(Deserialize)]
struct MixBlockParams {
    in_channel: usize,
    reduction: usize,
    use_scale: bool,
    mode: String,
    scale_factor: usize,
    lam_concat: bool,
    lam_concat_v: bool,
    lam_mul: f64,
    lam_residual: bool,
    lam_mul_k: f64,
    value_neck: bool,
    value_hidden: Option<usize>,
    x_qk_concat: bool,
    x_v_concat: bool,
    mask_loss_mode: String,
    mask_loss_margin: f64,
}

impl MixBlockParams {
    /// The same settings under our names.
    fn config(&self) -> Result<MixBlockConfig> {
        let modulation = Modulation {
            curve: (self.lam_mul_k >= 0.0).then_some(self.lam_mul_k),
            residual: self.lam_residual.then_some(self.lam_mul),
        };
        Ok(MixBlockConfig {
            channels: self.in_channel,
            reduction: self.reduction,
            scaled: self.use_scale,
            lambda_plane: self.lam_concat,
            modulation: (self.lam_mul > 0.0).then_some(modulation),
            joint: self.x_qk_concat,
            value_input: match (self.lam_concat_v, self.x_v_concat) {
                (true, _) => ValueInput::PartnerAndRatio,
                (_, true) => ValueInput::Both,
                _ => ValueInput::Partner,
            },
            value_hidden: if self.value_neck {
                Some(self.value_hidden.context("its params have a `value_neck` and no `value_hidden`")?)
            } else {
                None
            },
            upsampling: nets::interpolation(&self.mode)?,
            scale_factor: self.scale_factor,
            mask_loss: MaskLoss {
                margin: self.mask_loss_margin,
                variance_weight: match self.mask_loss_mode.as_str() {
                    "L1" => 0.0,
                    "L1+Variance" => 2.0,
                    other => bail!("unknown mask loss `{other}`, expected `L1` or `L1+Variance`"),
                },
            },
        })
    }
}

fn mixblock(case: &Case) -> Result<Outputs> {
    let config = case.all_params::<MixBlockParams>()?.config()?;
    let running = || Tensor::zeros(config.value_hidden.unwrap_or(0), DType::F32, &case.device);
    let weights =
        case.weights_and([("value.0.bn.running_mean", running()?), ("value.0.bn.running_var", running()?)]);
    let block = MixBlock::new(config, weights)?;
    let (partner, lambda) = (case.indices("index")?, case.param::<f64>("lambda")?);
    let draw = Draw {
        lambdas: vec![lambda, 1.0 - lambda],
        partners: vec![(0..partner.len() as u32).collect(), partner],
    };
    let mask = block.masks(&case.input("feature")?, &draw, true)?;
    let loss = block.mask_loss(&mask, &draw.lambdas)?.context("its mask has no loss")?;
    Ok(vec![("mask".into(), mask), ("mask_loss".into(), loss)])
}

/// A margin rule by name.
pub(super) fn margin_rule(name: &str) -> Result<MarginRule> {
    Ok(match name {
        "none" => MarginRule::None,
        "pair" => MarginRule::Pair,
        "author" => MarginRule::Author,
        "openmixup" => MarginRule::Openmixup,
        _ => bail!("unknown margin rule `{name}`, expected `none`, `pair`, `author` or `openmixup`"),
    })
}

fn lam_margin(case: &Case) -> Result<Outputs> {
    let lambdas: Vec<f64> = case.param("lambdas")?;
    let rule = margin_rule(&case.param::<String>("rule")?)?;
    let mask = apply_margin(&case.input("mask")?, &lambdas, case.param("lam_margin")?, rule)?;
    Ok(vec![("mask".into(), mask)])
}

fn loss(case: &Case) -> Result<Outputs> {
    let logits = || case.input("logits");
    let labels = || case.all_indices("labels_");
    let lambdas: Vec<f64> = case.optional("lambdas")?.unwrap_or_default();
    let loss = match case.param::<String>("kind")?.as_str() {
        "ce" => losses::ce(&logits()?, &case.indices("labels_0")?)?,
        "ace" => losses::ace(&case.inputs("logits_")?, &labels()?, &lambdas)?,
        "amce" => losses::amce(&logits()?, &labels()?, &lambdas)?,
        "mce" => losses::mce(&logits()?, &labels()?, &lambdas)?,
        "soft_ce" => losses::soft_ce(&logits()?, &case.input("target")?)?,
        "bce" => losses::bce(&logits()?, &case.input("target")?)?,
        "cosine" => losses::cosine(&case.input("logits_mix")?, &case.inputs("logits_")?, &lambdas)?,
        "label_smooth" => {
            let mode = match case.param::<String>("mode")?.as_str() {
                "original" => SmoothingMode::Original,
                "classy_vision" => SmoothingMode::ClassyVision,
                other => bail!("unknown mode `{other}`, expected `original` or `classy_vision`"),
            };
            losses::label_smooth(&logits()?, &labels()?, &lambdas, case.param("label_smoothing")?, mode)?
        }
        other => bail!("unknown kind `{other}`"),
    };
    Ok(vec![("loss".into(), loss)])
}

fn objective(case: &Case) -> Result<Outputs> {
    let objective = Objective::from_str(&case.param::<String>("objective")?)?;
    let components = Components {
        amce_bb: case.input("amce_bb")?,
        mce: case.find("in/mce"),
        clean: case.find("in/clean"),
        amce_mb_student: case.find("in/amce_mb_student"),
        amce_mb_teacher: case.input("amce_mb_teacher")?,
        cosine: case.find("in/cosine"),
    };
    let adversarial = case.optional("adversarial")?.unwrap_or(true);
    let weights = objective.classifier_weights(case.param("n")?, case.param("alpha")?);
    let classifier = components.classifier(weights)?;
    let generator = components.generator(objective.generator_weights(case.param("beta")?, adversarial))?;
    let total = (&classifier + &generator)?;
    Ok(vec![("classifier".into(), classifier), ("generator".into(), generator), ("total".into(), total)])
}

fn adv_schedule(case: &Case) -> Result<Outputs> {
    let interval = case.param("adv_interval")?;
    let adversarial: Vec<i64> = (0..case.param("count")?)
        .map(|iteration| i64::from(losses::adversarial(iteration, interval)))
        .collect();
    Ok(vec![("adversarial".into(), Tensor::new(adversarial, &case.device)?)])
}
