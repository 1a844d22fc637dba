//! The operations of AutoAugment's search space on a picture of bytes, and the hue, as Pillow computes them.
//!
//! Chance and arithmetic are apart: [`Operation::draw`] makes a [`Change`], [`Change::apply`] carries it out. The ranges
//! are those of Fast AutoAugment (Lim et al., NeurIPS 2019), which DADA searches; a policy of other ranges makes a
//! [`Change`] of its own.

mod affine;
mod hue;

use rand::Rng;

use crate::{CHANNELS, Interpolation, Picture};
use affine::{affine, rotate};

/// An operation on a picture; its value is in the unit of [`range`](Self::range).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Rows are moved left or right, by the value times the row's number.
    ShearX,
    /// Columns are moved up or down, by the value times the column's number.
    ShearY,
    /// The picture is moved by a share of its width.
    TranslateX,
    /// The picture is moved by a share of its height.
    TranslateY,
    /// The picture is turned about its middle, in degrees, anticlockwise.
    Rotate,
    /// Each channel is stretched to the whole range of bytes.
    AutoContrast,
    /// Each byte is taken from 255.
    Invert,
    /// Each channel's histogram is made flat.
    Equalize,
    /// Bytes from the value on are inverted.
    Solarize,
    /// Only so many of the highest bits are kept.
    Posterize,
    /// Contrast: 0 is grey, 1 the picture.
    Contrast,
    /// Saturation: 0 is without colour, 1 the picture.
    Color,
    /// Brightness: 0 is black, 1 the picture.
    Brightness,
    /// Sharpness: 0 is smoothed, 1 the picture.
    Sharpness,
    /// A square of so large a share of the width is covered with grey.
    Cutout,
    /// Hues are moved by so large a share of the colour wheel.
    Hue,
}

use Operation as Op;

impl Operation {
    /// The fifteen of Fast AutoAugment, in its order.
    pub const ALL: [Self; 15] = [
        Op::ShearX,
        Op::ShearY,
        Op::TranslateX,
        Op::TranslateY,
        Op::Rotate,
        Op::AutoContrast,
        Op::Invert,
        Op::Equalize,
        Op::Solarize,
        Op::Posterize,
        Op::Contrast,
        Op::Color,
        Op::Brightness,
        Op::Sharpness,
        Op::Cutout,
    ];

    /// The values at level 0 and at level 1. Operations without a value have `[0, 0]`.
    pub fn range(self) -> [f64; 2] {
        match self {
            Op::ShearX | Op::ShearY => [-0.3, 0.3],
            Op::TranslateX | Op::TranslateY => [-0.45, 0.45],
            Op::Rotate => [-30.0, 30.0],
            Op::AutoContrast | Op::Invert | Op::Equalize => [0.0, 0.0],
            Op::Solarize => [0.0, 256.0],
            Op::Posterize => [4.0, 8.0],
            Op::Contrast | Op::Color | Op::Brightness | Op::Sharpness => [0.1, 1.9],
            Op::Cutout => [0.0, 0.2],
            Op::Hue => [-0.5, 0.5],
        }
    }

    /// Whether half of the changes go the other way: those that move pixels.
    pub fn is_mirrored(self) -> bool {
        matches!(self, Op::ShearX | Op::ShearY | Op::TranslateX | Op::TranslateY | Op::Rotate)
    }

    /// Draws what is left to chance at a `level`, which is brought between 0 and 1. Every operation draws alike, so the
    /// draws of a list of changes don't depend on which they are.
    pub fn draw(self, level: f64, rng: &mut impl Rng) -> Change {
        let [low, high] = self.range();
        let value = low + level.clamp(0.0, 1.0) * (high - low);
        let (turned, centre): (bool, [f64; 2]) = (rng.random(), rng.random());
        let value = if turned && self.is_mirrored() { -value } else { value };
        Change { centre, ..Change::new(self, value) }
    }
}

/// An operation of which nothing is left to chance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Change {
    /// The operation.
    pub operation: Operation,
    /// How far, in the operation's unit.
    pub value: f64,
    /// The middle of the square of a cutout, as shares of height and width from 0 to below 1.
    pub centre: [f64; 2],
    /// Red, green and blue of what comes into view where a picture is turned, moved or sheared.
    pub fill: [u8; CHANNELS],
    /// How pixels are found between pixels there; none takes the nearest.
    pub interpolation: Option<Interpolation>,
}

