//! Fine-grained static saliency (Montabone and Soto, Image and Vision Computing 2010), to the bit as OpenCV computes it.
//!
//! A pixel is salient where it differs from the mean of what surrounds it, at six scales; lighter and darker than the
//! surroundings are counted apart, each is stretched to 0 to 255, and the two are added.

use crate::{Error, Result};

/// How far the six surroundings reach from their pixel.
const REACHES: [usize; 6] = [12, 24, 48, 28, 56, 112];

/// The saliency `[H, W]` of a picture `[H, W, 3]` of `size` (rows, columns), in row-major order.
///
/// Channel 0 gets the weight of blue, as OpenCV reads pictures; published mixers hand it red, green, blue, and so red gets
/// blue's weight. A picture of one colour, which OpenCV divides by zero for, is salient nowhere.
///
/// # Errors
/// If the picture isn't of this size.
pub fn fine_grained_saliency(picture: &[u8], size: [usize; 2]) -> Result<Vec<u8>> {
    if picture.len() != 3 * size[0] * size[1] {
        let expected = format!("{} rows of {} columns of 3 bytes", size[0], size[1]);
        return Err(Error::Shape { what: "picture", got: vec![picture.len()], expected });
    }
    let weighed = |pixel: &[u8]| {
        let [blue, green, red] = [0, 1, 2].map(|channel| u32::from(pixel[channel]));
        ((3735 * blue + 19235 * green + 9798 * red + 16384) >> 15) as f32
    };
    let mut grey: Vec<f32> = picture.chunks_exact(3).map(weighed).collect();
    for _ in 0..2 {
        // Sixteenths of integers are exact here, so this is the rounding of OpenCV's integers.
        grey = blurred(&grey, size).into_iter().map(|value| (value + 0.5).floor()).collect();
    }
    let bytes: Vec<u8> = grey.iter().map(|&value| value as u8).collect();
    Ok(centre_surround(&bytes, &integral(&grey, size), size))
}

/// What OpenCV makes of a *normalised* picture `[3, H, W]`: it takes the bytes of the blurred grey values, four to a value,
/// for grey levels, so that three quarters of the pixels see digits of a mantissa, and only the left quarter of the picture
/// is looked at. The surroundings are taken of the values themselves.
///
/// The order of the arithmetic is that of OpenCV 5.0 on a processor with fused multiply-add, because the lowest bytes
/// depend on it.
pub(crate) fn saliency_of_float_bytes(picture: &[f32], size: [usize; 2]) -> Vec<u8> {
    let [height, width] = size;
    let (blue, rest) = picture.split_at(height * width);
    let (green, red) = rest.split_at(height * width);
    let weighed = |((&blue, &green), &red): ((&f32, &f32), &f32)| {
        red.mul_add(0.299, blue.mul_add(0.114, green * 0.587_f32))
    };
    let mut grey: Vec<f32> = blue.iter().zip(green).zip(red).map(weighed).collect();
    for _ in 0..2 {
        grey = blurred(&grey, size);
    }
    let byte = |at: usize| {
        let (row, column) = (at / width, at % width);
        grey[row * width + column / 4].to_le_bytes()[column % 4]
    };
    let bytes: Vec<u8> = (0..height * width).map(byte).collect();
    centre_surround(&bytes, &integral(&grey, size), size)
}

/// The first maximum of a map of `width` columns, `[row, column]`.
pub fn peak(saliency: &[u8], width: usize) -> [usize; 2] {
    let first = saliency.iter().enumerate().max_by_key(|&(at, &value)| (value, std::cmp::Reverse(at)));
    first.map_or([0, 0], |(at, _)| [at / width.max(1), at % width.max(1)])
}

/// The 3×3 binomial blur; the border is reflected without its edge.
fn blurred(plane: &[f32], [height, width]: [usize; 2]) -> Vec<f32> {
    let neighbours = |at: usize, side: usize| {
        let mirrored = |inside: usize| inside.min(side - 1);
        let below = if at == 0 { mirrored(1) } else { at - 1 };
        let above = if at + 1 < side { at + 1 } else { side.saturating_sub(2) };
        [below, above]
    };
    let mut rows = vec![0.0; plane.len()];
    for (row, plane) in rows.chunks_mut(width.max(1)).zip(plane.chunks(width.max(1))) {
        for (column, value) in row.iter_mut().enumerate() {
            let [left, right] = neighbours(column, width);
            *value = 0.5 * plane[column] + 0.25 * (plane[left] + plane[right]);
        }
    }
    let mut both = vec![0.0; plane.len()];
    for (row, out) in both.chunks_mut(width.max(1)).enumerate() {
        let [above, below] = neighbours(row, height).map(|row| &rows[row * width..][..width]);
        let own = &rows[row * width..][..width];
        for (((out, own), above), below) in out.iter_mut().zip(own).zip(above).zip(below) {
            *out = 0.5 * own + 0.25 * (above + below);
        }
    }
    both
}

