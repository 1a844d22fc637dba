//! RecursiveMix (Yang et al., NeurIPS 2022): the mixed picture of the step before, made small, is pasted into the picture.

use crate::aligned::resize_aligned;
use crate::area::{self, Area};
use crate::registry::{Facts, Registered, within};
use crate::{Error, Mixed, Mixer, Plan, Result, Targets, View, draw};
use candle_core::Tensor;
use rand::{Rng, RngCore};
use serde::{Deserialize, Serialize};

/// One box per batch, whose area is a share of the picture before it is cut at the border. The whole picture that was made
/// at the step before is resized to it, with its label, which is a mix itself. Labels weigh as many pixels as were really
/// pasted. At the first step nothing is pasted.
///
/// The mixer alone is half of the method: the training step remembers, and adds a loss of what is in the box.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct RecursiveMix {
    /// The range of which the box's share of the picture is a uniform draw.
    pub ratio: [f64; 2],
    /// How the old picture is resized.
    pub interpolation: Interpolation,
    /// Weight ω of the loss of what is in the box; 0.5 on ImageNet, 0.1 on CIFAR.
    pub consistency_weight: f64,
}

/// How an old picture is resized.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Interpolation {
    /// The nearest pixel.
    Nearest,
    /// Linear in both directions, the corners staying where they are.
    Bilinear,
}

impl Default for RecursiveMix {
    fn default() -> Self {
        Self { ratio: [0.0, 0.5], interpolation: Interpolation::Nearest, consistency_weight: 0.5 }
    }
}

impl Registered for RecursiveMix {
    const FACTS: Facts = Facts {
        name: "recursivemix",
        title: "RecursiveMix",
        citation: "Yang et al., NeurIPS 2022, arXiv 2203.06844",
        draws: "the box's share of the picture, uniform from 0 to a half, and a uniform centre, per batch",
        cost: "a resized batch, and a linear layer on the box's features",
    };
}

impl Mixer for RecursiveMix {
    fn validate(&self) -> Result<()> {
        let [low, high] = self.ratio;
        within("ratio", low, (0.0..=1.0).contains(&low), "two shares")?;
        within("ratio", high, (low..=1.0).contains(&high), "a share, no less than the first")?;
        let weight = self.consistency_weight;
        within("consistency_weight", weight, weight >= 0.0 && weight.is_finite(), "0 or more")
    }

    fn sample(&self, _: usize, height: usize, width: usize, rng: &mut dyn RngCore) -> Result<Box<dyn Plan>> {
        Ok(Box::new(self.draw(height, width, rng)))
    }
}

impl RecursiveMix {
    /// The draws for pictures of `height` × `width` pixels.
    pub fn draw(&self, height: usize, width: usize, rng: &mut dyn RngCore) -> RecursiveMixPlan {
        let [low, high] = self.ratio;
        let ratio = low + (high - low) * rng.random::<f64>();
        let center = draw::pixel(height, width, rng);
        RecursiveMixPlan { ratio, center, interpolation: self.interpolation }
    }
}

/// The draws of [`RecursiveMix`].
#[derive(Clone, Debug, PartialEq)]
pub struct RecursiveMixPlan {
    /// The box's share of the picture, before it is cut.
    pub ratio: f64,
    /// The centre of the box, `[row, column]`.
    pub center: [usize; 2],
    /// How the old picture is resized.
    pub interpolation: Interpolation,
}

/// Which of `old` samples is pasted into each of `batch`: the one of the same place, from the start again where the old batch
/// was smaller.
pub fn sources(batch: usize, old: usize) -> Vec<u32> {
    (0..batch).map(|sample| (sample % old.max(1)) as u32).collect()
}

impl RecursiveMixPlan {
    /// The box, cut at the border of a picture of `size` (rows, columns), and the weight of the sample's own label.
    pub fn area(&self, size: [usize; 2]) -> (Area, f64) {
        let sides = size.map(|side| (side as f64 * self.ratio.sqrt()) as usize);
        let area = area::centred(size, sides, self.center);
        (area, area::weight_outside(size, area))
    }

    /// `lambda own + (1 - lambda) old`: of the targets `[N, K]` of a batch and those `[M, K]` of the step before.
    ///
    /// # Errors
    /// If there is no old target, or of another number of classes.
    pub fn targets(own: &Tensor, old: &Tensor, lambda: f64) -> Result<Tensor> {
        let ((batch, classes), (count, of)) = (own.dims2()?, old.dims2()?);
        if count == 0 || of != classes {
            let expected = format!("[M, {classes}], M at least 1");
            return Err(Error::Shape { what: "old targets", got: old.dims().to_vec(), expected });
        }
        let old = old.index_select(&Tensor::new(sources(batch, count), own.device())?, 0)?;
        Ok(((own * lambda)? + (old * (1.0 - lambda))?)?)
    }

