//! Every operation with its kernels emulated, against its composition in double precision.

use adautomix_kernels::device::Emulator;
use adautomix_kernels::device::rows::add_bias;
use candle_core::{DType, Device, Result, Tensor};

use super::emulated;
use crate::oracle::{agrees, agrees_with, expected, values};
use crate::*;

mod batch_norm;

/// As [`agrees`], emulated; fails too if a kernel was not launched.
fn check(kernels: &[&str], shapes: &[&[usize]], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
    launching(kernels, || agrees(shapes, f))
}

/// Checks `f`, which computes in `bf16`, against what it does on the processor, which rounds in the same places; the sums
/// before are made in another order, so a value may be rounded to the neighbour.
fn check_bf16(kernels: &[&str], shapes: &[&[usize]], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
    let want = expected(shapes, DType::F32, &f)?;
    launching(kernels, || agrees_with(&want, 1.0 / 128.0, shapes, f))
}

fn launching(kernels: &[&str], agrees: impl FnOnce() -> Result<()>) -> Result<()> {
    let emulator = Emulator::get().expect("a C++ compiler");
    let before: Vec<usize> = kernels.iter().map(|kernel| emulator.launches(kernel)).collect();
    emulated(agrees)?;
    for (kernel, before) in kernels.iter().zip(before) {
        assert!(emulator.launches(kernel) > before, "{kernel} was not launched");
    }
    Ok(())
}

#[test]
fn activations() -> Result<()> {
    check(&["relu_forward", "relu_backward"], &[&[3, 700]], |x| relu(&x[0]))?;
    check(&["gelu_forward", "gelu_backward"], &[&[3, 5]], |x| gelu(&(&x[0] * 4.0)?))
}

#[test]
fn attentions() -> Result<()> {
    let kernels = &["heads_copy", "attention_softmax", "attention_softmax_backward"];
    // Fewer and more tokens than a warp has threads.
    for (tokens, heads, width) in [(5, 2, 3), (49, 3, 8), (70, 1, 4)] {
        check(kernels, &[&[3, tokens, 3 * heads * width]], |x| {
            attention(&(&x[0] * 2.0)?, heads, None, None)
        })?;
    }
    let mask: Vec<f32> = (0..2 * 36).map(|i| if i % 5 == 0 { -100.0 } else { 0.0 }).collect();
    // More sequences than one slice of the sums for the bias.
    check(&["attention_bias_partial", "attention_bias_finish"], &[&[600, 6, 12], &[2, 6, 6]], |x| {
        let mask = Tensor::from_vec(mask.clone(), (2, 6, 6), &Device::Cpu)?.to_dtype(x[0].dtype())?;
        attention(&x[0], 2, Some(&x[1]), Some(&mask))
    })
}

#[test]
fn cosines() -> Result<()> {
    let kernels = &["cosine_forward", "cosine_backward"];
    // Fewer and more columns than threads share a row.
    for shape in [[3, 10], [2, 300]] {
        for reduction in [Reduction::None, Reduction::Mean] {
            check(kernels, &[&shape, &shape], |x| cosine_similarity(&x[0], &x[1], 1, 1e-8, reduction))?;
        }
        check(kernels, &[&shape], |x| {
            let constant = x[0].detach().affine(2.0, 0.5)?;
            cosine_similarity(&x[0], &constant, 1, 1e-8, Reduction::Mean)
        })?;
    }
    // A norm below the bound counts as the bound.
    check(kernels, &[&[2, 5], &[2, 5]], |x| {
        cosine_similarity(&(&x[0] * 1e-3)?, &x[1], 1, 0.5, Reduction::None)
    })
}

#[test]
fn cross_entropies() -> Result<()> {
    let kernels = &["cross_entropy_forward", "cross_entropy_backward"];
    let labels = Tensor::new(&[0u32, 199, 7, 131], &Device::Cpu)?;
    for (smoothing, reduction) in [(0.0, Reduction::Mean), (0.1, Reduction::None)] {
        check(kernels, &[&[4, 200]], |x| cross_entropy(&(&x[0] * 9.0)?, &labels, smoothing, reduction))?;
        let target = values(&[4, 200], 3)?.abs()?;
        check(kernels, &[&[4, 200]], |x| {
            soft_cross_entropy(&x[0], &target.to_dtype(x[0].dtype())?, smoothing, reduction)
        })?;
    }
    let (logits, labels) = (values(&[2, 3], 1)?, Tensor::new(&[3i64, -1], &Device::Cpu)?);
    let losses = emulated(|| cross_entropy(&logits, &labels, 0.0, Reduction::None))?.to_vec1::<f32>()?;
    assert!(losses.iter().all(|loss| loss.is_nan()), "{losses:?}");
    Ok(())
}

