//! A node of candle's graph whose result is there already: how all operations here are recorded.

use std::sync::{Mutex, PoisonError};

use candle_core::op::BackpropOp;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor, bail,
};

use crate::buffers::detached;

/// A result that isn't a tensor yet.
pub(crate) struct Fresh {
    pub(crate) storage: Storage,
    pub(crate) shape: Shape,
}

impl Fresh {
    /// The tensor, outside the graph.
    pub(crate) fn tensor(self) -> Tensor {
        Tensor::from_storage(self.storage, self.shape, BackpropOp::none(), false)
    }
}

/// A result, and how its gradients come from its own: `backward(operands, result, gradient)`, outside the graph, the
/// gradient contiguous. It gives `None` for an operand that no variable depends on.
pub(crate) struct Node<F> {
    name: &'static str,
    result: Mutex<Option<Fresh>>,
    backward: F,
}

impl<F> Node<F> {
    fn take(&self) -> Result<Fresh> {
        let result = self.result.lock().unwrap_or_else(PoisonError::into_inner).take();
        result.ok_or_else(|| candle_core::Error::Msg(format!("{}: computed twice", self.name)))
    }

    fn cpu(&self) -> Result<(CpuStorage, Shape)> {
        match self.take()? {
            Fresh { storage: Storage::Cpu(storage), shape } => Ok((storage, shape)),
            _ => bail!("{}: expected operands on one device", self.name),
        }
    }

    fn cuda(&self) -> Result<(CudaStorage, Shape)> {
        match self.take()? {
            Fresh { storage: Storage::Cuda(storage), shape } => Ok((storage, shape)),
            _ => bail!("{}: expected operands on one device", self.name),
        }
    }
}

impl<F> Node<F> {
    /// A node with one operand.
    pub(crate) fn of1(name: &'static str, result: Fresh, backward: F) -> Self
    where
        F: Fn(&Tensor, &Tensor, &Tensor) -> Result<Option<Tensor>>,
    {
        Self { name, result: Mutex::new(Some(result)), backward }
    }

    /// A node with two operands.
    pub(crate) fn of2(name: &'static str, result: Fresh, backward: F) -> Self
    where
        F: Fn([&Tensor; 2], &Tensor, &Tensor) -> Result<[Option<Tensor>; 2]>,
    {
        Self { name, result: Mutex::new(Some(result)), backward }
    }

    /// A node with three operands.
    pub(crate) fn of3(name: &'static str, result: Fresh, backward: F) -> Self
    where
        F: Fn([&Tensor; 3], &Tensor, &Tensor) -> Result<[Option<Tensor>; 3]>,
    {
        Self { name, result: Mutex::new(Some(result)), backward }
    }
}

impl<F> CustomOp1 for Node<F>
where
    F: Fn(&Tensor, &Tensor, &Tensor) -> Result<Option<Tensor>> + Send + Sync,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.cpu()
    }

    fn cuda_fwd(&self, _: &CudaStorage, _: &Layout) -> Result<(CudaStorage, Shape)> {
        self.cuda()
    }

    fn bwd(&self, x: &Tensor, y: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        (self.backward)(x, &y.detach(), &detached(dy)?)
    }
}

impl<F> CustomOp2 for Node<F>
where
    F: Fn([&Tensor; 2], &Tensor, &Tensor) -> Result<[Option<Tensor>; 2]> + Send + Sync,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, _: &CpuStorage, _: &Layout, _: &CpuStorage, _: &Layout) -> Result<(CpuStorage, Shape)> {
        self.cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.cuda()
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let [da, db] = (self.backward)([a, b], &y.detach(), &detached(dy)?)?;
        Ok((da, db))
    }
}

impl<F> CustomOp3 for Node<F>
where
    F: Fn([&Tensor; 3], &Tensor, &Tensor) -> Result<[Option<Tensor>; 3]> + Send + Sync,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
        _: &CpuStorage,
        _: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.cpu()
    }

    fn cuda_fwd(
        &self,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
        _: &CudaStorage,
        _: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        self.cuda()
    }

    fn bwd(
        &self,
        a: &Tensor,
        b: &Tensor,
        c: &Tensor,
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>, Option<Tensor>)> {
        let [da, db, dc] = (self.backward)([a, b, c], &y.detach(), &detached(dy)?)?;
        Ok((da, db, dc))
    }
}