impl Change {
    /// A change that brings black into view and takes the nearest pixels; a cutout's is in the middle.
    pub fn new(operation: Operation, value: f64) -> Self {
        Self { operation, value, centre: [0.5; 2], fill: [0; CHANNELS], interpolation: None }
    }

    /// Changes a picture in place; `spare` is room to work in, to be reused for the next one.
    pub fn apply(&self, picture: &mut Picture, spare: &mut Vec<u8>) {
        let value = self.value;
        let [height, width] = [picture.height as f64, picture.width as f64];
        let mut affine = |matrix| affine(picture, matrix, self.fill, self.interpolation, spare);
        match self.operation {
            Op::ShearX => affine([1.0, value, 0.0, 0.0, 1.0, 0.0]),
            Op::ShearY => affine([1.0, 0.0, 0.0, value, 1.0, 0.0]),
            Op::TranslateX => affine([1.0, 0.0, value * width, 0.0, 1.0, 0.0]),
            Op::TranslateY => affine([1.0, 0.0, 0.0, 0.0, 1.0, value * height]),
            Op::Rotate => affine(rotate(value, [height, width])),
            Op::AutoContrast => by_channel(picture, stretched),
            Op::Invert => by_value(picture, |byte| 255 - byte),
            Op::Equalize => by_channel(picture, equalized),
            Op::Solarize => by_value(picture, |byte| if f64::from(byte) < value { byte } else { 255 - byte }),
            Op::Posterize => {
                let cleared = (8.0 - value.floor()).clamp(0.0, 8.0) as u32;
                by_value(picture, |byte| (u32::from(byte) >> cleared << cleared) as u8);
            }
            Op::Contrast => {
                let mean = mean_luma(&picture.pixels);
                blend(picture, value, |_, _| [mean; CHANNELS]);
            }
            Op::Color => blend(picture, value, |pixel, _| [luma(pixel); CHANNELS]),
            Op::Brightness => blend(picture, value, |_, _| [0; CHANNELS]),
            Op::Sharpness => {
                smooth(picture, spare);
                blend(picture, value, |_, at| [0, 1, 2].map(|channel| spare[at + channel]));
            }
            Op::Cutout => cut_out(picture, value, self.centre),
            Op::Hue => hue::turn(picture, value),
        }
    }
}

fn by_value(picture: &mut Picture, change: impl Fn(u8) -> u8) {
    let table: [u8; 256] = std::array::from_fn(|byte| change(byte as u8));
    picture.pixels.iter_mut().for_each(|byte| *byte = table[usize::from(*byte)]);
}

/// Replaces the bytes of each channel by a table made of its histogram.
fn by_channel(picture: &mut Picture, table: impl Fn(&[usize; 256]) -> Option<[u8; 256]>) {
    for channel in 0..CHANNELS {
        let mut histogram = [0; 256];
        let bytes = picture.pixels.iter().skip(channel).step_by(CHANNELS);
        bytes.for_each(|byte| histogram[usize::from(*byte)] += 1);
        if let Some(table) = table(&histogram) {
            let bytes = picture.pixels.iter_mut().skip(channel).step_by(CHANNELS);
            bytes.for_each(|byte| *byte = table[usize::from(*byte)]);
        }
    }
}

/// The lowest byte that there is becomes 0, the highest 255.
fn stretched(histogram: &[usize; 256]) -> Option<[u8; 256]> {
    let low = histogram.iter().position(|count| *count > 0)?;
    let high = histogram.iter().rposition(|count| *count > 0)?;
    let scale = 255.0 / (high - low) as f64;
    (high > low).then(|| std::array::from_fn(|byte| (byte as f64 * scale - low as f64 * scale) as u8))
}

/// The share of pixels below a byte becomes its new value.
fn equalized(histogram: &[usize; 256]) -> Option<[u8; 256]> {
    let highest = histogram.iter().rev().find(|count| **count > 0)?;
    let step = (histogram.iter().sum::<usize>() - highest) / 255;
    if step == 0 {
        return None;
    }
    let mut below = step / 2;
    Some(std::array::from_fn(|byte| {
        let value = (below / step).min(255) as u8;
        below += histogram[byte];
        value
    }))
}

