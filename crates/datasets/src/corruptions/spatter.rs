//! Drops of water or mud on the lens.

use rand::Rng;

use super::field::{Border, Field};
use super::noise::normal;
use crate::CHANNELS;

/// Spatter with its draws.
#[derive(Clone, Debug, PartialEq)]
pub struct Spatter {
    /// The liquid before it is smoothed, `[H, W]`.
    pub layer: Vec<f64>,
    /// Standard deviation of the Gaussian that smooths it, in pixels.
    pub blur: f64,
    /// Below this there is no liquid.
    pub threshold: f64,
    /// Which liquid.
    pub liquid: Liquid,
}

/// What the drops are of.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Liquid {
    /// Water: added to the picture.
    Water {
        /// Its share where it is brightest.
        strength: f64,
    },
    /// Mud: covers the picture.
    Mud {
        /// Standard deviation of the Gaussian that softens its edge, in pixels.
        blur: f64,
    },
}

/// Pale turquoise, and brown.
const WATER: [f64; CHANNELS] = [175.0 / 255.0, 238.0 / 255.0, 238.0 / 255.0];
const MUD: [f64; CHANNELS] = [63.0 / 255.0, 42.0 / 255.0, 20.0 / 255.0];

impl Spatter {
    pub(super) fn draw(level: usize, [height, width]: [usize; 2], rng: &mut impl Rng) -> Self {
        let [mean, deviation, blur, threshold, strength] = [
            [0.62, 0.1, 0.7, 0.7, 0.5],
            [0.65, 0.1, 0.8, 0.7, 0.5],
            [0.65, 0.3, 1.0, 0.69, 0.5],
            [0.65, 0.1, 0.7, 0.69, 0.6],
            [0.65, 0.1, 0.5, 0.68, 0.6],
        ][level];
        let liquid = if level < 3 { Liquid::Water { strength } } else { Liquid::Mud { blur: strength } };
        let layer = normal(height * width, rng).iter().map(|n| mean + deviation * n).collect();
        Self { layer, blur, threshold, liquid }
    }

    pub(super) fn apply(&self, unit: &Field<CHANNELS>) -> Field<CHANNELS> {
        let width = unit.width;
        let layer = Field::new(unit.size(), |y, x| [self.layer[y * width + x]]);
        let drops = layer
            .gaussian(self.blur, 4.0, Border::Edge)
            .map(|[v]| [if v < self.threshold { 0.0 } else { v }]);
        let (share, colour, covers) = match self.liquid {
            Liquid::Water { strength } => (water(&drops, strength), WATER, 0.0),
            Liquid::Mud { blur } => (mud(&drops, self.threshold, blur), MUD, 1.0),
        };
        Field::new(unit.size(), |y, x| {
            let (pixel, [share]) = (unit.at(y, x), share.at(y, x));
            [0, 1, 2].map(|c| pixel[c] * (1.0 - covers * share) + share * colour[c])
        })
    }
}

fn mud(drops: &Field<1>, threshold: f64, blur: f64) -> Field<1> {
    let covered = drops.map(|[value]| [f64::from(u8::from(value > threshold))]);
    covered.gaussian(blur, 4.0, Border::Edge).map(|[share]| [if share < 0.8 { 0.0 } else { share }])
}

