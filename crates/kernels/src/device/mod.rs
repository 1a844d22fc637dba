//! The same operations on a device: what is launched, over how many threads, with which arguments.
//!
//! The kernels are in `cuda/`, one file for each file here. Their text and these functions know nothing of a driver:
//! `Launch` is implemented by `Stream` (feature `cuda`) and by `Emulator`, which runs the very same text on the
//! processor, so that kernels, sizes and arguments are tested on machines without a GPU.
//!
//! # Invariants
//! * Nothing here allocates or waits: results and working memory are arguments. So a sequence of calls can be captured
//!   into a graph, and replayed.
//! * Nothing here depends on the device: the same sizes give the same sums in the same order.

use std::ffi::c_void;
use std::marker::PhantomData;

pub mod activation;
pub mod attention;
pub mod batch_norm;
pub mod blend;
#[cfg(feature = "cudnn")]
pub mod convolution;
pub mod cosine;
#[cfg(any(test, feature = "emulator"))]
mod emulator;
pub mod layer_norm;
pub mod mask_attention;
pub mod picture;
pub mod pool;
pub mod rearrange;
pub mod resize;
pub mod rows;
pub mod softmax;
#[cfg(feature = "cuda")]
mod stream;
pub mod update;

#[cfg(any(test, feature = "emulator"))]
pub use emulator::Emulator;
#[cfg(feature = "cuda")]
pub use stream::Stream;

/// Why nothing was launched.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault(String);

impl Fault {
    pub(crate) fn new(what: impl Into<String>) -> Self {
        Self(what.into())
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Fault {}

/// What a launch gives.
pub type Result<T> = std::result::Result<T, Fault>;

/// What a map is made of, and with that how it lies: planes of `f32`, or `bf16` with the channels of a pixel side by side.
/// Sums and statistics are `f32` in either.
pub trait Map: Copy {
    /// Whether the channels of a pixel lie side by side.
    const ROWS: bool;

    /// Elements of 16 bytes, which a thread takes at once where it can.
    const WIDTH: usize = 16 / size_of::<Self>();

    /// The kernel for maps of this kind.
    fn kernel(planes: &'static str, rows: &'static str) -> &'static str {
        if Self::ROWS { rows } else { planes }
    }
}

impl Map for f32 {
    const ROWS: bool = false;
}

impl Map for half::bf16 {
    const ROWS: bool = true;
}

/// A buffer in the memory of a device: an address and a number of elements, unowned.
#[derive(Debug)]
pub struct Span<T> {
    address: u64,
    len: usize,
    of: PhantomData<*const T>,
}

impl<T> Clone for Span<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for Span<T> {}

/// The most elements a buffer may have: positions in it, and the steps of a loop over it, are 32-bit numbers.
const LARGEST: usize = 1 << 30;

impl<T> Span<T> {
    /// The buffer of `len` elements at `address`.
    ///
    /// # Safety
    /// It lies in the memory of the device on which it is used, aligned for its elements, and stays there until all
    /// that was launched with it has run; nobody else writes it meanwhile, nor reads what is written.
    pub unsafe fn new(address: u64, len: usize) -> Self {
        Self { address, len, of: PhantomData }
    }

    /// Number of elements.
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether it has no element.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether loads of 16 bytes are possible from its first element on.
    fn aligned(&self) -> bool {
        self.address.is_multiple_of(16)
    }

    /// The elements from `start` on, `len` of them.
    ///
    /// # Errors
    /// If they aren't all in the buffer.
    pub fn part(&self, start: usize, len: usize) -> Result<Self> {
        if start + len > self.len {
            return Err(Fault::new(format!("elements {start} to {} of {}", start + len, self.len)));
        }
        Ok(Self { address: self.address + (start * size_of::<T>()) as u64, len, of: PhantomData })
    }
}

/// An argument of a kernel.
#[derive(Clone, Copy, Debug)]
pub enum Argument<'a> {
    /// A pointer; 0 where the kernel allows none.
    Address(u64),
    /// An `int`.
    Int(i32),
    /// A `float`.
    Float(f32),
    /// A structure, by value: where it is and how large.
    Structure(*const c_void, usize, PhantomData<&'a ()>),
}

impl Argument<'_> {
    /// Where the value itself lies, as the driver wants to know.
    #[cfg(any(feature = "cuda", test, feature = "emulator"))]
    fn pointer(&self) -> *mut c_void {
        match self {
            Self::Address(address) => std::ptr::from_ref(address).cast_mut().cast(),
            Self::Int(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Self::Float(value) => std::ptr::from_ref(value).cast_mut().cast(),
            Self::Structure(start, ..) => start.cast_mut(),
        }
    }
}

impl<T> From<Span<T>> for Argument<'_> {
    fn from(span: Span<T>) -> Self {
        Self::Address(span.address)
    }
}

impl<T> From<Option<Span<T>>> for Argument<'_> {
    fn from(span: Option<Span<T>>) -> Self {
        Self::Address(span.map_or(0, |span| span.address))
    }
}

/// A size. Those that a launch depends on are checked with the buffers; what doesn't fit is refused there.
impl From<usize> for Argument<'_> {
    fn from(size: usize) -> Self {
        Self::Int(i32::try_from(size).unwrap_or(i32::MAX))
    }
}

impl From<bool> for Argument<'_> {
    fn from(flag: bool) -> Self {
        Self::Int(i32::from(flag))
    }
}

impl From<f32> for Argument<'_> {
    fn from(value: f32) -> Self {
        Self::Float(value)
    }
}

