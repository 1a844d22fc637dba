//! The mask generator (Eq. 5 to 7 of the paper).

use super::check_lambdas;
use crate::{Error, MaskMaker, MasksOf, Result};
use adautomix_ops::{ConvSpec, Interpolation, MaskAttention, conv2d, mask_attention, upsample_softmax};
use candle_core::Tensor;
use candle_nn::{Init, VarBuilder};

/// The architecture of a [`Generator`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GeneratorConfig {
    /// Channels of the features.
    pub channels: usize,
    /// Queries and keys have `channels / reduction` channels, at least one.
    pub reduction: usize,
    /// Whether a plane of `lambda_i` is concatenated to the features of image `i`. Without it masks don't depend on the
    /// ratios.
    pub lambda_plane: bool,
    /// Whether products of queries and keys are divided by the root of their channels.
    pub scaled: bool,
    /// Whether queries and keys go through a ReLU; in the published code they do.
    pub relu: bool,
    /// How the masks are enlarged to the pictures.
    pub upsampling: Interpolation,
    /// How much larger the pictures are than the features.
    pub scale_factor: usize,
}

impl GeneratorConfig {
    /// Channels of a query, `d` of Eq. 5.
    pub fn depth(&self) -> usize {
        (self.channels / self.reduction.max(1)).max(1)
    }

    /// The divisor of the products of queries and keys.
    fn scale(&self) -> f64 {
        if self.scaled { (self.depth() as f64).sqrt() } else { 1.0 }
    }
}

/// A 1×1 convolution.
struct Pointwise {
    weight: Tensor,
    bias: Tensor,
}

impl Pointwise {
    fn new(input: usize, output: usize, vb: &VarBuilder<'_>) -> Result<Self> {
        let weight =
            vb.get_with_hints((output, input, 1, 1), "weight", Init::Randn { mean: 0.0, stdev: 0.01 })?;
        Ok(Self { weight, bias: vb.get_with_hints(output, "bias", Init::Const(0.0))? })
    }
}

/// The network that turns the features of `N` images into `N` masks that sum to 1 at every pixel.
pub struct Generator {
    config: GeneratorConfig,
    query: Pointwise,
    key: Pointwise,
    value: Pointwise,
}

impl Generator {
    /// Builds the generator from `conv_q`, `conv_k` (`.weight` `[d, C', 1, 1]`, `.bias` `[d]`) and `conv_v` (`[1, C', 1,
    /// 1]`, `[1]`), where `C'` has a channel more with the lambda plane. New weights are normal with deviation 0.01, biases
    /// 0, so that masks start near `1 / N`.
    ///
    /// # Errors
    /// If a weight is missing or of another shape.
    #[allow(clippy::needless_pass_by_value, reason = "a builder is passed by value in all of candle")]
    pub fn new(config: GeneratorConfig, vb: VarBuilder<'_>) -> Result<Self> {
        let input = config.channels + usize::from(config.lambda_plane);
        Ok(Self {
            config,
            query: Pointwise::new(input, config.depth(), &vb.pp("conv_q"))?,
            key: Pointwise::new(input, config.depth(), &vb.pp("conv_k"))?,
            value: Pointwise::new(input, 1, &vb.pp("conv_v"))?,
        })
    }

    /// Its architecture.
    pub fn config(&self) -> &GeneratorConfig {
        &self.config
    }

    /// Projects the features `[B, C, h, h]` of a batch to queries, keys and values: the part that doesn't depend on
    /// which images are mixed, nor on the ratios.
    ///
    /// # Errors
    /// If the features have other channels or aren't square.
    pub fn project(&self, features: &Tensor) -> Result<Projection> {
        let (images, channels, side, width) = features.dims4()?;
        if channels != self.config.channels || side != width {
            let expected = format!("[B, {}, h, h]", self.config.channels);
            return Err(Error::Shape { what: "features", got: features.dims().to_vec(), expected });
        }
        let weight = Tensor::cat(&[&self.query.weight, &self.key.weight, &self.value.weight], 0)?;
        let bias = Tensor::cat(&[&self.query.bias, &self.key.bias, &self.value.bias], 0)?;
        let of_features = weight.narrow(1, 0, channels)?.contiguous()?;
        let base = conv2d(features, &of_features, Some(&bias), &ConvSpec::new(1, 0))?;
        let base = base.reshape((images, 2 * self.config.depth() + 1, side * side))?;
        // The plane of lambda is constant, so what it adds is lambda times its column of the weights.
        let shift = match self.config.lambda_plane {
            true => Some(weight.narrow(1, channels, 1)?.flatten_all()?),
            false => None,
        };
        Ok(Projection { config: self.config, side, base, shift })
    }
}

impl MaskMaker for Generator {
    fn look(&self, features: &Tensor, _: bool) -> Result<MasksOf<'_>> {
        let projection = self.project(features)?;
        Ok(Box::new(move |draw| projection.masks(&draw.partners, &draw.lambdas)))
    }
}

/// The queries, keys and values of the images of a batch.
#[derive(Clone, Debug)]
pub struct Projection {
    config: GeneratorConfig,
    side: usize,
    /// `[images, 2d + 1, h · h]`
    base: Tensor,
    /// What a ratio of 1 adds to the base with the lambda plane, `[2d + 1]`.
    shift: Option<Tensor>,
}

