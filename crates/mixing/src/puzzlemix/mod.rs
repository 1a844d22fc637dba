//! PuzzleMix (Kim, Choo and Song, ICML 2020): each block of the mix shows the picture that is salient there, and salient
//! blocks are moved to where their picture is shown.
//!
//! The graph cut and the transport are computed on the host, sample by sample in parallel, and so is the mix: on another
//! device the batch and its gradient are copied.

pub mod blocks;
pub mod mask;
pub mod transport;
pub mod unary;

use crate::registry::{Facts, Registered, positive, share, within};
use crate::swap::Solver;
use crate::{Error, Mixed, Mixer, Need, Plan, Result, Targets, View, draw};
use candle_core::Tensor;
use rand::{Rng, RngCore};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use transport::Step;

/// Blocks of two pictures, chosen by saliency (the gradient of the loss), the smoothness of the choice, and a share of
/// Beta(a, a).
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct PuzzleMix {
    /// `a` of Beta(a, a).
    pub beta_parameter: f64,
    /// How many blocks a side of the picture may be divided into; one is drawn for each batch.
    pub block_counts: Vec<usize>,
    /// What neighbours with different labels cost.
    pub beta: f64,
    /// What colours that differ across the edge of two blocks cost, as a share of `beta`.
    pub gamma: f64,
    /// How much the drawn share counts.
    pub eta: f64,
    /// The side of the cells whose mean colours are compared across edges, in pixels; where it doesn't divide a block, the
    /// next smaller number that does.
    pub neighbourhood: usize,
    /// How many shares of the partner a block may show, from 0 to 1.
    pub labels: usize,
    /// Whether blocks are moved.
    pub transport: bool,
    /// The side of the blocks that are moved, in pixels, as `neighbourhood`; -1: the blocks of the cut.
    pub transport_size: i64,
    /// What moving a block across the picture costs.
    pub transport_eps: f64,
}

impl Default for PuzzleMix {
    fn default() -> Self {
        Self {
            beta_parameter: 1.0,
            block_counts: vec![2, 4, 8, 16],
            beta: 1.2,
            gamma: 0.5,
            eta: 0.2,
            neighbourhood: 4,
            labels: 3,
            transport: true,
            transport_size: 4,
            transport_eps: 0.8,
        }
    }
}

impl Registered for PuzzleMix {
    const FACTS: Facts = Facts {
        name: "puzzlemix",
        title: "PuzzleMix",
        citation: "Kim, Choo and Song, ICML 2020, arXiv 2009.06962",
        draws: "λ of Beta(a, a), how many blocks a side has, and a permutation, per batch",
        cost: "a pass forward and backward over the unmixed pictures; cuts and transport on the host",
    };
}

impl Mixer for PuzzleMix {
    fn validate(&self) -> Result<()> {
        positive("beta_parameter", self.beta_parameter)?;
        for (name, value) in [("beta", self.beta), ("eta", self.eta), ("transport_eps", self.transport_eps)] {
            within(name, value, value >= 0.0 && value.is_finite(), "a number that is not negative")?;
        }
        share("gamma", self.gamma)?;
        within("neighbourhood", self.neighbourhood as f64, self.neighbourhood > 0, "a positive number")?;
        within("labels", self.labels as f64, (2..=16).contains(&self.labels), "2 to 16")?;
        let counts = &self.block_counts;
        within("block_counts", counts.len() as f64, !counts.is_empty(), "at least one number of blocks")?;
        let wrong = counts.iter().find(|count| !(1..=64).contains(*count));
        wrong.map_or(Ok(()), |&count| within("block_counts", count as f64, false, "1 to 64"))
    }

    fn sample(
        &self,
        batch: usize,
        height: usize,
        width: usize,
        rng: &mut dyn RngCore,
    ) -> Result<Box<dyn Plan>> {
        let size_error =
            |expected: String| Error::Shape { what: "pictures", got: vec![height, width], expected };
        if height != width {
            return Err(size_error("a square".to_owned()));
        }
        let lambda = draw::beta(self.beta_parameter, rng)?;
        let fitting: Vec<usize> =
            self.block_counts.iter().copied().filter(|&count| height.is_multiple_of(count)).collect();
        if height == 0 || fitting.is_empty() {
            return Err(size_error(format!("a side that one of {:?} divides", self.block_counts)));
        }
        let block_count = fitting[rng.random_range(0..fitting.len())];
        let partner = draw::permutation(batch, rng);
        Ok(Box::new(PuzzleMixPlan { mixer: self.clone(), lambda, block_count, partner }))
    }
}