#[test]
fn targets_of_mixed_samples() -> Result<()> {
    let labels = [vec![0, 4, 2], vec![3, 4, 0]];
    let weights = [0.25, 0.75, 0.5, 0.5, 1.0, 0.0];
    for smoothing in [0.0, 0.1] {
        let make = || mixed_targets(&labels, &weights, 5, smoothing, &Device::Cpu)?.to_vec2::<f32>();
        let mut there = Vec::new();
        launching(&["mixed_targets"], || {
            there = make()?;
            Ok(())
        })?;
        for (there, here) in there.iter().flatten().zip(make()?.iter().flatten()) {
            assert!((there - here).abs() < 1e-6, "{there} {here}");
        }
    }
    assert!(mixed_targets(&labels, &weights, 4, 0.0, &Device::Cpu).is_err());
    assert!(mixed_targets(&labels, &weights[1..], 5, 0.0, &Device::Cpu).is_err());
    Ok(())
}

#[test]
fn blends() -> Result<()> {
    let partners = [vec![0, 1, 2], vec![2, 2, 0]];
    let kernels = &["blend_forward", "blend_backward_images", "blend_backward_mask"];
    check(kernels, &[&[4, 3, 5, 6], &[3, 2, 5, 6]], |x| mix_images(&x[0], &partners, &x[1]))?;
    let each = [0.25, 0.75, 1.0, 0.0, 0.5, 0.25];
    check(&kernels[..2], &[&[3, 2, 4, 4]], |x| linear_mix(&x[0], &partners, &each))
}

#[test]
fn layer_norms() -> Result<()> {
    let kernels = &[
        "layer_norm_forward",
        "layer_norm_backward_input",
        "layer_norm_backward_partial",
        "layer_norm_backward_finish",
    ];
    for (rows, width, mean) in [(3, 40, 0.0), (150, 7, 30.0), (9, 300, -5.0)] {
        check(kernels, &[&[rows, width], &[width], &[width]], |x| {
            layer_norm(&(&x[0] + mean)?, &x[1], &x[2], 1e-6)
        })?;
    }
    Ok(())
}

#[test]
fn pools() -> Result<()> {
    let kernels = &["max_pool_forward", "max_pool_backward"];
    check(kernels, &[&[2, 3, 7, 9]], |x| max_pool2d(&x[0], [3, 3], [2, 2], [1, 1]))?;
    check(kernels, &[&[2, 3, 7, 9]], |x| max_pool2d(&(&x[0] - 5.0)?, [2, 4], [3, 1], [1, 2]))?;
    let averages = &["global_average_forward", "global_average_backward"];
    check(averages, &[&[3, 5, 7, 6]], |x| global_avg_pool(&x[0]))?;
    // More maps than a grid has rows.
    check(kernels, &[&[2, 4100, 2, 2]], |x| max_pool2d(&x[0], [2, 2], [2, 2], [0, 0]))?;
    check(&["resize"], &[&[2, 3, 7, 9]], |x| avg_pool2d(&x[0], [3, 3], [2, 2], [1, 1]))
}

#[test]
fn pools_of_bf16() -> Result<()> {
    let kernels = &["max_pool_forward_bf16", "max_pool_backward_bf16"];
    check_bf16(kernels, &[&[2, 5, 7, 9]], |x| {
        into_planes(&max_pool2d(&into_bf16(&x[0])?, [3, 3], [2, 2], [1, 1])?)
    })?;
    // Eight channels a thread.
    let kernels = &["max_pool_forward_wide", "max_pool_backward_wide"];
    check_bf16(kernels, &[&[2, 16, 7, 9]], |x| {
        into_planes(&max_pool2d(&into_bf16(&x[0])?, [3, 2], [2, 1], [1, 0])?)
    })?;
    let averages = &["global_average_forward_bf16", "global_average_backward_bf16"];
    check_bf16(averages, &[&[3, 5, 7, 6]], |x| global_avg_pool(&into_bf16(&x[0])?))
}

