//! Every draw of the system comes from here.
//!
//! A [`Key`] says what a draw is for: the run's seed, the epoch, the step, the sample and the [`Purpose`]. It *is* the
//! ChaCha key, so equal keys give equal draws on any number of threads and in any order, keys that differ anywhere
//! give independent ones, and a resumed run needs no saved generator.
//!
//! ```
//! use adautomix_random::{Key, Purpose};
//! use rand::Rng;
//!
//! let key = Key::new(7, Purpose::Mixing).epoch(2).step(31);
//! let (a, b): (f32, f32) = (key.rng().random(), key.rng().random());
//! assert_eq!(a, b);
//! ```

use rand::SeedableRng;

/// The generator that a [`Key`] starts.
pub type Rng = rand_chacha::ChaCha8Rng;

/// What a draw is for; two purposes never share a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum Purpose {
    /// Initial weights.
    Weights = 1,
    /// The order of the samples in an epoch.
    Order = 2,
    /// Crop, flip and the other transforms of one sample.
    Augmentation = 3,
    /// Mixing ratios, partners and boxes.
    Mixing = 4,
    /// Drop path and dropout.
    Dropout = 5,
    /// The pictures of the synthetic data set.
    Synthetic = 6,
    /// Whether a step trains the generator.
    Generator = 8,
    /// The corruption of one sample.
    Corruption = 9,
    /// Which parts of a sample are hidden from a network under evaluation.
    Occlusion = 10,
    /// Where an attack on a sample starts.
    Attack = 11,
    /// Which pictures of each class are in a part of a data set.
    Subset = 12,
    /// Whatever a test or a benchmark draws.
    Test = 7,
}

/// The address of a draw: (seed, epoch, step, sample, purpose). What is not set is 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Key {
    seed: u64,
    epoch: u32,
    purpose: Purpose,
    step: u64,
    sample: u64,
}

impl Key {
    /// The key of a run's `seed` and a purpose.
    pub fn new(seed: u64, purpose: Purpose) -> Self {
        Self { seed, epoch: 0, purpose, step: 0, sample: 0 }
    }

    /// The same key for another purpose.
    pub fn purpose(self, purpose: Purpose) -> Self {
        Self { purpose, ..self }
    }

    /// The same key at an epoch, counted from 0.
    pub fn epoch(self, epoch: usize) -> Self {
        Self { epoch: epoch as u32, ..self }
    }

    /// The same key at a step, counted from 0 over the whole run.
    pub fn step(self, step: usize) -> Self {
        Self { step: step as u64, ..self }
    }

    /// The same key at a sample's index, or the index of a weight.
    pub fn sample(self, sample: usize) -> Self {
        Self { sample: sample as u64, ..self }
    }

    /// The generator of this key, at its start.
    pub fn rng(self) -> Rng {
        let mut seed = [0u8; 32];
        seed[0..8].copy_from_slice(&self.seed.to_le_bytes());
        seed[8..12].copy_from_slice(&self.epoch.to_le_bytes());
        seed[12..16].copy_from_slice(&(self.purpose as u32).to_le_bytes());
        seed[16..24].copy_from_slice(&self.step.to_le_bytes());
        seed[24..32].copy_from_slice(&self.sample.to_le_bytes());
        Rng::from_seed(seed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::RngCore;

    #[test]
    fn every_field_of_the_key_changes_the_stream() {
        let key = Key::new(1, Purpose::Order);
        let keys = [
            key,
            Key::new(2, Purpose::Order),
            key.purpose(Purpose::Mixing),
            key.epoch(1),
            key.step(1),
            key.sample(1),
        ];
        let draws: std::collections::HashSet<u64> = keys.iter().map(|k| k.rng().next_u64()).collect();
        assert_eq!(draws.len(), keys.len());
        assert_eq!(key.rng().next_u64(), key.rng().next_u64());
    }
}
