//! Spectral adversarial mixup (Zhang et al., MICCAI 2023), the SAMix of the paper's Table 11, for classification.
//!
//! A picture keeps its phases and gets amplitudes that lie between its own and those of another picture: nearer to the
//! other's at frequencies where the network errs easily, and by a strength that ascends the network's loss. The network learns
//! the plain pictures, and to say the same of both. The paper adapts a network to another domain; what stands for its target
//! domain here is said in `docs/methods/adversarial.md`.

mod fourier;
mod sensitivity;

use adautomix_backbones::{Classifier, Head, Pass};
use adautomix_losses::{ce, jensen_shannon};
use adautomix_ops::{Tape, overwrite};
use adautomix_random::Key;
use adautomix_recipes::{self as recipes, Recipe};
use candle_core::{Device, Tensor, Var};
use rand::Rng;

use self::fourier::{Fourier, Spectrum};
use self::sensitivity::Sensitivity;
use super::{Inputs, Losses, Measured, Method, Passes, Shown};
use crate::network::Build;
use crate::{Error, Gradients, Network, Parameters, Result};

/// How near to 0 and 1 the strength of a blend may come: at 0 and 1 its two weights could both be 0.
const STRENGTHS: [f32; 2] = [0.01, 0.99];

/// A classifier that learns from pictures and from their spectral blends.
pub struct SpectralMixup {
    settings: recipes::SpectralMixup,
    student: Network,
    /// Mean and standard deviation of the pictures by channel, `[1, 3, 1, 1]`.
    normalisation: [Tensor; 2],
    size: [usize; 2],
    fourier: Fourier,
    sensitivity: Sensitivity,
    drop_path: f64,
}

/// The spectra of a batch, and of each picture's partner.
struct Pairs {
    own: Spectrum,
    /// `[B, 3, H, W]`
    partner: Tensor,
}

impl SpectralMixup {
    /// A new network, of whose weaknesses nothing is known.
    ///
    /// # Errors
    /// If the network can't be built.
    pub fn new(
        recipe: &Recipe,
        settings: &recipes::SpectralMixup,
        build: &Build,
        device: &Device,
    ) -> Result<Self> {
        let size = [recipe.data.input_size; 2];
        let channels =
            |values: [f64; 3]| Tensor::new(&values.map(|value| value as f32), device)?.reshape((1, 3, 1, 1));
        Ok(Self {
            settings: settings.clone(),
            student: Network::new(build, recipe.training.seed, device)?,
            normalisation: [channels(recipe.data.mean)?, channels(recipe.data.std)?],
            size,
            fourier: Fourier::new(size, device)?,
            sensitivity: Sensitivity::new(size, settings.window)?,
            drop_path: recipe.network.drop_path.unwrap_or(0.0),
        })
    }

    /// The pixels of normalised images, from 0 to 1.
    fn pixels(&self, images: &Tensor) -> Result<Tensor> {
        let (_, _, height, width) = images.dims4()?;
        if [height, width] != self.size {
            let text = format!("pictures are {:?}; data.input_size says {:?}", [height, width], self.size);
            return Err(Error::Recipe(text));
        }
        let [mean, std] = &self.normalisation;
        Ok(images.broadcast_mul(std)?.broadcast_add(mean)?)
    }

    /// The normalised images of pixels.
    fn images(&self, pixels: &Tensor) -> candle_core::Result<Tensor> {
        let [mean, std] = &self.normalisation;
        pixels.broadcast_sub(mean)?.broadcast_div(std)
    }

    /// What the network says of images as it is, without a graph of its weights.
    fn logits(&self, images: &Tensor) -> Result<Tensor> {
        Ok(self.student.fixed.forward(images, Head::OneHot, &mut Pass::eval())?)
    }

    /// The spectra of pixels, each beside that of the picture `shift` places on.
    fn pairs(&self, pixels: &Tensor, shift: usize) -> Result<Pairs> {
        let own = self.fourier.spectrum(pixels)?;
        let partner = own.amplitude.roll(-(shift as i32), 0)?;
        Ok(Pairs { own, partner })
    }

    /// Measures how far apart pictures are at each frequency, and at one frequency for each picture whether the network errs
    /// when it is changed by so much. A picture alone has no other to be far from.
    fn measure(&self, pixels: &Tensor, pairs: &Pairs, labels: &[u32], rng: &mut impl Rng) -> Result<()> {
        if labels.len() < 2 {
            return Ok(());
        }
        self.sensitivity.compare(&pairs.own.amplitude, &pairs.partner)?;
        let probe = self.sensitivity.probe(labels.len(), rng, pixels.device())?;
        let answers = self.logits(&self.images(&(pixels + &probe.changes)?)?)?.argmax(1)?;
        let erred = answers.to_vec1::<u32>()?.into_iter().zip(labels).map(|(answer, label)| answer != *label);
        self.sensitivity.learn(&probe, erred)
    }

