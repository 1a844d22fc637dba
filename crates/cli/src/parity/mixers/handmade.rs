//! Hand-crafted mixing.

use adautomix_mixing::cutmix::CutMixPlan;
use adautomix_mixing::cutout::CutoutPlan;
use adautomix_mixing::fmix::FMixPlan;
use adautomix_mixing::gridmix::GridMixPlan;
use adautomix_mixing::manifoldmix::ManifoldMixPlan;
use adautomix_mixing::mixup::MixUpPlan;
use adautomix_mixing::resizemix::ResizeMixPlan;
use adautomix_mixing::smoothmix::SmoothMixPlan;
use adautomix_mixing::{Plan, Variant, View};
use anyhow::{Result, bail};
use candle_core::{DType, Tensor};

use super::{Case, Op, Outputs, boxed, mix, mixed};

pub(super) const OPS: &[(&str, Op)] = &[
    ("mixup", mixup),
    ("manifoldmix", manifoldmix),
    ("cutmix", cutmix),
    ("cutout", cutout),
    ("resizemix", resizemix),
    ("fmix_grey", fmix_grey),
    ("fmix_mask", fmix_mask),
    ("fmix", fmix),
    ("gridmix", gridmix),
    ("smoothmix", smoothmix),
];

fn mixup(case: &Case) -> Result<Outputs> {
    mix(case, &MixUpPlan { lambda: case.param("lam")?, partner: case.indices("perm")? })
}

fn manifoldmix(case: &Case) -> Result<Outputs> {
    let mixup = MixUpPlan { lambda: case.param("lam")?, partner: case.indices("perm")? };
    let hidden = case.input("hidden")?;
    mixed(case, &ManifoldMixPlan { stage: 1, mixup }, &View::of(&hidden))
}

fn cutmix(case: &Case) -> Result<Outputs> {
    let plan =
        CutMixPlan { lambda: case.param("lam")?, center: center(case)?, partner: case.indices("perm")? };
    let (area, _) = plan.area(size(case)?);
    let mut outputs = mix(case, &plan)?;
    outputs.push(("box".into(), boxed(case, area)?));
    Ok(outputs)
}

fn cutout(case: &Case) -> Result<Outputs> {
    let centers: Vec<Vec<Vec<i64>>> = case.input("center")?.to_vec3()?;
    let center = |center: &Vec<i64>| [center[0] as usize, center[1] as usize];
    let centers = centers.iter().map(|centers| centers.iter().map(center).collect()).collect();
    let plan = CutoutPlan { length: case.param("length")?, centers };
    let images = case.input("x")?;
    Ok(vec![("image".into(), plan.mix(&View::of(&images))?.images)])
}

fn resizemix(case: &Case) -> Result<Outputs> {
    let plan = ResizeMixPlan {
        scale: case.param("tau")?,
        center: center(case)?,
        partner: case.indices("perm")?,
        interpolation: case.param("mode")?,
    };
    let (area, _) = plan.area(size(case)?);
    let mut outputs = mix(case, &plan)?;
    outputs.push(("box".into(), boxed(case, area)?));
    Ok(outputs)
}

/// The plan of a case of any of the three ops, of which each has only the part that it is about.
fn fmix_plan(case: &Case) -> Result<FMixPlan> {
    let noise = match case.find("in/noise") {
        Some(noise) => noise.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?,
        None => Vec::new(),
    };
    Ok(FMixPlan {
        lambda: case.optional("lam")?.unwrap_or(0.5),
        noise,
        round_up: match case.optional::<String>("rounding")?.as_deref() {
            None | Some("floor") => false,
            Some("ceil") => true,
            Some(other) => bail!("unknown rounding `{other}`, expected `ceil` or `floor`"),
        },
        decay_power: case.optional("decay_power")?.unwrap_or(0.0),
        max_soft: case.optional("max_soft")?.unwrap_or(0.0),
        variant: case.optional("variant")?.unwrap_or(Variant::Paper),
        partner: case.find("in/perm").map_or(Ok(Vec::new()), |_| case.indices("perm"))?,
    })
}

fn fmix_grey(case: &Case) -> Result<Outputs> {
    let size = [case.param("height")?, case.param("width")?];
    let grey = fmix_plan(case)?.grey(size)?;
    Ok(vec![("grey".into(), plane(case, &grey, size)?)])
}

fn fmix_mask(case: &Case) -> Result<Outputs> {
    let grey = case.input("grey")?;
    let (height, width) = grey.dims2()?;
    let mask = fmix_plan(case)?.mask(&grey.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?);
    Ok(vec![("mask".into(), Tensor::from_vec(mask, (height, width), &case.device)?)])
}

fn fmix(case: &Case) -> Result<Outputs> {
    let (plan, size) = (fmix_plan(case)?, size(case)?);
    let mask = plan.mask(&plan.grey(size)?);
    let mut outputs = mix(case, &plan)?;
    outputs.push(("mask".into(), Tensor::from_vec(mask, &size, &case.device)?));
    Ok(outputs)
}

fn gridmix(case: &Case) -> Result<Outputs> {
    let plan = GridMixPlan {
        lambda: case.param("lam")?,
        holes: case.param("n_holes")?,
        hole_aspect_ratio: case.param("hole_aspect_ratio")?,
        cut_area: case.param("cut_area_ratio")?,
        cut_aspect_ratio: case.param("cut_aspect_ratio")?,
        place: [case.param("u_row")?, case.param("u_col")?],
        partner: case.indices("perm")?,
    };
    let mut outputs = mix(case, &plan)?;
    let size = size(case)?;
    outputs.push(("mask".into(), Tensor::from_vec(plan.mask(size), &size, &case.device)?));
    Ok(outputs)
}

fn smoothmix(case: &Case) -> Result<Outputs> {
    let plan = SmoothMixPlan {
        shift: [case.param("shift_row")?, case.param("shift_col")?],
        sigma: case.param("sigma")?,
        label: case.param("label")?,
        partner: case.indices("perm")?,
    };
    let mut outputs = mix(case, &plan)?;
    let size = size(case)?;
    outputs.push(("kernel".into(), Tensor::from_vec(plan.kernel(size), &size, &case.device)?));
    Ok(outputs)
}

/// Rows and columns of the pictures of a case.
fn size(case: &Case) -> Result<[usize; 2]> {
    let (_, _, height, width) = case.input("x")?.dims4()?;
    Ok([height, width])
}

/// The centre of a box.
fn center(case: &Case) -> Result<[usize; 2]> {
    Ok([case.param("center_row")?, case.param("center_col")?])
}

/// Values as `f32`, as one plane.
fn plane(case: &Case, values: &[f64], size: [usize; 2]) -> Result<Tensor> {
    let values: Vec<f32> = values.iter().map(|&value| value as f32).collect();
    Ok(Tensor::from_vec(values, &size, &case.device)?)
}
