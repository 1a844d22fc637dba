//! Pictures turned, moved and sheared, as Pillow's `transform` computes them.

use crate::{CHANNELS, Interpolation, Picture};

/// Takes each pixel from where `[a, b, c, d, e, f]` says: row `d x + e y + f`, column `a x + b y + c` of its middle. What
/// lies outside of the picture is `fill`.
pub(super) fn affine(
    picture: &mut Picture,
    matrix: [f64; 6],
    fill: [u8; CHANNELS],
    interpolation: Option<Interpolation>,
    spare: &mut Vec<u8>,
) {
    std::mem::swap(&mut picture.pixels, spare);
    let (height, width, source) = (picture.height, picture.width, spare.as_slice());
    picture.pixels.resize(source.len(), 0);
    for (y, line) in picture.pixels.chunks_exact_mut((width * CHANNELS).max(1)).enumerate() {
        let pixels = line.chunks_exact_mut(CHANNELS).enumerate();
        match interpolation {
            None => {
                let nearest = Nearest::new(matrix);
                pixels.for_each(|(x, pixel)| {
                    let from = nearest.index(x, y, [height, width]);
                    pixel.copy_from_slice(from.map_or(&fill, |at| &source[at..][..CHANNELS]));
                });
            }
            Some(interpolation) => {
                let [a, b, c, d, e, f] = matrix;
                pixels.for_each(|(x, pixel)| {
                    let (x, y) = (x as f64 + 0.5, y as f64 + 0.5);
                    let at = [d * x + e * y + f, a * x + b * y + c];
                    let found = between(source, [height, width], at, interpolation);
                    pixel.copy_from_slice(&found.unwrap_or(fill));
                });
            }
        }
    }
}

/// The matrix of a turn about the middle of a picture, in degrees, anticlockwise.
pub(super) fn rotate(degrees: f64, [height, width]: [f64; 2]) -> [f64; 6] {
    // To fifteen digits, as Pillow rounds them.
    let rounded = |number: f64| (number * 1e15).round() / 1e15;
    let (sin, cos) = (-degrees.rem_euclid(360.0)).to_radians().sin_cos();
    let (sin, cos) = (rounded(sin), rounded(cos));
    let [x, y] = [width / 2.0, height / 2.0];
    [cos, sin, cos * -x + sin * -y + x, -sin, cos, -sin * -x + cos * -y + y]
}

/// The nearest pixel, with 16 bits after the point as in Pillow, so that it is the same one.
struct Nearest {
    column: [i64; 3],
    row: [i64; 3],
}

impl Nearest {
    fn new([a, b, c, d, e, f]: [f64; 6]) -> Self {
        let fixed = |number: f64| (number * 65536.0 + 0.5).floor() as i64;
        // To the middle of the first pixel.
        let (column, row) = ([a, b, c + (a + b) / 2.0], [d, e, f + (d + e) / 2.0]);
        Self { column: column.map(fixed), row: row.map(fixed) }
    }

    /// The first byte of the pixel that (x, y) is taken from, where it lies in the picture.
    fn index(&self, x: usize, y: usize, [height, width]: [usize; 2]) -> Option<usize> {
        let place = |[x_factor, y_factor, from]: [i64; 3]| {
            usize::try_from((from + x_factor * x as i64 + y_factor * y as i64) >> 16).ok()
        };
        let (left, top) = (place(self.column)?, place(self.row)?);
        (left < width && top < height).then_some((top * width + left) * CHANNELS)
    }
}

