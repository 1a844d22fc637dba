//! What every network offers.

use candle_core::{DType, Result, Tensor, bail};

use crate::Pass;

/// A network without its head: a stem, then stages that each give a map, then a pool.
///
/// The parts are separate so that what goes from stage to stage can be taken out, mixed, and put back. It is `[B, ..]` of
/// four dimensions, whatever the network finds best; [`map`](Self::map) shows it as a map.
pub trait Backbone: Send + Sync {
    /// Images `[B, 3, H, W]` to what the first stage reads.
    ///
    /// # Errors
    /// If the shape doesn't fit.
    fn stem(&self, images: &Tensor, pass: &mut Pass) -> Result<Tensor>;

    /// One stage, counted from 0: what the one before it gave to its own. Where that is a map in a type of its own, one of `f32`
    /// does too.
    ///
    /// # Errors
    /// If there is no such stage, or the shape doesn't fit.
    fn stage(&self, index: usize, x: &Tensor, pass: &mut Pass) -> Result<Tensor>;

    /// How many stages there are.
    fn stages(&self) -> usize;

    /// What a stage gave as a map `[B, C, h, w]`, after the last one as the classifier would see it.
    ///
    /// # Errors
    /// If the shape doesn't fit.
    fn map(&self, _stage: usize, hidden: &Tensor) -> Result<Tensor> {
        Ok(hidden.clone())
    }

    /// The map `[B, C, h, w]` that the published experiments show to mixing modules after a stage.
    ///
    /// # Errors
    /// If the shape doesn't fit.
    fn mixing_map(&self, stage: usize, hidden: &Tensor) -> Result<Tensor> {
        self.map(stage, hidden)
    }

    /// Channels of that map, and an image's side divided by its side.
    fn mixing_size(&self, stage: usize) -> (usize, usize) {
        (self.channels(stage), self.stride(stage))
    }

    /// Has what goes from stage to stage computed in a type from now on: `f32`, which networks begin with, or `bf16`. Pictures,
    /// weights, and what pools and [maps](Self::map) give are `f32` in either.
    ///
    /// # Errors
    /// If the network doesn't compute in it: only residual networks do in `bf16`.
    fn compute_in(&mut self, dtype: DType) -> Result<()> {
        match dtype {
            DType::F32 => Ok(()),
            _ => bail!("the network computes in f32 only; residual networks compute in bf16 too"),
        }
    }

    /// What the one classifier is called in the state dict.
    fn head_name(&self) -> &'static str {
        "fc"
    }

    /// The channels of a stage's map.
    fn channels(&self, stage: usize) -> usize;

    /// An image's side divided by the side of a stage's map.
    fn stride(&self, stage: usize) -> usize;

    /// What the last stage gave to the features that heads read, `[B, C]`.
    ///
    /// # Errors
    /// If the shape doesn't fit.
    fn pool(&self, map: &Tensor) -> Result<Tensor>;

    /// The last stage's [map](Self::map), mixed perhaps, to the features that heads read, `[B, C]`.
    ///
    /// # Errors
    /// If the shape doesn't fit, or the features aren't those of a map.
    fn pool_map(&self, map: &Tensor) -> Result<Tensor> {
        self.pool(map)
    }

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
    /// What each stage gave; [`Backbone::map`] shows it as a map.
    pub stages: Vec<Tensor>,
    /// What heads read, `[B, C]`.
    pub pooled: Tensor,
}

/// Whether a name of the state dict is a buffer: a running statistic, or the norm of Swin's mixing map, which no gradient
/// trains and no optimizer moves.
pub fn is_buffer(name: &str) -> bool {
    name.ends_with("running_mean") || name.ends_with("running_var") || name.starts_with("norm2.")
}