/// The brightness of a pixel, in ITU-R 601's weights with 16 bits after the point.
fn luma(pixel: &[u8]) -> u8 {
    let [red, green, blue] = [0, 1, 2].map(|channel| u32::from(pixel[channel]));
    ((red * 19595 + green * 38470 + blue * 7471 + 0x8000) >> 16) as u8
}

fn mean_luma(pixels: &[u8]) -> u8 {
    let sum: u64 = pixels.chunks_exact(CHANNELS).map(|pixel| u64::from(luma(pixel))).sum();
    (sum as f64 / (pixels.len() / CHANNELS).max(1) as f64 + 0.5) as u8
}

/// `other + factor · (picture - other)`, cut off at 0 and 255; `other` sees the pixel and the index of its first byte.
fn blend(picture: &mut Picture, factor: f64, other: impl Fn(&[u8], usize) -> [u8; CHANNELS]) {
    let factor = factor as f32;
    for (at, pixel) in picture.pixels.chunks_exact_mut(CHANNELS).enumerate() {
        let other = other(pixel, at * CHANNELS).map(f32::from);
        for (byte, other) in pixel.iter_mut().zip(other) {
            // A cast to `u8` cuts off at both ends.
            *byte = (other + factor * (f32::from(*byte) - other)) as u8;
        }
    }
}

/// Makes `smooth` the picture under the kernel 1 1 1, 1 5 1, 1 1 1 over 13; its border stays as it is.
fn smooth(picture: &Picture, smooth: &mut Vec<u8>) {
    let (height, width, pixels) = (picture.height, picture.width, &picture.pixels);
    smooth.clone_from(pixels);
    let line = width * CHANNELS;
    for y in 1..height.saturating_sub(1) {
        for at in y * line + CHANNELS..((y + 1) * line).saturating_sub(CHANNELS) {
            let row = |from: usize| -> u32 {
                [from - CHANNELS, from, from + CHANNELS].iter().map(|&near| u32::from(pixels[near])).sum()
            };
            let sum = row(at - line) + row(at) + row(at + line) + 4 * u32::from(pixels[at]);
            smooth[at] = ((2 * sum + 13) / 26) as u8;
        }
    }
}

