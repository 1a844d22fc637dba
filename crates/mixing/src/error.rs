//! What can go wrong before anything is mixed.

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A mix that can't be made as asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The mixing ratios don't sum to 1, or one isn't a number.
    #[error("mixing ratios {lambdas:?} sum to {}, expected 1", lambdas.iter().sum::<f64>())]
    LambdaSum {
        /// The ratios.
        lambdas: Vec<f64>,
    },
    /// A mix of one image or none.
    #[error("a mix of {0} images, expected at least 2")]
    TooFewImages(usize),
    /// Not as many ratios as images.
    #[error("{lambdas} mixing ratios for {images} images")]
    LambdaCount {
        /// How many ratios there are.
        lambdas: usize,
        /// How many images a sample is mixed of.
        images: usize,
    },
    /// A number out of its range.
    #[error("`{name}` is {value}, expected {expected}")]
    Parameter {
        /// The parameter's name.
        name: &'static str,
        /// What it is.
        value: f64,
        /// What it should be.
        expected: &'static str,
    },
    /// A tensor of the wrong shape.
    #[error("{what} {got:?}, expected {expected}")]
    Shape {
        /// Which tensor.
        what: &'static str,
        /// Its shape.
        got: Vec<usize>,
        /// What it should be.
        expected: String,
    },
    /// A margin rule for another number of images.
    #[error("margin rule `{rule}` is for {expected} images, got {images}")]
    MarginRule {
        /// The rule's name.
        rule: &'static str,
        /// How many images it is for.
        expected: &'static str,
        /// How many there are.
        images: usize,
    },
    /// A mixer looks at something that the training step hasn't computed.
    #[error("the mixer looks at {0}, which the step doesn't give")]
    Unseen(&'static str),
    /// Parameters that a mixer can't read.
    #[error("mixer `{mixer}`: {reason}")]
    Parameters {
        /// The mixer.
        mixer: &'static str,
        /// What is wrong with which parameter.
        reason: String,
    },
    /// A name that isn't known.
    #[error("{what} `{name}` is unknown, expected one of {known}")]
    Unknown {
        /// What should have this name.
        what: String,
        /// The name.
        name: String,
        /// The names that exist.
        known: String,
    },
    /// An operation on tensors failed.
    #[error(transparent)]
    Tensor(#[from] candle_core::Error),
}
