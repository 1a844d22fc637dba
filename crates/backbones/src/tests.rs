//! Names, sizes, initial values and gradients of every network.

use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Result, Shape, Tensor, Var};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

use crate::*;

/// What a network asked its builder for, in order.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<Vec<(String, Init, Var)>>>);

impl SimpleBackend for Recorder {
    fn get(&self, shape: Shape, name: &str, init: Init, _: DType, device: &Device) -> Result<Tensor> {
        // Values without a pattern, and no zero among the weights of norms: nothing may hide a gradient.
        let seed = name.bytes().fold(7u32, |hash, byte| hash.wrapping_mul(31).wrapping_add(byte.into()));
        let spread =
            if shape.rank() > 1 { 1.5 / ((shape.elem_count() / shape.dims()[0]) as f32).sqrt() } else { 0.1 };
        let offset = if shape.rank() == 1 && !name.ends_with("bias") { 1.0 } else { 0.0 };
        let values: Vec<f32> = (0..shape.elem_count() as u32)
            .map(|i| (i.wrapping_add(seed).wrapping_mul(2_654_435_769) >> 8) as f32 / (1 << 23) as f32 - 1.0)
            .map(|unit| offset + spread * unit)
            .collect();
        let var = Var::from_vec(values, shape, device)?;
        self.0.lock().unwrap().push((name.to_string(), init, var.clone()));
        Ok(var.as_tensor().clone())
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        candle_core::bail!("{name} was asked for without a shape")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

impl Recorder {
    fn builder(&self) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), DType::F32, Device::Cpu)
    }

    fn entries(&self) -> Vec<(String, Init, Var)> {
        self.0.lock().unwrap().clone()
    }

    fn parameters(&self) -> usize {
        self.entries().iter().filter(|(name, ..)| !is_buffer(name)).map(|(.., var)| var.elem_count()).sum()
    }
}

fn classifier(name: &str, classes: usize) -> (Classifier, Recorder) {
    let recorder = Recorder::default();
    let backbone = build(name, &recorder.builder()).unwrap();
    (Classifier::one_head(backbone, classes, &recorder.builder()).unwrap(), recorder)
}

fn images(batch: usize, side: usize) -> Tensor {
    let values: Vec<f32> = (0..(batch * 3 * side * side) as u32)
        .map(|i| (i.wrapping_mul(2_246_822_519) >> 8) as f32 / (1 << 23) as f32 - 1.0)
        .collect();
    Tensor::from_vec(values, (batch, 3, side, side), &Device::Cpu).unwrap()
}

#[test]
fn parameters_are_as_many_as_published() {
    for (name, classes, expected) in [
        ("resnet18", 1000, 11_689_512),
        ("resnet34", 1000, 21_797_672),
        ("resnet50", 1000, 25_557_032),
        ("resnext50_32x4d", 1000, 25_028_904),
        ("resnet18-cifar", 100, 11_220_132),
        ("resnet20-cifar", 10, 272_474),
        ("convnext_tiny", 1000, 28_589_128),
        ("swin_tiny_patch4_window7_224", 1000, 28_288_354),
        ("vit_small_patch16_224", 1000, 22_050_664),
    ] {
        assert_eq!(classifier(name, classes).1.parameters(), expected, "{name}");
    }
}

#[test]
fn the_state_dict_has_torchvisions_names_in_torchvisions_order() {
    let norm =
        |name: &str| ["weight", "bias", "running_mean", "running_var"].map(|part| format!("{name}.{part}"));
    let mut expected = vec!["conv1.weight".to_string()];
    expected.extend(norm("bn1"));
    for (stage, blocks) in (1..).zip([3, 4, 6, 3]) {
        for block in 0..blocks {
            let block_name = format!("layer{stage}.{block}");
            for number in 1..=3 {
                expected.push(format!("{block_name}.conv{number}.weight"));
                expected.extend(norm(&format!("{block_name}.bn{number}")));
            }
            if block == 0 {
                expected.push(format!("{block_name}.downsample.0.weight"));
                expected.extend(norm(&format!("{block_name}.downsample.1")));
            }
        }
    }
    expected.extend(["fc.weight".to_string(), "fc.bias".to_string()]);
    let (_, recorder) = classifier("resnext50_32x4d", 10);
    let names: Vec<String> = recorder.entries().into_iter().map(|(name, ..)| name).collect();
    assert_eq!(names, expected);
}

#[test]
fn basic_blocks_project_only_where_the_shape_changes() {
    let (_, recorder) = classifier("resnet18-cifar", 10);
    let names = recorder.entries().into_iter().map(|(name, ..)| name);
    let projections: Vec<String> = names.filter(|name| name.ends_with("downsample.0.weight")).collect();
    assert_eq!(projections, [2, 3, 4].map(|stage| format!("layer{stage}.0.downsample.0.weight")));
}

