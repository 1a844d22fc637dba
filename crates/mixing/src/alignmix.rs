//! AlignMix (Venkataramanan et al., CVPR 2022): the last maps of two pictures are brought into line before they are mixed.

use crate::manifoldmix::ManifoldMix;
use crate::registry::{Facts, Registered, positive, share, within};
use crate::{Error, Mixed, Mixer, Place, Plan, Result, Targets, View, draw};
use candle_core::{DType, Tensor};
use rand::{Rng, RngCore};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Rounds end when potentials move by less than this, summed over positions, in the mean over the batch.
const THRESHOLD: f64 = 0.1;
/// Positions of a map that can be aligned at most; the transport of one sample has their square.
const MOST_POSITIONS: usize = 1024;

/// The positions of one map are matched to those of the other by optimal transport (entropic, Sinkhorn's algorithm), the
/// matched map takes the other's place, and the two are mixed with one `lambda` of Beta(a, a) per batch.
///
/// The transport is a constant to the gradient, which flows through both maps. It is computed on the host.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AlignMix {
    /// `a` of Beta(a, a).
    pub beta_parameter: f64,
    /// What the entropy of the transport weighs, in units of squared distances of features.
    pub epsilon: f64,
    /// Rounds of Sinkhorn's algorithm at most.
    pub iterations: usize,
    /// How probably a batch is mixed by [`ManifoldMix`] instead.
    pub manifold_probability: f64,
}

impl Default for AlignMix {
    fn default() -> Self {
        Self { beta_parameter: 2.0, epsilon: 0.1, iterations: 100, manifold_probability: 0.5 }
    }
}

impl Registered for AlignMix {
    const FACTS: Facts = Facts {
        name: "alignmix",
        title: "AlignMix",
        citation: "Venkataramanan et al., CVPR 2022, arXiv 2103.15375",
        draws: "whether ManifoldMix takes its place; λ of Beta(a, a), a direction and a permutation, per batch",
        cost: "up to 100 rounds of Sinkhorn's algorithm on the last map",
    };
}

impl Mixer for AlignMix {
    fn validate(&self) -> Result<()> {
        positive("beta_parameter", self.beta_parameter)?;
        positive("epsilon", self.epsilon)?;
        within("iterations", self.iterations as f64, self.iterations >= 1, "1 or more")?;
        share("manifold_probability", self.manifold_probability)
    }

    fn sample(
        &self,
        batch: usize,
        height: usize,
        width: usize,
        rng: &mut dyn RngCore,
    ) -> Result<Box<dyn Plan>> {
        self.validate()?;
        if rng.random_bool(self.manifold_probability) {
            let manifold = ManifoldMix { beta_parameter: self.beta_parameter, ..ManifoldMix::default() };
            return manifold.sample(batch, height, width, rng);
        }
        let lambda = draw::beta(self.beta_parameter, rng)?;
        let moved = if rng.random_bool(0.5) { Moved::Partner } else { Moved::Sample };
        let partner = draw::permutation(batch, rng);
        Ok(Box::new(AlignMixPlan {
            lambda,
            moved,
            partner,
            epsilon: self.epsilon,
            iterations: self.iterations,
        }))
    }
}

/// Which of two maps is brought into line with the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Moved {
    /// The partner's.
    Partner,
    /// The sample's own.
    Sample,
}

/// The draws of [`AlignMix`].
#[derive(Clone, Debug, PartialEq)]
pub struct AlignMixPlan {
    /// The weight of the sample itself.
    pub lambda: f64,
    /// Which map is moved.
    pub moved: Moved,
    /// The partner of each sample.
    pub partner: Vec<u32>,
    /// What the entropy of the transport weighs.
    pub epsilon: f64,
    /// Rounds at most.
    pub iterations: usize,
}

impl AlignMixPlan {
    /// The transport between the positions of maps `[N, C, h, w]` and those of their partners, and the rounds that were made.
    ///
    /// # Errors
    /// If a map has too many positions, or a partner is out of range.
    pub fn transport(&self, maps: &Tensor) -> Result<Transport> {
        let (batch, channels, height, width) = maps.dims4()?;
        let positions = height * width;
        if positions == 0 || positions > MOST_POSITIONS {
            let expected = format!("1 to {MOST_POSITIONS} positions");
            return Err(Error::Shape { what: "map to align", got: maps.dims().to_vec(), expected });
        }
        let values = maps.detach().to_dtype(DType::F32)?.flatten_all()?.to_vec1::<f32>()?;
        let maps: Vec<&[f32]> = values.chunks_exact((channels * positions).max(1)).collect();
        let pair = |(own, &partner): (&&[f32], &u32)| match maps.get(partner as usize) {
            Some(other) => Ok(Sinkhorn::new(own, other, positions, self.epsilon)),
            None => {
                let (got, expected) = (vec![partner as usize], format!("a partner below {batch}"));
                Err(Error::Shape { what: "partner", got, expected })
            }
        };
        let mut pairs = maps.par_iter().zip(&self.partner).map(pair).collect::<Result<Vec<_>>>()?;
        let mut iterations = 0;
        while iterations < self.iterations {
            let moves: Vec<f64> = pairs.par_iter_mut().map(Sinkhorn::round).collect();
            iterations += 1;
            if moves.iter().sum::<f64>() / (moves.len().max(1) as f64) < THRESHOLD {
                break;
            }
        }
        Ok(Transport {
            plans: pairs.par_iter().flat_map_iter(Sinkhorn::plan).collect(),
            positions,
            iterations,
        })
    }
}

