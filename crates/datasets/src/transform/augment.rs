//! Changes of colour and shape that are drawn: colour jitter, and RandAugment.

use rand::Rng;
use rand::seq::SliceRandom;
use rand_distr::{Distribution, StandardNormal};

use super::Interpolation;
use crate::CHANNELS;
use crate::operations::{Change, Operation as Op};

/// Changes of colour, each by a chance amount, in a chance order, as torchvision's `ColorJitter` makes them; an amount of
/// 0 changes nothing.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ColorJitter {
    /// The factor of brightness is uniform from so much below 1, or 0, to so much above.
    pub brightness: f64,
    /// That of contrast, likewise.
    pub contrast: f64,
    /// That of saturation, likewise.
    pub saturation: f64,
    /// Hues move by a uniform share of the colour wheel, up to this much in either direction; at most 0.5.
    pub hue: f64,
}

impl ColorJitter {
    /// Adds the changes of a picture, in their order.
    pub(super) fn draw(&self, changes: &mut Vec<Change>, rng: &mut impl Rng) {
        let about_one = |amount: f64| [(1.0 - amount).max(0.0), 1.0 + amount];
        let ranges = [
            (Op::Brightness, about_one(self.brightness)),
            (Op::Contrast, about_one(self.contrast)),
            (Op::Color, about_one(self.saturation)),
            (Op::Hue, [-self.hue, self.hue]),
        ];
        let mut order = [0, 1, 2, 3];
        order.shuffle(rng);
        let shares: [f64; 4] = rng.random();
        for at in order {
            let (operation, [low, high]) = ranges[at];
            if low < high {
                changes.push(Change::new(operation, low + (high - low) * shares[at]));
            }
        }
    }
}

/// Random changes of colour and shape (Cubuk et al., 2020), in the form in which the published runs have it: kinds are
/// drawn with replacement, each is left out half of the time, and strengths are normal.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RandAugment {
    /// How many kinds are drawn for a picture.
    pub operations: usize,
    /// Mean of the strength, which is brought between 0 and 10.
    pub magnitude: f64,
    /// Its standard deviation.
    pub deviation: f64,
    /// Red, green and blue of what comes into view where a picture is turned, moved or sheared.
    pub fill: [u8; CHANNELS],
    /// How pixels are found between pixels there.
    pub interpolation: Interpolation,
}

/// What is drawn from; nothing stands for the identity.
const KINDS: [Option<Op>; 14] = [
    None,
    Some(Op::AutoContrast),
    Some(Op::Brightness),
    Some(Op::Color),
    Some(Op::Contrast),
    Some(Op::Equalize),
    Some(Op::Posterize),
    Some(Op::Rotate),
    Some(Op::Sharpness),
    Some(Op::ShearX),
    Some(Op::ShearY),
    Some(Op::Solarize),
    Some(Op::TranslateX),
    Some(Op::TranslateY),
];

impl RandAugment {
    /// Adds the changes of a picture.
    pub(super) fn draw(&self, changes: &mut Vec<Change>, rng: &mut impl Rng) {
        for _ in 0..self.operations {
            let kind = KINDS[rng.random_range(0..KINDS.len() as u32) as usize];
            let (applied, turned): (bool, bool) = (rng.random(), rng.random());
            let normal: f64 = StandardNormal.sample(rng);
            let strength = ((self.magnitude + self.deviation * normal) / 10.0).clamp(0.0, 1.0);
            if let (Some(operation), true) = (kind, applied) {
                let (fill, interpolation) = (self.fill, Some(self.interpolation));
                let value = value(operation, strength, if turned { -1.0 } else { 1.0 });
                changes.push(Change { fill, interpolation, ..Change::new(operation, value) });
            }
        }
    }
}

/// The value of an operation at a strength from 0 to 1, in one direction or the other where it has two.
fn value(operation: Op, strength: f64, sign: f64) -> f64 {
    match operation {
        Op::Brightness | Op::Color | Op::Contrast | Op::Sharpness => 1.0 + sign * (0.05 + 0.9 * strength),
        Op::Rotate => sign * 30.0 * strength,
        Op::ShearX | Op::ShearY | Op::TranslateX | Op::TranslateY => sign * 0.3 * strength,
        // The stronger, the more bits are kept: so it was published.
        Op::Posterize => 4.0 + 4.0 * strength,
        Op::Solarize => 256.0 * (1.0 - strength),
        _ => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use adautomix_random::{Key, Purpose};

    #[test]
    fn rand_augment_draws_kinds_strengths_and_directions() {
        let augment = RandAugment {
            operations: 2,
            magnitude: 7.0,
            deviation: 0.5,
            fill: [114, 123, 125],
            interpolation: Interpolation::Bicubic,
        };
        let rng = &mut Key::new(6, Purpose::Test).rng();
        let mut changes = Vec::new();
        (0..14_000).for_each(|_| augment.draw(&mut changes, rng));
        // 28000 kinds, of which the identity is one in fourteen and half of the others are left out.
        assert!((12_700..13_300).contains(&changes.len()), "{}", changes.len());
        let of = |operation| -> Vec<f64> {
            changes.iter().filter(|change| change.operation == operation).map(|change| change.value).collect()
        };
        for operation in KINDS.into_iter().flatten() {
            assert!((880..1120).contains(&of(operation).len()), "{operation:?}");
        }
        let angles = of(Op::Rotate);
        let mean = angles.iter().map(|angle| angle.abs()).sum::<f64>() / angles.len() as f64;
        assert!((20.8..21.2).contains(&mean), "{mean}");
        let left = angles.iter().filter(|angle| **angle < 0.0).count() as f64 / angles.len() as f64;
        assert!((0.44..0.56).contains(&left), "{left}");
        assert!(changes.iter().all(|change| change.fill == [114, 123, 125]));
        let reach = |operation| {
            let values = of(operation);
            (values.iter().copied().fold(9e9, f64::min), values.iter().copied().fold(-9e9, f64::max))
        };
        let (low, high) = reach(Op::Solarize);
        assert!(low > 20.0 && high < 140.0, "{low} {high}");
        let (low, high) = reach(Op::Color);
        assert!((0.1..0.2).contains(&low) && (1.8..1.9).contains(&high), "{low} {high}");
        assert_eq!((value(Op::Posterize, 0.0, 1.0), value(Op::ShearX, 1.0, -1.0)), (4.0, -0.3));
    }

    #[test]
    fn jitter_draws_factors_about_one_in_any_order() {
        let jitter = ColorJitter { brightness: 0.4, contrast: 0.0, saturation: 2.0, hue: 0.1 };
        let rng = &mut Key::new(6, Purpose::Test).rng();
        let (mut first, mut saturations) = (0, 0.0);
        for _ in 0..3000 {
            let mut changes = Vec::new();
            jitter.draw(&mut changes, rng);
            assert_eq!(changes.len(), 3, "contrast stays as it is");
            first += usize::from(changes[0].operation == Op::Hue);
            for change in changes {
                match change.operation {
                    Op::Brightness => assert!((0.6..=1.4).contains(&change.value)),
                    Op::Color => saturations += change.value,
                    _ => assert!((-0.1..=0.1).contains(&change.value)),
                }
            }
        }
        assert!((900..1100).contains(&first), "{first}");
        // From 0 to 3.
        assert!((1.45..1.55).contains(&(saturations / 3000.0)), "{saturations}");
    }
}
