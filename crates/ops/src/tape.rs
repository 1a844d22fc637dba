//! The tape of a forward pass.
//!
//! candle's backward pass adds every gradient to zeros that it makes for it, for each edge of the graph: four times an
//! activation is read or written there, and on a device two kernels are launched, for nothing. A tape keeps the operations of
//! this crate in the order in which they were made, and hands the first gradient on as it is.

use std::cell::RefCell;
use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicUsize, Ordering};

use candle_core::backprop::GradStore;
use candle_core::{DType, Result, Tensor, TensorId, bail};

use crate::buffers::detached;
use crate::node::{self, Backward, Fresh};

/// The operations of a forward pass, to be differentiated once.
///
/// What [`record`](Self::record) runs is recorded; its results are leaves of candle's graph, so candle's own operations can come
/// before, between and after, and [`backward`](Self::backward) goes through them by candle's backward pass. That is made
/// for each of them that an operation of this crate reads, so a long chain of candle's operations, each of which is read, costs
/// as the square of its length: residual streams should be made of [`residual`](crate::residual).
///
/// ```
/// use adautomix_ops::{Tape, relu};
/// use candle_core::{Device, Tensor, Var};
///
/// # fn main() -> candle_core::Result<()> {
/// let x = Var::new(&[-1f32, 2.0], &Device::Cpu)?;
/// let (tape, loss) = Tape::record(|| relu(&x)?.sqr()?.sum_all())?;
/// let gradients = tape.backward(&loss)?;
/// assert_eq!(gradients.get(&x).map(|g| g.to_vec1::<f32>()).transpose()?, Some(vec![0.0, 4.0]));
/// # Ok(())
/// # }
/// ```
///
/// Without a tape the operations are nodes of candle's graph, and `loss.backward()` gives the same gradients. Of what was
/// recorded it gives none, and a result whose tape has ended is a constant to all that comes after: detach what is to be
/// used later, so that a reader sees it.
pub struct Tape {
    number: usize,
    entries: Vec<Entry>,
    /// The table of results is that of the thread.
    thread: PhantomData<*const ()>,
}

struct Entry {
    operands: Vec<Tensor>,
    result: Tensor,
    backward: Backward,
}

static NUMBER: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    /// The tapes that are being recorded, the innermost last.
    static OPEN: RefCell<Vec<Tape>> = const { RefCell::new(Vec::new()) };
    /// The tape of each result on the tapes that there are.
    static RESULTS: RefCell<HashMap<TensorId, usize>> = RefCell::new(HashMap::new());
}

/// Whether operations of this thread go to a tape.
pub(crate) fn is_open() -> bool {
    OPEN.with_borrow(|open| !open.is_empty())
}

/// Records an operation on the innermost tape.
pub(crate) fn push(result: Fresh, operands: &[&Tensor], backward: Backward) -> Tensor {
    let result = result.leaf();
    OPEN.with_borrow_mut(|open| {
        if let Some(tape) = open.last_mut() {
            RESULTS.with_borrow_mut(|results| results.insert(result.id(), tape.number));
            let operands = operands.iter().map(|&operand| operand.clone()).collect();
            tape.entries.push(Entry { operands, result: result.clone(), backward });
        }
    });
    result
}

impl Drop for Entry {
    fn drop(&mut self) {
        let id = self.result.id();
        // A tape may outlive its thread's table at the thread's end.
        let _ = RESULTS.try_with(|results| results.borrow_mut().remove(&id));
    }
}

/// The innermost tape that is open, taken from the open ones also when what is recorded fails or panics.
struct Recording;

impl Recording {
    fn start() -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        OPEN.with_borrow_mut(|open| open.push(Tape { number, entries: Vec::new(), thread: PhantomData }));
        Self
    }

    fn end(self) -> Option<Tape> {
        std::mem::forget(self);
        OPEN.with_borrow_mut(Vec::pop)
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        drop(OPEN.with_borrow_mut(Vec::pop));
    }
}

