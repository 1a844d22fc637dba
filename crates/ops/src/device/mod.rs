//! The operations on a device: a function for each, over the kernels of `adautomix_kernels::device`.
//!
//! Everything here runs on CUDA, and in tests on the processor, where the kernels are emulated: so sizes, arguments and
//! gradients are tested without a GPU.

pub(crate) mod activation;
pub(crate) mod attention;
pub(crate) mod batch_norm;
pub(crate) mod blend;
#[cfg(feature = "cudnn")]
pub(crate) mod conv;
pub(crate) mod cosine;
pub(crate) mod cross_entropy;
pub(crate) mod interpolate;
pub(crate) mod layer_norm;
pub(crate) mod linear;
pub(crate) mod mask_attention;
pub(crate) mod pictures;
pub(crate) mod pool;
pub(crate) mod rearrange;
pub(crate) mod residual;
#[cfg(test)]
mod tests;
pub(crate) mod update;

use adautomix_kernels::device::{Argument, Fault, Launch, Span};
use candle_core::{DType, Device, Result, Shape, Storage, Tensor, WithDType, bail};
#[cfg(feature = "cuda")]
use {
    adautomix_kernels::device::Stream,
    candle_core::CudaDevice,
    candle_core::cuda_backend::{CudaStorage, CudaStorageSlice, cudarc::driver::DevicePtr},
};

pub(crate) use crate::node::Fresh;

/// Whether operations on this tensor are launched: `f32`, on a CUDA device, or on the processor in a test that emulates.
pub(crate) fn takes(tensor: &Tensor) -> bool {
    tensor.dtype() == DType::F32 && launches(tensor.device())
}

/// Whether operations on this map are launched, which may be one of `bf16`.
pub(crate) fn takes_map(map: &Tensor) -> bool {
    matches!(map.dtype(), DType::F32 | DType::BF16) && launches(map.device())
}

/// Whether operations on tensors of this device are launched.
pub(crate) fn launches(device: &Device) -> bool {
    device.is_cuda() || emulating()
}

