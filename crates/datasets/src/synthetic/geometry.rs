//! Shapes and textures as distances in pixels, which give smooth edges without sampling a pixel more than once.

use adautomix_random::Rng as Generator;
use rand::Rng;
use std::ops::Range;

/// A place and a rotation.
pub(super) struct Frame {
    x: f32,
    y: f32,
    sine: f32,
    cosine: f32,
}

impl Frame {
    /// A place whose coordinates both lie in `range`, turned by at most `turn` (radians) either way.
    pub(super) fn draw(rng: &mut Generator, range: Range<f32>, turn: f32) -> Self {
        let (sine, cosine) = rng.random_range(-turn..turn).sin_cos();
        Self { x: rng.random_range(range.clone()), y: rng.random_range(range), sine, cosine }
    }

    /// The coordinates of a point of the picture, seen from here.
    pub(super) fn local(&self, x: f32, y: f32) -> (f32, f32) {
        let (x, y) = (x - self.x, y - self.y);
        (self.cosine * x + self.sine * y, self.cosine * y - self.sine * x)
    }
}

/// An outline.
#[derive(Clone, Copy)]
pub(super) enum Shape {
    Disc,
    Square,
    Triangle,
    Cross,
    Star,
}

impl Shape {
    pub(super) const ALL: [Self; 5] = [Self::Disc, Self::Square, Self::Triangle, Self::Cross, Self::Star];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Disc => "disc",
            Self::Square => "square",
            Self::Triangle => "triangle",
            Self::Cross => "cross",
            Self::Star => "star",
        }
    }

    /// The distance of a point from the outline, negative inside, of the shape with the area of a disc of `radius`.
    ///
    /// Outside of corners it is the distance from the nearest edge's line, which keeps corners sharp. A triangle and a
    /// star point up, to negative `y`.
    pub(super) fn distance(self, x: f32, y: f32, radius: f32) -> f32 {
        match self {
            Self::Disc => (x * x + y * y).sqrt() - radius,
            Self::Square => x.abs().max(y.abs()) - 0.886_227 * radius,
            Self::Triangle => {
                // Three edges at the inradius, which is half of the circumradius.
                const HALF_ROOT_3: f32 = 0.866_025_4;
                let edge = (HALF_ROOT_3 * x.abs() - 0.5 * y).max(y);
                edge - 0.777_6 * radius
            }
            Self::Cross => {
                let (long, short) = (x.abs().max(y.abs()), x.abs().min(y.abs()));
                let (reach, half_width) = (1.107_8 * radius, 0.443_1 * radius);
                (long - reach).max(short - half_width)
            }
            Self::Star => star(x, -y, 1.541_7 * radius),
        }
    }
}

/// The distance from a five-pointed star whose points lie at `reach` and whose notches at 0.45 of it.
fn star(x: f32, y: f32, reach: f32) -> f32 {
    const SINE_36: f32 = 0.587_785_25;
    const COSINE_36: f32 = 0.809_017;
    const NOTCH: f32 = 0.45;
    // The plane folds into the tenth of a turn between a point, at (0, reach), and the next notch.
    let (mut x, mut y) = (x.abs(), y);
    for _ in 0..2 {
        let beyond = (COSINE_36 * x - SINE_36 * y).max(0.);
        x = (x - 2. * beyond * COSINE_36).abs();
        y += 2. * beyond * SINE_36;
    }
    let edge = (NOTCH * SINE_36, NOTCH * COSINE_36 - 1.);
    let length = (edge.0 * edge.0 + edge.1 * edge.1).sqrt();
    (edge.0 * (y - reach) - edge.1 * x) / length
}

/// A pattern of two inks that each cover half of the plane.
#[derive(Clone, Copy)]
pub(super) enum Texture {
    Striped,
    Dotted,
}

impl Texture {
    pub(super) const ALL: [Self; 2] = [Self::Striped, Self::Dotted];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Striped => "striped",
            Self::Dotted => "dotted",
        }
    }

    /// The share of the second ink at a point, for a pattern that repeats after `period` pixels.
    pub(super) fn coverage(self, x: f32, y: f32, period: f32) -> f32 {
        // The offset from the middle of the cell that the point is in.
        let offset = |t: f32| t - (t / period).round() * period;
        let depth = match self {
            Self::Striped => 0.25 * period - offset(x).abs(),
            Self::Dotted => {
                // A disc of this radius covers half of a square cell.
                let (x, y) = (offset(x), offset(y));
                0.398_942 * period - (x * x + y * y).sqrt()
            }
        };
        (0.5 + depth).clamp(0., 1.)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The share of the points of a grid, `side` pixels wide, for which `f` holds by degrees.
    fn area(side: f32, f: impl Fn(f32, f32) -> f32) -> f32 {
        let steps = 600;
        let at = |i: usize| (i as f32 + 0.5) / steps as f32 * side - side / 2.;
        let sum: f32 = (0..steps * steps).map(|i| f(at(i % steps), at(i / steps))).sum();
        sum / (steps * steps) as f32 * side * side
    }

    #[test]
    fn shapes_have_the_area_of_the_disc() {
        let disc = std::f32::consts::PI * 64.;
        for shape in Shape::ALL {
            let found = area(32., |x, y| if shape.distance(x, y, 8.) < 0. { 1. } else { 0. });
            assert!((found / disc - 1.).abs() < 0.01, "{}: {found} of {disc}", shape.name());
        }
    }

    #[test]
    fn textures_cover_half() {
        for texture in Texture::ALL {
            let found = area(60., |x, y| texture.coverage(x, y, 6.)) / 3600.;
            assert!((found - 0.5).abs() < 0.01, "{}: {found}", texture.name());
        }
    }
}
