//! Hand-crafted mixing.

use adautomix_mixing::cutmix::CutMixPlan;
use adautomix_mixing::mixup::MixUpPlan;
use anyhow::Result;

use super::{Case, Op, Outputs, boxed, mix};

pub(super) const OPS: &[(&str, Op)] = &[("mixup", mixup), ("cutmix", cutmix)];

fn mixup(case: &Case) -> Result<Outputs> {
    mix(case, &MixUpPlan { lambda: case.param("lam")?, partner: case.indices("perm")? })
}

fn cutmix(case: &Case) -> Result<Outputs> {
    let center = [case.param("center_row")?, case.param("center_col")?];
    let plan = CutMixPlan { lambda: case.param("lam")?, center, partner: case.indices("perm")? };
    let (_, _, height, width) = case.input("x")?.dims4()?;
    let (area, _) = plan.area([height, width]);
    let mut outputs = mix(case, &plan)?;
    outputs.push(("box".into(), boxed(case, area)?));
    Ok(outputs)
}
