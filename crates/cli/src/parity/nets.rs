//! Operations of `nets`: layers, losses, backbones.

use adautomix_backbones::{
    Block, Classifier, Config, ConvNextConfig, Head, Pass, ResNetConfig, Stem, SwinConfig, VitConfig,
    is_buffer,
};
use adautomix_ops::{ConvSpec, Epilogue, Interpolation, Reduction, Tape, cross_entropy};
use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor, Var};

use super::case::Case;
use super::formula::{self, FormulaWeights};
use super::{Op, Outputs};

pub(super) const OPS: &[(&str, Op)] = &[
    ("conv2d", conv2d),
    ("batch_norm", batch_norm),
    ("batch_norm_relu", batch_norm),
    ("batch_norm_add_relu", batch_norm),
    ("layer_norm", layer_norm),
    ("gelu", gelu),
    ("max_pool2d", max_pool2d),
    ("global_avg_pool", global_avg_pool),
    ("interpolate", interpolate),
    ("softmax_cross_entropy", softmax_cross_entropy),
    ("cosine_similarity", cosine_similarity),
    ("backbone", backbone),
    ("backbone_grad", backbone_grad),
];

/// By how much a result may be off that was computed in maps of `bf16`, whose values have 8 bits, as a share of its largest
/// value: of one operation four times the last bit, of a network, where errors add up, a quarter.
pub(crate) const BF16_TOLERANCES: [f64; 2] = [1.0 / 64.0, 1.0 / 4.0];

/// That of a case, if its operation takes maps of `bf16` and 8 bits are enough for it. They aren't for numbers far from 0 of which
/// the deviation matters; nor for single values of a network that normalises by two pictures, or for the direction of a
/// network's gradient, which the last bit at a ReLU changes.
pub(super) fn bf16_tolerance(case: &Case) -> Result<Option<f64>> {
    let [operation, network] = BF16_TOLERANCES;
    Ok(match case.op.as_str() {
        // Another order of axes is for planes.
        "conv2d" if case.optional::<Vec<usize>>("input_permute")?.is_some() => None,
        "batch_norm" | "batch_norm_relu" | "batch_norm_add_relu" if far_from_zero(&case.input("input")?)? => {
            None
        }
        "conv2d" | "batch_norm" | "batch_norm_relu" | "batch_norm_add_relu" => Some(operation),
        "max_pool2d" | "global_avg_pool" => Some(operation),
        "backbone" | "backbone_grad" if !case.param::<String>("arch")?.starts_with("resn") => None,
        "backbone" => (case.param::<String>("mode")? == "eval").then_some(network),
        "backbone_grad" => (!case.names("out/").contains(&"grad_proj".to_owned())).then_some(network),
        _ => None,
    })
}

/// Whether the mean is larger than a few deviations.
fn far_from_zero(input: &Tensor) -> Result<bool> {
    let values = double(input)?;
    let count = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / count;
    let variance = values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count;
    Ok(mean.abs() > 8.0 * variance.sqrt())
}

/// A map, however it lies, as the one output.
fn map(map: &Tensor) -> Result<Outputs> {
    output(adautomix_ops::into_planes(map)?)
}

/// The one output of most operations.
fn output(tensor: Tensor) -> Result<Outputs> {
    Ok(vec![("output".to_string(), tensor)])
}

fn conv2d(case: &Case) -> Result<Outputs> {
    let mut input = case.map("input")?;
    if let Some(order) = case.optional::<Vec<usize>>("input_permute")? {
        input = input.permute(order)?;
    }
    let spec = ConvSpec {
        stride: case.param("stride")?,
        padding: case.param("padding")?,
        dilation: case.param("dilation")?,
        groups: case.param("groups")?,
    };
    map(&adautomix_ops::conv2d(&input, &case.weight("weight")?, case.find("w/bias").as_ref(), &spec)?)
}

