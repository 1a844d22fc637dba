//! SnapMix (Huang et al., AAAI 2021): a box of one place and size is pasted into a box of another, and labels weigh as much of
//! their class's evidence as is to be seen.

use crate::aligned::resize_aligned;
use crate::area::{self, Area};
use crate::registry::{Facts, Registered, positive};
use crate::variant::Variant;
use crate::{Error, Mixed, Mixer, Need, Plan, Result, Targets, View, draw};
use adautomix_ops::{Interpolation, interpolate, paste_patches, relu};
use candle_core::Tensor;
use rand::RngCore;
use serde::{Deserialize, Serialize};

/// Two boxes per batch, each from a `lambda` of Beta(a, a) and a uniform centre of its own: what the partner has in the second
/// is resized to the first and pasted there. The two weights of a sample are shares of two different maps, whose sum
/// need not be 1.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct SnapMix {
    /// `a` of Beta(a, a); 5 in the paper, 1 in the published comparison.
    pub beta_parameter: f64,
    /// How pairs of one class are weighed. The paper's equations say nothing special of them; in published code
    /// (`reference`) each of the two labels, which are the same, gets the sum of both weights.
    pub variant: Variant,
}

impl Default for SnapMix {
    fn default() -> Self {
        Self { beta_parameter: 5.0, variant: Variant::Paper }
    }
}

impl Registered for SnapMix {
    const FACTS: Facts = Facts {
        name: "snapmix",
        title: "SnapMix",
        citation: "Huang et al., AAAI 2021, arXiv 2012.04846",
        draws: "two λ of Beta(a, a), two uniform centres and a permutation, per batch",
        cost: "features of the unmixed pictures",
    };
}

impl Mixer for SnapMix {
    fn validate(&self) -> Result<()> {
        positive("beta_parameter", self.beta_parameter)
    }

    fn sample(
        &self,
        batch: usize,
        height: usize,
        width: usize,
        rng: &mut dyn RngCore,
    ) -> Result<Box<dyn Plan>> {
        let lambdas = [draw::beta(self.beta_parameter, rng)?, draw::beta(self.beta_parameter, rng)?];
        let centers = [draw::pixel(height, width, rng), draw::pixel(height, width, rng)];
        let partner = draw::permutation(batch, rng);
        Ok(Box::new(SnapMixPlan { lambdas, centers, partner, variant: self.variant }))
    }
}

/// The draws of [`SnapMix`].
#[derive(Clone, Debug, PartialEq)]
pub struct SnapMixPlan {
    /// The share of a picture that each box leaves, before it is cut: the box in the sample, the box in its partner.
    pub lambdas: [f64; 2],
    /// Their centres, `[row, column]`.
    pub centers: [[usize; 2]; 2],
    /// The partner of each sample.
    pub partner: Vec<u32>,
    /// How pairs of one class are weighed.
    pub variant: Variant,
}

impl SnapMixPlan {
    /// The boxes in the sample and in its partner, cut at the border of a picture of `size` (rows, columns).
    pub fn areas(&self, size: [usize; 2]) -> [Area; 2] {
        [0, 1].map(|i| area::leaving(size, self.lambdas[i], self.centers[i]))
    }

    /// Mixes `images` `[B, C, H, W]` of these labels, given the maps of [`semantic_percent_map`].
    ///
    /// # Errors
    /// If the shapes don't fit.
    pub fn mix_by(&self, images: &Tensor, labels: &[u32], maps: &Tensor) -> Result<Mixed> {
        let (batch, _, height, width) = images.dims4()?;
        if labels.len() != batch || self.partner.len() != batch {
            let expected = format!("as many as the {} labels and partners", labels.len());
            return Err(Error::Shape { what: "pictures", got: images.dims().to_vec(), expected });
        }
        let [to, from] = self.areas([height, width]);
        if [to, from].iter().any(|&area| area::is_empty(area)) {
            let targets = Targets::pairs(&self.partner, vec![[1.0, 0.0]; batch]);
            return Ok(Mixed { images: images.clone(), targets });
        }
        let patches = resize_aligned(&cut(images, 2, from)?, [to[2] - to[0], to[3] - to[1]])?;
        let images = paste_patches(images, &patches, &self.partner, to)?;
        let (lost, gained) = (shares(maps, to)?, shares(maps, from)?);
        let outside = area::weight_outside([height, width], to) as f32;
        let weights = self.partner.iter().enumerate().map(|(i, &partner)| {
            let [own, other] = [1.0 - lost[i], gained[partner as usize]];
            let doubled = self.variant == Variant::Reference && labels[i] == labels[partner as usize];
            let [own, other] = if doubled { [own + other; 2] } else { [own, other] };
            // A constant map has no shares; then labels weigh as many pixels as they have.
            [number_or(own, outside), number_or(other, 1.0 - outside)]
        });
        Ok(Mixed { images, targets: Targets::pairs(&self.partner, weights.collect()) })
    }
}

impl Plan for SnapMixPlan {
    fn needs(&self) -> &'static [Need] {
        &[Need::Head]
    }

    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        let (_, _, height, width) = view.images.dims4()?;
        let labels = view.labels()?;
        let maps = semantic_percent_map(view.features()?, labels, view.head()?, [height, width])?;
        self.mix_by(view.images, labels, &maps)
    }
}

