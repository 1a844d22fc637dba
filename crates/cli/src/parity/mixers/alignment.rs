//! AlignMix: features brought into line before they are mixed.

use adautomix_mixing::View;
use adautomix_mixing::alignmix::{AlignMixPlan, Moved};
use anyhow::{Result, bail};
use candle_core::Tensor;

use super::{Case, Op, Outputs, mixed};

pub(super) const OPS: &[(&str, Op)] = &[("alignmix", alignmix)];

fn alignmix(case: &Case) -> Result<Outputs> {
    let maps = case.input("feat")?;
    let plan = AlignMixPlan {
        lambda: case.param("lam")?,
        moved: match case.param("direction")? {
            0 => Moved::Partner,
            1 => Moved::Sample,
            other => bail!("direction {other}, expected 0 or 1"),
        },
        partner: case.indices("perm")?,
        epsilon: case.param("eps")?,
        iterations: case.param("max_iter")?,
    };
    let transport = plan.transport(&maps)?;
    let n = transport.positions;
    // A case's plan has the mass 1, ours has that of its positions.
    let plans = (Tensor::from_vec(transport.plans, (plan.partner.len(), n, n), &case.device)? / n as f64)?;
    let mut outputs = mixed(case, &plan, &View::of(&maps))?;
    outputs.push(("plan".into(), plans));
    outputs.push(("iterations".into(), Tensor::new(&[transport.iterations as i64], &case.device)?));
    Ok(outputs)
}