/// Covers a square about `centre` with the grey of Fast AutoAugment.
fn cut_out(picture: &mut Picture, share: f64, centre: [f64; 2]) {
    const GREY: [u8; CHANNELS] = [125, 123, 114];
    if share <= 0.0 {
        return;
    }
    let (height, width) = (picture.height, picture.width);
    let side = share * width as f64;
    // From and to the last: Pillow's rectangles hold both.
    let range = |centre: f64, length: usize| {
        let from = (centre * length as f64 - side / 2.0).max(0.0).floor();
        (from as usize, (from + side).min(length as f64) as usize)
    };
    let ((top, bottom), (left, right)) = (range(centre[0], height), range(centre[1], width));
    for y in top..(bottom + 1).min(height) {
        for x in left..(right + 1).min(width) {
            picture.pixels[(y * width + x) * CHANNELS..][..CHANNELS].copy_from_slice(&GREY);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{hex, picture};
    use adautomix_random::{Key, Purpose};

    fn changed(mut picture: Picture, operation: Operation, value: f64, centre: [f64; 2]) -> Picture {
        Change { centre, ..Change::new(operation, value) }.apply(&mut picture, &mut Vec::new());
        picture
    }

    /// Made with Pillow 13.0.
    const EXPECTED: [(Operation, f64, &str); 17] = [
        (Op::ShearX, 0.28, "284caa5c486ece82709814b0a0ca4800d81e60c8847aaa2e00000082423c70dea0000000"),
        (Op::ShearX, -0.3, "284caa5c486ece82709814b0a0ca4800d81e000000843e3260c884000000d2ca1682423c"),
        (Op::ShearY, 0.3, "284caa5c486e00d81e9814b0a0ca487aaa2e843e3260c88470dea0d2ca1682423c000000"),
        (Op::TranslateX, -0.4, "000000284caa5c486e0000009814b0a0ca48000000843e3260c884000000d2ca1682423c"),
        (Op::TranslateY, 0.3, "9814b0a0ca4800d81e843e3260c8847aaa2ed2ca1682423c70dea0000000000000000000"),
        (Op::Rotate, 25.0, "5c486ece82700000009814b0a0ca4800d81e843e3260c8847aaa2e000000d2ca1682423c"),
        (Op::Rotate, -30.0, "000000284caa5c486e843e32a0ca4800d81e843e3260c88400d81e82423c70dea0000000"),
        (Op::AutoContrast, 0.0, "3046f56f4191fa8a95b800ffc2e55200f70da0352e74e3b694bd27fee5009d3a3e88ffe4"),
        (Op::Invert, 0.0, "d7b355a3b791317d8f67eb4f5f35b7ff27e17bc1cd9f377b8555d12d35e97dbdc38f215f"),
        (Op::Solarize, 100.5, "284c555c4891317d8f67144f5f354800271e7b3e3260377b85552e2d35167d423c8f215f"),
        (Op::Posterize, 4.9, "2040a0504060c080709010b0a0c04000d01080303060c08070a020d0c01080403070d0a0"),
        (Op::Contrast, 1.7, "0028c8432162ff8465a900d2b7fe2100ff008710004afb8776c800fffe0084170d65ffb7"),
        (Op::Color, 0.3, "414c68554f5aa7908b633b6aaab7905b9b64614c488dac98889671bfbd87614e4ca1c2af"),
        (Op::Brightness, 1.4, "386aee80649affb69cd41cf6e0ff6400ff2ab8564686ffb8aaee40ffff1eb65c549cffe0"),
        (Op::Sharpness, 1.8, "284caa5c486ece82709814b0bbf33800d81e843e3250e39f7aaa2ed2ca1682423c70dea0"),
        (Op::Sharpness, 0.2, "284caa5c486ece82709814b084a05700d81e843e326fac687aaa2ed2ca1682423c70dea0"),
        (Op::Cutout, 0.2, "284caa5c486ece82709814b0a0ca4800d81e843e327d7b727aaa2ed2ca1682423c70dea0"),
    ];

    #[test]
    fn each_operation_gives_the_bytes_of_pillow() {
        let before = picture(4, 3, [29, 7, 40, 230]);
        for (operation, value, expected) in EXPECTED {
            let after = changed(before.clone(), operation, value, [0.6, 0.5]);
            assert_eq!(hex(&after.pixels), expected, "{operation:?} {value}");
        }
        // A histogram of fewer than 256 pixels can't be made flat.
        assert_eq!(changed(before.clone(), Op::Equalize, 0.0, [0.0; 2]), before);
        let large = changed(picture(20, 21, [3, 5, 0, 200]), Op::Equalize, 0.0, [0.0; 2]);
        assert_eq!(large.pixels[..12], [0, 30, 53, 89, 151, 212, 255, 255, 71, 187, 255, 44]);
        assert_eq!(large.pixels.iter().map(|byte| usize::from(*byte)).sum::<usize>(), 219_320);
    }

    #[test]
    fn neutral_values_change_nothing_and_every_size_works() {
        for [height, width] in [[4, 3], [1, 1], [1, 7], [0, 5], [5, 0]] {
            let before = picture(height, width, [29, 7, 40, 230]);
            let neutral = |operation| match operation {
                Op::Solarize => 256.0,
                Op::Posterize => 8.0,
                Op::Contrast | Op::Color | Op::Brightness | Op::Sharpness => 1.0,
                _ => 0.0,
            };
            for operation in Operation::ALL {
                let after = changed(before.clone(), operation, neutral(operation), [0.5; 2]);
                if !matches!(operation, Op::AutoContrast | Op::Invert | Op::Equalize) {
                    assert_eq!(after, before, "{operation:?}");
                }
                changed(before.clone(), operation, operation.range()[1], [0.99; 2]);
            }
        }
    }

    #[test]
    fn levels_span_the_range_and_half_of_the_moves_are_turned() {
        let rng = &mut Key::new(4, Purpose::Test).rng();
        let mut turned = 0;
        for _ in 0..1000 {
            let change = Op::Rotate.draw(1.0, rng);
            assert!(
                change.value.abs() == 30.0 && change.centre.iter().all(|share| (0.0..1.0).contains(share))
            );
            turned += usize::from(change.value < 0.0);
            assert_eq!(Op::Posterize.draw(0.5, rng).value, 6.0);
            assert_eq!(Op::Solarize.draw(7.0, rng).value, 256.0);
        }
        assert!((430..570).contains(&turned), "{turned}");
    }
}
