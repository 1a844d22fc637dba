//! Co-Mixup (Kim, Choo, Jeong and Song, ICLR 2021): a batch is mixed as a whole, so that its mixes are salient and differ
//! from each other.
//!
//! The labels are computed on the host, as is the mix: on another device the batch and its gradient are copied.

pub mod compat;
pub mod labels;

use crate::puzzlemix::blocks;
use crate::registry::{Facts, Registered, positive, share, within};
use crate::{Error, Mixed, Mixer, Need, Plan, Result, Targets, View};
use candle_core::Tensor;
use labels::{Labelling, Shown};
use rand::{Rng, RngCore};
use rand_distr::{Distribution, Gamma};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};

/// Blocks of all pictures of a part of the batch, as many mixes as there are pictures.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct CoMixup {
    /// `a` of the Dirichlet distribution of how much of each input is wanted.
    pub beta_parameter: f64,
    /// How many pictures of the batch are mixed with each other; the last part may have fewer.
    pub partition: usize,
    /// How many blocks each side of a picture is divided into.
    pub blocks: usize,
    /// What neighbours with different labels cost.
    pub beta: f64,
    /// What outputs cost that show the same.
    pub gamma: f64,
    /// How much the drawn shares count.
    pub eta: f64,
    /// The part of an output that may be shown in the others before it costs anything.
    pub threshold: f64,
    /// How that threshold acts.
    pub threshold_type: Threshold,
    /// How much it counts that inputs are salient at different places, against that they are different.
    pub omega: f64,
    /// Whether outputs that use the same inputs are told apart before the last round.
    pub resolve: bool,
    /// The most rounds over all outputs.
    pub iterations: usize,
}

/// What happens to inputs that others show above the threshold.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Threshold {
    /// They count in full; the others cause no costs.
    Hard,
    /// What is above the threshold counts.
    Soft,
}

impl Default for CoMixup {
    fn default() -> Self {
        Self {
            beta_parameter: 2.0,
            partition: 20,
            blocks: 4,
            beta: 0.32,
            gamma: 1.0,
            eta: 0.05,
            threshold: 0.83,
            threshold_type: Threshold::Hard,
            omega: 0.001,
            resolve: true,
            iterations: 4,
        }
    }
}

impl Registered for CoMixup {
    const FACTS: Facts = Facts {
        name: "comixup",
        title: "Co-Mixup",
        citation: "Kim, Choo, Jeong and Song, ICLR 2021, arXiv 2102.03065",
        draws: "for each part of the batch the shares of its inputs, of Dirichlet(a, …, a), and a label for each block of each output, uniform",
        cost: "a pass forward and backward over the unmixed pictures; cuts on the host",
    };
}

impl Mixer for CoMixup {
    fn validate(&self) -> Result<()> {
        positive("beta_parameter", self.beta_parameter)?;
        let costs =
            [("beta", self.beta), ("gamma", self.gamma), ("eta", self.eta), ("threshold", self.threshold)];
        for (name, value) in costs {
            within(name, value, value >= 0.0 && value.is_finite(), "a number that is not negative")?;
        }
        share("omega", self.omega)?;
        within("partition", self.partition as f64, (1..=100).contains(&self.partition), "1 to 100")?;
        within("blocks", self.blocks as f64, (1..=64).contains(&self.blocks), "1 to 64")?;
        within("iterations", self.iterations as f64, self.iterations > 0, "a positive number")
    }

    fn sample(
        &self,
        batch: usize,
        height: usize,
        width: usize,
        rng: &mut dyn RngCore,
    ) -> Result<Box<dyn Plan>> {
        if [height, width].iter().any(|&side| side == 0 || !side.is_multiple_of(self.blocks)) {
            let expected = format!("sides that `blocks`, {}, divides", self.blocks);
            return Err(Error::Shape { what: "pictures", got: vec![height, width], expected });
        }
        let (mut alpha, mut start) = (Vec::with_capacity(batch), Vec::new());
        for first in (0..batch).step_by(self.partition) {
            let inputs = self.partition.min(batch - first);
            alpha.extend(dirichlet(self.beta_parameter, inputs, rng)?);
            let count = inputs * self.blocks * self.blocks;
            start.extend((0..count).map(|_| rng.random_range(0..inputs as u32)));
        }
        Ok(Box::new(CoMixupPlan { mixer: self.clone(), alpha, start }))
    }
}

/// Shares of a Dirichlet distribution with one parameter.
fn dirichlet(parameter: f64, count: usize, rng: &mut dyn RngCore) -> Result<Vec<f32>> {
    let expected = "a positive number";
    let gamma = Gamma::new(parameter, 1.0).map_err(|_| Error::Parameter {
        name: "beta_parameter",
        value: parameter,
        expected,
    })?;
    loop {
        let draws: Vec<f64> = (0..count).map(|_| gamma.sample(rng)).collect();
        let sum: f64 = draws.iter().sum();
        // A tiny parameter can give nothing but zeros.
        if sum > 0.0 {
            return Ok(draws.iter().map(|draw| (draw / sum) as f32).collect());
        }
    }
}

