//! The ice of frost: pictures that the program draws, in place of the published program's photographs.
//!
//! The published corruption lays a window of one of five photographs of frost over a picture. They aren't ours to
//! give, so five pictures of ice are drawn here, always the same: pale blue ground of uneven thickness, and ferns of
//! needles that branch at 60°. Numbers for frost are therefore close to the published ones, not the same.

use std::sync::OnceLock;

use adautomix_random::{Key, Purpose};
use rand::Rng;

use super::field::{Border, Field};
use super::relief::{noise, relief};
use crate::CHANNELS;

/// How many there are.
pub(super) const PHOTOGRAPHS: usize = 5;

/// Their height and width; beyond it they repeat.
pub(super) const SIDE: usize = 256;

/// Ferns in one.
const FERNS: usize = 90;

/// One of the pictures, bytes in red, green and blue.
pub(super) fn photograph(index: usize) -> &'static Field<CHANNELS> {
    static DRAWN: [OnceLock<Field<CHANNELS>>; PHOTOGRAPHS] = [const { OnceLock::new() }; PHOTOGRAPHS];
    DRAWN[index % PHOTOGRAPHS].get_or_init(|| draw(index % PHOTOGRAPHS))
}

fn draw(index: usize) -> Field<CHANNELS> {
    let mut rng = Key::new(0, Purpose::Corruption).sample(index).rng();
    // From sheets with few ferns to dark glass with many.
    let ground = relief(&noise(SIDE, &mut rng), SIDE, 1.8);
    let mut ice = ground.map(|[height]| [0.25 + 0.45 * (1.0 - (2.0 * height - 1.0).abs())]);
    for _ in 0..FERNS {
        let start = [rng.random_range(0.0..SIDE as f64), rng.random_range(0.0..SIDE as f64)];
        let (angle, length) = (rng.random_range(0.0..360.0), rng.random_range(12.0..45.0));
        needle(&mut ice, start, angle, length, 0.5);
    }
    let soft = ice.gaussian(0.6, 4.0, Border::Repeat);
    soft.map(|[value]| [0.82, 0.93, 1.0].map(|tint| (255.0 * tint * value.min(1.0)).round()))
}

/// A line of ice from `start` (row, column), which thins out and bears smaller ones on both sides.
fn needle(ice: &mut Field<1>, start: [f64; 2], angle: f64, length: f64, bright: f64) {
    let (down, right) = f64::to_radians(angle).sin_cos();
    for step in 0..length as usize {
        let left = 1.0 - step as f64 / length;
        let [y, x] = [start[0] + step as f64 * down, start[1] + step as f64 * right];
        let [row, column] = [y, x].map(|at| at.rem_euclid(SIDE as f64) as usize % SIDE);
        ice.values[row * SIDE + column][0] += bright * left;
        if step % 4 == 3 && length > 6.0 {
            for side in [-60.0, 60.0] {
                needle(ice, [y, x], angle + side, 0.4 * left * length, 0.7 * bright);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pictures_are_ice_and_differ() {
        for index in 0..PHOTOGRAPHS {
            let ice = photograph(index);
            let red: Vec<f64> = ice.values.iter().map(|pixel| pixel[0]).collect();
            let mean = red.iter().sum::<f64>() / red.len() as f64;
            let spread = (red.iter().map(|r| (r - mean).powi(2)).sum::<f64>() / red.len() as f64).sqrt();
            assert!((70.0..190.0).contains(&mean) && spread > 20.0, "{index}: {mean} ± {spread}");
            assert!(ice.values.iter().all(|pixel| pixel.iter().all(|v| (0.0..=255.0).contains(v))));
            assert_ne!(ice, photograph(index + 1));
        }
    }
}
