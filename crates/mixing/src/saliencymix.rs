//! SaliencyMix (Uddin et al., ICLR 2021): CutMix with the box around the most salient pixel of what is pasted.

use crate::cutmix::CutMixPlan;
use crate::fine_grained::{fine_grained_saliency, peak, saliency_of_float_bytes};
use crate::registry::{Facts, Registered, positive};
use crate::variant::Variant;
use crate::{Error, Mixed, Mixer, Normalisation, Plan, Result, View, draw};
use candle_core::Tensor;
use rand::RngCore;
use serde::{Deserialize, Serialize};

/// One box per batch, whose area is a share `1 - lambda` of the picture before it is cut at the border, around the peak of
/// the fine-grained saliency of the first sample's partner; `lambda` is of Beta(a, a).
///
/// In the variant `reference` the saliency is that of the normalised picture's bytes, which hardly depends on what is to be
/// seen: published results were made with boxes at noise.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SaliencyMix {
    /// `a` of Beta(a, a); 1 in its paper, 0.2 in the published comparison on small pictures.
    pub beta_parameter: f64,
    /// Which picture the saliency is taken of.
    pub variant: Variant,
}

impl Default for SaliencyMix {
    fn default() -> Self {
        Self { beta_parameter: 1.0, variant: Variant::Paper }
    }
}

impl Registered for SaliencyMix {
    const FACTS: Facts = Facts {
        name: "saliencymix",
        title: "SaliencyMix",
        citation: "Uddin et al., ICLR 2021, arXiv 2006.01791",
        draws: "λ of Beta(a, a) and a permutation, per batch",
        cost: "the saliency of one picture, on the host",
    };
}

impl Mixer for SaliencyMix {
    fn validate(&self) -> Result<()> {
        positive("beta_parameter", self.beta_parameter)
    }

    fn sample(&self, batch: usize, _: usize, _: usize, rng: &mut dyn RngCore) -> Result<Box<dyn Plan>> {
        let lambda = draw::beta(self.beta_parameter, rng)?;
        let partner = draw::permutation(batch, rng);
        Ok(Box::new(SaliencyMixPlan { lambda, partner, variant: self.variant }))
    }
}

/// The draws of [`SaliencyMix`].
#[derive(Clone, Debug, PartialEq)]
pub struct SaliencyMixPlan {
    /// The share of the picture that the box leaves, before it is cut.
    pub lambda: f64,
    /// The partner of each sample.
    pub partner: Vec<u32>,
    /// Which picture the saliency is taken of.
    pub variant: Variant,
}

impl SaliencyMixPlan {
    /// What is pasted where, given the saliency `[H, W]` of the first sample's partner: as CutMix with its first maximum, in
    /// row-major order, for the centre.
    pub fn around_peak(&self, saliency: &[u8], width: usize) -> CutMixPlan {
        let center = peak(saliency, width);
        CutMixPlan { lambda: self.lambda, center, partner: self.partner.clone() }
    }

    /// The saliency of a normalised picture `[3, H, W]`.
    fn saliency(&self, picture: &Tensor, view: &View<'_>) -> Result<Vec<u8>> {
        let (channels, height, width) = picture.dims3()?;
        if channels != 3 {
            let expected = "3 channels".to_string();
            return Err(Error::Shape {
                what: "saliency of a picture",
                got: picture.dims().to_vec(),
                expected,
            });
        }
        let planes: Vec<f32> = picture.flatten_all()?.to_vec1()?;
        match self.variant {
            Variant::Paper => fine_grained_saliency(&bytes(&planes, &view.normalisation()?), [height, width]),
            Variant::Reference => Ok(saliency_of_float_bytes(&planes, [height, width])),
        }
    }
}

impl Plan for SaliencyMixPlan {
    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        let source = self.partner.first().map_or(0, |&source| source as usize);
        let picture = view.images.narrow(0, source, 1)?.squeeze(0)?;
        let saliency = self.saliency(&picture, view)?;
        self.around_peak(&saliency, picture.dim(2)?).mix(view)
    }
}

