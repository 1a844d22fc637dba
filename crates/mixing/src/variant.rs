//! Which of two versions of a method is meant, where its paper and its published code differ.

use serde::{Deserialize, Serialize};

/// A version of a method.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Variant {
    /// What its paper says.
    #[default]
    Paper,
    /// What its published code computes, and so what published results were made with.
    Reference,
}
