//! What the custom operations share: reading CPU buffers and wrapping results.

use std::sync::{Mutex, PoisonError};

use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Result, Shape, Storage, Tensor, bail};

/// Whether the kernels can read this tensor as it is: `f32`, on the CPU.
pub(crate) fn on_kernels(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32
}

/// The elements of a contiguous `f32` operand.
pub(crate) fn slice<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let data = storage.as_slice::<f32>()?;
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&data[start..end]),
        None => {
            bail!("expected a contiguous operand, got {:?} with strides {:?}", layout.dims(), layout.stride())
        }
    }
}

/// Calls `read` with the elements of contiguous `f32` CPU tensors.
pub(crate) fn with_slices<const N: usize, T>(
    tensors: [&Tensor; N],
    read: impl FnOnce([&[f32]; N]) -> Result<T>,
) -> Result<T> {
    let guards = tensors.map(Tensor::storage_and_layout);
    let mut slices: [&[f32]; N] = [&[]; N];
    for (target, (storage, layout)) in slices.iter_mut().zip(&guards) {
        *target = match &**storage {
            Storage::Cpu(storage) => slice(storage, layout)?,
            _ => bail!("expected a tensor on the CPU"),
        };
    }
    read(slices)
}

/// A result of the forward pass, as `CustomOp` returns it.
pub(crate) fn output(data: Vec<f32>, shape: impl Into<Shape>) -> Result<(CpuStorage, Shape)> {
    Ok((CpuStorage::F32(data), shape.into()))
}

/// A contiguous version of a gradient or operand, outside the graph.
pub(crate) fn detached(tensor: &Tensor) -> Result<Tensor> {
    tensor.detach().contiguous()
}

/// Calls `write` with the elements of a contiguous `f32` CPU tensor, to be changed in place.
pub(crate) fn with_slice_mut(tensor: &Tensor, write: impl FnOnce(&mut [f32]) -> Result<()>) -> Result<()> {
    tensor.inplace_op1(&InPlace(Mutex::new(Some(write))))
}

/// A closure as candle's in-place operation, which is only lent.
struct InPlace<F>(Mutex<Option<F>>);

impl<F: FnOnce(&mut [f32]) -> Result<()>> InplaceOp1 for InPlace<F> {
    fn name(&self) -> &'static str {
        "in place"
    }

    fn cpu_fwd(&self, storage: &mut CpuStorage, layout: &Layout) -> Result<()> {
        let Some((start, end)) = layout.contiguous_offsets() else {
            bail!("expected a contiguous tensor, got {:?} with strides {:?}", layout.dims(), layout.stride())
        };
        let write = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        match (storage, write) {
            (CpuStorage::F32(data), Some(write)) => write(&mut data[start..end]),
            (CpuStorage::F32(_), None) => Ok(()),
            _ => bail!("expected a tensor of f32"),
        }
    }
}
