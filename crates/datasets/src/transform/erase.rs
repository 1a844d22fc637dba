//! Random erasing (Zhong et al., 2020): a rectangle of the picture is covered.

use rand::Rng;

use super::Rectangle;
use super::crop::sides;
use crate::{CHANNELS, Picture};

/// Covers a random rectangle of some pictures, drawn as torchvision's `RandomErasing` draws it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandomErasing {
    /// How probably a picture is covered.
    pub probability: f64,
    /// Least and largest share of the picture's area.
    pub scale: [f64; 2],
    /// Least and largest height over width; its logarithm is uniform.
    pub ratio: [f64; 2],
    /// Red, green and blue of the cover. The mean by which pictures are normalised, in bytes, is torchvision's 0 after
    /// normalisation to within half a byte.
    pub fill: [u8; CHANNELS],
}

impl RandomErasing {
    /// Draws the rectangle of a picture, if there is to be one: ten tries.
    pub(super) fn draw(&self, picture: [usize; 2], rng: &mut impl Rng) -> Option<Rectangle> {
        if rng.random::<f64>() >= self.probability {
            return None;
        }
        (0..10).find_map(|_| {
            // Here the ratio is that of height over width.
            let [width, height] = sides(picture, self.scale, self.ratio, rng);
            (height < picture[0] && width < picture[1]).then(|| {
                let top = rng.random_range(0..=(picture[0] - height) as u32) as usize;
                let left = rng.random_range(0..=(picture[1] - width) as u32) as usize;
                Rectangle { top, left, height, width }
            })
        })
    }

    /// Covers a rectangle.
    ///
    /// # Panics
    /// When it reaches beyond the picture.
    pub(super) fn apply(&self, rectangle: Rectangle, picture: &mut Picture) {
        let Rectangle { top, left, height, width } = rectangle;
        for y in top..top + height {
            let line = &mut picture.pixels[(y * picture.width + left) * CHANNELS..][..width * CHANNELS];
            line.chunks_exact_mut(CHANNELS).for_each(|pixel| pixel.copy_from_slice(&self.fill));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adautomix_random::{Key, Purpose};

    #[test]
    fn covers_a_rectangle_of_the_shape_that_is_asked_for_and_nothing_else() {
        let erasing =
            RandomErasing { probability: 0.25, scale: [0.02, 0.33], ratio: [0.3, 3.3], fill: [9, 8, 7] };
        let rng = &mut Key::new(5, Purpose::Test).rng();
        let mut erased = 0;
        for _ in 0..2000 {
            let Some(rectangle) = erasing.draw([40, 60], rng) else { continue };
            erased += 1;
            let mut picture = Picture { height: 40, width: 60, pixels: vec![0; 40 * 60 * 3] };
            erasing.apply(rectangle, &mut picture);
            let area = rectangle.height * rectangle.width;
            assert!((40..=820).contains(&area), "{rectangle:?}");
            let covered = picture.pixels.chunks_exact(3).filter(|pixel| *pixel == [9, 8, 7]).count();
            assert_eq!(covered, area);
            assert_eq!(picture.pixels.iter().filter(|byte| **byte == 0).count(), 3 * (2400 - area));
        }
        assert!((430..570).contains(&erased), "{erased}");
    }
}
