//! TransMix (Chen et al., CVPR 2022): CutMix, whose labels weigh as much as the network attends to what they stand for.

use crate::area::Area;
use crate::cutmix::{CutMix, CutMixPlan};
use crate::registry::{Facts, Registered, share};
use crate::tokens::{ClassAttention, cell};
use crate::{Mixed, Mixer, Need, Plan, Result, Targets, View};
use rand::RngCore;
use serde::{Deserialize, Serialize};

/// CutMix's pictures. The sample's label weighs `ratio · area + (1 - ratio) · attention`: the share of pixels that are its
/// own, and the share of the class token's attention, in the mixed picture, that goes to its own tokens. A token belongs
/// to the picture of its upper left pixel.
///
/// The paper has the attention alone (its Eq. 4); its authors' code, and published comparisons, the mean of the two
/// (`ratio` 0.5).
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct TransMix {
    /// `a` of Beta(a, a).
    pub beta_parameter: f64,
    /// How much of a weight is the share of pixels.
    pub ratio: f64,
}

impl Default for TransMix {
    fn default() -> Self {
        Self { beta_parameter: 1.0, ratio: 0.0 }
    }
}

impl Registered for TransMix {
    const FACTS: Facts = Facts {
        name: "transmix",
        title: "TransMix",
        citation: "Chen et al., CVPR 2022, arXiv 2111.09833",
        draws: "as CutMix: λ of Beta(a, a), a uniform centre and a permutation without fixed points, per batch",
        cost: "nothing: the attention is that of the pass over the mixed pictures",
    };
}

impl TransMix {
    fn cutmix(&self) -> CutMix {
        CutMix { beta_parameter: self.beta_parameter }
    }
}

impl Mixer for TransMix {
    fn validate(&self) -> Result<()> {
        self.cutmix().validate()?;
        share("ratio", self.ratio)
    }

    fn sample(
        &self,
        batch: usize,
        height: usize,
        width: usize,
        rng: &mut dyn RngCore,
    ) -> Result<Box<dyn Plan>> {
        let cutmix = self.cutmix().draw(batch, height, width, rng)?;
        Ok(Box::new(TransMixPlan { cutmix, ratio: self.ratio }))
    }
}

/// The draws of [`TransMix`].
#[derive(Clone, Debug, PartialEq)]
pub struct TransMixPlan {
    /// Box and partners.
    pub cutmix: CutMixPlan,
    /// How much of a weight is the share of pixels.
    pub ratio: f64,
}

/// The weight of each sample's own label, `[B]`, where `area` of pictures of `size` (rows, columns) is the partner's and
/// `lambda` the share of pixels that is not.
pub fn weights(
    attention: &ClassAttention,
    size: [usize; 2],
    [row1, column1, row2, column2]: Area,
    lambda: f64,
    ratio: f64,
) -> Vec<f64> {
    let own = |token: [usize; 2]| {
        let [row, column] = cell(token, attention.grid(), size);
        !((row1..row2).contains(&row) && (column1..column2).contains(&column))
    };
    let weight = |sample| ratio * lambda + (1.0 - ratio) * attention.share(sample, own, lambda);
    (0..attention.batch()).map(weight).collect()
}

impl Plan for TransMixPlan {
    fn needs(&self) -> &'static [Need] {
        &[Need::MixedAttention]
    }

    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        self.cutmix.mix(view)
    }

    fn relabels(&self) -> bool {
        true
    }

    fn relabel(&self, _: Targets, _: &View<'_>, mixed: &View<'_>) -> Result<Targets> {
        let (_, _, height, width) = mixed.images.dims4()?;
        let attention = ClassAttention::of(mixed.attention()?, mixed.images)?;
        let (area, lambda) = self.cutmix.area([height, width]);
        let own = weights(&attention, [height, width], area, lambda, self.ratio);
        Ok(Targets::shares(&self.cutmix.partner, own))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device, Tensor};

    #[test]
    fn the_label_weighs_what_is_attended_to() -> Result<()> {
        // All attention is on the upper left of four tokens, which comes from the partner.
        let mut map = vec![0f32; 25];
        map[1] = 1.0;
        let attention = Tensor::from_vec(map, (1, 1, 5, 5), &Device::Cpu)?;
        let images = Tensor::zeros((1, 3, 8, 8), DType::F32, &Device::Cpu)?;
        let mut seen = View::of(&images);
        seen.attention = Some(&attention);
        let cutmix = CutMixPlan { lambda: 0.75, center: [2, 2], partner: vec![0] };
        let own = |ratio| {
            let plan = TransMixPlan { cutmix: cutmix.clone(), ratio };
            let mixed = plan.mix(&View::of(&images)).unwrap();
            match plan.relabel(mixed.targets, &View::of(&images), &seen).unwrap() {
                Targets::Labels { weights, .. } => weights,
                Targets::Soft(_) => Vec::new(),
            }
        };
        assert_eq!(own(0.0), [0.0, 1.0]);
        assert_eq!(own(0.5), [0.375, 0.625]);
        assert_eq!(own(1.0), [0.75, 0.25]);
        let plan = TransMixPlan { cutmix, ratio: 0.5 };
        let targets = plan.mix(&View::of(&images))?.targets;
        let error = plan.relabel(targets, &View::of(&images), &View::of(&images)).unwrap_err();
        assert_eq!(error.to_string(), "the mixer looks at attention maps, which the step doesn't give");
        Ok(())
    }
}