    /// `images` `[N, C, H, W]` with those of the step before, `[M, C, h, w]`, in the box.
    fn paste(&self, images: &Tensor, old: &Tensor) -> Result<Tensor> {
        let (batch, channels, height, width) = images.dims4()?;
        let (area, lambda) = self.area([height, width]);
        let (count, of, ..) = old.dims4()?;
        if count == 0 || of != channels {
            let expected = format!("[M, {channels}, H, W], M at least 1");
            return Err(Error::Shape { what: "old pictures", got: old.dims().to_vec(), expected });
        }
        if lambda == 1.0 {
            return Ok(images.clone());
        }
        let [row1, column1, row2, column2] = area;
        let size = [row2 - row1, column2 - column1];
        let old = old.narrow(0, 0, batch.min(count))?;
        let patches = match self.interpolation {
            Interpolation::Nearest => {
                adautomix_ops::interpolate(&old, adautomix_ops::Interpolation::Nearest, size)?
            }
            Interpolation::Bilinear => resize_aligned(&old, size)?,
        };
        Ok(adautomix_ops::paste_patches(images, &patches, &sources(batch, patches.dim(0)?), area)?)
    }
}

/// The rows of the identity `[K, K]` that labels stand for, `[B, K]`.
fn one_hot(labels: &[u32], like: &Tensor) -> Result<Tensor> {
    let classes = like.dim(1)?;
    let mut rows = vec![0f32; labels.len() * classes];
    for (row, &label) in rows.chunks_mut(classes.max(1)).zip(labels) {
        match row.get_mut(label as usize) {
            Some(one) => *one = 1.0,
            None => {
                let expected = format!("a class below {classes}");
                return Err(Error::Shape { what: "label", got: vec![label as usize], expected });
            }
        }
    }
    Ok(Tensor::from_vec(rows, (labels.len(), classes), like.device())?)
}

impl Plan for RecursiveMixPlan {
    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        let (batch, _, height, width) = view.images.dims4()?;
        let Some((old, old_targets)) = view.previous else {
            let own = (0..batch as u32).collect();
            let targets = Targets::Labels { partners: vec![own], weights: vec![1.0] };
            return Ok(Mixed { images: view.images.clone(), targets });
        };
        let (_, lambda) = self.area([height, width]);
        let images = self.paste(view.images, old)?;
        let own = one_hot(view.labels()?, old_targets)?;
        Ok(Mixed { images, targets: Targets::Soft(Self::targets(&own, old_targets, lambda)?) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn picture(values: [f32; 4]) -> Result<Tensor> {
        Ok(Tensor::new(&values, &Device::Cpu)?.reshape((1, 1, 2, 2))?)
    }

    fn flat(tensor: &Tensor) -> Vec<f32> {
        tensor.flatten_all().and_then(|flat| flat.to_vec1()).unwrap()
    }

    #[test]
    fn the_old_mix_is_pasted_with_its_label_and_at_first_nothing() -> Result<()> {
        let plan = RecursiveMixPlan { ratio: 1.0, center: [0, 1], interpolation: Interpolation::Nearest };
        let images = Tensor::cat(&[picture([0.0, 1.0, 2.0, 3.0])?, picture([4.0; 4])?], 0)?;
        let (old, old_targets) = (picture([7.0; 4])?, Tensor::new(&[[0f32, 0.25, 0.75]], &Device::Cpu)?);
        let mut view = View::of(&images);
        view.labels = Some(&[0, 2]);
        let first = plan.mix(&view)?;
        assert_eq!(flat(&first.images), flat(&images));
        view.previous = Some((&old, &old_targets));
        let mixed = plan.mix(&view)?;
        // The box is the upper row. The old batch has one sample, which goes to both.
        assert_eq!(flat(&mixed.images), [7.0, 7.0, 2.0, 3.0, 7.0, 7.0, 4.0, 4.0]);
        let Targets::Soft(target) = mixed.targets else { unreachable!() };
        assert_eq!(target.to_vec2::<f32>()?, [[0.5, 0.125, 0.375], [0.0, 0.125, 0.875]]);
        view.labels = Some(&[0, 3]);
        assert_eq!(plan.mix(&view).unwrap_err().to_string(), "label [3], expected a class below 3");
        Ok(())
    }

    #[test]
    fn parameters_out_of_range_are_named() {
        let message = |mixer: RecursiveMix| mixer.validate().unwrap_err().to_string();
        let wrong = RecursiveMix { ratio: [0.0, 1.5], ..RecursiveMix::default() };
        assert_eq!(message(wrong), "`ratio` is 1.5, expected a share, no less than the first");
        let wrong = RecursiveMix { consistency_weight: -1.0, ..RecursiveMix::default() };
        assert_eq!(message(wrong), "`consistency_weight` is -1, expected 0 or more");
        assert!(RecursiveMix { consistency_weight: 0.0, ..RecursiveMix::default() }.validate().is_ok());
    }
}
