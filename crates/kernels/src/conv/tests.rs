//! Every way of computing a convolution against the definition, written out.

use rand::{Rng, SeedableRng};

use super::Conv;

fn random(len: usize, seed: u64) -> Vec<f32> {
    let mut rng = rand_chacha::ChaCha8Rng::seed_from_u64(seed);
    (0..len).map(|_| rng.random_range(-1.0..1.0)).collect()
}

/// Calls `each(input index, weight index, output index)` for every product of the definition.
fn for_each_product(conv: &Conv, mut each: impl FnMut(usize, usize, usize)) {
    let ([oh, ow], [h, w], [kh, kw]) = (conv.out(), conv.size, conv.kernel);
    let (inputs, outputs) = (conv.channels / conv.groups, conv.filters / conv.groups);
    for b in 0..conv.batch {
        for o in 0..conv.filters {
            for (y, x) in (0..oh).flat_map(|y| (0..ow).map(move |x| (y, x))) {
                for (c, i, j) in
                    (0..inputs).flat_map(|c| (0..kh).flat_map(move |i| (0..kw).map(move |j| (c, i, j))))
                {
                    let row = (y * conv.stride[0] + i * conv.dilation[0]).checked_sub(conv.padding[0]);
                    let column = (x * conv.stride[1] + j * conv.dilation[1]).checked_sub(conv.padding[1]);
                    let (Some(row), Some(column)) = (row, column) else {
                        continue;
                    };
                    if row < h && column < w {
                        let channel = o / outputs * inputs + c;
                        each(
                            ((b * conv.channels + channel) * h + row) * w + column,
                            ((o * inputs + c) * kh + i) * kw + j,
                            ((b * conv.filters + o) * oh + y) * ow + x,
                        );
                    }
                }
            }
        }
    }
}

fn close(got: &[f32], want: &[f64], what: &str) {
    let scale = want.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
    let worst = got.iter().zip(want).fold(0.0, |m: f64, (g, w)| m.max((f64::from(*g) - w).abs()));
    assert!(worst <= 1e-5 * scale, "{what}: error {worst:e} at scale {scale}");
    assert!(got.iter().all(|x| x.is_finite()), "{what}");
}

fn check(conv: Conv) {
    let (input, weight) = (random(conv.input_len(), 1), random(conv.weight_len(), 2));
    let (grad, bias) = (random(conv.output_len(), 3), random(conv.filters, 4));
    let pixels = conv.out()[0] * conv.out()[1];
    let mut output: Vec<f64> =
        (0..conv.output_len()).map(|i| f64::from(bias[i / pixels % conv.filters])).collect();
    let (mut by_input, mut by_weight) = (vec![0.0; input.len()], vec![0.0; weight.len()]);
    for_each_product(&conv, |i, w, o| {
        output[o] += f64::from(input[i]) * f64::from(weight[w]);
        by_input[i] += f64::from(grad[o]) * f64::from(weight[w]);
        by_weight[w] += f64::from(grad[o]) * f64::from(input[i]);
    });
    // What was there before must not matter.
    let mut got = vec![f32::NAN; conv.output_len()];
    conv.forward(&input, &weight, Some(&bias), &mut got);
    close(&got, &output, &format!("forward of {conv:?}"));
    let mut got = vec![f32::NAN; input.len()];
    conv.backward_input(&grad, &weight, &mut got);
    close(&got, &by_input, &format!("input gradient of {conv:?}"));
    let mut got = vec![f32::NAN; weight.len()];
    conv.backward_weight(&input, &grad, &mut got);
    close(&got, &by_weight, &format!("weight gradient of {conv:?}"));
}

fn square(
    batch: usize,
    channels: usize,
    side: usize,
    filters: usize,
    kernel: usize,
    stride: usize,
    pad: usize,
) -> Conv {
    Conv {
        batch,
        channels,
        size: [side; 2],
        filters,
        kernel: [kernel; 2],
        stride: [stride; 2],
        padding: [pad; 2],
        dilation: [1; 2],
        groups: 1,
    }
}

#[test]
fn direct() {
    check(square(2, 3, 9, 40, 3, 1, 1));
    check(square(3, 20, 8, 33, 3, 2, 1));
    check(square(2, 5, 7, 6, 3, 2, 1));
    check(square(2, 3, 20, 16, 7, 2, 3));
    check(square(2, 17, 6, 34, 1, 2, 0));
    check(square(1, 4, 8, 10, 4, 4, 0));
    check(Conv { dilation: [2, 2], padding: [2, 2], ..square(2, 4, 9, 5, 3, 1, 0) });
    check(Conv {
        kernel: [3, 5],
        stride: [1, 2],
        padding: [1, 2],
        size: [6, 9],
        ..square(2, 4, 0, 5, 3, 1, 0)
    });
    // An input row that no output sees.
    check(square(1, 2, 6, 3, 2, 4, 0));
}

#[test]
fn pointwise() {
    // Whole panels of pixels and one with an edge, of fewer and of more channels than filters; more panels than are packed at
    // once; and too few pixels for a panel.
    let full = [square(3, 20, 8, 70, 1, 1, 0), square(2, 70, 8, 5, 1, 1, 0), square(2, 70, 20, 3, 1, 1, 0)];
    let edged = Conv { size: [5, 6], ..square(2, 9, 0, 40, 1, 1, 0) };
    for conv in full.into_iter().chain([edged]) {
        assert!(conv.is_pointwise() && conv.fills_panels());
        check(conv);
    }
    let deep = square(1, 1500, 8, 33, 1, 1, 0);
    assert!(deep.fills_panels());
    check(deep);
    let sparse = square(3, 33, 4, 40, 1, 1, 0);
    assert!(sparse.is_pointwise() && !sparse.fills_panels());
    check(sparse);
}

#[test]
fn winograd() {
    for conv in [square(16, 32, 8, 40, 3, 1, 1), square(20, 40, 7, 32, 3, 1, 1)] {
        assert!(conv.suits_winograd());
        check(conv);
    }
    check(Conv { size: [30, 34], ..square(1, 48, 0, 33, 3, 1, 1) });
}

#[test]
fn grouped_and_depthwise() {
    check(Conv { groups: 4, ..square(2, 16, 6, 24, 3, 2, 1) });
    check(Conv { groups: 8, ..square(2, 32, 5, 32, 3, 1, 1) });
    check(Conv { groups: 6, ..square(2, 6, 10, 6, 7, 1, 3) });
    check(Conv { groups: 6, size: [5, 8], ..square(2, 6, 0, 6, 3, 2, 1) });
}
