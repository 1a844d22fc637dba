//! ME-ADA: maximum-entropy adversarial data augmentation (Zhao et al., NeurIPS 2020).
//!
//! A few times in a run, pictures are moved up the gradient of `ℓ + β h - γ c`: the network's loss, the entropy of its
//! prediction, and the cost of moving the features. What comes out is appended to the data and learned from as any
//! picture. Here a phase makes its pictures from the batches that come by, and each batch later brings along as many of
//! every phase as it has pictures: the mixture that the grown data set of the paper has.

use adautomix_backbones::{Classifier, Head, Pass};
use adautomix_datasets::{Crop, Normalize, Picture, Transform, View};
use adautomix_losses::{ce, entropy};
use adautomix_ops::Tape;
use adautomix_random::Key;
use adautomix_recipes::{self as recipes, Recipe};
use candle_core::{DType, Device, Tensor, Var};
use rand::Rng;

use super::{Inputs, Losses, Measured, Method, Passes, Shown, bytes};
use crate::network::Build;
use crate::{Error, Gradients, Network, Parameters, Result};

/// A classifier that learns from pictures and from their adversarial copies.
pub struct MeAda {
    settings: recipes::MeAda,
    student: Network,
    normalize: Normalize,
    transform: Transform,
    memory: Memory,
    drop_path: f64,
    steps: usize,
}

impl MeAda {
    /// A new network for a run of `steps` steps, with room for the pictures of all phases.
    ///
    /// # Errors
    /// If the network can't be built.
    pub fn new(
        recipe: &Recipe,
        settings: &recipes::MeAda,
        build: &Build,
        steps: usize,
        device: &Device,
    ) -> Result<Self> {
        // Appended pictures have been resized before.
        let transform = Transform {
            crop: Crop::Padded(recipe.data.pad),
            flip: recipe.data.flip,
            ..Transform::evaluation([recipe.data.input_size; 2], [0.0; 3], [1.0; 3])
        };
        Ok(Self {
            student: Network::new(build, recipe.training.seed, device)?,
            normalize: bytes::normalize(recipe),
            transform,
            memory: Memory::new(settings.phases * settings.memory, [recipe.data.input_size; 2])?,
            drop_path: recipe.network.drop_path.unwrap_or(0.0),
            settings: settings.clone(),
            steps,
        })
    }

    /// The place in memory up to which the phase under way makes pictures, if one is.
    fn phase_end(&self, step: usize, made: usize) -> Option<usize> {
        let phase = made / self.settings.memory + 1;
        let start = (phase as f64 * self.settings.interval * self.steps as f64).round() as usize;
        (phase <= self.settings.phases && step >= start).then_some(phase * self.settings.memory)
    }

    /// The batch, and after it as many pictures of each phase that is over.
    fn with_appended(&self, inputs: &Inputs, draws: Key) -> Result<Inputs> {
        let (batch, each) = (inputs.labels.len(), self.settings.memory);
        let phases = self.memory.made()? / each;
        if phases == 0 {
            return Ok(inputs.clone());
        }
        let mut rng = draws.rng();
        let choices: Vec<u32> =
            (0..phases * batch).map(|at| (at / batch * each + rng.random_range(0..each)) as u32).collect();
        // Appended pictures are cropped and flipped anew each time, as all pictures of the data set are.
        let size = self.transform.size;
        let views: Vec<_> = choices.iter().map(|_| self.transform.draw(size, &mut rng).view).collect();
        let (pictures, labels) = self.memory.get(&choices)?;
        let appended = bytes::images(&pictures, &views, &self.normalize, inputs.images.device())?;
        Ok(Inputs {
            images: Tensor::cat(&[&inputs.images, &appended], 0)?,
            labels: [inputs.labels.as_slice(), &labels].concat(),
        })
    }
}

/// The inner maximisation of the paper: `T_max` steps `x += η ∇ₓ(ℓ + β h - γ c)` from `images` `[B, 3, H, W]`, each
/// picture for itself, of the network in evaluation mode. The result may leave the range of pictures.
///
/// # Errors
/// If an operation fails.
pub fn ascend(
    classifier: &Classifier,
    images: &Tensor,
    labels: &[u32],
    settings: &recipes::MeAda,
) -> Result<Tensor> {
    let features = |images: &Tensor| classifier.backbone.features(images, &mut Pass::eval());
    let origin = features(images)?.pooled.detach();
    // The objective is a mean over the batch: its gradient at a picture is that of the picture's own over B.
    let (batch, step) = (labels.len() as f64, settings.step_size * labels.len() as f64);
    let mut moved = images.detach();
    for _ in 0..settings.ascent_steps {
        let variable = Var::from_tensor(&moved)?;
        let (tape, objective) = Tape::record(|| {
            let pooled = features(&variable)?.pooled;
            let logits = classifier.logits(&pooled, Head::OneHot)?;
            let cost = ((pooled - &origin)?.sqr()?.sum_all()? * (0.5 / batch))?;
            let gain = (ce(&logits, labels)? + (entropy(&logits)? * settings.entropy_weight)?)?;
            gain - (cost * settings.transport_weight)?
        })?;
        let gradients = tape.backward(&objective)?;
        let Some(gradient) = gradients.get(&variable) else {
            return Err(Error::NoGradient { variable: "images".to_owned(), found: "no gradient" });
        };
        moved = (moved + (gradient.detach() * step)?)?;
    }
    Ok(moved)
}

