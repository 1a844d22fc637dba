//! The labels of mixed images.

use adautomix_losses::{self as losses, MixedReduction};
use anyhow::{Result, bail};

use super::{Case, Op, Outputs};

pub(super) const OPS: &[(&str, Op)] = &[("mix_targets", mix_targets), ("mixed_ce", mixed_ce)];

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
