//! What one step of training does, method by method.

mod bytes;
mod dada;
mod facts;
mod learned;
mod me_ada;
mod measured;
mod mixed;
mod observed;
mod passes;
mod recursive;
mod replays;
mod spectral;

use adautomix_backbones::Classifier;
use adautomix_random::Key;
use adautomix_recipes::{Heads, Method as MethodRecipe, Precision, Recipe};
use candle_core::{Device, Tensor};

pub use dada::Dada;
pub use facts::OWN_STEPS;
pub use learned::{Iteration, Learned, LearnedConfig, MaskMakerConfig};
pub use me_ada::{MeAda, ascend};
#[cfg(test)]
pub(crate) use measured::deferred;
pub use measured::{Losses, Measured, read_losses};
pub use mixed::{Mixed, mixer};
pub use passes::Passes;
pub use recursive::Recursive;
pub use spectral::SpectralMixup;

use crate::network::{in_bf16, named};
use crate::{Gradients, Parameters, Result, teacher};

/// A batch on its device.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// Normalised pictures, `[B, 3, H, W]`.
    pub images: Tensor,
    /// The class of each picture, `[B]`.
    pub labels: Vec<u32>,
}

/// One training step: which losses, of which networks, on which pictures.
///
/// The loop around it owns data, optimizer, schedule and files. It calls [`backward`](Self::backward) for each batch,
/// moves [`trained`](Self::trained) against the gradients, then calls [`updated`](Self::updated).
pub trait Method: Send {
    /// Forward and backward of one batch. `step` counts from 0; `draws` is the key of the step's chance.
    ///
    /// # Errors
    /// If an operation fails.
    fn backward(
        &mut self,
        inputs: &Inputs,
        step: usize,
        draws: Key,
        gradients: &mut Gradients,
    ) -> Result<Losses>;

    /// Called when the optimizer has moved the weights at `step`.
    ///
    /// # Errors
    /// If an operation fails.
    fn updated(&mut self, _step: usize) -> Result<()> {
        Ok(())
    }

