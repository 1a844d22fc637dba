//! Label rules for vision transformers.

use super::Op;

pub(super) const OPS: &[(&str, Op)] = &[];
