//! Work that is the same at every step but for the numbers that it reads. On a device it is recorded once for each shape of
//! batch, and from then on launched as a whole: its few hundred kernels cost the host one call.
//!
//! That is a network's pass over a batch: a classifier's answer, its loss, the gradients, and the running statistics that it
//! leaves behind. What comes before (mixing) and after (sums of gradients, the optimizer) isn't recorded.

use std::collections::HashMap;

use adautomix_backbones::{Head, Pass};
use adautomix_ops::{Graph, Tape, overwrite_all};
use candle_core::Tensor;

use super::measured::stays;
use crate::gradients::weighted;
use crate::{Gradients, Network, Result};

/// How often work is done as usual before it is recorded: cuDNN chooses its algorithms, and candle keeps what it sends.
const PREPARATIONS: usize = 2;

/// The recorded work of a method.
#[derive(Default)]
pub(super) struct Replays {
    recordings: HashMap<Kind, State>,
}

/// Work that is recorded. What it depends on beside its inputs is in here, or the same in all steps of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Work {
    /// [`TrainingPass`], by its head and the bits of its weight.
    Training(Head, u64),
    /// The teacher's pass over the pictures.
    Plain,
    /// The teacher's pass over the generator's mix, by the bits of the weights of its loss and of the similarity.
    Challenge([u64; 2]),
}

/// Work on inputs of these shapes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    work: Work,
    inputs: Vec<Vec<usize>>,
}

/// What work makes of its inputs, outside the graph; none where there is no such thing.
pub(super) type Made = Vec<Option<Tensor>>;

enum State {
    /// It was done so often as usual.
    Preparing(usize),
    Recorded(Box<Recorded>),
    /// It can't be recorded.
    Refused,
}

/// Places for what recorded work reads and makes.
struct Recorded {
    inputs: Vec<Tensor>,
    made: Made,
    /// None on the processor, where the work is done again.
    graph: Option<Graph>,
}

impl Replays {
    /// Whether work on these pictures is recorded.
    pub(super) fn take(images: &Tensor) -> bool {
        Graph::wanted(images.device()) || (images.device().is_cpu() && stays(images))
    }

    /// Does some work on inputs, which are constants to it. Gives what it made, and whether that is the caller's own, or
    /// changes when the same work is done next.
    ///
    /// # Errors
    /// If an operation fails.
    pub(super) fn run(
        &mut self,
        work: Work,
        inputs: &[&Tensor],
        make: &dyn Fn(&[&Tensor]) -> Result<Made>,
    ) -> Result<(Made, bool)> {
        let inputs = inputs
            .iter()
            .map(|input| input.detach().contiguous())
            .collect::<candle_core::Result<Vec<_>>>()?;
        let inputs: Vec<&Tensor> = inputs.iter().collect();
        // As their places are, so that a preparation does all that is recorded.
        let make = &|inputs: &[&Tensor]| -> Result<Made> {
            let made = make(inputs)?.into_iter().map(|one| one.map(|one| one.contiguous()).transpose());
            Ok(made.collect::<candle_core::Result<_>>()?)
        };
        let kind = Kind { work, inputs: inputs.iter().map(|input| input.dims().to_vec()).collect() };
        match self.recordings.entry(kind).or_insert(State::Preparing(0)) {
            State::Recorded(recorded) => Ok((recorded.repeat(&inputs, make)?.clone(), false)),
            State::Refused => Ok((make(&inputs)?, true)),
            state @ State::Preparing(_) => {
                let made = Graph::prepare(inputs[0].device(), || make(&inputs))?;
                state.prepared(&inputs, &made, make);
                Ok((made, true))
            }
        }
    }
}

impl State {
    /// After another preparation; after the last one the work is recorded.
    fn prepared(&mut self, inputs: &[&Tensor], made: &Made, make: &dyn Fn(&[&Tensor]) -> Result<Made>) {
        let Self::Preparing(times) = self else { return };
        *times += 1;
        if *times < PREPARATIONS {
            return;
        }
        *self = match Recorded::new(inputs, made, make) {
            Ok(recorded) => Self::Recorded(Box::new(recorded)),
            Err(error) => {
                tracing::warn!("a pass can't be recorded, and is launched kernel by kernel: {error}");
                Self::Refused
            }
        };
    }
}

impl Recorded {
    fn new(inputs: &[&Tensor], made: &Made, make: &dyn Fn(&[&Tensor]) -> Result<Made>) -> Result<Self> {
        let places = |tensor: &Tensor| tensor.zeros_like();
        let recorded = Self {
            inputs: inputs.iter().map(|input| input.copy()).collect::<candle_core::Result<_>>()?,
            made: made
                .iter()
                .map(|one| one.as_ref().map(places).transpose())
                .collect::<candle_core::Result<_>>()?,
            graph: None,
        };
        let graph = Graph::record(inputs[0].device(), || {
            let made = make(&recorded.inputs.iter().collect::<Vec<_>>()).map_err(candle_core::Error::wrap)?;
            recorded.take(&made)
        })?;
        Ok(Self { graph, ..recorded })
    }

    /// Puts what was made into its places.
    fn take(&self, made: &Made) -> candle_core::Result<()> {
        overwrite_all(&self.made.iter().flatten().zip(made.iter().flatten()).collect::<Vec<_>>())
    }

