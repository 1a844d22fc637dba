//! Operations of `mixers`: hand-crafted mixing, and the labels of mixed images.

use adautomix_losses::{self as losses, MixedReduction};
use adautomix_mixing::cutmix::CutMixPlan;
use adautomix_mixing::mixup::MixUpPlan;
use adautomix_mixing::{Plan, Targets, View};
use anyhow::{Context, Result, bail};
use candle_core::Tensor;

use super::case::Case;
use super::{Op, Outputs};

pub(super) const OPS: &[(&str, Op)] =
    &[("mixup", mixup), ("cutmix", cutmix), ("mix_targets", mix_targets), ("mixed_ce", mixed_ce)];

fn mixup(case: &Case) -> Result<Outputs> {
    mix(case, &MixUpPlan { lambda: case.param("lam")?, partner: case.indices("perm")? })
}

fn cutmix(case: &Case) -> Result<Outputs> {
    let center = [case.param("center_row")?, case.param("center_col")?];
    let plan = CutMixPlan { lambda: case.param("lam")?, center, partner: case.indices("perm")? };
    let (_, _, height, width) = case.input("x")?.dims4()?;
    let (area, _) = plan.area([height, width]);
    let mut outputs = mix(case, &plan)?;
    outputs.push(("box".into(), Tensor::new(&area.map(|side| side as i64), &case.device)?));
    Ok(outputs)
}

/// A mixed batch, and the weight of the sample's own label.
fn mix(case: &Case, plan: &dyn Plan) -> Result<Outputs> {
    let mixed = plan.mix(&View::of(&case.input("x")?))?;
    let Targets::Labels { weights, .. } = mixed.targets else {
        bail!("the mixer gives no weights of labels");
    };
    let own = weights.first().context("the mixer gives no weights of labels")?;
    Ok(vec![("mixed".into(), mixed.images), ("lam".into(), Tensor::new(&[*own], &case.device)?)])
}

/// The two samples of each mix: itself and its partner.
fn pairs(case: &Case) -> Result<Vec<Vec<u32>>> {
    let partner = case.indices("perm")?;
    Ok(vec![(0..partner.len() as u32).collect(), partner])
}

/// Weights of the sample and its partner, `[2]` if the batch shares them, else `[B * 2]`.
fn weights(case: &Case) -> Result<Vec<f32>> {
    let (own, partner) = match case.find("in/lam") {
        Some(_) => {
            let own = case.numbers("lam")?;
            let partner = own.iter().map(|own| 1.0 - own).collect();
            (own, partner)
        }
        None => (case.numbers("lam_a")?, case.numbers("lam_b")?),
    };
    Ok(own.into_iter().zip(partner).flat_map(<[f32; 2]>::from).collect())
}

fn mix_targets(case: &Case) -> Result<Outputs> {
    let smoothing = case.optional("smoothing")?.unwrap_or(0.0);
    let (classes, labels) = (case.param("num_classes")?, case.indices("label")?);
    let target =
        losses::mix_targets(&labels, &pairs(case)?, &weights(case)?, classes, smoothing, &case.device)?;
    Ok(vec![("target".into(), target)])
}

fn mixed_ce(case: &Case) -> Result<Outputs> {
    let reduction = match case.param::<String>("reduction")?.as_str() {
        "per_sample" => MixedReduction::PerSample,
        "batch_mean" => MixedReduction::BatchMean,
        other => bail!("unknown reduction `{other}`, expected `per_sample` or `batch_mean`"),
    };
    let (logits, labels) = (case.input("logits")?, case.indices("label")?);
    let loss = losses::mixed_ce(&logits, &labels, &pairs(case)?, &weights(case)?, reduction)?;
    Ok(vec![("loss".into(), loss.reshape(1)?)])
}
