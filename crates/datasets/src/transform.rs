//! What a recipe does to a picture: a window of the padded picture, a flip, and normalisation.
//!
//! Chance and arithmetic are apart: [`Transform::draw`] makes a [`View`], [`Normalize::apply`] carries it out in one
//! pass from bytes `[H, W, 3]` to numbers `[3, H, W]`.

use crate::{CHANNELS, Error, Picture, Result};
use rand::Rng;

/// The transforms of the CIFAR recipes, as plain data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    /// Pixels by which a picture is padded on each side before a window of its own size is cut out at random. The
    /// padding reflects the picture without repeating the edge (`reflect` in NumPy and PyTorch). 0 cuts nothing.
    pub pad: usize,
    /// Whether half of the pictures are mirrored left to right.
    pub flip: bool,
    /// Mean by channel that is subtracted, for values between 0 and 1.
    pub mean: [f32; CHANNELS],
    /// Standard deviation by channel that the rest is divided by.
    pub std: [f32; CHANNELS],
}

impl Transform {
    /// What the paper's CIFAR recipes train with: padding 4, flip, normalise.
    pub fn training(mean: [f32; CHANNELS], std: [f32; CHANNELS]) -> Self {
        Self { pad: 4, flip: true, mean, std }
    }

    /// What they are evaluated with: normalise.
    pub fn evaluation(mean: [f32; CHANNELS], std: [f32; CHANNELS]) -> Self {
        Self { pad: 0, flip: false, mean, std }
    }

    /// Whether nothing is left to chance.
    pub fn is_deterministic(&self) -> bool {
        self.pad == 0 && !self.flip
    }

    /// Draws the window and the flip of one picture.
    pub fn draw(&self, rng: &mut impl Rng) -> View {
        let reach = 2 * self.pad as u32;
        let mut shift = || rng.random_range(0..=reach) as isize - self.pad as isize;
        let (top, left) = (shift(), shift());
        View { top, left, flip: self.flip && rng.random() }
    }

    /// Refuses a padding that a picture of this size cannot be reflected by, and deviations to divide by zero.
    pub(crate) fn check(&self, [height, width]: [usize; 2]) -> Result<()> {
        let side = height.min(width);
        if self.pad >= side {
            let expected = format!("less than the {side} pixels of the picture");
            return Err(Error::Option { option: "pad", found: self.pad.to_string(), expected });
        }
        if self.std.iter().any(|s| !(s.is_finite() && *s > 0.)) || self.mean.iter().any(|m| !m.is_finite()) {
            let found = format!("{:?} with a mean of {:?}", self.std, self.mean);
            return Err(Error::Option {
                option: "std",
                found,
                expected: "positive, finite numbers".to_owned(),
            });
        }
        Ok(())
    }
}

/// The part of a picture that a batch gets; [`View::default`] is the picture as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct View {
    /// Row of the picture at which the window begins; negative rows lie in the padding.
    pub top: isize,
    /// Column at which it begins.
    pub left: isize,
    /// Whether the window is mirrored left to right after it is cut out.
    pub flip: bool,
}

/// `(value / 255 - mean) / std`, worked out once for the 256 values of each channel.
#[derive(Clone, Debug)]
pub struct Normalize {
    table: [[f32; 256]; CHANNELS],
}

impl Normalize {
    /// The table of a mean and a standard deviation by channel.
    pub fn new(mean: [f32; CHANNELS], std: [f32; CHANNELS]) -> Self {
        let table =
            std::array::from_fn(|c| std::array::from_fn(|value| (value as f32 / 255. - mean[c]) / std[c]));
        Self { table }
    }

