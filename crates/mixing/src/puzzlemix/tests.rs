//! Of the whole method.

use super::*;
use candle_core::Device;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const NORMALISATION: crate::Normalisation = crate::Normalisation { mean: [0.5; 3], std: [0.25; 3] };

fn mix(plan: &PuzzleMixPlan, images: &Tensor, gradient: &Tensor) -> Result<Mixed> {
    let mut view = View::of(images);
    view.gradient = Some(gradient);
    view.normalisation = Some(NORMALISATION);
    plan.mix(&view)
}

/// A gradient or pictures of noise, `[B, 3, side, side]`.
fn noise(batch: usize, side: usize, rng: &mut ChaCha8Rng) -> Tensor {
    let values: Vec<f32> = (0..batch * 3 * side * side).map(|_| rng.random_range(-2.0..2.0)).collect();
    Tensor::from_vec(values, (batch, 3, side, side), &Device::Cpu).unwrap()
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn block_counts_are_drawn_among_those_that_divide_the_side() {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let mixer = PuzzleMix::default();
    let drawn: std::collections::BTreeSet<usize> = (0..60)
        .map(|_| {
            let plan = format!("{:?}", mixer.sample(2, 24, 24, rng).unwrap());
            let count = plan.split("block_count: ").nth(1).unwrap().split(',').next().unwrap();
            count.parse().unwrap()
        })
        .collect();
    assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [2, 4, 8]);
    let wrong = mixer.sample(2, 7, 7, rng).err().unwrap().to_string();
    assert_eq!(wrong, "pictures [7, 7], expected a side that one of [2, 4, 8, 16] divides");
    let wrong = mixer.sample(2, 8, 16, rng).err().unwrap().to_string();
    assert_eq!(wrong, "pictures [8, 16], expected a square");
}

/// Pictures of one colour look the same wherever their blocks go: the mix shows how much of each there is.
#[test]
fn labels_weigh_what_is_shown() {
    let rng = &mut ChaCha8Rng::seed_from_u64(2);
    let (batch, side) = (5, 24);
    let colours: Vec<f32> = (0..batch).map(|i| 1.0 + i as f32).collect();
    let images = Tensor::new(colours.as_slice(), &Device::Cpu).unwrap().reshape((batch, 1, 1, 1)).unwrap();
    let images = images.broadcast_as((batch, 3, side, side)).unwrap().contiguous().unwrap();
    let noise = noise(batch, side, rng);
    // Pixels without a gradient have no saliency: nobody wants to move there, and yet there are no holes.
    let sparse = noise.relu().unwrap().gt(1.99).unwrap().to_dtype(candle_core::DType::F32).unwrap();
    for gradient in [&noise, &sparse, &noise.zeros_like().unwrap()] {
        for (case, lambda) in [0.0, 0.3, 0.5, 1.0].into_iter().enumerate() {
            let mixer = PuzzleMix { transport: case != 1, labels: 2 + case, ..PuzzleMix::default() };
            let partner = draw::permutation(batch, rng);
            let plan = PuzzleMixPlan { mixer, lambda, block_count: [4, 8, 2, 12][case], partner };
            let mixed = mix(&plan, &images, gradient).unwrap();
            let Targets::Labels { partners, weights } = mixed.targets else { unreachable!() };
            for (i, picture) in values(&mixed.images).chunks_exact(3 * side * side).enumerate() {
                let mean = picture.iter().sum::<f32>() / picture.len() as f32;
                let shown =
                    (0..2).map(|k| weights[2 * i + k] * colours[partners[k][i] as usize]).sum::<f32>();
                assert!((mean - shown).abs() < 1e-4, "{mean} {shown} {weights:?}");
            }
        }
    }
}

#[test]
fn each_picture_is_shown_where_it_is_salient() {
    let half = |left: f32, right: f32| {
        let row = [vec![left; 8], vec![right; 8]].concat();
        Tensor::from_vec(row.repeat(3 * 16), (1, 3, 16, 16), &Device::Cpu).unwrap()
    };
    let gradient = Tensor::cat(&[half(1.0, 0.0), half(0.0, -1.0)], 0).unwrap();
    let images = Tensor::zeros((2, 3, 16, 16), candle_core::DType::F32, &Device::Cpu).unwrap();
    let mixer = PuzzleMix::default();
    let plan = PuzzleMixPlan { mixer, lambda: 0.5, block_count: 4, partner: vec![1, 0] };
    let mut view = View::of(&images);
    view.gradient = Some(&gradient);
    view.normalisation = Some(NORMALISATION);
    let (_, masks) = plan.mix_with_masks(&view).unwrap();
    assert_eq!(masks[0], [1.0, 1.0, 0.0, 0.0].repeat(4));
    assert_eq!(masks[1], [0.0, 0.0, 1.0, 1.0].repeat(4));
}

#[test]
fn threads_do_not_change_the_mix() {
    let rng = &mut ChaCha8Rng::seed_from_u64(3);
    let (images, gradient) = (noise(9, 16, rng), noise(9, 16, rng));
    let partner = draw::permutation(9, rng);
    let plan = PuzzleMixPlan { mixer: PuzzleMix::default(), lambda: 0.4, block_count: 4, partner };
    let [one, three] = [1, 3].map(|threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        values(&pool.install(|| mix(&plan, &images, &gradient)).unwrap().images)
    });
    assert_eq!(one, three);
}