#[test]
fn numbers_are_rounded_to_the_nearest_and_ties_to_even() -> Result<()> {
    // Ties, neighbours of ties, a number beyond the largest, the smallest, and what isn't a number.
    let bits = [0x3f80_8000, 0x3f81_8000, 0x3f80_8001, 0x3f80_7fff, 0x7f7f_ffff, 1, 0x8000_0000, 0x7f80_0001];
    let x = Tensor::from_vec(bits.map(f32::from_bits).to_vec(), (1, 8, 1, 1), &Device::Cpu)?;
    let round = || into_bf16(&x)?.flatten_all()?.to_vec1::<half::bf16>();
    let (got, want) = (emulated(round)?, round()?);
    assert_eq!(got[..7], want[..7]);
    assert!(got[7].is_nan());
    let back = emulated(|| into_planes(&into_bf16(&x)?)?.flatten_all()?.to_vec1::<f32>())?;
    assert_eq!(back[..7], got[..7].iter().map(|&x| f32::from(x)).collect::<Vec<_>>());
    Ok(())
}

#[test]
fn a_tie_goes_to_the_first_and_a_nan_wins() -> Result<()> {
    let x = Tensor::new(&[1f32, 2.0, 2.0, f32::NAN, 0.0, 5.0], &Device::Cpu)?.reshape((1, 1, 1, 6))?;
    let x = candle_core::Var::from_tensor(&x)?;
    let (y, dx) = emulated(|| -> Result<(Tensor, Tensor)> {
        let y = max_pool2d(&x, [1, 3], [1, 3], [0, 0])?;
        let dx = y.sum_all()?.backward()?.get(&x).cloned();
        Ok((y, dx.expect("a gradient")))
    })?;
    let y = y.flatten_all()?.to_vec1::<f32>()?;
    assert!(y[0] == 2.0 && y[1].is_nan(), "{y:?}");
    assert_eq!(dx.flatten_all()?.to_vec1::<f32>()?, [0.0, 1.0, 0.0, 1.0, 0.0, 0.0]);
    Ok(())
}

#[test]
fn resizes() -> Result<()> {
    for mode in [Interpolation::Nearest, Interpolation::Bilinear, Interpolation::Bicubic] {
        check(&["resize"], &[&[2, 2, 4, 3]], |x| interpolate(&x[0], mode, [9, 8]))?;
        check(&["resize_softmax", "map_softmax_backward"], &[&[2, 3, 4, 3]], |x| {
            upsample_softmax(&(&x[0] * 3.0)?, mode, [9, 8])
        })?;
    }
    check(&["resize"], &[&[2, 2, 9, 8]], |x| interpolate(&x[0], Interpolation::BilinearAligned, [4, 5]))
}

#[test]
fn mask_attentions() -> Result<()> {
    let spec = |partners: &[&[u32]], relu| MaskAttention {
        partners: partners.iter().map(|list| list.to_vec()).collect(),
        lambdas: [0.5, 0.3, 0.2][..partners.len()].to_vec(),
        scale: 1.7,
        relu,
    };
    let kernels =
        &["mask_attention_operands", "mask_attention_planes", "mask_attention_slopes", "mask_attention_base"];
    let three: &[&[u32]] = &[&[0, 1, 2, 3], &[3, 2, 1, 0], &[1, 1, 0, 2]];
    check(kernels, &[&[4, 13, 49]], |x| mask_attention(&(&x[0] * 2.0)?, None, spec(three, true)))?;
    let two: &[&[u32]] = &[&[0, 1, 2], &[2, 0, 1]];
    for relu in [false, true] {
        check(&["mask_attention_shift"], &[&[3, 5, 9], &[5]], |x| {
            mask_attention(&(&x[0] * 3.0)?, Some(&x[1]), spec(two, relu))
        })?;
    }
    Ok(())
}

#[test]
fn orders_of_tokens() -> Result<()> {
    let order = Order::new(&[3, 0, 4, 1, 2], &Device::Cpu)?;
    check(&["reorder"], &[&[3, 5, 70]], |x| reorder(&x[0], &order, (5, 3, 70)))?;
    // Seen as fewer and longer tokens, as patches that are merged are.
    let order = Order::new(&[5, 0, 7, 2, 1, 4, 3, 6], &Device::Cpu)?;
    check(&["reorder"], &[&[4, 4, 2, 3]], |x| reorder(&x[0], &order, (4, 2, 1, 12)))
}

