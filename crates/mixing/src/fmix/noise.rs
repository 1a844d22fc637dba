//! Noise of low frequencies: the grey picture whose brightest pixels an FMix mask keeps.

use std::f64::consts::TAU;

use crate::{Error, Result, Variant};

/// Columns of the noise of a picture `width` pixels wide. An odd width has one more than the transform reads.
pub(super) fn columns(width: usize) -> usize {
    if width.is_multiple_of(2) { width / 2 + 1 } else { width / 2 + 2 }
}

/// The grey picture `[H, W]`, from 0 to 1, of `noise` `[H, columns, 2]`: its amplitudes fall with the frequency to the power
/// `decay_power`.
///
/// # Errors
/// If the noise isn't that of a picture of `size`, or there are too few rows for the variant.
pub(super) fn grey(noise: &[f64], size: [usize; 2], decay_power: f64, variant: Variant) -> Result<Vec<f64>> {
    let [height, width] = size;
    let shape = |expected| Error::Shape { what: "pictures", got: size.to_vec(), expected };
    if noise.is_empty() || noise.len() != 2 * height * columns(width) {
        return Err(shape(format!("the size that {} numbers of noise were drawn for", noise.len())));
    }
    let decayed = |row: usize, column: usize, part: usize| {
        noise[(row * columns(width) + column) * 2 + part] * decay(row, column, size, decay_power)
    };
    // The transform of a real picture is known by its first half.
    let half = width / 2 + 1;
    let spectrum = match variant {
        Variant::Paper => {
            Spectrum::new(height, half, |row, column| [0, 1].map(|part| decayed(row, column, part)))
        }
        // Published code reads the axes of its noise as (part, row, column), where they are (row, column, part).
        Variant::Reference if height >= 2 => {
            Spectrum::new(columns(width).min(height), half.min(2), |row, column| {
                [0, 1].map(|part| decayed(part, row, column))
            })
        }
        Variant::Reference => return Err(shape("at least 2 rows for the published FMix".to_owned())),
    };
    Ok(stretched(spectrum.inverse(size)))
}

/// What the noise of a frequency is multiplied with.
fn decay(row: usize, column: usize, [height, width]: [usize; 2], power: f64) -> f64 {
    let row = row.min(height - row) as f64 / height as f64;
    // The surplus column of an odd width repeats the one before it.
    let column = column.min(width - column) as f64 / width as f64;
    row.hypot(column).max(1.0 / height.max(width) as f64).powf(-power)
}

/// The values, moved to between 0 and 1; all 0 if they are the same.
fn stretched(mut values: Vec<f64>) -> Vec<f64> {
    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
    let range = values.iter().copied().fold(f64::NEG_INFINITY, f64::max) - low;
    values.iter_mut().for_each(|value| *value = if range > 0.0 { (*value - low) / range } else { 0.0 });
    values
}

/// The first columns, and the first rows, of a transformed picture; what isn't there is 0.
struct Spectrum {
    columns: usize,
    real: Vec<f64>,
    imaginary: Vec<f64>,
}

impl Spectrum {
    /// `value(row, column)` is a complex number.
    fn new(rows: usize, columns: usize, value: impl Fn(usize, usize) -> [f64; 2]) -> Self {
        let values = (0..rows).flat_map(|row| (0..columns).map(move |column| (row, column)));
        let (real, imaginary) = values.map(|(row, column)| value(row, column).into()).unzip();
        Self { columns, real, imaginary }
    }

    /// The inverse real transform, but for a constant factor: a picture of `size`. Direct sums, first along columns and then
    /// along rows, whose inner loops have neither a division nor an index of their own.
    fn inverse(&self, [height, width]: [usize; 2]) -> Vec<f64> {
        let (count, rows) = (self.columns, waves(height));
        let waves = waves(width);
        let table: Vec<Vec<[f64; 2]>> =
            (0..count).map(|column| (0..width).map(|x| waves[column * x % width]).collect()).collect();
        let mut picture = vec![0.0; height * width];
        let (mut real, mut imaginary) = (vec![0.0; count], vec![0.0; count]);
        for (y, picture) in picture.chunks_mut(width).enumerate() {
            real.fill(0.0);
            imaginary.fill(0.0);
            for (row, (a, b)) in self.real.chunks(count).zip(self.imaginary.chunks(count)).enumerate() {
                let [cos, sin] = rows[row * y % height];
                for (((real, imaginary), a), b) in real.iter_mut().zip(&mut imaginary).zip(a).zip(b) {
                    *real += a * cos - b * sin;
                    *imaginary += a * sin + b * cos;
                }
            }
            for (column, table) in table.iter().enumerate() {
                // Every column but the first, and the middle one of an even width, stands for its mirror image too.
                let alone = column == 0 || 2 * column == width;
                let twice = if alone { 1.0 } else { 2.0 };
                let (real, imaginary) = (twice * real[column], twice * imaginary[column]);
                picture.iter_mut().zip(table).for_each(|(x, [cos, sin])| *x += real * cos - imaginary * sin);
            }
        }
        picture
    }
}

/// `[cos, sin]` of `2π i / n`.
fn waves(n: usize) -> Vec<[f64; 2]> {
    (0..n).map(|i| TAU * i as f64 / n as f64).map(|angle| [angle.cos(), angle.sin()]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_frequency_is_one_wave() {
        for [height, width] in [[4, 6], [3, 5]] {
            let wave = Spectrum::new(height, width / 2 + 1, |row, column| {
                if [row, column] == [1, 2] { [0.0, 1.0] } else { [0.0; 2] }
            });
            for (i, got) in wave.inverse([height, width]).into_iter().enumerate() {
                let (y, x) = ((i / width) as f64 / height as f64, (i % width) as f64 / width as f64);
                let want = -2.0 * (TAU * (y + 2.0 * x)).sin();
                assert!((got - want).abs() < 1e-12, "{i}: {got}, not {want}");
            }
        }
    }

    #[test]
    fn amplitudes_fall_with_the_frequency() {
        assert_eq!(decay(0, 0, [8, 8], 3.0), 512.0);
        assert_eq!(decay(6, 0, [8, 8], 3.0), 64.0);
        assert_eq!(decay(0, 3, [5, 5], 1.0), decay(0, 2, [5, 5], 1.0));
    }

    #[test]
    fn pictures_without_a_frequency_are_flat_or_an_error() {
        let flat = grey(&[1.0; 4], [1, 1], 3.0, Variant::Paper).unwrap();
        assert_eq!(flat, [0.0]);
        let message = |size, variant| grey(&[1.0; 4], size, 3.0, variant).unwrap_err().to_string();
        let rows = message([1, 1], Variant::Reference);
        assert_eq!(rows, "pictures [1, 1], expected at least 2 rows for the published FMix");
        assert!(message([4, 4], Variant::Paper).contains("4 numbers of noise"));
    }
}
