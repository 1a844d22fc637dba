//! CUDA devices: opening one as this workspace uses it.

use candle_core::cuda_backend::WrapErr;
use candle_core::cuda_backend::cudarc::driver::result::{device, mem_pool};
use candle_core::cuda_backend::cudarc::driver::sys::CUmemPool_attribute;
use candle_core::{Device, Result};

/// How CUDA is used: how exact and repeatable its arithmetic is, and how it is launched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Whether factors of matrix products and convolutions may be rounded to TF32, which has 10 bits; sums stay `f32`.
    pub tf32: bool,
    /// Whether the same program gives the same numbers on every run on the same device. Slower: cuDNN's fastest
    /// gradients add up in an order that is left to chance.
    pub deterministic: bool,
    /// Whether work that is the same again and again is [recorded](crate::Graph) and launched as a whole.
    pub record: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self { tf32: true, deterministic: false, record: true }
    }
}

/// Opens a device for one thread, which does all work on it.
///
/// The device has a stream of its own, whose order is all that keeps reads behind writes: the events that cudarc would
/// otherwise create for every buffer are off. Memory that is freed stays with the program, for the next step.
/// `settings` hold for the whole program.
///
/// # Errors
/// If there is no such device or its driver doesn't fit.
pub fn open(ordinal: usize, settings: Settings) -> Result<Device> {
    let opened = Device::new_cuda_with_stream(ordinal)?;
    let cuda = opened.as_cuda_device()?;
    // SAFETY: the device has one stream, which orders all that is done with its buffers.
    unsafe { cuda.disable_event_tracking() };
    let stream = cuda.cuda_stream();
    let mut threshold = u64::MAX;
    // SAFETY: the device is the stream's, and the attribute is a 64-bit number.
    unsafe {
        let pool = device::get_default_mem_pool(stream.context().cu_device()).w()?;
        let attribute = CUmemPool_attribute::CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
        mem_pool::set_attribute(pool, attribute, std::ptr::from_mut(&mut threshold).cast()).w()?;
    }
    candle_core::cuda::set_gemm_reduced_precision_f32(settings.tf32);
    crate::graph::set_recording(settings.record);
    #[cfg(feature = "cudnn")]
    crate::device::conv::set_arithmetic(settings);
    Ok(opened)
}
