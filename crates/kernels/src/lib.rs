//! Forward and backward of single operations on raw, contiguous, row-major `f32` buffers (images are NCHW).
//!
//! These are the hot loops of the system, and nothing else: no tensors, no graph, no allocation policy. The crate
//! `adautomix-ops` turns them into differentiable operations on candle tensors.
//!
//! # Invariants
//! * The result of a function doesn't depend on the number of threads: work is split at fixed places, and sums are
//!   taken in a fixed order.
//! * A backward function computes what it is asked for; a gradient that nobody needs is `None` and costs nothing.

pub mod activation;
pub mod attention;
pub mod batch_norm;
pub mod blend;
pub mod conv;
pub mod depthwise;
#[cfg(any(feature = "cuda", feature = "emulator", test))]
pub mod device;
pub mod gemm;
pub mod layer_norm;
pub mod linear;
pub mod multi_head;
pub mod pool;
pub mod rearrange;
mod reduce;
pub mod residual;
pub mod resize;
pub mod scratch;
mod slots;
pub mod softmax;
pub mod update;
