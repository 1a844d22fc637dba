//! Pictures that the program draws: a textured shape somewhere on a varied ground.
//!
//! Ten classes are the product of five shapes and two textures, so that a network needs the outline, which is large,
//! and the texture, which is small, to tell one from another. Colours, place, size, rotation and ground are chance and
//! independent of the class; shapes have the same area and textures cover half of it, so that no sum over pixels gives
//! the class away. Each picture follows from (seed, split, index) alone.

mod geometry;

use crate::{CHANNELS, Error, Picture, Result, Source, Split};
use adautomix_random::{Key, Purpose, Rng as Generator};
use geometry::{Frame, Shape, Texture};
use rand::{Rng, RngCore};
use std::f32::consts::PI;
use std::ops::Range;

/// Classes: each shape with each texture.
pub(crate) const CLASSES: usize = Shape::ALL.len() * Texture::ALL.len();
/// Height and width of a picture.
pub(crate) const SIZE: [usize; 2] = [32, 32];
/// Mean by channel over the training pictures of seed 0.
pub(crate) const MEAN: [f32; CHANNELS] = [0.273, 0.273, 0.273];
/// Standard deviation by channel over them.
pub(crate) const STD: [f32; CHANNELS] = [0.251, 0.251, 0.251];

/// A drawn data set of any length; the class of a picture is its index modulo ten.
#[derive(Clone, Debug)]
pub struct Synthetic {
    seed: u64,
    split: Split,
    len: usize,
    class_names: Vec<String>,
}

impl Synthetic {
    /// The first `len` pictures of a split; other seeds and the other split have other pictures of the same classes.
    pub fn new(seed: u64, split: Split, len: usize) -> Self {
        let class_names = (0..CLASSES)
            .map(Class::of)
            .map(|class| format!("{} {}", class.texture.name(), class.shape.name()));
        Self { seed, split, len, class_names: class_names.collect() }
    }
}

impl Source for Synthetic {
    fn name(&self) -> &str {
        "synthetic"
    }

    fn len(&self) -> usize {
        self.len
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn size(&self) -> Option<[usize; 2]> {
        Some(SIZE)
    }

    fn read(&self, index: usize, picture: &mut Picture) -> Result<usize> {
        if index >= self.len {
            return Err(Error::Index { name: self.name().to_owned(), index, len: self.len });
        }
        let label = index % CLASSES;
        // The key's step tells the splits apart.
        let key = Key::new(self.seed, Purpose::Synthetic).step(self.split as usize).sample(index);
        let mut rng = key.rng();
        picture.resize(SIZE[0], SIZE[1]);
        Scene::draw(Class::of(label), &mut rng).paint(picture, &mut rng);
        Ok(label)
    }
}

/// What a label stands for.
#[derive(Clone, Copy)]
struct Class {
    shape: Shape,
    texture: Texture,
}

impl Class {
    fn of(label: usize) -> Self {
        let textures = Texture::ALL.len();
        Self { shape: Shape::ALL[label / textures], texture: Texture::ALL[label % textures] }
    }
}

type Colour = [f32; CHANNELS];

/// Cells of the ground's noise along a side; it has one more corner than cells.
const CELLS: usize = 3;

/// All that chance decides about a picture but the grain.
struct Scene {
    class: Class,
    /// Where the shape stands, turned.
    place: Frame,
    /// The radius of the disc of the shape's area, in pixels.
    radius: f32,
    /// Where its texture begins, turned.
    weave: Frame,
    period: f32,
    /// The two colours of the texture.
    inks: [Colour; 2],
    /// The two colours between which the ground varies, and how far at the corners of its cells.
    ground: [Colour; 2],
    corners: [[f32; CELLS + 1]; CELLS + 1],
    /// A faint texture of the ground, either one, so that a texture somewhere doesn't tell the class.
    ground_texture: Texture,
    ground_weave: Frame,
    ground_period: f32,
    ground_contrast: f32,
    grain: f32,
}

impl Scene {
    fn draw(class: Class, rng: &mut Generator) -> Self {
        let side = SIZE[0] as f32;
        let radius = rng.random_range(8.5..10.5);
        let margin = 1.15 * radius;
        // Both inks are lighter than the ground, whatever their hues, and shapes are only tilted, so that a small network
        // learns the outlines in hundreds of steps; with either left to chance it learns far slower.
        let ground = [colour(rng, 0.06..0.24, 0.6), colour(rng, 0.06..0.24, 0.6)];
        let (dim, light) = (colour(rng, 0.42..0.54, 0.3), colour(rng, 0.84..0.97, 0.2));
        Self {
            class,
            place: Frame::draw(rng, margin..side - margin, 0.4),
            radius,
            weave: Frame::draw(rng, 0.0..side, PI),
            period: rng.random_range(5.5..7.5),
            inks: if rng.random() { [dim, light] } else { [light, dim] },
            ground,
            corners: std::array::from_fn(|_| std::array::from_fn(|_| rng.random())),
            ground_texture: Texture::ALL[rng.random_range(0..Texture::ALL.len())],
            ground_weave: Frame::draw(rng, 0.0..side, PI),
            ground_period: rng.random_range(5.5..7.5),
            ground_contrast: rng.random_range(0.0..0.06),
            grain: rng.random_range(0.0..0.10),
        }
    }

