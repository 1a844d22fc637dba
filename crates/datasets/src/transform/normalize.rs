//! From bytes `[H, W, 3]` to `[3, H, W]`, as numbers or as the bytes that they are, in one pass that also cuts out a window.

use super::View;
use super::view::reflect;
use crate::{CHANNELS, Picture};

/// What becomes of a byte, worked out once for the 256 values of each channel: `(value / 255 - mean) / std`, or, of
/// [`Normalize::<u8>::bytes`], the byte.
#[derive(Clone, Debug)]
pub struct Normalize<T = f32> {
    table: [[T; 256]; CHANNELS],
}

impl Normalize<u8> {
    /// Bytes stay what they are: for a device that normalises pictures itself, and a quarter of the way there.
    pub fn bytes() -> Self {
        Self { table: [std::array::from_fn(|value| value as u8); CHANNELS] }
    }
}

impl Normalize {
    /// The table of a mean and a standard deviation by channel.
    pub fn new(mean: [f32; CHANNELS], std: [f32; CHANNELS]) -> Self {
        let table =
            std::array::from_fn(|c| std::array::from_fn(|value| (value as f32 / 255. - mean[c]) / std[c]));
        Self { table }
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
}

impl<T: Copy> Normalize<T> {
    /// Writes the `view` of a picture to `out`, `[3, H, W]` of the view's height and width.
    ///
    /// # Panics
    /// When `out` doesn't hold `3 * H * W` numbers, or the view reaches further than a picture's reflection.
    pub fn apply(&self, picture: &Picture, view: View, out: &mut [T]) {
        let View { height, width, .. } = view;
        assert_eq!(out.len(), CHANNELS * height * width, "the output must hold the view");
        if out.is_empty() {
            return;
        }
        let (red, rest) = out.split_at_mut(height * width);
        let (green, blue) = rest.split_at_mut(height * width);
        let lines =
            red.chunks_exact_mut(width).zip(green.chunks_exact_mut(width)).zip(blue.chunks_exact_mut(width));
        for (y, ((red, green), blue)) in lines.enumerate() {
            let row = reflect(y as isize + view.top, picture.height) * picture.width * CHANNELS;
            let pixels = &picture.pixels[row..][..picture.width * CHANNELS];
            self.line(pixels, view.left, [&mut *red, &mut *green, &mut *blue]);
            if view.flip {
                red.reverse();
                green.reverse();
                blue.reverse();
            }
        }
    }

    /// Writes the pixels of a row from column `left` on, each channel to a line of its own.
    fn line(&self, pixels: &[u8], left: isize, [red, green, blue]: [&mut [T]; CHANNELS]) {
        let (width, columns) = (red.len(), pixels.len() / CHANNELS);
        let [red_table, green_table, blue_table] = &self.table;
        // Columns of the window that lie in the picture; those on either side are reflections.
        let before = left.min(0).unsigned_abs().min(width);
        let first = left.max(0).unsigned_abs();
        let inside = before..width.min(before + columns.saturating_sub(first));
        let source = &pixels[first * CHANNELS..][..inside.len() * CHANNELS];
        let lines =
            red[inside.clone()].iter_mut().zip(&mut green[inside.clone()]).zip(&mut blue[inside.clone()]);
        for (pixel, ((red, green), blue)) in source.chunks_exact(CHANNELS).zip(lines) {
            *red = red_table[usize::from(pixel[0])];
            *green = green_table[usize::from(pixel[1])];
            *blue = blue_table[usize::from(pixel[2])];
        }
        for column in (0..inside.start).chain(inside.end..width) {
            let pixel = &pixels[reflect(column as isize + left, columns) * CHANNELS..][..CHANNELS];
            red[column] = red_table[usize::from(pixel[0])];
            green[column] = green_table[usize::from(pixel[1])];
            blue[column] = blue_table[usize::from(pixel[2])];
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A picture of `[2, 3]` whose channels are 10, 100 and 200 apart.
    fn picture() -> Picture {
        let pixels = (0..6).flat_map(|at| [at, at + 10, at + 100]).collect();
        Picture { height: 2, width: 3, pixels }
    }

    fn view(top: isize, left: isize, flip: bool) -> View {
        View { top, left, flip, ..View::whole([2, 3]) }
    }

    /// The red plane of a view, as bytes.
    fn red(view: View) -> Vec<u8> {
        let mut out = vec![0; CHANNELS * view.height * view.width];
        Normalize::bytes().apply(&picture(), view, &mut out);
        out[..view.height * view.width].to_vec()
    }

    #[test]
    fn normalises_each_channel_as_tensors_are() {
        let (mean, std) = ([0.5, 0.25, 0.1], [0.5, 0.2, 0.3]);
        let mut out = vec![0.; 18];
        Normalize::new(mean, std).apply(&picture(), View::whole([2, 3]), &mut out);
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
        normalize.apply(&picture, View::whole([16, 16]), &mut numbers);
        assert_eq!(normalize.restore(&numbers, [16, 16]), picture);
        let ends = normalize.restore(&[-9., 9., 0.], [1, 1]);
        assert_eq!(ends.pixels, [0, 255, 114]);
    }

    #[test]
    fn the_padding_reflects_without_the_edge() {
        // The rows are 0 1 2 and 3 4 5; padded by one pixel they are 4 3 4 5 4, 1 0 1 2 1, 4 3 4 5 4, 1 0 1 2 1.
        assert_eq!(red(View::whole([2, 3])), [0, 1, 2, 3, 4, 5]);
        assert_eq!(red(view(-1, -1, false)), [4, 3, 4, 1, 0, 1]);
        assert_eq!(red(view(1, 1, false)), [4, 5, 4, 1, 2, 1]);
        assert_eq!(red(view(0, 2, false)), [2, 1, 0, 5, 4, 3]);
    }

    #[test]
    fn the_window_is_flipped_after_it_is_cut() {
        assert_eq!(red(view(0, 0, true)), [2, 1, 0, 5, 4, 3]);
        assert_eq!(red(view(-1, 1, true)), [4, 5, 4, 1, 2, 1]);
    }

    #[test]
    fn windows_of_any_size_lie_anywhere_in_the_reflection() {
        let large = View { top: -1, left: -2, ..View::whole([4, 7]) };
        let rows = [[5, 4, 3, 4, 5, 4, 3], [2, 1, 0, 1, 2, 1, 0]];
        assert_eq!(red(large), [rows[0], rows[1], rows[0], rows[1]].concat());
        assert_eq!(red(View { top: 1, left: 2, ..View::whole([1, 1]) }), [5]);
        assert_eq!(red(View { left: -2, ..View::whole([1, 2]) }), [2, 1]);
        assert_eq!(red(View { left: 3, ..View::whole([1, 2]) }), [1, 0]);
        let mut cut = Picture::default();
        for flip in [false, true] {
            let view = View { flip, ..large };
            view.cut(&picture(), &mut cut);
            assert_eq!(cut.pixels.iter().step_by(3).copied().collect::<Vec<_>>(), red(view));
        }
    }
}
