//! What every mixer of the registry promises, on random batches.

use adautomix_mixing::{Mixed, Normalisation, Place, Plan, Result, Targets, View, registry};
use candle_core::{Device, Tensor};
use proptest::prelude::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

const CLASSES: u32 = 5;

/// A batch, and everything that a mixer may look at.
struct Batch {
    images: Tensor,
    labels: Vec<u32>,
    gradient: Tensor,
    features: Tensor,
    head: (Tensor, Tensor),
    attention: Tensor,
}

impl Batch {
    fn new(batch: usize, height: usize, width: usize, seed: u64) -> Result<Self> {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let mut noise = |shape: &[usize]| {
            let values: Vec<f32> =
                (0..shape.iter().product::<usize>()).map(|_| rng.random_range(-2.0..2.0)).collect();
            Tensor::from_vec(values, shape, &Device::Cpu)
        };
        let tokens = (height / 8) * (width / 8) + 1;
        Ok(Self {
            images: noise(&[batch, 3, height, width])?,
            gradient: noise(&[batch, 3, height, width])?,
            features: noise(&[batch, 8, height / 8, width / 8])?.abs()?,
            head: (noise(&[CLASSES as usize, 8])?, noise(&[CLASSES as usize])?),
            attention: noise(&[batch, 2, tokens, tokens])?.exp()?,
            labels: (0..batch).map(|_| rng.random_range(0..CLASSES)).collect(),
        })
    }

    /// What a plan sees: a hidden map in the place of the pictures, where it mixes those.
    fn view(&self, plan: &dyn Plan) -> View<'_> {
        let mut view = View::of(match plan.place() {
            Place::Pictures => &self.images,
            Place::Stage(_) | Place::LastStage => &self.features,
        });
        view.labels = Some(&self.labels);
        view.normalisation = Some(Normalisation { mean: [0.5; 3], std: [0.25; 3] });
        view.gradient = Some(&self.gradient);
        view.features = Some(&self.features);
        view.head = Some((&self.head.0, &self.head.1));
        view.attention = Some(&self.attention);
        view
    }
}

fn plan(name: &str, [batch, height, width]: [usize; 3], seed: u64) -> Result<Box<dyn Plan>> {
    let mixer = registry::build(name, registry::Parameters::default())?;
    mixer.sample(batch, height, width, &mut ChaCha8Rng::seed_from_u64(seed))
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().and_then(|flat| flat.to_vec1()).unwrap()
}

/// Whether the weights of labels, or of classes, are shares that sum to 1.
fn are_shares(targets: &Targets, batch: usize) -> bool {
    let (weights, n) = match targets {
        Targets::Labels { partners, weights } => {
            assert!(partners.iter().all(|list| list.len() == batch));
            assert!(partners.iter().flatten().all(|&partner| (partner as usize) < batch));
            assert!([1, batch].contains(&(weights.len() / partners.len())));
            (weights.clone(), partners.len())
        }
        Targets::Soft(target) => (values(target), target.dim(1).unwrap()),
    };
    weights.iter().all(|&weight| weight >= 0.0)
        && weights.chunks(n).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5)
}

/// Methods whose two weights are each a share of its own, and need not sum to 1.
const TWO_WEIGHTS: &[&str] = &["snapmix", "tokenmix"];

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn weights_are_shares_and_the_same_seed_gives_the_same_mix(
        batch in 1usize..6, rows in 2usize..5, columns in 2usize..5, seed: u64
    ) {
        let size = [batch, 8 * rows, 8 * columns];
        let given = Batch::new(batch, size[1], size[2], seed).unwrap();
        for entry in registry::entries() {
            let name = entry.facts.name;
            let Some(plan_of) = supported(name, size, seed) else { continue };
            let again = plan(name, size, seed).unwrap();
            prop_assert_eq!(format!("{:?}", plan_of), format!("{:?}", again), "{}", name);
            let view = given.view(&*plan_of);
            let mixed: Mixed = plan_of.mix(&view).unwrap();
            prop_assert_eq!(mixed.images.dims(), view.images.dims(), "{}", name);
            prop_assert!(values(&mixed.images).iter().all(|x| x.is_finite()), "{}", name);
            let twice = again.mix(&view).unwrap();
            prop_assert_eq!(values(&mixed.images), values(&twice.images), "{}", name);
            prop_assert!(TWO_WEIGHTS.contains(&name) || are_shares(&mixed.targets, batch), "{}: {:?}", name, mixed.targets);
        }
    }
}

/// The plan of a mixer, unless it says that it is for square pictures and these aren't.
fn supported(name: &str, size: [usize; 3], seed: u64) -> Option<Box<dyn Plan>> {
    match plan(name, size, seed) {
        Ok(plan) => Some(plan),
        Err(error) => {
            assert!(size[1] != size[2] && error.to_string().contains("square"), "{name}: {error}");
            None
        }
    }
}
