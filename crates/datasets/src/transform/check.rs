//! Which values a transform may have, and which pictures it takes.

use std::fmt::Debug;

use super::{Crop, Side, Transform};
use crate::{Error, Result};

impl Transform {
    /// Height and width of the smallest picture that it takes; one that is resized needs a single pixel.
    pub fn least(&self) -> [usize; 2] {
        if self.resize.is_some() { [1, 1] } else { self.crop.least(self.size) }
    }

    /// Refuses values out of range, and pictures of a known size that are too small.
    pub(crate) fn check(&self, pictures: Option<[usize; 2]>) -> Result<()> {
        require(!self.size.contains(&0), "size", self.size, "1 pixel or more")?;
        let resized = self.resize.map(|resize| match resize.to {
            Side::Shorter(side) => [side, side],
            Side::Both(size) => size,
        });
        if let Some(cropped) = resized.or(pictures) {
            if let Crop::Padded(pad) = self.crop {
                let side = cropped[0].min(cropped[1]);
                require(pad < side, "pad", pad, &format!("less than the {side} pixels of the picture"))?;
            }
            let least = self.crop.least(self.size);
            let fits = least[0] <= cropped[0] && least[1] <= cropped[1];
            require(fits, "size", self.size, &format!("at most the {cropped:?} of the picture"))?;
        }
        self.check_chance()?;
        require(self.mean.iter().all(|mean| mean.is_finite()), "mean", self.mean, "finite numbers")?;
        let positive = self.std.iter().all(|std| std.is_finite() && *std > 0.0);
        require(positive, "std", self.std, "positive, finite numbers")
    }

    /// Refuses ranges that nothing can be drawn from.
    fn check_chance(&self) -> Result<()> {
        if let Crop::Resized(crop) = self.crop {
            require(rising(crop.scale, 1.0), "scale", crop.scale, "two rising numbers above 0, up to 1")?;
            require(rising(crop.ratio, f64::MAX), "ratio", crop.ratio, "two rising numbers above 0")?;
        }
        if let Some(jitter) = self.jitter {
            let amounts = [jitter.brightness, jitter.contrast, jitter.saturation];
            let good = amounts.iter().all(|amount| within(*amount, f64::MAX)) && within(jitter.hue, 0.5);
            require(good, "jitter", jitter, "numbers from 0, the hue's up to 0.5")?;
        }
        if let Some(augment) = self.augment {
            let good = within(augment.magnitude, 10.0) && within(augment.deviation, f64::MAX);
            require(good, "augment", augment, "a magnitude from 0 to 10, a deviation of 0 or more")?;
        }
        if let Some(erase) = self.erase {
            let ranges = rising(erase.scale, 1.0) && rising(erase.ratio, f64::MAX);
            let expected = "a probability, and two rising ranges above 0, the scale's up to 1";
            require(ranges && within(erase.probability, 1.0), "erase", erase, expected)?;
        }
        Ok(())
    }
}

fn rising([low, high]: [f64; 2], most: f64) -> bool {
    0.0 < low && low <= high && high <= most
}

fn within(number: f64, most: f64) -> bool {
    (0.0..=most).contains(&number)
}

fn require(good: bool, option: &'static str, found: impl Debug, expected: &str) -> Result<()> {
    if good {
        return Ok(());
    }
    Err(Error::Option { option, found: format!("{found:?}"), expected: expected.to_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Interpolation, RandomErasing, Resize, ResizedCrop};

    #[test]
    fn what_cannot_be_drawn_or_doesnt_fit_is_refused_by_name() {
        let plain = Transform::training([32, 32], [0.5; 3], [0.5; 3]);
        let crop = |scale| {
            let ratio = [0.75, 1.5];
            Crop::Resized(ResizedCrop { scale, ratio, interpolation: Interpolation::Bilinear })
        };
        let resize = |to| Some(Resize { to, interpolation: Interpolation::Bilinear });
        let (probability, fill) = (1.5, [0; 3]);
        let erase = Some(RandomErasing { probability, scale: [0.1, 0.2], ratio: [0.3, 3.3], fill });
        let small = Some([32, 4]);
        let cases = [
            (plain, small, "pad is 4, expected less than the 4 pixels of the picture"),
            (plain, Some([64, 20]), "size is [32, 32], expected at most the [64, 20] of the picture"),
            (
                Transform { resize: resize(Side::Shorter(20)), ..plain },
                Some([64, 64]),
                "size is [32, 32], expected at most the [20, 20] of the picture",
            ),
            (Transform { size: [32, 0], ..plain }, None, "size is [32, 0], expected 1 pixel or more"),
            (
                Transform { crop: crop([0.5, 0.2]), ..plain },
                None,
                "scale is [0.5, 0.2], expected two rising numbers above 0, up to 1",
            ),
            (
                Transform { std: [0.5, 0., 0.5], ..plain },
                None,
                "std is [0.5, 0.0, 0.5], expected positive, finite numbers",
            ),
        ];
        for (transform, pictures, expected) in cases {
            assert_eq!(transform.check(pictures).unwrap_err().to_string(), expected);
        }
        let error = Transform { erase, ..plain }.check(None).unwrap_err().to_string();
        assert!(error.starts_with("erase is RandomErasing { probability: 1.5,"), "{error}");
        for good in [
            plain,
            Transform { crop: crop([0.1, 1.0]), size: [224, 224], ..plain },
            Transform { resize: resize(Side::Shorter(256)), size: [224, 224], ..plain },
        ] {
            good.check(Some([32, 32])).unwrap();
        }
    }
}