/// The draws of [`CoMixup`].
#[derive(Clone, Debug)]
pub struct CoMixupPlan {
    /// The method with its parameters.
    pub mixer: CoMixup,
    /// How much of each picture is wanted in the outputs of its part of the batch, `[B]`.
    pub alpha: Vec<f32>,
    /// The input that each block of each output shows at first, counted from the first of its part, `[B, b, b]`.
    pub start: Vec<u32>,
}

impl Plan for CoMixupPlan {
    fn needs(&self) -> &'static [Need] {
        &[Need::Gradient]
    }

    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        let (batch, channels, height, width) = view.images.dims4()?;
        let gradient = view.gradient()?;
        if gradient.dims() != view.images.dims() {
            let expected = format!("{:?}, as the pictures", view.images.dims());
            return Err(Error::Shape { what: "gradient", got: gradient.dims().to_vec(), expected });
        }
        let gradient: Vec<f32> = gradient.flatten_all()?.to_vec1()?;
        let saliency: Vec<Vec<f32>> = gradient
            .par_chunks_exact(channels * height * width)
            .map(|gradient| blocks::saliency(gradient, channels))
            .collect();
        let labellings = self.label(&saliency, [height, width])?;
        let inputs = self.mixer.partition.min(batch);
        let area = self.mixer.blocks * self.mixer.blocks;
        // A smaller last part has fewer inputs: its lists are filled with its first one, which weighs nothing there.
        let mut partners = vec![Vec::with_capacity(batch); inputs];
        let mut weights = Vec::with_capacity(batch * inputs);
        for (output, shown) in labellings.iter().flat_map(|part| part.shown.chunks_exact(area)).enumerate() {
            let first = output - output % inputs;
            for (input, list) in partners.iter_mut().enumerate() {
                list.push(if first + input < batch { first + input } else { first } as u32);
            }
            weights.extend(labels::counts(shown, inputs).into_iter().map(|count| count / area as f32));
        }
        let parts = labellings.iter().enumerate();
        let shown: Vec<Shown> = parts
            .flat_map(|(part, labelling)| {
                labelling.shown.iter().map(move |shown| shown.map(|i| i + part * inputs))
            })
            .collect();
        let images = blend(view.images, &shown, self.mixer.blocks)?;
        Ok(Mixed { images, targets: Targets::Labels { partners, weights } })
    }
}

impl CoMixupPlan {
    /// The labels of each part of a batch, from the saliency of its pictures, `[H, W]` each, `size` (rows, columns).
    ///
    /// # Errors
    /// If the plan isn't one for such a batch.
    pub fn label(&self, saliency: &[Vec<f32>], size: [usize; 2]) -> Result<Vec<Labelling>> {
        let side = self.mixer.blocks;
        let area = side * side;
        let fits = size.iter().all(|&length| length > 0 && length.is_multiple_of(side));
        let inputs = self.mixer.partition.min(saliency.len()) as u32;
        let within = |(i, &input): (usize, &u32)| {
            input < inputs && i / area / inputs as usize * inputs as usize + (input as usize) < saliency.len()
        };
        let drawn = self.alpha.len() == saliency.len() && self.start.len() == saliency.len() * area;
        if !fits || !drawn || !self.start.iter().enumerate().all(within) {
            let expected = format!("a batch of {}, of sides that {side} divides", self.alpha.len());
            return Err(Error::Shape {
                what: "pictures",
                got: vec![saliency.len(), size[0], size[1]],
                expected,
            });
        }
        let partition = self.mixer.partition;
        let parts = saliency
            .par_chunks(partition)
            .zip(self.alpha.par_chunks(partition))
            .zip(self.start.par_chunks(partition * area));
        let labels = parts.map(|((saliency, alpha), start)| {
            let compatibility = compat::compatibility(saliency, size, self.mixer.omega);
            let cost: Vec<f32> = saliency
                .iter()
                .flat_map(|map| blocks::shares(blocks::pooled(map, size, [side; 2])))
                .map(|share| -share)
                .collect();
            labels::label(&self.mixer, &cost, &compatibility, alpha, start)
        });
        labels.collect()
    }
}

