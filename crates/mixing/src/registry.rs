//! Every mixer by name: the one place that lists them.

use crate::cutmix::CutMix;
use crate::mixup::MixUp;
use crate::vanilla::Vanilla;
use crate::{Error, Mixer, Result};
use std::collections::BTreeMap;

/// A mixer that exists.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Its name in recipes.
    pub name: &'static str,
    /// Its name in the paper's tables.
    pub title: &'static str,
    /// Where it was published.
    pub citation: &'static str,
    /// Makes it from its parameters, and takes those that it knows.
    pub build: fn(&mut Parameters) -> Result<Box<dyn Mixer>>,
}

/// A mixer is added here, with one line, and in a file of its own.
#[rustfmt::skip]
const ENTRIES: &[Entry] = &[
    Entry { name: "vanilla", title: "Vanilla", citation: "no mixing", build: |_| Ok(Box::new(Vanilla)) },
    Entry { name: "mixup", title: "MixUp", citation: "Zhang et al., ICLR 2018, arXiv 1710.09412", build: MixUp::build },
    Entry { name: "cutmix", title: "CutMix", citation: "Yun et al., ICCV 2019, arXiv 1905.04899", build: CutMix::build },
];

/// The mixers that exist, in the order of the paper's tables.
pub fn entries() -> &'static [Entry] {
    ENTRIES
}

/// The mixer of a name, with parameters that are not given at their default.
///
/// # Errors
/// If there is none of this name, or a parameter is unknown to it or out of range.
pub fn build(name: &str, mut parameters: Parameters) -> Result<Box<dyn Mixer>> {
    let Some(entry) = ENTRIES.iter().find(|entry| entry.name == name) else {
        let known = ENTRIES.iter().map(|entry| entry.name).collect::<Vec<_>>().join(", ");
        return Err(Error::Unknown { what: "mixer".to_string(), name: name.to_string(), known });
    };
    let mixer = (entry.build)(&mut parameters)?;
    match parameters.given.into_keys().next() {
        Some(key) => Err(Error::Unknown {
            what: format!("parameter of mixer `{name}`"),
            name: key,
            known: format!("[{}]", parameters.known.join(", ")),
        }),
        None => Ok(mixer),
    }
}

/// The parameters of a mixer by name, as a recipe gives them.
#[derive(Clone, Debug, Default)]
pub struct Parameters {
    given: BTreeMap<String, f64>,
    known: Vec<&'static str>,
}

impl Parameters {
    /// Takes a parameter that must be a positive number.
    ///
    /// # Errors
    /// If it isn't.
    pub fn positive(&mut self, name: &'static str, default: f64) -> Result<f64> {
        self.known.push(name);
        let value = self.given.remove(name).unwrap_or(default);
        if value > 0.0 && value.is_finite() {
            Ok(value)
        } else {
            Err(Error::Parameter { name, value, expected: "a positive number" })
        }
    }
}

impl FromIterator<(String, f64)> for Parameters {
    fn from_iter<I: IntoIterator<Item = (String, f64)>>(parameters: I) -> Self {
        Self { given: parameters.into_iter().collect(), known: Vec::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Targets, View};
    use candle_core::{Device, Tensor};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn parameters(key: &str, value: f64) -> Parameters {
        [(key.to_string(), value)].into_iter().collect()
    }

    #[test]
    fn every_mixer_keeps_its_promises() -> Result<()> {
        for entry in entries() {
            let mixer = build(entry.name, Parameters::default())?;
            assert_eq!(mixer.name(), entry.name);
            for (seed, batch) in [(1, 5), (2, 1), (3, 2), (4, 7)] {
                let plan = mixer.sample(batch, 6, 7, &mut ChaCha8Rng::seed_from_u64(seed))?;
                let again = mixer.sample(batch, 6, 7, &mut ChaCha8Rng::seed_from_u64(seed))?;
                assert_eq!(format!("{plan:?}"), format!("{again:?}"), "the same seed gives the same plan");
                // Picture b is b everywhere, so that the mean of a mixed one says how much of each is in it.
                let images = Tensor::arange(0f32, batch as f32, &Device::Cpu)?.reshape((batch, 1, 1, 1))?;
                let images = images.broadcast_as((batch, 2, 6, 7))?.contiguous()?;
                let mixed = plan.mix(&View::of(&images))?;
                assert_eq!(mixed.images.dims(), images.dims());
                let Targets::Labels { partners, weights } = mixed.targets else { continue };
                assert!(partners.iter().all(|list| list.len() == batch));
                let n = partners.len();
                for (b, mean) in mixed.images.mean((1, 2, 3))?.to_vec1::<f32>()?.into_iter().enumerate() {
                    let row = if weights.len() == n { &weights[..] } else { &weights[b * n..(b + 1) * n] };
                    assert!(
                        (row.iter().sum::<f32>() - 1.0).abs() < 1e-6
                            && row.iter().all(|&weight| weight >= 0.0)
                    );
                    let said: f32 =
                        row.iter().zip(&partners).map(|(weight, list)| weight * list[b] as f32).sum();
                    assert!(
                        (mean - said).abs() < 1e-5,
                        "{}: {mean} is in the picture, {said} on the label",
                        entry.name
                    );
                }
            }
        }
        Ok(())
    }

    #[test]
    fn unknown_names_and_parameters_are_named() {
        let message =
            |result: Result<Box<dyn Mixer>>| result.err().map(|e| e.to_string()).unwrap_or_default();
        let unknown = message(build("mixdown", Parameters::default()));
        assert_eq!(unknown, "mixer `mixdown` is unknown, expected one of vanilla, mixup, cutmix");
        let unknown = message(build("mixup", parameters("alhpa", 1.0)));
        assert_eq!(unknown, "parameter of mixer `mixup` `alhpa` is unknown, expected one of [alpha]");
        let wrong = message(build("cutmix", parameters("alpha", 0.0)));
        assert_eq!(wrong, "`alpha` is 0, expected a positive number");
    }
}
