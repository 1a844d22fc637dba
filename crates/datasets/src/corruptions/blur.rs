//! Gaussian blur, glass blur, defocus blur, motion blur and zoom blur.

use rand::Rng;

use super::field::{Border, Field, gaussian_taps};
use crate::CHANNELS;

/// A blur with its draws; lengths are in pixels.
#[derive(Clone, Debug, PartialEq)]
pub enum Blur {
    /// A Gaussian.
    Gaussian {
        /// Its standard deviation.
        deviation: f64,
    },
    /// Pixels are copied from near by, between two Gaussian blurs.
    Glass {
        /// The Gaussians' standard deviation.
        deviation: f64,
        /// How far a pixel comes from, at most.
        reach: usize,
        /// For each pass, row by row from the last, from where a pixel is copied: columns to the right and rows down.
        shifts: Vec<[isize; 2]>,
    },
    /// A disk with a soft edge.
    Defocus {
        /// The disk's radius.
        radius: f64,
        /// Standard deviation of the Gaussian that smooths it.
        deviation: f64,
    },
    /// Along a line.
    Motion {
        /// Half the line's length.
        radius: f64,
        /// Standard deviation of the half Gaussian along it.
        deviation: f64,
        /// The line's angle in degrees.
        angle: f64,
    },
    /// The mean of the picture and of its enlargements by 1, 1.01, 1.02 …
    Zoom {
        /// How often it is enlarged further.
        steps: usize,
    },
}

impl Blur {
    pub(super) fn gaussian(level: usize) -> Self {
        Self::Gaussian { deviation: [0.4, 0.6, 0.7, 0.8, 1.0][level] }
    }

    pub(super) fn glass(level: usize, size: [usize; 2], rng: &mut impl Rng) -> Self {
        let (deviation, reach, passes) =
            [(0.05, 1, 1), (0.25, 1, 1), (0.4, 1, 1), (0.25, 1, 2), (0.4, 1, 2)][level];
        let [rows, columns] = size.map(|length| length.saturating_sub(2 * reach));
        let far = reach as i32;
        let mut shift = || [(); 2].map(|()| rng.random_range(-far..far) as isize);
        let shifts = (0..passes * rows * columns).map(|_| shift()).collect();
        Self::Glass { deviation, reach, shifts }
    }

    pub(super) fn defocus(level: usize) -> Self {
        let (radius, deviation) = [(0.3, 0.4), (0.4, 0.5), (0.5, 0.6), (1.0, 0.2), (1.5, 0.1)][level];
        Self::Defocus { radius, deviation }
    }

    pub(super) fn motion(level: usize, rng: &mut impl Rng) -> Self {
        let (radius, deviation) = [(6.0, 1.0), (6.0, 1.5), (6.0, 2.0), (8.0, 2.0), (9.0, 2.5)][level];
        Self::Motion { radius, deviation, angle: rng.random_range(-45.0..45.0) }
    }

    pub(super) fn zoom(level: usize) -> Self {
        Self::Zoom { steps: [6, 11, 15, 20, 25][level] }
    }

    /// Bytes to bytes.
    pub(super) fn apply(&self, bytes: &Field<CHANNELS>) -> Field<CHANNELS> {
        match self {
            Self::Gaussian { deviation } => gaussian(bytes, *deviation),
            Self::Glass { deviation, reach, shifts } => {
                let blurred =
                    gaussian(bytes, *deviation).map(|pixel| pixel.map(|value| f64::from(value as u8)));
                gaussian(&shuffled(blurred, *reach, shifts), *deviation)
            }
            Self::Defocus { radius, deviation } => {
                bytes.unit().filtered(&disk(*radius, *deviation), Border::Mirror).bytes()
            }
            // It works on bytes, and its result is bytes.
            Self::Motion { radius, deviation, angle } => {
                bytes.motion_blurred(*radius, *deviation, *angle).map(|pixel| pixel.map(f64::round))
            }
            Self::Zoom { steps } => zoomed(&bytes.unit(), *steps).bytes(),
        }
    }
}

