//! What a recipe is expected to reach, and where that figure is published.

use serde::{Deserialize, Serialize};

/// A published figure that the recipe is meant to reproduce.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// The paper's table; none where the figure stands on the authors' or OpenMixup's pages only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub table: Option<u32>,
    /// The row's heading: the method.
    pub row: String,
    /// The column's heading, as `CIFAR100/ResNet18`.
    pub column: String,
    /// The figure.
    pub value: f64,
    /// Its unit.
    pub unit: String,
    /// Length of the run that gave it.
    pub epochs: usize,
    /// The head whose accuracy it is.
    pub head: Head,
    /// The network whose accuracy it is.
    pub network: ClaimedNetwork,
    /// How one figure was made of the epochs'.
    pub statistic: Statistic,
    /// Where it, and the settings behind it, were published.
    pub source: String,
}

/// One of a network's heads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Head {
    /// The head trained on unmixed pictures with one-hot labels; the only one where there is one.
    One,
    /// The head trained on mixed pictures.
    Mix,
}

/// One of a run's two networks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum ClaimedNetwork {
    /// The network that the optimizer trains.
    Student,
    /// Its moving average.
    Teacher,
}

/// How one figure is made of the figures of all epochs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Statistic {
    /// The last epoch's.
    Last,
    /// The highest, chosen on the test pictures.
    Best,
    /// The median of the last ten epochs.
    #[serde(rename = "median_last10")]
    MedianLast10,
}
