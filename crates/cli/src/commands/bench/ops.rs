//! `adautomix bench ops`: the convolutions of ResNet-18, ours beside candle's.

use std::time::Instant;

use adautomix_kernels::conv::Conv;
use anyhow::Result;
use candle_core::{Device, Tensor, Var};
use serde_json::json;

use super::{median, use_threads};

/// Time the convolutions of ResNet-18 (CIFAR stem): forward and the gradients by input and weight. The layers are those of
/// `bench/pytorch/layers.py`.
#[derive(clap::Args, Debug)]
pub(crate) struct OpsArgs {
    /// Pictures.
    #[arg(long, default_value_t = 32)]
    batch: usize,
    /// Threads [default: one for each processor].
    #[arg(long)]
    threads: Option<usize>,
    /// Measure candle's own convolution too; its backward gives both gradients at once.
    #[arg(long)]
    candle: bool,
    /// How often each is timed; the median counts.
    #[arg(long, default_value_t = 7)]
    repeats: usize,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// A layer: channels, side, filters, kernel, stride, and how often the network has it.
struct Layer(usize, usize, usize, usize, usize, usize);

const LAYERS: [Layer; 11] = [
    Layer(3, 32, 64, 3, 1, 1),
    Layer(64, 32, 64, 3, 1, 4),
    Layer(64, 32, 128, 3, 2, 1),
    Layer(64, 32, 128, 1, 2, 1),
    Layer(128, 16, 128, 3, 1, 3),
    Layer(128, 16, 256, 3, 2, 1),
    Layer(128, 16, 256, 1, 2, 1),
    Layer(256, 8, 256, 3, 1, 3),
    Layer(256, 8, 512, 3, 2, 1),
    Layer(256, 8, 512, 1, 2, 1),
    Layer(512, 4, 512, 3, 1, 3),
];

impl Layer {
    fn conv(&self, batch: usize) -> Conv {
        let &Self(channels, side, filters, kernel, stride, _) = self;
        Conv {
            batch,
            channels,
            size: [side; 2],
            filters,
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [kernel / 2; 2],
            dilation: [1; 2],
            groups: 1,
        }
    }

    fn name(&self) -> String {
        let Self(channels, side, filters, kernel, stride, _) = self;
        format!("{channels}->{filters} {kernel}x{kernel} s{stride} @{side}")
    }
}

/// Runs `bench ops`.
#[expect(clippy::print_stdout, reason = "the result goes to standard output")]
pub(super) fn run(args: &OpsArgs) -> Result<()> {
    let threads = use_threads(args.threads)?;
    let mut rows = Vec::new();
    if !args.json {
        println!("batch {}, {threads} threads; ms (GFLOP/s)", args.batch);
        println!("{:24}{:>3}{:>18}{:>18}{:>18}", "layer", "x", "forward", "by input", "by weight");
    }
    for layer in &LAYERS {
        let conv = layer.conv(args.batch);
        let [height, width] = conv.out();
        let gigaflops = 2.0 * (conv.weight_len() * args.batch * height * width) as f64 / 1e9;
        let times = ours(&conv, args.repeats);
        let candle = if args.candle { Some(candles(&conv, args.repeats)?) } else { None };
        if !args.json {
            let cell = |ms: f64| format!("{ms:.2} ({:.0})", gigaflops / ms * 1e3);
            let [forward, by_input, by_weight] = times.map(cell);
            println!("{:24}{:>3}{forward:>18}{by_input:>18}{by_weight:>18}", layer.name(), layer.5);
            if let Some([forward, backward]) = candle {
                let forward = cell(forward);
                println!("{:>27}{forward:>18}{:>18}", "candle", format!("both {backward:.2}"));
            }
        }
        let [forward, by_input, by_weight] = times;
        rows.push(json!({
            "layer": layer.name(), "count": layer.5, "gigaflops": gigaflops,
            "forward_ms": forward, "dgrad_ms": by_input, "wgrad_ms": by_weight,
            "candle_forward_ms": candle.map(|times| times[0]), "candle_backward_ms": candle.map(|times| times[1]),
        }));
    }
    if args.json {
        let all =
            json!({ "framework": "adautomix", "batch": args.batch, "threads": threads, "layers": rows });
        println!("{all:#}");
    }
    Ok(())
}

/// Milliseconds of a call, once it has been made before.
fn time(repeats: usize, mut call: impl FnMut()) -> f64 {
    call();
    let timed = |_| {
        let start = Instant::now();
        call();
        start.elapsed().as_secs_f64() * 1e3
    };
    median((0..repeats.max(1)).map(timed).collect())
}

/// Something that is neither constant nor 0.
fn values(len: usize) -> Vec<f32> {
    (0..len).map(|i| (i as f32 * 0.37).sin()).collect()
}

fn ours(conv: &Conv, repeats: usize) -> [f64; 3] {
    let (x, w, mut y) = (values(conv.input_len()), values(conv.weight_len()), values(conv.output_len()));
    let (mut by_input, mut by_weight) = (x.clone(), w.clone());
    let forward = time(repeats, || conv.forward(&x, &w, None, &mut y));
    let input = time(repeats, || conv.backward_input(&y, &w, &mut by_input));
    let weight = time(repeats, || conv.backward_weight(&x, &y, &mut by_weight));
    [forward, input, weight]
}

/// Forward, and backward to both operands.
fn candles(conv: &Conv, repeats: usize) -> Result<[f64; 2]> {
    let side = |len: usize, shape: [usize; 4]| Var::from_vec(values(len), &shape, &Device::Cpu);
    let x = side(conv.input_len(), [conv.batch, conv.channels, conv.size[0], conv.size[1]])?;
    let w = side(conv.weight_len(), [conv.filters, conv.channels, conv.kernel[0], conv.kernel[1]])?;
    let forward = |x: &Tensor| x.conv2d(&w, conv.padding[0], conv.stride[0], 1, 1);
    let y = forward(&x)?;
    let loss = y.sum_all()?;
    let once = time(repeats, || drop(forward(&x)));
    let back = time(repeats, || drop(loss.backward()));
    Ok([once, back])
}