impl Method for MeAda {
    fn backward(
        &mut self,
        inputs: &Inputs,
        step: usize,
        draws: Key,
        gradients: &mut Gradients,
    ) -> Result<Losses> {
        let learned = self.with_appended(inputs, draws)?;
        let made = self.memory.made()?;
        if let Some(end) = self.phase_end(step, made) {
            let count = inputs.labels.len().min(end - made);
            let (images, labels) =
                (inputs.images.narrow(0, 0, count)?.contiguous()?, &inputs.labels[..count]);
            let moved = ascend(&self.student.fixed, &images, labels, &self.settings)?;
            self.memory.append(&bytes::pictures(&moved, &self.normalize)?, labels)?;
        }
        let mut pass = Passes::new(self.drop_path, draws).train();
        let (tape, (logits, loss)) = Tape::record(|| -> Result<_> {
            let logits = self.student.trained.forward(&learned.images, Head::OneHot, &mut pass)?;
            let loss = ce(&logits, &learned.labels)?;
            Ok((logits, loss))
        })?;
        let clean = ce(&logits.detach().narrow(0, 0, inputs.labels.len())?, &inputs.labels)?;
        pass.commit(1)?;
        gradients.backward(tape, &loss, 1.0, &self.student.parameters.weights())?;
        Ok(vec![
            ("loss", Measured::of(&loss)?),
            ("clean", Measured::of(&clean)?),
            ("appended", Measured::from(self.memory.made()? as f64)),
        ])
    }

    fn trained(&self) -> Vec<(&'static str, &Parameters)> {
        vec![("student", &self.student.parameters)]
    }

    fn state(&self) -> Vec<(&'static str, &Parameters)> {
        vec![("student", &self.student.parameters), ("appended", &self.memory.tensors)]
    }

    fn evaluated(&self) -> Vec<(&'static str, &Classifier)> {
        vec![("student", &self.student.fixed)]
    }

    fn show(&self, inputs: &Inputs, _: Key) -> Result<Shown> {
        let moved = ascend(&self.student.fixed, &inputs.images, &inputs.labels, &self.settings)?;
        // As they would be appended.
        let pictures = bytes::pictures(&moved, &self.normalize)?;
        let views = vec![View::whole(self.memory.size); pictures.len()];
        let blends = bytes::images(&pictures, &views, &self.normalize, inputs.images.device())?;
        Ok(Shown::unmixed(blends, inputs.labels.len()))
    }
}

/// Pictures that were appended to the data: bytes on the host, part of every checkpoint.
struct Memory {
    /// `pixels` `[N, H · W · 3]` and `labels` `[N]`, of which `made` `[1]` are there.
    tensors: Parameters,
    pixels: Tensor,
    labels: Tensor,
    made: Tensor,
    size: [usize; 2],
}

impl Memory {
    fn new(capacity: usize, size: [usize; 2]) -> Result<Self> {
        let host = &Device::Cpu;
        let pixels = Tensor::zeros((capacity, size[0] * size[1] * 3), DType::U8, host)?;
        let labels = Tensor::zeros(capacity, DType::U32, host)?;
        let made = Tensor::zeros(1, DType::U32, host)?;
        let named = vec![("pixels", pixels.clone()), ("labels", labels.clone()), ("made", made.clone())];
        Ok(Self { tensors: Parameters::of(named, host), pixels, labels, made, size })
    }

    /// How many pictures there are.
    fn made(&self) -> Result<usize> {
        Ok(self.made.to_vec1::<u32>()?[0] as usize)
    }

    fn append(&self, pictures: &[Picture], labels: &[u32]) -> Result<()> {
        if let Some(odd) = pictures.iter().find(|picture| [picture.height, picture.width] != self.size) {
            let text =
                format!("a picture is {:?}; data.input_size says {:?}", [odd.height, odd.width], self.size);
            return Err(Error::Recipe(text));
        }
        let made = self.made()?;
        let rows: Vec<u8> = pictures.iter().flat_map(|picture| picture.pixels.iter().copied()).collect();
        let rows = Tensor::from_vec(rows, (pictures.len(), self.pixels.dim(1)?), &Device::Cpu)?;
        self.pixels.slice_set(&rows, 0, made)?;
        self.labels.slice_set(&Tensor::new(labels, &Device::Cpu)?, 0, made)?;
        let after = Tensor::new(&[(made + labels.len()) as u32], &Device::Cpu)?;
        Ok(self.made.slice_set(&after, 0, 0)?)
    }

