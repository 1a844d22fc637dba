//! Contrast, elastic transform, pixelate, JPEG compression and saturate.

use rand::Rng;

use super::colour::{hsv, rgb};
use super::field::{Border, Field};
use super::jpeg::recompressed;
use crate::CHANNELS;

/// The side of the pictures whose lengths the published tables give.
const PUBLISHED_SIDE: usize = 32;

/// A digital corruption with its draws.
#[derive(Clone, Debug, PartialEq)]
pub enum Digital {
    /// Each channel is drawn towards its mean.
    Contrast {
        /// What is left of the distance.
        factor: f64,
    },
    /// An affine map, and a smooth displacement of every pixel.
    Elastic(Elastic),
    /// Made smaller and larger again.
    Pixelate {
        /// Height and width in between.
        size: [usize; 2],
    },
    /// Through a JPEG file.
    Jpeg {
        /// Its quality, from 1 to 100.
        quality: usize,
    },
    /// The saturation `s` of hue, saturation and value becomes `factor s + offset`.
    Saturate {
        /// Times this.
        factor: f64,
        /// Plus this.
        offset: f64,
    },
}

/// An elastic transform with its draws; lengths in pixels, points as (row, column).
#[derive(Clone, Debug, PartialEq)]
pub struct Elastic {
    /// By how much each of three points is moved.
    pub moves: [[f64; 2]; 3],
    /// The displacement's noise between -1 and 1, `[H, W]`.
    pub noise: Vec<[f64; 2]>,
    /// Standard deviation of the Gaussian that smooths it.
    pub deviation: f64,
    /// What it is multiplied by.
    pub amplitude: f64,
}

impl Digital {
    pub(super) fn contrast(level: usize) -> Self {
        Self::Contrast { factor: [0.75, 0.5, 0.4, 0.3, 0.15][level] }
    }

    pub(super) fn elastic(level: usize, [height, width]: [usize; 2], rng: &mut impl Rng) -> Self {
        let table =
            [[0.0, 0.0, 2.56], [1.6, 6.4, 2.24], [2.56, 1.92, 1.92], [3.2, 1.28, 1.6], [3.2, 0.96, 0.96]];
        let scale = height.min(width) as f64 / PUBLISHED_SIDE as f64;
        let [amplitude, deviation, reach] = table[level].map(|length| length * scale);
        let mut uniform = |reach: f64| reach * (2.0 * rng.random::<f64>() - 1.0);
        let moves = std::array::from_fn(|_| std::array::from_fn(|_| uniform(reach)));
        let noise = (0..height * width).map(|_| [uniform(1.0), uniform(1.0)]).collect();
        Self::Elastic(Elastic { moves, noise, deviation, amplitude })
    }

    pub(super) fn pixelate(level: usize, size: [usize; 2]) -> Self {
        let side = [30, 28, 27, 24, 20][level];
        Self::Pixelate { size: size.map(|length| (length * side / PUBLISHED_SIDE).max(1)) }
    }

    pub(super) fn jpeg(level: usize) -> Self {
        Self::Jpeg { quality: [80, 65, 58, 50, 40][level] }
    }

    pub(super) fn saturate(level: usize) -> Self {
        let (factor, offset) = [(0.3, 0.0), (0.1, 0.0), (1.5, 0.0), (2.0, 0.1), (2.5, 0.2)][level];
        Self::Saturate { factor, offset }
    }

    /// Bytes to bytes.
    pub(super) fn apply(&self, bytes: &Field<CHANNELS>) -> Field<CHANNELS> {
        match self {
            Self::Contrast { factor } => contrast(&bytes.unit(), *factor).bytes(),
            Self::Elastic(elastic) => elastic.apply(&bytes.unit()).bytes(),
            Self::Pixelate { size } => boxed(&boxed(bytes, *size), bytes.size()),
            Self::Jpeg { quality } => recompressed(bytes, *quality),
            Self::Saturate { factor, offset } => {
                let saturated = |pixel| {
                    let [hue, saturation, value] = hsv(pixel);
                    rgb([hue, (factor * saturation + offset).clamp(0.0, 1.0), value])
                };
                bytes.unit().map(saturated).bytes()
            }
        }
    }
}

fn contrast(unit: &Field<CHANNELS>, factor: f64) -> Field<CHANNELS> {
    let count = unit.values.len().max(1) as f64;
    let mean = [0, 1, 2].map(|c| unit.values.iter().map(|pixel| pixel[c]).sum::<f64>() / count);
    unit.map(|pixel| [0, 1, 2].map(|c| (pixel[c] - mean[c]) * factor + mean[c]))
}

/// Another size under a box filter, whose two passes give bytes.
fn boxed(bytes: &Field<CHANNELS>, [height, width]: [usize; 2]) -> Field<CHANNELS> {
    let round = |pixel: [f64; CHANNELS]| pixel.map(|value| (value + 0.5).floor());
    let columns = box_taps(bytes.width, width);
    let mean = |taps: &std::ops::Range<usize>, at: &dyn Fn(usize) -> [f64; CHANNELS]| {
        let sum =
            taps.clone().map(at).fold([0.0; CHANNELS], |sum, pixel| [0, 1, 2].map(|c| sum[c] + pixel[c]));
        round(sum.map(|sum| sum / taps.len() as f64))
    };
    let across = Field::new([bytes.height, width], |y, x| mean(&columns[x], &|from| bytes.at(y, from)));
    let rows = box_taps(bytes.height, height);
    Field::new([height, width], |y, x| mean(&rows[y], &|from| across.at(from, x)))
}

