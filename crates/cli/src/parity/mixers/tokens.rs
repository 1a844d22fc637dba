//! Label rules for vision transformers, and RecursiveMix.

use adautomix_mixing::mixpro::MixProPlan;
use adautomix_mixing::recursivemix::{Interpolation, RecursiveMixPlan};
use adautomix_mixing::smmix::{SmMixPlan, extremes};
use adautomix_mixing::tokenmix::TokenMixPlan;
use adautomix_mixing::tokens::ClassAttention;
use adautomix_mixing::{Plan, Variant, View, transmix};
use anyhow::{Result, bail};
use candle_core::{DType, Tensor};

use super::{Case, Op, Outputs, boxed, mixed, pair_weights};

pub(super) const OPS: &[(&str, Op)] = &[
    ("transmix", transmix),
    ("tokenmix", tokenmix),
    ("smmix", smmix),
    ("mixpro", mixpro),
    ("recursivemix", recursivemix),
];

/// Weights as the cases have them.
fn shares(case: &Case, weights: &[f64]) -> Result<Tensor> {
    Ok(Tensor::new(weights, &case.device)?.to_dtype(DType::F32)?)
}

fn transmix(case: &Case) -> Result<Outputs> {
    let mask = case.input("mask")?;
    let (_, _, height, width) = mask.dims4()?;
    let taken: Vec<f32> = mask.flatten_all()?.to_vec1()?;
    let taken: Vec<[usize; 2]> =
        (0..taken.len()).filter(|&i| taken[i] > 0.0).map(|i| [i / width, i % width]).collect();
    // The mask of a case is a box.
    let edge = |axis: usize| taken.iter().map(move |pixel| pixel[axis]);
    let low = |axis: usize| edge(axis).min().unwrap_or(0);
    let high = |axis: usize| edge(axis).max().map_or(0, |last| last + 1);
    let area = [low(0), low(1), high(0), high(1)];
    let attention = case.input("attn")?;
    // Of the pictures only the shape counts.
    let images = Tensor::zeros((attention.dim(0)?, 1, height, width), DType::F32, &case.device)?;
    let attention = ClassAttention::of(&attention, &images)?;
    let (lambda, ratio) = (case.param("lam")?, case.param("ratio")?);
    let own = transmix::weights(&attention, [height, width], area, lambda, ratio);
    Ok(vec![("lam".into(), shares(case, &own)?)])
}

fn tokenmix(case: &Case) -> Result<Outputs> {
    let mask = case.input("token_mask")?;
    let (rows, columns) = mask.dims2()?;
    let taken = mask.flatten_all()?.to_vec1::<f32>()?.into_iter().map(|taken| taken > 0.0).collect();
    let label = match case.param::<String>("label")?.as_str() {
        "paper" => Variant::Paper,
        "reference" => Variant::Reference,
        other => bail!("unknown label `{other}`, expected `paper` or `reference`"),
    };
    let partner = case.indices("perm")?;
    let plan = TokenMixPlan { lambda: 0.0, grid: [rows, columns], taken, partner, label };
    let (images, attention) = (case.input("x")?, case.input("attn")?);
    let mut view = View::of(&images);
    view.attention = Some(&attention);
    let mixed = plan.mix(&view)?;
    let [own, other] = pair_weights(&mixed.targets)?;
    Ok(vec![
        ("mixed".into(), mixed.images),
        ("lam_a".into(), Tensor::new(own, &case.device)?),
        ("lam_b".into(), Tensor::new(other, &case.device)?),
    ])
}