    /// Writes the `view` of a picture to `out`, `[3, H, W]`, normalised.
    ///
    /// # Panics
    /// When `out` doesn't hold `3 * H * W` numbers, or the view reaches further than a picture's reflection.
    pub fn apply(&self, picture: &Picture, view: View, out: &mut [f32]) {
        let (height, width) = (picture.height, picture.width);
        assert_eq!(out.len(), CHANNELS * height * width, "the output must hold the picture");
        let (red, rest) = out.split_at_mut(height * width);
        let (green, blue) = rest.split_at_mut(height * width);
        let lines =
            red.chunks_exact_mut(width).zip(green.chunks_exact_mut(width)).zip(blue.chunks_exact_mut(width));
        for (y, ((red, green), blue)) in lines.enumerate() {
            let row = reflect(y as isize + view.top, height) * width * CHANNELS;
            let pixels = &picture.pixels[row..][..width * CHANNELS];
            self.line(pixels, view.left, [&mut *red, &mut *green, &mut *blue]);
            if view.flip {
                red.reverse();
                green.reverse();
                blue.reverse();
            }
        }
    }

    /// Makes a picture of `[height, width]` of normalised numbers `[3, H, W]`: the bytes that [`apply`](Self::apply) read,
    /// or those that are nearest.
    ///
    /// # Panics
    /// When `numbers` doesn't hold `3 * H * W` numbers.
    pub fn restore(&self, numbers: &[f32], [height, width]: [usize; 2]) -> Picture {
        assert_eq!(numbers.len(), CHANNELS * height * width, "the numbers must be those of the picture");
        let mut picture = Picture::default();
        picture.resize(height, width);
        for (channel, (plane, table)) in
            numbers.chunks_exact((height * width).max(1)).zip(&self.table).enumerate()
        {
            let (black, scale) = (table[0], 255. / (table[255] - table[0]));
            for (number, pixel) in plane.iter().zip(picture.pixels.chunks_exact_mut(CHANNELS)) {
                // A cast to `u8` cuts off at both ends.
                pixel[channel] = ((number - black) * scale).round() as u8;
            }
        }
        picture
    }

    /// Writes the pixels of a row from column `left` on, each channel to a line of its own.
    fn line(&self, pixels: &[u8], left: isize, [red, green, blue]: [&mut [f32]; CHANNELS]) {
        let width = red.len();
        let [red_table, green_table, blue_table] = &self.table;
        // Columns of the window that lie in the picture; those on either side are reflections.
        let (before, beyond) = (left.min(0).unsigned_abs(), left.max(0).unsigned_abs());
        let inside = before..width - beyond;
        let source = &pixels[beyond * CHANNELS..(width - before) * CHANNELS];
        let lines =
            red[inside.clone()].iter_mut().zip(&mut green[inside.clone()]).zip(&mut blue[inside.clone()]);
        for (pixel, ((red, green), blue)) in source.chunks_exact(CHANNELS).zip(lines) {
            *red = red_table[usize::from(pixel[0])];
            *green = green_table[usize::from(pixel[1])];
            *blue = blue_table[usize::from(pixel[2])];
        }
        for column in (0..inside.start).chain(inside.end..width) {
            let pixel = &pixels[reflect(column as isize + left, width) * CHANNELS..][..CHANNELS];
            red[column] = red_table[usize::from(pixel[0])];
            green[column] = green_table[usize::from(pixel[1])];
            blue[column] = blue_table[usize::from(pixel[2])];
        }
    }
}

