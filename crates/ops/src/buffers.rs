//! What the operations share: buffers on the processor that kernels read and write.

use std::sync::{Mutex, PoisonError};

use adautomix_kernels::scratch::unwritten;
use candle_core::{CpuStorage, DType, InplaceOp1, Layout, Result, Shape, Storage, Tensor, bail};

use crate::node::Fresh;

/// Whether the kernels can read this tensor as it is: `f32`, on the CPU.
pub(crate) fn on_kernels(tensor: &Tensor) -> bool {
    tensor.device().is_cpu() && tensor.dtype() == DType::F32
}

/// A contiguous version of a gradient or operand, outside the graph.
pub(crate) fn detached(tensor: &Tensor) -> Result<Tensor> {
    tensor.detach().contiguous()
}

/// The elements of a contiguous `f32` operand.
fn slice<'a>(storage: &'a Storage, layout: &Layout) -> Result<&'a [f32]> {
    let Storage::Cpu(storage) = storage else { bail!("expected a tensor on the CPU") };
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
        *target = slice(storage, layout)?;
    }
    read(slices)
}

/// As [`with_slices`], of a tensor that may be absent.
pub(crate) fn with_optional<T>(
    tensor: Option<&Tensor>,
    read: impl FnOnce(Option<&[f32]>) -> Result<T>,
) -> Result<T> {
    match tensor {
        Some(tensor) => with_slices([tensor], |[elements]| read(Some(elements))),
        None => read(None),
    }
}

/// A result of `shape`, all of which `write` writes, of the elements of contiguous `f32` CPU tensors.
pub(crate) fn computed<const N: usize>(
    shape: impl Into<Shape>,
    operands: [&Tensor; N],
    write: impl FnOnce([&[f32]; N], &mut [f32]),
) -> Result<Fresh> {
    let shape = shape.into();
    let mut result = unwritten(shape.elem_count());
    with_slices(operands, |operands| {
        write(operands, &mut result);
        Ok(())
    })?;
    Ok(Fresh { storage: Storage::Cpu(CpuStorage::F32(result)), shape })
}

/// The gradient by `operand`, [`computed`] of `given`; none where no variable depends on it.
pub(crate) fn gradient<const N: usize>(
    operand: &Tensor,
    given: [&Tensor; N],
    write: impl FnOnce([&[f32]; N], &mut [f32]),
) -> Result<Option<Tensor>> {
    if !operand.track_op() {
        return Ok(None);
    }
    computed(operand.shape(), given, write).map(|gradient| Some(gradient.tensor()))
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
