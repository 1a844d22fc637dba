//! What baseline JPEG does to a picture: 4:2:0, the standard tables, and triangle ("fancy") upsampling.
//!
//! The entropy coder between quantising and its inverse loses nothing, so it is left out.

use std::f64::consts::PI;

use super::colour::grey;
use super::field::{Border, Field};
use crate::CHANNELS;

/// Annex K of ITU-T T.81, for quality 50.
const LUMINANCE: [u16; 64] = [
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56, 14, 17,
    22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92, 49, 64, 78,
    87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99,
];
const CHROMINANCE: [u16; 64] = [
    17, 18, 24, 47, 99, 99, 99, 99, 18, 21, 26, 66, 99, 99, 99, 99, 24, 26, 56, 99, 99, 99, 99, 99, 47, 66,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
    99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99, 99,
];

/// Bytes to bytes, at a quality from 1 to 100.
pub(super) fn recompressed(bytes: &Field<CHANNELS>, quality: usize) -> Field<CHANNELS> {
    let luma = bytes.map(|pixel| [grey(pixel).round()]);
    let chroma = bytes.map(|[red, green, blue]| {
        let cb = -0.168_735_892 * red - 0.331_264_108 * green + 0.5 * blue + 128.0;
        let cr = 0.5 * red - 0.418_687_589 * green - 0.081_312_411 * blue + 128.0;
        [byte(cb), byte(cr)]
    });
    let chroma = halved(&chroma);
    let luma = quantised(&luma, &scaled(&LUMINANCE, quality));
    let table = scaled(&CHROMINANCE, quality);
    let blue = quantised(&chroma.map(|[blue, _]| [blue]), &table);
    let red = quantised(&chroma.map(|[_, red]| [red]), &table);
    let (blue, red) = (doubled(&blue, bytes.size()), doubled(&red, bytes.size()));
    Field::new(bytes.size(), |y, x| {
        let ([luma], blue, red) = (luma.at(y, x), blue.at(y, x)[0] - 128.0, red.at(y, x)[0] - 128.0);
        [luma + 1.402 * red, luma - 0.344_136_286 * blue - 0.714_136_286 * red, luma + 1.772 * blue].map(byte)
    })
}

fn byte(value: f64) -> f64 {
    value.round().clamp(0.0, 255.0)
}

/// A table for a quality, as the Independent JPEG Group scales it.
fn scaled(table: &[u16; 64], quality: usize) -> [f64; 64] {
    let quality = quality.clamp(1, 100);
    let percent = if quality < 50 { 5000 / quality } else { 200 - 2 * quality };
    table.map(|step| ((usize::from(step) * percent + 50) / 100).clamp(1, 255) as f64)
}

/// Each 2 × 2 pixels become their mean, rounded down in even columns and up in odd ones.
fn halved<const C: usize>(plane: &Field<C>) -> Field<C> {
    Field::new(plane.size().map(|length| length.div_ceil(2)), |y, x| {
        let mut sum = [(1 + x % 2) as f64; C];
        for (row, column) in [(0, 0), (0, 1), (1, 0), (1, 1)] {
            let pixel = plane.outside((2 * y + row) as isize, (2 * x + column) as isize, Border::Edge);
            sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += value);
        }
        sum.map(|sum| (sum / 4.0).floor())
    })
}

/// A plane of twice the size: each pixel is 9, 3, 3 and 1 sixteenths of the four nearest.
fn doubled(plane: &Field<1>, size: [usize; 2]) -> Field<1> {
    let near = |at: usize| (at / 2) as isize;
    let far = |at: usize| near(at) + if at.is_multiple_of(2) { -1 } else { 1 };
    Field::new(size, |y, x| {
        let column =
            |x| 3.0 * plane.outside(near(y), x, Border::Edge)[0] + plane.outside(far(y), x, Border::Edge)[0];
        let rounding = if x.is_multiple_of(2) { 8.0 } else { 7.0 };
        [((3.0 * column(near(x)) + column(far(x)) + rounding) / 16.0).floor()]
    })
}

/// A plane of which each block of 8 × 8 has been quantised in frequency.
fn quantised(plane: &Field<1>, table: &[f64; 64]) -> Field<1> {
    let basis: [[f64; 8]; 8] = std::array::from_fn(|frequency| {
        let scale = if frequency == 0 { (1.0f64 / 8.0).sqrt() } else { 0.5 };
        std::array::from_fn(|at| scale * ((2 * at + 1) as f64 * frequency as f64 * PI / 16.0).cos())
    });
    let mut result = plane.clone();
    for top in (0..plane.height).step_by(8) {
        for left in (0..plane.width).step_by(8) {
            let value = |y: usize, x: usize| {
                plane.outside((top + y) as isize, (left + x) as isize, Border::Edge)[0] - 128.0
            };
            let block = std::array::from_fn(|y| std::array::from_fn(|x| value(y, x)));
            let mut coefficients = transformed(&block, |frequency, at| basis[frequency][at]);
            for (row, steps) in coefficients.iter_mut().zip(table.chunks_exact(8)) {
                row.iter_mut().zip(steps).for_each(|(value, step)| *value = (*value / step).round() * step);
            }
            let block = transformed(&coefficients, |at, frequency| basis[frequency][at]);
            for (y, row) in block.iter().enumerate().take(plane.height - top) {
                for (x, value) in row.iter().enumerate().take(plane.width - left) {
                    result.values[(top + y) * plane.width + left + x] = [byte(value + 128.0)];
                }
            }
        }
    }
    result
}

/// A matrix times a block times the matrix's transpose.
fn transformed(block: &[[f64; 8]; 8], matrix: impl Fn(usize, usize) -> f64) -> [[f64; 8]; 8] {
    let rows: [[f64; 8]; 8] = std::array::from_fn(|y| {
        std::array::from_fn(|x| (0..8).map(|inner| matrix(y, inner) * block[inner][x]).sum())
    });
    std::array::from_fn(|y| {
        std::array::from_fn(|x| (0..8).map(|inner| rows[y][inner] * matrix(x, inner)).sum())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flat_colours_survive_and_fine_ones_do_not() {
        // An odd size, so that blocks and halves reach beyond the picture.
        let flat = Field::new([19, 5], |_, _| [200.0, 130.0, 40.0]);
        let after = recompressed(&flat, 80);
        let off = |a: &Field<3>, b: &Field<3>| {
            let pairs = a.values.as_flattened().iter().zip(b.values.as_flattened());
            pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f64::max)
        };
        assert!(off(&after, &flat) <= 6.0, "{after:?}");
        // Red and green by turns have the same luma here: half the chroma's resolution mixes them.
        let fine =
            Field::new([16, 16], |_, x| if x % 2 == 0 { [196.0, 0.0, 0.0] } else { [0.0, 100.0, 0.0] });
        assert!(off(&recompressed(&fine, 80), &fine) > 60.0);
    }

    #[test]
    fn tables_scale_as_the_libraries_do() {
        assert_eq!(scaled(&LUMINANCE, 50)[..3], [16.0, 11.0, 10.0]);
        assert_eq!(scaled(&LUMINANCE, 80)[..3], [6.0, 4.0, 4.0]);
        assert_eq!(scaled(&CHROMINANCE, 40)[..3], [21.0, 23.0, 30.0]);
        assert_eq!(scaled(&CHROMINANCE, 1)[63], 255.0);
    }
}
