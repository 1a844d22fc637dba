//! The network that generates the mask.

use super::value::Value;
use super::{MaskLoss, ValueInput};
use crate::adautomix::check_lambdas;
use crate::{Draw, Error, MaskMaker, MasksOf, Result};
use adautomix_ops::{ConvSpec, Interpolation, MaskAttention, conv2d, mask_attention, upsample_softmax};
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};

/// The start of all weights: masks begin near 1/2.
pub(super) const INIT: Init = Init::Randn { mean: 0.0, stdev: 0.01 };
/// All convolutions are of 1×1.
pub(super) const CONVOLUTION: ConvSpec =
    ConvSpec { stride: [1; 2], padding: [0; 2], dilation: [1; 2], groups: 1 };

/// The architecture of a [`MixBlock`], and what its masks cost.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MixBlockConfig {
    /// Channels of the features.
    pub channels: usize,
    /// Queries and keys have `channels / reduction` channels, at least one.
    pub reduction: usize,
    /// Whether products of queries and keys are divided by the root of their channels.
    pub scaled: bool,
    /// Whether a plane of the ratio is concatenated to the features of either image.
    pub lambda_plane: bool,
    /// How features are multiplied by something that depends on the ratio, if they are.
    pub modulation: Option<Modulation>,
    /// Whether query and key have weights of their own and see both images: SAMix's. Else one convolution makes the query of
    /// the sample and the key of its partner.
    pub joint: bool,
    /// What the value is computed of.
    pub value_input: ValueInput,
    /// Channels between the two convolutions of the value, if it has two: SAMix's.
    pub value_hidden: Option<usize>,
    /// How the mask is enlarged to the pictures.
    pub upsampling: Interpolation,
    /// How much larger the pictures are than the features.
    pub scale_factor: usize,
    /// What a mask costs.
    pub mask_loss: MaskLoss,
}

/// How the features of an image are multiplied by something that depends on its ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Modulation {
    /// `k` of the cubic `r(λ) = (4/3 λ³ - 2 λ² + (k + 1) λ) / (k + 1/3)` that takes the place of the ratio: flat around 1/2,
    /// and the straighter the larger `k` is. The ratio itself if there is none.
    pub curve: Option<f64>,
    /// Features are multiplied by `1 + residual · r`; by `r` if there is none.
    pub residual: Option<f64>,
}

impl Modulation {
    /// The factor of an image with this ratio.
    fn factor(&self, ratio: f64) -> f64 {
        let rescaled = match self.curve {
            // r(1 - λ) = 1 - r(λ), so both images may be asked alike.
            Some(k) => {
                (4.0 / 3.0 * ratio.powi(3) - 2.0 * ratio * ratio + (k + 1.0) * ratio) / (k + 1.0 / 3.0)
            }
            None => ratio,
        };
        self.residual.map_or(rescaled, |residual| 1.0 + residual * rescaled)
    }
}

impl MixBlockConfig {
    /// Channels of a query.
    pub fn depth(&self) -> usize {
        (self.channels / self.reduction.max(1)).max(1)
    }

    /// Channels of what queries and keys, and the value, are computed of.
    fn inputs(&self) -> [usize; 2] {
        let one = self.channels + usize::from(self.lambda_plane);
        let value = match self.value_input {
            ValueInput::Partner => one,
            ValueInput::PartnerAndRatio => one + 1,
            ValueInput::Both => 2 * one,
        };
        [if self.joint { 2 * one } else { one }, value]
    }
}

/// A 1×1 convolution.
struct Pointwise {
    weight: Tensor,
    bias: Tensor,
}

impl Pointwise {
    fn new(input: usize, output: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        Ok(Self {
            weight: vb.get_with_hints((output, input, 1, 1), "weight", INIT)?,
            bias: vb.get_with_hints(output, "bias", Init::Const(0.0))?,
        })
    }

    /// `[B, C, h, w]` to `[B, d, h · w]`.
    fn forward(&self, x: &Tensor) -> Result<Tensor> {
        Ok(conv2d(x, &self.weight, Some(&self.bias), &CONVOLUTION)?.flatten_from(2)?)
    }
}