    /// Paints the scene over a picture's bytes.
    fn paint(&self, picture: &mut Picture, rng: &mut Generator) {
        // The grain is drawn into the picture first, where each byte makes room for the one it is added to.
        rng.fill_bytes(&mut picture.pixels);
        let width = picture.width;
        for (y, line) in picture.pixels.chunks_exact_mut(width * CHANNELS).enumerate() {
            for (x, pixel) in line.chunks_exact_mut(CHANNELS).enumerate() {
                let (x, y) = (x as f32 + 0.5, y as f32 + 0.5);
                let colour = self.colour_at(x, y);
                for (value, colour) in pixel.iter_mut().zip(colour) {
                    let grain = (f32::from(*value) / 255. - 0.5) * self.grain;
                    *value = ((colour + grain) * 255. + 0.5) as u8;
                }
            }
        }
    }

    fn colour_at(&self, x: f32, y: f32) -> Colour {
        let (u, v) = self.ground_weave.local(x, y);
        let shade = (self.ground_texture.coverage(u, v, self.ground_period) - 0.5) * self.ground_contrast;
        let ground = blend(self.ground[0], self.ground[1], self.relief(x, y)).map(|value| value + shade);

        let (u, v) = self.place.local(x, y);
        let inside = (0.5 - self.class.shape.distance(u, v, self.radius)).clamp(0., 1.);
        if inside == 0. {
            return ground;
        }
        let (u, v) = self.weave.local(x, y);
        let ink = blend(self.inks[0], self.inks[1], self.class.texture.coverage(u, v, self.period));
        blend(ground, ink, inside)
    }

