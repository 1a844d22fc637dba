//! Gaussian noise, shot noise, impulse noise and speckle noise.

use rand::Rng;
use rand_distr::StandardNormal;

use super::field::Field;
use crate::CHANNELS;

/// Noise with its draws, one for each value in the order `[H, W, 3]`; `x` is a value between 0 and 1.
#[derive(Clone, Debug, PartialEq)]
pub enum Noise {
    /// `x + c n`
    Gaussian {
        /// `c`
        deviation: f64,
        /// `n`, standard normal.
        noise: Vec<f64>,
    },
    /// `Poisson(c x) / c`
    Shot {
        /// `c`: the photons of white.
        photons: f64,
        /// Where each value's count lies in its distribution, from 0 to below 1.
        quantiles: Vec<f64>,
    },
    /// Some values become 0 or 1.
    Impulse {
        /// Which ones, and whether they become 1.
        impulses: Vec<Option<bool>>,
    },
    /// `x + c x n`
    Speckle {
        /// `c`
        deviation: f64,
        /// `n`, standard normal.
        noise: Vec<f64>,
    },
}

impl Noise {
    pub(super) fn gaussian(level: usize, values: usize, rng: &mut impl Rng) -> Self {
        Self::Gaussian { deviation: [0.04, 0.06, 0.08, 0.09, 0.10][level], noise: normal(values, rng) }
    }

    pub(super) fn shot(level: usize, values: usize, rng: &mut impl Rng) -> Self {
        let photons = [500.0, 250.0, 100.0, 75.0, 50.0][level];
        Self::Shot { photons, quantiles: (0..values).map(|_| rng.random()).collect() }
    }

    pub(super) fn impulse(level: usize, values: usize, rng: &mut impl Rng) -> Self {
        let probability = [0.01, 0.02, 0.03, 0.05, 0.07][level];
        let mut impulse = || {
            let (is_hit, is_white) = (rng.random_bool(probability), rng.random());
            is_hit.then_some(is_white)
        };
        Self::Impulse { impulses: (0..values).map(|_| impulse()).collect() }
    }

    pub(super) fn speckle(level: usize, values: usize, rng: &mut impl Rng) -> Self {
        Self::Speckle { deviation: [0.06, 0.1, 0.12, 0.16, 0.2][level], noise: normal(values, rng) }
    }

    /// Bytes to bytes.
    pub(super) fn apply(&self, bytes: &Field<CHANNELS>) -> Field<CHANNELS> {
        let mut unit = bytes.unit();
        let values = unit.values.as_flattened_mut();
        match self {
            Self::Gaussian { deviation, noise } => {
                values.iter_mut().zip(noise).for_each(|(x, n)| *x += deviation * n);
            }
            Self::Shot { photons, quantiles } => {
                let counts: Vec<_> =
                    (0..=255).map(|byte| cumulative(f64::from(byte) / 255.0 * photons)).collect();
                let bytes = bytes.values.as_flattened();
                for ((x, &byte), &quantile) in values.iter_mut().zip(bytes).zip(quantiles) {
                    let below = counts[byte as usize].partition_point(|&share| share <= quantile);
                    *x = below as f64 / photons;
                }
            }
            Self::Impulse { impulses } => {
                for (x, impulse) in values.iter_mut().zip(impulses) {
                    *x = impulse.map_or(*x, |is_white| f64::from(u8::from(is_white)));
                }
            }
            Self::Speckle { deviation, noise } => {
                values.iter_mut().zip(noise).for_each(|(x, n)| *x += *x * deviation * n);
            }
        }
        unit.bytes()
    }
}

/// Standard normal draws.
pub(super) fn normal(count: usize, rng: &mut impl Rng) -> Vec<f64> {
    (0..count).map(|_| rng.sample(StandardNormal)).collect()
}

/// The probability that a Poisson count is at most 0, 1, 2 …, until it is as good as certain.
fn cumulative(mean: f64) -> Vec<f64> {
    let mut term = (-mean).exp();
    let mut shares = vec![term];
    let highest = mean + 12.0 * mean.sqrt() + 20.0;
    for count in 1..=highest as usize {
        term *= mean / count as f64;
        shares.push(shares[count - 1] + term);
    }
    shares
}

#[cfg(test)]
mod tests {
    use super::*;
    use adautomix_random::{Key, Purpose};

    #[test]
    fn shot_noise_has_mean_and_variance_of_a_poisson_count() {
        let grey = Field::new([100, 100], |_, _| [51.0, 255.0, 0.0]);
        let mut rng = Key::new(1, Purpose::Test).rng();
        for level in 0..5 {
            let noise = Noise::shot(level, 30_000, &mut rng);
            let Noise::Shot { photons, .. } = &noise else { panic!() };
            let photons = *photons;
            let after = noise.apply(&grey);
            let mean = after.values.iter().map(|p| p[0] / 255.0).sum::<f64>() / 1e4;
            let variance = after.values.iter().map(|p| (p[0] / 255.0 - 0.2).powi(2)).sum::<f64>() / 1e4;
            assert!((mean - 0.2).abs() < 4.0 * (0.2 / photons / 1e4).sqrt(), "{level}: {mean}");
            assert!((variance * photons / 0.2 - 1.0).abs() < 0.08, "{level}: {variance}");
            // White is cut off at white, and black has no photon.
            assert!(after.values.iter().all(|p| p[1] <= 255.0 && p[2] == 0.0));
        }
    }

    #[test]
    fn impulses_come_as_often_as_they_should_and_evenly() {
        let mut rng = Key::new(2, Purpose::Test).rng();
        let grey = Field::new([200, 200], |_, _| [100.0; 3]);
        let after = Noise::impulse(4, 120_000, &mut rng).apply(&grey);
        let count = |value: f64| after.values.as_flattened().iter().filter(|x| **x == value).count();
        // 4200 of each are expected, with a deviation of 64.
        assert!((3950..4450).contains(&count(0.0)) && (3950..4450).contains(&count(255.0)));
        assert!(count(0.0) + count(255.0) > 8100);
    }
}
