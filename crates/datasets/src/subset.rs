//! The beginning of a data set.

use crate::{Error, Picture, Result, Source};
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

    fn size(&self) -> Option<[usize; 2]> {
        self.source.size()
    }

    fn read(&self, index: usize, picture: &mut Picture) -> Result<usize> {
        if index >= self.len {
            return Err(Error::Index { name: self.name().to_owned(), index, len: self.len });
        }
        self.source.read(index, picture)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Split, Synthetic};

    #[test]
    fn ends_where_it_should() {
        let source: Arc<dyn Source> = Arc::new(Synthetic::new(0, Split::Train, 5));
        let subset = Subset::first(source.clone(), 3);
        let mut picture = Picture::default();
        assert_eq!((subset.len(), subset.read(2, &mut picture).unwrap()), (3, 2));
        let error = subset.read(3, &mut picture).unwrap_err().to_string();
        assert_eq!(error, "synthetic has 3 pictures, there is none at index 3");
        assert_eq!(Subset::first(source, 9).len(), 5);
    }
}
