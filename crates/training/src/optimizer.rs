//! The optimizers, and their state.

use adautomix_ops::{AdamW as AdamWStep, Sgd as SgdStep, Trained, adamw_steps, sgd_steps};
use candle_core::Tensor;

use crate::{Gradients, Result};

/// How parameters follow their gradients, and what of it stays the same from step to step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Stochastic gradient descent with momentum.
    Sgd {
        /// Momentum of the velocity.
        momentum: f64,
        /// Whether steps look ahead (Nesterov).
        nesterov: bool,
    },
    /// AdamW.
    AdamW {
        /// Shares of the old mean and of the old mean square that are kept.
        betas: [f64; 2],
        /// Added to the root of the mean square.
        eps: f64,
    },
}

impl Rule {
    /// What is kept for each parameter, by name.
    fn state(self) -> &'static [&'static str] {
        match self {
            Self::Sgd { .. } => &["velocity"],
            Self::AdamW { .. } => &["mean", "square"],
        }
    }
}

/// A parameter and what is kept for it.
struct Slot {
    name: String,
    parameter: Tensor,
    weight_decay: f64,
    state: Vec<Tensor>,
}

impl Slot {
    /// What a step changes, if there is a gradient.
    fn trained<'a>(&'a self, gradients: &'a Gradients) -> Option<Trained<'a>> {
        let Self { parameter, weight_decay, state, .. } = self;
        let gradient = gradients.get(parameter)?;
        Some(Trained { parameter, state, gradient, weight_decay: *weight_decay })
    }
}

/// Moves a group of parameters against their gradients.
pub struct Optimizer {
    rule: Rule,
    slots: Vec<Slot>,
    steps: usize,
}

impl Optimizer {
    /// An optimizer of `parameters`, which are changed in place; `weight_decay` gives that of each by its name and tensor.
    ///
    /// # Errors
    /// If memory can't be had.
    pub fn new(
        parameters: Vec<(String, Tensor)>,
        rule: Rule,
        weight_decay: impl Fn(&str, &Tensor) -> f64,
    ) -> Result<Self> {
        let slot = |(name, parameter): (String, Tensor)| {
            let zeros = |_| parameter.detach().zeros_like();
            let state = rule.state().iter().map(zeros).collect::<candle_core::Result<_>>()?;
            Ok(Slot { weight_decay: weight_decay(&name, &parameter), name, parameter, state })
        };
        Ok(Self { rule, slots: parameters.into_iter().map(slot).collect::<Result<_>>()?, steps: 0 })
    }

    /// One step with learning rate `lr`. A parameter without a gradient stays as it is.
    ///
    /// # Errors
    /// If a tensor can't be written.
    pub fn step(&mut self, gradients: &Gradients, lr: f64) -> Result<()> {
        let first = self.steps == 0;
        self.steps += 1;
        let trained: Vec<Trained<'_>> =
            self.slots.iter().filter_map(|slot| slot.trained(gradients)).collect();
        match self.rule {
            Rule::Sgd { momentum, nesterov } => {
                let (lr, momentum) = (lr as f32, momentum as f32);
                sgd_steps(&trained, SgdStep { lr, momentum, nesterov, weight_decay: 0.0, first })?;
            }
            Rule::AdamW { betas, eps } => {
                adamw_steps(&trained, AdamWStep { lr, betas, eps, weight_decay: 0.0, step: self.steps })?;
            }
        }
        Ok(())
    }

    /// All state but the number of [`steps`](Self::steps): what it is, the parameter's name, the tensor.
    pub fn state(&self) -> impl Iterator<Item = (&'static str, &str, &Tensor)> {
        let names = self.rule.state();
        self.slots.iter().flat_map(move |slot| {
            names.iter().zip(&slot.state).map(|(&kind, tensor)| (kind, slot.name.as_str(), tensor))
        })
    }

    /// How many steps have been made.
    pub fn steps(&self) -> usize {
        self.steps
    }

    /// Takes up the state of an optimizer whose tensors have been restored.
    pub(crate) fn resume(&mut self, steps: usize) {
        self.steps = steps;
    }
}

#[cfg(test)]
mod tests {
    use adautomix_ops::Tape;
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn decay_is_a_parameters_own_and_state_has_names() -> Result<()> {
        let new = |value: f32| Var::new(&[value], &Device::Cpu).map(Var::into_inner);
        let parameters = vec![("w.weight".to_owned(), new(1.0)?), ("w.bias".to_owned(), new(1.0)?)];
        for (rule, kinds) in [
            (Rule::Sgd { momentum: 0.9, nesterov: false }, vec!["velocity"]),
            (Rule::AdamW { betas: [0.9, 0.999], eps: 1e-8 }, vec!["mean", "square"]),
        ] {
            let decay = |name: &str, _: &Tensor| if name.ends_with("bias") { 0.0 } else { 0.5 };
            let mut optimizer = Optimizer::new(parameters.clone(), rule, decay)?;
            let mut gradients = Gradients::default();
            for (_, parameter) in &parameters {
                let (tape, loss) = Tape::record(|| (parameter - parameter)?.sum_all())?;
                gradients.backward(tape, &loss, 1.0, &parameters)?;
            }
            let before = parameters[0].1.to_vec1::<f32>()?[0];
            optimizer.step(&gradients, 0.1)?;
            let after = parameters[0].1.to_vec1::<f32>()?[0];
            assert!((after - before * 0.95).abs() < 1e-6, "{before} {after}");
            assert_eq!(parameters[1].1.to_vec1::<f32>()?, [1.0]);
            let names: Vec<_> = optimizer.state().map(|(kind, name, _)| (kind, name)).collect();
            assert_eq!(names.len(), 2 * kinds.len());
            assert!(kinds.iter().all(|&kind| names.contains(&(kind, "w.bias"))));
        }
        Ok(())
    }
}
