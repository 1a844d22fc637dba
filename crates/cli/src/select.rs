//! The arguments that select a recipe and change single keys of it.

use std::path::PathBuf;

use adautomix_recipes::{Library, Override, Recipe};
use anyhow::Result;

/// Which recipe, and what is laid over it.
#[derive(clap::Args, Clone, Debug, Default)]
pub(crate) struct Selection {
    /// Look up recipes in this folder instead of those in the program.
    #[arg(long, value_name = "DIR")]
    recipes: Option<PathBuf>,
    /// Set a key of the recipe, as `training.epochs=10`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE")]
    overrides: Vec<Override>,
    /// Another data set: `synthetic`, `cifar10`, `cifar100`.
    #[arg(long)]
    dataset: Option<String>,
    /// Another number of epochs.
    #[arg(long, conflicts_with = "steps")]
    epochs: Option<usize>,
    /// A number of steps, instead of epochs.
    #[arg(long)]
    steps: Option<usize>,
    /// Another batch size.
    #[arg(long)]
    batch_size: Option<usize>,
    /// Another seed.
    #[arg(long)]
    seed: Option<u64>,
}

impl Selection {
    /// Lays another value over a key, after all others.
    pub(crate) fn set(&mut self, key: &str, value: &str) -> Result<()> {
        self.overrides.push(Override::new(key, value)?);
        Ok(())
    }

    /// The recipe of a name or file, with everything laid over it.
    pub(crate) fn load(&self, recipe: &str) -> Result<Recipe> {
        let mut overrides = self.overrides.clone();
        if let Some(dataset) = &self.dataset {
            overrides.push(Override::new("data.name", dataset.as_str())?);
        }
        let numbers = [
            ("training.epochs", self.epochs.map(|n| n as i64)),
            ("training.steps", self.steps.map(|n| n as i64)),
            ("training.batch_size", self.batch_size.map(|n| n as i64)),
            ("training.seed", self.seed.map(|n| n as i64)),
        ];
        for (key, number) in numbers {
            if let Some(number) = number {
                overrides.push(Override::new(key, number)?);
            }
        }
        let library = self.recipes.as_ref().map_or_else(Library::embedded, Library::folder);
        Ok(library.load(recipe, &overrides)?)
    }
}