/// The draws of [`PuzzleMix`].
#[derive(Clone, Debug)]
pub struct PuzzleMixPlan {
    /// The method with its parameters.
    pub mixer: PuzzleMix,
    /// The share that samples should keep.
    pub lambda: f64,
    /// How many blocks a side has; it divides the side of the pictures.
    pub block_count: usize,
    /// The partner of each sample.
    pub partner: Vec<u32>,
}

impl Plan for PuzzleMixPlan {
    fn needs(&self) -> &'static [Need] {
        &[Need::Gradient]
    }

    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        let (mixed, masks) = self.mix_with_masks(view)?;
        let weight = |mask: &Vec<f32>| mask.iter().sum::<f32>() / mask.len() as f32;
        let weights = masks.iter().map(|mask| [weight(mask), 1.0 - weight(mask)]).collect();
        Ok(Mixed { images: mixed, targets: Targets::pairs(&self.partner, weights) })
    }
}

impl PuzzleMixPlan {
    /// The mixed pictures, and the mask of each by blocks, `[B, B]`: how much of the sample it shows.
    ///
    /// # Errors
    /// As [`Plan::mix`].
    pub fn mix_with_masks(&self, view: &View<'_>) -> Result<(Tensor, Vec<Vec<f32>>)> {
        let grid = self.grid(view)?;
        let images: Vec<f32> = view.images.flatten_all()?.to_vec1()?;
        let gradient: Vec<f32> = view.gradient()?.flatten_all()?.to_vec1()?;
        let deviations = view.normalisation()?.std;
        let picture = grid.channels * grid.side * grid.side;
        let pictures: Vec<Picture<'_>> = images
            .par_chunks_exact(picture)
            .zip(gradient.par_chunks_exact(picture))
            .map(|(image, gradient)| grid.look(image, gradient, deviations))
            .collect();
        let table = mask::distances(self.mixer.labels);
        let steps = match self.mixer.transport {
            true => transport::steps(grid.places, self.mixer.transport_eps),
            false => Vec::new(),
        };
        let mut mixed = vec![0f32; images.len()];
        let masks = mixed.par_chunks_exact_mut(picture).zip(&pictures).zip(&self.partner).map_init(
            Solver::default,
            |solver, ((mixed, own), &partner)| {
                let pair = [own, &pictures[partner as usize]];
                let mask = self.mask(pair, &grid, solver, &table)?;
                let sources = match self.mixer.transport {
                    true => grid.transported(pair, &mask, &steps),
                    false => [grid.unmoved(), grid.unmoved()],
                };
                grid.blend(mixed, pair.map(|picture| picture.image), &mask, &sources);
                Ok(mask)
            },
        );
        let masks = masks.collect::<Result<Vec<_>>>()?;
        Ok((Tensor::from_vec(mixed, view.images.dims(), view.images.device())?, masks))
    }

    /// The geometry of a batch.
    fn grid(&self, view: &View<'_>) -> Result<Grid> {
        let (batch, channels, height, side) = view.images.dims4()?;
        let blocks = self.block_count;
        if height != side || blocks == 0 || !side.is_multiple_of(blocks) || channels != 3 {
            let expected = format!("RGB, square, with a side that {blocks} divides");
            return Err(Error::Shape { what: "pictures", got: view.images.dims().to_vec(), expected });
        }
        if self.partner.len() != batch || self.partner.iter().any(|&partner| partner as usize >= batch) {
            let expected = format!("a partner for each of {batch} pictures, among them");
            return Err(Error::Shape { what: "partners", got: vec![self.partner.len()], expected });
        }
        let gradient = view.gradient()?.dims();
        if gradient != view.images.dims() {
            let expected = format!("{:?}, as the pictures", view.images.dims());
            return Err(Error::Shape { what: "gradient", got: gradient.to_vec(), expected });
        }
        let block = side / blocks;
        let cell = blocks::divisor(block, self.mixer.neighbourhood);
        let places = match usize::try_from(self.mixer.transport_size) {
            Ok(size @ 1..) if self.mixer.transport => side / blocks::divisor(block, size),
            _ => blocks,
        };
        Ok(Grid { channels, side, blocks, cells: side / cell, places })
    }

