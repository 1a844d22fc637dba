//! What every mixer of the registry promises, on random batches.

use adautomix_mixing::alignmix::{AlignMixPlan, Moved};
use adautomix_mixing::attentivemix::{AttentiveMixPlan, Kept};
use adautomix_mixing::cutmix::CutMixPlan;
use adautomix_mixing::mixpro::MixProPlan;
use adautomix_mixing::mixup::MixUpPlan;
use adautomix_mixing::puzzlemix::{PuzzleMix, PuzzleMixPlan};
use adautomix_mixing::saliencygrafting::{SaliencyGrafting, SaliencyGraftingPlan, Trials};
use adautomix_mixing::snapmix::SnapMixPlan;
use adautomix_mixing::transmix::TransMixPlan;
use adautomix_mixing::{Mixed, Normalisation, Place, Plan, Result, Targets, Variant, View, registry};
use candle_core::{Device, Tensor};
use proptest::prelude::*;
use rand::seq::SliceRandom;
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

    /// The batch in another order: its sample `i` is sample `order[i]` of this one.
    fn permuted(&self, order: &[u32]) -> Result<Self> {
        let order_of = |tensor: &Tensor| tensor.index_select(&Tensor::new(order, &Device::Cpu)?, 0);
        Ok(Self {
            images: order_of(&self.images)?,
            labels: order.iter().map(|&from| self.labels[from as usize]).collect(),
            gradient: order_of(&self.gradient)?,
            features: order_of(&self.features)?,
            head: self.head.clone(),
            attention: order_of(&self.attention)?,
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
    tensor.flatten_all().and_then(|flat| flat.to_vec1()).expect("a tensor of f32")
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
        Targets::Soft(target) => (values(target), target.dim(1).expect("a target of classes")),
    };
    weights.iter().all(|&weight| weight >= 0.0)
        && weights.chunks(n).all(|row| (row.iter().sum::<f32>() - 1.0).abs() < 1e-5)
}

/// What the plans below are made of.
struct Drawn {
    lambda: f64,
    center: [usize; 2],
    partner: Vec<u32>,
    /// A number of each sample's own.
    own: Vec<u64>,
}

impl Drawn {
    fn cutmix(&self) -> CutMixPlan {
        CutMixPlan { lambda: self.lambda, center: self.center, partner: self.partner.clone() }
    }

    fn align(&self, moved: Moved) -> Box<dyn Plan> {
        let (epsilon, iterations) = (0.5, 20);
        Box::new(AlignMixPlan {
            lambda: self.lambda,
            moved,
            partner: self.partner.clone(),
            epsilon,
            iterations,
        })
    }

    fn new([batch, height, width]: [usize; 3], seed: u64) -> Self {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        Self {
            lambda: rng.random(),
            center: [rng.random_range(0..height), rng.random_range(0..width)],
            partner: permutation(batch, rng),
            own: (0..batch).map(|_| rng.random()).collect(),
        }
    }

    /// The same draws for a batch whose sample `i` is sample `order[i]` of this one.
    fn permuted(&self, order: &[u32]) -> Self {
        let place =
            |sample: u32| order.iter().position(|&from| from == sample).expect("a permutation") as u32;
        let partner = order.iter().map(|&from| place(self.partner[from as usize])).collect();
        let own = order.iter().map(|&from| self.own[from as usize]).collect();
        Self { partner, own, ..*self }
    }
}

fn permutation(batch: usize, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let mut order: Vec<u32> = (0..batch as u32).collect();
    order.shuffle(rng);
    order
}

type MakePlan = fn(&Drawn) -> Box<dyn Plan>;

/// Methods whose result follows the order of the batch, and how their plans are made: a line for each. `handmade.rs` has
/// the hand-crafted ones. SaliencyMix looks at the first sample's partner, SMMix counts partners from the end, Co-Mixup and
/// TokenMixup choose partners by their place in the batch.
#[rustfmt::skip]
const PLANS: &[(&str, MakePlan)] = &[
    ("mixup", |d| Box::new(MixUpPlan { lambda: d.lambda, partner: d.partner.clone() })),
    ("cutmix", |d| Box::new(d.cutmix())),
    ("attentivemix", |d| Box::new(AttentiveMixPlan { kept: Kept::Share(d.lambda), partner: d.partner.clone(), label: Variant::Paper })),
    ("snapmix", |d| Box::new(SnapMixPlan { lambdas: [d.lambda; 2], centers: [d.center; 2], partner: d.partner.clone(), variant: Variant::Paper })),
    ("saliencygrafting", |d| Box::new(SaliencyGraftingPlan { method: SaliencyGrafting::default(), probability: d.lambda, partner: d.partner.clone(), trials: d.own.iter().map(|&own| Trials(own)).collect() })),
    ("puzzlemix", |d| Box::new(PuzzleMixPlan { mixer: PuzzleMix { transport: false, ..PuzzleMix::default() }, lambda: d.lambda, block_count: 4, partner: d.partner.clone() })),
    ("puzzlemix with transport", |d| Box::new(PuzzleMixPlan { mixer: PuzzleMix::default(), lambda: d.lambda, block_count: 4, partner: d.partner.clone() })),
    ("alignmix, the partner moved", |d| d.align(Moved::Partner)),
    ("alignmix, the sample moved", |d| d.align(Moved::Sample)),
    ("transmix", |d| Box::new(TransMixPlan { cutmix: d.cutmix(), ratio: 0.5 })),
    ("mixpro", |d| Box::new(MixProPlan { lambda: d.lambda, kept: d.own.iter().map(|own| (0..4).map(|cell| own >> cell & 1 == 1).collect()).collect(), columns: 2, patch: 8, partner: d.partner.clone(), smoothing: 0.0 })),
];

/// Those of them that leave pictures and labels alone where lambda is 1.
const UNCHANGED_AT_1: &[&str] =
    &["mixup", "cutmix", "attentivemix", "snapmix", "alignmix, the partner moved", "transmix"];

/// The weight of each sample's labels, `[B][N]`, also where the batch shares them.
fn rows(targets: &Targets, batch: usize) -> Vec<Vec<f32>> {
    match targets {
        Targets::Labels { partners, weights } => {
            weights.chunks(partners.len()).map(<[f32]>::to_vec).cycle().take(batch).collect()
        }
        Targets::Soft(target) => target.to_vec2().expect("a target of classes"),
    }
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

    #[test]
    fn the_picture_itself_is_left_where_lambda_is_1(
        batch in 1usize..6, rows_of_8 in 2usize..5, columns_of_8 in 2usize..5, seed: u64
    ) {
        let size = [batch, 8 * rows_of_8, 8 * columns_of_8];
        let given = Batch::new(batch, size[1], size[2], seed).unwrap();
        let drawn = Drawn { lambda: 1.0, ..Drawn::new(size, seed) };
        for (name, plan) in PLANS.iter().filter(|(name, _)| UNCHANGED_AT_1.contains(name)) {
            let plan = plan(&drawn);
            let view = given.view(&*plan);
            let mixed = plan.mix(&view).unwrap();
            prop_assert!(nearly(&values(&mixed.images), &values(view.images)), "{}", name);
            for row in rows(&mixed.targets, batch) {
                prop_assert_eq!(row, &[1.0, 0.0], "{}", name);
            }
        }
    }

    #[test]
    fn a_batch_in_another_order_gives_the_same_mixes_in_that_order(
        batch in 1usize..6, rows_of_8 in 2usize..5, columns_of_8 in 2usize..5, seed: u64
    ) {
        let size = [batch, 8 * rows_of_8, 8 * columns_of_8];
        let given = Batch::new(batch, size[1], size[2], seed).unwrap();
        let drawn = Drawn::new(size, seed);
        let order = permutation(batch, &mut ChaCha8Rng::seed_from_u64(!seed));
        let (moved, drawn_again) = (given.permuted(&order).unwrap(), drawn.permuted(&order));
        for (name, plan) in PLANS {
            let square = size[1] == size[2];
            // PuzzleMix is for square pictures, and these plans of MixPro for 16 pixels.
            if (name.starts_with("puzzlemix") && !square) || (*name == "mixpro" && size[1..] != [16, 16]) {
                continue;
            }
            let (plan, plan_again) = (plan(&drawn), plan(&drawn_again));
            let mixed = plan.mix(&given.view(&*plan)).unwrap();
            let again = plan_again.mix(&moved.view(&*plan_again)).unwrap();
            let expected = mixed.images.index_select(&Tensor::new(&*order, &Device::Cpu).unwrap(), 0).unwrap();
            prop_assert!(nearly(&values(&again.images), &values(&expected)), "{}", name);
            let weights = rows(&mixed.targets, batch);
            let weights: Vec<_> = order.iter().flat_map(|&from| weights[from as usize].clone()).collect();
            prop_assert!(nearly(&rows(&again.targets, batch).concat(), &weights), "{}", name);
        }
    }
}

/// Whether two lists are equal but for rounding.
fn nearly(a: &[f32], b: &[f32]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= 1e-5 * (1.0 + b.abs()))
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
