//! Convolutions by cuDNN: forward, and the gradients by input and weight, with groups in one call.
//!
//! Maps and weights of `f32` are NCHW; those of `bf16` have the channels of a pixel, and of a filter's tap, side by side
//! (NHWC), as its tensor cores want them. Sums are `f32` in either.
//!
//! The algorithm of a convolution is chosen when it first occurs, and kept with its descriptors and the size of its
//! working memory, of which there is one buffer for all that are launched from now on.

use std::collections::HashMap;
use std::ffi::{c_int, c_void};
use std::sync::Arc;

use cudarc::cudnn::{result, sys};
use cudarc::driver::{CudaSlice, CudaStream, DevicePtr};

use super::{Fault, Map, Result, Span, whole};
use crate::conv::Conv;

/// How exact, and how repeatable, convolutions are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Math {
    /// Whether factors of `f32` may be rounded to TF32 (10 bits); sums stay `f32`.
    pub tf32: bool,
    /// Whether only algorithms are used that give the same numbers on every run of the same device.
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

/// Working memory that an algorithm may use at most, in bytes.
const WORKSPACE: usize = 1 << 30;

/// Algorithms that are asked for at most; cuDNN has up to 8, some with several kinds of mathematics.
const CANDIDATES: usize = 24;

/// The convolutions of one thread on one stream. cuDNN's handle belongs to the thread that made it.
pub struct Convolutions {
    handle: sys::cudnnHandle_t,
    stream: Arc<CudaStream>,
    plans: HashMap<(Conv, Direction, Math, bool), Plan>,
    /// The last is the one in use. Smaller ones stay, since work that was recorded has their addresses.
    workspaces: Vec<CudaSlice<u8>>,
}

/// A convolution that is ready to be launched. Descriptors live as long as the program: plans are few, and at its end
/// the driver may be gone before them.
#[derive(Clone, Copy)]
struct Plan {
    descriptors: Descriptors,
    algorithm: Algorithm,
    workspace: usize,
}

#[derive(Clone, Copy)]
struct Descriptors {
    input: sys::cudnnTensorDescriptor_t,
    weight: sys::cudnnFilterDescriptor_t,
    output: sys::cudnnTensorDescriptor_t,
    conv: sys::cudnnConvolutionDescriptor_t,
}

#[derive(Clone, Copy)]
enum Algorithm {
    Forward(sys::cudnnConvolutionFwdAlgo_t),
    Input(sys::cudnnConvolutionBwdDataAlgo_t),
    Weight(sys::cudnnConvolutionBwdFilterAlgo_t),
}

fn cudnn(error: result::CudnnError) -> Fault {
    Fault::new(format!("cuDNN: {error:?}"))
}

fn int(size: usize) -> Result<c_int> {
    c_int::try_from(size).map_err(|_| Fault::new(format!("conv2d: a size of {size}")))
}

fn ints<const N: usize>(sizes: [usize; N]) -> Result<[c_int; N]> {
    let mut all = [0; N];
    for (to, size) in all.iter_mut().zip(sizes) {
        *to = int(size)?;
    }
    Ok(all)
}