#[test]
fn hints_are_the_published_initial_values() {
    let hint = |name: &str| {
        let entries = classifier("resnext50_32x4d-cifar", 10).1.entries();
        entries.into_iter().find(|(entry, ..)| entry == name).map(|(_, init, _)| init).unwrap()
    };
    let deviation = |name: &str| match hint(name) {
        Init::Randn { mean: 0.0, stdev } => stdev,
        other => panic!("{name} starts as {other:?}"),
    };
    let constant = |name: &str| match hint(name) {
        Init::Const(value) => value,
        other => panic!("{name} starts as {other:?}"),
    };
    assert_eq!(deviation("conv1.weight"), (2.0f64 / (64.0 * 9.0)).sqrt());
    // PyTorch's fan-out doesn't divide by the groups.
    assert_eq!(deviation("layer1.0.conv2.weight"), (2.0f64 / (128.0 * 9.0)).sqrt());
    assert_eq!(deviation("fc.weight"), 0.01);
    assert_eq!(constant("fc.bias"), 0.0);
    assert_eq!(constant("bn1.weight"), 1.0);
    assert_eq!(constant("layer1.0.bn2.weight"), 1.0);
    assert_eq!(constant("layer1.0.bn3.weight"), 0.0);
    assert_eq!(constant("layer1.0.downsample.1.weight"), 1.0);
    assert_eq!(constant("layer1.0.bn3.running_mean"), 0.0);
    assert_eq!(constant("layer1.0.bn3.running_var"), 1.0);
}

#[test]
fn maps_have_the_channels_and_strides_that_are_announced() {
    for (name, side) in [
        ("resnet20-cifar", 16),
        ("resnet34", 64),
        ("resnext50_32x4d-cifar", 16),
        ("convnext_tiny-cifar", 16),
        ("swin_tiny_patch4_window7_224", 224),
        ("vit_small_patch16_224", 224),
    ] {
        let (classifier, _) = classifier(name, 5);
        let net = &classifier.backbone;
        let features = net.features(&images(1, side), &mut Pass::eval()).unwrap();
        assert_eq!(features.stages.len(), net.stages(), "{name}");
        for (stage, hidden) in features.stages.iter().enumerate() {
            let shape = |(channels, stride): (usize, usize)| [1, channels, side / stride, side / stride];
            let map = net.map(stage, hidden).unwrap();
            assert_eq!(map.dims(), shape((net.channels(stage), net.stride(stage))), "{name} stage {stage}");
            let mixing = net.mixing_map(stage, hidden).unwrap();
            assert_eq!(mixing.dims(), shape(net.mixing_size(stage)), "{name} stage {stage}");
            assert_eq!(hidden.dims().len(), 4, "{name} stage {stage}");
        }
        let logits = classifier.logits(&features.pooled, Head::Mixup).unwrap();
        assert_eq!(logits.dims(), [1, 5], "{name}");
        assert!(net.stage(net.stages(), &features.pooled, &mut Pass::eval()).is_err(), "{name}");
    }
}

#[test]
fn residual_networks_compute_in_bf16_and_show_maps_of_f32() {
    for (name, side) in [("resnet20-cifar", 16), ("resnet18", 64)] {
        let (mut classifier, _) = classifier(name, 5);
        let pass = |net: &dyn Backbone| net.features(&images(4, side), &mut Pass::train()).unwrap();
        let exact = pass(&*classifier.backbone);
        classifier.backbone.compute_in(DType::BF16).unwrap();
        let net = &*classifier.backbone;
        let rounded = pass(net);
        for (stage, (hidden, exact)) in rounded.stages.iter().zip(&exact.stages).enumerate() {
            assert_eq!(hidden.dtype(), DType::BF16);
            let map = net.map(stage, hidden).unwrap();
            let value = |x: Tensor| x.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            let error = value((&map - exact).unwrap()) / value(exact.clone());
            assert!(error > 0.0 && error < 0.3, "{name} stage {stage}: {error}");
            // What was taken out as a map can be put back.
            if stage + 1 < net.stages() {
                let [from_map, from_hidden] = [&map, hidden].map(|x| {
                    net.map(stage + 1, &net.stage(stage + 1, x, &mut Pass::train()).unwrap()).unwrap()
                });
                assert_eq!(value((from_map - from_hidden).unwrap()), 0.0);
            }
        }
        assert_eq!(rounded.pooled.dtype(), DType::F32);
    }
    let (mut classifier, _) = classifier("convnext_tiny-cifar", 5);
    let refusal = classifier.backbone.compute_in(DType::BF16).unwrap_err().to_string();
    assert!(refusal.contains("residual networks"), "{refusal}");
}