    /// The images of a batch blended by strengths `[B, 1, 1, 1]`. At a frequency of sensitivity `m`, a strength `λ` gives the
    /// partner's amplitude the weight `λ m` and the picture's own `(1 - λ)(1 - m)`, divided by their sum.
    fn blend(&self, pairs: &Pairs, sensitivity: &Tensor, strengths: &Tensor) -> Result<Tensor> {
        let partner = strengths.broadcast_mul(sensitivity)?;
        let own = strengths.affine(-1.0, 1.0)?.broadcast_mul(&sensitivity.affine(-1.0, 1.0)?)?;
        let share = (&partner / (&partner + own)?)?;
        let moved = (&pairs.partner - &pairs.own.amplitude)?.broadcast_mul(&share)?;
        let amplitude = (&pairs.own.amplitude + moved)?;
        let pixels = self.fourier.pictures(&pairs.own.with(amplitude))?.clamp(0f32, 1f32)?;
        Ok(self.images(&pixels)?)
    }

    /// Strengths at which the network's loss is higher: from random ones up its gradient, a step of equal length for each
    /// picture.
    fn ascend(
        &self,
        pairs: &Pairs,
        sensitivity: &Tensor,
        labels: &[u32],
        rng: &mut impl Rng,
    ) -> Result<Tensor> {
        let drawn: Vec<f32> = labels.iter().map(|_| rng.random()).collect();
        let [low, high] = STRENGTHS;
        let start = Tensor::from_vec(drawn, (labels.len(), 1, 1, 1), sensitivity.device())?;
        let strengths = Var::from_tensor(&start.clamp(low, high)?)?;
        for _ in 0..self.settings.ascent_steps {
            let (tape, loss) = Tape::record(|| -> Result<_> {
                Ok(ce(&self.logits(&self.blend(pairs, sensitivity, &strengths)?)?, labels)?)
            })?;
            let gradients = tape.backward(&loss)?;
            let Some(gradient) = gradients.get(&strengths) else {
                return Err(Error::NoGradient { variable: "strengths".to_owned(), found: "no gradient" });
            };
            let step = (gradient.detach().sign()? * self.settings.step_size)?;
            overwrite(&strengths, &(strengths.detach() + step)?.clamp(low, high)?)?;
        }
        Ok(strengths.as_detached_tensor())
    }

    /// The blends of a batch, without a graph, and their strengths.
    fn blends(&self, pairs: &Pairs, labels: &[u32], rng: &mut impl Rng) -> Result<(Tensor, Tensor)> {
        let sensitivity = self.sensitivity.map(pairs.partner.device())?;
        let strengths = self.ascend(pairs, &sensitivity, labels, rng)?;
        Ok((self.blend(pairs, &sensitivity, &strengths)?, strengths))
    }
}

/// How far on in the batch each picture's partner is: not at the picture itself, unless it is alone.
fn shift(batch: usize, rng: &mut impl Rng) -> usize {
    if batch > 1 { rng.random_range(1..batch) } else { 0 }
}

impl Method for SpectralMixup {
    fn backward(
        &mut self,
        inputs: &Inputs,
        _: usize,
        draws: Key,
        gradients: &mut Gradients,
    ) -> Result<Losses> {
        let Inputs { images, labels } = inputs;
        let rng = &mut draws.rng();
        let pixels = self.pixels(images)?;
        let pairs = self.pairs(&pixels, shift(labels.len(), rng))?;
        self.measure(&pixels, &pairs, labels, rng)?;
        let (blends, strengths) = self.blends(&pairs, labels, rng)?;
        let passes = Passes::new(self.drop_path, draws);
        let logits = |images: &Tensor| -> Result<Tensor> {
            let mut pass = passes.train();
            let logits = self.student.trained.forward(images, Head::OneHot, &mut pass)?;
            pass.commit(1)?;
            Ok(logits)
        };
        let (tape, (blended, clean, divergence)) = Tape::record(|| -> Result<_> {
            let (plain, blended) = (logits(images)?, logits(&blends)?);
            let (clean, divergence) = (ce(&plain, labels)?, jensen_shannon(&plain, &blended)?);
            Ok((blended, clean, divergence))
        })?;
        let loss = (&clean + (&divergence * self.settings.consistency_weight)?)?;
        gradients.backward(tape, &loss, 1.0, &self.student.parameters.weights())?;
        Ok(vec![
            ("loss", Measured::of(&loss)?),
            ("clean", Measured::of(&clean)?),
            ("blended", Measured::of(&ce(&blended.detach(), labels)?)?),
            ("divergence", Measured::of(&divergence)?),
            ("strength", Measured::of(&strengths.mean_all()?)?),
            ("sensitivity", Measured::from(self.sensitivity.mean()?)),
        ])
    }

    fn trained(&self) -> Vec<(&'static str, &Parameters)> {
        vec![("student", &self.student.parameters)]
    }

    fn state(&self) -> Vec<(&'static str, &Parameters)> {
        vec![("student", &self.student.parameters), ("spectrum", &self.sensitivity.tensors)]
    }

