//! The 19 corruptions of CIFAR-10-C and CIFAR-100-C in 5 severities (Hendrycks & Dietterich, ICLR 2019), for pictures of
//! any size.
//!
//! Chance and arithmetic are apart: [`Corruption::draw`] makes a [`Plan`], [`Plan::apply`] carries it out. The constants
//! are those of the CIFAR program, for pictures of 32 × 32: lengths in pixels are the same at every size, except those
//! of `pixelate` and `elastic_transform`, which are shares of the side. Frost needs photographs that aren't ours to
//! give: the program draws ice of its own (`frost.rs` says how).

mod blur;
mod colour;
mod digital;
mod field;
mod frost;
mod jpeg;
mod noise;
mod relief;
mod source;
mod spatter;
mod weather;

pub use blur::Blur;
pub use digital::{Digital, Elastic};
pub use noise::Noise;
pub use source::Corrupted;
pub use spatter::{Liquid, Spatter};
pub use weather::{Snow, Weather};

use rand::Rng;

use crate::{CHANNELS, Error, Picture, Result};
use field::Field;

/// How many severities there are.
pub const SEVERITIES: usize = 5;

/// What happens to a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Normal noise.
    GaussianNoise,
    /// Too few photons.
    ShotNoise,
    /// Values that became 0 or 1.
    ImpulseNoise,
    /// Normal noise in proportion to the value.
    SpeckleNoise,
    /// A Gaussian.
    GaussianBlur,
    /// Through frosted glass.
    GlassBlur,
    /// Out of focus.
    DefocusBlur,
    /// A camera that moves.
    MotionBlur,
    /// A camera that comes nearer.
    ZoomBlur,
    /// Flakes.
    Snow,
    /// Ice on the lens.
    Frost,
    /// Clouds.
    Fog,
    /// Water or mud on the lens.
    Spatter,
    /// A warped picture.
    ElasticTransform,
    /// Too much light.
    Brightness,
    /// Too little or too much colour.
    Saturate,
    /// Too little contrast.
    Contrast,
    /// Too few pixels.
    Pixelate,
    /// Too few bytes.
    JpegCompression,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 19] = [
        Self::GaussianNoise,
        Self::ShotNoise,
        Self::ImpulseNoise,
        Self::SpeckleNoise,
        Self::GaussianBlur,
        Self::GlassBlur,
        Self::DefocusBlur,
        Self::MotionBlur,
        Self::ZoomBlur,
        Self::Snow,
        Self::Frost,
        Self::Fog,
        Self::Spatter,
        Self::ElasticTransform,
        Self::Brightness,
        Self::Saturate,
        Self::Contrast,
        Self::Pixelate,
        Self::JpegCompression,
    ];

    /// Its name, as the published arrays have it.
    pub fn name(self) -> &'static str {
        match self {
            Self::GaussianNoise => "gaussian_noise",
            Self::ShotNoise => "shot_noise",
            Self::ImpulseNoise => "impulse_noise",
            Self::SpeckleNoise => "speckle_noise",
            Self::GaussianBlur => "gaussian_blur",
            Self::GlassBlur => "glass_blur",
            Self::DefocusBlur => "defocus_blur",
            Self::MotionBlur => "motion_blur",
            Self::ZoomBlur => "zoom_blur",
            Self::Snow => "snow",
            Self::Frost => "frost",
            Self::Fog => "fog",
            Self::Spatter => "spatter",
            Self::ElasticTransform => "elastic_transform",
            Self::Brightness => "brightness",
            Self::Saturate => "saturate",
            Self::Contrast => "contrast",
            Self::Pixelate => "pixelate",
            Self::JpegCompression => "jpeg_compression",
        }
    }

    /// The kind with a name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// A kind at a severity.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Corruption {
    kind: Kind,
    severity: usize,
}

impl Corruption {
    /// A kind at a severity from 1 to [`SEVERITIES`].
    ///
    /// # Errors
    /// If there is no such severity.
    pub fn new(kind: Kind, severity: usize) -> Result<Self> {
        if !(1..=SEVERITIES).contains(&severity) {
            let expected = format!("1 to {SEVERITIES}");
            return Err(Error::Option { option: "severity", found: severity.to_string(), expected });
        }
        Ok(Self { kind, severity })
    }

    /// All 95, severity by severity within each kind.
    pub fn all() -> impl Iterator<Item = Self> {
        let severities = |kind| (1..=SEVERITIES).map(move |severity| Self { kind, severity });
        Kind::ALL.into_iter().flat_map(severities)
    }

    /// The kind.
    pub fn kind(self) -> Kind {
        self.kind
    }

    /// The severity, from 1.
    pub fn severity(self) -> usize {
        self.severity
    }

    /// Draws what is left to chance for a picture of `size` (height, width).
    pub fn draw(self, size: [usize; 2], rng: &mut impl Rng) -> Plan {
        let (level, values) = (self.severity - 1, size[0] * size[1] * CHANNELS);
        let change = match self.kind {
            Kind::GaussianNoise => Change::Noise(Noise::gaussian(level, values, rng)),
            Kind::ShotNoise => Change::Noise(Noise::shot(level, values, rng)),
            Kind::ImpulseNoise => Change::Noise(Noise::impulse(level, values, rng)),
            Kind::SpeckleNoise => Change::Noise(Noise::speckle(level, values, rng)),
            Kind::GaussianBlur => Change::Blur(Blur::gaussian(level)),
            Kind::GlassBlur => Change::Blur(Blur::glass(level, size, rng)),
            Kind::DefocusBlur => Change::Blur(Blur::defocus(level)),
            Kind::MotionBlur => Change::Blur(Blur::motion(level, rng)),
            Kind::ZoomBlur => Change::Blur(Blur::zoom(level)),
            Kind::Snow => Change::Weather(Weather::snow(level, size, rng)),
            Kind::Frost => Change::Weather(Weather::frost(level, size, rng)),
            Kind::Fog => Change::Weather(Weather::fog(level, size, rng)),
            Kind::Spatter => Change::Weather(Weather::Spatter(Spatter::draw(level, size, rng))),
            Kind::ElasticTransform => Change::Digital(Digital::elastic(level, size, rng)),
            Kind::Brightness => Change::Weather(Weather::brightness(level)),
            Kind::Saturate => Change::Digital(Digital::saturate(level)),
            Kind::Contrast => Change::Digital(Digital::contrast(level)),
            Kind::Pixelate => Change::Digital(Digital::pixelate(level, size)),
            Kind::JpegCompression => Change::Digital(Digital::jpeg(level)),
        };
        Plan { size, change }
    }
}