/// A network with two blocks a stage, which have all kinds of variables that there are, and the side of its pictures.
fn shallow(name: &str) -> (Config, usize) {
    let side = if name.ends_with("-cifar") { 16 } else { 64 };
    match config(name).unwrap() {
        Config::ResNet(config) => {
            (Config::ResNet(ResNetConfig { layers: vec![2; config.layers.len()], ..config }), side)
        }
        Config::ConvNext(config) => {
            (Config::ConvNext(ConvNextConfig { depths: vec![2, 2], dims: vec![8, 16], ..config }), side)
        }
        Config::Swin(_) => {
            let (depths, num_heads) = (vec![2, 2], vec![1, 2]);
            (Config::Swin(SwinConfig { img_size: 56, embed_dim: 8, depths, num_heads }), 56)
        }
        Config::Vit(_) => (Config::Vit(VitConfig { img_size: 32, embed_dim: 8, depth: 2, num_heads: 2 }), 32),
    }
}

#[test]
fn every_variable_gets_a_finite_gradient_that_is_not_zero() {
    for name in NAMES {
        let (config, side) = shallow(name);
        let recorder = Recorder::default();
        let backbone = config.build(&recorder.builder()).unwrap();
        let classifier = Classifier::one_head(backbone, 7, &recorder.builder()).unwrap();
        let features = classifier.backbone.features(&images(2, side), &mut Pass::train()).unwrap();
        let logits = classifier.logits(&features.pooled, Head::OneHot).unwrap();
        let weights = Tensor::arange(1f32, 15f32, &Device::Cpu).unwrap().reshape((2, 7)).unwrap();
        let gradients = (logits.sqr().unwrap() * weights).unwrap().sum_all().unwrap().backward().unwrap();
        for (variable, _, var) in recorder.entries() {
            let gradient = gradients.get(&var);
            if is_buffer(&variable) {
                assert!(gradient.is_none(), "{name}: {variable} is a buffer");
                continue;
            }
            let gradient = gradient.unwrap_or_else(|| panic!("{name}: no gradient for {variable}"));
            let norm = gradient.sqr().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(norm.is_finite() && norm > 0.0, "{name}: the gradient of {variable} has norm² {norm}");
        }
    }
}

#[test]
fn the_last_map_pools_to_the_features() {
    for name in NAMES {
        let (config, side) = shallow(name);
        let by_token = matches!(config, Config::Vit(_));
        let backbone = config.build(&Recorder::default().builder()).unwrap();
        let features = backbone.features(&images(2, side), &mut Pass::eval()).unwrap();
        let last = backbone.stages() - 1;
        let map = backbone.map(last, &features.stages[last]).unwrap();
        let pooled = backbone.pool_map(&map);
        if by_token {
            assert!(pooled.is_err(), "{name}");
            continue;
        }
        let difference = (pooled.unwrap() - features.pooled).unwrap().abs().unwrap().max_all().unwrap();
        assert!(difference.to_scalar::<f32>().unwrap() < 1e-5, "{name}: {difference:?}");
    }
}

#[test]
fn a_pass_committed_n_times_is_n_passes() {
    let buffers = |recorder: &Recorder| -> Vec<Vec<f32>> {
        let entries = recorder.entries().into_iter().filter(|(name, ..)| is_buffer(name));
        entries.map(|(.., var)| var.to_vec1().unwrap()).collect()
    };
    let ((once, left), (thrice, right)) = (classifier("resnet20-cifar", 3), classifier("resnet20-cifar", 3));
    let untouched = buffers(&left);
    let mut pass = Pass::train();
    once.backbone.features(&images(4, 8), &mut pass).unwrap();
    assert_eq!(buffers(&left), untouched, "a forward pass alone changes nothing");
    pass.commit(3).unwrap();
    for order in [[0u32, 1, 2, 3], [3, 1, 0, 2], [2, 3, 1, 0]] {
        let order = Tensor::new(&order, &Device::Cpu).unwrap();
        let mut pass = Pass::train();
        thrice.backbone.features(&images(4, 8).index_select(&order, 0).unwrap(), &mut pass).unwrap();
        pass.commit(1).unwrap();
    }
    for (left, right) in buffers(&left).iter().flatten().zip(buffers(&right).iter().flatten()) {
        assert!((left - right).abs() < 1e-5, "{left} against {right}");
    }
}