#[cfg(test)]
thread_local! {
    static EMULATING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

/// Runs `test` with the kernels emulated for tensors on the processor.
#[cfg(test)]
pub(crate) fn emulated<T>(test: impl FnOnce() -> T) -> T {
    EMULATING.set(true);
    let result = test();
    EMULATING.set(false);
    result
}

#[cfg(test)]
fn emulating() -> bool {
    EMULATING.get()
}

#[cfg(not(test))]
fn emulating() -> bool {
    false
}

/// A fault of a launch as candle's error.
#[expect(clippy::needless_pass_by_value, reason = "it is what `map_err` calls")]
pub(crate) fn fault(fault: Fault) -> candle_core::Error {
    candle_core::Error::Msg(fault.to_string())
}

/// Where kernels are launched and their buffers lie.
pub(crate) enum Queue {
    #[cfg(feature = "cuda")]
    Cuda(Stream, CudaDevice),
    #[cfg(test)]
    Emulated(&'static adautomix_kernels::device::Emulator),
}

impl Launch for Queue {
    unsafe fn launch(
        &self,
        kernel: &'static str,
        grid: [u32; 2],
        block: u32,
        arguments: &[Argument<'_>],
    ) -> adautomix_kernels::device::Result<()> {
        // SAFETY: the caller's word is passed on.
        unsafe {
            match self {
                #[cfg(feature = "cuda")]
                Self::Cuda(stream, _) => stream.launch(kernel, grid, block, arguments),
                #[cfg(test)]
                Self::Emulated(emulator) => emulator.launch(kernel, grid, block, arguments),
            }
        }
    }
}

impl Queue {
    /// The queue of a tensor's device.
    pub(crate) fn of(tensor: &Tensor) -> Result<Self> {
        match tensor.device() {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => {
                let stream = Stream::new(device.cuda_stream()).map_err(fault)?;
                Ok(Self::Cuda(stream, device.clone()))
            }
            #[cfg(test)]
            Device::Cpu => adautomix_kernels::device::Emulator::get().map(Self::Emulated).map_err(fault),
            device => bail!("no kernels for {:?}", device.location()),
        }
    }

    /// The device on which tensors of this queue lie.
    pub(crate) fn device(&self) -> Device {
        match self {
            #[cfg(feature = "cuda")]
            Self::Cuda(_, device) => Device::Cuda(device.clone()),
            #[cfg(test)]
            Self::Emulated(_) => Device::Cpu,
        }
    }

    /// The elements of a contiguous tensor on this queue's device. The tensor has to live until the last launch with
    /// them was made: its memory is given back behind that launch.
    pub(crate) fn span<T: WithDType>(&self, tensor: &Tensor) -> Result<Span<T>> {
        let (storage, layout) = tensor.storage_and_layout();
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("expected a contiguous operand, got {:?} with strides {:?}", layout.dims(), layout.stride())
        };
        let address = self.address::<T>(&storage)? + (start * size_of::<T>()) as u64;
        // SAFETY: the storage holds these elements; one queue orders all that reads and writes them.
        Ok(unsafe { Span::new(address, end - start) })
    }

    fn address<T: WithDType>(&self, storage: &Storage) -> Result<u64> {
        match (self, storage) {
            #[cfg(feature = "cuda")]
            (Self::Cuda(stream, _), Storage::Cuda(storage)) => address_of::<T>(stream, storage),
            #[cfg(test)]
            (Self::Emulated(_), Storage::Cpu(storage)) => Ok(storage.as_slice::<T>()?.as_ptr() as u64),
            _ => bail!("expected a tensor of {:?} on the device of the others", T::DTYPE),
        }
    }

    /// A result that some kernel is about to write, every element of it.
    pub(crate) fn fresh(&self, shape: impl Into<Shape>) -> Result<Fresh> {
        self.fresh_of::<f32>(shape)
    }

    /// As [`fresh`](Self::fresh), of `f32`, `bf16` or `u32`.
    pub(crate) fn fresh_of<T: WithDType>(&self, shape: impl Into<Shape>) -> Result<Fresh> {
        let shape = shape.into();
        let count = shape.elem_count();
        let storage = match self {
            #[cfg(feature = "cuda")]
            Self::Cuda(_, device) => {
                // SAFETY: a kernel writes it before anything reads it.
                let slice = unsafe {
                    match T::DTYPE {
                        DType::F32 => CudaStorageSlice::F32(device.alloc(count)?),
                        DType::BF16 => CudaStorageSlice::BF16(device.alloc(count)?),
                        DType::U32 => CudaStorageSlice::U32(device.alloc(count)?),
                        dtype => bail!("no results of {dtype:?}"),
                    }
                };
                Storage::Cuda(CudaStorage { slice, device: device.clone() })
            }
            // What is left unwritten shows.
            #[cfg(test)]
            Self::Emulated(_) => Storage::Cpu(T::to_cpu_storage_owned(vec![T::from_f64(f64::NAN); count])),
        };
        Ok(Fresh { storage, shape })
    }

    /// A tensor that some kernel is about to write, and its elements.
    pub(crate) fn fresh_tensor<T: WithDType>(&self, shape: impl Into<Shape>) -> Result<(Tensor, Span<T>)> {
        let tensor = self.fresh_of::<T>(shape)?.tensor();
        let span = self.span(&tensor)?;
        Ok((tensor, span))
    }

    /// As [`fresh_tensor`](Self::fresh_tensor), where `wanted`.
    pub(crate) fn fresh_if<T: WithDType>(
        &self,
        wanted: bool,
        shape: &Shape,
    ) -> Result<(Option<Tensor>, Option<Span<T>>)> {
        Ok(if wanted { Some(self.fresh_tensor(shape)?) } else { None }.unzip())
    }

    /// Words on the device.
    pub(crate) fn words(&self, words: &[u32]) -> Result<Tensor> {
        Tensor::from_slice(words, words.len(), &self.device())
    }

    /// The lists of partners, one after the other, on the device.
    pub(crate) fn partners(&self, partners: &[Vec<u32>]) -> Result<Tensor> {
        self.words(&partners.concat())
    }
}

#[cfg(feature = "cuda")]
fn address_of<T: WithDType>(stream: &Stream, storage: &CudaStorage) -> Result<u64> {
    // What keeps track of the reader is dropped at once: all work is on one stream, which orders it.
    let address = match (&storage.slice, T::DTYPE) {
        (CudaStorageSlice::F32(slice), DType::F32) => slice.device_ptr(stream.stream()).0,
        (CudaStorageSlice::BF16(slice), DType::BF16) => slice.device_ptr(stream.stream()).0,
        (CudaStorageSlice::U32(slice), DType::U32) => slice.device_ptr(stream.stream()).0,
        (CudaStorageSlice::U8(slice), DType::U8) => slice.device_ptr(stream.stream()).0,
        _ => bail!("expected a tensor of {:?}", T::DTYPE),
    };
    Ok(address)
}

impl Fresh {
    /// Its elements, to be written.
    pub(crate) fn span<T: WithDType>(&self, queue: &Queue) -> Result<Span<T>> {
        let address = queue.address::<T>(&self.storage)?;
        // SAFETY: the storage holds these elements, and nobody else knows of it yet.
        Ok(unsafe { Span::new(address, self.shape.elem_count()) })
    }
}
