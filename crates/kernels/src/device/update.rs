//! In-place updates of many tensors at once: see [`crate::update`].

use super::{Argument, BLOCK, Fault, LARGEST, Launch, Result, Span, arguments, blocks, each, whole};
use crate::update::{AdamW, Sgd};

/// Tensors that one launch takes.
const TENSORS: usize = 64;

/// Elements that one block takes.
const CHUNK: usize = 4096;

/// One of the tensors that are changed.
#[derive(Clone, Copy, Debug)]
pub struct Slot {
    /// What is changed.
    pub target: Span<f32>,
    /// What is kept of its gradients: the velocity, or the mean and the mean square.
    pub state: [Option<Span<f32>>; 2],
    /// The gradient, or what is averaged; as many elements as the target.
    pub value: Option<Span<f32>>,
    /// Its weight decay.
    pub decay: f32,
}

impl Slot {
    /// A tensor that follows another one.
    pub fn following(target: Span<f32>, value: Span<f32>) -> Self {
        Self { target, state: [None; 2], value: Some(value), decay: 0.0 }
    }

    /// A tensor alone.
    pub fn alone(target: Span<f32>) -> Self {
        Self { target, state: [None; 2], value: None, decay: 0.0 }
    }
}

/// The tensors of one launch, as the kernels take them.
#[repr(C)]
#[derive(Clone, Copy)]
struct Tensors {
    target: [u64; TENSORS],
    mean: [u64; TENSORS],
    square: [u64; TENSORS],
    value: [u64; TENSORS],
    decay: [f32; TENSORS],
    size: [i32; TENSORS],
    chunk: [i32; TENSORS],
    count: i32,
}

/// What a kernel needs of each slot.
#[derive(Clone, Copy, Default)]
struct Needs {
    states: usize,
    value: bool,
}

/// Gives the tables of as many tensors as a launch takes, with the number of chunks, to `start`.
fn in_groups(
    slots: &[Slot],
    needs: Needs,
    mut start: impl FnMut(&Tensors, usize, usize) -> Result<()>,
) -> Result<()> {
    let used: Vec<&Slot> = slots.iter().filter(|slot| !slot.target.is_empty()).collect();
    let mut first = 0;
    for group in used.chunks(TENSORS) {
        let (tensors, chunks) = table(group, needs)?;
        start(&tensors, chunks, first)?;
        first += group.len();
    }
    Ok(())
}

fn table(slots: &[&Slot], needs: Needs) -> Result<(Tensors, usize)> {
    let mut tensors = Tensors {
        target: [0; TENSORS],
        mean: [0; TENSORS],
        square: [0; TENSORS],
        value: [0; TENSORS],
        decay: [0.0; TENSORS],
        size: [0; TENSORS],
        chunk: [0; TENSORS],
        count: slots.len() as i32,
    };
    let mut chunks = 0;
    for (i, slot) in slots.iter().enumerate() {
        let len = slot.target.len();
        let states = slot.state.iter().flatten().count();
        let spans = slot.state.iter().flatten().chain(&slot.value);
        if states < needs.states || (needs.value && slot.value.is_none()) || len > LARGEST {
            return Err(Fault::new(format!("update: tensor {i} of {len} elements lacks state or value")));
        }
        spans.into_iter().try_for_each(|&span| whole("update", span, &[len]))?;
        let address = |span: Option<Span<f32>>| span.map_or(0, |span| span.address);
        tensors.target[i] = slot.target.address;
        tensors.mean[i] = address(slot.state[0]);
        tensors.square[i] = address(slot.state[1]);
        tensors.value[i] = address(slot.value);
        tensors.decay[i] = slot.decay;
        tensors.size[i] = len as i32;
        tensors.chunk[i] = i32::try_from(chunks).map_err(|_| Fault::new("update: too many elements"))?;
        chunks += len.div_ceil(CHUNK);
    }
    Ok((tensors, chunks))
}

/// One step of descent for every slot: the velocity is the first of its states. The weight decay is the slot's.
///
/// # Errors
/// If a slot lacks what is needed or lengths differ.
pub fn sgd(queue: &impl Launch, slots: &[Slot], sgd: Sgd) -> Result<()> {
    let keep = if sgd.first { 0.0 } else { sgd.momentum };
    in_groups(slots, Needs { states: 1, value: true }, |tensors, chunks, _| {
        let tensors = Argument::structure(tensors);
        let arguments = arguments![tensors, sgd.lr, sgd.momentum, keep, sgd.nesterov];
        blocks(queue, "sgd", [chunks, 1], BLOCK, arguments)
    })
}

