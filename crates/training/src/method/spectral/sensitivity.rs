//! How easily the network errs at each frequency, measured as the run goes.

use std::f64::consts::TAU;

use adautomix_ops::overwrite;
use candle_core::{DType, Device, Tensor};
use rand::Rng;

use crate::{Parameters, Result};

/// For each frequency: how much the amplitudes of two pictures differ there, and how often the network errs when a picture is
/// changed by as much. Kept on the host, a part of every checkpoint.
pub(super) struct Sensitivity {
    /// All of the tensors below.
    pub(super) tensors: Parameters,
    /// Of how many pictures the network has erred at, the share, `[H, W]`.
    errors: Tensor,
    /// How many pictures that are, `[H, W]`.
    probes: Tensor,
    /// How far apart the amplitudes of two pictures are, `[H, W]`.
    distance: Tensor,
    /// In how many batches, `[1]`.
    batches: Tensor,
    size: [usize; 2],
    /// Over how many measurements a mean is taken: the first ones all alike, then those long past ever less.
    window: f32,
}

/// A change of one frequency, for each picture of a batch.
pub(super) struct Probe {
    /// The frequency of each picture's change, its place in the map.
    frequencies: Vec<usize>,
    /// The changes of the pixels, `[B, 3, H, W]`.
    pub(super) changes: Tensor,
}

impl Sensitivity {
    pub(super) fn new(size: [usize; 2], window: usize) -> Result<Self> {
        let map = || Tensor::zeros(&size, DType::F32, &Device::Cpu);
        let (errors, probes, distance) = (map()?, map()?, map()?);
        let batches = Tensor::zeros(1, DType::F32, &Device::Cpu)?;
        let named =
            [("errors", &errors), ("probes", &probes), ("distance", &distance), ("batches", &batches)];
        let named = named.map(|(name, tensor)| (name, tensor.clone())).to_vec();
        let tensors = Parameters::of(named, &Device::Cpu);
        Ok(Self { tensors, errors, probes, distance, batches, size, window: window as f32 })
    }

    /// The share of pictures, `[1, 1, H, W]`, that the network errs at when this frequency is changed; 0 where it wasn't tried
    /// yet.
    pub(super) fn map(&self, device: &Device) -> Result<Tensor> {
        let [height, width] = self.size;
        Ok(self.errors.reshape((1, 1, height, width))?.to_device(device)?)
    }

    /// The mean of the map over the frequencies that were tried; 0 before any was.
    pub(super) fn mean(&self) -> Result<f64> {
        let (errors, probes) = (read(&self.errors)?, read(&self.probes)?);
        let tried: Vec<f64> = errors
            .iter()
            .zip(&probes)
            .filter(|(_, count)| **count > 0.0)
            .map(|(share, _)| f64::from(*share))
            .collect();
        Ok(tried.iter().sum::<f64>() / tried.len().max(1) as f64)
    }

    /// Notes how far apart the amplitudes `[B, 3, H, W]` of a batch and of its partners are. Between two pictures that is the
    /// Wasserstein distance.
    pub(super) fn compare(&self, amplitude: &Tensor, partner: &Tensor) -> Result<()> {
        let now: Vec<f32> = (amplitude - partner)?.abs()?.mean((0, 1))?.flatten_all()?.to_vec1()?;
        let mut batches = read(&self.batches)?;
        let distance = read(&self.distance)?;
        let moved = distance.iter().zip(&now).map(|(old, new)| self.moved(*old, *new, batches[0])).collect();
        batches[0] += 1.0;
        write(&self.distance, moved)?;
        write(&self.batches, batches)
    }

    /// A mean of `count` measurements, with one more.
    fn moved(&self, mean: f32, new: f32, count: f32) -> f32 {
        mean + (new - mean) / (count + 1.0).min(self.window)
    }

    /// Changes a frequency of each of `batch` pictures by as much as two pictures differ there: a wave, up or down in each
    /// channel.
    pub(super) fn probe(&self, batch: usize, rng: &mut impl Rng, device: &Device) -> Result<Probe> {
        let ([height, width], distance) = (self.size, read(&self.distance)?);
        let pixels = height * width;
        let frequencies: Vec<usize> = (0..batch).map(|_| rng.random_range(0..pixels)).collect();
        let mut changes = Vec::with_capacity(batch * 3 * pixels);
        for &frequency in &frequencies {
            let [i, j] = [frequency / width, frequency % width];
            // The wave of an amplitude at a frequency and its opposite, which may be the same.
            let both = if self.opposite(frequency) == frequency { 1.0 } else { 2.0 };
            let height_of_wave = both * f64::from(distance[frequency]) / pixels as f64;
            let waves = |frequency: usize, length: usize| -> Vec<(f64, f64)> {
                let step = TAU * frequency as f64 / length as f64;
                (0..length).map(|at| (step * at as f64).sin_cos()).collect()
            };
            let (down, along) = (waves(i, height), waves(j, width));
            for _ in 0..3 {
                let signed = if rng.random() { height_of_wave } else { -height_of_wave };
                for (sin, cos) in &down {
                    changes.extend(along.iter().map(|(s, c)| (signed * (cos * c - sin * s)) as f32));
                }
            }
        }
        let changes = Tensor::from_vec(changes, (batch, 3, height, width), device)?;
        Ok(Probe { frequencies, changes })
    }

