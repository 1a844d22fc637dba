//! Convolutions by cuDNN: forward, and the gradients by input and weight, with groups in one call.
//!
//! Maps and weights of `f32` are NCHW; those of `bf16` have the channels of a pixel, and of a filter's tap, side by side
//! (NHWC), as its tensor cores want them. Sums are `f32` in either.
//!
//! cuDNN has two interfaces. That of graphs ([`graph`]) knows all of its engines, and is asked first; the older one, of
//! algorithms by name ([`classic`]), is for what no engine takes. When a convolution first occurs, each way to compute it is
//! tried, and the fastest that runs is kept. There is one buffer of working memory for all.

mod classic;
mod graph;

use std::collections::HashMap;
use std::ffi::c_void;
use std::mem::ManuallyDrop;
use std::sync::Arc;

use cudarc::cudnn::{result, sys};
use cudarc::driver::sys::CUevent_flags::CU_EVENT_DEFAULT;
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr, DriverError};

use super::{Fault, Map, Result, Span, whole};
use crate::conv::Conv;

/// How exact, and how repeatable, convolutions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Math {
    /// Whether factors of `f32` may be rounded to TF32 (10 bits); sums stay `f32`.
    pub tf32: bool,
    /// Whether only algorithms are used that give the same numbers on every run of the same device, and the same ones.
    pub deterministic: bool,
}

/// What is computed from what: `[first, second] -> result`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// `[input, weight] -> output`
    Forward,
    /// `[weight, gradient of the output] -> gradient of the input`
    Input,
    /// `[input, gradient of the output] -> gradient of the weight`
    Weight,
}

/// The share of a device's memory that a plan may work with. What engines ask for goes with the size of a batch; what they get
/// is kept.
const SHARE: usize = 16;

/// Plans that are timed at most; most of the time that takes is loading their kernels.
const CANDIDATES: usize = 10;

/// Runs of a plan that are timed together.
const TRIALS: usize = 3;

/// What there is to compute.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Problem {
    conv: Conv,
    direction: Direction,
    math: Math,
    /// Maps and weights are of `bf16`, with their channels side by side; else of `f32`, in planes.
    rows: bool,
    /// Bytes that all addresses are multiples of.
    alignment: u64,
}

impl Problem {
    /// The sizes of input, weight and output: batch or filters, channels, height, width.
    fn shapes(&self) -> [[usize; 4]; 3] {
        let conv = &self.conv;
        let ([height, width], [rows, columns]) = (conv.size, conv.out());
        [
            [conv.batch, conv.channels, height, width],
            [conv.filters, conv.channels / conv.groups, conv.kernel[0], conv.kernel[1]],
            [conv.batch, conv.filters, rows, columns],
        ]
    }

    /// Of input, weight and output, as in [`shapes`](Self::shapes): the two operands in order, then the result.
    fn roles(&self) -> [usize; 3] {
        match self.direction {
            Direction::Forward => [0, 1, 2],
            Direction::Input => [1, 2, 0],
            Direction::Weight => [0, 2, 1],
        }
    }
}

/// Where operands, result and working memory lie.
#[derive(Clone, Copy)]
struct Places {
    /// Input, weight and output.
    maps: [*mut c_void; 3],
    workspace: *mut c_void,
    size: usize,
}

/// A way to compute a problem.
enum Plan {
    Graph(graph::Plan),
    Classic(classic::Plan),
}

type Answer<T> = std::result::Result<T, result::CudnnError>;

impl Plan {
    /// The working memory that it needs.
    fn workspace(&self) -> usize {
        match self {
            Self::Graph(plan) => plan.workspace,
            Self::Classic(plan) => plan.workspace,
        }
    }

    /// The result is the product alone: nothing of what was there is added.
    ///
    /// # Safety
    /// The maps have to be those of its problem, and the working memory as large as it needs.
    unsafe fn launch(&self, handle: sys::cudnnHandle_t, places: Places) -> Answer<()> {
        // SAFETY: the caller's word is passed on.
        unsafe {
            match self {
                Self::Graph(plan) => plan.launch(handle, places),
                Self::Classic(plan) => plan.launch(handle, places),
            }
        }
    }
}

/// The convolutions of one thread on one stream. cuDNN's handle belongs to the thread that made it.
pub struct Convolutions {
    handle: sys::cudnnHandle_t,
    stream: Arc<CudaStream>,
    /// Never given up: they are few, and at the program's end the driver may be gone before them.
    plans: HashMap<Problem, ManuallyDrop<Plan>>,
    /// Working memory that a plan may use at most, in bytes.
    most: usize,
    /// The last is the one in use. Smaller ones stay, since work that was recorded has their addresses.
    workspaces: Vec<CudaSlice<u8>>,
}

fn cudnn(error: result::CudnnError) -> Fault {
    Fault::new(format!("cuDNN: {error:?}"))
}

fn driver(error: DriverError) -> Fault {
    Fault::new(format!("cuDNN: {error}"))
}

impl Convolutions {
    /// For convolutions on `stream` from this thread.
    ///
    /// # Errors
    /// If cuDNN can't be used.
    pub fn new(stream: Arc<CudaStream>) -> Result<Self> {
        stream.context().bind_to_thread().map_err(driver)?;
        let handle = result::create_handle().map_err(cudnn)?;
        // SAFETY: handle and stream are alive; the stream is kept beside the handle.
        unsafe { result::set_stream(handle, stream.cu_stream().cast()) }.map_err(cudnn)?;
        let most = stream.context().total_mem().map_err(driver)? / SHARE;
        Ok(Self { handle, stream, plans: HashMap::new(), most, workspaces: Vec::new() })
    }

