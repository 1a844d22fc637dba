//! Boxes and patches chosen by saliency or attention.

use super::Op;

pub(super) const OPS: &[(&str, Op)] = &[];