/// The light on water: how far a place is from the drops' edges, made flat and sharpened towards one side.
fn water(drops: &Field<1>, strength: f64) -> Field<1> {
    const LIGHT: [[f64; 3]; 3] = [[-2.0, -1.0, 0.0], [-1.0, 1.0, 1.0], [0.0, 1.0, 2.0]];
    let square = |weight: fn(usize, usize) -> f64| -> Vec<(isize, isize, f64)> {
        (0..9).map(|at| (at as isize / 3 - 1, at as isize % 3 - 1, weight(at / 3, at % 3))).collect()
    };
    let (light, ones) = (square(|y, x| LIGHT[y][x]), square(|_, _| 1.0));
    let mean = |bytes: Field<1>| bytes.filtered(&ones, Border::Mirror).map(|[sum]| [sum / 9.0]);
    // OpenCV rounds and cuts off the results of its filters where they are bytes.
    let byte = |[value]: [f64; 1]| [value.round_ties_even().clamp(0.0, 255.0)];
    let drops = drops.map(|[value]| [(value * 255.0).clamp(0.0, 255.0).floor()]);
    let distance = distance(&edges(&drops)).map(|[value]| [value.min(20.0)]);
    let flat = equalized(&mean(distance).map(|[value]| [value.floor()]));
    let lit = mean(flat.filtered(&light, Border::Mirror).map(byte)).map(byte);
    let shine = Field::new(drops.size(), |y, x| [drops.at(y, x)[0] * lit.at(y, x)[0]]);
    let brightest = shine.values.iter().fold(0.0, |brightest: f64, [value]| brightest.max(*value));
    shine.map(|[value]| [if brightest > 0.0 { strength * value / brightest } else { 0.0 }])
}

/// Canny's edges (Sobel, |dx| + |dy|, thresholds 50 and 150).
fn edges(bytes: &Field<1>) -> Field<1> {
    let (height, width) = (bytes.height, bytes.width);
    let slopes = bytes_slopes(bytes);
    let magnitude = |y: isize, x: isize| {
        let inside = (0..height as isize).contains(&y) && (0..width as isize).contains(&x);
        if inside { slopes.at(y as usize, x as usize).iter().map(|slope| slope.abs()).sum() } else { 0.0 }
    };
    // Whether a place is the crest along its slope, and how strong.
    let crest = |y: isize, x: isize| -> f64 {
        let [right, down] = slopes.at(y as usize, x as usize);
        let own = magnitude(y, x);
        let steep = down.abs() / right.abs().max(1e-12);
        let is_crest = if steep < 22.5f64.to_radians().tan() {
            own > magnitude(y, x - 1) && own >= magnitude(y, x + 1)
        } else if steep > 67.5f64.to_radians().tan() {
            own > magnitude(y - 1, x) && own >= magnitude(y + 1, x)
        } else {
            let side = if (right < 0.0) == (down < 0.0) { 1 } else { -1 };
            own > magnitude(y - 1, x - side) && own > magnitude(y + 1, x + side)
        };
        if is_crest { own } else { 0.0 }
    };
    let crests = Field::new([height, width], |y, x| [crest(y as isize, x as isize)]);
    let mut edges = crests.map(|[value]| [f64::from(u8::from(value > 150.0))]);
    let mut ends: Vec<usize> = (0..height * width).filter(|&at| edges.values[at][0] > 0.0).collect();
    // Weaker crests are edges if they go on from one.
    while let Some(end) = ends.pop() {
        let (y, x) = (end / width, end % width);
        for row in y.saturating_sub(1)..(y + 2).min(height) {
            for column in x.saturating_sub(1)..(x + 2).min(width) {
                let at = row * width + column;
                if edges.values[at][0] == 0.0 && crests.values[at][0] > 50.0 {
                    edges.values[at][0] = 1.0;
                    ends.push(at);
                }
            }
        }
    }
    edges
}

/// Sobel's slopes to the right and down.
fn bytes_slopes(bytes: &Field<1>) -> Field<2> {
    Field::new(bytes.size(), |y, x| {
        let at =
            |down: isize, right: isize| bytes.outside(y as isize + down, x as isize + right, Border::Edge)[0];
        let across = |side: isize| at(-1, side) + 2.0 * at(0, side) + at(1, side);
        let along = |side: isize| at(side, -1) + 2.0 * at(side, 0) + at(side, 1);
        [across(1) - across(-1), along(1) - along(-1)]
    })
}