    /// Whether these are on `stream`.
    pub fn are_on(&self, stream: &Arc<CudaStream>) -> bool {
        Arc::ptr_eq(&self.stream, stream)
    }

    /// Computes `out` from `operands`, as the direction says; `out` is overwritten.
    /// The gradient by a weight of `bf16` is rounded to it.
    ///
    /// # Errors
    /// If a buffer has the wrong length or cuDNN has no way to compute it.
    pub fn run<T: Map>(
        &mut self,
        conv: Conv,
        direction: Direction,
        math: Math,
        operands: [Span<T>; 2],
        out: Span<T>,
    ) -> Result<()> {
        let spans = [operands[0], operands[1], out];
        let alignment = if spans.iter().all(Span::aligned) { 16 } else { size_of::<T>() as u64 };
        let problem = Problem { conv, direction, math, rows: T::ROWS, alignment };
        let (shapes, mut maps) = (problem.shapes(), [std::ptr::null_mut(); 3]);
        for (span, role) in spans.into_iter().zip(problem.roles()) {
            whole("conv2d", span, &shapes[role])?;
            maps[role] = span.address as *mut c_void;
        }
        if out.is_empty() {
            return Ok(());
        }
        if !self.plans.contains_key(&problem) {
            let plan = self.choose(problem, maps)?;
            self.plans.insert(problem, ManuallyDrop::new(plan));
        }
        let plan = &self.plans[&problem];
        let size = plan.workspace();
        if self.workspaces.last().is_none_or(|workspace| workspace.len() < size.max(1)) {
            self.workspaces.push(memory(&self.stream, size)?);
        }
        let workspace = self.workspaces.last().map_or(0, |workspace| workspace.device_ptr(&self.stream).0);
        let places = Places { maps, workspace: workspace as *mut c_void, size };
        // SAFETY: the buffers were compared with the problem, and the working memory is as large as the plan's.
        unsafe { plan.launch(self.handle, places) }.map_err(cudnn)
    }

    /// The fastest plan that runs, tried on the operands at hand: the result is written anyway. Where numbers have to repeat,
    /// the first that runs, since the fastest may be another one the next time.
    fn choose(&self, problem: Problem, maps: [*mut c_void; 3]) -> Result<Plan> {
        let mut engines = graph::candidates(self.handle, problem).map(Plan::Graph);
        let why = match self.best(problem.math, &mut engines, maps) {
            Ok(plan) => return Ok(plan),
            Err(why) => why,
        };
        let mut algorithms = classic::candidates(self.handle, problem).map(Plan::Classic);
        let plan = self.best(problem.math, &mut algorithms, maps).map_err(|other| {
            Fault::new(format!("{problem:?} can't be computed here: {why}; by an older algorithm: {other}"))
        })?;
        tracing::warn!("no engine of cuDNN's computes {problem:?} ({why}), but an older algorithm does");
        Ok(plan)
    }

    /// The best of these plans, or why the last of them doesn't run.
    fn best(
        &self,
        math: Math,
        plans: &mut dyn Iterator<Item = Plan>,
        maps: [*mut c_void; 3],
    ) -> Result<Plan> {
        let (mut best, mut tried, mut why) = (None, 0, None);
        for plan in plans.filter(|plan| plan.workspace() <= self.most) {
            match self.time(&plan, maps) {
                Ok(time) => {
                    // Only those that run are counted.
                    tried += 1;
                    if best.as_ref().is_none_or(|(least, _)| time < *least) {
                        best = Some((time, plan));
                    }
                }
                Err(fault) => why = Some(fault),
            }
            if tried == CANDIDATES || (tried > 0 && math.deterministic) {
                break;
            }
        }
        let none =
            || why.unwrap_or_else(|| Fault::new(format!("cuDNN offers none: {}", graph::last_refusal())));
        best.map(|(_, plan)| plan).ok_or_else(none)
    }

    /// Milliseconds of some runs of a plan, after one that isn't timed.
    fn time(&self, plan: &Plan, maps: [*mut c_void; 3]) -> Result<f32> {
        let size = plan.workspace();
        // Given back behind the runs.
        let memory = memory(&self.stream, size)?;
        let places = Places { maps, workspace: memory.device_ptr(&self.stream).0 as *mut c_void, size };
        // SAFETY: as in `run`.
        let launch = || unsafe { plan.launch(self.handle, places) }.map_err(cudnn);
        launch()?;
        self.stream.synchronize().map_err(driver)?;
        let event = || self.stream.record_event(Some(CU_EVENT_DEFAULT)).map_err(driver);
        let start = event()?;
        for _ in 0..TRIALS {
            launch()?;
        }
        let end = event()?;
        start.elapsed_ms(&end).map_err(driver)
    }
}

fn memory(stream: &Arc<CudaStream>, size: usize) -> Result<CudaSlice<u8>> {
    // SAFETY: cuDNN writes the memory before it reads it.
    unsafe { stream.alloc::<u8>(size.max(1)) }.map_err(driver)
}
