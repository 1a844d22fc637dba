//! Every mixer by name: the one place that lists them.

use crate::alignmix::AlignMix;
use crate::attentivemix::AttentiveMix;
use crate::comixup::CoMixup;
use crate::cutmix::CutMix;
use crate::cutout::Cutout;
use crate::fmix::FMix;
use crate::gridmix::GridMix;
use crate::manifoldmix::ManifoldMix;
use crate::mixpro::MixPro;
use crate::mixup::MixUp;
use crate::puzzlemix::PuzzleMix;
use crate::recursivemix::RecursiveMix;
use crate::resizemix::ResizeMix;
use crate::saliencygrafting::SaliencyGrafting;
use crate::saliencymix::SaliencyMix;
use crate::smmix::SmMix;
use crate::smoothmix::SmoothMix;
use crate::snapmix::SnapMix;
use crate::switch::Switch;
use crate::tokenmix::TokenMix;
use crate::tokenmixup::TokenMixup;
use crate::transmix::TransMix;
use crate::vanilla::Vanilla;
use crate::{Error, Mixer, Result};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The mixers that exist, in the order of the paper's tables. A new one is a file of its own, and a line here.
const ENTRIES: &[Entry] = &[
    Entry::of::<Vanilla>(),
    Entry::of::<MixUp>(),
    Entry::of::<ManifoldMix>(),
    Entry::of::<CutMix>(),
    Entry::of::<Cutout>(),
    Entry::of::<ResizeMix>(),
    Entry::of::<FMix>(),
    Entry::of::<GridMix>(),
    Entry::of::<SmoothMix>(),
    Entry::of::<SaliencyMix>(),
    Entry::of::<AttentiveMix>(),
    Entry::of::<SnapMix>(),
    Entry::of::<PuzzleMix>(),
    Entry::of::<CoMixup>(),
    Entry::of::<SaliencyGrafting>(),
    Entry::of::<AlignMix>(),
    Entry::of::<RecursiveMix>(),
    Entry::of::<TransMix>(),
    Entry::of::<TokenMix>(),
    Entry::of::<SmMix>(),
    Entry::of::<MixPro>(),
    Entry::of::<TokenMixup>(),
    Entry::of::<Switch>(),
];

/// What there is to know about a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Facts {
    /// Its name in recipes.
    pub name: &'static str,
    /// Its name in the paper's tables.
    pub title: &'static str,
    /// Where it was published.
    pub citation: &'static str,
    /// What it draws for each batch, and from which distributions.
    pub draws: &'static str,
    /// What a step costs beside the pass over the mixed pictures.
    pub cost: &'static str,
}

/// A mixer that the registry can build: its fields are its parameters, read by name, with defaults for those that aren't
/// given.
pub trait Registered: Mixer + Default + Serialize + DeserializeOwned + 'static {
    /// Name, origin, draws, cost.
    const FACTS: Facts;
}

/// The parameters of a mixer by name, as a recipe gives them.
pub type Parameters = serde_json::Map<String, serde_json::Value>;

/// A mixer that exists.
#[derive(Clone, Copy, Debug)]
pub struct Entry {
    /// Name, origin, draws, cost.
    pub facts: Facts,
    defaults: fn() -> Parameters,
    build: fn(Parameters) -> Result<Box<dyn Mixer>>,
}

impl Entry {
    /// The entry of a mixer.
    pub const fn of<M: Registered>() -> Self {
        Self { facts: M::FACTS, defaults: defaults::<M>, build: build_one::<M> }
    }

    /// The mixer with these parameters, and the others at their default.
    ///
    /// # Errors
    /// If a parameter is unknown to it or out of range.
    pub fn build(&self, parameters: Parameters) -> Result<Box<dyn Mixer>> {
        (self.build)(parameters)
    }

    /// Its parameters where none are given.
    pub fn defaults(&self) -> Parameters {
        (self.defaults)()
    }
}

fn defaults<M: Registered>() -> Parameters {
    match serde_json::to_value(M::default()) {
        Ok(serde_json::Value::Object(parameters)) => parameters,
        // A mixer without fields.
        _ => Parameters::default(),
    }
}

fn build_one<M: Registered>(parameters: Parameters) -> Result<Box<dyn Mixer>> {
    Ok(Box::new(read::<M>(parameters)?))
}

/// A mixer whose type is known, with parameters that are not given at their default: for steps that do more with it than
/// any mixer can.
///
/// # Errors
/// If a parameter is unknown to it or out of range.
pub fn read<M: Registered>(parameters: Parameters) -> Result<M> {
    let mixer: M = serde_json::from_value(parameters.into())
        .map_err(|error| Error::Parameters { mixer: M::FACTS.name, reason: error.to_string() })?;
    mixer.validate()?;
    Ok(mixer)
}

/// The mixers that exist, in the order of the paper's tables.
pub fn entries() -> &'static [Entry] {
    ENTRIES
}

/// The mixer of a name, with parameters that are not given at their default.
///
/// # Errors
/// If there is none of this name, or a parameter is unknown to it or out of range.
pub fn build(name: &str, parameters: Parameters) -> Result<Box<dyn Mixer>> {
    match ENTRIES.iter().find(|entry| entry.facts.name == name) {
        Some(entry) => entry.build(parameters),
        None => {
            let known = ENTRIES.iter().map(|entry| entry.facts.name).collect::<Vec<_>>().join(", ");
            Err(Error::Unknown { what: "mixer".to_string(), name: name.to_string(), known })
        }
    }
}

/// Fails unless a parameter is a positive number.
pub(crate) fn positive(name: &'static str, value: f64) -> Result<()> {
    within(name, value, value > 0.0 && value.is_finite(), "a positive number")
}

/// Fails unless a parameter is a share.
pub(crate) fn share(name: &'static str, value: f64) -> Result<()> {
    within(name, value, (0.0..=1.0).contains(&value), "0 to 1")
}

/// Fails unless a parameter is `right`, which is called `expected`.
pub(crate) fn within(name: &'static str, value: f64, right: bool, expected: &'static str) -> Result<()> {
    if right { Ok(()) } else { Err(Error::Parameter { name, value, expected }) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn message(name: &str, key: &str, value: impl Into<serde_json::Value>) -> String {
        let parameters = [(key.to_string(), value.into())].into_iter().collect();
        build(name, parameters).err().map(|error| error.to_string()).unwrap_or_default()
    }

    #[test]
    fn every_mixer_has_one_name_and_is_built_from_its_defaults() -> Result<()> {
        for (i, entry) in entries().iter().enumerate() {
            assert!(entries()[..i].iter().all(|other| other.facts.name != entry.facts.name));
            build(entry.facts.name, Parameters::default())?;
            build(entry.facts.name, entry.defaults())?;
        }
        Ok(())
    }

    #[test]
    fn unknown_names_and_parameters_are_named() {
        let unknown = build("mixdown", Parameters::default()).err().unwrap().to_string();
        assert!(
            unknown.starts_with("mixer `mixdown` is unknown, expected one of vanilla, mixup"),
            "{unknown}"
        );
        let unknown = message("mixup", "beta_paramter", 1.0);
        assert_eq!(unknown, "mixer `mixup`: unknown field `beta_paramter`, expected `beta_parameter`");
        let wrong = message("cutmix", "beta_parameter", 0.0);
        assert_eq!(wrong, "`beta_parameter` is 0, expected a positive number");
        let wrong = message("cutmix", "beta_parameter", "one");
        assert!(wrong.contains("invalid type: string \"one\""), "{wrong}");
    }
}