/// A corruption of which nothing is left to chance.
#[derive(Clone, Debug, PartialEq)]
pub struct Plan {
    /// Height and width of the pictures that it is for.
    pub size: [usize; 2],
    /// What it does to them.
    pub change: Change,
}

/// The corruptions by family.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// Noise.
    Noise(Noise),
    /// Blur.
    Blur(Blur),
    /// Weather.
    Weather(Weather),
    /// Digital.
    Digital(Digital),
}

impl Plan {
    /// The values of the corrupted picture, `[H, W, 3]` from 0 to 255, before they are truncated to bytes.
    ///
    /// # Errors
    /// If the picture has another size than the plan.
    pub fn apply(&self, picture: &Picture) -> Result<Vec<f64>> {
        let found = [picture.height, picture.width];
        if found != self.size {
            let expected = format!("{:?}, as the corruption was drawn for", self.size);
            return Err(Error::Option {
                option: "the picture's size",
                found: format!("{found:?}"),
                expected,
            });
        }
        if picture.pixels.is_empty() {
            return Ok(Vec::new());
        }
        let bytes = Field::of(picture);
        let corrupted = match &self.change {
            Change::Noise(noise) => noise.apply(&bytes),
            Change::Blur(blur) => blur.apply(&bytes),
            Change::Weather(weather) => weather.apply(&bytes),
            Change::Digital(digital) => digital.apply(&bytes),
        };
        Ok(corrupted.values.into_flattened())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Source, Split, Synthetic};
    use adautomix_random::{Key, Purpose};

    /// How far a picture is from its corrupted form, on average.
    fn damage(corruption: Corruption, pictures: &[Picture]) -> f64 {
        let mut sum = 0.0;
        for (index, picture) in pictures.iter().enumerate() {
            let plan = corruption
                .draw([picture.height, picture.width], &mut Key::new(1, Purpose::Test).sample(index).rng());
            let after = plan.apply(picture).unwrap();
            assert!(after.iter().all(|value| (0.0..=255.0).contains(value)), "{corruption:?}");
            let off: f64 = after.iter().zip(&picture.pixels).map(|(a, b)| (a - f64::from(*b)).abs()).sum();
            sum += off / after.len() as f64 / pictures.len() as f64;
        }
        sum
    }

    fn pictures(count: usize) -> Vec<Picture> {
        let source = Synthetic::new(0, Split::Test, count);
        let read = |index| {
            let mut picture = Picture::default();
            source.read(index, &mut picture).unwrap();
            picture
        };
        (0..count).map(read).collect()
    }

    #[test]
    fn every_corruption_does_damage_and_the_last_severity_more_than_the_first() {
        let pictures = pictures(8);
        for kind in Kind::ALL {
            let [first, last] =
                [1, SEVERITIES].map(|severity| damage(Corruption::new(kind, severity).unwrap(), &pictures));
            // The first two severities of `saturate` take colour away, the last ones add it; and the first affine
            // shift of an elastic transform is the largest.
            let is_ordered = !matches!(kind, Kind::Saturate | Kind::ElasticTransform);
            assert!(first > 0.3 && last > 0.3, "{kind:?}: {first} {last}");
            assert!(!is_ordered || last > first, "{kind:?}: {first} {last}");
        }
    }

    #[test]
    fn every_size_works() {
        for size in [[1, 1], [1, 9], [7, 1], [2, 3], [33, 20], [0, 4]] {
            let [height, width] = size;
            let pixels = (0..height * width * CHANNELS).map(|at| (at * 37 % 256) as u8).collect();
            let picture = Picture { height, width, pixels };
            for corruption in Corruption::all() {
                let plan = corruption.draw(size, &mut Key::new(2, Purpose::Test).rng());
                let after = plan.apply(&picture).unwrap();
                assert_eq!(after.len(), height * width * CHANNELS, "{corruption:?}");
                assert!(after.iter().all(|value| (0.0..=255.0).contains(value)), "{corruption:?} {size:?}");
            }
        }
        let plan = Corruption::new(Kind::Fog, 1).unwrap().draw([4, 4], &mut Key::new(2, Purpose::Test).rng());
        let error = plan.apply(&pictures(1)[0]).unwrap_err().to_string();
        assert_eq!(error, "the picture's size is [32, 32], expected [4, 4], as the corruption was drawn for");
        let error = Corruption::new(Kind::Fog, 6).unwrap_err().to_string();
        assert_eq!(error, "severity is 6, expected 1 to 5");
    }

    #[test]
    fn names_lead_to_kinds() {
        assert!(Kind::ALL.into_iter().all(|kind| Kind::named(kind.name()) == Some(kind)));
        assert_eq!((Kind::named("rain"), Corruption::all().count()), (None, 95));
    }
}