/// Pictures `[o, C, H, W]` whose blocks show what `shown` `[o, blocks, blocks]` says of `images` `[n, C, H, W]`: one of
/// them, or half of each of two.
///
/// # Errors
/// If a picture that is shown doesn't exist, or `blocks` doesn't divide the sides.
pub fn blend(images: &Tensor, shown: &[Shown], blocks: usize) -> Result<Tensor> {
    let (count, channels, height, width) = images.dims4()?;
    let exist = shown.as_flattened().iter().all(|&input| input < count);
    if !exist || blocks == 0 || !height.is_multiple_of(blocks) || !width.is_multiple_of(blocks) {
        let expected = format!("the pictures that are shown, of sides that {blocks} divides");
        return Err(Error::Shape { what: "pictures", got: images.dims().to_vec(), expected });
    }
    let values: Vec<f32> = images.flatten_all()?.to_vec1()?;
    let (picture, across) = (channels * height * width, width / blocks);
    let outputs = shown.len() / (blocks * blocks);
    let mut mixed = vec![0f32; outputs * picture];
    mixed.par_chunks_exact_mut(picture).zip(shown.par_chunks_exact(blocks * blocks)).for_each(
        |(mixed, shown)| {
            for (line, to) in mixed.chunks_exact_mut(across).enumerate() {
                let row = line / blocks % height / (height / blocks);
                let [first, second] = shown[row * blocks + line % blocks];
                let from = |input: usize| &values[input * picture + line * across..][..across];
                if first == second {
                    to.copy_from_slice(from(first));
                } else {
                    let halves = from(first).iter().zip(from(second));
                    to.iter_mut()
                        .zip(halves)
                        .for_each(|(to, (first, second))| *to = 0.5 * first + 0.5 * second);
                }
            }
        },
    );
    Ok(Tensor::from_vec(mixed, (outputs, channels, height, width), images.device())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    fn noise(shape: [usize; 4], rng: &mut ChaCha8Rng) -> Tensor {
        let values: Vec<f32> = (0..shape.iter().product()).map(|_| rng.random_range(-2.0..2.0)).collect();
        Tensor::from_vec(values, &shape, &Device::Cpu).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    /// Pictures of one colour: the mix shows how much of each there is. The last part of the batch has one picture.
    #[test]
    fn labels_weigh_what_is_shown_and_parts_do_not_mix() {
        let rng = &mut ChaCha8Rng::seed_from_u64(1);
        let colours: Vec<f32> = (0..7).map(|i| 1.0 + i as f32).collect();
        let images = Tensor::new(colours.as_slice(), &Device::Cpu).unwrap().reshape((7, 1, 1, 1)).unwrap();
        let images = images.broadcast_as((7, 3, 16, 8)).unwrap().contiguous().unwrap();
        let noise = noise([7, 3, 16, 8], rng).affine(3.0, 0.0).unwrap().exp().unwrap();
        let mut some_mixed = false;
        for (gradient, threshold_type) in [
            (&noise, Threshold::Hard),
            (&noise, Threshold::Soft),
            (&noise.zeros_like().unwrap(), Threshold::Hard),
        ] {
            let mixer = CoMixup { partition: 3, threshold_type, ..CoMixup::default() };
            let plan = mixer.sample(7, 16, 8, rng).unwrap();
            let mut view = View::of(&images);
            view.gradient = Some(gradient);
            let mixed = plan.mix(&view).unwrap();
            let Targets::Labels { partners, weights } = mixed.targets else { unreachable!() };
            some_mixed |= weights.iter().any(|&weight| weight > 0.0 && weight < 1.0);
            for (i, picture) in values(&mixed.images).chunks_exact(3 * 16 * 8).enumerate() {
                let mean = picture.iter().sum::<f32>() / picture.len() as f32;
                let inputs = (0..3).map(|k| (weights[3 * i + k], partners[k][i] as usize));
                let used: Vec<_> = inputs.filter(|(weight, _)| *weight > 0.0).collect();
                let shown = used.iter().map(|(weight, input)| weight * colours[*input]).sum::<f32>();
                assert!((mean - shown).abs() < 1e-4, "{mean} {shown}");
                assert!(used.iter().all(|(_, input)| input / 3 == i / 3), "{used:?} in {i}");
            }
        }
        assert!(some_mixed);
    }

    #[test]
    fn threads_do_not_change_the_mix() {
        let rng = &mut ChaCha8Rng::seed_from_u64(2);
        let (images, gradient) = (noise([8, 3, 8, 8], rng), noise([8, 3, 8, 8], rng));
        let mixer = CoMixup { partition: 3, ..CoMixup::default() };
        let plan = mixer.sample(8, 8, 8, rng).unwrap();
        let mut view = View::of(&images);
        view.gradient = Some(&gradient);
        let [one, three] = [1, 3].map(|threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            values(&pool.install(|| plan.mix(&view)).unwrap().images)
        });
        assert_eq!(one, three);
    }

    #[test]
    fn what_does_not_fit_is_an_error() {
        let rng = &mut ChaCha8Rng::seed_from_u64(3);
        let mixer = CoMixup::default();
        let wrong = mixer.sample(2, 10, 8, rng).err().unwrap().to_string();
        assert_eq!(wrong, "pictures [10, 8], expected sides that `blocks`, 4, divides");
        let images = Tensor::zeros((3, 3, 8, 8), candle_core::DType::F32, &Device::Cpu).unwrap();
        let mut view = View::of(&images);
        view.gradient = Some(&images);
        assert!(mixer.sample(2, 8, 8, rng).unwrap().mix(&view).is_err());
    }
}