/// For each pixel of a line of `to`, those of a line of `from` whose middles are in its box.
fn box_taps(from: usize, to: usize) -> Vec<std::ops::Range<usize>> {
    let scale = from as f64 / to as f64;
    let reach = 0.5 * scale.max(1.0);
    let taps = |at: usize| {
        let centre = (at as f64 + 0.5) * scale;
        let inside = |&tap: &usize| {
            let off = tap as f64 + 0.5 - centre;
            -reach < off && off <= reach
        };
        let near = ((centre - reach) as usize).saturating_sub(1)..((centre + reach) as usize + 2).min(from);
        let first = near.clone().find(inside).unwrap_or(near.start);
        first..near.clone().rfind(inside).map_or(first + 1, |last| last + 1)
    };
    (0..to).map(taps).collect()
}

impl Elastic {
    fn apply(&self, unit: &Field<CHANNELS>) -> Field<CHANNELS> {
        let [height, width] = unit.size();
        let source = self.affine([height, width]);
        let moved = Field::new([height, width], |y, x| {
            let [row, column] = source([y as f64, x as f64]);
            unit.between(row, column, Border::Mirror)
        });
        let noise = Field::new([height, width], |y, x| self.noise[y * width + x]);
        let smooth = noise.gaussian(self.deviation, 3.0, Border::Repeat);
        Field::new([height, width], |y, x| {
            let [down, right] = smooth.at(y, x).map(|shift| shift * self.amplitude);
            moved.between(y as f64 + down, x as f64 + right, Border::Repeat)
        })
    }

    /// From where the affine map takes a pixel: the map that moves three points of the middle by `moves`, inverted. A
    /// picture too small for three points, or three that fall on a line, leave pixels where they are.
    fn affine(&self, size: [usize; 2]) -> impl Fn([f64; 2]) -> [f64; 2] + use<> {
        let [row, column] = size.map(|length| (length / 2) as f64);
        let arm = (size[0].min(size[1]) / 3) as f64;
        let before = [[row + arm, column + arm], [row - arm, column + arm], [row - arm, column - arm]];
        let after: [[f64; 2]; 3] =
            std::array::from_fn(|point| [0, 1].map(|axis| before[point][axis] + self.moves[point][axis]));
        let edge = |points: &[[f64; 2]; 3], to: usize| [0, 1].map(|axis| points[to][axis] - points[0][axis]);
        let [first, second] = [1, 2].map(|to| edge(&after, to));
        let [from_first, from_second] = [1, 2].map(|to| edge(&before, to));
        let determinant = first[0] * second[1] - first[1] * second[0];
        move |point: [f64; 2]| {
            if determinant.abs() < 1e-9 {
                return point;
            }
            // The point in terms of the moved triangle's two edges; before the move those terms were the same.
            let [down, right] = [0, 1].map(|axis| point[axis] - after[0][axis]);
            let along_first = (down * second[1] - right * second[0]) / determinant;
            let along_second = (first[0] * right - first[1] * down) / determinant;
            [0, 1].map(|axis| {
                before[0][axis] + along_first * from_first[axis] + along_second * from_second[axis]
            })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_affine_map_moves_what_its_points_move() {
        let picture = Field::new([32, 32], |y, x| [y as f64, x as f64, 0.0]);
        let elastic =
            |moves, amplitude| Elastic { moves, noise: vec![[0.5, -0.5]; 1024], deviation: 1.0, amplitude };
        // All points down by 2 and right by 1: so is the picture.
        let after = elastic([[2.0, 1.0]; 3], 0.0).apply(&picture);
        let [y, x, _] = after.at(20, 9);
        assert!((y - 18.0).abs() < 1e-9 && (x - 8.0).abs() < 1e-9, "{y} {x}");
        // One point alone moves itself.
        let after = elastic([[0.0, 0.0], [0.0, 1.5], [0.0, 0.0]], 0.0).affine([32, 32]);
        let [y, x] = after([6.0, 27.5]);
        assert!((y - 6.0).abs() < 1e-9 && (x - 26.0).abs() < 1e-9, "{y} {x}");
        // The noise displaces: from half a pixel further down and left.
        let after = elastic([[0.0; 2]; 3], 1.0).apply(&picture);
        let [y, x, _] = after.at(10, 10);
        assert!((y - 10.5).abs() < 1e-9 && (x - 9.5).abs() < 1e-9, "{y} {x}");
    }

    #[test]
    fn boxes_cover_each_pixel() {
        assert_eq!(box_taps(4, 2), [0..2, 2..4]);
        assert_eq!(box_taps(2, 4), [0..1, 0..1, 1..2, 1..2]);
        for (from, to) in [(32, 30), (30, 32), (32, 20), (20, 32), (1, 1), (5, 1), (1, 5)] {
            assert!(
                box_taps(from, to).iter().all(|taps| !taps.is_empty() && taps.end <= from),
                "{from} {to}"
            );
        }
    }
}
