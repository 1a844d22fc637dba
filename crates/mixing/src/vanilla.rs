//! No mixing at all: the baseline.

use crate::registry::{Facts, Registered};
use crate::{Mixed, Mixer, Plan, Result, Targets, View};
use rand::RngCore;
use serde::{Deserialize, Serialize};

/// Leaves pictures and labels as they are.
#[derive(Clone, Copy, Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Vanilla {}

impl Registered for Vanilla {
    const FACTS: Facts =
        Facts { name: "vanilla", title: "Vanilla", citation: "no mixing", draws: "nothing", cost: "nothing" };
}

impl Mixer for Vanilla {
    fn sample(&self, batch: usize, _: usize, _: usize, _: &mut dyn RngCore) -> Result<Box<dyn Plan>> {
        Ok(Box::new(Unmixed { batch }))
    }
}

/// Nothing was drawn.
#[derive(Clone, Copy, Debug)]
struct Unmixed {
    batch: usize,
}

impl Plan for Unmixed {
    fn mix(&self, view: &View<'_>) -> Result<Mixed> {
        Ok(Mixed { images: view.images.clone(), targets: Targets::own(self.batch) })
    }
}
