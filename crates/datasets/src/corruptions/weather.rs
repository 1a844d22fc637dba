//! Snow, frost, fog, brightness and spatter.

use rand::Rng;

use super::colour::{grey, hsv, rgb};
use super::field::Field;
use super::frost::{PHOTOGRAPHS, SIDE, photograph};
use super::noise::normal;
use super::relief::{noise, relief, side};
use super::spatter::Spatter;
use crate::CHANNELS;

/// Weather with its draws.
#[derive(Clone, Debug, PartialEq)]
pub enum Weather {
    /// Flakes along a line over a paler picture.
    Snow(Snow),
    /// Ice over the picture.
    Frost {
        /// The picture's share.
        picture: f64,
        /// The ice's share.
        ice: f64,
        /// Which picture of ice, from 0.
        photograph: usize,
        /// Row and column of it at which the window begins.
        corner: [usize; 2],
    },
    /// Clouds added, and the whole made darker so that the brightest value stays where it was, or lower.
    Fog {
        /// How much.
        amount: f64,
        /// How quickly the clouds' roughness falls from large to small.
        decay: f64,
        /// The clouds' noise, `[S, S]` for the next power of two.
        noise: Vec<f64>,
    },
    /// Added to the value of hue, saturation and value.
    Brightness {
        /// How much.
        amount: f64,
    },
    /// Drops of water or mud.
    Spatter(Spatter),
}

/// Snow with its draws.
#[derive(Clone, Debug, PartialEq)]
pub struct Snow {
    /// Where flakes begin, `[H, W]`.
    pub layer: Vec<f64>,
    /// By how much the layer is enlarged.
    pub zoom: f64,
    /// Below this there is no flake.
    pub threshold: f64,
    /// Radius and standard deviation of the flakes' motion blur, in pixels.
    pub blur: [f64; 2],
    /// Its angle in degrees.
    pub angle: f64,
    /// The picture's share against its paler form.
    pub picture: f64,
}

impl Weather {
    pub(super) fn snow(level: usize, [height, width]: [usize; 2], rng: &mut impl Rng) -> Self {
        let [mean, deviation, zoom, threshold, radius, blur_deviation, picture] = [
            [0.1, 0.2, 1.0, 0.6, 8.0, 3.0, 0.95],
            [0.1, 0.2, 1.0, 0.5, 10.0, 4.0, 0.9],
            [0.15, 0.3, 1.75, 0.55, 10.0, 4.0, 0.9],
            [0.25, 0.3, 2.25, 0.6, 12.0, 6.0, 0.85],
            [0.3, 0.3, 1.25, 0.65, 14.0, 12.0, 0.8],
        ][level];
        let layer = normal(height * width, rng).iter().map(|n| mean + deviation * n).collect();
        let angle = rng.random_range(-135.0..-45.0);
        Self::Snow(Snow { layer, zoom, threshold, blur: [radius, blur_deviation], angle, picture })
    }

    pub(super) fn frost(level: usize, size: [usize; 2], rng: &mut impl Rng) -> Self {
        let (picture, ice) = [(1.0, 0.2), (1.0, 0.3), (0.9, 0.4), (0.85, 0.4), (0.75, 0.45)][level];
        let photograph = rng.random_range(0..PHOTOGRAPHS);
        let corner = size.map(|length| rng.random_range(0..SIDE.saturating_sub(length).max(1)));
        Self::Frost { picture, ice, photograph, corner }
    }

    pub(super) fn fog(level: usize, size: [usize; 2], rng: &mut impl Rng) -> Self {
        let (amount, decay) = [(0.2, 3.0), (0.5, 3.0), (0.75, 2.5), (1.0, 2.0), (1.5, 1.75)][level];
        Self::Fog { amount, decay, noise: noise(side(size), rng) }
    }

    pub(super) fn brightness(level: usize) -> Self {
        Self::Brightness { amount: [0.05, 0.1, 0.15, 0.2, 0.3][level] }
    }