/// The network that turns the features of two images into the mask of the second; the first has the rest.
pub struct MixBlock {
    config: MixBlockConfig,
    query: Pointwise,
    key: Option<Pointwise>,
    value: Value,
}

impl MixBlock {
    /// Builds the network from `query` (`.weight` `[d, C', 1, 1]`, `.bias` `[d]`), `key` where it is joint, and `value` (`.weight`
    /// `[1, C'', 1, 1]`, `.bias`, or `.0.weight`, `.0.bn.*`, `.1.weight`). New convolutions are normal with deviation 0.01,
    /// biases 0, norms 1 and 0.
    ///
    /// # Errors
    /// If a weight is missing or of another shape.
    #[allow(clippy::needless_pass_by_value, reason = "a builder is passed by value in all of candle")]
    pub fn new(config: MixBlockConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let [input, value] = config.inputs();
        let pointwise = |name| Pointwise::new(input, config.depth(), &vb.pp(name));
        Ok(Self {
            config,
            query: pointwise("query")?,
            key: config.joint.then(|| pointwise("key")).transpose()?,
            value: Value::new(value, config.value_hidden, &vb.pp("value"))?,
        })
    }

    /// The masks `[B, 2, H, W]` of a mix of two images of a batch with `features` `[B, C, h, w]`: `[1 - m, m]` with
    /// `m = sigmoid(upsample(softmax(qᵀ k / √d) v))`. While `training`, a batch norm normalises with the batch's statistics
    /// and moves its running ones.
    ///
    /// # Errors
    /// If the features have other channels, or the draw isn't of two images.
    pub fn masks(&self, features: &Tensor, draw: &Draw, training: bool) -> Result<Tensor> {
        let (_, channels, height, width) = features.dims4()?;
        if channels != self.config.channels {
            let expected = format!("[B, {}, h, w]", self.config.channels);
            return Err(Error::Shape { what: "features", got: features.dims().to_vec(), expected });
        }
        check_lambdas(&draw.lambdas)?;
        let (&[own_ratio, ratio], [own, partner]) = (draw.lambdas.as_slice(), draw.partners.as_slice())
        else {
            return Err(Error::LambdaCount {
                lambdas: draw.lambdas.len(),
                images: draw.partners.len().min(2),
            });
        };
        let own = self.image(features, own, own_ratio)?;
        let partner = self.image(features, partner, ratio)?;
        let value = self.value.forward(&self.value_input(&own, &partner, ratio)?, training)?;
        let (query, key) = match &self.key {
            Some(key) => {
                let both = Tensor::cat(&[&own, &partner], 1)?;
                (self.query.forward(&both)?, key.forward(&both)?)
            }
            None => (self.query.forward(&own)?, self.query.forward(&partner)?),
        };
        let plane = self.attend(&query, &key, &value)?.reshape(((), 1, height, width))?;
        // A sigmoid of one plane is the softmax of it and a plane of zeros.
        let planes = Tensor::cat(&[&plane.zeros_like()?, &plane], 1)?;
        let size = [height, width].map(|side| side * self.config.scale_factor);
        Ok(upsample_softmax(&planes, self.config.upsampling, size)?)
    }

    /// The features of one image of each sample, `[B, C', h, w]`, told its ratio.
    fn image(&self, features: &Tensor, partner: &[u32], ratio: f64) -> Result<Tensor> {
        let mut image = features.index_select(&Tensor::new(partner, features.device())?, 0)?;
        if let Some(modulation) = &self.config.modulation {
            image = (image * modulation.factor(ratio))?;
        }
        if self.config.lambda_plane { with_plane(&image, ratio) } else { Ok(image) }
    }

    fn value_input(&self, own: &Tensor, partner: &Tensor, ratio: f64) -> Result<Tensor> {
        match self.config.value_input {
            ValueInput::Partner => Ok(partner.clone()),
            ValueInput::PartnerAndRatio => with_plane(partner, ratio),
            ValueInput::Both => Ok(Tensor::cat(&[own, partner], 1)?),
        }
    }

