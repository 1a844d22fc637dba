//! Stochastic gradient descent with momentum, and its state.

use adautomix_ops::{Sgd as Step, sgd_step};
use candle_core::Tensor;

use crate::{Gradients, Result};

/// What stays the same from step to step.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct SgdConfig {
    /// Momentum of the velocity.
    pub momentum: f64,
    /// Whether steps look ahead (Nesterov).
    pub nesterov: bool,
    /// L2 penalty, added to the gradient of every parameter: convolutions, norms and biases.
    pub weight_decay: f64,
}

/// Moves a group of parameters against their gradients.
pub struct Sgd {
    config: SgdConfig,
    /// Name, parameter and velocity.
    slots: Vec<(String, Tensor, Tensor)>,
    /// Whether a step was made; the first takes the gradient for the velocity.
    started: bool,
}

impl Sgd {
    /// An optimizer of `parameters`, which are changed in place.
    ///
    /// # Errors
    /// If memory can't be had.
    pub fn new(parameters: Vec<(String, Tensor)>, config: SgdConfig) -> Result<Self> {
        let slot = |(name, parameter): (String, Tensor)| {
            let velocity = parameter.detach().zeros_like()?;
            Ok((name, parameter, velocity))
        };
        Ok(Self { config, slots: parameters.into_iter().map(slot).collect::<Result<_>>()?, started: false })
    }

    /// One step with learning rate `lr`. A parameter without a gradient stays as it is.
    ///
    /// # Errors
    /// If a tensor can't be written.
    pub fn step(&mut self, gradients: &Gradients, lr: f64) -> Result<()> {
        let step = Step {
            lr: lr as f32,
            momentum: self.config.momentum as f32,
            nesterov: self.config.nesterov,
            weight_decay: self.config.weight_decay as f32,
            first: !self.started,
        };
        for (_, parameter, velocity) in &self.slots {
            if let Some(gradient) = gradients.get(parameter) {
                sgd_step(parameter, velocity, gradient, step)?;
            }
        }
        self.started = true;
        Ok(())
    }

    /// The velocities by the names of their parameters: all state but [`started`](Self::started).
    pub fn velocities(&self) -> impl Iterator<Item = (&str, &Tensor)> {
        self.slots.iter().map(|(name, _, velocity)| (name.as_str(), velocity))
    }

    /// Whether a step has been made.
    pub fn started(&self) -> bool {
        self.started
    }

    /// Takes up the state of an optimizer whose velocities have been restored.
    pub(crate) fn resume(&mut self, started: bool) {
        self.started = started;
    }
}