    /// Smooth noise between 0 and 1: the cells' corners, interpolated.
    fn relief(&self, x: f32, y: f32) -> f32 {
        let scale = CELLS as f32 / SIZE[0] as f32;
        let (x, y) = (x * scale, y * scale);
        let (column, row) = ((x as usize).min(CELLS - 1), (y as usize).min(CELLS - 1));
        let ease = |t: f32| t * t * (3. - 2. * t);
        let (s, t) = (ease(x - column as f32), ease(y - row as f32));
        let mix = |line: &[f32; CELLS + 1]| line[column] + (line[column + 1] - line[column]) * s;
        let (above, below) = (mix(&self.corners[row]), mix(&self.corners[row + 1]));
        above + (below - above) * t
    }
}

fn blend(from: Colour, to: Colour, share: f32) -> Colour {
    std::array::from_fn(|c| from[c] + (to[c] - from[c]) * share)
}

/// A colour of any hue: its highest channel is drawn from `value`, its saturation from 0 to `saturation`.
fn colour(rng: &mut Generator, value: Range<f32>, saturation: f32) -> Colour {
    let hue: f32 = rng.random();
    let (value, saturation) = (rng.random_range(value), rng.random_range(0.0..saturation));
    // Over the colour wheel each channel is a trapezoid, a third of a turn from the next.
    std::array::from_fn(|channel| {
        let turn = (hue + channel as f32 / 3.).fract();
        let level = ((turn * 6. - 3.).abs() - 1.).clamp(0., 1.);
        value * (1. - saturation * (1. - level))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(source: &Synthetic, index: usize) -> Picture {
        let mut picture = Picture::default();
        assert_eq!(source.read(index, &mut picture).unwrap(), index % CLASSES);
        picture
    }

    #[test]
    fn a_picture_follows_from_seed_split_and_index_alone() {
        let source = Synthetic::new(1, Split::Train, 100);
        let picture = read(&source, 42);
        assert_eq!(read(&Synthetic::new(1, Split::Train, 50), 42), picture);
        for other in [Synthetic::new(2, Split::Train, 100), Synthetic::new(1, Split::Test, 100)] {
            assert_ne!(read(&other, 42), picture);
        }
        assert_ne!(read(&source, 52), picture);
        assert!(source.read(100, &mut Picture::default()).is_err());
    }

    #[test]
    fn classes_are_named_after_texture_and_shape() {
        let source = Synthetic::new(0, Split::Train, 1);
        assert_eq!(source.class_names()[..3], ["striped disc", "dotted disc", "striped square"]);
        assert_eq!(source.class_names()[9], "dotted star");
    }

    #[test]
    fn normalisation_is_that_of_the_pictures() {
        let source = Synthetic::new(0, Split::Train, 4000);
        let (mut sums, mut squares) = ([0f64; CHANNELS], [0f64; CHANNELS]);
        for index in 0..source.len() {
            for pixel in read(&source, index).pixels.chunks_exact(CHANNELS) {
                for (channel, &value) in pixel.iter().enumerate() {
                    let value = f64::from(value) / 255.;
                    sums[channel] += value;
                    squares[channel] += value * value;
                }
            }
        }
        let count = (source.len() * SIZE[0] * SIZE[1]) as f64;
        for channel in 0..CHANNELS {
            let mean = sums[channel] / count;
            let std = (squares[channel] / count - mean * mean).sqrt();
            assert!((mean as f32 - MEAN[channel]).abs() < 0.005, "mean {channel}: {mean}");
            assert!((std as f32 - STD[channel]).abs() < 0.005, "std {channel}: {std}");
        }
    }

    /// A linear classifier on the pixels, trained by gradient descent, doesn't get far.
    #[test]
    fn pixels_alone_do_not_tell_the_class() {
        const INPUTS: usize = 32 * 32 * CHANNELS;
        let train = Synthetic::new(0, Split::Train, 2000);
        let test = Synthetic::new(0, Split::Test, 1000);
        let input = |source: &Synthetic, index| -> Vec<f32> {
            read(source, index).pixels.iter().map(|&value| f32::from(value) / 127.5 - 1.).collect()
        };
        let mut weights = vec![[0f32; INPUTS]; CLASSES];
        let scores = |weights: &[[f32; INPUTS]], input: &[f32]| -> Vec<f32> {
            weights.iter().map(|row| row.iter().zip(input).map(|(w, x)| w * x).sum()).collect()
        };
        for _ in 0..5 {
            for index in 0..train.len() {
                let input = input(&train, index);
                let scores = scores(&weights, &input);
                let top = scores.iter().copied().fold(f32::MIN, f32::max);
                let total: f32 = scores.iter().map(|score| (score - top).exp()).sum();
                for (class, row) in weights.iter_mut().enumerate() {
                    let wanted = f32::from(u8::from(class == index % CLASSES));
                    let error = (scores[class] - top).exp() / total - wanted;
                    row.iter_mut().zip(&input).for_each(|(w, x)| *w -= 0.001 * error * x);
                }
            }
        }
        let right = (0..test.len()).filter(|&index| {
            let scores = scores(&weights, &input(&test, index));
            (0..CLASSES).all(|class| scores[class] <= scores[index % CLASSES])
        });
        let right = right.count();
        assert!(right < 300, "{right} of 1000 are right, a guess is right for 100");
    }
}
