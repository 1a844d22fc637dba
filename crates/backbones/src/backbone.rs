//! What every network offers.

use candle_core::{Result, Tensor};

use crate::Pass;

/// A network without its head: a stem, then stages that each give a map, then a pool.
///
/// The parts are separate so that a hidden map can be taken out, mixed, and put back.
pub trait Backbone: Send + Sync {
    /// Images `[B, 3, H, W]` to the map that the first stage reads.
    ///
    /// # Errors
    /// If the shape doesn't fit.
    fn stem(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor>;

    /// One stage, counted from 0: the map before it to its own `[B, C, h, w]`.
    ///
    /// # Errors
    /// If there is no such stage, or the shape doesn't fit.
    fn stage(&self, index: usize, x: &Tensor, pass: &mut Pass) -> Result<Tensor>;

    /// How many stages there are.
    fn stages(&self) -> usize;

    /// The channels of a stage's map.
    fn channels(&self, stage: usize) -> usize;

    /// An image's side divided by the side of a stage's map.
    fn stride(&self, stage: usize) -> usize;

    /// The last map `[B, C, h, w]` to the features that heads read, `[B, C]`.
    ///
    /// # Errors
    /// If the shape doesn't fit.
    fn pool(&self, map: &Tensor) -> Result<Tensor>;

    /// The whole pass over images `[B, 3, H, W]`.
    ///
    /// # Errors
    /// If the shape doesn't fit.
    fn features(&self, images: &Tensor, pass: &mut Pass) -> Result<Features> {
        let mut map = self.stem(images, pass)?;
        let mut stages = Vec::with_capacity(self.stages());
        for index in 0..self.stages() {
            map = self.stage(index, &map, pass)?;
            stages.push(map.clone());
        }
        Ok(Features { pooled: self.pool(&map)?, stages })
    }
}

/// What a pass gives.
#[derive(Clone, Debug)]
pub struct Features {
    /// The map of each stage, `[B, C, h, w]`.
    pub stages: Vec<Tensor>,
    /// The pooled last map, `[B, C]`.
    pub pooled: Tensor,
}

/// Whether a name of the state dict is a buffer: a running statistic, which no gradient trains and no optimizer moves.
pub fn is_buffer(name: &str) -> bool {
    name.ends_with("running_mean") || name.ends_with("running_var")
}