/// The sums of all rectangles from the upper left corner, `[H + 1, W + 1]`.
fn integral(plane: &[f32], [height, width]: [usize; 2]) -> Vec<f32> {
    let mut sums = vec![0.0; (height + 1) * (width + 1)];
    for row in 0..height {
        let (above, own) = sums.split_at_mut((row + 1) * (width + 1));
        let above = &above[row * (width + 1)..];
        let mut sum = 0.0;
        for column in 0..width {
            sum += plane[row * width + column];
            own[column + 1] = above[column + 1] + sum;
        }
    }
    sums
}

/// The differences of `centre` `[H, W]` from the means of their surroundings, whose sums are in `integral`.
fn centre_surround(centre: &[u8], integral: &[f32], [height, width]: [usize; 2]) -> Vec<u8> {
    let (mut lighter, mut darker) = (vec![0u16; centre.len()], vec![0u16; centre.len()]);
    for reach in REACHES {
        let window = |at: usize, side: usize| [(at + 1).saturating_sub(reach), (at + reach + 1).min(side)];
        let columns: Vec<[usize; 2]> = (0..width).map(|column| window(column, width)).collect();
        for row in 0..height {
            let [row1, row2] = window(row, height);
            let [above, below] = [row1, row2].map(|row| &integral[row * (width + 1)..][..width + 1]);
            let at = row * width..(row + 1) * width;
            let pixels = centre[at.clone()].iter().zip(&mut lighter[at.clone()]).zip(&mut darker[at]);
            for (((&centre, lighter), darker), &[column1, column2]) in pixels.zip(&columns) {
                let count = ((column2 - column1) * (row2 - row1)) as i32 - 1;
                let sum = below[column2] + above[column1] - below[column1] - above[column2];
                let centre = f32::from(centre);
                let mean = (sum - centre) / count as f32;
                *lighter += u16::from((centre - mean).max(0.0) as i32 as u8);
                *darker += u16::from((mean - centre).max(0.0) as i32 as u8);
            }
        }
    }
    let (lighter, darker) = (stretched(&lighter), stretched(&darker));
    let largest = lighter.iter().chain(&darker).copied().max().unwrap_or(0).max(1);
    let both = lighter.iter().zip(&darker).map(|(&a, &b)| f64::from(u16::from(a) + u16::from(b)));
    // Where both are large the sum passes 255 and wraps, as it does in OpenCV.
    both.map(|sum| (255.0 * sum / f64::from(largest)) as i32 as u8).collect()
}