impl<'a> Argument<'a> {
    /// A structure that the kernel takes by value; `T` is laid out as in C.
    fn structure<T: Copy>(value: &'a T) -> Self {
        Self::Structure(std::ptr::from_ref(value).cast(), size_of::<T>(), PhantomData)
    }
}

/// Lists arguments of different types.
macro_rules! arguments {
    ($($argument:expr),* $(,)?) => { &[$($crate::device::Argument::from($argument)),*] };
}
pub(crate) use arguments;

/// What starts kernels, one after the other.
pub trait Launch {
    /// Starts a kernel over `grid` blocks of `block` threads each, without waiting for it.
    ///
    /// # Safety
    /// The arguments are what the kernel of this name takes, and the buffers among them as large as it expects.
    ///
    /// # Errors
    /// If there is no such kernel or the driver refuses.
    unsafe fn launch(
        &self,
        kernel: &'static str,
        grid: [u32; 2],
        block: u32,
        arguments: &[Argument<'_>],
    ) -> Result<()>;
}

/// All kernels by name.
pub(crate) const KERNELS: &[&str] = &[
    "relu_forward",
    "relu_backward",
    "gelu_forward",
    "gelu_backward",
    "heads_copy",
    "attention_softmax",
    "attention_softmax_backward",
    "attention_bias_partial",
    "attention_bias_finish",
    "batch_norm_partial",
    "batch_norm_partial_bf16",
    "batch_norm_finish",
    "batch_norm_inverse",
    "batch_norm_apply",
    "batch_norm_apply_bf16",
    "batch_norm_sums",
    "batch_norm_sums_bf16",
    "batch_norm_sums_finish",
    "batch_norm_gradient",
    "batch_norm_gradient_bf16",
    "blend_forward",
    "blend_backward_images",
    "blend_backward_mask",
    "cosine_forward",
    "cosine_backward",
    "cross_entropy_forward",
    "cross_entropy_backward",
    "mean_of",
    "mixed_targets",
    "layer_norm_forward",
    "layer_norm_backward_input",
    "layer_norm_backward_partial",
    "layer_norm_backward_finish",
    "mask_attention_operands",
    "mask_attention_planes",
    "mask_attention_slopes",
    "mask_attention_base",
    "mask_attention_shift",
    "cut_pictures",
    "max_pool_forward",
    "max_pool_forward_bf16",
    "max_pool_forward_wide",
    "max_pool_backward",
    "max_pool_backward_bf16",
    "max_pool_backward_wide",
    "global_average_forward",
    "global_average_forward_bf16",
    "global_average_backward",
    "global_average_backward_bf16",
    "reorder",
    "transpose",
    "transpose_to_bf16",
    "transpose_from_bf16",
    "transpose_thin",
    "transpose_thin_to_bf16",
    "transpose_thin_from_bf16",
    "resize",
    "resize_softmax",
    "map_softmax_backward",
    "residual",
    "add_bias",
    "column_sums_partial",
    "column_sums_finish",
    "sgd",
    "adamw",
    "average",
    "scale",
    "squares_partial",
    "squares_finish",
    "clip_factor",
    "scale_by",
];

/// Threads of a block, unless a kernel says otherwise.
const BLOCK: u32 = 256;

/// Threads that go in step and can read each other's registers.
const WARP: usize = 32;

/// Blocks of a loop over elements at most: each thread then takes several.
const BLOCKS: usize = 1 << 16;

/// Into how many slices sums over rows are cut, a block or more each: 64 rows at least, and 256 slices at most.
fn slices(rows: usize) -> usize {
    rows.div_ceil(64).clamp(1, 256)
}

/// Starts a kernel that takes an element a thread, `count` of them.
fn each(queue: &impl Launch, kernel: &'static str, count: usize, arguments: &[Argument<'_>]) -> Result<()> {
    blocks(queue, kernel, [count.div_ceil(BLOCK as usize).min(BLOCKS), 1], BLOCK, arguments)
}

/// Starts a kernel that takes a row a warp, `count` of them.
fn each_by_warp(
    queue: &impl Launch,
    kernel: &'static str,
    count: usize,
    arguments: &[Argument<'_>],
) -> Result<()> {
    blocks(queue, kernel, [(count * WARP).div_ceil(BLOCK as usize), 1], BLOCK, arguments)
}

/// Starts a kernel over a grid of blocks; nothing where there is no block.
fn blocks(
    queue: &impl Launch,
    kernel: &'static str,
    grid: [usize; 2],
    block: u32,
    arguments: &[Argument<'_>],
) -> Result<()> {
    if grid.contains(&0) {
        return Ok(());
    }
    // What the hardware allows along each side of a grid.
    let (Ok(columns), Ok(rows)) = (i32::try_from(grid[0]), u16::try_from(grid[1])) else {
        return Err(Fault::new(format!("{kernel}: {} x {} blocks are too many", grid[0], grid[1])));
    };
    // SAFETY: the functions of this module pass each kernel what it takes, in buffers whose sizes they have checked;
    // the emulator compares number and kinds of the arguments with the kernel's own.
    unsafe { queue.launch(kernel, [columns.unsigned_abs(), u32::from(rows)], block, arguments) }
}

/// Fails unless a buffer has as many elements as a shape, and no more than can be counted.
fn whole<T>(what: &str, span: Span<T>, shape: &[usize]) -> Result<()> {
    let expected = shape.iter().try_fold(1usize, |total, &size| total.checked_mul(size));
    if expected != Some(span.len) || span.len > LARGEST {
        return Err(Fault::new(format!("{what}: {} elements, expected {shape:?}, at most 2^30", span.len)));
    }
    Ok(())
}
