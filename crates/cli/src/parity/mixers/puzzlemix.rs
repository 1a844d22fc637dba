//! PuzzleMix: the cut, the transport, the mix.

use adautomix_mixing::View;
use adautomix_mixing::puzzlemix::mask::{self, Costs};
use adautomix_mixing::puzzlemix::unary::{self, Terms};
use adautomix_mixing::puzzlemix::{PuzzleMix, PuzzleMixPlan, blocks, transport};
use adautomix_mixing::swap::Solver;
use anyhow::Result;
use candle_core::{Tensor, WithDType};

use super::{Case, Op, Outputs, mixed, normalisation};

pub(super) const OPS: &[(&str, Op)] = &[
    ("puzzlemix_saliency", saliency),
    ("puzzlemix_unary", unary),
    ("puzzlemix_mask", mask),
    ("puzzlemix_graphcut", graph_cut),
    ("puzzlemix_transport", transport),
    ("puzzlemix", puzzlemix),
];

/// The rows of a batch `[B, …]`, flat.
fn rows<T: WithDType>(batch: &Tensor) -> Result<Vec<Vec<T>>> {
    Ok(batch.flatten_from(1)?.to_vec2()?)
}

/// The same as a tensor, each of `shape`.
fn stacked<T: WithDType>(case: &Case, rows: &[Vec<T>], shape: &[usize]) -> Result<Tensor> {
    Ok(Tensor::from_vec(rows.concat(), [&[rows.len()], shape].concat(), &case.device)?)
}

fn saliency(case: &Case) -> Result<Outputs> {
    let gradient = case.input("grad")?;
    let (_, channels, height, width) = gradient.dims4()?;
    let maps: Vec<_> =
        rows::<f32>(&gradient)?.iter().map(|gradient| blocks::saliency(gradient, channels)).collect();
    Ok(vec![("saliency".into(), stacked(case, &maps, &[height, width])?)])
}

fn unary(case: &Case) -> Result<Outputs> {
    let (images, partner) = (case.input("x")?, case.indices("perm")?);
    let (channels, side, b) = (images.dim(1)?, images.dim(2)?, case.param::<usize>("block_num")?);
    let block = side / b;
    let cells = side / block.min(case.param("neigh_size")?);
    let weight = case.param::<f64>("beta")? / b as f64 / 16.0 * case.param::<f64>("gamma")?;
    let deviations = normalisation(case)?.std;
    let share = |map: &Vec<f32>| blocks::shares(blocks::pooled(map, [side; 2], [b; 2]));
    let saliency: Vec<_> = rows(&case.input("saliency")?)?.iter().map(share).collect();
    let colours = |image: &Vec<f32>| blocks::colours(image, side, cells, deviations);
    let colours: Vec<_> = rows(&images)?.iter().map(colours).collect();
    let terms = |(own, partner): (usize, &u32)| {
        let pair = [own, *partner as usize];
        unary::terms(pair.map(|i| &*saliency[i]), pair.map(|i| &*colours[i]), channels, b, weight)
    };
    let terms: Vec<Terms> = partner.iter().enumerate().map(terms).collect();
    let of = |part: fn(&Terms) -> &Vec<f32>, shape: [usize; 2]| {
        stacked(case, &terms.iter().map(|terms| part(terms).clone()).collect::<Vec<_>>(), &shape)
    };
    Ok(vec![
        ("saliency_norm".into(), stacked(case, &saliency, &[b, b])?),
        ("unary1".into(), of(|terms| &terms.unary1, [b, b])?),
        ("unary2".into(), of(|terms| &terms.unary2, [b, b])?),
        ("pw_v".into(), of(|terms| &terms.down, [b - 1, b])?),
        ("pw_h".into(), of(|terms| &terms.right, [b, b - 1])?),
    ])
}

fn mask(case: &Case) -> Result<Outputs> {
    let [unary1, unary2, down, right] =
        ["unary1", "unary2", "pw_v", "pw_h"].map(|name| rows::<f32>(&case.input(name)?));
    let (unary1, unary2, down, right) = (unary1?, unary2?, down?, right?);
    let (b, labels) = (case.input("unary1")?.dim(1)?, case.param::<usize>("n_labels")?);
    let smoothness = case.param::<f64>("beta")? / b as f64 / 16.0;
    let (lambda, eta) = (case.param("lam")?, case.param("eta")?);
    let costs = (0..unary1.len()).map(|i| {
        let [unary1, unary2] = [&unary1[i], &unary2[i]].map(Clone::clone);
        let terms = Terms { unary1, unary2, down: down[i].clone(), right: right[i].clone() };
        mask::costs(&terms, lambda, b, labels, smoothness, eta)
    });
    let costs: Vec<Costs> = costs.collect();
    let mut outputs = labelled(case, &costs, b, labels)?;
    let of = |part: fn(&Costs) -> &Vec<i64>, shape: &[usize]| {
        stacked(case, &costs.iter().map(|costs| part(costs).clone()).collect::<Vec<_>>(), shape)
    };
    outputs.extend([
        ("unary_cost".into(), of(|costs| &costs.unary, &[b, b, labels])?),
        ("weight_v".into(), of(|costs| &costs.down, &[b - 1, b])?),
        ("weight_h".into(), of(|costs| &costs.right, &[b, b - 1])?),
    ]);
    Ok(outputs)
}

