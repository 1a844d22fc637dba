//! How an operation is recorded: on the [tape](crate::Tape) that is open, or as a node of candle's graph. Its result is
//! there already.

use std::sync::{Mutex, PoisonError};

use candle_core::op::BackpropOp;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, Result, Shape, Storage, Tensor, bail,
};

use crate::buffers::detached;
use crate::tape;

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

    /// The tensor as a leaf of candle's graph, at which its backward pass ends.
    pub(crate) fn leaf(self) -> Tensor {
        Tensor::from_storage(self.storage, self.shape, BackpropOp::none(), true)
    }
}

/// The gradients by an operation's operands, from its operands, its result and the gradient by that.
pub(crate) type Backward =
    Box<dyn Fn(&[&Tensor], &Tensor, &Tensor) -> Result<Vec<Option<Tensor>>> + Send + Sync>;

/// Records a result, and how the gradients by its operands come from its own: `backward(operands, result, gradient)`, outside
/// the graph, the gradient contiguous. It gives `None` for an operand that no variable depends on. Of four operands the
/// second and the third have one shape.
///
/// # Errors
/// Those of candle.
pub(crate) fn record<const N: usize, F>(
    name: &'static str,
    result: Fresh,
    operands: [&Tensor; N],
    backward: F,
) -> Result<Tensor>
where
    F: Fn([&Tensor; N], &Tensor, &Tensor) -> Result<[Option<Tensor>; N]> + Send + Sync + 'static,
{
    if !operands.iter().any(|operand| operand.track_op()) {
        return Ok(result.tensor());
    }
    let erased: Backward = Box::new(move |operands, y, dy| match operands.try_into() {
        Ok(operands) => Ok(backward(operands, y, dy)?.into()),
        Err(_) => bail!("{name}: expected {N} operands, got {}", operands.len()),
    });
    if tape::is_open() {
        return Ok(tape::push(result, &operands, erased));
    }
    of_candle(name, result, &operands, erased)
}

/// [`record`] of one operand.
///
/// # Errors
/// Those of candle.
pub(crate) fn record1<F>(name: &'static str, result: Fresh, x: &Tensor, backward: F) -> Result<Tensor>
where
    F: Fn(&Tensor, &Tensor, &Tensor) -> Result<Option<Tensor>> + Send + Sync + 'static,
{
    record(name, result, [x], move |[x], y, dy| Ok([backward(x, y, dy)?]))
}

/// A result as a node of candle's graph.
///
/// # Errors
/// Those of candle.
pub(crate) fn of_candle(
    name: &'static str,
    result: Fresh,
    operands: &[&Tensor],
    backward: Backward,
) -> Result<Tensor> {
    let node = |backward| Node { name, result: Mutex::new(Some(result)), backward };
    match operands {
        [a] => a.apply_op1(node(backward)),
        [a, b] => a.apply_op2(b, node(backward)),
        [a, b, c] => a.apply_op3(b, c, node(backward)),
        // candle has nodes of three operands at most: the second and the third go as one.
        [a, b, c, d] => {
            let (pair, kept) = (Tensor::stack(&[b, c], 0)?, [b, c].map(|&tensor| tensor.clone()));
            let paired = move |operands: &[&Tensor], y: &Tensor, dy: &Tensor| {
                let [a, _, d] = operands else { bail!("{name}: expected three operands") };
                let gradients = backward(&[a, &kept[0], &kept[1], d], y, dy)?;
                let [da, db, dc, dd] = gradients.as_slice() else { bail!("{name}: expected four gradients") };
                let whole = |gradient: &Option<Tensor>, operand: &Tensor| match gradient {
                    Some(gradient) => Ok(gradient.clone()),
                    None => operand.zeros_like(),
                };
                let pair = Tensor::stack(&[whole(db, &kept[0])?, whole(dc, &kept[1])?], 0)?;
                Ok(vec![da.clone(), Some(pair), dd.clone()])
            };
            a.apply_op3(&pair, d, node(Box::new(paired)))
        }
        _ => bail!("{name}: {} operands are more than four", operands.len()),
    }
}

/// A node of candle's graph.
struct Node {
    name: &'static str,
    result: Mutex<Option<Fresh>>,
    backward: Backward,
}

impl Node {
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

    fn gradients<const N: usize>(
        &self,
        operands: [&Tensor; N],
        y: &Tensor,
        dy: &Tensor,
    ) -> Result<[Option<Tensor>; N]> {
        let gradients = (self.backward)(&operands, &y.detach(), &detached(dy)?)?;
        gradients.try_into().or_else(|_| bail!("{}: a gradient for each operand is expected", self.name))
    }
}

impl CustomOp1 for Node {
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
        self.gradients([x], y, dy).map(|[dx]| dx)
    }
}

impl CustomOp2 for Node {
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
        self.gradients([a, b], y, dy).map(<[_; 2]>::into)
    }
}

impl CustomOp3 for Node {
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
        self.gradients([a, b, c], y, dy).map(<[_; 3]>::into)
    }
}