    /// What optimizers move: `student`, and `generator` where there is one.
    fn trained(&self) -> Vec<(&'static str, &Parameters)>;

    /// All tensors of the method, for checkpoints: what is trained, and the `teacher` where there is one.
    fn state(&self) -> Vec<(&'static str, &Parameters)> {
        self.trained()
    }

    /// The networks to evaluate, without a graph: `student`, and `teacher` where there is one.
    fn evaluated(&self) -> Vec<(&'static str, &Classifier)>;

    /// The masks and blends that the method makes of a batch, for pictures.
    ///
    /// # Errors
    /// If an operation fails.
    fn show(&self, inputs: &Inputs, draws: Key) -> Result<Shown>;
}

/// What a method makes of a batch.
#[derive(Clone, Debug)]
pub struct Shown {
    /// For each sample, the indices of the pictures that were mixed, `N` lists of `B`.
    pub partners: Vec<Vec<u32>>,
    /// The weight of each picture's label, `[B * N]`, row by row.
    pub weights: Vec<f32>,
    /// The masks `[B, N, H, W]`, where the method has some.
    pub masks: Option<Tensor>,
    /// The blends `[B, 3, H, W]`.
    pub blends: Tensor,
}

impl Shown {
    /// What a method makes of each of `batch` pictures alone.
    fn unmixed(blends: Tensor, batch: usize) -> Self {
        Self { partners: vec![(0..batch as u32).collect()], weights: vec![1.0; batch], masks: None, blends }
    }
}

/// The method of a recipe, with new networks for `classes` classes; `steps` is the length of the run.
///
/// # Errors
/// If the recipe asks for what doesn't exist or doesn't fit.
pub fn build(recipe: &Recipe, classes: usize, steps: usize, device: &Device) -> Result<Box<dyn Method>> {
    let network = named(&recipe.network.name, classes, recipe.network.heads == Heads::Two);
    let network = match recipe.network.precision {
        Precision::F32 => network,
        Precision::Bf16 => in_bf16(network),
    };
    let seed = recipe.training.seed;
    match &recipe.method {
        MethodRecipe::AdAutoMix(settings) => {
            let config = LearnedConfig::adautomix(settings, recipe, teacher::schedule(recipe, steps)?);
            Ok(Box::new(Learned::new(&*network, config, seed, device)?))
        }
        MethodRecipe::AutoMix(settings) | MethodRecipe::SAMix(settings) => {
            let config = LearnedConfig::automix(settings, recipe, teacher::schedule(recipe, steps)?, steps);
            Ok(Box::new(Learned::new(&*network, config, seed, device)?))
        }
        MethodRecipe::MeAda(settings) => {
            Ok(Box::new(MeAda::new(recipe, settings, &*network, steps, device)?))
        }
        MethodRecipe::Dada(settings) => Ok(Box::new(Dada::new(recipe, settings, &*network, steps, device)?)),
        MethodRecipe::SpectralMixup(settings) => {
            Ok(Box::new(SpectralMixup::new(recipe, settings, &*network, device)?))
        }
        // The mixer that remembers the step before.
        MethodRecipe::Mixer { name, .. } if name == "recursivemix" => {
            Ok(Box::new(Recursive::new(recipe, &*network, classes, device)?))
        }
        MethodRecipe::Mixer { .. } => Ok(Box::new(Mixed::new(recipe, &*network, classes, device)?)),
    }
}

/// All tensors of a method by their names in a checkpoint, as `student.conv1.weight`.
pub(crate) fn tensors(method: &dyn Method) -> Vec<(String, Tensor)> {
    let mut tensors = Vec::new();
    for (part, parameters) in method.state() {
        let entries = parameters.entries().into_iter();
        tensors.extend(entries.map(|(name, tensor)| (format!("{part}.{name}"), tensor)));
    }
    tensors
}

#[cfg(test)]
mod tests {
    use adautomix_backbones::{Backbone, Pass};
    use adautomix_ops::overwrite;
    use adautomix_random::Purpose;
    use adautomix_recipes::{Library, Override};

    use super::*;
    use crate::Stepper;

    /// Pictures of a quarter of the size, so that a step takes no time.
    pub(super) const SMALL: [&str; 2] = ["data.input_size=16", "training.batch_size=4"];

    /// `count` pictures `[count, 3, 16, 16]`, others at each step.
    pub(super) fn batch(count: usize, step: usize) -> Inputs {
        let value = |i: usize| ((i as f32 * 0.37 + step as f32).sin() * 1.9).clamp(-1.9, 1.9);
        let values: Vec<f32> = (0..count * 3 * 16 * 16).map(value).collect();
        let images = Tensor::from_vec(values, (count, 3, 16, 16), &Device::Cpu).unwrap();
        Inputs { images, labels: (0..count).map(|i| ((i * 3 + step) % 10) as u32).collect() }
    }

    /// A network whose features are the means of the three channels.
    pub(super) struct Means;

    impl Backbone for Means {
        fn stem(&self, images: &Tensor, _: &mut Pass) -> candle_core::Result<Tensor> {
            Ok(images.clone())
        }

        fn stage(&self, _: usize, x: &Tensor, _: &mut Pass) -> candle_core::Result<Tensor> {
            Ok(x.clone())
        }

        fn stages(&self) -> usize {
            1
        }

        fn channels(&self, _: usize) -> usize {
            3
        }

        fn stride(&self, _: usize) -> usize {
            1
        }

        fn pool(&self, map: &Tensor) -> candle_core::Result<Tensor> {
            map.mean((2, 3))
        }
    }

    /// A run of `steps` steps, ten an epoch.
    pub(super) fn stepper(name: &str, overrides: &[&str], steps: usize) -> Stepper {
        let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
        let recipe = Library::embedded().load(name, &overrides).unwrap();
        Stepper::new(&recipe, 10, steps, 10, &Device::Cpu).unwrap()
    }

    fn advance(stepper: &mut Stepper, steps: std::ops::Range<usize>) {
        for step in steps {
            let draws = Key::new(5, Purpose::Mixing).step(step);
            stepper.step(&batch(5, step), step, draws, &mut Gradients::default()).unwrap();
        }
    }

    fn state(stepper: &Stepper) -> Vec<(String, Vec<f64>)> {
        let values = |tensor: Tensor| tensor.to_dtype(candle_core::DType::F64)?.flatten_all()?.to_vec1();
        stepper.tensors().into_iter().map(|(name, tensor)| (name, values(tensor).unwrap())).collect()
    }

    #[test]
    fn every_recipe_names_a_mixer_that_there_is_and_its_parameters() {
        let library = Library::embedded();
        for name in library.names().unwrap() {
            let recipe = library.load(&name, &[]).unwrap();
            if let MethodRecipe::Mixer { .. } = recipe.method {
                assert!(mixer(&recipe).is_ok(), "{name}: {:?}", mixer(&recipe).err());
            }
        }
    }

    #[test]
    fn methods_that_look_into_a_network_do_so_in_bf16() {
        let first_loss = |name: &str, precision: &str| {
            let overrides = [SMALL[0], SMALL[1], precision];
            let mut stepper = stepper(&format!("quick/{name}"), &overrides, 8);
            let (draws, mut gradients) = (Key::new(5, Purpose::Mixing), Gradients::default());
            let losses = stepper.step(&batch(5, 0), 0, draws, &mut gradients).unwrap();
            read_losses(&[losses]).unwrap()[0][0].1
        };
        for name in ["adautomix", "manifoldmix", "alignmix", "recursivemix", "saliencygrafting", "snapmix"] {
            let exact = first_loss(name, "network.precision=f32");
            let rounded = first_loss(name, "network.precision=bf16");
            assert!(exact != rounded && (exact - rounded).abs() < 0.02 * exact, "{name}: {exact} {rounded}");
        }
    }

    #[test]
    fn adversarial_methods_repeat_and_resume_bit_for_bit() {
        let me_ada = ["method.interval=0.2", "method.memory=8", "method.ascent_steps=2"];
        let dada = ["method.search_share=0.5", "method.hidden=5"];
        let spectral = ["method.ascent_steps=2", "method.window=3"];
        for (name, overrides) in
            [("quick/me-ada", &me_ada[..]), ("quick/dada", &dada), ("quick/spectral-mixup", &spectral)]
        {
            let overrides = [&SMALL[..], overrides].concat();
            let new = || stepper(name, &overrides, 8);
            let (mut whole, mut again, mut resumed) = (new(), new(), new());
            let start = state(&whole);
            advance(&mut whole, 0..8);
            advance(&mut again, 0..3);
            for ((_, tensor), (_, saved)) in resumed.tensors().into_iter().zip(again.tensors()) {
                overwrite(&tensor, &saved.copy().unwrap()).unwrap();
            }
            resumed.resume(3);
            advance(&mut again, 3..8);
            advance(&mut resumed, 3..8);
            let end = state(&whole);
            assert_eq!(end, state(&again), "{name}");
            assert_eq!(end, state(&resumed), "{name}");
            for ((name, before), (_, after)) in start.iter().zip(&end) {
                assert!(after.iter().all(|value| value.is_finite()), "{name}");
                assert!(before != after, "{name} hasn't moved");
            }
        }
    }
}