#[test]
fn matrices_transposed() -> Result<()> {
    // Less than a tile, longer and shorter rows than columns; whole tiles, and tiles with an edge.
    for ([channels, height, width], kernel) in [
        ([3, 2, 5], "transpose_thin"),
        ([33, 3, 3], "transpose_thin"),
        ([64, 8, 4], "transpose"),
        ([40, 7, 9], "transpose"),
    ] {
        let shape = [3, channels, height, width];
        check(&[kernel], &[&shape], |x| channels_last(&x[0]))?;
        check(&[kernel], &[&[3, height, width, channels]], |x| channels_first(&x[0]))?;
        let kernels = ["_to_bf16", "_from_bf16"].map(|kind| format!("{kernel}{kind}"));
        let kernels = kernels.each_ref().map(String::as_str);
        check_bf16(&kernels, &[&shape], |x| into_planes(&into_bf16(&x[0])?))?;
    }
    Ok(())
}

#[test]
fn residual_branches() -> Result<()> {
    // More rows than a slice has, and more channels than a block has threads.
    let samples = vec![0.5, 0.0, 2.0];
    check(&["residual"], &[&[3, 4, 70], &[3, 4, 70]], |x| residual(&x[0], &x[1], None, None))?;
    check(&["residual"], &[&[3, 4, 70], &[3, 4, 70]], |x| {
        residual(&x[0], &x[1], None, Some(samples.clone()))
    })?;
    let kernels = &["residual", "column_sums_partial", "column_sums_finish"];
    for [rows, width] in [[70, 9], [2, 300]] {
        check(kernels, &[&[3, rows, width], &[3, rows, width], &[width]], |x| {
            residual(&x[0], &x[1], Some(&x[2]), Some(samples.clone()))
        })?;
    }
    check(kernels, &[&[3, 6], &[3, 6], &[6]], |x| residual(&x[0], &x[1], Some(&x[2]), None))
}

#[test]
fn fully_connected() -> Result<()> {
    check(&["add_bias", "column_sums_partial"], &[&[70, 3, 9], &[5, 9], &[5]], |x| {
        linear(&x[0], &x[1], Some(&x[2]))
    })?;
    check(&[], &[&[4, 9], &[5, 9]], |x| linear(&x[0], &x[1], None))?;
    check(&["add_bias"], &[&[9], &[5, 9], &[5]], |x| linear(&x[0], &x[1], Some(&x[2])))
}

#[test]
fn windows_of_pictures() -> Result<()> {
    let bytes: Vec<u8> = (0..3 * 9 * 7 * 3).map(|i| (i * 37 % 256) as u8).collect();
    let pixels = Upload::new(&Device::Cpu).bytes(&bytes, &[3, 9, 7, 3])?;
    let planes = pixels.permute((0, 3, 1, 2))?.contiguous()?.permute((0, 2, 3, 1))?;
    let window = |picture, top, left, flip| Window { picture, top, left, flip };
    let windows = [window(2, -4, 3, false), window(0, 5, -4, true), window(1, 0, 0, true)];
    let normalisation = [[0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]];
    for pictures in [pixels, planes] {
        let cut =
            || cut_pictures(&pictures, &windows, [8, 6], normalisation)?.flatten_all()?.to_vec1::<f32>();
        let (got, want) = (emulated(cut)?, cut()?);
        assert!(got.iter().zip(&want).all(|(got, want)| (got - want).abs() < 1e-6), "{got:?} {want:?}");
    }
    let emulator = Emulator::get().expect("a C++ compiler");
    assert!(emulator.launches("cut_pictures") >= 2);
    Ok(())
}

/// Some tensors of odd sizes, more of them than one launch takes, one with more elements than one block.
fn many(seed: u64) -> Result<Vec<Tensor>> {
    (0..70).map(|i| values(&[if i == 66 { 9001 } else { 3 * i + 1 }], seed * 100 + i as u64)).collect()
}

