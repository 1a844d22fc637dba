//! Operations of `mixers`. Here is what they share; each group of methods has a file of its own.

mod alignment;
mod comixup;
mod handmade;
mod labels;
mod puzzlemix;
mod saliency;
mod tokens;

use adautomix_mixing::{Normalisation, Plan, Targets, View};
use anyhow::{Result, bail};
use candle_core::Tensor;

use super::case::Case;
use super::{Op, Outputs};

/// The operations of all groups.
pub(super) fn ops() -> impl Iterator<Item = &'static (&'static str, Op)> {
    [alignment::OPS, comixup::OPS, handmade::OPS, labels::OPS, puzzlemix::OPS, saliency::OPS, tokens::OPS]
        .into_iter()
        .flatten()
}

/// A mixed batch, and the weight of the sample's own label, `[1]` if the batch shares it, else `[B]`.
fn mix(case: &Case, plan: &dyn Plan) -> Result<Outputs> {
    let images = case.input("x")?;
    mixed(case, plan, &View::of(&images))
}

/// The same where the plan looks at more than the pictures.
fn mixed(case: &Case, plan: &dyn Plan, view: &View<'_>) -> Result<Outputs> {
    let mixed = plan.mix(view)?;
    let [own, _] = pair_weights(&mixed.targets)?;
    Ok(vec![("mixed".into(), mixed.images), ("lam".into(), Tensor::new(own, &case.device)?)])
}

/// The weights of the samples' own labels and of their partners', one each if the batch shares them.
fn pair_weights(targets: &Targets) -> Result<[Vec<f32>; 2]> {
    let Targets::Labels { partners, weights } = targets else {
        bail!("the mixer gives no weights of labels");
    };
    let n = partners.len();
    let of = |i: usize| weights.iter().skip(i).step_by(n.max(1)).copied().collect();
    Ok([of(0), of(1)])
}

/// The normalisation of a case.
fn normalisation(case: &Case) -> Result<Normalisation> {
    Ok(Normalisation { mean: case.param("mean")?, std: case.param("std")? })
}

/// A box as the cases have it.
fn boxed(case: &Case, area: [usize; 4]) -> Result<Tensor> {
    Ok(Tensor::new(&area.map(|side| side as i64), &case.device)?)
}
