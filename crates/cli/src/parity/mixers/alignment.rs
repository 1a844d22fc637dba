//! AlignMix: features brought into line before they are mixed.

use super::Op;

pub(super) const OPS: &[(&str, Op)] = &[];