fn batch_norm(case: &Case) -> Result<Outputs> {
    let (input, weight, bias) = (case.map("input")?, case.weight("weight")?, case.weight("bias")?);
    let (mean, variance) = (case.weight("running_mean")?.copy()?, case.weight("running_var")?.copy()?);
    let residual = case.find("in/residual").map(|_| case.map("residual")).transpose()?;
    let epilogue = match (case.op.as_str(), &residual) {
        ("batch_norm_relu", _) => Epilogue::Relu,
        ("batch_norm_add_relu", Some(residual)) => Epilogue::AddRelu(residual),
        ("batch_norm_add_relu", None) => bail!("it has no `in/residual`"),
        _ => Epilogue::None,
    };
    let eps = case.param("eps")?;
    if case.param("training")? {
        let (y, moments) = adautomix_ops::batch_norm_train(&input, &weight, &bias, eps, epilogue)?;
        adautomix_ops::update_statistics(&[(&moments, [&mean, &variance])], case.param("momentum")?, 1)?;
        return Ok(vec![
            ("output".into(), adautomix_ops::into_planes(&y)?),
            ("running_mean".into(), mean),
            ("running_var".into(), variance),
        ]);
    }
    map(&adautomix_ops::batch_norm_eval(&input, &weight, &bias, &mean, &variance, eps, epilogue)?)
}

fn layer_norm(case: &Case) -> Result<Outputs> {
    let (input, weight, bias) = (case.input("input")?, case.weight("weight")?, case.weight("bias")?);
    let eps = case.param("eps")?;
    output(match case.param("axis")? {
        -1 => adautomix_ops::layer_norm(&input, &weight, &bias, eps)?,
        1 => adautomix_ops::layer_norm_channels_first(&input, &weight, &bias, eps)?,
        axis => bail!("unknown axis {axis}, expected -1 or 1"),
    })
}

fn gelu(case: &Case) -> Result<Outputs> {
    match case.param::<String>("approximate")?.as_str() {
        "none" => output(adautomix_ops::gelu(&case.input("input")?)?),
        other => bail!("unknown approximation `{other}`, expected `none`"),
    }
}

fn max_pool2d(case: &Case) -> Result<Outputs> {
    let (kernel, stride, padding) = (case.param("kernel")?, case.param("stride")?, case.param("padding")?);
    map(&adautomix_ops::max_pool2d(&case.map("input")?, kernel, stride, padding)?)
}

fn global_avg_pool(case: &Case) -> Result<Outputs> {
    output(adautomix_ops::global_avg_pool(&case.map("input")?)?)
}

/// A mode of interpolation as PyTorch calls it.
pub(super) fn interpolation(name: &str) -> Result<Interpolation> {
    Ok(match name {
        "nearest" => Interpolation::Nearest,
        "bilinear" => Interpolation::Bilinear,
        "bicubic" => Interpolation::Bicubic,
        _ => bail!("unknown interpolation `{name}`, expected `nearest`, `bilinear` or `bicubic`"),
    })
}

fn interpolate(case: &Case) -> Result<Outputs> {
    if case.optional::<bool>("align_corners")?.unwrap_or(false) {
        bail!("corners are never aligned here");
    }
    let input = case.input("input")?;
    let size = match case.optional("size")? {
        Some(size) => size,
        None => {
            let factor: usize = case.param("scale_factor")?;
            let (_, _, height, width) = input.dims4()?;
            [height * factor, width * factor]
        }
    };
    output(adautomix_ops::interpolate(&input, interpolation(&case.param::<String>("mode")?)?, size)?)
}

fn softmax_cross_entropy(case: &Case) -> Result<Outputs> {
    let (logits, labels) = (case.input("logits")?, case.input("labels")?);
    let smoothing = case.param("label_smoothing")?;
    let reduction = match case.param::<String>("reduction")?.as_str() {
        "mean" => Reduction::Mean,
        "none" => Reduction::None,
        other => bail!("unknown reduction `{other}`, expected `mean` or `none`"),
    };
    let loss = match labels.dtype() {
        DType::I64 => adautomix_ops::cross_entropy(&logits, &labels, smoothing, reduction)?,
        _ => adautomix_ops::soft_cross_entropy(&logits, &labels, smoothing, reduction)?,
    };
    Ok(vec![("loss".into(), loss)])
}

