//! What a recipe does to a picture: from bytes of any size to numbers of one size.
//!
//! Chance and arithmetic are apart: [`Transform::draw`] makes a [`Draw`], [`Transform::apply`] carries it out. A picture is
//! resized, cut to a window, mirrored, changed in colour and shape, covered in part and normalised, in this order; what
//! isn't asked for costs nothing, so that a window of a small picture goes from bytes to numbers in one pass.

mod augment;
mod check;
mod crop;
mod erase;
mod normalize;
mod resample;
mod view;

use rand::Rng;

pub use augment::{ColorJitter, RandAugment};
pub use crop::{Crop, ResizedCrop};
pub use erase::RandomErasing;
pub use normalize::Normalize;
pub use resample::{Interpolation, Rectangle, Resampler};
pub use view::View;

use crate::{CHANNELS, Change, Picture};

/// The transforms of a recipe, as plain data.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Transform {
    /// Height and width of what comes out.
    pub size: [usize; 2],
    /// What the whole picture is first brought to.
    pub resize: Option<Resize>,
    /// The window that is cut out of it.
    pub crop: Crop,
    /// Whether half of the pictures are mirrored left to right.
    pub flip: bool,
    /// Chance changes of colour.
    pub jitter: Option<ColorJitter>,
    /// Chance changes of colour and shape.
    pub augment: Option<RandAugment>,
    /// A chance rectangle that is covered.
    pub erase: Option<RandomErasing>,
    /// Mean by channel that is subtracted, for values between 0 and 1.
    pub mean: [f32; CHANNELS],
    /// Standard deviation by channel that the rest is divided by.
    pub std: [f32; CHANNELS],
}

/// A picture brought to another size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Resize {
    /// How large it becomes.
    pub to: Side,
    /// How pixels are found between pixels.
    pub interpolation: Interpolation,
}

/// What a resized picture is measured by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// Its shorter side has so many pixels, and its shape is kept: the longer one is rounded down, as torchvision does.
    Shorter(usize),
    /// Its height and width.
    Both([usize; 2]),
}

impl Resize {
    /// Height and width that a picture gets.
    fn size(&self, [height, width]: [usize; 2]) -> [usize; 2] {
        match self.to {
            Side::Both(size) => size,
            Side::Shorter(side) if width <= height => [side * height / width.max(1), side],
            Side::Shorter(side) => [side, side * width / height.max(1)],
        }
    }
}

/// All that chance decided about one picture.
#[derive(Clone, Debug, PartialEq)]
pub struct Draw {
    /// The window of the resized picture. One of another size than the output's is resized to it.
    pub view: View,
    /// Changes of colour and shape, in their order.
    pub changes: Vec<Change>,
    /// What is covered of the output.
    pub erased: Option<Rectangle>,
}

/// Room to work in that is kept from picture to picture.
#[derive(Clone, Debug, Default)]
pub struct Scratch {
    resampler: Resampler,
    next: Picture,
    spare: Vec<u8>,
}

impl Transform {
    /// What the paper's CIFAR recipes train with: padding 4, a window of a `size`, flip, normalise.
    pub fn training(size: [usize; 2], mean: [f32; CHANNELS], std: [f32; CHANNELS]) -> Self {
        Self { crop: Crop::Padded(4), flip: true, ..Self::evaluation(size, mean, std) }
    }

    /// What they are evaluated with: the middle of a `size`, which is all of the picture, normalise.
    pub fn evaluation(size: [usize; 2], mean: [f32; CHANNELS], std: [f32; CHANNELS]) -> Self {
        let (resize, crop, flip) = (None, Crop::Center, false);
        Self { size, resize, crop, flip, jitter: None, augment: None, erase: None, mean, std }
    }

    /// Whether a picture is cut and mirrored, and nothing else is done to its pixels before they are normalised.
    pub fn only_cuts(&self) -> bool {
        let Self { resize, crop, jitter, augment, erase, .. } = self;
        let resized = resize.is_some() || matches!(crop, Crop::Resized(_));
        !resized && jitter.is_none() && augment.is_none() && erase.is_none()
    }

    /// Draws what is left to chance about a picture of a height and width.
    ///
    /// # Panics
    /// When the picture is smaller than [`least`](Self::least).
    pub fn draw(&self, picture: [usize; 2], rng: &mut impl Rng) -> Draw {
        self.draw_into(picture, rng, Vec::new())
    }

    /// The same; the draw gets the room of `changes`, whose content is replaced.
    pub(crate) fn draw_into(
        &self,
        picture: [usize; 2],
        rng: &mut impl Rng,
        mut changes: Vec<Change>,
    ) -> Draw {
        changes.clear();
        let picture = self.resize.map_or(picture, |resize| resize.size(picture));
        let view = self.crop.draw(picture, self.size, rng);
        let view = View { flip: self.flip && rng.random(), ..view };
        if let Some(jitter) = self.jitter {
            jitter.draw(&mut changes, rng);
        }
        if let Some(augment) = self.augment {
            augment.draw(&mut changes, rng);
        }
        Draw { view, changes, erased: self.erase.and_then(|erase| erase.draw(self.size, rng)) }
    }

