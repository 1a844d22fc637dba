//! Attentive CutMix (Walawalkar et al., ICASSP 2020): the cells that a network looks at most are kept, the rest is the partner.

use crate::cells;
use crate::registry::{Facts, Registered, positive, within};
use crate::variant::Variant;
use crate::{Mixed, Mixer, Need, Plan, Result, Targets, View, draw};
use candle_core::Tensor;
use rand::RngCore;
use serde::{Deserialize, Serialize};

/// Of each sample the cells with the largest mean feature stay, on the background of its partner. A cell is one position of
/// the network's last map, as many pixels as lie under it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct AttentiveMix {
    /// `a` of Beta(a, a), where the number of cells is drawn.
    pub beta_parameter: f64,
    /// How many cells stay; 6 of 49 in the paper. Without it, a share `lambda` of Beta(a, a) of them, drawn per batch: the
    /// published comparison's way.
    pub top_k: Option<usize>,
    /// Whether labels weigh what is to be seen of each sample, or all what is to be seen of the first one (`reference`): the
    /// two differ where the cells don't divide the picture.
    pub label: Variant,
}

impl Default for AttentiveMix {
    fn default() -> Self {
        Self { beta_parameter: 2.0, top_k: None, label: Variant::Paper }
    }
}

impl Registered for AttentiveMix {
    const FACTS: Facts = Facts {
        name: "attentivemix",
        title: "AttentiveMix",
        citation: "Walawalkar et al., ICASSP 2020, arXiv 2003.13048",
        draws: "a permutation per batch, and λ of Beta(a, a) unless `top_k` is given",
        cost: "features of the unmixed pictures",
    };
}

impl Mixer for AttentiveMix {
    fn validate(&self) -> Result<()> {
        positive("beta_parameter", self.beta_parameter)?;
        let top_k = self.top_k.unwrap_or(1);
        within("top_k", top_k as f64, top_k > 0, "at least 1")
    }

    fn sample(&self, batch: usize, _: usize, _: usize, rng: &mut dyn RngCore) -> Result<Box<dyn Plan>> {
        let kept = match self.top_k {
            Some(cells) => Kept::Cells(cells),
            None => Kept::Share(draw::beta(self.beta_parameter, rng)?),
        };
        Ok(Box::new(AttentiveMixPlan { kept, partner: draw::permutation(batch, rng), label: self.label }))
    }
}

/// How much of a sample stays.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kept {
    /// So many cells, or all if there are fewer.
    Cells(usize),
    /// This share of the cells, rounded down, and at least one.
    Share(f64),
}

impl Kept {
    /// Of `cells` cells.
    fn of(self, cells: usize) -> usize {
        match self {
            Self::Cells(kept) => kept.min(cells),
            Self::Share(lambda) => ((cells as f64 * lambda) as usize).clamp(1, cells),
        }
    }
}

/// The draws of [`AttentiveMix`].
#[derive(Clone, Debug, PartialEq)]
pub struct AttentiveMixPlan {
    /// How much of a sample stays.
    pub kept: Kept,
    /// The partner of each sample.
    pub partner: Vec<u32>,
    /// Whose mask weighs the labels.
    pub label: Variant,
}

impl AttentiveMixPlan {
    /// The masks `[B, 1, H, W]` of what stays of each sample.
    ///
    /// # Errors
    /// If the view has no features of these pictures.
    pub fn mask(&self, view: &View<'_>) -> Result<Tensor> {
        // The cells with the largest sums are those with the largest means.
        let (attention, grid) = cells::channel_sums(view.features()?, view.images.dim(0)?)?;
        let kept = self.kept.of(grid[0] * grid[1]);
        let own = attention.iter().flat_map(|map| largest(map, kept)).collect();
        cells::enlarged(own, grid, view.images)
    }
}

impl Plan for AttentiveMixPlan {
    fn needs(&self) -> &'static [Need] {
        &[Need::Features]
    }

    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        let mixed = cells::blend(view.images, &self.partner, &self.mask(view)?)?;
        let targets = match (self.label, mixed.own.first()) {
            (Variant::Reference, Some(&first)) => Targets::pair(&self.partner, first),
            _ => Targets::pairs(
                &self.partner,
                mixed.own.iter().map(|own| [*own, 1.0 - own].map(|weight| weight as f32)).collect(),
            ),
        };
        Ok(Mixed { images: mixed.images, targets })
    }
}

/// 1 for the `count` largest values, 0 for the others; of equal values the first ones count as larger.
fn largest(values: &[f32], count: usize) -> Vec<f32> {
    let mut order: Vec<usize> = (0..values.len()).collect();
    order.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
    let mut chosen = vec![0.0; values.len()];
    order.iter().take(count).for_each(|&at| chosen[at] = 1.0);
    chosen
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    /// Two pictures of 5 × 3 pixels, one of zeros and one of ones, and their features of 2 × 2 cells.
    fn mixed(kept: Kept, label: Variant) -> Result<(Vec<f32>, Vec<f32>)> {
        let device = &Device::Cpu;
        let images = Tensor::new(&[0f32, 1.0], device)?.reshape((2, 1, 1, 1))?.broadcast_as((2, 3, 5, 3))?;
        let features = [[[0f32, 1.0], [4.0, 1.0]], [[0.0, 3.0], [0.0, 1.0]], [[9.0, 0.0], [1.0, 0.0]]];
        let features = Tensor::new(&features, device)?.reshape((2, 3, 2, 1))?;
        let mut view = View::of(&images);
        view.features = Some(&features);
        let mixed = AttentiveMixPlan { kept, partner: vec![1, 0], label }.mix(&view)?;
        let Targets::Labels { weights, .. } = mixed.targets else { unreachable!() };
        Ok((mixed.images.narrow(1, 0, 1)?.flatten_all()?.to_vec1()?, weights))
    }

    #[test]
    fn labels_weigh_what_stays_of_each_sample() -> Result<()> {
        // Two cells above each other: of 5 rows the upper one has 3.
        let (pixels, weights) = mixed(Kept::Cells(1), Variant::Paper)?;
        assert_eq!(pixels[..15], [[1.0; 9].as_slice(), &[0.0; 6]].concat());
        assert_eq!(pixels[15..], [[1.0; 9].as_slice(), &[0.0; 6]].concat());
        assert_eq!(weights, [0.4, 0.6, 0.6, 0.4]);
        let (_, weights) = mixed(Kept::Cells(1), Variant::Reference)?;
        assert_eq!(weights, [0.4, 0.6]);
        Ok(())
    }

    #[test]
    fn at_least_one_cell_stays_and_at_most_all() -> Result<()> {
        assert_eq!(mixed(Kept::Share(0.0), Variant::Paper)?, mixed(Kept::Cells(1), Variant::Paper)?);
        let (pixels, weights) = mixed(Kept::Share(1.0), Variant::Paper)?;
        assert_eq!(pixels, [[0.0; 15], [1.0; 15]].concat());
        assert_eq!(weights, [1.0, 0.0, 1.0, 0.0]);
        assert_eq!(mixed(Kept::Cells(7), Variant::Paper)?, (pixels, weights));
        assert!(AttentiveMix { top_k: Some(0), ..AttentiveMix::default() }.validate().is_err());
        Ok(())
    }
}