/// The picture `[H, W, 3]`, 0 to 255, of which `planes` `[3, H, W]` were normalised.
fn bytes(planes: &[f32], Normalisation { mean, std }: &Normalisation) -> Vec<u8> {
    let pixels = planes.len() / 3;
    let mut picture = vec![0; planes.len()];
    for (channel, plane) in planes.chunks(pixels.max(1)).enumerate() {
        for (pixel, value) in plane.iter().enumerate() {
            // The conversion cuts what is below 0 or above 255.
            picture[3 * pixel + channel] = ((value * std[channel] + mean[channel]) * 255.0).round() as u8;
        }
    }
    picture
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Targets;
    use candle_core::Device;

    const NORMALISATION: Normalisation = Normalisation { mean: [0.49, 0.48, 0.44], std: [0.2, 0.24, 0.26] };

    /// The bytes `[12, 20, 3]` of the first or the second picture.
    fn picture(sample: usize) -> Vec<u8> {
        (0..720).map(|i: usize| ((i * i * (sample + 3) + i * 17) % 241) as u8).collect()
    }

    /// Both, normalised.
    fn pictures() -> Result<Tensor> {
        let value = |i: usize| {
            let (sample, channel, pixel) = (i / 720, i / 240 % 3, i % 240);
            let byte = picture(sample)[3 * pixel + channel];
            (f32::from(byte) / 255.0 - NORMALISATION.mean[channel]) / NORMALISATION.std[channel]
        };
        Ok(Tensor::from_vec((0..1440).map(value).collect::<Vec<f32>>(), (2, 3, 12, 20), &Device::Cpu)?)
    }

    #[test]
    fn the_box_is_around_the_peak_of_the_first_partner() -> Result<()> {
        let images = pictures()?;
        let mut view = View::of(&images);
        let plan = |variant| SaliencyMixPlan { lambda: 0.75, partner: vec![1, 0], variant };
        let missing = plan(Variant::Paper).mix(&view).unwrap_err().to_string();
        assert!(missing.contains("normalisation"), "{missing}");
        view.normalisation = Some(NORMALISATION);
        let center = peak(&fine_grained_saliency(&picture(1), [12, 20])?, 20);
        assert_ne!(center, peak(&fine_grained_saliency(&picture(0), [12, 20])?, 20));
        let expected = CutMixPlan { lambda: 0.75, center, partner: vec![1, 0] }.mix(&view)?;
        let differing = |mixed: &Mixed| {
            let [a, b] = [&mixed.images, &expected.images]
                .map(|images| images.flatten_all().and_then(|flat| flat.to_vec1::<f32>()).unwrap());
            a.iter().zip(&b).filter(|(a, b)| a != b).count()
        };
        let mixed = plan(Variant::Paper).mix(&view)?;
        assert_eq!(differing(&mixed), 0);
        let weights = |mixed: &Mixed| match &mixed.targets {
            Targets::Labels { weights, .. } => weights.clone(),
            Targets::Soft(_) => Vec::new(),
        };
        assert_eq!(weights(&mixed), weights(&expected));
        assert!(differing(&plan(Variant::Reference).mix(&view)?) > 0);
        Ok(())
    }

    #[test]
    fn the_normalisation_is_undone_to_the_byte() -> Result<()> {
        let planes: Vec<f32> = pictures()?.get(1)?.flatten_all()?.to_vec1()?;
        assert_eq!(bytes(&planes, &NORMALISATION), picture(1));
        assert_eq!(bytes(&[-9.0, 9.0, f32::NAN], &NORMALISATION), [0, 255, 0]);
        Ok(())
    }

    #[test]
    fn a_picture_without_colours_is_an_error() -> Result<()> {
        let images = Tensor::zeros((1, 1, 4, 4), candle_core::DType::F32, &Device::Cpu)?;
        let plan = SaliencyMixPlan { lambda: 0.5, partner: vec![0], variant: Variant::Reference };
        let message = plan.mix(&View::of(&images)).unwrap_err().to_string();
        assert_eq!(message, "saliency of a picture [1, 4, 4], expected 3 channels");
        Ok(())
    }
}