/// The distance to the nearest edge in steps of 1, 1.4 (diagonal) and 2.1969 (a knight's), as OpenCV's 5 × 5 mask has it.
fn distance(edges: &Field<1>) -> Field<1> {
    const BACK: [(isize, isize, f64); 8] = [
        (0, -1, 1.0),
        (-1, 0, 1.0),
        (-1, -1, 1.4),
        (-1, 1, 1.4),
        (-1, -2, 2.1969),
        (-1, 2, 2.1969),
        (-2, -1, 2.1969),
        (-2, 1, 2.1969),
    ];
    let (height, width) = (edges.height, edges.width);
    let mut distance = edges.map(|[edge]| [if edge > 0.0 { 0.0 } else { f64::from(u16::MAX) }]);
    let mut relax = |at: usize, direction: isize| {
        let (y, x) = ((at / width) as isize, (at % width) as isize);
        for (down, right, length) in BACK {
            let (row, column) = (y + direction * down, x + direction * right);
            if (0..height as isize).contains(&row) && (0..width as isize).contains(&column) {
                let through = distance.at(row as usize, column as usize)[0] + length;
                distance.values[at][0] = distance.values[at][0].min(through);
            }
        }
    };
    (0..height * width).for_each(|at| relax(at, 1));
    (0..height * width).rev().for_each(|at| relax(at, -1));
    distance
}

/// Bytes whose histogram is made flat as OpenCV does: the lowest becomes 0, the highest 255.
fn equalized(bytes: &Field<1>) -> Field<1> {
    let mut histogram = [0usize; 256];
    bytes.values.iter().for_each(|[value]| histogram[*value as usize] += 1);
    let lowest = histogram.iter().position(|count| *count > 0).unwrap_or(0);
    let above = bytes.values.len() - histogram[lowest];
    if above == 0 {
        return bytes.clone();
    }
    let mut sum = 0;
    let table: Vec<f64> = (0..256)
        .map(|byte| {
            sum += if byte > lowest { histogram[byte] } else { 0 };
            (sum as f64 * 255.0 / above as f64).round_ties_even()
        })
        .collect();
    bytes.map(|[value]| [table[value as usize]])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_square_has_one_edge_around_it() {
        let square = Field::new([12, 12], |y, x| {
            [if (3..9).contains(&y) && (3..9).contains(&x) { 200.0 } else { 0.0 }]
        });
        let edges = edges(&square);
        // Somewhere between outside and inside each row crosses two edges.
        for y in 4..8 {
            let row: Vec<usize> = (0..12).filter(|&x| edges.at(y, x)[0] > 0.0).collect();
            assert!(matches!(row[..], [2 | 3, 8 | 9]), "{y}: {row:?}");
        }
        assert_eq!(edges.at(6, 6), [0.0]);
        let distance = distance(&edges);
        assert!(distance.at(6, 6)[0] >= 2.0 && distance.at(0, 0)[0] > 2.0);
        // Nothing to see has no edge, and is far from it.
        let empty = Field::new([3, 3], |_, _| [0.0]);
        assert_eq!(water(&empty, 0.5), empty);
    }

    #[test]
    fn distances_are_those_of_the_mask() {
        let mut edges = Field::new([5, 6], |_, _| [0.0]);
        edges.values[0] = [1.0];
        let distance = distance(&edges);
        assert_eq!([distance.at(0, 3)[0], distance.at(2, 2)[0], distance.at(1, 2)[0]], [3.0, 2.8, 2.1969]);
    }

    #[test]
    fn equalising_spreads_bytes() {
        let bytes = Field { height: 1, width: 4, values: vec![[7.0], [9.0], [9.0], [30.0]] };
        assert_eq!(equalized(&bytes).values, [[0.0], [170.0], [170.0], [255.0]]);
        let flat = Field::new([2, 2], |_, _| [9.0]);
        assert_eq!(equalized(&flat), flat);
    }

    #[test]
    fn mud_covers_and_water_adds() {
        let grey = Field::new([4, 4], |_, _| [0.5; 3]);
        let full = |liquid| Spatter { layer: vec![1.0; 16], blur: 0.7, threshold: 0.7, liquid };
        let covered = full(Liquid::Mud { blur: 0.5 }).apply(&grey);
        assert!(covered.values.iter().flatten().zip(MUD.iter().cycle()).all(|(a, b)| (a - b).abs() < 1e-9));
        let dry = Spatter { layer: vec![0.0; 16], ..full(Liquid::Water { strength: 0.5 }) };
        assert_eq!(dry.apply(&grey), grey);
    }
}