fn graph_cut(case: &Case) -> Result<Outputs> {
    let [unary, down, right] =
        ["unary_cost", "weight_v", "weight_h"].map(|name| rows::<i64>(&case.input(name)?));
    let costs = unary?.into_iter().zip(down?).zip(right?);
    let costs: Vec<Costs> = costs.map(|((unary, down), right)| Costs { unary, down, right }).collect();
    labelled(case, &costs, case.input("unary_cost")?.dim(1)?, case.param("n_labels")?)
}

/// Labels, their energy, and the mask.
fn labelled(case: &Case, costs: &[Costs], b: usize, labels: usize) -> Result<Outputs> {
    let (mut solver, table) = (Solver::default(), mask::distances(labels));
    let cuts = costs.iter().map(|costs| mask::cut(&mut solver, costs, b, labels, &table));
    let (found, energies): (Vec<_>, Vec<i64>) =
        cuts.collect::<adautomix_mixing::Result<Vec<_>>>()?.into_iter().unzip();
    let numbers: Vec<Vec<i64>> =
        found.iter().map(|labels| labels.iter().map(|&label| label as i64).collect()).collect();
    let masks: Vec<Vec<f32>> = found.iter().map(|found| mask::shown(found, labels)).collect();
    Ok(vec![
        ("labels".into(), stacked(case, &numbers, &[b, b])?),
        ("energy".into(), Tensor::new(energies, &case.device)?),
        ("mask".into(), stacked(case, &masks, &[1, b, b])?),
    ])
}

fn transport(case: &Case) -> Result<Outputs> {
    let (images, shown) = (case.input("x")?, case.input("mask")?);
    let (side, channels, size) = (shown.dim(2)?, images.dim(1)?, images.dim(2)?);
    let steps = transport::steps(side, case.param("t_eps")?);
    let (mut destinations, mut moved) = (Vec::new(), Vec::new());
    let saliency = rows::<f32>(&case.input("saliency_norm")?)?;
    for ((image, shown), saliency) in rows::<f32>(&images)?.iter().zip(rows::<f32>(&shown)?).zip(saliency) {
        let plan = transport::plan(&shown, &saliency, &steps);
        let sources = transport::sources(&plan, &shown);
        destinations.push(plan.iter().map(|place| place.map_or(-1, |place| place as i64)).collect());
        let mut result = vec![0f32; image.len()];
        transport::add(&mut result, image, &sources, size, |_| 1.0);
        moved.push(result);
    }
    Ok(vec![
        ("dest".into(), stacked(case, &destinations, &[side * side])?),
        ("image".into(), stacked(case, &moved, &[channels, size, size])?),
    ])
}

fn puzzlemix(case: &Case) -> Result<Outputs> {
    let mixer = PuzzleMix {
        beta: case.param("beta")?,
        gamma: case.param("gamma")?,
        eta: case.param("eta")?,
        neighbourhood: case.param("neigh_size")?,
        labels: case.param("n_labels")?,
        transport: case.param("transport")?,
        transport_size: case.param("t_size")?,
        transport_eps: case.param("t_eps")?,
        ..PuzzleMix::default()
    };
    let (lambda, block_count, partner) =
        (case.param("lam")?, case.param("block_num")?, case.indices("perm")?);
    let plan = PuzzleMixPlan { mixer, lambda, block_count, partner };
    let (images, gradient) = (case.input("x")?, case.input("grad")?);
    let mut view = View::of(&images);
    view.gradient = Some(&gradient);
    view.normalisation = Some(normalisation(case)?);
    let mut outputs = mixed(case, &plan, &view)?;
    let (_, masks) = plan.mix_with_masks(&view)?;
    outputs.push(("block_mask".into(), stacked(case, &masks, &[1, block_count, block_count])?));
    Ok(outputs)
}
