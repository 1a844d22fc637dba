//! Co-Mixup: a batch mixed as a whole.

use adautomix_mixing::comixup::labels::{self, Shown};
use adautomix_mixing::comixup::{CoMixup, CoMixupPlan, compat};
use adautomix_mixing::{Plan, Targets, View, comixup};
use anyhow::{Result, bail};
use candle_core::Tensor;

use super::{Case, Op, Outputs};

pub(super) const OPS: &[(&str, Op)] =
    &[("comixup_compat", compatibility), ("comixup_labels", label), ("comixup_mix", mix), ("comixup", whole)];

fn mixer(case: &Case, inputs: usize, blocks: usize) -> Result<CoMixup> {
    Ok(CoMixup {
        partition: inputs,
        blocks,
        beta: case.param("beta")?,
        gamma: case.param("gamma")?,
        eta: case.param("eta")?,
        threshold: case.param("thres")?,
        threshold_type: case.param("thres_type")?,
        omega: case.optional("omega")?.unwrap_or_default(),
        resolve: case.param("set_resolve")?,
        iterations: case.param("niter")?,
        ..CoMixup::default()
    })
}

/// The labels to begin with, `[o * b * b]`.
fn start(case: &Case) -> Result<Vec<u32>> {
    let labels: Vec<i64> = case.input("init")?.flatten_all()?.to_vec1()?;
    labels.into_iter().map(|label| Ok(u32::try_from(label)?)).collect()
}

/// Masks `[o, b, b, n]`.
fn mask(case: &Case, shown: &[Shown], blocks: usize, inputs: usize) -> Result<Tensor> {
    let mask: Vec<f32> = shown.iter().flat_map(|&shown| labels::counts(&[shown], inputs)).collect();
    let outputs = shown.len() / (blocks * blocks);
    Ok(Tensor::from_vec(mask, (outputs, blocks, blocks, inputs), &case.device)?)
}

fn compatibility(case: &Case) -> Result<Outputs> {
    let saliency = case.input("saliency")?;
    let (n, height, width) = saliency.dims3()?;
    let maps = saliency.flatten_from(1)?.to_vec2()?;
    let found = compat::compatibility(&maps, [height, width], case.param("omega")?);
    Ok(vec![("compat".into(), Tensor::from_vec(found, (n, n), &case.device)?)])
}

fn label(case: &Case) -> Result<Outputs> {
    let (inputs, blocks, _) = case.input("cost")?.dims3()?;
    let cost: Vec<f32> = case.input("cost")?.flatten_all()?.to_vec1()?;
    let compatibility: Vec<f32> = case.input("compat")?.flatten_all()?.to_vec1()?;
    let mixer = mixer(case, inputs, blocks)?;
    let found = labels::label(&mixer, &cost, &compatibility, &case.numbers("alpha")?, &start(case)?)?;
    Ok(vec![
        ("mask".into(), mask(case, &found.shown, blocks, inputs)?),
        ("iterations".into(), Tensor::new(&[found.iterations as i64], &case.device)?),
    ])
}

fn mix(case: &Case) -> Result<Outputs> {
    let (outputs, blocks, _, inputs) = case.input("mask")?.dims4()?;
    let masks: Vec<Vec<f32>> = case.input("mask")?.reshape(((), inputs))?.to_vec2()?;
    let shown = masks.iter().map(|mask| -> Result<Shown> {
        let used: Vec<usize> = (0..inputs).filter(|&input| mask[input] > 0.0).collect();
        match used[..] {
            [one] => Ok([one; 2]),
            [first, second] => Ok([first, second]),
            _ => bail!("a block of {} inputs, expected one or two", used.len()),
        }
    });
    let shown: Vec<Shown> = shown.collect::<Result<_>>()?;
    let weights: Vec<f32> = shown
        .chunks(blocks * blocks)
        .flat_map(|shown| labels::counts(shown, inputs))
        .map(|count| count / (blocks * blocks) as f32)
        .collect();
    let weights = Tensor::from_vec(weights, (outputs, inputs), &case.device)?;
    Ok(vec![
        ("mixed".into(), comixup::blend(&case.input("x")?, &shown, blocks)?),
        ("target".into(), weights.matmul(&case.input("target")?)?),
    ])
}

fn whole(case: &Case) -> Result<Outputs> {
    let (images, saliency) = (case.input("x")?, case.input("saliency")?);
    let (inputs, height, width) = saliency.dims3()?;
    let blocks = case.param("block_num")?;
    let plan = CoMixupPlan {
        mixer: mixer(case, inputs, blocks)?,
        alpha: case.numbers("alpha")?,
        start: start(case)?,
    };
    let found = plan.label(&saliency.flatten_from(1)?.to_vec2()?, [height, width])?;
    // A gradient that is the saliency in every channel has that saliency.
    let gradient = saliency.unsqueeze(1)?.broadcast_as(images.shape())?.contiguous()?;
    let mut view = View::of(&images);
    view.gradient = Some(&gradient);
    let mixed = plan.mix(&view)?;
    let Targets::Labels { weights, .. } = mixed.targets else {
        bail!("the mixer gives no weights of labels")
    };
    let weights = Tensor::from_vec(weights, (inputs, inputs), &case.device)?;
    Ok(vec![
        ("mask".into(), mask(case, &found[0].shown, blocks, inputs)?),
        ("mixed".into(), mixed.images),
        ("target".into(), weights.matmul(&case.input("target")?)?),
    ])
}
