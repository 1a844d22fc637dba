//! One of several mixers, drawn anew for each batch: MixUp or CutMix, as the recipes of DeiT have it.

use crate::registry::{self, Facts, Parameters, Registered, share};
use crate::{Error, Mixer, Plan, Result};
use rand::{Rng, RngCore};
use serde::{Deserialize, Serialize};

/// How far the sum of the probabilities may be from 1.
const TOLERANCE: f64 = 1e-9;

/// Mixers by name, each with the probability that a batch is mixed by it.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Switch {
    /// What is drawn from; the probabilities sum to 1.
    pub choices: Vec<Choice>,
}

/// A mixer that may be drawn.
#[derive(Clone, Debug, Deserialize, Serialize)]
pub struct Choice {
    /// Its name in the registry.
    pub name: String,
    /// The probability that it is drawn.
    pub probability: f64,
    /// Its own parameters, beside the two above.
    #[serde(flatten)]
    pub parameters: Parameters,
}

impl Choice {
    fn mixer(&self) -> Result<Box<dyn Mixer>> {
        registry::build(&self.name, self.parameters.clone())
    }
}

impl Default for Switch {
    /// MixUp of Beta(0.8, 0.8) or CutMix of Beta(1, 1), half each.
    fn default() -> Self {
        let choice = |name: &str, beta_parameter: f64| Choice {
            name: name.to_owned(),
            probability: 0.5,
            parameters: [("beta_parameter".to_owned(), beta_parameter.into())].into_iter().collect(),
        };
        Self { choices: vec![choice("mixup", 0.8), choice("cutmix", 1.0)] }
    }
}

impl Registered for Switch {
    const FACTS: Facts = Facts {
        name: "switch",
        title: "MixUp or CutMix",
        citation: "Touvron et al., ICML 2021 (DeiT), arXiv 2012.12877",
        draws: "one of its choices, and what that draws, per batch",
        cost: "that of the choice",
    };
}

impl Mixer for Switch {
    fn validate(&self) -> Result<()> {
        for choice in &self.choices {
            share("probability", choice.probability)?;
            choice.mixer()?;
        }
        let sum = self.choices.iter().fold(0.0, |sum, choice| sum + choice.probability);
        if (sum - 1.0).abs() <= TOLERANCE {
            return Ok(());
        }
        let reason = format!("the probabilities of `choices` sum to {sum}, expected 1");
        Err(Error::Parameters { mixer: Self::FACTS.name, reason })
    }

    fn sample(
        &self,
        batch: usize,
        height: usize,
        width: usize,
        rng: &mut dyn RngCore,
    ) -> Result<Box<dyn Plan>> {
        self.validate()?;
        let mut left: f64 = rng.random();
        let drawn = self.choices.iter().find(|choice| {
            left -= choice.probability;
            left < 0.0
        });
        // Rounding can leave something after the last of them.
        let drawn = drawn.or_else(|| self.choices.iter().rfind(|choice| choice.probability > 0.0));
        drawn.expect("a sum of 1 has a positive term").mixer()?.sample(batch, height, width, rng)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use serde_json::json;

    fn build(choices: serde_json::Value) -> Result<Box<dyn Mixer>> {
        registry::build("switch", [("choices".to_owned(), choices)].into_iter().collect())
    }

    #[test]
    fn choices_are_drawn_as_often_as_asked_with_their_own_parameters() -> Result<()> {
        let mixer = build(json!([
            { "name": "mixup", "probability": 0.2, "beta_parameter": 1e6 },
            { "name": "cutmix", "probability": 0.8 },
            { "name": "vanilla", "probability": 0 }
        ]))?;
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let plans =
            (0..500).map(|_| Ok(format!("{:?}", mixer.sample(2, 8, 8, rng)?))).collect::<Result<Vec<_>>>()?;
        let (mixup, cutmix): (Vec<_>, Vec<_>) = plans.iter().partition(|plan| plan.starts_with("MixUpPlan"));
        assert!((70..130).contains(&mixup.len()), "{}", mixup.len());
        assert!(cutmix.iter().all(|plan| plan.starts_with("CutMixPlan")));
        // A Beta draw with such a parameter is a half.
        assert!(mixup.iter().all(|plan| plan.contains("lambda: 0.49") || plan.contains("lambda: 0.50")));
        Ok(())
    }

    #[test]
    fn what_can_not_be_drawn_is_an_error() {
        let message = |choices| build(choices).err().map(|error| error.to_string()).unwrap_or_default();
        let sum = message(json!([{ "name": "mixup", "probability": 0.5 }]));
        assert_eq!(sum, "mixer `switch`: the probabilities of `choices` sum to 0.5, expected 1");
        assert!(message(json!([])).contains("sum to 0"));
        let unknown = message(json!([{ "name": "mixdown", "probability": 1.0 }]));
        assert!(unknown.starts_with("mixer `mixdown` is unknown, expected one of"), "{unknown}");
        let unknown = message(json!([{ "name": "mixup", "probability": 1.0, "alpha": 1.0 }]));
        assert_eq!(unknown, "mixer `mixup`: unknown field `alpha`, expected `beta_parameter`");
        let negative = message(json!([{ "name": "mixup", "probability": -0.5 }]));
        assert_eq!(negative, "`probability` is -0.5, expected 0 to 1");
        assert!(message(json!([{ "name": "mixup" }])).contains("missing field `probability`"));
    }
}