impl Tape {
    /// Runs `forward`, on this thread, and records what it does. What it records on tapes of its own isn't on this one.
    ///
    /// # Errors
    /// Those of `forward`.
    pub fn record<T, E>(
        forward: impl FnOnce() -> std::result::Result<T, E>,
    ) -> std::result::Result<(Self, T), E> {
        let recording = Recording::start();
        let value = forward()?;
        let Some(tape) = recording.end() else { unreachable!("a tape is open until it is taken") };
        Ok((tape, value))
    }

    /// The gradients of `loss` by the variables that it depends on, as those of [`Tensor::backward`]. What the operations had
    /// kept is given up on the way.
    ///
    /// # Errors
    /// Those of candle; if `loss` depends on results of another tape that there is, through which gradients don't flow.
    pub fn backward(mut self, loss: &Tensor) -> Result<GradStore> {
        let mut store = loss.backward()?;
        let leaves: Vec<TensorId> = store.get_ids().copied().collect();
        for id in leaves {
            // What candle computes of variables would keep them, and all that hangs on them.
            let gradient = store.get_id(id).map(Tensor::detach);
            gradient.map_or(Ok(()), |gradient| self.put(&mut store, id, gradient))?;
        }
        while let Some(entry) = self.entries.pop() {
            let Some(dy) = store.remove(&entry.result) else { continue };
            let operands: Vec<&Tensor> = entry.operands.iter().collect();
            let gradients = (entry.backward)(&operands, &entry.result.detach(), &detached(&dy)?)?;
            for (operand, gradient) in operands.into_iter().zip(gradients) {
                let Some(gradient) = gradient.filter(|_| operand.track_op()) else { continue };
                if operand.is_variable() {
                    self.add(&mut store, operand.id(), &gradient)?;
                    continue;
                }
                // An operation of candle's: down to the next leaves.
                let below = seed(operand, gradient)?.backward()?;
                for &id in below.get_ids() {
                    below.get_id(id).map_or(Ok(()), |gradient| self.add(&mut store, id, gradient))?;
                }
            }
        }
        Ok(store)
    }

    fn add(&self, store: &mut GradStore, leaf: TensorId, gradient: &Tensor) -> Result<()> {
        let gradient = gradient.detach();
        let sum = match store.get_id(leaf) {
            Some(sum) => sum.add(&gradient)?,
            None => gradient,
        };
        self.put(store, leaf, sum)
    }

    /// Stores the gradient by a leaf, unless that is a result of another tape.
    fn put(&self, store: &mut GradStore, leaf: TensorId, gradient: Tensor) -> Result<()> {
        match RESULTS.with_borrow(|results| results.get(&leaf).copied()) {
            Some(number) if number != self.number => {
                bail!("a loss depends on what was recorded on another tape, which has its own backward pass")
            }
            _ => {
                store.insert_id(leaf, gradient);
                Ok(())
            }
        }
    }
}