    /// How much of the sample each block shows, `[B, B]`.
    fn mask(
        &self,
        [own, partner]: [&Picture<'_>; 2],
        grid: &Grid,
        solver: &mut Solver,
        table: &[i64],
    ) -> Result<Vec<f32>> {
        let PuzzleMix { beta, gamma, eta, labels, .. } = self.mixer;
        let smoothness = beta / grid.blocks as f64 / 16.0;
        let [saliency, cells] = [[&own.saliency, &partner.saliency], [&own.cells, &partner.cells]];
        let terms = unary::terms(
            saliency.map(Vec::as_slice),
            cells.map(Vec::as_slice),
            grid.channels,
            grid.blocks,
            smoothness * gamma,
        );
        let costs = mask::costs(&terms, self.lambda, grid.blocks, labels, smoothness, eta);
        let (found, _) = mask::cut(solver, &costs, grid.blocks, labels, table)?;
        Ok(mask::shown(&found, labels))
    }
}

/// What is known of one picture.
struct Picture<'a> {
    image: &'a [f32],
    /// By blocks, sums to 1.
    saliency: Vec<f32>,
    /// By the blocks that are moved, sums to 1.
    worth: Vec<f32>,
    /// The mean colours of cells, on a scale from 0 to 1 but for a constant, `[C, cells, cells]`.
    cells: Vec<f32>,
}

/// How pictures `[channels, side, side]` are divided: each number is how many there are along a side.
struct Grid {
    channels: usize,
    side: usize,
    blocks: usize,
    cells: usize,
    /// The blocks that are moved: each block of the cut is as many whole ones.
    places: usize,
}

impl Grid {
    fn look<'a>(&self, image: &'a [f32], gradient: &[f32], deviations: [f32; 3]) -> Picture<'a> {
        let size = [self.side; 2];
        let saliency = blocks::saliency(gradient, self.channels);
        let by = |blocks| blocks::shares(blocks::pooled(&saliency, size, [blocks; 2]));
        let cells = blocks::colours(image, self.side, self.cells, deviations);
        Picture { image, saliency: by(self.blocks), worth: by(self.places), cells }
    }

    /// The place in the mask of each place of a block that may move.
    fn block_of(&self, place: usize) -> usize {
        let each = self.places / self.blocks;
        place / self.places / each * self.blocks + place % self.places / each
    }

    fn unmoved(&self) -> Vec<Option<usize>> {
        (0..self.places * self.places).map(Some).collect()
    }

    /// The block of each picture that each place shows.
    fn transported(
        &self,
        [own, partner]: [&Picture<'_>; 2],
        mask: &[f32],
        steps: &[Step],
    ) -> [Vec<Option<usize>>; 2] {
        let shown: Vec<f32> =
            (0..self.places * self.places).map(|place| mask[self.block_of(place)]).collect();
        let hidden: Vec<f32> = shown.iter().map(|shown| 1.0 - shown).collect();
        [(shown, own), (hidden, partner)].map(|(shown, picture)| {
            transport::sources(&transport::plan(&shown, &picture.worth, steps), &shown)
        })
    }

    /// `mask · images[0] + (1 - mask) · images[1]`, each of its blocks.
    fn blend(&self, mixed: &mut [f32], images: [&[f32]; 2], mask: &[f32], sources: &[Vec<Option<usize>>; 2]) {
        let kept = |place: usize| mask[self.block_of(place)];
        transport::add(mixed, images[0], &sources[0], self.side, kept);
        transport::add(mixed, images[1], &sources[1], self.side, |place| 1.0 - kept(place));
    }
}

#[cfg(test)]
mod tests;
