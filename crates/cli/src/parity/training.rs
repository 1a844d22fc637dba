//! What training does between passes: optimizers, clipping, schedules, the teacher's average.

use adautomix_ops::{Tape, squared_norms};
use adautomix_training::{BeforeScope, Gradients, LearningRate, Momentum, Optimizer, Rule, Warmup};
use anyhow::{Context, Result, bail};
use candle_core::{Device, Tensor, Var};

use super::case::Case;
use super::{Op, Outputs};

pub(super) const OPS: &[(&str, Op)] = &[
    ("ema_update", ema_update),
    ("momentum_schedule", momentum_schedule),
    ("lr_schedule", lr_schedule),
    ("sgd_step", sgd_step),
    ("sgd", sgd),
    ("adamw", adamw),
    ("grad_clip_norm", grad_clip_norm),
];

fn ema_update(case: &Case) -> Result<Outputs> {
    let momentum = case.param("momentum")?;
    let mut outputs = Outputs::new();
    for (index, (average, value)) in case.inputs("ema_")?.iter().zip(case.inputs("param_")?).enumerate() {
        let average = average.copy()?;
        adautomix_ops::moving_averages(&[(&average, &value)], momentum)?;
        outputs.push((format!("ema_{index}"), average));
    }
    Ok(outputs)
}

/// One `f32` for each of the case's steps.
fn at_steps(case: &Case, value: impl Fn(usize) -> f64) -> Result<Tensor> {
    let values: Vec<f32> = case.indices("iters")?.iter().map(|&step| value(step as usize) as f32).collect();
    Ok(Tensor::new(values, &Device::Cpu)?)
}

fn momentum_schedule(case: &Case) -> Result<Outputs> {
    let schedule = Momentum {
        base: case.param("base_momentum")?,
        end: case.param("end_momentum")?,
        scope: case.param("adjust_scope")?,
        before: match case.param::<String>("warming_up")?.as_str() {
            "constant" => BeforeScope::Constant,
            "linear" => BeforeScope::Linear,
            other => bail!("unknown warming up `{other}`, expected `constant` or `linear`"),
        },
        steps: case.param("max_iters")?,
    };
    Ok(vec![
        ("momentum".into(), at_steps(case, |step| schedule.at(step))?),
        ("one_minus_momentum".into(), at_steps(case, |step| 1.0 - schedule.at(step))?),
    ])
}

fn lr_schedule(case: &Case) -> Result<Outputs> {
    let steps_per_epoch: usize = case.param("iters_per_epoch")?;
    let warmup = match case.optional::<String>("warmup")?.as_deref() {
        None => None,
        Some("linear") => {
            let length: usize = case.param("warmup_iters")?;
            let unit = if case.param("warmup_by_epoch")? { steps_per_epoch } else { 1 };
            Some(Warmup { steps: length * unit, ratio: case.param("warmup_ratio")? })
        }
        Some(other) => bail!("unknown warm-up `{other}`, expected `linear` or null"),
    };
    let schedule = LearningRate {
        base: case.param("base_lr")?,
        min: case.param("min_lr")?,
        by_epoch: case.param("by_epoch")?,
        epochs: case.param("max_epochs")?,
        steps_per_epoch,
        warmup,
    };
    Ok(vec![("lr".into(), at_steps(case, |step| schedule.at(step))?)])
}

/// Gives variables the gradients of a case, by a backward pass.
fn gradients_of(variables: &[(String, Tensor)], gradients: &[Tensor]) -> Result<Gradients> {
    let mut store = Gradients::default();
    for ((_, variable), gradient) in variables.iter().zip(gradients) {
        let (tape, loss) = Tape::record(|| (variable * gradient)?.sum_all())?;
        store.backward(tape, &loss, 1.0, variables)?;
    }
    Ok(store)
}

/// The parameter after each step, and the state after the last; gradients and outputs are numbered from `first`.
fn descend(case: &Case, first: usize, rates: &[f64], rule: Rule) -> Result<Outputs> {
    let parameter = Var::from_tensor(&case.input("param")?)?.into_inner();
    let variables = vec![("param".to_string(), parameter.clone())];
    let weight_decay = case.param("weight_decay")?;
    let mut optimizer = Optimizer::new(variables.clone(), rule, |_, _| weight_decay)?;
    let mut outputs = Outputs::new();
    for (number, &rate) in (first..).zip(rates) {
        let gradients = gradients_of(&variables, &[case.input(&format!("grad_{number}"))?])?;
        optimizer.step(&gradients, rate)?;
        outputs.push((format!("param_{number}"), parameter.detach().copy()?));
    }
    for (kind, _, tensor) in optimizer.state() {
        let name = match kind {
            "velocity" => "momentum_buffer",
            "mean" => "exp_avg",
            _ => "exp_avg_sq",
        };
        outputs.push((name.into(), tensor.clone()));
    }
    Ok(outputs)
}

fn sgd_step(case: &Case) -> Result<Outputs> {
    let rule = Rule::Sgd { momentum: case.param("momentum")?, nesterov: false };
    descend(case, 0, &case.param::<Vec<f64>>("lr")?, rule)
}

fn sgd(case: &Case) -> Result<Outputs> {
    let rule = Rule::Sgd { momentum: case.param("momentum")?, nesterov: case.param("nesterov")? };
    descend(case, 1, &case.param::<Vec<f64>>("lrs")?, rule)
}

fn adamw(case: &Case) -> Result<Outputs> {
    let rule = Rule::AdamW { betas: case.param("betas")?, eps: case.param("eps")? };
    descend(case, 1, &case.param::<Vec<f64>>("lrs")?, rule)
}

fn grad_clip_norm(case: &Case) -> Result<Outputs> {
    if case.param::<f64>("norm_type")? != 2.0 {
        bail!("only the 2-norm is clipped");
    }
    let given = case.inputs("grad_")?;
    let mut variables = Vec::with_capacity(given.len());
    for (index, gradient) in given.iter().enumerate() {
        variables.push((format!("grad_{index}"), Var::from_tensor(&gradient.zeros_like()?)?.into_inner()));
    }
    let gradients = gradients_of(&variables, &given)?;
    let norm = squared_norms(&given.iter().collect::<Vec<_>>())?.iter().sum::<f64>().sqrt();
    gradients.clip(&variables, case.param("max_norm")?)?;
    let mut outputs = vec![("total_norm".to_string(), Tensor::new(norm as f32, &Device::Cpu)?)];
    for (name, variable) in &variables {
        outputs.push((name.clone(), gradients.get(variable).context("a gradient is missing")?.clone()));
    }
    Ok(outputs)
}
