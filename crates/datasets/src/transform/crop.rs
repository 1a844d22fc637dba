//! Where a window lies in a picture: in its middle, somewhere in the padded picture, or a rectangle of chance size.

use rand::Rng;

use super::{Interpolation, View};

/// How the window is chosen that a picture is cut to.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Crop {
    /// The middle of the picture: all of it, where it has the size of the output.
    Center,
    /// A window of the output's size, anywhere in the picture after it is padded by so many pixels on each side. The
    /// padding reflects the picture without repeating the edge (`reflect` in NumPy and PyTorch).
    Padded(usize),
    /// A rectangle of chance size and shape, resized to that of the output.
    Resized(ResizedCrop),
}

/// A random rectangle of a picture (Szegedy et al., 2015), drawn as torchvision's `RandomResizedCrop` draws it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ResizedCrop {
    /// Least and largest share of the picture's area.
    pub scale: [f64; 2],
    /// Least and largest width over height; its logarithm is uniform.
    pub ratio: [f64; 2],
    /// How the rectangle is resized.
    pub interpolation: Interpolation,
}

impl Crop {
    /// Draws the window of a picture that isn't smaller than [`least`](Self::least).
    pub(super) fn draw(self, picture: [usize; 2], output: [usize; 2], rng: &mut impl Rng) -> View {
        match self {
            Self::Center => centred(picture, output),
            Self::Padded(pad) => {
                let mut shift = |picture: usize, output: usize| {
                    rng.random_range(0..=(picture + 2 * pad - output) as u32) as isize - pad as isize
                };
                let (top, left) = (shift(picture[0], output[0]), shift(picture[1], output[1]));
                View { top, left, ..View::whole(output) }
            }
            Self::Resized(crop) => crop.draw(picture, rng),
        }
    }

    /// Height and width of the smallest picture that it takes.
    pub(super) fn least(self, output: [usize; 2]) -> [usize; 2] {
        match self {
            Self::Center => output,
            Self::Padded(pad) => output.map(|side| side.saturating_sub(2 * pad).max(pad + 1)),
            Self::Resized(_) => [1, 1],
        }
    }
}

impl ResizedCrop {
    /// Draws the rectangle: ten tries, then the largest in the middle whose shape is in the range.
    fn draw(&self, picture: [usize; 2], rng: &mut impl Rng) -> View {
        let [height, width] = picture;
        for _ in 0..10 {
            let [rows, columns] = sides(picture, self.scale, self.ratio, rng);
            if (1..=height).contains(&rows) && (1..=width).contains(&columns) {
                let top = rng.random_range(0..=(height - rows) as u32) as isize;
                let left = rng.random_range(0..=(width - columns) as u32) as isize;
                return View { top, left, ..View::whole([rows, columns]) };
            }
        }
        let shape = width as f64 / height as f64;
        let rows = if shape < self.ratio[0] { width as f64 / self.ratio[0] } else { height as f64 };
        let columns = if shape > self.ratio[1] { height as f64 * self.ratio[1] } else { width as f64 };
        let side = |side: f64, most| (side.round_ties_even() as usize).clamp(1, most);
        let view = [side(rows, height), side(columns, width)];
        let [top, left] = [0, 1].map(|axis| ((picture[axis] - view[axis]) / 2) as isize);
        View { top, left, ..View::whole(view) }
    }
}

/// Draws the rows and columns of a rectangle: its share of the area of `whole` from `scale`, its width over height from
/// `ratio`. It may be larger than the whole.
pub(super) fn sides(whole: [usize; 2], scale: [f64; 2], ratio: [f64; 2], rng: &mut impl Rng) -> [usize; 2] {
    let mut between = |[low, high]: [f64; 2]| low + (high - low) * rng.random::<f64>();
    let area = (whole[0] * whole[1]) as f64 * between(scale);
    let shape = between(ratio.map(f64::ln)).exp();
    [area / shape, area * shape].map(|square| square.sqrt().round_ties_even() as usize)
}

/// The middle; an odd pixel is above and to the left of it, or below and to the right, as torchvision rounds.
fn centred(picture: [usize; 2], output: [usize; 2]) -> View {
    let [top, left] =
        [0, 1].map(|axis| ((picture[axis] - output[axis]) as f64 / 2.0).round_ties_even() as isize);
    View { top, left, ..View::whole(output) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adautomix_random::{Key, Purpose};

    const CROP: ResizedCrop = ResizedCrop {
        scale: [0.08, 1.0],
        ratio: [3.0 / 4.0, 4.0 / 3.0],
        interpolation: Interpolation::Bilinear,
    };

    #[test]
    fn rectangles_have_the_areas_and_shapes_that_are_asked_for() {
        let rng = &mut Key::new(5, Purpose::Test).rng();
        let (mut area, mut wide, mut corners) = (0.0, 0, [0; 4]);
        for _ in 0..4000 {
            let view = CROP.draw([300, 400], rng);
            let shape = view.width as f64 / view.height as f64;
            assert!((0.74..1.35).contains(&shape), "{view:?}");
            let share = (view.width * view.height) as f64 / 120_000.0;
            assert!((0.079..1.01).contains(&share), "{view:?}");
            area += share / 4000.0;
            wide += usize::from(shape > 1.0);
            let (bottom, right) = (view.top + view.height as isize, view.left + view.width as isize);
            assert!(view.top >= 0 && view.left >= 0 && bottom <= 300 && right <= 400, "{view:?}");
            for (edge, touched) in
                [view.top == 0, view.left == 0, bottom == 300, right == 400].iter().enumerate()
            {
                corners[edge] += usize::from(*touched);
            }
        }
        // 8000 draws of torchvision have a mean of 0.434, and 58 % are wide: what is large and high doesn't fit.
        assert!((0.42..0.45).contains(&area), "{area}");
        assert!((2200..2440).contains(&wide), "{wide}");
        assert!(corners.iter().all(|touched| *touched > 5), "{corners:?}");
    }

    #[test]
    fn what_no_rectangle_fits_gets_the_largest_in_its_middle() {
        let rng = &mut Key::new(5, Purpose::Test).rng();
        let all = ResizedCrop { scale: [1.0, 1.0], ..CROP };
        // What torchvision gives for pictures so long.
        assert_eq!(all.draw([10, 100], rng), View { top: 0, left: 43, ..View::whole([10, 13]) });
        assert_eq!(all.draw([100, 10], rng), View { top: 43, left: 0, ..View::whole([13, 10]) });
        assert_eq!(all.draw([1, 1], rng).size(), [1, 1]);
        let square = ResizedCrop { ratio: [1.0, 1.0], ..all };
        assert_eq!(square.draw([7, 7], rng), View::whole([7, 7]));
    }

    #[test]
    fn every_window_of_the_padded_picture_is_drawn_alike() {
        let rng = &mut Key::new(3, Purpose::Test).rng();
        let mut counts = [[0; 9]; 9];
        for _ in 0..81_000 {
            let view = Crop::Padded(4).draw([32, 32], [32, 32], rng);
            counts[(view.top + 4) as usize][(view.left + 4) as usize] += 1;
        }
        // 1000 are expected in each place, with a standard deviation of 31.
        assert!(counts.as_flattened().iter().all(|count| (850..1150).contains(count)), "{counts:?}");
    }

    #[test]
    fn the_middle_is_rounded_as_torchvision_rounds_it() {
        for (side, top) in [(224, 0), (225, 0), (226, 1), (227, 2), (229, 2), (231, 4)] {
            assert_eq!(centred([side, 300], [224, 224]).top, top, "{side}");
        }
    }
}
