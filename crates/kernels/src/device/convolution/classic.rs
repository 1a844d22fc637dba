//! cuDNN's older interface: algorithms by name, of which it guesses the best.

use std::ffi::c_int;
use std::ptr::from_ref;

use cudarc::cudnn::{result, sys};

use super::{Answer, Direction, Places, Problem};

/// Algorithms that are asked for at most; cuDNN has up to 8, some with several kinds of mathematics.
const CANDIDATES: usize = 24;

/// An algorithm, ready to be launched.
pub(super) struct Plan {
    descriptors: Descriptors,
    algorithm: Algorithm,
    pub(super) workspace: usize,
}

/// Those of a convolution, which live as long as the program: few are made, and only where the other interface has no plan.
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

impl Plan {
    /// # Safety
    /// As [`super::Plan::launch`].
    pub(super) unsafe fn launch(&self, handle: sys::cudnnHandle_t, places: Places) -> Answer<()> {
        let Descriptors { input, weight, output, conv } = self.descriptors;
        let Places { maps: [x, w, y], workspace, size } = places;
        let (one, zero) = (from_ref(&1.0f32).cast(), from_ref(&0.0f32).cast());
        // SAFETY: the buffers are as large as the descriptors say, and the working memory as large as the algorithm asked for,
        // by the caller's word.
        unsafe {
            match self.algorithm {
                Algorithm::Forward(algorithm) => result::convolution_forward(
                    handle, one, input, x, weight, w, conv, algorithm, workspace, size, zero, output, y,
                ),
                Algorithm::Input(algorithm) => result::convolution_backward_data(
                    handle, one, weight, w, output, y, conv, algorithm, workspace, size, zero, input, x,
                ),
                Algorithm::Weight(algorithm) => result::convolution_backward_filter(
                    handle, one, input, x, output, y, conv, algorithm, workspace, size, zero, weight, w,
                ),
            }
        }
    }
}

/// The algorithms that can compute a problem, as cuDNN ranks them; none where it refuses.
pub(super) fn candidates(handle: sys::cudnnHandle_t, problem: Problem) -> impl Iterator<Item = Plan> {
    let asked = std::iter::once_with(move || ranked(handle, problem.direction, describe(&problem, None)?));
    let found = asked.flat_map(Result::unwrap_or_default);
    let fitting = found.filter(move |candidate| {
        // What converts down takes 16 bits, which nobody has asked for.
        let exact = candidate.math != sys::cudnnMathType_t::CUDNN_TENSOR_OP_MATH_ALLOW_CONVERSION;
        exact && (candidate.deterministic || !problem.math.deterministic)
    });
    fitting.filter_map(move |candidate| {
        // Without TF32 nothing is left to an algorithm's own idea of mathematics.
        let own = (problem.rows || problem.math.tf32).then_some(candidate.math);
        let (descriptors, algorithm) = (describe(&problem, own).ok()?, candidate.algorithm);
        Some(Plan { descriptors, algorithm, workspace: workspace(handle, descriptors, algorithm).ok()? })
    })
}