    /// The work on other inputs.
    fn repeat(&self, inputs: &[&Tensor], make: &dyn Fn(&[&Tensor]) -> Result<Made>) -> Result<&Made> {
        overwrite_all(&self.inputs.iter().zip(inputs.iter().copied()).collect::<Vec<_>>())?;
        match &self.graph {
            Some(graph) => graph.launch()?,
            None => self.take(&make(&self.inputs.iter().collect::<Vec<_>>())?)?,
        }
        Ok(&self.made)
    }
}

/// A training pass: a network's trained classifier, asked by one head, and the weighted loss of its logits and a target `[B, K]`.
pub(super) struct TrainingPass<'a> {
    pub(super) network: &'a Network,
    pub(super) head: Head,
    pub(super) weight: f64,
    pub(super) loss: &'a dyn Fn(&Tensor, &Tensor) -> Result<Tensor>,
}

impl TrainingPass<'_> {
    /// Runs the pass and adds its gradients. Gives its loss, and its logits until the next pass.
    ///
    /// # Errors
    /// If an operation fails.
    pub(super) fn run(
        &self,
        replays: &mut Replays,
        images: &Tensor,
        target: &Tensor,
        gradients: &mut Gradients,
    ) -> Result<(Tensor, Tensor)> {
        let weights = self.network.parameters.weights();
        let make = |inputs: &[&Tensor]| {
            let mut pass = Pass::train();
            let (tape, (loss, logits)) = Tape::record(|| -> Result<_> {
                let logits = self.network.trained.forward(inputs[0], self.head, &mut pass)?;
                Ok(((self.loss)(&logits, inputs[1])?, logits))
            })?;
            pass.commit(1)?;
            let store = tape.backward(&weighted(&loss, self.weight)?)?;
            let found = weights.iter().map(|(_, weight)| store.get(weight).map(Tensor::detach));
            Ok([Some(loss.detach()), Some(logits.detach())].into_iter().chain(found).collect())
        };
        let work = Work::Training(self.head, self.weight.to_bits());
        let (made, own) = replays.run(work, &[images, target], &make)?;
        let [Some(loss), Some(logits), found @ ..] = &made[..] else {
            unreachable!("loss and logits are made")
        };
        gradients.add(&weights, found, own)?;
        Ok((if own { loss.clone() } else { loss.copy()? }, logits.clone()))
    }
}

#[cfg(test)]
mod tests {
    use adautomix_random::{Key, Purpose};

    use crate::Stepper;
    use crate::method::measured::deferred;
    use crate::method::tests::{SMALL, batch, stepper};
    use crate::method::{Losses, read_losses};
    use crate::{Gradients, Result};

    type State = Vec<(String, Vec<f32>)>;

    /// The losses and the state after some steps, one of which has a smaller batch.
    fn run(stepper: &mut Stepper) -> Result<(Vec<Losses>, State)> {
        let mut gradients = Gradients::default();
        let mut losses = Vec::new();
        for step in 0..9 {
            let draws = Key::new(5, Purpose::Mixing).step(step);
            let count = if step == 3 { 2 } else { 4 };
            losses.push(stepper.step(&batch(count, step), step, draws, &mut gradients)?);
        }
        let flat = |(name, tensor): (String, candle_core::Tensor)| {
            Ok((name, tensor.to_dtype(candle_core::DType::F32)?.flatten_all()?.to_vec1()?))
        };
        Ok((losses, stepper.tensors().into_iter().map(flat).collect::<Result<_>>()?))
    }

    #[test]
    fn passes_that_are_repeated_are_the_passes_themselves() -> Result<()> {
        let summed = "training.accumulate=2";
        let smoothed = "loss.smoothing=0.1";
        let spelled_out = "method.objective=paper";
        let cases: [(&str, &[&str]); 7] = [
            ("adautomix", &[]),
            ("adautomix", &[summed, smoothed]),
            ("adautomix", &[spelled_out]),
            ("automix", &[summed]),
            ("vanilla", &[smoothed]),
            ("mixup", &[summed, "network.precision=bf16"]),
            ("saliencymix", &[]),
        ];
        for (name, overrides) in cases {
            let overrides = [&SMALL[..], overrides].concat();
            let new = || stepper(&format!("quick/{name}"), &overrides, 9);
            let (losses, state) = run(&mut new())?;
            let (repeated_losses, repeated_state) = deferred(|| run(&mut new()))?;
            let (losses, repeated) = (read_losses(&losses)?, read_losses(&repeated_losses)?);
            // The target is made before the loss instead of in it, so sums may be rounded to the neighbour.
            for (step, (losses, repeated)) in losses.iter().zip(&repeated).enumerate() {
                for ((loss, value), (_, again)) in losses.iter().zip(repeated) {
                    let near = (value - again).abs() <= 1e-4 * (1.0 + value.abs());
                    assert!(near, "{name} {overrides:?} step {step}: {loss} {value} {again}");
                }
            }
            for ((tensor, values), (_, again)) in state.iter().zip(&repeated_state) {
                let largest = values.iter().fold(1e-3f32, |largest, value| largest.max(value.abs()));
                for (value, again) in values.iter().zip(again) {
                    assert!((value - again).abs() <= 1e-3 * largest, "{name} {tensor}: {value} {again}");
                }
            }
        }
        Ok(())
    }
}
