//! Work that is recorded on a device once, and then launched as a whole.

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{Device, Result};
#[cfg(feature = "cuda")]
use {
    candle_core::bail,
    candle_core::cuda_backend::WrapErr,
    candle_core::cuda_backend::cudarc::driver::sys::{CUgraphInstantiate_flags, CUstreamCaptureMode},
    candle_core::cuda_backend::cudarc::driver::{
        CudaGraph,
        result::{device, mem_pool},
    },
};

static RECORDING: AtomicBool = AtomicBool::new(true);

/// Says whether there is recording from now on.
#[cfg(feature = "cuda")]
pub(crate) fn set_recording(record: bool) {
    RECORDING.store(record, Ordering::Relaxed);
}

/// Work that was recorded on a CUDA device, and is launched as a whole: one call for some hundred kernels.
///
/// What it computes has to go into tensors that were there before, by operations in place; what it makes on its way has a place
/// of its own in the recording. It reads what those tensors hold when it is launched, but of numbers and lists on the host
/// what they were when it was recorded. cuDNN's working memory is that of the thread that recorded it, and goes with it.
pub struct Graph {
    #[cfg(feature = "cuda")]
    recorded: CudaGraph,
}

// SAFETY: the driver wants calls for one graph one after the other, from whatever thread: a `Graph` isn't shared.
#[cfg(feature = "cuda")]
unsafe impl Send for Graph {}

impl Graph {
    /// Whether work on a device is to be recorded: on CUDA, unless the program was told not to.
    pub fn wanted(device: &Device) -> bool {
        device.is_cuda() && RECORDING.load(Ordering::Relaxed)
    }

    /// Runs `work` once as usual, so that it can be recorded after: candle keeps what it sends to the device on the way, sizes and
    /// strides of 4 KiB at most, cuDNN chooses its algorithms, and kernels are loaded.
    ///
    /// # Errors
    /// Those of `work`.
    pub fn prepare<T, E: From<candle_core::Error>>(
        device: &Device,
        work: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<T, E> {
        #[cfg(feature = "cuda")]
        let _kept = match device {
            Device::Cuda(device) => Some(device.enable_cuda_graph_htod_cache()),
            _ => None,
        };
        #[cfg(not(feature = "cuda"))]
        let _ = device;
        work()
    }

    /// Records what `work` launches, which doesn't run; it has to have been [prepared](Self::prepare) on this thread, with tensors
    /// of the same shapes. None where nothing is launched: on the processor.
    ///
    /// # Errors
    /// Those of `work`; if it reads from the device, sends to it, or gives up a tensor that was there before, none of which
    /// can be recorded. The device is as it was then.
    #[cfg(feature = "cuda")]
    pub fn record(device: &Device, work: impl FnOnce() -> Result<()>) -> Result<Option<Self>> {
        let Device::Cuda(cuda) = device else { return Ok(None) };
        let (stream, _kept) = (cuda.cuda_stream(), cuda.enable_cuda_graph_htod_cache());
        // Other threads may go on with theirs meanwhile.
        stream.begin_capture(CUstreamCaptureMode::CU_STREAM_CAPTURE_MODE_RELAXED).w()?;
        let worked = work();
        // A tensor that can't be given up leaves its fault for whoever calls next: that would be the end of the recording, which
        // would never come then, or later calls, whom it doesn't concern.
        let given_up = stream.context().check_err();
        let flags = CUgraphInstantiate_flags::CUDA_GRAPH_INSTANTIATE_FLAG_AUTO_FREE_ON_LAUNCH;
        let ended = stream.end_capture(flags);
        let ended_well = stream.context().check_err();
        worked?;
        let Some(recorded) = ended.w()? else { bail!("nothing was recorded") };
        given_up.and(ended_well).w()?;
        recorded.upload().w()?;
        // The recording has memory of its own: what the same work took before is the device's again.
        stream.synchronize().w()?;
        // SAFETY: the pool is that of the stream's device.
        unsafe {
            let pool = device::get_default_mem_pool(stream.context().cu_device()).w()?;
            mem_pool::trim_to(pool, 0).w()?;
        }
        Ok(Some(Self { recorded }))
    }

    /// Records nothing: without the feature `cuda` nothing is launched.
    ///
    /// # Errors
    /// None.
    #[cfg(not(feature = "cuda"))]
    pub fn record(_: &Device, _: impl FnOnce() -> Result<()>) -> Result<Option<Self>> {
        Ok(None)
    }

    /// Launches the whole, behind all that was launched before.
    ///
    /// # Errors
    /// If the driver refuses.
    pub fn launch(&self) -> Result<()> {
        #[cfg(feature = "cuda")]
        self.recorded.launch().w()?;
        Ok(())
    }
}