    /// Notes for each picture whether the network erred when it was changed.
    pub(super) fn learn(&self, probe: &Probe, erred: impl IntoIterator<Item = bool>) -> Result<()> {
        let (mut errors, mut probes) = (read(&self.errors)?, read(&self.probes)?);
        for (&frequency, erred) in probe.frequencies.iter().zip(erred) {
            let share = self.moved(errors[frequency], f32::from(u8::from(erred)), probes[frequency]);
            let count = probes[frequency] + 1.0;
            for place in [frequency, self.opposite(frequency)] {
                (errors[place], probes[place]) = (share, count);
            }
        }
        write(&self.errors, errors)?;
        write(&self.probes, probes)
    }

    /// The place of the opposite frequency, whose amplitude is the same in every picture.
    fn opposite(&self, frequency: usize) -> usize {
        let [height, width] = self.size;
        let [i, j] = [frequency / width, frequency % width];
        (height - i) % height * width + (width - j) % width
    }
}

fn read(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.flatten_all()?.to_vec1()?)
}

fn write(tensor: &Tensor, values: Vec<f32>) -> Result<()> {
    Ok(overwrite(tensor, &Tensor::from_vec(values, tensor.shape(), &Device::Cpu)?)?)
}

#[cfg(test)]
mod tests {
    use adautomix_random::{Key, Purpose};

    use super::super::fourier::Fourier;
    use super::*;

    #[test]
    fn a_probe_changes_one_frequency_by_the_distance_and_its_opposite_with_it() {
        let host = &Device::Cpu;
        let map = Sensitivity::new([4, 6], 5).unwrap();
        let values = |shift: f32| {
            let wave = (0..144).map(|i| (i as f32 * 0.7 + shift).sin().abs()).collect();
            Tensor::from_vec(wave, (2, 3, 4, 6), host).unwrap()
        };
        let fourier = Fourier::new([4, 6], host).unwrap();
        let amplitudes = [0.0, 1.0].map(|shift| fourier.spectrum(&values(shift)).unwrap().amplitude);
        map.compare(&amplitudes[0], &amplitudes[1]).unwrap();
        let distance = read(&map.distance).unwrap();
        assert!(distance.iter().all(|distance| *distance > 0.0));
        let probe = map.probe(50, &mut Key::new(3, Purpose::Mixing).rng(), host).unwrap();
        let amplitude = fourier.spectrum(&probe.changes).unwrap().amplitude;
        let planes: Vec<f32> = amplitude.flatten_all().unwrap().to_vec1().unwrap();
        for (plane, amplitude) in planes.chunks(24).enumerate() {
            let frequency = probe.frequencies[plane / 3];
            for (at, amplitude) in amplitude.iter().enumerate() {
                let changed = at == frequency || at == map.opposite(frequency);
                let expected = if changed { distance[frequency] } else { 0.0 };
                assert!((amplitude - expected).abs() < 1e-4, "{frequency}: {at}");
            }
        }
        let distinct: std::collections::HashSet<_> = probe.frequencies.iter().collect();
        assert!(distinct.len() > 15, "{distinct:?}");
    }

    #[test]
    fn means_count_the_first_measurements_alike_and_forget_later() {
        let map = Sensitivity::new([2, 4], 3).unwrap();
        let probe = |frequency| Probe {
            frequencies: vec![frequency],
            changes: Tensor::zeros((1, 3, 2, 4), DType::F32, &Device::Cpu).unwrap(),
        };
        let mut seen = Vec::new();
        for erred in [true, false, true, false] {
            map.learn(&probe(5), [erred]).unwrap();
            seen.push(read(&map.errors).unwrap()[5]);
        }
        let expected = [1.0, 0.5, 2.0 / 3.0, 4.0 / 9.0];
        assert!(seen.iter().zip(expected).all(|(seen, want)| (seen - want).abs() < 1e-6), "{seen:?}");
        // Row 1, column 1 and row 1, column 3 are opposite to each other.
        let whole: Vec<f32> = map.map(&Device::Cpu).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        let expected = [0.0, 0.0, 0.0, 0.0, 0.0, seen[3], 0.0, seen[3]];
        assert_eq!(whole, expected);
        assert!((map.mean().unwrap() - 4.0 / 9.0).abs() < 1e-6);
    }
}
