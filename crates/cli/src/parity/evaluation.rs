//! What trained networks are judged by: metrics, attacks, occlusion, corruptions.

use adautomix_datasets::corruptions::{Change, Corruption, Kind, Noise};
use adautomix_datasets::{CHANNELS, Picture};
use adautomix_evaluation::{
    Ece, Predictions, Reliability, Space, cells, covered, fgsm as fgsm_step, occlude,
};
use adautomix_random::{Key, Purpose};
use adautomix_training::top_1_and_5;
use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};

use super::case::Case;
use super::{Op, Outputs};

pub(super) const OPS: &[(&str, Op)] = &[("metrics", metrics), ("cifar_c", cifar_c)];

fn metrics(case: &Case) -> Result<Outputs> {
    match case.param::<String>("kind")?.as_str() {
        "topk" if case.param::<Vec<usize>>("topk")? == [1, 5] => top_k(case),
        "ece" => ece(case),
        "fgsm" => fgsm(case),
        "occlusion" => occlusion(case),
        other => bail!("unknown metric `{other}` with these parameters"),
    }
}

fn top_k(case: &Case) -> Result<Outputs> {
    let labels = case.indices("labels")?;
    let hits = top_1_and_5(&case.input("logits")?, &labels)?;
    let percent = hits.map(|hits| (100.0 * hits as f64 / labels.len() as f64) as f32);
    Ok(vec![("accuracy".into(), Tensor::new(&percent, &Device::Cpu)?)])
}

fn ece(case: &Case) -> Result<Outputs> {
    let variant = match case.param::<String>("variant")?.as_str() {
        "standard" => Ece::Standard,
        "sorted" => Ece::Sorted,
        other => bail!("unknown variant `{other}`, expected `standard` or `sorted`"),
    };
    let mut predictions = Predictions::default();
    predictions.add(&case.input("logits")?, &case.indices("labels")?)?;
    let diagram = Reliability::new(&predictions, case.param("bins")?);
    let counts: Vec<i64> = diagram.bins.iter().map(|bin| bin.count as i64).collect();
    let accuracies: Vec<f32> = diagram.bins.iter().map(|bin| bin.accuracy as f32).collect();
    let confidences: Vec<f32> = diagram.bins.iter().map(|bin| bin.confidence as f32).collect();
    Ok(vec![
        ("ece".into(), Tensor::new(diagram.ece(variant) as f32, &Device::Cpu)?),
        ("bin_count".into(), Tensor::new(counts, &Device::Cpu)?),
        ("bin_accuracy".into(), Tensor::new(accuracies, &Device::Cpu)?),
        ("bin_confidence".into(), Tensor::new(confidences, &Device::Cpu)?),
    ])
}

fn fgsm(case: &Case) -> Result<Outputs> {
    let space = match case.param::<String>("space")?.as_str() {
        "unit" => Space::Unit,
        "normalized" => Space::Normalized { mean: case.param("mean")?, std: case.param("std")? },
        "released_tool" => Space::ReleasedTool,
        other => bail!("unknown space `{other}`, expected `unit`, `normalized` or `released_tool`"),
    };
    let moved = fgsm_step(&case.input("image")?, &case.input("grad")?, case.param("epsilon")?, &space)?;
    Ok(vec![("adversarial".into(), moved)])
}

fn occlusion(case: &Case) -> Result<Outputs> {
    let (images, patch) = (case.input("image")?, case.param("patch")?);
    let (_, _, height, width) = images.dims4()?;
    let count = covered(case.param("ratio")?, cells([height, width], patch)?);
    let hidden = occlude(&images, &[case.indices("indices")?], patch)?;
    Ok(vec![("image".into(), hidden), ("count".into(), Tensor::new(count as i64, &Device::Cpu)?)])
}

fn cifar_c(case: &Case) -> Result<Outputs> {
    let name = case.param::<String>("kind")?;
    let kind = Kind::named(&name).with_context(|| format!("unknown corruption `{name}`"))?;
    let corruption = Corruption::new(kind, case.param("severity")?)?;
    let images = case.input("image")?;
    let (_, height, width, channels) = images.dims4()?;
    if channels != CHANNELS {
        bail!("`in/image` has {channels} channels, expected {CHANNELS}");
    }
    let pixels = images.flatten_all()?.to_vec1::<u8>()?;
    let given =
        case.find("in/noise").map(|noise| noise.to_dtype(DType::F64)?.flatten_all()?.to_vec1::<f64>());
    let given = given.transpose()?;
    let numbers = height * width * channels;
    let mut corrupted = Vec::with_capacity(pixels.len());
    for (index, pixels) in pixels.chunks_exact(numbers.max(1)).enumerate() {
        let picture = Picture { height, width, pixels: pixels.to_vec() };
        let mut rng = Key::new(0, Purpose::Corruption).sample(index).rng();
        let mut plan = corruption.draw([height, width], &mut rng);
        if let (Some(given), Change::Noise(Noise::Gaussian { noise, .. } | Noise::Speckle { noise, .. })) =
            (&given, &mut plan.change)
        {
            *noise = given
                .get(index * numbers..(index + 1) * numbers)
                .context("`in/noise` is too short")?
                .to_vec();
        }
        corrupted.extend(plan.apply(&picture)?.iter().map(|value| *value as f32));
    }
    Ok(vec![("image".into(), Tensor::from_vec(corrupted, images.dims(), &Device::Cpu)?)])
}