#[test]
fn updates_of_many_tensors() -> Result<()> {
    let run = || -> Result<(Vec<f32>, Vec<f64>)> {
        let (parameters, gradients) = (many(1)?, many(2)?);
        let (first, second) = (many(3)?, many(4)?.iter().map(Tensor::abs).collect::<Result<Vec<_>>>()?);
        let states: Vec<[Tensor; 2]> = first.into_iter().zip(second).map(|(m, s)| [m, s]).collect();
        let trained = |count: usize| -> Vec<Trained<'_>> {
            let parts = parameters.iter().zip(&gradients).zip(&states).enumerate();
            let one = |(i, ((parameter, gradient), state))| {
                let state: &[Tensor; 2] = state;
                Trained {
                    parameter,
                    state: &state[..count],
                    gradient,
                    weight_decay: 0.01 * f64::from(i as u8),
                }
            };
            parts.map(one).collect()
        };
        for (first, nesterov) in [(true, false), (false, false), (false, true)] {
            let sgd = Sgd { lr: 0.1, momentum: 0.9, nesterov, weight_decay: 9.0, first };
            sgd_steps(&trained(1), sgd)?;
        }
        for step in 1..3 {
            let adamw = AdamW { lr: 0.1, betas: [0.9, 0.99], eps: 1e-6, weight_decay: 9.0, step };
            adamw_steps(&trained(2), adamw)?;
        }
        let pairs: Vec<(&Tensor, &Tensor)> = parameters.iter().zip(&gradients).collect();
        moving_averages(&pairs, 0.9)?;
        accumulate(&pairs)?;
        // What is overwritten leaves nothing behind.
        let (copies, nan) = (many(5)?, Tensor::full(f32::NAN, 4, &Device::Cpu)?);
        overwrite(&copies[1], &nan)?;
        overwrite_all(&copies.iter().zip(&gradients).collect::<Vec<_>>())?;
        let all: Vec<&Tensor> = parameters.iter().collect();
        scale(&all, 0.5)?;
        let norms = squared_norms(&all)?;
        // Beyond the norm, which changes nothing, and below.
        clip(&all, 1e6)?;
        clip(&all[..66], 0.5)?;
        let changed = parameters.iter().chain(states.iter().flatten()).chain(&copies);
        Ok((Tensor::cat(&changed.collect::<Vec<_>>(), 0)?.to_vec1()?, norms))
    };
    let ((got, norms), (want, wanted_norms)) = (emulated(run)?, run()?);
    for (i, (got, want)) in got.iter().zip(&want).enumerate() {
        assert!((got - want).abs() <= 2e-6 * want.abs().max(1.0), "element {i}: {got} {want}");
    }
    for (got, want) in norms.iter().zip(&wanted_norms) {
        assert!((got - want).abs() <= 1e-5 * want, "{got} {want}");
    }
    Ok(())
}

#[test]
fn what_does_not_fit_is_refused() -> Result<()> {
    let (x, short) = (values(&[2, 3, 2, 2], 1)?, values(&[2], 2)?);
    emulated(|| {
        assert!(batch_norm_train(&x, &short, &short, 1e-5, Epilogue::None).is_err());
        let sgd = Sgd { lr: 0.1, momentum: 0.0, nesterov: false, weight_decay: 0.0, first: true };
        let state = [x.clone()];
        let trained = Trained { parameter: &x, state: &state, gradient: &short, weight_decay: 0.0 };
        assert!(sgd_steps(&[trained], sgd).is_err());
        let double = values(&[2, 3, 2, 2], 3)?.to_dtype(DType::F64)?;
        assert!(batch_norm_train(&x, &double, &double, 1e-5, Epilogue::None).is_err());
        Ok(())
    })
}

#[test]
fn biases_of_maps() -> Result<()> {
    emulated(|| {
        let (map, bias) = (values(&[2, 3, 4, 5], 1)?, values(&[3], 2)?);
        let expected = map.broadcast_add(&bias.reshape((1, 3, 1, 1))?)?;
        let queue = super::Queue::of(&map)?;
        add_bias(&queue, queue.span(&map)?, queue.span(&bias)?, 20).map_err(super::fault)?;
        assert_eq!(map.flatten_all()?.to_vec1::<f32>()?, expected.flatten_all()?.to_vec1::<f32>()?);
        assert!(add_bias(&queue, queue.span(&map)?, queue.span(&bias)?, 7).is_err());
        Ok(())
    })
}
