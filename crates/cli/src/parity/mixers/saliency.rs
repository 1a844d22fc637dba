//! Boxes and patches chosen by saliency or attention.

use adautomix_mixing::attentivemix::{AttentiveMixPlan, Kept};
use adautomix_mixing::fine_grained::fine_grained_saliency;
use adautomix_mixing::saliencymix::SaliencyMixPlan;
use adautomix_mixing::snapmix::{SnapMixPlan, semantic_percent_map};
use adautomix_mixing::{Variant, View};
use anyhow::Result;
use candle_core::Tensor;

use super::{Case, Op, Outputs, boxed, mix, mixed, pair_weights};

pub(super) const OPS: &[(&str, Op)] = &[
    ("fine_grained_saliency", saliency),
    ("saliencymix", saliencymix),
    ("attentivemix", attentivemix),
    ("snapmix_cam", snapmix_cam),
    ("snapmix", snapmix),
];

fn saliency(case: &Case) -> Result<Outputs> {
    let image = case.input("image")?;
    let (height, width, _) = image.dims3()?;
    let saliency = fine_grained_saliency(&image.flatten_all()?.to_vec1()?, [height, width])?;
    Ok(vec![("saliency".into(), Tensor::from_vec(saliency, (height, width), &case.device)?)])
}

fn saliencymix(case: &Case) -> Result<Outputs> {
    let partner = case.indices("perm")?;
    let plan = SaliencyMixPlan { lambda: case.param("lam")?, partner, variant: Variant::Paper };
    let saliency = case.input("saliency")?;
    let (height, width) = saliency.dims2()?;
    let plan = plan.around_peak(&saliency.flatten_all()?.to_vec1()?, width);
    let mut outputs = mix(case, &plan)?;
    outputs.push(("box".into(), boxed(case, plan.area([height, width]).0)?));
    Ok(outputs)
}

fn attentivemix(case: &Case) -> Result<Outputs> {
    let kept = match case.optional("top_k")? {
        Some(cells) => Kept::Cells(cells),
        None => Kept::Share(case.param("lam")?),
    };
    let plan = AttentiveMixPlan { kept, partner: case.indices("perm")?, label: Variant::Reference };
    let (images, features) = (case.input("x")?, case.input("features")?);
    let mut view = View::of(&images);
    view.features = Some(&features);
    let mut outputs = mixed(case, &plan, &view)?;
    outputs.push(("mask".into(), plan.mask(&view)?));
    Ok(outputs)
}

fn snapmix_cam(case: &Case) -> Result<Outputs> {
    let size = [case.param("height")?, case.param("width")?];
    let (weight, bias) = (case.weight("weight")?, case.weight("bias")?);
    let maps =
        semantic_percent_map(&case.input("features")?, &case.indices("label")?, (&weight, &bias), size)?;
    Ok(vec![("spm".into(), maps)])
}

fn snapmix(case: &Case) -> Result<Outputs> {
    let plan = SnapMixPlan {
        lambdas: [case.param("lam_a")?, case.param("lam_b")?],
        centers: [
            [case.param("center_row_a")?, case.param("center_col_a")?],
            [case.param("center_row_b")?, case.param("center_col_b")?],
        ],
        partner: case.indices("perm")?,
        variant: Variant::Reference,
    };
    let images = case.input("x")?;
    let (_, _, height, width) = images.dims4()?;
    let mixed = plan.mix_by(&images, &case.indices("label")?, &case.input("spm")?)?;
    let [own, partner] = pair_weights(&mixed.targets)?;
    let [to, from] = plan.areas([height, width]);
    Ok(vec![
        ("mixed".into(), mixed.images),
        ("lam_a".into(), Tensor::new(own, &case.device)?),
        ("lam_b".into(), Tensor::new(partner, &case.device)?),
        ("box_a".into(), boxed(case, to)?),
        ("box_b".into(), boxed(case, from)?),
    ])
}
