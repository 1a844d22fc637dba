//! Which definition of a method, where its published code isn't what its paper says.

use serde::{Deserialize, Serialize};

/// What a method computes where paper and published code differ; its page says how they do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// What the paper says.
    #[default]
    Paper,
    /// What the published code computes, with which the published results were made.
    Reference,
}
