//! One whole training step, as training makes it.

use adautomix_backbones::{Block, Classifier, ResNet, ResNetConfig, Stem};
use adautomix_losses::Objective;
use adautomix_mixing::{Draw, DrawPair};
use adautomix_random::{Key, Purpose};
use adautomix_training::{
    BeforeScope, Gradients, Inputs, Iteration, Learned, LearnedConfig, MaskMakerConfig, MaskWeight, Method,
    Momentum, Optimizer, Parameters, Passes, Rule,
};
use anyhow::{Context, Result, bail};
use candle_core::{D, DType, Tensor};
use candle_nn::VarBuilder;

use super::case::Case;
use super::core::{GeneratorParams, margin_rule};
use super::nets::double;
use super::{Op, Outputs, formula};

pub(super) const OPS: &[(&str, Op)] = &[("adautomix_step", step)];

fn step(case: &Case) -> Result<Outputs> {
    let mut method = method(case)?;
    for (_, parameters) in method.state() {
        formula::fill(&parameters.entries())?;
    }
    let before = snapshot(&method)?;

    let inputs = Inputs { images: case.input("image")?, labels: case.indices("labels")? };
    let draws = DrawPair { generator: draw(case, "mb")?, classifier: draw(case, "bb")? };
    let adversarial = case.optional("adversarial")?.unwrap_or(true);
    let mut gradients = Gradients::default();
    // Every other step is adversarial, the first is.
    let passes = Passes::new(0.0, Key::new(0, Purpose::Test));
    let iteration = method.iterate(&inputs, &draws, usize::from(!adversarial), &passes, &mut gradients)?;
    let rule = Rule::Sgd { momentum: case.param("sgd_momentum")?, nesterov: false };
    let weight_decay = case.param("weight_decay")?;
    for (_, parameters) in method.trained() {
        Optimizer::new(parameters.weights(), rule, |_, _| weight_decay)?
            .step(&gradients, case.param("lr")?)?;
    }
    method.updated(0)?;

    let mut outputs = of_iteration(&iteration)?;
    for ((name, old), (_, new)) in before.iter().zip(&snapshot(&method)?) {
        put(&mut outputs, name, new)?;
        put(&mut outputs, &format!("delta.{name}"), &(new - old)?)?;
    }
    Ok(outputs)
}

/// The method with the case's settings.
fn method(case: &Case) -> Result<Learned> {
    let network = ResNetConfig {
        block: Block::Basic,
        layers: vec![2, 2, 2, 2],
        groups: 1,
        width_per_group: 64,
        width: case.param("width")?,
        stem: Stem::Cifar,
    };
    let classes = case.param("num_classes")?;
    let two_heads = match case.param::<String>("heads")?.as_str() {
        "two" => true,
        "shared" => false,
        other => bail!("unknown heads `{other}`, expected `two` or `shared`"),
    };
    let build = move |vb: &VarBuilder<'static>| {
        let backbone = Box::new(ResNet::new(network.clone(), vb)?);
        if two_heads {
            Classifier::two_heads(backbone, classes, vb)
        } else {
            Classifier::one_head(backbone, classes, vb)
        }
    };
    let momentum = case.param("momentum")?;
    let config = LearnedConfig {
        images: case.param("n")?,
        draw_images: false,
        generator_probability: 1.0,
        smoothing: 0.0,
        drop_path: 0.0,
        beta_parameter: 1.0,
        distinct_partners: false,
        alpha: case.param("alpha")?,
        beta: case.param("beta")?,
        terms: [1.0; 4],
        objective: case.param::<String>("objective")?.parse::<Objective>()?,
        adversarial_interval: Some(2),
        margin: case.param("lam_margin")?,
        margin_rule: margin_rule(&case.param::<String>("margin_rule")?)?,
        feature_stage: 2,
        generator: MaskMakerConfig::Generator(case.param::<GeneratorParams>("generator")?.config()?),
        mask_weight: MaskWeight::constant(0.0),
        // The case's momentum at step 0.
        momentum: Momentum {
            base: momentum,
            end: momentum,
            scope: [1.0, 1.0],
            before: BeforeScope::Constant,
            steps: 1,
        },
    };
    Ok(Learned::new(&build, config, 0, &case.device)?)
}

/// The ratios and partners of one of the two mixes, `mb` (the generator's) or `bb` (the classifier's).
fn draw(case: &Case, mix: &str) -> Result<Draw> {
    let partners = case.all_indices(&format!("perm_{mix}_"))?;
    Ok(Draw { lambdas: case.param(&format!("lambdas_{mix}"))?, partners })
}

/// A copy of every tensor, named as in the case.
fn snapshot(method: &Learned) -> Result<Outputs> {
    let mut tensors = Outputs::new();
    let mut add = |prefix: &str, parameters: &Parameters| -> Result<()> {
        for (name, tensor) in parameters.entries() {
            tensors.push((format!("{prefix}{name}"), tensor.detach().copy()?));
        }
        Ok(())
    };
    add("student.", &method.student().parameters)?;
    add("teacher.", &method.teacher().parameters)?;
    // The generator's names begin with `mix_block.` already.
    add("", method.generator())?;
    Ok(tensors)
}

fn of_iteration(iteration: &Iteration) -> Result<Outputs> {
    let Iteration { components, classifier, generator, generator_mix, classifier_mix, feature, .. } =
        iteration;
    let mut outputs = vec![
        ("amce_bb".to_string(), components.amce_bb.clone()),
        ("amce_mb_teacher".to_string(), components.amce_mb_teacher.clone()),
        ("classifier".to_string(), classifier.clone()),
        ("generator".to_string(), generator.clone()),
        ("total".to_string(), (classifier + generator)?),
    ];
    let optional = [
        ("clean", &components.clean),
        ("mce", &components.mce),
        ("amce_mb_student", &components.amce_mb_student),
        ("cosine", &components.cosine),
    ];
    outputs.extend(optional.into_iter().filter_map(|(name, loss)| Some((name.to_string(), loss.clone()?))));
    put(&mut outputs, "feature", feature)?;
    for (name, (masks, mix)) in [("mb", generator_mix), ("bb", classifier_mix)] {
        let means = masks.to_dtype(DType::F64)?.mean((D::Minus2, D::Minus1))?.to_dtype(DType::F32)?;
        outputs.push((format!("mask_{name}.mean"), means));
        put(&mut outputs, &format!("x_{name}"), mix)?;
    }
    Ok(outputs)
}

/// A tensor as the case holds it: whole up to 512 elements, else its beginning, its sum and its norm.
fn put(outputs: &mut Outputs, name: &str, tensor: &Tensor) -> Result<()> {
    if tensor.elem_count() <= 512 {
        outputs.push((name.to_string(), tensor.clone()));
        return Ok(());
    }
    let first = tensor.flatten_all()?.narrow(0, 0, 16)?;
    let values = double(tensor).with_context(|| format!("`{name}`"))?;
    let (sum, squares) =
        values.iter().fold((0.0, 0.0), |(sum, squares), value| (sum + value, squares + value * value));
    let stats = Tensor::new(&[sum as f32, squares.sqrt() as f32], tensor.device())?;
    outputs.extend([(format!("{name}.first16"), first), (format!("{name}.stats"), stats)]);
    Ok(())
}