    /// `softmax(qᵀ k / √d) v`, `[B, 1, P]`, for queries and keys `[B, d, P]` and a value `[B, 1, h, w]`: AdAutoMix's attention
    /// between an image that has the queries and the value, and one that has the keys alone.
    fn attend(&self, query: &Tensor, key: &Tensor, value: &Tensor) -> Result<Tensor> {
        let (batch, value) = (query.dim(0)? as u32, value.flatten_from(2)?);
        let (no_channels, no_value) = (query.zeros_like()?, value.zeros_like()?);
        let asking = Tensor::cat(&[query, &no_channels, &value], 1)?;
        let asked = Tensor::cat(&[&no_channels, key, &no_value], 1)?;
        let attention = MaskAttention {
            partners: vec![(0..batch).collect(), (batch..2 * batch).collect()],
            lambdas: vec![0.5; 2],
            scale: if self.config.scaled { (self.config.depth() as f64).sqrt() } else { 1.0 },
            relu: false,
        };
        Ok(mask_attention(&Tensor::cat(&[&asking, &asked], 0)?, None, attention)?.narrow(1, 0, 1)?)
    }
}

/// `x` `[B, C, h, w]` with a plane of `value` as its last channel.
fn with_plane(x: &Tensor, value: f64) -> Result<Tensor> {
    let (batch, _, height, width) = x.dims4()?;
    let plane = Tensor::full(value as f32, (batch, 1, height, width), x.device())?.to_dtype(x.dtype())?;
    Ok(Tensor::cat(&[x, &plane], 1)?)
}

