//! Co-Mixup: a batch mixed as a whole.

use super::Op;

pub(super) const OPS: &[(&str, Op)] = &[];