/// A number whose gradient by `x` is `gradient`.
fn seed(x: &Tensor, gradient: Tensor) -> Result<Tensor> {
    let zero = Tensor::zeros((), DType::F32, x.device())?;
    let (storage, layout) = zero.storage_and_layout();
    let result = Fresh { storage: storage.try_clone(layout)?, shape: zero.shape().clone() };
    node::of_candle("seed", result, &[x], Box::new(move |_, _, _| Ok(vec![Some(gradient.clone())])))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::values;
    use crate::{ConvSpec, Epilogue, Reduction, batch_norm_train, conv2d, cross_entropy, linear, relu};
    use candle_core::{Device, Var};

    /// A small residual network with operations of candle's before, between and after, and one that is read twice.
    fn loss(x: &[Var]) -> Result<Tensor> {
        let [images, first, scale, shift, second, head] = x else { bail!("six variables") };
        let images = (images.as_tensor() * 2.0)?;
        let hidden = conv2d(&images, first, None, &ConvSpec::new(1, 1))?;
        let (hidden, _) = batch_norm_train(&hidden, scale, shift, 1e-5, Epilogue::Relu)?;
        let stretched = (&hidden + 0.5)?;
        let branch = conv2d(&stretched, second, None, &ConvSpec::new(1, 1))?;
        let (hidden, _) = batch_norm_train(&branch, scale, shift, 1e-5, Epilogue::AddRelu(&stretched))?;
        let pooled = relu(&hidden.mean((2, 3))?)?;
        let labels = Tensor::new(&[1u32, 0, 3], &Device::Cpu)?;
        let loss = cross_entropy(&linear(&pooled, head, None)?, &labels, 0.0, Reduction::Mean)?;
        (loss * 3.0)? + images.sqr()?.mean_all()?
    }

    fn variables() -> Result<Vec<Var>> {
        let shapes: [&[usize]; 6] = [&[3, 2, 5, 5], &[4, 2, 3, 3], &[4], &[4], &[4, 4, 3, 3], &[6, 4]];
        (1..).zip(shapes).map(|(seed, shape)| Var::from_tensor(&values(shape, seed)?)).collect()
    }

    fn flat(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().and_then(|tensor| tensor.to_vec1()).unwrap_or_default()
    }

    #[test]
    fn a_tape_gives_the_gradients_of_the_graph() -> Result<()> {
        let variables = variables()?;
        let plain = loss(&variables)?;
        let expected = plain.backward()?;
        let (tape, value) = Tape::record(|| loss(&variables))?;
        assert_eq!(flat(&plain), flat(&value));
        let got = tape.backward(&value)?;
        for variable in &variables {
            let (Some(got), Some(expected)) = (got.get(variable), expected.get(variable)) else {
                bail!("no gradient");
            };
            for (got, expected) in flat(got).into_iter().zip(flat(expected)) {
                assert!((got - expected).abs() <= 1e-6 * (1.0 + expected.abs()), "{got} {expected}");
            }
        }
        assert_eq!(got.get_ids().count(), variables.len(), "nothing but the variables is left");
        Ok(())
    }

    #[test]
    fn constants_leave_nothing_and_tapes_end_with_what_they_record() -> Result<()> {
        let x = values(&[3, 4], 1)?;
        let (tape, y) = Tape::record(|| relu(&x))?;
        assert!(tape.entries.is_empty() && !y.is_variable());
        let failed: Result<(Tape, ())> = Tape::record(|| bail!("no"));
        assert!(failed.is_err() && !is_open());
        let variable = Var::from_tensor(&x)?;
        assert_eq!(relu(&variable)?.sum_all()?.backward()?.get_ids().count(), 1);
        Ok(())
    }

    #[test]
    fn a_tape_within_a_tape_is_its_own_and_gradients_between_them_are_refused() -> Result<()> {
        let variable = Var::from_tensor(&values(&[3, 4], 1)?)?;
        let (outer, (below, above)) = Tape::record(|| {
            let below = relu(&variable)?;
            let (inner, loss) = Tape::record(|| relu(&below.detach())?.sum_all())?;
            assert!(inner.entries.is_empty() && inner.backward(&loss)?.get(&variable).is_none());
            let (inner, loss) = Tape::record(|| relu(&below)?.sum_all())?;
            let message = inner.backward(&loss).err().map(|error| error.to_string()).unwrap_or_default();
            assert!(message.contains("another tape"), "{message}");
            Ok::<_, candle_core::Error>((below.clone(), relu(&below)?))
        })?;
        assert_eq!(outer.entries.len(), 2);
        assert!(outer.backward(&above.sum_all()?)?.get(&variable).is_some());
        assert!(RESULTS.with_borrow(HashMap::is_empty));
        drop(below);
        Ok(())
    }
}