#[test]
fn names_and_configurations_that_do_not_exist_are_errors() {
    let message = config("resnet20").unwrap_err().to_string();
    assert!(message.contains("`resnet20`") && message.contains("resnet20-cifar"), "{message}");
    let Config::ResNet(basic) = config("resnet18").unwrap() else { unreachable!() };
    for wrong in [
        ResNetConfig { groups: 32, ..basic.clone() },
        ResNetConfig { layers: vec![2, 0, 2, 2], ..basic.clone() },
        ResNetConfig { layers: vec![2], ..basic.clone() },
        ResNetConfig { block: Block::Bottleneck, groups: 0, ..basic.clone() },
        ResNetConfig { block: Block::Bottleneck, width_per_group: 3, width: 16, ..basic },
    ] {
        assert!(ResNet::new(wrong.clone(), &Recorder::default().builder()).is_err(), "{wrong:?}");
    }
    let (depths, num_heads) = (vec![2, 2, 6, 2], vec![3, 6, 12, 24]);
    for wrong in [
        Config::ConvNext(ConvNextConfig { depths: vec![1, 1], dims: vec![8], stem: Stem::Cifar }),
        Config::Swin(SwinConfig { img_size: 200, embed_dim: 96, depths, num_heads }),
        Config::Vit(VitConfig { img_size: 30, embed_dim: 8, depth: 2, num_heads: 2 }),
        Config::Vit(VitConfig { img_size: 32, embed_dim: 8, depth: 2, num_heads: 3 }),
    ] {
        assert!(wrong.clone().build(&Recorder::default().builder()).is_err(), "{wrong:?}");
    }
}

#[test]
fn a_branch_is_dropped_for_its_share_of_samples_and_its_mean_stays() {
    use rand::SeedableRng;
    let dropped = |index: usize, mode: fn() -> Pass| -> Vec<f32> {
        let mut pass = mode().dropping(0.5, rand_chacha::ChaCha8Rng::seed_from_u64(3));
        let branch = Tensor::ones((2000, 1, 1, 1), DType::F32, &Device::Cpu).unwrap();
        let whole = pass.residual(&branch.zeros_like().unwrap(), &branch, None, [index, 5]).unwrap();
        whole.flatten_all().unwrap().to_vec1().unwrap()
    };
    // The third of five blocks has half of the rate.
    let middle = dropped(2, Pass::train);
    let lost = middle.iter().filter(|&&x| x == 0.0).count();
    assert!((440..560).contains(&lost), "{lost}");
    assert!(middle.iter().all(|&x| x == 0.0 || (x - 1.0 / 0.75).abs() < 1e-6));
    assert!(dropped(0, Pass::train).iter().all(|&x| x == 1.0));
    assert!(dropped(4, Pass::eval).iter().all(|&x| x == 1.0));
}

#[test]
fn a_watching_pass_keeps_the_attention_of_the_last_block() {
    let config = VitConfig { img_size: 32, embed_dim: 8, depth: 2, num_heads: 2 };
    let network = Vit::new(config, &Recorder::default().builder()).unwrap();
    let mut pass = Pass::eval().watching();
    network.features(&images(3, 32), &mut pass).unwrap();
    let map = pass.attention().unwrap();
    assert_eq!(map.dims(), [3, 2, 5, 5]);
    for row in map.sum(3).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap() {
        assert!((row - 1.0).abs() < 1e-5, "{row}");
    }
    let mut pass = Pass::eval();
    network.features(&images(3, 32), &mut pass).unwrap();
    assert!(pass.attention().is_none());
}

#[test]
fn without_a_class_token_the_mean_of_the_tokens_stands_for_it() {
    let config = |img_size| SwinConfig { img_size, embed_dim: 8, depths: vec![1, 2], num_heads: vec![2, 4] };
    let attention = |img_size| {
        let network = Swin::new(config(img_size), &Recorder::default().builder()).unwrap();
        let mut pass = Pass::eval().watching();
        network.features(&images(3, img_size), &mut pass).unwrap();
        pass.attention().cloned()
    };
    let map = attention(56).unwrap();
    assert_eq!(map.dims(), [3, 4, 50, 50]);
    let tokens = map.narrow(2, 1, 49).unwrap();
    let difference = (tokens.mean_keepdim(2).unwrap() - map.narrow(2, 0, 1).unwrap()).unwrap();
    assert!(difference.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap() < 1e-6);
    assert_eq!(map.narrow(3, 0, 1).unwrap().max_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
    let sums = map.sum(3).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!(sums.iter().all(|sum| (sum - 1.0).abs() < 1e-5));
    // Four windows at the end: no token sees the whole map.
    assert!(attention(112).is_none());
}