fn cosine_similarity(case: &Case) -> Result<Outputs> {
    let (x, y) = (case.input("x")?, case.input("y")?);
    let dim: i64 = case.param("dim")?;
    let dim = if dim < 0 { dim + x.rank() as i64 } else { dim };
    let (dim, eps) = (usize::try_from(dim)?, case.param("eps")?);
    output(adautomix_ops::cosine_similarity(&x, &y, dim, eps, Reduction::None)?)
}

/// A network by formula, and one pass through it.
struct Passed {
    weights: FormulaWeights,
    image: Var,
    logits: Tensor,
    /// What the classifier reads.
    pooled: Tensor,
    /// The last two maps and that of the mixing module, by the names of the cases.
    maps: Vec<(&'static str, Tensor)>,
}

fn pass(case: &Case) -> Result<Passed> {
    let weights = FormulaWeights::new(case.optional("weight_scale")?.unwrap_or(1.0));
    let vb = weights.builder(&case.device);
    let mut classifier = Classifier::one_head(config(case)?.build(&vb)?, case.param("num_classes")?, &vb)?;
    classifier.backbone.compute_in(case.dtype)?;
    let mut pass = match case.param::<String>("mode")?.as_str() {
        "eval" => Pass::eval(),
        "train" => Pass::train(),
        other => bail!("unknown mode `{other}`, expected `eval` or `train`"),
    };
    let image = Var::from_tensor(&case.formula_input()?)?;
    let network = &*classifier.backbone;
    let features = network.features(&image, &mut pass)?;
    pass.commit(1)?;
    let last = network.stages() - 1;
    let maps = vec![
        ("stage3", network.map(last - 1, &features.stages[last - 1])?),
        ("stage4", network.map(last, &features.stages[last])?),
        ("mix", network.mixing_map(last - 1, &features.stages[last - 1])?),
    ];
    Ok(Passed {
        logits: classifier.logits(&features.pooled, Head::OneHot)?,
        pooled: features.pooled.detach(),
        maps: maps.into_iter().map(|(name, map)| (name, map.detach())).collect(),
        weights,
        image,
    })
}

fn config(case: &Case) -> Result<Config> {
    /// The sizes of any family, each of which has some of them.
    #[derive(serde::Deserialize)]
    #[serde(default)]
    #[derive(Default)]
    struct Sizes {
        block: String,
        layers: Vec<usize>,
        groups: usize,
        width_per_group: usize,
        depths: Vec<usize>,
        dims: Vec<usize>,
        img_size: usize,
        embed_dim: usize,
        depth: usize,
        num_heads: serde_json::Value,
    }
    let (arch, sizes): (String, Sizes) = (case.param("arch")?, case.param("config")?);
    let Sizes { layers, groups, width_per_group, depths, dims, img_size, embed_dim, depth, .. } = sizes;
    let stem = match case.param::<String>("stem")?.as_str() {
        "imagenet" => Stem::Imagenet,
        "cifar" => Stem::Cifar,
        other => bail!("unknown stem `{other}`, expected `imagenet` or `cifar`"),
    };
    let block = match sizes.block.as_str() {
        "bottleneck" => Block::Bottleneck,
        _ => Block::Basic,
    };
    let family = arch.split_once('_').map_or(arch.as_str(), |(family, _)| family);
    Ok(match family {
        "convnext" => Config::ConvNext(ConvNextConfig { depths, dims, stem }),
        "swin" => {
            let num_heads = serde_json::from_value(sizes.num_heads)?;
            Config::Swin(SwinConfig { img_size, embed_dim, depths, num_heads })
        }
        "vit" | "deit" => {
            let num_heads = serde_json::from_value(sizes.num_heads)?;
            Config::Vit(VitConfig { img_size, embed_dim, depth, num_heads })
        }
        _ if family.starts_with("resn") => {
            Config::ResNet(ResNetConfig { block, layers, groups, width_per_group, width: 64, stem })
        }
        _ => bail!("unknown backbone `{arch}`"),
    })
}

fn backbone(case: &Case) -> Result<Outputs> {
    let passed = pass(case)?;
    let mut outputs = running_sums(&passed.weights)?;
    for (name, map) in &passed.maps {
        let double = map.to_dtype(DType::F64)?;
        let mut summary = |kind: &str, value: Tensor| -> Result<()> {
            outputs.push((format!("feature_{name}_{kind}"), value.to_dtype(DType::F32)?));
            Ok(())
        };
        summary("gap", double.mean((2, 3))?)?;
        summary("map", double.mean(1)?)?;
        summary("l2", double.sqr()?.sum((1, 2, 3))?.sqrt()?)?;
        let flat = double.flatten_all()?;
        summary("head", flat.narrow(0, 0, flat.elem_count().min(64))?)?;
    }
    outputs.push(("logits".into(), passed.logits));
    outputs.push(("feature_cls".into(), passed.pooled));
    Ok(outputs)
}

/// The sums of the running statistics of each batch norm, in the order of the state dict.
fn running_sums(weights: &FormulaWeights) -> Result<Outputs> {
    let sums = |suffix: &str| -> Result<Tensor> {
        let mut sums = Vec::new();
        for (name, variable) in weights.variables() {
            if name.ends_with(suffix) {
                sums.push(double(&variable)?.iter().sum::<f64>() as f32);
            }
        }
        Ok(Tensor::new(sums, &Device::Cpu)?)
    };
    Ok(vec![
        ("running_mean_sums".into(), sums("running_mean")?),
        ("running_var_sums".into(), sums("running_var")?),
    ])
}

fn backbone_grad(case: &Case) -> Result<Outputs> {
    let (tape, (passed, loss)) = Tape::record(|| -> Result<_> {
        let passed = pass(case)?;
        let labels = case.input("labels")?;
        let smoothing = case.param("label_smoothing")?;
        let loss = cross_entropy(&passed.logits, &labels, smoothing, Reduction::Mean)?;
        Ok((passed, loss))
    })?;
    let store = tape.backward(&loss)?;
    let mut outputs = running_sums(&passed.weights)?;

    let (mut norms, mut projections) = (Vec::new(), Vec::new());
    let names: Vec<String> = case.param("parameters")?;
    let parameters = passed.weights.variables().into_iter().filter(|(name, _)| !is_buffer(name));
    for (expected, (name, variable)) in names.iter().zip(parameters) {
        if *expected != name {
            bail!("parameter `{name}` is where `{expected}` was expected");
        }
        let gradient = double(store.get(&variable).with_context(|| format!("`{name}` got no gradient"))?)?;
        norms.push(norm(&gradient));
        projections.push(projection(&gradient, &format!("proj/{name}")));
    }
    let image = store.get(&passed.image).context("the image got no gradient")?;
    let mut of_samples = Vec::new();
    for sample in 0..image.dim(0)? {
        of_samples.push(norm(&double(&image.get(sample)?)?));
    }
    let image = double(image)?;
    let of_image = (0..16).map(|index| projection(&image, &format!("proj/image/{index}"))).collect();

    let logarithms = norms.iter().map(|norm| norm.ln()).collect();
    for (name, values) in [
        ("grad_norms", norms),
        ("grad_log_norms", logarithms),
        ("grad_proj", projections),
        ("grad_image_l2", of_samples),
        ("grad_image_proj", of_image),
    ] {
        let values: Vec<f32> = values.iter().map(|&value: &f64| value as f32).collect();
        outputs.push((name.into(), Tensor::new(values, &Device::Cpu)?));
    }
    outputs.extend([("loss".into(), loss), ("logits".into(), passed.logits)]);
    Ok(outputs)
}

/// All elements in row-major order.
pub(super) fn double(tensor: &Tensor) -> Result<Vec<f64>> {
    Ok(tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?)
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|value| value * value).sum::<f64>().sqrt()
}

fn projection(values: &[f64], name: &str) -> f64 {
    values.iter().zip(formula::units(name)).map(|(value, unit)| value * unit).sum::<f64>() / norm(values)
}
