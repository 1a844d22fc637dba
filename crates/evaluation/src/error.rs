//! What can go wrong in an evaluation.

/// The result of this crate's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error of an evaluation, in one line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A setting that is out of range.
    #[error("{name} is {found}, expected {expected}")]
    Setting {
        /// The setting.
        name: &'static str,
        /// Its value.
        found: String,
        /// The values that are possible.
        expected: String,
    },
    /// The network's loss doesn't depend on its pictures.
    #[error("the loss has no gradient at the pictures, so they can't be attacked")]
    NoGradient,
    /// A run could not be read.
    #[error(transparent)]
    Training(#[from] adautomix_training::Error),
    /// The data could not be read.
    #[error(transparent)]
    Data(#[from] adautomix_datasets::Error),
    /// An operation on tensors failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}

impl Error {
    /// A setting that is not what it must be.
    pub(crate) fn setting(
        name: &'static str,
        found: impl std::fmt::Debug,
        expected: impl Into<String>,
    ) -> Self {
        Self::Setting { name, found: format!("{found:?}"), expected: expected.into() }
    }
}