impl Convolutions {
    /// For convolutions on `stream` from this thread.
    ///
    /// # Errors
    /// If cuDNN can't be used.
    pub fn new(stream: Arc<CudaStream>) -> Result<Self> {
        stream.context().bind_to_thread().map_err(|error| Fault::new(format!("cuDNN: {error}")))?;
        let handle = result::create_handle().map_err(cudnn)?;
        // SAFETY: handle and stream are alive; the stream is kept beside the handle.
        unsafe { result::set_stream(handle, stream.cu_stream().cast()) }.map_err(cudnn)?;
        Ok(Self { handle, stream, plans: HashMap::new(), workspaces: Vec::new() })
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
        let [height, width] = conv.size;
        let [rows, columns] = conv.out();
        let input = [conv.batch, conv.channels, height, width];
        let weight = [conv.filters, conv.channels / conv.groups, conv.kernel[0], conv.kernel[1]];
        let output = [conv.batch, conv.filters, rows, columns];
        let shapes = match direction {
            Direction::Forward => [input, weight, output],
            Direction::Input => [weight, output, input],
            Direction::Weight => [input, output, weight],
        };
        for (span, shape) in [operands[0], operands[1], out].into_iter().zip(shapes) {
            whole("conv2d", span, &shape)?;
        }
        if out.is_empty() {
            return Ok(());
        }
        let key = (conv, direction, math, T::ROWS);
        let plan = match self.plans.get(&key) {
            Some(plan) => *plan,
            None => {
                let plan = self.plan(conv, direction, math, [input, weight, output], operands, out)?;
                self.plans.insert(key, plan);
                plan
            }
        };
        let workspace = self.workspace(plan.workspace)?;
        launch(self.handle, plan, operands, out, (workspace, plan.workspace)).map_err(cudnn)
    }

    /// Describes a convolution and chooses how it is computed.
    fn plan<T: Map>(
        &mut self,
        conv: Conv,
        direction: Direction,
        math: Math,
        shapes: [[usize; 4]; 3],
        operands: [Span<T>; 2],
        out: Span<T>,
    ) -> Result<Plan> {
        let descriptors = describe::<T>(conv, math, shapes)?;
        let candidates = candidates(self.handle, direction, descriptors, None).map_err(cudnn)?;
        let fits = |candidate: &Candidate| {
            candidate.memory <= WORKSPACE && (candidate.deterministic || !math.deterministic)
        };
        let mut chosen = candidates.iter().find(|candidate| fits(candidate)).copied();
        if !math.deterministic {
            // Which is fastest is tried, once, on the operands at hand; the result is written anyway.
            let size = candidates.iter().filter(|c| fits(c)).map(|c| c.memory).max().unwrap_or(0);
            // Given back behind the trial, which waits for its end.
            let memory = self.memory(size)?;
            let workspace = memory.device_ptr(&self.stream).0 as *mut c_void;
            let trial = Trial { operands: operands.map(pointer), out: pointer(out), workspace, size };
            let tried = candidates_or_none(self.handle, direction, descriptors, &trial);
            chosen = tried.into_iter().find(|candidate| candidate.memory <= size).or(chosen);
        }
        let Some(chosen) = chosen else {
            return Err(Fault::new(format!("cuDNN has no algorithm for {conv:?}, {direction:?}, {math:?}")));
        };
        // Without TF32 nothing is left to an algorithm's own idea of mathematics.
        if T::ROWS || math.tf32 {
            // SAFETY: the descriptor was made above.
            unsafe { result::set_convolution_math_type(descriptors.conv, chosen.math) }.map_err(cudnn)?;
        }
        let workspace = workspace_size(self.handle, descriptors, chosen.algorithm).map_err(cudnn)?;
        Ok(Plan { descriptors, algorithm: chosen.algorithm, workspace })
    }

    /// The address of working memory of at least `size` bytes.
    fn workspace(&mut self, size: usize) -> Result<u64> {
        if self.workspaces.last().is_none_or(|workspace| workspace.len() < size.max(1)) {
            let workspace = self.memory(size)?;
            self.workspaces.push(workspace);
        }
        Ok(self.workspaces.last().map_or(0, |workspace| workspace.device_ptr(&self.stream).0))
    }

    fn memory(&self, size: usize) -> Result<CudaSlice<u8>> {
        // SAFETY: cuDNN writes the memory before it reads it.
        let memory = unsafe { self.stream.alloc::<u8>(size.max(1)) };
        memory.map_err(|error| Fault::new(format!("cuDNN: {error}")))
    }
}