/// How much of the evidence for its class each pixel of a picture has, `[B, H, W]`, which sums to 1: the class activation map
/// of `features` `[B, C, h, w]` for the weight `[K, C]` and the bias `[K]` of `labels`, enlarged to `size` (bilinear), less its
/// minimum, divided by its sum. A constant map gives NaN.
///
/// # Errors
/// If the shapes don't fit or there is no such class.
pub fn semantic_percent_map(
    features: &Tensor,
    labels: &[u32],
    (weight, bias): (&Tensor, &Tensor),
    size: [usize; 2],
) -> Result<Tensor> {
    let (batch, channels, height, width) = features.dims4()?;
    let labels = Tensor::new(labels, features.device())?;
    let weight = weight.index_select(&labels, 0)?.unsqueeze(1)?;
    let bias = bias.index_select(&labels, 0)?.reshape(((), 1, 1))?;
    let features = relu(features)?.reshape((batch, channels, height * width))?;
    let map = weight.matmul(&features)?.broadcast_add(&bias)?.reshape((batch, 1, height, width))?;
    let map = interpolate(&map, Interpolation::Bilinear, size)?.flatten_from(1)?;
    let map = map.broadcast_sub(&map.min_keepdim(1)?)?;
    Ok(map.broadcast_div(&map.sum_keepdim(1)?)?.reshape((batch, size[0], size[1]))?)
}

/// What lies in a box; rows are dimension `rows`, columns the one after.
fn cut(tensor: &Tensor, rows: usize, [row1, column1, row2, column2]: Area) -> Result<Tensor> {
    Ok(tensor.narrow(rows, row1, row2 - row1)?.narrow(rows + 1, column1, column2 - column1)?)
}

/// The share of each map `[B, H, W]` that lies in a box.
fn shares(maps: &Tensor, area: Area) -> Result<Vec<f32>> {
    let total = maps.flatten_from(1)?.sum(1)?;
    let inside = cut(maps, 1, area)?.flatten_from(1)?.sum(1)?;
    Ok((inside / (total + 1e-8)?)?.to_vec1()?)
}

fn number_or(value: f32, otherwise: f32) -> f32 {
    if value.is_nan() { otherwise } else { value }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};

    fn plan(variant: Variant) -> SnapMixPlan {
        SnapMixPlan { lambdas: [0.75, 0.75], centers: [[2, 2], [6, 6]], partner: vec![1, 0], variant }
    }

    fn weights(mixed: &Mixed) -> Vec<f32> {
        let Targets::Labels { weights, .. } = &mixed.targets else { unreachable!() };
        weights.clone()
    }

    /// Two pictures of 8 × 8, the first with all its evidence in the box that is covered, the second with a quarter of it
    /// in the box that is taken.
    fn given() -> Result<(Tensor, Tensor)> {
        let images = Tensor::arange(0f32, 384.0, &Device::Cpu)?.reshape((2, 3, 8, 8))?;
        let mut maps = vec![0f32; 128];
        maps[8 + 1] = 2.0;
        maps[64] = 3.0;
        maps[64 + 5 * 8 + 5] = 1.0;
        Ok((images, Tensor::from_vec(maps, (2, 8, 8), &Device::Cpu)?))
    }

    #[test]
    fn labels_weigh_the_evidence_that_is_seen() -> Result<()> {
        let (images, maps) = given()?;
        let mixed = plan(Variant::Paper).mix_by(&images, &[3, 4], &maps)?;
        assert_eq!(weights(&mixed), [0.0, 0.25, 0.25, 0.0]);
        let [before, after] = [&images, &mixed.images].map(|images| {
            let rows: Vec<Vec<f32>> =
                images.get(0).and_then(|image| image.get(1)).unwrap().to_vec2().unwrap();
            rows
        });
        // Boxes of the same size: rows and columns 0 to 4 are the partner's 4 to 8.
        assert_eq!(
            after[3],
            [[316.0, 317.0, 318.0, 319.0], [before[3][4], before[3][5], before[3][6], before[3][7]]].concat()
        );
        assert_eq!(after[4], before[4]);
        Ok(())
    }

    #[test]
    fn only_the_published_code_doubles_pairs_of_one_class() -> Result<()> {
        let (images, maps) = given()?;
        let of = |variant| plan(variant).mix_by(&images, &[3, 3], &maps).map(|mixed| weights(&mixed));
        assert_eq!(of(Variant::Paper)?, [0.0, 0.25, 0.25, 0.0]);
        assert_eq!(of(Variant::Reference)?, [0.25; 4]);
        Ok(())
    }

    #[test]
    fn a_constant_map_weighs_pixels_and_an_empty_box_changes_nothing() -> Result<()> {
        let (images, _) = given()?;
        let features = Tensor::ones((2, 3, 2, 2), DType::F32, &Device::Cpu)?;
        let head =
            (Tensor::ones((5, 3), DType::F32, &Device::Cpu)?, Tensor::zeros(5, DType::F32, &Device::Cpu)?);
        let mut view = View::of(&images);
        (view.features, view.head, view.labels) =
            (Some(&features), Some((&head.0, &head.1)), Some([0, 4].as_slice()));
        assert_eq!(weights(&plan(Variant::Paper).mix(&view)?), [0.75, 0.25, 0.75, 0.25]);
        let mixed = SnapMixPlan { lambdas: [0.75, 1.0], ..plan(Variant::Paper) }.mix(&view)?;
        assert_eq!(weights(&mixed), [1.0, 0.0, 1.0, 0.0]);
        assert_eq!(mixed.images.flatten_all()?.to_vec1::<f32>()?, images.flatten_all()?.to_vec1::<f32>()?);
        Ok(())
    }
}