    fn get(&self, choices: &[u32]) -> Result<(Vec<Picture>, Vec<u32>)> {
        let rows = Tensor::new(choices, &Device::Cpu)?;
        let picture = |pixels| Picture { height: self.size[0], width: self.size[1], pixels };
        let pictures = self.pixels.index_select(&rows, 0)?.to_vec2()?.into_iter().map(picture).collect();
        Ok((pictures, self.labels.index_select(&rows, 0)?.to_vec1()?))
    }
}

#[cfg(test)]
mod tests {
    use adautomix_random::Purpose;
    use candle_nn::VarBuilder;

    use super::*;
    use crate::method::tests::{Means, SMALL, batch, stepper};

    const WEIGHT: [[f64; 3]; 4] = [[1.0, -0.5, 0.2], [0.3, 0.8, -1.0], [-0.7, 0.1, 0.6], [0.0, 1.2, 0.4]];

    /// The ascent of one picture of [`Means`], by hand: all pixels of a channel move alike, so only their mean is followed.
    fn by_hand(mut z: [f64; 3], label: usize, pixels: f64, settings: &recipes::MeAda) -> [f64; 3] {
        let origin = z;
        for _ in 0..settings.ascent_steps {
            let exponentials = WEIGHT.map(|row| (0..3).map(|c| row[c] * z[c]).sum::<f64>().exp());
            let p = exponentials.map(|e| e / exponentials.iter().sum::<f64>());
            let h: f64 = -p.iter().map(|p| p * p.ln()).sum::<f64>();
            let slope = |k: usize| {
                let loss = p[k] - f64::from(u8::from(k == label));
                loss - settings.entropy_weight * p[k] * (p[k].ln() + h)
            };
            z = std::array::from_fn(|c| {
                let gain: f64 = (0..4).map(|k| slope(k) * WEIGHT[k][c]).sum();
                let cost = settings.transport_weight * (z[c] - origin[c]);
                z[c] + settings.step_size / pixels * (gain - cost)
            });
        }
        z
    }

    #[test]
    fn the_ascent_is_that_of_the_paper_for_each_picture() {
        let device = Device::Cpu;
        let settings = recipes::MeAda {
            phases: 1,
            interval: 0.5,
            memory: 1,
            ascent_steps: 7,
            step_size: 3.0,
            entropy_weight: 2.0,
            transport_weight: 0.8,
        };
        let rows: Vec<f32> = WEIGHT.as_flattened().iter().map(|weight| *weight as f32).collect();
        let tensors = [
            ("fc.weight".to_owned(), Tensor::from_vec(rows, (4, 3), &device).unwrap()),
            ("fc.bias".to_owned(), Tensor::zeros(4, DType::F32, &device).unwrap()),
        ];
        let vb = VarBuilder::from_tensors(tensors.into(), DType::F32, &device);
        let classifier = Classifier::one_head(Box::new(Means), 4, &vb).unwrap();
        let values: Vec<f32> = (0..3 * 3 * 6).map(|i| (i as f32 * 0.7).sin()).collect();
        let images = Tensor::from_vec(values, (3, 3, 2, 3), &device).unwrap();
        let moved = ascend(&classifier, &images, &[2, 0, 3], &settings).unwrap();
        let before = images.mean((2, 3)).unwrap().to_vec2::<f32>().unwrap();
        let after = moved.mean((2, 3)).unwrap().to_vec2::<f32>().unwrap();
        for (picture, label) in [2, 0, 3].into_iter().enumerate() {
            let start = std::array::from_fn(|c| f64::from(before[picture][c]));
            let expected = by_hand(start, label, 6.0, &settings);
            for c in 0..3 {
                let (got, want) = (f64::from(after[picture][c]), expected[c]);
                assert!((got - want).abs() < 1e-5 && (got - start[c]).abs() > 1e-3, "{after:?}");
            }
        }
    }

    #[test]
    fn phases_make_pictures_in_time_and_batches_bring_them_along() {
        // Ten steps of four pictures: six pictures from step 3 on, and again from step 6 on.
        let overrides = ["method.interval=0.3", "method.memory=6", "method.ascent_steps=2"];
        let mut stepper = stepper("quick/me-ada", &[&SMALL[..], &overrides].concat(), 10);
        let mut made = Vec::new();
        for step in 0..10 {
            let draws = Key::new(0, Purpose::Mixing).step(step);
            let losses = stepper.step(&batch(4, step), step, draws, &mut Gradients::default()).unwrap();
            let numbers: Vec<f64> = losses.iter().filter_map(|(_, measured)| measured.number()).collect();
            made.push(numbers[2]);
            assert_eq!(numbers[0] == numbers[1], step < 5, "the loss is of more than the batch: {step}");
        }
        assert_eq!(made, [0.0, 0.0, 0.0, 4.0, 6.0, 6.0, 10.0, 12.0, 12.0, 12.0]);
    }
}
