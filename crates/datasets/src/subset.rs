//! The beginning of a data set.

use crate::{Picture, Result, Source};
use std::sync::Arc;

/// The first pictures of a source.
#[derive(Clone)]
pub struct Subset {
    source: Arc<dyn Source>,
    len: usize,
}

impl Subset {
    /// The first `len` pictures of `source`, or all if there are fewer.
    pub fn first(source: Arc<dyn Source>, len: usize) -> Self {
        Self { len: len.min(source.len()), source }
    }
}

impl Source for Subset {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn len(&self) -> usize {
        self.len
    }

    fn class_names(&self) -> &[String] {
        self.source.class_names()
    }

    fn size(&self) -> [usize; 2] {
        self.source.size()
    }

    fn read(&self, index: usize, picture: &mut Picture) -> Result<usize> {
        self.source.read(index, picture)
    }
}