    /// Bytes to bytes.
    pub(super) fn apply(&self, bytes: &Field<CHANNELS>) -> Field<CHANNELS> {
        match self {
            Self::Snow(snow) => snow.apply(&bytes.unit()).bytes(),
            Self::Frost { picture, ice, photograph: index, corner: [top, left] } => {
                let frost = photograph(*index);
                Field::new(bytes.size(), |y, x| {
                    let (pixel, over) = (bytes.at(y, x), frost.at((y + top) % SIDE, (x + left) % SIDE));
                    [0, 1, 2].map(|c| (picture * pixel[c] + ice * over[c]).clamp(0.0, 255.0))
                })
            }
            Self::Fog { amount, decay, noise } => fog(&bytes.unit(), *amount, *decay, noise).bytes(),
            Self::Brightness { amount } => {
                let brighter = |pixel| {
                    let [hue, saturation, value] = hsv(pixel);
                    rgb([hue, saturation, (value + amount).clamp(0.0, 1.0)])
                };
                bytes.unit().map(brighter).bytes()
            }
            Self::Spatter(spatter) => spatter.apply(&bytes.unit()).bytes(),
        }
    }
}

impl Snow {
    fn apply(&self, unit: &Field<CHANNELS>) -> Field<CHANNELS> {
        let [height, width] = unit.size();
        let layer = Field::new([height, width], |y, x| [self.layer[y * width + x]]).zoomed(self.zoom);
        let flake = |[value]: [f64; 1]| if value < self.threshold { 0.0 } else { value.min(1.0) };
        let bytes = layer.map(|value| [(flake(value) * 255.0).floor()]);
        let [radius, deviation] = self.blur;
        let flakes =
            bytes.motion_blurred(radius, deviation, self.angle).map(|[value]| [value.round() / 255.0]);
        Field::new([height, width], |y, x| {
            let pixel = unit.at(y, x);
            let pale = 1.5 * grey(pixel) + 0.5;
            let [flake] = flakes.at(y, x);
            let [turned] = flakes.at(height - 1 - y, width - 1 - x);
            pixel.map(|value| self.picture * value + (1.0 - self.picture) * value.max(pale) + flake + turned)
        })
    }
}

fn fog(unit: &Field<CHANNELS>, amount: f64, decay: f64, noise: &[f64]) -> Field<CHANNELS> {
    let clouds = relief(noise, side(unit.size()), decay);
    let brightest = unit.values.as_flattened().iter().copied().fold(0.0, f64::max);
    let scale = brightest / (brightest + amount);
    Field::new(unit.size(), |y, x| unit.at(y, x).map(|value| (value + amount * clouds.at(y, x)[0]) * scale))
}

#[cfg(test)]
mod tests {
    use super::*;
    use adautomix_random::{Key, Purpose};

    fn rng() -> adautomix_random::Rng {
        Key::new(4, Purpose::Test).rng()
    }

    #[test]
    fn fog_never_exceeds_the_brightest_value() {
        let grey = Field::new([24, 40], |y, x| [(y * 3) as f64, (x * 2) as f64, 90.0]);
        for level in 0..5 {
            let after = Weather::fog(level, [24, 40], &mut rng()).apply(&grey);
            let values = after.values.as_flattened();
            assert!(values.iter().all(|value| (0.0..=90.0).contains(value)), "{level}");
        }
    }

    #[test]
    fn snow_makes_nothing_darker_than_its_share() {
        let grey = Field::new([32, 32], |_, _| [100.0; 3]);
        let Weather::Snow(mut snow) = Weather::snow(4, [32, 32], &mut rng()) else { panic!() };
        let after = Weather::Snow(snow.clone()).apply(&grey);
        let pale = 0.8 * 100.0 + 0.2 * (1.5 * 100.0 + 0.5 * 255.0);
        assert!(
            after.values.iter().all(|p| p[0] >= pale - 1e-9)
                && after.values.iter().any(|p| p[0] > pale + 9.0)
        );
        // Without flakes nothing but the paler form is left.
        snow.layer.fill(0.0);
        let after = Weather::Snow(snow).apply(&grey);
        assert!(after.values.iter().all(|p| (p[0] - pale).abs() < 1e-9));
    }

    #[test]
    fn frost_takes_its_window_wherever_it_is() {
        let black = Field::new([32, 300], |_, _| [0.0; 3]);
        let frost = Weather::Frost { picture: 1.0, ice: 0.5, photograph: 2, corner: [3, 5] }.apply(&black);
        assert_eq!(frost.at(1, 2)[0], 0.5 * photograph(2).at(4, 7)[0]);
        assert_eq!(frost.at(1, 299)[2], 0.5 * photograph(2).at(4, 304 - SIDE)[2]);
    }
}