/// The index in `0..len` that `index` falls on when the range is mirrored at its first and last element.
fn reflect(index: isize, len: usize) -> usize {
    let last = len as isize - 1;
    (last - (last - index.abs()).abs()) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use adautomix_random::{Key, Purpose};

    const PLAIN: Normalize = Normalize { table: [[0.; 256]; 3] };

    /// A picture of `[2, 3]` whose channels are 10, 100 and 200 apart.
    fn picture() -> Picture {
        let pixels = (0..6).flat_map(|at| [at, at + 10, at + 100]).collect();
        Picture { height: 2, width: 3, pixels }
    }

    /// The red plane of a view, as bytes.
    fn red(view: View) -> Vec<f32> {
        let mut normalize = PLAIN;
        normalize.table[0] = std::array::from_fn(|value| value as f32);
        let mut out = vec![0.; 18];
        normalize.apply(&picture(), view, &mut out);
        out[..6].to_vec()
    }

    #[test]
    fn normalises_each_channel_as_tensors_are() {
        let (mean, std) = ([0.5, 0.25, 0.1], [0.5, 0.2, 0.3]);
        let mut out = vec![0.; 18];
        Normalize::new(mean, std).apply(&picture(), View::default(), &mut out);
        for (channel, start) in [0u8, 10, 100].into_iter().enumerate() {
            for at in 0..6u8 {
                let expected = (f32::from(start + at) / 255. - mean[channel]) / std[channel];
                assert_eq!(out[channel * 6 + usize::from(at)], expected);
            }
        }
    }

    #[test]
    fn every_byte_comes_back() {
        let normalize = Normalize::new([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]);
        let picture =
            Picture { height: 16, width: 16, pixels: (0..=255).flat_map(|byte| [byte; 3]).collect() };
        let mut numbers = vec![0.; 768];
        normalize.apply(&picture, View::default(), &mut numbers);
        assert_eq!(normalize.restore(&numbers, [16, 16]), picture);
        let ends = normalize.restore(&[-9., 9., 0.], [1, 1]);
        assert_eq!(ends.pixels, [0, 255, 114]);
    }

    #[test]
    fn the_padding_reflects_without_the_edge() {
        // The rows are 0 1 2 and 3 4 5; padded by one pixel they are 4 3 4 5 4, 1 0 1 2 1, 4 3 4 5 4, 1 0 1 2 1.
        assert_eq!(red(View::default()), [0., 1., 2., 3., 4., 5.]);
        assert_eq!(red(View { top: -1, left: -1, flip: false }), [4., 3., 4., 1., 0., 1.]);
        assert_eq!(red(View { top: 1, left: 1, flip: false }), [4., 5., 4., 1., 2., 1.]);
        assert_eq!(red(View { top: 0, left: 2, flip: false }), [2., 1., 0., 5., 4., 3.]);
    }

    #[test]
    fn the_window_is_flipped_after_it_is_cut() {
        assert_eq!(red(View { top: 0, left: 0, flip: true }), [2., 1., 0., 5., 4., 3.]);
        assert_eq!(red(View { top: -1, left: 1, flip: true }), [4., 5., 4., 1., 2., 1.]);
    }

    #[test]
    fn every_window_and_both_directions_are_drawn_alike() {
        let transform = Transform::training([0.5; 3], [0.5; 3]);
        let mut rng = Key::new(3, Purpose::Test).rng();
        let mut counts = [[0; 9]; 9];
        let mut flipped = 0;
        for _ in 0..81_000 {
            let view = transform.draw(&mut rng);
            counts[(view.top + 4) as usize][(view.left + 4) as usize] += 1;
            flipped += usize::from(view.flip);
        }
        // 1000 are expected in each place, with a standard deviation of 31.
        assert!(counts.as_flattened().iter().all(|count| (850..1150).contains(count)), "{counts:?}");
        assert!((39_700..41_300).contains(&flipped), "{flipped}");
        let evaluation = Transform::evaluation([0.5; 3], [0.5; 3]);
        assert_eq!(evaluation.draw(&mut rng), View::default());
    }

    #[test]
    fn refuses_what_a_picture_cannot_take() {
        let transform = Transform::training([0.5; 3], [0.5; 3]);
        let error = transform.check([32, 4]).unwrap_err().to_string();
        assert_eq!(error, "pad is 4, expected less than the 4 pixels of the picture");
        let error = Transform { std: [0.5, 0., 0.5], ..transform }.check([32, 32]).unwrap_err().to_string();
        assert!(error.starts_with("std is [0.5, 0.0, 0.5]"), "{error}");
    }
}