/// How much of each position goes where, for each pair of maps.
#[derive(Clone, Debug)]
pub struct Transport {
    /// `[N, n, n]` for `n` positions: row by row the sample's, column by column the partner's. The sum of each is near 1.
    pub plans: Vec<f32>,
    /// `n`
    pub positions: usize,
    /// Rounds that were made.
    pub iterations: usize,
}

impl Plan for AlignMixPlan {
    fn place(&self) -> Place {
        Place::LastStage
    }

    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        let maps = view.images;
        let Transport { plans, positions, .. } = self.transport(maps)?;
        let plans = Tensor::from_vec(plans, (self.partner.len(), positions, positions), maps.device())?;
        let own = maps.flatten_from(2)?;
        let partner = own.index_select(&Tensor::new(self.partner.as_slice(), maps.device())?, 0)?;
        let plans = plans.to_dtype(maps.dtype())?;
        let (own, partner) = match self.moved {
            Moved::Partner => (own, partner.matmul(&plans.transpose(1, 2)?.contiguous()?)?),
            Moved::Sample => (own.matmul(&plans)?, partner),
        };
        let mixed = ((own * self.lambda)? + (partner * (1.0 - self.lambda))?)?;
        Ok(Mixed { images: mixed.reshape(maps.shape())?, targets: Targets::pair(&self.partner, self.lambda) })
    }
}

/// Sinkhorn's algorithm in the logarithmic domain, for one pair of maps.
struct Sinkhorn {
    /// Squared distances over `epsilon`, `[n, n]`.
    cost: Vec<f64>,
    /// The potentials of the sample's positions, and of its partner's, over `epsilon`.
    own: Vec<f64>,
    partner: Vec<f64>,
    epsilon: f64,
}

impl Sinkhorn {
    /// For maps `[C, n]`.
    fn new(own: &[f32], partner: &[f32], positions: usize, epsilon: f64) -> Self {
        let mut cost = vec![0.0; positions * positions];
        for (own, partner) in own.chunks_exact(positions).zip(partner.chunks_exact(positions)) {
            for (row, &own) in cost.chunks_exact_mut(positions).zip(own) {
                for (cost, &partner) in row.iter_mut().zip(partner) {
                    let difference = f64::from(own) - f64::from(partner);
                    *cost += difference * difference;
                }
            }
        }
        cost.iter_mut().for_each(|cost| *cost /= epsilon);
        Self { cost, own: vec![0.0; positions], partner: vec![0.0; positions], epsilon }
    }

    /// Fits the sums of rows, then those of columns. Gives how far the sample's potentials have moved, in all.
    fn round(&mut self) -> f64 {
        let positions = self.own.len();
        let mass = (1.0 / positions as f64 + 1e-8).ln();
        let mut moved = 0.0;
        for (potential, row) in self.own.iter_mut().zip(self.cost.chunks_exact(positions)) {
            let new = mass - log_sum_exp(row.iter().zip(&self.partner).map(|(cost, partner)| partner - cost));
            moved += (new - *potential).abs();
            *potential = new;
        }
        for (column, potential) in self.partner.iter_mut().enumerate() {
            let costs = self.cost.iter().skip(column).step_by(positions);
            *potential = mass - log_sum_exp(costs.zip(&self.own).map(|(cost, own)| own - cost));
        }
        moved * self.epsilon
    }

    /// `n` times the transport, `[n, n]`.
    fn plan(&self) -> impl Iterator<Item = f32> {
        let positions = self.own.len();
        let entry = move |(index, cost): (usize, &f64)| {
            let exponent = self.own[index / positions] + self.partner[index % positions] - cost;
            (positions as f64 * exponent.exp()) as f32
        };
        self.cost.iter().enumerate().map(entry)
    }
}