    /// Carries out a draw: writes the `picture`, which is used up, to `out` `[3, H, W]` of the transform's size.
    ///
    /// # Panics
    /// When `out` has another length, or the draw isn't one for a picture of this size.
    pub fn apply<T: Copy>(
        &self,
        picture: &mut Picture,
        draw: &Draw,
        normalize: &Normalize<T>,
        scratch: &mut Scratch,
        out: &mut [T],
    ) {
        let Scratch { resampler, next, spare } = scratch;
        if let Some(resize) = self.resize {
            let size = [picture.height, picture.width];
            let whole = Rectangle::whole(size);
            resampler.resample(picture, whole, resize.size(size), resize.interpolation, next);
            std::mem::swap(picture, next);
        }
        let mut view = draw.view;
        if let Crop::Resized(crop) = self.crop
            && view.size() != self.size
        {
            resampler.resample(picture, view.rectangle(), self.size, crop.interpolation, next);
            std::mem::swap(picture, next);
            view = View { flip: view.flip, ..View::whole(self.size) };
        }
        if !draw.changes.is_empty() || draw.erased.is_some() {
            view.cut(picture, next);
            std::mem::swap(picture, next);
            view = View::whole(self.size);
            draw.changes.iter().for_each(|change| change.apply(picture, spare));
            if let (Some(erase), Some(rectangle)) = (self.erase, draw.erased) {
                erase.apply(rectangle, picture);
            }
        }
        normalize.apply(picture, view, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Operation;
    use crate::testing::{digest, picture};

    const MEAN: [f32; 3] = [0.4914, 0.4822, 0.4465];
    const STD: [f32; 3] = [0.2023, 0.1994, 0.2010];

    fn resize(side: usize, interpolation: Interpolation) -> Option<Resize> {
        Some(Resize { to: Side::Shorter(side), interpolation })
    }

    #[test]
    fn a_fixed_draw_gives_the_numbers_of_torchvision() {
        let (bilinear, bicubic) = (Interpolation::Bilinear, Interpolation::Bicubic);
        let (scale, ratio) = ([0.08, 1.0], [0.75, 1.33]);
        // The bytes that are nearest to the mean.
        let erase =
            RandomErasing { probability: 1.0, scale: [0.1, 0.2], ratio: [0.3, 3.3], fill: [125, 123, 114] };
        let transform = Transform {
            resize: resize(40, bilinear),
            crop: Crop::Resized(ResizedCrop { scale, ratio, interpolation: bicubic }),
            flip: true,
            erase: Some(erase),
            ..Transform::evaluation([24, 20], MEAN, STD)
        };
        let turned = Change {
            fill: [114, 123, 125],
            interpolation: Some(bicubic),
            ..Change::new(Operation::Rotate, 20.0)
        };
        let draw = Draw {
            view: View { top: 5, left: 7, height: 30, width: 33, flip: true },
            changes: vec![Change::new(Operation::Brightness, 1.3), Change::new(Operation::Hue, -0.2), turned],
            erased: Some(Rectangle { top: 3, left: 4, height: 6, width: 5 }),
        };
        let (mut scratch, mut out) = (Scratch::default(), vec![0.0; 3 * 24 * 20]);
        let mut source = picture(50, 60, [3, 5, 0, 251]);
        transform.apply(&mut source, &draw, &Normalize::new(MEAN, STD), &mut scratch, &mut out);
        // Every fourth number of row 12.
        let expected = [
            0.885755, 1.292838, 0.362362, 0.90514, -0.742578, 0.787441, -0.667906, 1.04311, 1.731449,
            -0.136901, 1.641645, 0.334455, 0.822213, 1.192908, 0.861233,
        ];
        let row = |channel: usize| &out[(channel * 24 + 12) * 20..][..20];
        let found = [0, 1, 2].into_iter().flat_map(|channel| row(channel).iter().step_by(4));
        for (found, expected) in found.zip(expected) {
            assert!((found - expected as f32).abs() < 2e-6, "{found} {expected}");
        }
        // torchvision erases with 0 after it normalises: half a byte is 0.01.
        assert!((0..3).all(|channel| out[(channel * 24 + 5) * 20 + 6].abs() < 0.01));
        let kept = |at: usize| !((3..9).contains(&(at / 20 % 24)) && (4..9).contains(&(at % 20)));
        let sum: f64 = (0..out.len()).filter(|at| kept(*at)).map(|at| f64::from(out[at])).sum();
        assert!((sum - 780.976_916).abs() < 1e-3, "{sum}");
    }

    #[test]
    fn the_middle_of_a_resized_picture_is_that_of_torchvision() {
        let transform = Transform {
            resize: resize(32, Interpolation::Bicubic),
            ..Transform::evaluation([24, 20], MEAN, STD)
        };
        let rng = &mut adautomix_random::Key::new(0, adautomix_random::Purpose::Test).rng();
        let draw = transform.draw([50, 60], rng);
        assert_eq!(draw.view, View { top: 4, left: 9, ..View::whole([24, 20]) });
        let (mut scratch, mut out) = (Scratch::default(), vec![0; 3 * 24 * 20]);
        let mut source = picture(50, 60, [3, 5, 0, 251]);
        transform.apply(&mut source, &draw, &Normalize::bytes(), &mut scratch, &mut out);
        assert_eq!(digest(&out), "cfb8896a7a284ccbf4c8f9f94547d14a");
        // Both sides may be given: then the shape isn't kept.
        let both = Resize { to: Side::Both([30, 21]), interpolation: Interpolation::Bilinear };
        assert_eq!(
            (both.size([50, 60]), resize(32, Interpolation::Bicubic).unwrap().size([60, 50])),
            ([30, 21], [38, 32])
        );
    }

    #[test]
    fn half_of_the_pictures_are_mirrored_and_evaluation_draws_nothing() {
        let rng = &mut adautomix_random::Key::new(3, adautomix_random::Purpose::Test).rng();
        let training = Transform::training([32, 32], MEAN, STD);
        let flipped = (0..10_000).filter(|_| training.draw([32, 32], rng).view.flip).count();
        assert!((4800..5200).contains(&flipped), "{flipped}");
        let nothing = Draw { view: View::whole([32, 32]), changes: Vec::new(), erased: None };
        assert_eq!(Transform::evaluation([32, 32], MEAN, STD).draw([32, 32], rng), nothing);
    }
}