fn describe<T: Map>(conv: Conv, math: Math, [input, weight, output]: [[usize; 4]; 3]) -> Result<Descriptors> {
    use sys::cudnnDataType_t::{CUDNN_DATA_BFLOAT16, CUDNN_DATA_FLOAT};
    use sys::cudnnMathType_t::{CUDNN_DEFAULT_MATH, CUDNN_FMA_MATH, CUDNN_TENSOR_OP_MATH};
    use sys::cudnnTensorFormat_t::{CUDNN_TENSOR_NCHW, CUDNN_TENSOR_NHWC};
    let (format, kind) = match T::ROWS {
        true => (CUDNN_TENSOR_NHWC, CUDNN_DATA_BFLOAT16),
        false => (CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT),
    };
    let math = match (T::ROWS, math.tf32) {
        (true, _) => CUDNN_TENSOR_OP_MATH,
        (false, true) => CUDNN_DEFAULT_MATH,
        (false, false) => CUDNN_FMA_MATH,
    };
    let tensor = |shape: [usize; 4]| -> Result<sys::cudnnTensorDescriptor_t> {
        let descriptor = result::create_tensor_descriptor().map_err(cudnn)?;
        // SAFETY: the descriptor was just made.
        unsafe { result::set_tensor4d_descriptor(descriptor, format, kind, ints(shape)?) }.map_err(cudnn)?;
        Ok(descriptor)
    };
    let filter = result::create_filter_descriptor().map_err(cudnn)?;
    // SAFETY: the descriptor was just made.
    unsafe { result::set_filter4d_descriptor(filter, kind, format, ints(weight)?) }.map_err(cudnn)?;
    let descriptor = result::create_convolution_descriptor().map_err(cudnn)?;
    let ([rows, columns], [row_step, column_step]) = (ints(conv.padding)?, ints(conv.stride)?);
    let [row_gap, column_gap] = ints(conv.dilation)?;
    let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
    // SAFETY: the descriptor was just made.
    unsafe {
        result::set_convolution2d_descriptor(
            descriptor,
            rows,
            columns,
            row_step,
            column_step,
            row_gap,
            column_gap,
            mode,
            CUDNN_DATA_FLOAT,
        )
        .and_then(|()| result::set_convolution_group_count(descriptor, conv.groups as c_int))
        .and_then(|()| result::set_convolution_math_type(descriptor, math))
    }
    .map_err(cudnn)?;
    Ok(Descriptors { input: tensor(input)?, weight: filter, output: tensor(output)?, conv: descriptor })
}

/// A way to compute a convolution.
#[derive(Clone, Copy)]
struct Candidate {
    algorithm: Algorithm,
    memory: usize,
    deterministic: bool,
    math: sys::cudnnMathType_t,
}

/// What algorithms are tried on.
struct Trial {
    operands: [*mut c_void; 2],
    out: *mut c_void,
    workspace: *mut c_void,
    size: usize,
}

fn pointer<T>(span: Span<T>) -> *mut c_void {
    span.address as *mut c_void
}

/// The algorithms that were tried, the fastest first; none where trying isn't possible.
fn candidates_or_none(
    handle: sys::cudnnHandle_t,
    direction: Direction,
    descriptors: Descriptors,
    trial: &Trial,
) -> Vec<Candidate> {
    candidates(handle, direction, descriptors, Some(trial)).unwrap_or_default()
}

