//! What the hand-crafted mixers promise of their pixels and labels.

use adautomix_mixing::cutmix::CutMixPlan;
use adautomix_mixing::fmix::FMixPlan;
use adautomix_mixing::gridmix::GridMixPlan;
use adautomix_mixing::mixup::MixUpPlan;
use adautomix_mixing::resizemix::{Interpolation, ResizeMixPlan};
use adautomix_mixing::smoothmix::SmoothMixPlan;
use adautomix_mixing::{Plan, Result, Targets, Variant, View, registry};
use candle_core::{Device, Tensor};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

const SIZE: [usize; 2] = [10, 14];

/// A batch of five without two equal pixels.
fn images() -> Result<Tensor> {
    let [height, width] = SIZE;
    let images = Tensor::arange(0f32, (5 * 3 * height * width) as f32, &Device::Cpu)?;
    Ok(images.affine(0.01, -5.0)?.reshape((5, 3, height, width))?)
}

fn flat(tensor: &Tensor) -> Result<Vec<f32>> {
    Ok(tensor.flatten_all()?.to_vec1()?)
}

/// A plan of each method that leaves the share `lambda` of a picture, or about that, to the sample.
fn plans(lambda: f64, partner: &[u32]) -> Vec<Box<dyn Plan>> {
    let (partner, center) = (|| partner.to_vec(), [4, 6]);
    let noise = (0..2 * SIZE[0] * (SIZE[1] / 2 + 1)).map(|i| f64::from(i as u32 * 7 % 31) - 15.0).collect();
    vec![
        Box::new(MixUpPlan { lambda, partner: partner() }),
        Box::new(CutMixPlan { lambda, center, partner: partner() }),
        Box::new(ResizeMixPlan {
            scale: 1.0 - lambda,
            center,
            partner: partner(),
            interpolation: Interpolation::Bilinear,
        }),
        Box::new(FMixPlan {
            lambda,
            noise,
            round_up: true,
            decay_power: 3.0,
            max_soft: 0.1,
            variant: Variant::Paper,
            partner: partner(),
        }),
        Box::new(GridMixPlan {
            lambda,
            holes: 3,
            hole_aspect_ratio: 1.0,
            cut_area: 0.7,
            cut_aspect_ratio: 0.8,
            place: [0.2, 0.6],
            partner: partner(),
        }),
        Box::new(SmoothMixPlan { shift: [2, -3], sigma: 3.0, label: Variant::Paper, partner: partner() }),
    ]
}

/// Pictures of one value each: the mean of a mixed picture tells how much of each is in it.
#[test]
fn labels_weigh_what_was_pasted() -> Result<()> {
    let names = ["mixup", "manifoldmix", "cutmix", "resizemix", "fmix", "gridmix", "smoothmix", "switch"];
    let values = [0f32, 1.0, 10.0];
    for ([height, width], name) in
        [[32, 32], [24, 40], [17, 9]].into_iter().flat_map(|size| names.map(|n| (size, n)))
    {
        let images = Tensor::new(&values, &Device::Cpu)?.reshape((3, 1, 1, 1))?;
        let images = images.broadcast_as((3, 2, height, width))?.contiguous()?;
        let mixer = registry::build(name, registry::Parameters::default())?;
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        for _ in 0..20 {
            let plan = mixer.sample(3, height, width, rng)?;
            let mixed = plan.mix(&View::of(&images))?;
            let Targets::Labels { partners, weights } = mixed.targets else { panic!("{name} has pairs") };
            // FMix rounds to whole pixels.
            let rounding = if name == "fmix" { 10.0 / (height * width) as f32 } else { 0.0 };
            for (sample, mean) in flat(&mixed.images.mean((1, 2, 3))?)?.into_iter().enumerate() {
                let label = |(list, weight): (&Vec<u32>, &f32)| weight * values[list[sample] as usize];
                let want: f32 = partners.iter().zip(&weights).map(label).sum();
                assert!((mean - want).abs() <= 2e-5 + rounding, "{plan:?}: {mean}, not {want}");
            }
        }
    }
    Ok(())
}

#[test]
fn a_sample_of_all_the_weight_stays_as_it_is() -> Result<()> {
    let images = images()?;
    // A hole of GridMix has at least one pixel, and SmoothMix has no such share.
    for plan in plans(1.0, &[1, 0, 3, 4, 2]).iter().take(4) {
        let mixed = plan.mix(&View::of(&images))?;
        assert_eq!(flat(&mixed.images)?, flat(&images)?, "{plan:?}");
        let Targets::Labels { weights, .. } = mixed.targets else { panic!("labels are pairs") };
        assert_eq!(weights, [1.0, 0.0], "{plan:?}");
    }
    Ok(())
}

#[test]
fn the_order_of_the_batch_does_not_matter() -> Result<()> {
    let images = images()?;
    let (order, partner) = ([3u32, 0, 4, 1, 2], [1u32, 0, 3, 4, 2]);
    let index = Tensor::new(&order, &Device::Cpu)?;
    let turned = images.index_select(&index, 0)?;
    let place = |image: u32| order.iter().position(|&at| at == image).unwrap() as u32;
    let turned_partner = order.map(|image| place(partner[image as usize]));
    for (plan, turned_plan) in plans(0.4, &partner).iter().zip(plans(0.4, &turned_partner)) {
        let want = plan.mix(&View::of(&images))?.images;
        assert_ne!(flat(&want)?, flat(&images)?, "{plan:?}");
        let got = turned_plan.mix(&View::of(&turned))?.images;
        assert_eq!(flat(&got)?, flat(&want.index_select(&index, 0)?)?, "{plan:?}");
    }
    Ok(())
}