/// The picture between pixels at `[y, x]`, where it lies in the picture; pixels beyond the edge are those at the edge.
fn between(
    pixels: &[u8],
    [height, width]: [usize; 2],
    [y, x]: [f64; 2],
    interpolation: Interpolation,
) -> Option<[u8; CHANNELS]> {
    if !((0.0..height as f64).contains(&y) && (0.0..width as f64).contains(&x)) {
        return None;
    }
    let (y, x) = (y - 0.5, x - 0.5);
    let (top, left) = (y.floor(), x.floor());
    let (down, across) = (y - top, x - left);
    let inside = |at: f64, len: usize| at.clamp(0.0, (len - 1) as f64) as usize;
    let row = |tap: f64| inside(top + tap, height) * width;
    let column = |tap: f64| inside(left + tap, width);
    Some(match interpolation {
        Interpolation::Bilinear => {
            let (rows, columns) = ([0.0, 1.0].map(row), [0.0, 1.0].map(column));
            std::array::from_fn(|channel| {
                let [above, below] = rows.map(|row| {
                    let [from, to] = columns.map(|x| f64::from(pixels[(row + x) * CHANNELS + channel]));
                    from + (to - from) * across
                });
                (above + (below - above) * down) as u8
            })
        }
        Interpolation::Bicubic => {
            let taps = [-1.0, 0.0, 1.0, 2.0];
            let (rows, columns) = (taps.map(row), taps.map(column));
            std::array::from_fn(|channel| {
                let lines = rows.map(|row| {
                    cubic(columns.map(|x| f64::from(pixels[(row + x) * CHANNELS + channel])), across)
                });
                // A cast to `u8` cuts off at both ends.
                cubic(lines, down) as u8
            })
        }
    })
}

/// The cubic with slope -1 through the middle two of four values, at a share of the way from one to the other.
fn cubic([a, b, c, d]: [f64; 4], share: f64) -> f64 {
    b + share * (c - a + share * (2.0 * (a - b) + c - d + share * (b - a - c + d)))
}

#[cfg(test)]
mod tests {
    use crate::operations::{Change, Operation as Op};
    use crate::testing::{digest, picture};
    use crate::{Interpolation, Picture};

    const LINEAR: Option<Interpolation> = Some(Interpolation::Bilinear);
    const CUBIC: Option<Interpolation> = Some(Interpolation::Bicubic);

    /// Digests of what Pillow 13.0 makes of a picture of 23 by 31 pixels.
    const EXPECTED: [(Op, f64, Option<Interpolation>, &str); 14] = [
        (Op::ShearX, 0.28, LINEAR, "8f4fe908f4235a9f13b4ae7df9734223"),
        (Op::ShearX, 0.28, CUBIC, "bccf5514c3bc4a7944fe177a1ec46f52"),
        (Op::ShearX, 0.28, None, "af448c187ee418d04f457dbf056b8c33"),
        (Op::ShearY, -0.3, LINEAR, "8df1ff012015167d3a88fba40a8d59bd"),
        (Op::ShearY, -0.3, CUBIC, "45567826b6efb9519c1790cf00440890"),
        (Op::TranslateX, -0.21, LINEAR, "572f6c9ed79dc63441e73862bf4ff0dd"),
        (Op::TranslateX, -0.21, CUBIC, "482fbd46dc1677824b3eefed71cd7a68"),
        (Op::TranslateY, 0.3, LINEAR, "24d3a7b588b7f3bbcc5b4911f0f1fa07"),
        (Op::TranslateY, 0.3, CUBIC, "c3b9af039854135885a62f0f40a038fa"),
        (Op::Rotate, 25.0, LINEAR, "f40615810ece3accd7039efc9c423e52"),
        (Op::Rotate, 25.0, CUBIC, "e554a37ab5a1299cf4bd3703f49dfba1"),
        (Op::Rotate, 25.0, None, "5df842af1aeeb61cb9bf8febcd2b752d"),
        (Op::Rotate, -13.7, LINEAR, "94fadfb144083b6120780b4b1fcc2769"),
        (Op::Rotate, -13.7, CUBIC, "71f0d0f5fc6a0fab5aa84af02a5c5f0b"),
    ];

    #[test]
    fn every_byte_is_pillows_with_any_interpolation_and_fill() {
        let mut spare = Vec::new();
        for (operation, value, interpolation, expected) in EXPECTED {
            let mut picture = picture(23, 31, [3, 5, 0, 251]);
            let change = Change { fill: [114, 123, 125], interpolation, ..Change::new(operation, value) };
            change.apply(&mut picture, &mut spare);
            assert_eq!(digest(&picture.pixels), expected, "{operation:?} {value} {interpolation:?}");
        }
    }

    #[test]
    fn a_picture_without_a_pixel_stays_one() {
        for [height, width] in [[0, 5], [5, 0]] {
            let mut empty = Picture { height, width, pixels: Vec::new() };
            let change = Change { interpolation: CUBIC, ..Change::new(Op::Rotate, 10.0) };
            change.apply(&mut empty, &mut Vec::new());
            assert!(empty.pixels.is_empty());
        }
    }
}