/// The algorithms that can compute a convolution, best first: as cuDNN guesses, or as a trial shows.
fn candidates(
    handle: sys::cudnnHandle_t,
    direction: Direction,
    Descriptors { input, weight, output, conv }: Descriptors,
    trial: Option<&Trial>,
) -> std::result::Result<Vec<Candidate>, result::CudnnError> {
    // The three directions differ in types and names only.
    macro_rules! ask {
        ($first:ident, $second:ident, $result:ident, $guess:ident, $try:ident, $algorithm:ident) => {{
            let mut count = 0;
            // SAFETY: zero is a value of each of the fields.
            let mut found = [unsafe { std::mem::zeroed() }; CANDIDATES];
            let (most, list) = (CANDIDATES as c_int, found.as_mut_ptr());
            // SAFETY: handle and descriptors are alive, the list has room for as many as are asked for, and the
            // buffers of a trial are as large as the descriptors say.
            unsafe {
                match trial {
                    None => sys::$guess(handle, $first, $second, conv, $result, most, &mut count, list),
                    Some(trial) => {
                        let Trial { operands: [first, second], out, workspace, size } = *trial;
                        sys::$try(
                            handle, $first, first, $second, second, conv, $result, out, most, &mut count,
                            list, workspace, size,
                        )
                    }
                }
            }
            .result()?;
            let found = found.iter().take(usize::try_from(count).unwrap_or(0));
            let able = found.filter(|each| each.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS);
            Ok(able
                .map(|each| Candidate {
                    algorithm: Algorithm::$algorithm(each.algo),
                    memory: each.memory,
                    deterministic: each.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC,
                    math: each.mathType,
                })
                .collect())
        }};
    }
    match direction {
        Direction::Forward => ask!(
            input,
            weight,
            output,
            cudnnGetConvolutionForwardAlgorithm_v7,
            cudnnFindConvolutionForwardAlgorithmEx,
            Forward
        ),
        Direction::Input => ask!(
            weight,
            output,
            input,
            cudnnGetConvolutionBackwardDataAlgorithm_v7,
            cudnnFindConvolutionBackwardDataAlgorithmEx,
            Input
        ),
        Direction::Weight => ask!(
            input,
            output,
            weight,
            cudnnGetConvolutionBackwardFilterAlgorithm_v7,
            cudnnFindConvolutionBackwardFilterAlgorithmEx,
            Weight
        ),
    }
}

fn workspace_size(
    handle: sys::cudnnHandle_t,
    Descriptors { input, weight, output, conv }: Descriptors,
    algorithm: Algorithm,
) -> std::result::Result<usize, result::CudnnError> {
    // SAFETY: handle and descriptors are alive.
    unsafe {
        match algorithm {
            Algorithm::Forward(algorithm) => {
                result::get_convolution_forward_workspace_size(handle, input, weight, conv, output, algorithm)
            }
            Algorithm::Input(algorithm) => result::get_convolution_backward_data_workspace_size(
                handle, weight, output, conv, input, algorithm,
            ),
            Algorithm::Weight(algorithm) => result::get_convolution_backward_filter_workspace_size(
                handle, input, output, conv, weight, algorithm,
            ),
        }
    }
}

fn launch<T>(
    handle: sys::cudnnHandle_t,
    plan: Plan,
    operands: [Span<T>; 2],
    out: Span<T>,
    (workspace, size): (u64, usize),
) -> std::result::Result<(), result::CudnnError> {
    let Descriptors { input, weight, output, conv } = plan.descriptors;
    // The result is the product alone: nothing of what was there is added.
    let (one, zero) = (1.0f32, 0.0f32);
    let (one, zero) = (std::ptr::from_ref(&one).cast(), std::ptr::from_ref(&zero).cast());
    let ([a, b], out, workspace) = (operands.map(pointer), pointer(out), workspace as *mut c_void);
    // SAFETY: the buffers are as large as the descriptors say, which `run` has checked, and the working memory as large
    // as the algorithm asked for.
    unsafe {
        match plan.algorithm {
            Algorithm::Forward(algorithm) => result::convolution_forward(
                handle, one, input, a, weight, b, conv, algorithm, workspace, size, zero, output, out,
            ),
            Algorithm::Input(algorithm) => result::convolution_backward_data(
                handle, one, weight, a, output, b, conv, algorithm, workspace, size, zero, input, out,
            ),
            Algorithm::Weight(algorithm) => result::convolution_backward_filter(
                handle, one, input, a, output, b, conv, algorithm, workspace, size, zero, weight, out,
            ),
        }
    }
}