impl MaskMaker for MixBlock {
    fn look(&self, features: &Tensor, training: bool) -> Result<MasksOf<'_>> {
        let features = features.clone();
        Ok(Box::new(move |draw| self.masks(&features, draw, training)))
    }

    fn mask_loss(&self, masks: &Tensor, lambdas: &[f64]) -> Result<Option<Tensor>> {
        self.config.mask_loss.of(masks, lambdas[0]).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use candle_nn::VarMap;

    const AUTOMIX: MixBlockConfig = MixBlockConfig {
        channels: 6,
        reduction: 2,
        scaled: true,
        lambda_plane: false,
        modulation: None,
        joint: false,
        value_input: ValueInput::Partner,
        value_hidden: None,
        upsampling: Interpolation::Nearest,
        scale_factor: 4,
        mask_loss: MaskLoss { margin: 0.1, variance_weight: 0.0 },
    };
    const SAMIX: MixBlockConfig = MixBlockConfig {
        modulation: Some(Modulation { curve: Some(0.25), residual: Some(1.0) }),
        joint: true,
        value_hidden: Some(4),
        upsampling: Interpolation::Bilinear,
        mask_loss: MaskLoss { margin: 0.1, variance_weight: 2.0 },
        ..AUTOMIX
    };

    fn features(batch: usize) -> Result<Tensor> {
        let values: Vec<f32> = (0..batch * 6 * 15).map(|i| (i as f32 * 0.37).sin()).collect();
        Ok(Tensor::from_vec(values, (batch, 6, 3, 5), &Device::Cpu)?)
    }

    /// A block whose weights are large enough for masks that differ from 1/2.
    fn block(config: MixBlockConfig, variables: &VarMap) -> Result<MixBlock> {
        let block = MixBlock::new(config, VarBuilder::from_varmap(variables, DType::F32, &Device::Cpu))?;
        for (name, variable) in variables.data().lock().unwrap().iter() {
            let wave = |i: usize| 1.0 + (i as f32 * 1.3 + name.len() as f32).cos();
            let values: Vec<f32> = (0..variable.elem_count()).map(wave).collect();
            variable.set(&Tensor::from_vec(values, variable.shape(), &Device::Cpu)?)?;
        }
        Ok(block)
    }

    fn pair(partner: &[u32], lambda: f64) -> Draw {
        let partners = vec![(0..partner.len() as u32).collect(), partner.to_vec()];
        Draw { lambdas: vec![lambda, 1.0 - lambda], partners }
    }

    fn values(tensor: &Tensor) -> Result<Vec<f32>> {
        Ok(tensor.flatten_all()?.to_vec1()?)
    }

    #[test]
    fn masks_are_shares_and_every_weight_learns() -> Result<()> {
        for config in [AUTOMIX, MixBlockConfig { lambda_plane: true, ..AUTOMIX }, SAMIX] {
            let variables = VarMap::new();
            let block = block(config, &variables)?;
            let masks = block.masks(&features(3)?, &pair(&[2, 0, 1], 0.7), true)?;
            assert_eq!(masks.dims(), [3, 2, 12, 20]);
            let sums = masks.sum(1)?;
            assert!(values(&sums)?.iter().all(|sum| (sum - 1.0).abs() < 1e-6));
            let own = masks.narrow(1, 0, 1)?;
            let gradients = own.sqr()?.sum_all()?.backward()?;
            for (name, variable) in variables.data().lock().unwrap().iter() {
                if name.contains("running") {
                    continue;
                }
                let gradient =
                    gradients.get(variable).map(|g| g.abs()?.max_all()?.to_scalar::<f32>()).transpose()?;
                // A key's bias adds the same to a query's products with all keys, which the softmax takes out.
                assert!(gradient.is_some_and(|g| g > 1e-6 || name == "key.bias"), "{name}: {gradient:?}");
            }
        }
        Ok(())
    }

    #[test]
    fn the_value_may_see_the_ratio_or_both_images() -> Result<()> {
        for value_input in [ValueInput::PartnerAndRatio, ValueInput::Both] {
            let config = MixBlockConfig { value_input, ..AUTOMIX };
            let block = block(config, &VarMap::new())?;
            let [few, many] =
                [0.2, 0.8].map(|lambda| block.masks(&features(2)?, &pair(&[1, 0], lambda), true));
            let moved = values(&few?)? != values(&many?)?;
            assert_eq!(moved, value_input == ValueInput::PartnerAndRatio);
        }
        Ok(())
    }

    #[test]
    fn modulation_ends_at_0_and_1_and_is_antisymmetric() {
        for curve in [None, Some(0.25), Some(1.0)] {
            let modulation = Modulation { curve, residual: None };
            assert!(modulation.factor(0.0).abs() < 1e-12 && (modulation.factor(1.0) - 1.0).abs() < 1e-12);
            assert!((modulation.factor(0.3) + modulation.factor(0.7) - 1.0).abs() < 1e-12);
        }
        let straight = Modulation { curve: None, residual: Some(0.5) };
        assert_eq!(straight.factor(0.5), 1.25);
    }

    #[test]
    fn shown_masks_depend_on_their_two_images_alone() -> Result<()> {
        let block = block(SAMIX, &VarMap::new())?;
        let (all, draw) = (features(4)?, pair(&[1, 0, 3, 2], 0.4));
        let whole = block.masks(&all, &draw, false)?.narrow(0, 0, 2)?;
        let half = block.masks(&all.narrow(0, 0, 2)?, &pair(&[1, 0], 0.4), false)?;
        let difference = (whole - half)?.abs()?.max_all()?.to_scalar::<f32>()?;
        assert!(difference < 1e-6, "{difference}");
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error() -> Result<()> {
        let block = block(AUTOMIX, &VarMap::new())?;
        let message = |features: &Tensor, draw: &Draw| {
            block.masks(features, draw, true).err().map(|error| error.to_string()).unwrap_or_default()
        };
        let narrow = features(2)?.narrow(1, 0, 5)?;
        assert_eq!(message(&narrow, &pair(&[1, 0], 0.5)), "features [2, 5, 3, 5], expected [B, 6, h, w]");
        let three = Draw { lambdas: vec![0.5, 0.25, 0.25], partners: vec![vec![0, 1]; 3] };
        assert_eq!(message(&features(2)?, &three), "3 mixing ratios for 2 images");
        assert!(message(&features(2)?, &pair(&[1, 0], f64::NAN)).starts_with("mixing ratios"));
        assert!(!message(&features(2)?, &pair(&[1, 2], 0.5)).is_empty());
        Ok(())
    }
}
