//! Training passes that are the same at every step but for the pictures and targets that they read. On a device such a pass
//! is recorded once for each shape of batch, and from then on launched as a whole: its few hundred kernels cost the host one
//! call.
//!
//! A pass is a classifier's answer to a batch, its loss, the gradients of its weights, and the running statistics that it
//! leaves behind. What comes before (mixing) and after (sums of gradients, the optimizer) isn't recorded.

use std::collections::HashMap;

use adautomix_backbones::{Head, Pass};
use adautomix_ops::{Graph, Tape, overwrite_all};
use candle_core::Tensor;

use super::measured::stays;
use crate::gradients::weighted;
use crate::{Gradients, Network, Result};

/// How often a pass runs as usual before it is recorded: cuDNN chooses its algorithms, and candle keeps what it sends.
const PREPARATIONS: usize = 2;

/// The recorded passes of a method's student.
#[derive(Default)]
pub(super) struct Replays {
    passes: HashMap<Kind, State>,
}

/// What is the same in all passes of a recording, beside network and loss, of which a method has one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Kind {
    head: Head,
    /// The bits of the loss's weight.
    weight: u64,
    images: Vec<usize>,
    target: Vec<usize>,
}

enum State {
    /// So many passes have run as usual.
    Preparing(usize),
    Recorded(Box<Recorded>),
    /// It can't be recorded.
    Refused,
}

/// A pass with places for what it reads and what it gives.
struct Recorded {
    /// Pictures and target.
    inputs: [Tensor; 2],
    outputs: Outputs,
    /// None on the processor, where the pass runs again.
    graph: Option<Graph>,
}

/// What a pass gives, outside the graph.
struct Outputs {
    loss: Tensor,
    logits: Tensor,
    /// Of each weight, in order; none where the loss doesn't depend on it.
    gradients: Vec<Option<Tensor>>,
}

/// A training pass: a network's trained classifier, asked by one head, and the weighted loss of its logits and a target `[B, K]`.
pub(super) struct TrainingPass<'a> {
    pub(super) network: &'a Network,
    pub(super) head: Head,
    pub(super) weight: f64,
    pub(super) loss: &'a dyn Fn(&Tensor, &Tensor) -> Result<Tensor>,
}

impl TrainingPass<'_> {
    fn run(&self, [images, target]: [&Tensor; 2]) -> Result<Outputs> {
        let mut pass = Pass::train();
        let (tape, (loss, logits)) = Tape::record(|| -> Result<_> {
            let logits = self.network.trained.forward(images, self.head, &mut pass)?;
            Ok(((self.loss)(&logits, target)?, logits))
        })?;
        pass.commit(1)?;
        let store = tape.backward(&weighted(&loss, self.weight)?)?;
        let weights = self.network.parameters.weights();
        let gradients = weights.iter().map(|(_, weight)| store.get(weight).map(Tensor::detach)).collect();
        Ok(Outputs { loss: loss.detach(), logits: logits.detach(), gradients })
    }
}

impl Outputs {
    /// Places for results of the same shapes.
    fn places(&self) -> Result<Self> {
        let place = |tensor: &Tensor| tensor.zeros_like();
        let gradients = self.gradients.iter().map(|gradient| gradient.as_ref().map(place).transpose());
        Ok(Self {
            loss: place(&self.loss)?,
            logits: place(&self.logits)?,
            gradients: gradients.collect::<candle_core::Result<_>>()?,
        })
    }

    /// Puts other results into these places.
    fn take(&self, others: &Self) -> candle_core::Result<()> {
        let mut pairs = vec![(&self.loss, &others.loss), (&self.logits, &others.logits)];
        pairs.extend(self.gradients.iter().flatten().zip(others.gradients.iter().flatten()));
        overwrite_all(&pairs)
    }
}

impl Replays {
    /// Whether passes over these pictures are recorded.
    pub(super) fn take(images: &Tensor) -> bool {
        Graph::wanted(images.device()) || (images.device().is_cpu() && stays(images))
    }

    /// Runs a pass and adds its gradients. Gives its loss, and its logits until the next pass.
    ///
    /// # Errors
    /// If an operation fails.
    pub(super) fn train(
        &mut self,
        pass: &TrainingPass<'_>,
        images: &Tensor,
        target: &Tensor,
        gradients: &mut Gradients,
    ) -> Result<(Tensor, Tensor)> {
        let kind = Kind {
            head: pass.head,
            weight: pass.weight.to_bits(),
            images: images.dims().to_vec(),
            target: target.dims().to_vec(),
        };
        let inputs = [&images.contiguous()?, &target.contiguous()?];
        let state = self.passes.entry(kind).or_insert(State::Preparing(0));
        if let State::Preparing(runs) = state {
            *runs += 1;
            let outputs = Graph::prepare(images.device(), || pass.run(inputs))?;
            gradients.add(&pass.network.parameters.weights(), &outputs.gradients, true)?;
            if *runs == PREPARATIONS {
                *state = match Recorded::new(pass, inputs, &outputs) {
                    Ok(recorded) => State::Recorded(Box::new(recorded)),
                    Err(error) => {
                        tracing::warn!("a pass can't be recorded, and is launched kernel by kernel: {error}");
                        State::Refused
                    }
                };
            }
            return Ok((outputs.loss, outputs.logits));
        }
        let weights = pass.network.parameters.weights();
        if let State::Recorded(recorded) = state {
            let Outputs { loss, logits, gradients: found } = recorded.repeat(pass, inputs)?;
            gradients.add(&weights, found, false)?;
            return Ok((loss.copy()?, logits.clone()));
        }
        let outputs = pass.run(inputs)?;
        gradients.add(&weights, &outputs.gradients, true)?;
        Ok((outputs.loss, outputs.logits))
    }
}

impl Recorded {
    fn new(pass: &TrainingPass<'_>, inputs: [&Tensor; 2], outputs: &Outputs) -> Result<Self> {
        let inputs = [inputs[0].copy()?, inputs[1].copy()?];
        let outputs = outputs.places()?;
        let graph = Graph::record(inputs[0].device(), || {
            let found = pass.run(inputs.each_ref()).map_err(candle_core::Error::wrap)?;
            outputs.take(&found)
        })?;
        Ok(Self { inputs, outputs, graph })
    }

    /// The pass over other inputs.
    fn repeat(&self, pass: &TrainingPass<'_>, inputs: [&Tensor; 2]) -> Result<&Outputs> {
        let [images, target] = &self.inputs;
        overwrite_all(&[(images, inputs[0]), (target, inputs[1])])?;
        match &self.graph {
            Some(graph) => graph.launch()?,
            None => self.outputs.take(&pass.run(self.inputs.each_ref())?)?,
        }
        Ok(&self.outputs)
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
        for step in 0..7 {
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
            let new = || stepper(&format!("quick/{name}"), &overrides, 7);
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
