//! PuzzleMix: the cut, the transport, the mix.

use super::Op;

pub(super) const OPS: &[(&str, Op)] = &[];