fn smmix(case: &Case) -> Result<Outputs> {
    let (images, attention) = (case.input("x")?, case.input("attn")?);
    let (batch, _, height, width) = images.dims4()?;
    let (side, grid): (usize, usize) = (case.param("rect")?, case.param("side")?);
    // Such sides that there is nothing to choose.
    let share = (side as f64 + 0.5) / grid as f64;
    let plan = SmMixPlan { sides: [share, share], uniform: 0.0 };
    let mut view = View::of(&images);
    view.attention = Some(&attention);
    let mut outputs = mixed(case, &plan, &view)?;
    let attention = ClassAttention::of(&attention, &images)?;
    let squares: Vec<_> = (0..batch).map(|sample| extremes(&attention, sample, side)).collect();
    for (which, name) in ["target_index", "source_index"].into_iter().enumerate() {
        let index =
            |square: &[[usize; 2]; 2]| (square[which][0] * (grid - side + 1) + square[which][1]) as i64;
        let indices: Vec<i64> = squares.iter().map(index).collect();
        outputs.push((name.into(), Tensor::new(indices, &case.device)?));
    }
    let inside = |at: usize, low: usize, pixels: usize| {
        (low * (pixels / grid)..(low + side) * (pixels / grid)).contains(&at)
    };
    // The mask of the cases is 1 where the source went, in the mixed picture.
    let source = |i: usize| {
        let ([row, column], pixel) = (squares[i / (height * width)][0], i % (height * width));
        f32::from(u8::from(inside(pixel / width, row, height) && inside(pixel % width, column, width)))
    };
    let mask: Vec<f32> = (0..batch * height * width).map(source).collect();
    outputs.push(("source_mask".into(), Tensor::from_vec(mask, (batch, 1, height, width), &case.device)?));
    Ok(outputs)
}

fn mixpro(case: &Case) -> Result<Outputs> {
    let kept = case.input("token_mask")?;
    let (_, _, columns) = kept.dims3()?;
    let kept = kept.flatten_from(1)?.to_vec2::<f32>()?;
    let plan = MixProPlan {
        lambda: 0.0,
        kept: kept.into_iter().map(|cells| cells.into_iter().map(|kept| kept > 0.0).collect()).collect(),
        columns,
        patch: case.param("mask_patch_size")?,
        partner: case.indices("perm")?,
        smoothing: case.param("smoothing")?,
    };
    let (images, attention, logits) = (case.input("x")?, case.input("attn")?, case.input("logits")?);
    let labels = case.indices("label")?;
    let mut clean = View::of(&images);
    clean.labels = Some(&labels);
    clean.attention = Some(&attention);
    let made = plan.mix(&clean)?;
    let [areas, _] = pair_weights(&made.targets)?;
    let (_, _, height, width) = images.dims4()?;
    let attended = plan.attended(&ClassAttention::of(&attention, &images)?, [height, width]);
    let mut seen = View::of(&made.images);
    seen.logits = Some(&logits);
    let [own, _] = pair_weights(&plan.relabel(made.targets, &clean, &seen)?)?;
    Ok(vec![
        ("lam".into(), Tensor::new(own, &case.device)?),
        ("lam_area".into(), Tensor::new(areas, &case.device)?),
        ("lam_attn".into(), shares(case, &attended)?),
        ("mixed".into(), made.images),
    ])
}

fn recursivemix(case: &Case) -> Result<Outputs> {
    let interpolation = match case.param::<String>("mode")?.as_str() {
        "nearest" => Interpolation::Nearest,
        "bilinear" => Interpolation::Bilinear,
        other => bail!("unknown mode `{other}`, expected `nearest` or `bilinear`"),
    };
    let center = [case.param("center_row")?, case.param("center_col")?];
    let plan = RecursiveMixPlan { ratio: case.param("ratio")?, center, interpolation };
    let (images, old) = (case.input("x")?, case.input("old_x")?);
    let (own, old_target) = (case.input("target")?, case.input("old_target")?);
    let (batch, _, height, width) = images.dims4()?;
    let (area, lambda) = plan.area([height, width]);
    // The targets of a case are soft; the mixer has labels, of which it makes such targets.
    let labels = vec![0; batch];
    let mut view = View::of(&images);
    view.labels = Some(&labels);
    view.previous = Some((&old, &old_target));
    let mixed = plan.mix(&view)?;
    Ok(vec![
        ("mixed".into(), mixed.images),
        ("box".into(), boxed(case, area)?),
        ("lam".into(), shares(case, &[lambda])?),
        ("target".into(), RecursiveMixPlan::targets(&own, &old_target, lambda)?),
    ])
}