fn gaussian(bytes: &Field<CHANNELS>, deviation: f64) -> Field<CHANNELS> {
    bytes.unit().gaussian(deviation, 4.0, Border::Edge).bytes()
}

/// Copies pixels from near by, one after the other: a pixel that has been changed may be copied on. The published
/// program means to swap two pixels, but copies one.
fn shuffled(mut field: Field<CHANNELS>, reach: usize, shifts: &[[isize; 2]]) -> Field<CHANNELS> {
    let [rows, columns] = field.size().map(|length| reach + 1..=length.saturating_sub(reach));
    let places = || rows.clone().rev().flat_map(|y| columns.clone().rev().map(move |x| (y, x)));
    let a_pass = places().count().max(1);
    for pass in shifts.chunks(a_pass) {
        for ((y, x), &[right, down]) in places().zip(pass) {
            let from = [y.saturating_add_signed(down), x.saturating_add_signed(right)];
            field.values[y * field.width + x] = field.at(from[0], from[1]);
        }
    }
    field
}

/// The pixels of a disk with equal weights, under a Gaussian of 3 × 3.
fn disk(radius: f64, deviation: f64) -> Vec<(isize, isize, f64)> {
    let reach = radius.floor() as isize;
    let inside = |y: isize, x: isize| ((y * y + x * x) as f64) <= radius * radius;
    let square = |reach: isize| (-reach..=reach).flat_map(move |y| (-reach..=reach).map(move |x| (y, x)));
    let count = square(reach).filter(|&(y, x)| inside(y, x)).count() as f64;
    let taps = gaussian_taps(deviation, 1);
    let weight = |y: isize, x: isize| -> f64 {
        let near =
            taps.iter().flat_map(|&(down, a)| taps.iter().map(move |&(right, b)| (down, right, a * b)));
        near.filter(|&(down, right, _)| inside(y + down, x + right))
            .map(|(_, _, weight)| weight / count)
            .sum()
    };
    square(reach + 1).map(|(y, x)| (y, x, weight(y, x))).collect()
}

fn zoomed(unit: &Field<CHANNELS>, steps: usize) -> Field<CHANNELS> {
    // Slightly more than 0.01, which decides the size of the last zoom of severity 5.
    let step = (1.0 + 0.01) - 1.0;
    let mut sum = unit.clone();
    for index in 0..=steps {
        let zoomed = unit.zoomed(1.0 + index as f64 * step);
        let pairs = sum.values.as_flattened_mut().iter_mut().zip(zoomed.values.as_flattened());
        pairs.for_each(|(sum, value)| *sum += value);
    }
    sum.map(|pixel| pixel.map(|value| value / (steps + 2) as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glass_copies_and_does_not_swap() {
        // Rows and columns 2 and 3 of 4 are changed, from the last; all take the pixel above.
        let rows = Field::new([4, 4], |y, _| [y as f64; 3]);
        let after = shuffled(rows.clone(), 1, &[[0, -1]; 4]);
        let column: Vec<f64> = (0..4).map(|y| after.at(y, 2)[0]).collect();
        assert_eq!(column, [0.0, 1.0, 1.0, 2.0]);
        assert_eq!((0..4).map(|y| after.at(y, 1)[0]).collect::<Vec<_>>(), [0.0, 1.0, 2.0, 3.0]);
        // The second pass goes on with what the first has made.
        let twice = shuffled(rows, 1, &[[0, -1]; 8]);
        assert_eq!((0..4).map(|y| twice.at(y, 2)[0]).collect::<Vec<_>>(), [0.0, 1.0, 1.0, 1.0]);
    }

    #[test]
    fn a_disk_weighs_one() {
        for (radius, taps) in [(0.3, 9), (1.0, 25), (1.5, 25)] {
            let disk = disk(radius, 0.4);
            let sum: f64 = disk.iter().map(|tap| tap.2).sum();
            assert!((sum - 1.0).abs() < 1e-12 && disk.len() == taps, "{radius}: {sum}");
        }
    }
}
