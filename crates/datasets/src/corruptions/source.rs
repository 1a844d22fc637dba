//! Any source with one of the corruptions.

use std::ops::Range;
use std::sync::Arc;

use adautomix_random::{Key, Purpose};

use super::{Corruption, Kind};
use crate::{Picture, Region, Result, Source};

/// The pictures of a source, each corrupted by draws of its own: the same for the same seed, whatever is read before.
#[derive(Clone)]
pub struct Corrupted {
    source: Arc<dyn Source>,
    corruption: Corruption,
    key: Key,
}

impl Corrupted {
    /// `source` under a corruption drawn from `seed`.
    pub fn new(source: Arc<dyn Source>, corruption: Corruption, seed: u64) -> Self {
        let kind = Kind::ALL.iter().position(|kind| *kind == corruption.kind()).unwrap_or_default();
        let key = Key::new(seed, Purpose::Corruption).epoch(kind).step(corruption.severity());
        Self { source, corruption, key }
    }
}

impl Source for Corrupted {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn len(&self) -> usize {
        self.source.len()
    }

    fn class_names(&self) -> &[String] {
        self.source.class_names()
    }

    fn size(&self) -> Option<[usize; 2]> {
        self.source.size()
    }

    fn label(&self, index: usize) -> Result<usize> {
        self.source.label(index)
    }

    fn blocks(&self) -> Option<Vec<Range<usize>>> {
        self.source.blocks()
    }

    fn region(&self, index: usize) -> Option<Region> {
        self.source.region(index)
    }

    fn read(&self, index: usize, picture: &mut Picture) -> Result<usize> {
        let label = self.source.read(index, picture)?;
        let size = [picture.height, picture.width];
        let plan = self.corruption.draw(size, &mut self.key.sample(index).rng());
        let values = plan.apply(picture)?;
        // The published arrays are truncated, not rounded.
        picture.pixels.iter_mut().zip(values).for_each(|(byte, value)| *byte = value as u8);
        Ok(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Split, Synthetic};

    #[test]
    fn a_picture_is_the_same_whenever_it_is_read() {
        let source: Arc<dyn Source> = Arc::new(Synthetic::new(0, Split::Test, 4));
        let read = |kind, severity, seed, index| {
            let corruption = Corruption::new(kind, severity).unwrap();
            let mut picture = Picture::default();
            let label = Corrupted::new(source.clone(), corruption, seed).read(index, &mut picture).unwrap();
            (label, picture)
        };
        let (label, shot) = read(Kind::ShotNoise, 3, 7, 2);
        let mut clean = Picture::default();
        assert_eq!(source.read(2, &mut clean).unwrap(), label);
        assert_eq!((label, shot.clone()), read(Kind::ShotNoise, 3, 7, 2));
        for other in [clean, read(Kind::ShotNoise, 3, 8, 2).1, read(Kind::ImpulseNoise, 3, 7, 2).1] {
            assert_ne!(shot, other);
        }
    }
}