/// `ln Σ exp x`
fn log_sum_exp(values: impl Iterator<Item = f64> + Clone) -> f64 {
    let largest = values.clone().fold(f64::NEG_INFINITY, f64::max);
    largest + values.map(|value| (value - largest).exp()).sum::<f64>().ln()
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn plan(moved: Moved, lambda: f64, partner: &[u32]) -> AlignMixPlan {
        AlignMixPlan { lambda, moved, partner: partner.to_vec(), epsilon: 0.1, iterations: 100 }
    }

    /// Two maps of 2 channels and 2×3 positions; the second has the positions of the first in another order.
    fn shuffled() -> Result<Var> {
        let first = [[0f32, 1.0, 2.0, 3.0, 4.0, 5.0], [5.0, 0.0, 4.0, 1.0, 3.0, 2.0]];
        let second = first.map(|channel| [3, 0, 4, 2, 5, 1].map(|position: usize| channel[position]));
        Ok(Var::from_tensor(&Tensor::new(&[first, second], &Device::Cpu)?.reshape((2, 2, 2, 3))?)?)
    }

    fn values(tensor: &Tensor) -> Result<Vec<f32>> {
        Ok(tensor.flatten_all()?.to_vec1()?)
    }

    #[test]
    fn positions_that_look_alike_are_mixed() -> Result<()> {
        let maps = shuffled()?;
        // What is mixed with itself in another order stays what it was: as the sample has it, or as its partner does.
        for (moved, order) in [(Moved::Partner, [0u32, 1]), (Moved::Sample, [1, 0])] {
            let mixed = plan(moved, 0.3, &[1, 0]).mix(&View::of(&maps))?.images;
            let expected = maps.index_select(&Tensor::new(&order, &Device::Cpu)?, 0)?;
            let off = (mixed - expected)?.abs()?.max_all()?.to_scalar::<f32>()?;
            assert!(off < 1e-3, "{moved:?}: {off}");
        }
        Ok(())
    }

    #[test]
    fn sums_of_rows_and_columns_are_even() -> Result<()> {
        let maps = (shuffled()?.as_tensor() * 0.2)?;
        let transport =
            AlignMixPlan { epsilon: 1.0, ..plan(Moved::Sample, 0.5, &[1, 1]) }.transport(&maps)?;
        assert!((1..100).contains(&transport.iterations), "{}", transport.iterations);
        for plan in transport.plans.chunks(36) {
            for i in 0..6 {
                let (row, column): (f32, f32) =
                    (plan[6 * i..6 * i + 6].iter().sum(), plan.iter().skip(i).step_by(6).sum());
                assert!((row - 1.0).abs() < 0.05 && (column - 1.0).abs() < 1e-4, "{row} {column}");
            }
        }
        Ok(())
    }

    #[test]
    fn gradients_reach_both_maps_and_not_the_transport() -> Result<()> {
        let maps = Var::from_tensor(&(shuffled()?.as_tensor() * 0.1)?)?;
        for moved in [Moved::Partner, Moved::Sample] {
            let plan = AlignMixPlan { epsilon: 1.0, ..plan(moved, 0.3, &[1, 0]) };
            let first = plan.mix(&View::of(&maps))?.images.narrow(0, 0, 1)?.sqr()?.sum_all()?;
            let gradient = first.backward()?.get(&maps).cloned().unwrap();
            assert!(values(&gradient.narrow(0, 1, 1)?)?.iter().any(|slope| slope.abs() > 1e-3));
            // With a constant transport the mix is linear in the maps, and its square homogeneous of degree 2.
            let along = (gradient * maps.as_tensor())?.sum_all()?.to_scalar::<f32>()?;
            let twice = 2.0 * first.to_scalar::<f32>()?;
            assert!((along - twice).abs() < 1e-4 * twice, "{along} {twice}");
        }
        Ok(())
    }

    #[test]
    fn directions_and_manifoldmix_are_drawn_as_often_as_said() -> Result<()> {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let mixer = AlignMix { manifold_probability: 0.25, ..AlignMix::default() };
        let drawn: Vec<String> =
            (0..400).map(|_| Ok(format!("{:?}", mixer.sample(3, 8, 8, rng)?))).collect::<Result<_>>()?;
        let count = |text: &str| drawn.iter().filter(|plan| plan.contains(text)).count();
        assert!((70..130).contains(&count("ManifoldMixPlan")), "{}", count("ManifoldMixPlan"));
        assert!((120..180).contains(&count("Partner,")), "{}", count("Partner,"));
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error() -> Result<()> {
        let message = |shape: (usize, usize, usize, usize), partner: &[u32]| -> Result<String> {
            let maps = Tensor::zeros(shape, DType::F32, &Device::Cpu)?;
            let mixed = plan(Moved::Sample, 0.5, partner).mix(&View::of(&maps));
            Ok(mixed.err().map(|error| error.to_string()).unwrap_or_default())
        };
        let large = message((1, 1, 33, 32), &[0])?;
        assert_eq!(large, "map to align [1, 1, 33, 32], expected 1 to 1024 positions");
        assert_eq!(message((2, 1, 2, 2), &[0, 2])?, "partner [2], expected a partner below 2");
        assert!(!message((2, 1, 2, 2), &[0])?.is_empty());
        assert_eq!(message((1, 3, 1, 1), &[0])?, "");
        Ok(())
    }
}