impl Projection {
    /// The masks `[B, N, H, H]` of samples that are mixed of the images `partners[0][b] … partners[N-1][b]` with the ratios
    /// `lambdas` `[N]`: cross attention (Eq. 5), enlarged by the scale factor, and the softmax over the images at every
    /// pixel.
    ///
    /// # Errors
    /// If there are fewer than two images, the ratios don't sum to 1, or partners and ratios don't fit.
    pub fn masks(&self, partners: &[Vec<u32>], lambdas: &[f64]) -> Result<Tensor> {
        check_lambdas(lambdas)?;
        if partners.len() != lambdas.len() {
            return Err(Error::LambdaCount { lambdas: lambdas.len(), images: partners.len() });
        }
        let attention = MaskAttention {
            partners: partners.to_vec(),
            lambdas: lambdas.iter().map(|&lambda| lambda as f32).collect(),
            scale: self.config.scale(),
            relu: self.config.relu,
        };
        let planes = mask_attention(&self.base, self.shift.as_ref(), attention)?;
        let planes = planes.reshape((partners[0].len(), partners.len(), self.side, self.side))?;
        Ok(upsample_softmax(&planes, self.config.upsampling, [self.side * self.config.scale_factor; 2])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Draw;
    use candle_core::{DType, Device};
    use candle_nn::VarMap;

    const CONFIG: GeneratorConfig = GeneratorConfig {
        channels: 6,
        reduction: 2,
        lambda_plane: true,
        scaled: true,
        relu: true,
        upsampling: Interpolation::Bilinear,
        scale_factor: 4,
    };

    fn features(batch: usize) -> Result<Tensor> {
        let values: Vec<f32> = (0..batch * 6 * 25).map(|i| (i as f32 * 0.37).sin()).collect();
        Ok(Tensor::from_vec(values, (batch, 6, 5, 5), &Device::Cpu)?)
    }

    /// A generator whose weights are large enough for masks that differ from `1 / N`.
    fn generator(variables: &VarMap) -> Result<Generator> {
        let vb = VarBuilder::from_varmap(variables, DType::F32, &Device::Cpu);
        let generator = Generator::new(CONFIG, vb)?;
        for (name, variable) in variables.data().lock().unwrap().iter() {
            let values: Vec<f32> =
                (0..variable.elem_count()).map(|i| (i as f32 * 1.3 + name.len() as f32).cos()).collect();
            variable.set(&Tensor::from_vec(values, variable.shape(), &Device::Cpu)?)?;
        }
        Ok(generator)
    }

    #[test]
    fn masks_sum_to_one_and_every_weight_learns() -> Result<()> {
        let variables = VarMap::new();
        let generator = generator(&variables)?;
        let partners = [vec![0, 1, 2], vec![2, 0, 1], vec![1, 2, 0]];
        let masks = generator.project(&features(3)?)?.masks(&partners, &[0.5, 0.3, 0.2])?;
        assert_eq!(masks.dims(), [3, 3, 20, 20]);
        let error = (masks.sum(1)? - 1.0)?.abs()?.max_all()?.to_scalar::<f32>()?;
        assert!(error < 1e-6, "{error}");
        let gradients = masks.sqr()?.sum_all()?.backward()?;
        for (name, variable) in variables.data().lock().unwrap().iter() {
            let gradient =
                gradients.get(variable).map(|g| g.abs()?.max_all()?.to_scalar::<f32>()).transpose()?;
            // The bias of the values moves all planes alike, which the softmax takes out.
            assert!(gradient.is_some_and(|g| g > 1e-5 || name == "conv_v.bias"), "{name}: {gradient:?}");
        }
        Ok(())
    }

    #[test]
    fn one_look_serves_two_mixes() -> Result<()> {
        let generator = generator(&VarMap::new())?;
        let features = features(3)?;
        let masks_of = generator.look(&features, true)?;
        for partner in [[2, 0, 1], [1, 2, 0]] {
            let partners = vec![vec![0, 1, 2], partner.to_vec()];
            let fresh = generator.project(&features)?.masks(&partners, &[0.7, 0.3])?;
            let once = masks_of(&Draw { lambdas: vec![0.7, 0.3], partners })?;
            assert_eq!(once.flatten_all()?.to_vec1::<f32>()?, fresh.flatten_all()?.to_vec1::<f32>()?);
        }
        Ok(())
    }

    #[test]
    fn what_does_not_fit_is_an_error() -> Result<()> {
        let generator = generator(&VarMap::new())?;
        let message = |result: Result<Tensor>| result.err().map(|e| e.to_string()).unwrap_or_default();
        let features = features(2)?;
        let projection = generator.project(&features)?;
        let masks = |partners: &[Vec<u32>], lambdas: &[f64]| message(projection.masks(partners, lambdas));
        assert_eq!(masks(&[vec![0, 1]], &[1.0]), "a mix of 1 images, expected at least 2");
        let sum = masks(&[vec![0, 1], vec![1, 0]], &[0.5, 0.4]);
        assert_eq!(sum, "mixing ratios [0.5, 0.4] sum to 0.9, expected 1");
        assert!(masks(&[vec![0, 1], vec![1, 0]], &[f64::NAN, 0.4]).starts_with("mixing ratios"));
        assert_eq!(masks(&[vec![0, 1], vec![1, 0]], &[0.5, 0.3, 0.2]), "3 mixing ratios for 2 images");
        let oblong = Tensor::zeros((2, 6, 4, 5), DType::F32, &Device::Cpu)?;
        let shape = generator.project(&oblong).err().map(|e| e.to_string());
        assert_eq!(shape.as_deref(), Some("features [2, 6, 4, 5], expected [B, 6, h, h]"));
        Ok(())
    }
}
