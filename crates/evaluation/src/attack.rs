//! Pictures changed so that a network errs: FGSM (Goodfellow et al., ICLR 2015) and PGD (Madry et al., ICLR 2018).

use adautomix_backbones::{Classifier, Head, Pass};
use adautomix_ops::{Reduction, Tape, cross_entropy};
use candle_core::{Tensor, Var};

use crate::{Error, Result};

/// What the numbers of a network's pictures mean, and so what a step of ε and the range of a picture are.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Space {
    /// Pixels between 0 and 1.
    Unit,
    /// Pixels between 0 and 1, less a mean and over a deviation by channel: steps and range are those of the pixels.
    Normalized {
        /// The mean by channel.
        mean: [f64; 3],
        /// The standard deviation by channel.
        std: [f64; 3],
    },
    /// What the tool published with AdAutoMix takes them for: pixels between 0 and 1, though they are normalised. Its
    /// clamp raises every value below the mean colour to it.
    ReleasedTool,
}

impl Space {
    /// Pixels of the network's pictures `[B, 3, H, W]`.
    pub(crate) fn pixels(&self, images: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Unit | Self::ReleasedTool => Ok(images.clone()),
            Self::Normalized { mean, std } => {
                images.broadcast_mul(&channels(std, images)?)?.broadcast_add(&channels(mean, images)?)
            }
        }
    }

    /// The network's pictures of pixels.
    fn images(&self, pixels: &Tensor) -> candle_core::Result<Tensor> {
        match self {
            Self::Unit | Self::ReleasedTool => Ok(pixels.clone()),
            Self::Normalized { mean, std } => {
                pixels.broadcast_sub(&channels(mean, pixels)?)?.broadcast_div(&channels(std, pixels)?)
            }
        }
    }
}

fn channels(values: &[f64; 3], like: &Tensor) -> candle_core::Result<Tensor> {
    Tensor::new(&values.map(|value| value as f32), like.device())?.reshape((1, 3, 1, 1))
}

/// The fast gradient sign method: `clamp(x + ε sign(g), 0, 1)` in the pixels of `space`, with `sign(0) = 0`. `images` and
/// `gradient` (of the loss by the images) are `[B, 3, H, W]`.
///
/// # Errors
/// If the shapes don't fit.
pub fn fgsm(images: &Tensor, gradient: &Tensor, epsilon: f64, space: &Space) -> Result<Tensor> {
    let moved = (space.pixels(images)? + (gradient.sign()? * epsilon)?)?;
    Ok(space.images(&moved.clamp(0f64, 1f64)?)?)
}

/// How projected gradient ascent goes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pgd {
    /// How far a pixel may move.
    pub epsilon: f64,
    /// How far it moves in a step.
    pub step: f64,
    /// How many steps there are.
    pub steps: usize,
}

impl Default for Pgd {
    /// 10 steps of 2/255 within 8/255.
    fn default() -> Self {
        Self { epsilon: 8.0 / 255.0, step: 2.0 / 255.0, steps: 10 }
    }
}

/// Projected gradient ascent from `noise` (`[B, 3, H, W]` between -1 and 1, times ε): steps along the sign of the gradient
/// that `gradient` gives, each brought back to within ε of the images and to between 0 and 1, in the pixels of `space`.
///
/// # Errors
/// If the shapes don't fit, or `gradient` fails.
pub fn pgd(
    images: &Tensor,
    noise: &Tensor,
    settings: &Pgd,
    space: &Space,
    mut gradient: impl FnMut(&Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let origin = space.pixels(images)?;
    let (low, high) = ((&origin - settings.epsilon)?, (&origin + settings.epsilon)?);
    let within = |pixels: Tensor| pixels.maximum(&low)?.minimum(&high)?.clamp(0f64, 1f64);
    let mut pixels = within((&origin + (noise * settings.epsilon)?)?)?;
    for _ in 0..settings.steps {
        let gradient = gradient(&space.images(&pixels)?)?;
        pixels = within((pixels + (gradient.sign()? * settings.step)?)?)?;
    }
    Ok(space.images(&pixels)?)
}

/// The gradient of the mean cross-entropy of one head with the true labels, by the images `[B, 3, H, W]`, of a network in
/// evaluation mode. `classifier` should be built on constants: no gradient is then taken by weights.
///
/// # Errors
/// If the shapes don't fit, or the loss doesn't depend on the images.
pub fn gradient(classifier: &Classifier, head: Head, images: &Tensor, labels: &[u32]) -> Result<Tensor> {
    let variable = Var::from_tensor(&images.detach())?;
    let labels = Tensor::new(labels, images.device())?;
    let (tape, loss) = Tape::record(|| {
        let logits = classifier.forward(&variable, head, &mut Pass::eval())?;
        cross_entropy(&logits, &labels, 0.0, Reduction::Mean)
    })?;
    let gradients = tape.backward(&loss)?;
    Ok(gradients.get(&variable).ok_or(Error::NoGradient)?.detach())
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn picture(values: [f32; 3]) -> Tensor {
        Tensor::new(&values, &Device::Cpu).unwrap().reshape((1, 3, 1, 1)).unwrap()
    }

    fn values(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn a_step_is_in_pixels_and_stays_a_picture() {
        let space = Space::Normalized { mean: [0.5; 3], std: [0.25; 3] };
        let moved = fgsm(&picture([0.0, 2.0, -1.0]), &picture([1.0, 1.0, 0.0]), 0.1, &space).unwrap();
        // 0.5 to 0.6; 1 stays; nothing moves without a gradient.
        for (got, want) in values(&moved).iter().zip([0.4, 2.0, -1.0]) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
        let released = fgsm(&picture([0.0, 2.0, -1.0]), &picture([1.0, 1.0, 0.0]), 0.1, &Space::ReleasedTool);
        assert_eq!(values(&released.unwrap()), [0.1, 1.0, 0.0]);
    }

    #[test]
    fn ascent_stays_near_and_ends_where_the_gradient_points() {
        let settings = Pgd { epsilon: 0.1, step: 0.04, steps: 6 };
        let noise = picture([1.0, -1.0, 0.5]);
        let towards = |_: &Tensor| Ok(picture([3.0, 2.0, -0.1]));
        let moved = pgd(&picture([0.5, 0.95, 0.5]), &noise, &settings, &Space::Unit, towards).unwrap();
        for (got, want) in values(&moved).iter().zip([0.6, 1.0, 0.4]) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
        // Without a step the start is left: the noise within the picture's range.
        let start =
            pgd(&picture([0.5; 3]), &noise, &Pgd { steps: 0, ..settings }, &Space::Unit, towards).unwrap();
        for (got, want) in values(&start).iter().zip([0.6, 0.4, 0.55]) {
            assert!((got - want).abs() < 1e-6, "{got} {want}");
        }
    }
}