/// One step of AdamW for every slot: mean and mean square are its states. The weight decay is the slot's.
///
/// # Errors
/// If a slot lacks what is needed or lengths differ.
pub fn adamw(queue: &impl Launch, slots: &[Slot], adamw: AdamW) -> Result<()> {
    let t = i32::try_from(adamw.step).unwrap_or(i32::MAX);
    let [keep_mean, keep_square] = adamw.betas.map(|beta| beta as f32);
    let [take_mean, take_square] = adamw.betas.map(|beta| (1.0 - beta) as f32);
    let [of_mean, of_square] = adamw.betas.map(|beta| 1.0 - beta.powi(t));
    let (lr, rate) = (adamw.lr as f32, (adamw.lr / of_mean) as f32);
    let (inverse, eps) = (of_square.sqrt().recip() as f32, adamw.eps as f32);
    in_groups(slots, Needs { states: 2, value: true }, |tensors, chunks, _| {
        let tensors = Argument::structure(tensors);
        let arguments =
            arguments![tensors, keep_mean, take_mean, keep_square, take_square, lr, rate, inverse, eps];
        blocks(queue, "adamw", [chunks, 1], BLOCK, arguments)
    })
}

/// `target = keep · target + take · value` for every slot.
///
/// # Errors
/// If a slot has no value or lengths differ.
pub fn average(queue: &impl Launch, slots: &[Slot], keep: f32, take: f32) -> Result<()> {
    in_groups(slots, Needs { states: 0, value: true }, |tensors, chunks, _| {
        blocks(queue, "average", [chunks, 1], BLOCK, arguments![Argument::structure(tensors), keep, take])
    })
}

/// `target *= factor` for every slot.
///
/// # Errors
/// If a slot is too large.
pub fn scale(queue: &impl Launch, slots: &[Slot], factor: f32) -> Result<()> {
    in_groups(slots, Needs::default(), |tensors, chunks, _| {
        blocks(queue, "scale", [chunks, 1], BLOCK, arguments![Argument::structure(tensors), factor])
    })
}

/// Scales every slot so that their common norm is at most `max_norm`: `squares` are their [`squared_norms`], `factor` `[1]`
/// is working memory. A norm that isn't a number changes nothing.
///
/// # Errors
/// If a buffer has the wrong length.
pub fn clip(
    queue: &impl Launch,
    slots: &[Slot],
    squares: Span<f32>,
    max_norm: f32,
    factor: Span<f32>,
) -> Result<()> {
    whole("clip", squares, &[slots.len()])?;
    whole("clip", factor, &[1])?;
    let arguments = arguments![squares, factor, squares.len(), max_norm];
    blocks(queue, "clip_factor", [1, 1], BLOCK, arguments)?;
    in_groups(slots, Needs::default(), |tensors, chunks, _| {
        blocks(queue, "scale_by", [chunks, 1], BLOCK, arguments![Argument::structure(tensors), factor])
    })
}

/// Elements of working memory that [`squared_norms`] needs.
pub fn squares_workspace(values: &[Span<f32>]) -> usize {
    values.iter().map(|value| value.len().div_ceil(CHUNK)).sum()
}

/// `Σ x²` of each of `values`, in `squares`; none of them is empty.
///
/// # Errors
/// If a buffer has the wrong length.
pub fn squared_norms(
    queue: &impl Launch,
    values: &[Span<f32>],
    squares: Span<f32>,
    workspace: Span<f32>,
) -> Result<()> {
    whole("squared_norms", squares, &[values.len()])?;
    if values.iter().any(Span::is_empty) {
        return Err(Fault::new("squared_norms: a tensor without elements"));
    }
    let slots: Vec<Slot> = values.iter().map(|&value| Slot::following(value, value)).collect();
    let mut done = 0;
    in_groups(&slots, Needs { states: 0, value: true }, |tensors, chunks, first| {
        let count = tensors.count as usize;
        let (parts, squares) = (workspace.part(done, chunks)?, squares.part(first, count)?);
        done += chunks;
        let tensors = Argument::structure(tensors);
        blocks(queue, "squares_partial", [chunks, 1], BLOCK, arguments![tensors, parts])?;
        each(queue, "squares_finish", count, arguments![tensors, parts, squares])
    })
}