    fn evaluated(&self) -> Vec<(&'static str, &Classifier)> {
        vec![("student", &self.student.fixed)]
    }

    fn show(&self, inputs: &Inputs, draws: Key) -> Result<Shown> {
        let rng = &mut draws.rng();
        let batch = inputs.labels.len();
        let shift = shift(batch, rng);
        let pairs = self.pairs(&self.pixels(&inputs.images)?, shift)?;
        let (blends, _) = self.blends(&pairs, &inputs.labels, rng)?;
        let partners = [0, shift].map(|shift| (0..batch).map(|own| ((own + shift) % batch) as u32).collect());
        // A blend has the label of the picture that it has the phases of.
        Ok(Shown { partners: partners.into(), weights: [1.0, 0.0].repeat(batch), masks: None, blends })
    }
}

#[cfg(test)]
mod tests {
    use adautomix_random::Purpose;
    use adautomix_recipes::{Library, Method as MethodRecipe};

    use super::*;
    use crate::method::tests::{SMALL, batch};
    use crate::network::named;

    fn method() -> SpectralMixup {
        let overrides: Vec<_> = SMALL.iter().map(|text| text.parse().unwrap()).collect();
        let recipe = Library::embedded().load("quick/spectral-mixup", &overrides).unwrap();
        let MethodRecipe::SpectralMixup(settings) = &recipe.method else { panic!("another method") };
        let network = named(&recipe.network.name, 10, false);
        SpectralMixup::new(&recipe, settings, &*network, &Device::Cpu).unwrap()
    }

    fn flat(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn blends_keep_their_phases_and_take_amplitudes_where_the_network_errs() {
        let method = method();
        // Grey enough that no blend leaves the range of pixels.
        let pixels = ((method.pixels(&batch(4, 2).images).unwrap() * 0.05).unwrap() + 0.5).unwrap();
        let pairs = method.pairs(&pixels, 3).unwrap();
        let strengths = [0.01f32, 0.3, 0.5, 0.99];
        let column = Tensor::new(&strengths, &Device::Cpu).unwrap().reshape((4, 1, 1, 1)).unwrap();
        // Opposite frequencies are alike.
        let at = |i: usize, j: usize| ((i * (16 - i) + 3 * j * (16 - j)) as f32 / 200.0).min(1.0);
        let map: Vec<f32> = (0..256).map(|place| at(place / 16, place % 16)).collect();
        assert!(map[0] == 0.0 && map.contains(&1.0));
        let sensitivity = Tensor::new(&*map, &Device::Cpu).unwrap().reshape((1, 1, 16, 16)).unwrap();
        let blends = method.pixels(&method.blend(&pairs, &sensitivity, &column).unwrap()).unwrap();
        let [own, blended] = [&pixels, &blends].map(|pixels| method.fourier.spectrum(pixels).unwrap());
        let [own, blended] = [own.amplitude, blended.amplitude].map(|amplitude| flat(&amplitude));
        for picture in 0..4 {
            let partner = (picture + 3) % 4;
            for inner in 0..3 * 256 {
                let (m, strength) = (map[inner % 256], strengths[picture]);
                let weights = [strength * m, (1.0 - strength) * (1.0 - m)];
                let amplitudes = [own[partner * 768 + inner], own[picture * 768 + inner]];
                let sum = weights[0] * amplitudes[0] + weights[1] * amplitudes[1];
                let expected = sum / (weights[0] + weights[1]);
                let got = blended[picture * 768 + inner];
                assert!(
                    (got - expected).abs() < 2e-4 * (1.0 + expected),
                    "{picture}, {inner}: {got}, {expected}"
                );
            }
        }
    }

    #[test]
    fn strengths_ascend_the_loss_of_their_picture() {
        let method = method();
        let Inputs { images, labels } = batch(4, 1);
        let pairs = method.pairs(&method.pixels(&images).unwrap(), 1).unwrap();
        let sensitivity = Tensor::full(0.5f32, (1, 1, 16, 16), &Device::Cpu).unwrap();
        let losses = |steps: usize| -> Vec<f32> {
            let mut settings = method.settings.clone();
            (settings.ascent_steps, settings.step_size) = (steps, 0.01);
            let method = SpectralMixup { settings, ..self::method() };
            let rng = &mut Key::new(1, Purpose::Mixing).rng();
            let strengths = method.ascend(&pairs, &sensitivity, &labels, rng).unwrap();
            let blends = method.blend(&pairs, &sensitivity, &strengths).unwrap();
            let logits = method.logits(&blends).unwrap();
            let own = |i: usize| ce(&logits.narrow(0, i, 1)?, &labels[i..=i])?.to_scalar::<f32>();
            (0..4).map(|i| own(i).unwrap()).collect()
        };
        let (before, after) = (losses(0), losses(3));
        assert!(before.iter().zip(&after).all(|(before, after)| after > before), "{before:?} {after:?}");
    }
}