/// `math` is an algorithm's own; else the problem's.
fn describe(problem: &Problem, math: Option<sys::cudnnMathType_t>) -> Answer<Descriptors> {
    use sys::cudnnDataType_t::{CUDNN_DATA_BFLOAT16, CUDNN_DATA_FLOAT};
    use sys::cudnnMathType_t::{CUDNN_DEFAULT_MATH, CUDNN_FMA_MATH, CUDNN_TENSOR_OP_MATH};
    use sys::cudnnTensorFormat_t::{CUDNN_TENSOR_NCHW, CUDNN_TENSOR_NHWC};
    let (format, kind) = match problem.rows {
        true => (CUDNN_TENSOR_NHWC, CUDNN_DATA_BFLOAT16),
        false => (CUDNN_TENSOR_NCHW, CUDNN_DATA_FLOAT),
    };
    let math = math.unwrap_or(match (problem.rows, problem.math.tf32) {
        (true, _) => CUDNN_TENSOR_OP_MATH,
        (false, true) => CUDNN_DEFAULT_MATH,
        (false, false) => CUDNN_FMA_MATH,
    });
    let [input, weight, output] = problem.shapes().map(ints);
    let tensor = |shape: [c_int; 4]| -> Answer<sys::cudnnTensorDescriptor_t> {
        let descriptor = result::create_tensor_descriptor()?;
        // SAFETY: the descriptor was just made.
        unsafe { result::set_tensor4d_descriptor(descriptor, format, kind, shape) }?;
        Ok(descriptor)
    };
    let (filter, conv) = (result::create_filter_descriptor()?, result::create_convolution_descriptor()?);
    let ([rows, columns], [row_step, column_step], [row_gap, column_gap]) =
        (ints(problem.conv.padding), ints(problem.conv.stride), ints(problem.conv.dilation));
    let mode = sys::cudnnConvolutionMode_t::CUDNN_CROSS_CORRELATION;
    // SAFETY: the descriptors were just made.
    unsafe {
        result::set_filter4d_descriptor(filter, kind, format, weight)?;
        result::set_convolution2d_descriptor(
            conv,
            rows,
            columns,
            row_step,
            column_step,
            row_gap,
            column_gap,
            mode,
            CUDNN_DATA_FLOAT,
        )?;
        result::set_convolution_group_count(conv, problem.conv.groups as c_int)?;
        result::set_convolution_math_type(conv, math)?;
    }
    Ok(Descriptors { input: tensor(input)?, weight: filter, output: tensor(output)?, conv })
}

/// Sizes as cuDNN takes them; one that is too large is none that it knows.
fn ints<const N: usize>(sizes: [usize; N]) -> [c_int; N] {
    sizes.map(|size| c_int::try_from(size).unwrap_or(-1))
}

/// What cuDNN says of an algorithm.
struct Candidate {
    algorithm: Algorithm,
    deterministic: bool,
    math: sys::cudnnMathType_t,
}

fn ranked(
    handle: sys::cudnnHandle_t,
    direction: Direction,
    Descriptors { input, weight, output, conv }: Descriptors,
) -> Answer<Vec<Candidate>> {
    // The three directions differ in types and names only.
    macro_rules! ask {
        ($first:ident, $second:ident, $result:ident, $guess:ident, $algorithm:ident) => {{
            let mut count = 0;
            // SAFETY: zero is a value of each of the fields.
            let mut found = [unsafe { std::mem::zeroed() }; CANDIDATES];
            let (most, list) = (CANDIDATES as c_int, found.as_mut_ptr());
            // SAFETY: handle and descriptors are alive, and the list has room for as many as are asked for.
            unsafe { sys::$guess(handle, $first, $second, conv, $result, most, &mut count, list) }
                .result()?;
            let found = found.iter().take(usize::try_from(count).unwrap_or(0));
            let able = found.filter(|each| each.status == sys::cudnnStatus_t::CUDNN_STATUS_SUCCESS);
            Ok(able
                .map(|each| Candidate {
                    algorithm: Algorithm::$algorithm(each.algo),
                    deterministic: each.determinism == sys::cudnnDeterminism_t::CUDNN_DETERMINISTIC,
                    math: each.mathType,
                })
                .collect())
        }};
    }
    match direction {
        Direction::Forward => {
            ask!(input, weight, output, cudnnGetConvolutionForwardAlgorithm_v7, Forward)
        }
        Direction::Input => {
            ask!(weight, output, input, cudnnGetConvolutionBackwardDataAlgorithm_v7, Input)
        }
        Direction::Weight => {
            ask!(input, output, weight, cudnnGetConvolutionBackwardFilterAlgorithm_v7, Weight)
        }
    }
}

fn workspace(
    handle: sys::cudnnHandle_t,
    Descriptors { input, weight, output, conv }: Descriptors,
    algorithm: Algorithm,
) -> Answer<usize> {
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
