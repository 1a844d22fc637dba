//! The training passes of a step.

use std::cell::Cell;

use adautomix_backbones::Pass;
use adautomix_random::{Key, Purpose};

/// Makes the training passes of one step, each with draws of its own for the paths that it drops.
#[derive(Debug)]
pub struct Passes {
    drop_path: f64,
    draws: Key,
    made: Cell<usize>,
}

impl Passes {
    /// Passes through a network whose last block is left out with the probability `drop_path`; `draws` is the key of the
    /// step's chance.
    pub fn new(drop_path: f64, draws: Key) -> Self {
        Self { drop_path, draws: draws.purpose(Purpose::Dropout), made: Cell::new(0) }
    }

    /// The key of the step's chance.
    pub(super) fn draws(&self) -> Key {
        self.draws
    }

    /// The next one.
    pub fn train(&self) -> Pass {
        let number = self.made.replace(self.made.get() + 1);
        Pass::train().dropping(self.drop_path, self.draws.sample(number).rng())
    }
}
