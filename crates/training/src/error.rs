//! What can go wrong in a run.

use std::path::{Path, PathBuf};

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of training, in one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// What was being read or written.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A checkpoint doesn't fit the network, or isn't one.
    #[error("{}: {reason}", path.display())]
    Checkpoint {
        /// The checkpoint.
        path: PathBuf,
        /// What was found, and what was expected.
        reason: String,
    },
    /// A folder already holds a run.
    #[error("{}: already holds a run; resume it, or choose another folder", .0.display())]
    Occupied(PathBuf),
    /// A run was resumed with another recipe.
    #[error("{}: made with another recipe; {difference}", path.display())]
    OtherRecipe {
        /// The recipe of the run.
        path: PathBuf,
        /// The first line in which they differ.
        difference: String,
    },
    /// A loss stopped being a number.
    #[error("step {step}: the loss `{loss}` is {value}; the last checkpoint is kept")]
    NotFinite {
        /// The step, counted from 0.
        step: usize,
        /// Which loss.
        loss: &'static str,
        /// Its value.
        value: f64,
    },
    /// A variable has no gradient after the first backward pass, so it would never learn.
    #[error("`{variable}` has {found} after the first backward pass; expected a finite gradient")]
    NoGradient {
        /// The variable's name.
        variable: String,
        /// What there is instead.
        found: &'static str,
    },
    /// The recipe asks for what does not go together.
    #[error("recipe: {0}")]
    Recipe(String),
    /// The data could not be read.
    #[error(transparent)]
    Data(#[from] adautomix_datasets::Error),
    /// A mix could not be made.
    #[error(transparent)]
    Mixing(#[from] adautomix_mixing::Error),
    /// A recipe could not be read.
    #[error(transparent)]
    RecipeFile(#[from] adautomix_recipes::Error),
    /// An operation on tensors failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// Names the file of an input or output error.
    pub(crate) fn at(path: &Path) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.to_owned();
        move |source| Self::File { path, source }
    }
}
