//! Pictures and layers as numbers, and the filters that several corruptions share.

use crate::{CHANNELS, Picture};

/// `[H, W]` pixels of `C` numbers. They are `f64`, as in the published program: its results are truncated to bytes, so a
/// last bit can be a whole step.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Field<const C: usize> {
    pub(super) height: usize,
    pub(super) width: usize,
    pub(super) values: Vec<[f64; C]>,
}

/// Which pixel stands for one outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Border {
    /// The nearest of the edge: `a a | a b c`.
    Edge,
    /// Mirrored at the edge pixel, which isn't repeated: `c b | a b c`.
    Mirror,
    /// Mirrored beside the edge pixel, which is: `b a | a b c`.
    Repeat,
}

impl Border {
    /// The index in `0..len` for any index; `len` is positive.
    pub(super) fn index(self, index: isize, len: usize) -> usize {
        let len = len as isize;
        let inside = match self {
            Self::Edge => index.clamp(0, len - 1),
            Self::Mirror if len == 1 => 0,
            Self::Mirror => {
                let at = index.rem_euclid(2 * len - 2);
                at.min(2 * len - 2 - at)
            }
            Self::Repeat => {
                let at = index.rem_euclid(2 * len);
                at.min(2 * len - 1 - at)
            }
        };
        inside as usize
    }
}

impl Field<CHANNELS> {
    /// The bytes of a picture, 0 to 255.
    pub(super) fn of(picture: &Picture) -> Self {
        let values = picture.pixels.chunks_exact(CHANNELS).map(|p| [0, 1, 2].map(|c| f64::from(p[c])));
        Self { height: picture.height, width: picture.width, values: values.collect() }
    }

    /// Bytes as shares of 255.
    pub(super) fn unit(&self) -> Self {
        self.map(|pixel| pixel.map(|value| value / 255.0))
    }

    /// Shares, cut off at 0 and 1, times 255.
    pub(super) fn bytes(&self) -> Self {
        self.map(|pixel| pixel.map(|value| value.clamp(0.0, 1.0) * 255.0))
    }
}

impl<const C: usize> Field<C> {
    /// A field of what `value` gives for row and column.
    pub(super) fn new([height, width]: [usize; 2], mut value: impl FnMut(usize, usize) -> [f64; C]) -> Self {
        let mut values = Vec::with_capacity(height * width);
        for y in 0..height {
            values.extend((0..width).map(|x| value(y, x)));
        }
        Self { height, width, values }
    }

    pub(super) fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    pub(super) fn at(&self, y: usize, x: usize) -> [f64; C] {
        self.values[y * self.width + x]
    }

    pub(super) fn map<const D: usize>(&self, value: impl FnMut([f64; C]) -> [f64; D]) -> Field<D> {
        Field {
            height: self.height,
            width: self.width,
            values: self.values.iter().copied().map(value).collect(),
        }
    }

    /// The pixel at any row and column.
    pub(super) fn outside(&self, y: isize, x: isize, border: Border) -> [f64; C] {
        self.at(border.index(y, self.height), border.index(x, self.width))
    }

    /// The weighted sum of each pixel's neighbours, which are at (rows down, columns right).
    pub(super) fn filtered(&self, taps: &[(isize, isize, f64)], border: Border) -> Self {
        Self::new(self.size(), |y, x| {
            let mut sum = [0.0; C];
            for &(down, right, weight) in taps {
                add(&mut sum, weight, self.outside(y as isize + down, x as isize + right, border));
            }
            sum
        })
    }

    /// Under a Gaussian of this standard deviation in pixels, cut off at `truncate` deviations (rounded to pixels).
    pub(super) fn gaussian(&self, deviation: f64, truncate: f64, border: Border) -> Self {
        if deviation <= 0.0 {
            return self.clone();
        }
        let taps = gaussian_taps(deviation, (truncate * deviation + 0.5).floor() as isize);
        let down: Vec<_> = taps.iter().map(|&(at, weight)| (at, 0, weight)).collect();
        let right: Vec<_> = taps.iter().map(|&(at, weight)| (0, at, weight)).collect();
        self.filtered(&down, border).filtered(&right, border)
    }

    /// Between the pixels, bilinearly.
    pub(super) fn between(&self, y: f64, x: f64, border: Border) -> [f64; C] {
        let (top, left) = (y.floor(), x.floor());
        let (down, right) = (y - top, x - left);
        let mut sum = [0.0; C];
        for (row, share) in [(0, 1.0 - down), (1, down)] {
            for (column, weight) in [(0, share * (1.0 - right)), (1, share * right)] {
                let pixel = self.outside(top as isize + row, left as isize + column, border);
                add(&mut sum, weight, pixel);
            }
        }
        sum
    }