/// The values on a scale up to 255.
fn stretched(values: &[u16]) -> Vec<u8> {
    let largest = values.iter().copied().max().unwrap_or(0).max(1);
    let share = |&value: &u16| f32::from(value) / f32::from(largest);
    values.iter().map(|value| (255.0 * f64::from(share(value))) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: [usize; 2] = [24, 32];

    /// The value of a channel at a pixel of a made-up picture.
    fn value(channel: usize, row: usize, column: usize) -> u8 {
        ((channel * 29 + row * 13 + column * column * 7) % 251) as u8
    }

    fn picture([height, width]: [usize; 2]) -> Vec<u8> {
        let at = |i: usize| value(i % 3, i / 3 / width, i / 3 % width);
        (0..3 * height * width).map(at).collect()
    }

    /// Peak, sum, and a sum weighted by position, of a map.
    fn summary(map: &[u8]) -> ([usize; 2], u64, u64) {
        let weighted: u64 = map.iter().zip(1..).map(|(&value, position)| u64::from(value) * position).sum();
        (peak(map, SIZE[1]), map.iter().map(|&value| u64::from(value)).sum(), weighted % 65521)
    }

    #[test]
    fn maps_are_those_of_opencv() -> Result<()> {
        // Computed by OpenCV 5.0, once from bytes and once from the same picture normalised.
        assert_eq!(summary(&fine_grained_saliency(&picture(SIZE), SIZE)?), ([0, 0], 48663, 19013));
        let [height, width] = SIZE;
        let normalised = |i: usize| {
            let byte = value(i / height / width, i / width % height, i % width);
            (f32::from(byte) / 255.0 - 0.5) / 0.25
        };
        let planes: Vec<f32> = (0..3 * height * width).map(normalised).collect();
        assert_eq!(summary(&saliency_of_float_bytes(&planes, SIZE)), ([5, 4], 99308, 54046));
        Ok(())
    }

    /// Straight from the definition: integers, and every window summed anew.
    fn slow(picture: &[u8], [height, width]: [usize; 2]) -> Vec<u8> {
        let grey = |pixel: &[u8]| {
            let sum = 3735 * i64::from(pixel[0]) + 19235 * i64::from(pixel[1]) + 9798 * i64::from(pixel[2]);
            (sum + 16384) >> 15
        };
        let mut plane: Vec<i64> = picture.chunks(3).map(grey).collect();
        let mirrored = |at: i64, side: usize| {
            (if at < 0 { -at } else { at }).min(2 * (side as i64 - 1) - at.max(0)).max(0) as usize
        };
        for _ in 0..2 {
            let blurred = |at: usize| {
                let (row, column) = ((at / width) as i64, (at % width) as i64);
                let taps = (-1..=1).flat_map(|y| (-1..=1).map(move |x| (y, x)));
                let sum: i64 = taps
                    .map(|(y, x): (i64, i64)| {
                        let weight = (2 - y.abs()) * (2 - x.abs());
                        weight * plane[mirrored(row + y, height) * width + mirrored(column + x, width)]
                    })
                    .sum();
                (sum + 8) >> 4
            };
            plane = (0..plane.len()).map(blurred).collect();
        }
        let sums = |sign: f32| -> Vec<i64> {
            let at_pixel = |at: usize| {
                let differences = REACHES.map(|reach| {
                    let span =
                        |at: usize, side: usize| (at + 1).saturating_sub(reach)..(at + reach + 1).min(side);
                    let window = span(at / width, height)
                        .flat_map(|row| span(at % width, width).map(move |column| row * width + column));
                    let values: Vec<i64> = window.map(|at| plane[at]).collect();
                    let mean = (values.iter().sum::<i64>() - plane[at]) as f32 / (values.len() - 1) as f32;
                    (sign * (plane[at] as f32 - mean)).max(0.0) as i64
                });
                differences.iter().sum()
            };
            (0..plane.len()).map(at_pixel).collect()
        };
        let [on, off] = [1.0, -1.0].map(|sign| {
            let sums = sums(sign);
            let largest = *sums.iter().max().unwrap();
            let scale = move |sum: &i64| (255.0 * f64::from(*sum as f32 / largest as f32)) as u32;
            sums.iter().map(scale).collect::<Vec<u32>>()
        });
        on.iter().zip(&off).map(|(on, off)| (on + off) as u8).collect()
    }

    #[test]
    fn windows_are_summed_right_at_every_size() -> Result<()> {
        for size in [[2, 3], [9, 7], [7, 40], [33, 15]] {
            let picture = picture(size);
            assert_eq!(fine_grained_saliency(&picture, size)?, slow(&picture, size), "{size:?}");
        }
        Ok(())
    }

    #[test]
    fn a_picture_of_one_colour_is_salient_nowhere() -> Result<()> {
        for size in [[1, 1], [1, 5], [6, 4]] {
            let pixels = size[0] * size[1];
            assert_eq!(fine_grained_saliency(&vec![77; 3 * pixels], size)?, vec![0; pixels]);
        }
        assert!(fine_grained_saliency(&[], [0, 0])?.is_empty());
        let message = fine_grained_saliency(&[0; 12], [2, 3]).unwrap_err().to_string();
        assert_eq!(message, "picture [12], expected 2 rows of 3 columns of 3 bytes");
        Ok(())
    }

    #[test]
    fn the_first_of_equal_maxima_is_the_peak() {
        assert_eq!(peak(&[1, 2, 9, 9, 3, 9], 2), [1, 0]);
        assert_eq!(peak(&[], 0), [0, 0]);
    }
}
