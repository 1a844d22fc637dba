//! Convolution by cuDNN.

use std::cell::RefCell;
use std::sync::atomic::{AtomicBool, Ordering};

use adautomix_kernels::conv::Conv;
use adautomix_kernels::device::convolution::{Convolutions, Direction, Math};
use adautomix_kernels::device::rows::add_bias;
use adautomix_kernels::device::{Map, Span};
use candle_core::{Result, Shape, Tensor, WithDType};
use half::bf16;

use super::rearrange::transposed;
use super::{Queue, fault};
use crate::cuda::Settings;
use crate::node::record;

thread_local! {
    /// cuDNN with its plans, for each stream that this thread has used.
    static CONVOLUTIONS: RefCell<Vec<Convolutions>> = const { RefCell::new(Vec::new()) };
}

static TF32: AtomicBool = AtomicBool::new(true);
static DETERMINISTIC: AtomicBool = AtomicBool::new(false);

/// Says how exact and how repeatable convolutions on CUDA are from now on.
pub(crate) fn set_arithmetic(settings: Settings) {
    TF32.store(settings.tf32, Ordering::Relaxed);
    DETERMINISTIC.store(settings.deterministic, Ordering::Relaxed);
}

pub(crate) fn conv2d(input: &Tensor, weight: &Tensor, bias: Option<&Tensor>, conv: Conv) -> Result<Tensor> {
    let (queue, input, weight) = (Queue::of(input)?, input.contiguous()?, weight.contiguous()?);
    let bias = bias.map(Tensor::contiguous).transpose()?;
    let [rows, columns] = conv.out();
    let result = queue.fresh((conv.batch, conv.filters, rows, columns))?;
    let to = result.span::<f32>(&queue)?;
    run(conv, Direction::Forward, [&input, &weight], to)?;
    if let Some(bias) = &bias {
        add_bias(&queue, to, queue.span(bias)?, rows * columns).map_err(fault)?;
    }
    let by_factors = move |input: &Tensor, weight: &Tensor, dy: &Tensor| -> Result<[Option<Tensor>; 2]> {
        let queue = Queue::of(input)?;
        let (by_input, to) = queue.fresh_if::<f32>(input.track_op(), input.shape())?;
        to.map_or(Ok(()), |to| run(conv, Direction::Input, [weight, dy], to))?;
        let (by_weight, to) = queue.fresh_if::<f32>(weight.track_op(), weight.shape())?;
        to.map_or(Ok(()), |to| run(conv, Direction::Weight, [input, dy], to))?;
        Ok([by_input, by_weight])
    };
    let Some(bias) = bias else {
        return record("conv2d", result, [&input, &weight], move |[input, weight], _, dy| {
            by_factors(input, weight, dy)
        });
    };
    record("conv2d", result, [&input, &weight, &bias], move |[input, weight, bias], _, dy| {
        let [by_input, by_weight] = by_factors(input, weight, dy)?;
        let by_bias = bias.track_op().then(|| dy.detach().sum((0, 2, 3))).transpose()?;
        Ok([by_input, by_weight, by_bias])
    })
}

/// Of an input in `bf16`. The weight is turned and rounded once for a pass, its gradient turned back.
pub(crate) fn conv2d_bf16(input: &Tensor, weight: &Tensor, conv: Conv) -> Result<Tensor> {
    let (queue, input, weight) = (Queue::of(input)?, input.contiguous()?, weight.contiguous()?);
    let ([rows, columns], [height, width]) = (conv.out(), conv.kernel);
    let depth = conv.channels / conv.groups;
    let turned = Shape::from((conv.filters, height, width, depth));
    let rounded = transposed::<f32, bf16>(&weight, [depth, height * width], turned.clone())?.tensor();
    let result = queue.fresh_of::<bf16>((conv.batch, rows, columns, conv.filters))?;
    run::<bf16>(conv, Direction::Forward, [&input, &rounded], result.span(&queue)?)?;
    record("conv2d", result, [&input, &weight], move |[input, weight], _, dy| {
        let queue = Queue::of(input)?;
        let (by_input, to) = queue.fresh_if::<bf16>(input.track_op(), input.shape())?;
        to.map_or(Ok(()), |to| run(conv, Direction::Input, [&rounded, dy], to))?;
        let (by_weight, to) = queue.fresh_if::<bf16>(weight.track_op(), &turned)?;
        to.map_or(Ok(()), |to| run(conv, Direction::Weight, [input, dy], to))?;
        let back = |gradient: Tensor| -> Result<Tensor> {
            let matrix = [height * width, depth];
            Ok(transposed::<bf16, f32>(&gradient, matrix, weight.shape().clone())?.tensor())
        };
        Ok([by_input, by_weight.map(back).transpose()?])
    })
}

fn run<T: Map + WithDType>(
    conv: Conv,
    direction: Direction,
    operands: [&Tensor; 2],
    to: Span<T>,
) -> Result<()> {
    let queue = Queue::of(operands[0])?;
    let [first, second] = operands;
    let operands = [queue.span::<T>(first)?, queue.span::<T>(second)?];
    let math =
        Math { tf32: TF32.load(Ordering::Relaxed), deterministic: DETERMINISTIC.load(Ordering::Relaxed) };
    let stream = match &queue {
        Queue::Cuda(stream, _) => stream.stream().clone(),
        #[cfg(test)]
        Queue::Emulated(_) => candle_core::bail!("cuDNN isn't emulated"),
    };
    CONVOLUTIONS.with_borrow_mut(|all| {
        let known = all.iter().position(|convolutions| convolutions.are_on(&stream));
        let number = match known {
            Some(number) => number,
            None => {
                all.push(Convolutions::new(stream).map_err(fault)?);
                all.len() - 1
            }
        };
        all[number].run(conv, direction, math, operands, to).map_err(fault)
    })
}
