//! Networks of a run that was trained before.

use std::path::Path;

use adautomix_recipes::Recipe;
use candle_core::Device;

use crate::checkpoint::{self, Progress};
use crate::method::{self, Method};
use crate::{Error, Result};

/// A run's networks, restored from a checkpoint.
pub struct Loaded {
    /// The recipe that they were trained with.
    pub recipe: Recipe,
    /// Classes that they tell apart.
    pub classes: usize,
    /// The method with its networks.
    pub method: Box<dyn Method>,
    /// Steps that had been made.
    pub steps: usize,
}

/// Restores the networks of the run in a folder from `last`, `best` or, where they are kept, `epoch-N`.
///
/// # Errors
/// If the folder holds no such checkpoint, or one that doesn't fit the run's recipe.
pub fn load(run: &Path, checkpoint: &str, device: &Device) -> Result<Loaded> {
    let path = run.join("recipe.toml");
    let text = std::fs::read_to_string(&path).map_err(Error::at(&path))?;
    let recipe = Recipe::from_toml(&text, &path.display().to_string())?;
    let path = checkpoint::path(run, checkpoint);
    let Progress { classes, steps, .. } = checkpoint::progress(&path)?;
    let method = method::build(&recipe, classes, steps.max(1), device)?;
    checkpoint::restore_networks(&path, &method::tensors(&*method))?;
    Ok(Loaded { recipe, classes, method, steps })
}
