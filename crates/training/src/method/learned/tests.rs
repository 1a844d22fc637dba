//! Whole steps of AutoMix and SAMix, and of AdAutoMix with terms left out.

use std::collections::HashMap;

use adautomix_random::{Key, Purpose};
use adautomix_recipes::{Library, Method as MethodRecipe};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;

use super::LearnedConfig;
use crate::method::read_losses;
use crate::{Gradients, Inputs, Stepper, checkpoint};

fn stepper(method: &str) -> Stepper {
    with(method, &["method.mask_loss.annealing=cosine", "method.distinct_partners=true"])
}

fn with(method: &str, overrides: &[&str]) -> Stepper {
    let overrides: Vec<_> = overrides.iter().map(|text| text.parse().unwrap()).collect();
    let recipe = Library::embedded().load(&format!("quick/{method}"), &overrides).unwrap();
    Stepper::new(&recipe, 10, 4, 2, &Device::Cpu).unwrap()
}

/// One step; it fails if a variable has no finite gradient after the first.
fn make_step(stepper: &mut Stepper, step: usize) -> Vec<(&'static str, f64)> {
    let values: Vec<f32> = (0..4 * 3 * 32 * 32).map(|i| (i as f32 * 0.1 + step as f32).sin()).collect();
    let images = Tensor::from_vec(values, (4, 3, 32, 32), &Device::Cpu).unwrap();
    let inputs = Inputs { images, labels: vec![0, 3, 1, 3] };
    let draws = Key::new(0, Purpose::Mixing).step(step);
    let losses = stepper.step(&inputs, step, draws, &mut Gradients::default()).unwrap();
    read_losses(&[losses]).unwrap().remove(0)
}

/// The state, tensor by tensor.
fn state(stepper: &Stepper) -> Vec<(String, Vec<f32>)> {
    let values = |tensor: &Tensor| tensor.detach().flatten_all().unwrap().to_vec1().unwrap();
    stepper.tensors().iter().map(|(name, tensor)| (name.clone(), values(tensor))).collect()
}

#[test]
fn every_recipe_s_generator_fits_its_network() {
    let (library, mut networks) = (Library::embedded(), HashMap::new());
    for name in library.names().unwrap() {
        let recipe = library.load(&name, &[]).unwrap();
        let momentum = || crate::teacher::schedule(&recipe, 10).unwrap();
        let config = match &recipe.method {
            MethodRecipe::AdAutoMix(settings) => LearnedConfig::adautomix(settings, &recipe, momentum()),
            MethodRecipe::AutoMix(settings) | MethodRecipe::SAMix(settings) => {
                LearnedConfig::automix(settings, &recipe, momentum(), 10)
            }
            _ => continue,
        };
        let zeros = VarBuilder::zeros(DType::F32, &Device::Cpu);
        let network = networks
            .entry(recipe.network.name.clone())
            .or_insert_with(|| adautomix_backbones::build(&recipe.network.name, &zeros).unwrap());
        assert!(config.channels(&**network).is_ok(), "{name}: {:?}", config.channels(&**network).err());
    }
    assert!(networks.len() > 5);
}

#[test]
fn every_part_of_the_generator_is_trained_and_resumed() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.safetensors");
    for (method, trained) in [("automix", 4), ("samix", 8)] {
        let mut whole = stepper(method);
        let start = state(&whole);
        let losses = make_step(&mut whole, 0);
        let names: Vec<&str> = losses.iter().map(|(name, _)| *name).collect();
        assert_eq!(names, ["classifier", "generator", "clean", "amce_bb", "amce_mb_teacher", "mask"]);
        checkpoint::save(&path, &whole.tensors(), &checkpoint::Progress::default()).unwrap();
        make_step(&mut whole, 1);

        let parts = whole.method().trained();
        assert_eq!(parts[1].1.weights().len(), trained, "{method}");
        for ((name, before), (_, after)) in start.iter().zip(&state(&whole)) {
            // The bias of keys that aren't the queries' moves all products of a query alike: its gradient is zero.
            let moved = before != after || name.ends_with("key.bias");
            assert!(moved || !name.contains("mix_block"), "{method}: {name} stays");
        }

        let mut resumed = stepper(method);
        checkpoint::restore(&path, &resumed.tensors()).unwrap();
        resumed.resume(1);
        make_step(&mut resumed, 1);
        assert_eq!(state(&resumed), state(&whole), "{method}");
    }
}

#[test]
fn the_loss_of_masks_is_part_of_what_the_generator_descends() {
    let losses = make_step(&mut stepper("samix"), 0);
    let of = |name: &str| losses.iter().find(|(loss, _)| *loss == name).unwrap().1;
    assert!((of("generator") - of("amce_mb_teacher") - 0.1 * of("mask")).abs() < 1e-6);
    assert!(of("mask").abs() > 1e-6, "{losses:?}");
}

#[test]
fn a_term_that_is_left_out_is_not_computed_and_weighs_nothing() {
    let overrides = |without: &str| {
        let without = format!("method.without={without}");
        let all = ["method.objective=paper", "network.heads=one", &without];
        make_step(&mut with("adautomix", &all), 0)
    };
    let value =
        |losses: &[(&str, f64)], wanted: &str| losses.iter().find(|(name, _)| *name == wanted).unwrap().1;
    let base = overrides("[\"clean\", \"linear\", \"teacher\", \"cosine\"]");
    assert!(base.iter().all(|(name, _)| !["clean", "mce"].contains(name)), "{base:?}");
    assert_eq!(value(&base, "classifier"), value(&base, "amce_bb"));
    assert_eq!(value(&base, "generator"), -value(&base, "amce_mb_student"));
    let all = overrides("[]");
    let cosine = overrides("[\"cosine\"]");
    let difference = value(&all, "generator") - value(&cosine, "generator");
    assert!((difference + 0.7 * value(&all, "cosine")).abs() < 1e-5, "{difference}");
}

#[test]
fn all_weight_on_one_loss_trains() {
    for weight in ["0.0", "1.0"] {
        // A step of the stepper fails for a variable without a gradient.
        make_step(&mut with("adautomix", &[&format!("method.linear_weight={weight}")]), 0);
    }
}