    /// The middle, enlarged bilinearly with corners aligned so that it fills the field again.
    pub(super) fn zoomed(&self, factor: f64) -> Self {
        let axis = |length: usize| {
            let crop = ((length as f64 / factor).ceil() as usize).clamp(1, length);
            let large = ((factor * crop as f64).round_ties_even() as usize).max(length);
            let (from, trim) = ((length - crop) / 2, (large - length) / 2);
            let step = (crop - 1) as f64 / (large - 1).max(1) as f64;
            move |at: usize| from as f64 + (at + trim) as f64 * step
        };
        let (rows, columns) = (axis(self.height), axis(self.width));
        Self::new(self.size(), |y, x| self.between(rows(y), columns(x), Border::Edge))
    }

    /// Motion blur as ImageMagick's: a Gaussian's half along a line at an angle in degrees, `2 ceil(radius) + 1` pixels
    /// long, each at the pixel that is nearest.
    pub(super) fn motion_blurred(&self, radius: f64, deviation: f64, angle: f64) -> Self {
        let length = 2 * radius.ceil() as isize + 1;
        let (down, right) = angle.to_radians().sin_cos();
        let nearest = |at: f64| (at - 0.5).ceil() as isize;
        let weight = |at: isize| (-((at * at) as f64) / (2.0 * deviation * deviation)).exp();
        let total: f64 = (0..length).map(weight).sum();
        let tap = |at: isize| (nearest(at as f64 * down), nearest(at as f64 * right), weight(at) / total);
        self.filtered(&(0..length).map(tap).collect::<Vec<_>>(), Border::Edge)
    }
}

/// Taps from `-radius` to `radius`, which sum to 1.
pub(super) fn gaussian_taps(deviation: f64, radius: isize) -> Vec<(isize, f64)> {
    let weight = |at: isize| (-0.5 * (at * at) as f64 / (deviation * deviation)).exp();
    let total: f64 = (-radius..=radius).map(weight).sum();
    (-radius..=radius).map(|at| (at, weight(at) / total)).collect()
}

fn add<const C: usize>(sum: &mut [f64; C], weight: f64, pixel: [f64; C]) {
    sum.iter_mut().zip(pixel).for_each(|(sum, value)| *sum += weight * value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn borders_reach_as_far_as_they_are_asked() {
        let line = |border: Border, len| (-4..7).map(|at| border.index(at, len)).collect::<Vec<_>>();
        assert_eq!(line(Border::Edge, 3), [0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2]);
        assert_eq!(line(Border::Mirror, 3), [0, 1, 2, 1, 0, 1, 2, 1, 0, 1, 2]);
        assert_eq!(line(Border::Repeat, 3), [2, 2, 1, 0, 0, 1, 2, 2, 1, 0, 0]);
        for border in [Border::Edge, Border::Mirror, Border::Repeat] {
            assert_eq!(line(border, 1), [0; 11]);
        }
    }

    #[test]
    fn a_motion_blur_moves_along_its_angle_only() {
        // A dot at the middle of the row above and of its own: blurred to the left for 0°, upwards for 90°.
        let dot = Field::new([9, 9], |y, x| [f64::from(u8::from([y, x] == [4, 4]))]);
        let flat = dot.motion_blurred(2.0, 1.0, 0.0);
        assert!(flat.at(4, 4)[0] > flat.at(4, 3)[0] && flat.at(4, 0)[0] > 0.0 && flat.at(4, 5)[0] == 0.0);
        let steep = dot.motion_blurred(2.0, 1.0, 90.0);
        assert_eq!((0..5).map(|y| steep.at(y, 4)).collect::<Vec<_>>(), flat.values[36..41]);
        let sum: f64 = flat.values.iter().map(|[value]| value).sum();
        assert!((sum - 1.0).abs() < 1e-12, "{sum}");
    }

    #[test]
    fn a_zoom_keeps_middle_and_size() {
        let ramp = Field::new([32, 20], |y, x| [y as f64, x as f64]);
        let zoomed = ramp.zoomed(1.25);
        // 26 of 32 rows become 32, 16 of 20 columns 20.
        assert_eq!((zoomed.size(), zoomed.at(0, 0)), ([32, 20], [3.0, 2.0]));
        let [y, x] = zoomed.at(31, 19);
        assert!((y - 28.0).abs() < 1e-9 && (x - 17.0).abs() < 1e-9, "{y} {x}");
        assert_eq!(Field::new([1, 1], |_, _| [7.0]).zoomed(1.2).values, [[7.0]]);
    }
}
