//! ManifoldMix (Verma et al., ICML 2019): MixUp of the pictures or of a hidden feature map.

use crate::mixup::MixUpPlan;
use crate::registry::{Facts, Registered, positive};
use crate::{Error, Mixed, Mixer, Place, Plan, Result, View, draw};
use rand::RngCore;
use rand::seq::IndexedRandom;
use serde::{Deserialize, Serialize};

/// [`MixUp`](crate::mixup::MixUp) at a place in the network that is drawn anew for each batch.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct ManifoldMix {
    /// `a` of Beta(a, a).
    pub beta_parameter: f64,
    /// The places, one of which is drawn: 0 the pictures, `k` the map after the stem and `k` stages.
    pub stages: Vec<usize>,
}

impl Default for ManifoldMix {
    fn default() -> Self {
        Self { beta_parameter: 2.0, stages: vec![0, 1, 2] }
    }
}

impl Registered for ManifoldMix {
    const FACTS: Facts = Facts {
        name: "manifoldmix",
        title: "ManifoldMix",
        citation: "Verma et al., ICML 2019, arXiv 1806.05236",
        draws: "one of its stages, λ of Beta(a, a) and a permutation, per batch",
        cost: "nothing",
    };
}

impl Mixer for ManifoldMix {
    fn validate(&self) -> Result<()> {
        positive("beta_parameter", self.beta_parameter)?;
        match self.stages.is_empty() {
            true => Err(no_stages()),
            false => Ok(()),
        }
    }

    fn sample(&self, batch: usize, _: usize, _: usize, rng: &mut dyn RngCore) -> Result<Box<dyn Plan>> {
        let stage = *self.stages.choose(rng).ok_or_else(no_stages)?;
        let lambda = draw::beta(self.beta_parameter, rng)?;
        let mixup = MixUpPlan { lambda, partner: draw::permutation(batch, rng) };
        Ok(Box::new(ManifoldMixPlan { stage, mixup }))
    }
}

fn no_stages() -> Error {
    let reason = "`stages` is empty, expected at least one".to_owned();
    Error::Parameters { mixer: ManifoldMix::FACTS.name, reason }
}

/// The draws of [`ManifoldMix`].
#[derive(Clone, Debug, PartialEq)]
pub struct ManifoldMixPlan {
    /// After how many stages the batch is mixed; 0 mixes the pictures.
    pub stage: usize,
    /// How it is mixed there.
    pub mixup: MixUpPlan,
}

impl Plan for ManifoldMixPlan {
    fn place(&self) -> Place {
        match self.stage {
            0 => Place::Pictures,
            stage => Place::Stage(stage),
        }
    }

    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        self.mixup.mix(view)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn gradients_reach_a_hidden_map_and_its_partner() -> Result<()> {
        let hidden = Var::new(&[[[[1f32, 2.0]]], [[[3.0, 4.0]]]], &Device::Cpu)?;
        let mixup = MixUpPlan { lambda: 0.75, partner: vec![1, 0] };
        let mixed = ManifoldMixPlan { stage: 2, mixup }.mix(&View::of(&hidden))?;
        let first = mixed.images.narrow(0, 0, 1)?.sum_all()?.backward()?;
        let gradient = first.get(&hidden).unwrap().flatten_all()?.to_vec1::<f32>()?;
        assert_eq!(gradient, [0.75, 0.75, 0.25, 0.25]);
        Ok(())
    }

    #[test]
    fn places_are_drawn_alike() -> Result<()> {
        let (mixer, rng) = (ManifoldMix::default(), &mut ChaCha8Rng::seed_from_u64(1));
        let mut counts = [0; 3];
        for _ in 0..600 {
            let index = match mixer.sample(2, 8, 8, rng)?.place() {
                Place::Pictures => 0,
                Place::Stage(stage) => stage,
                Place::LastStage => panic!("not among the stages"),
            };
            counts[index] += 1;
        }
        assert!(counts.iter().all(|count| (160..240).contains(count)), "{counts:?}");
        let none = ManifoldMix { stages: vec![], ..mixer };
        let message = none.validate().unwrap_err().to_string();
        assert_eq!(message, "mixer `manifoldmix`: `stages` is empty, expected at least one");
        Ok(())
    }
}
