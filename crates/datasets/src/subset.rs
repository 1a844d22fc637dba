//! Part of a data set: its beginning, a share of each class, or some of its classes.

use crate::{Error, Picture, Region, Result, Source};
use adautomix_random::{Key, Purpose};
use rand::seq::SliceRandom;
use std::ops::Range;
use std::sync::Arc;

/// Some of the pictures of a source, in its order.
#[derive(Clone)]
pub struct Subset {
    source: Arc<dyn Source>,
    /// Positions in the source.
    indices: Vec<usize>,
    /// The classes that are kept, and the label here of each label there; none where all are as they were.
    classes: Option<Classes>,
}

/// Classes with new numbers.
#[derive(Clone)]
struct Classes {
    names: Vec<String>,
    labels: Vec<Option<usize>>,
}

impl Subset {
    /// The first `len` pictures of `source`, or all if there are fewer.
    pub fn first(source: Arc<dyn Source>, len: usize) -> Self {
        let indices = (0..len.min(source.len())).collect();
        Self { source, indices, classes: None }
    }

    /// The pictures at `indices`, in that order.
    ///
    /// # Errors
    /// When an index is beyond the end of the source.
    pub fn of(source: Arc<dyn Source>, indices: Vec<usize>) -> Result<Self> {
        let len = source.len();
        match indices.iter().find(|&&index| index >= len) {
            Some(&index) => Err(Error::Index { name: source.name().to_owned(), index, len }),
            None => Ok(Self { source, indices, classes: None }),
        }
    }

    /// A share of the pictures of every class, drawn by `seed`: of n pictures round(n · `share`), and at least one.
    ///
    /// A smaller share with the same seed is a part of a larger one.
    ///
    /// # Errors
    /// When the share isn't above 0 and at most 1, or a label can't be read.
    pub fn share(source: Arc<dyn Source>, share: f64, seed: u64) -> Result<Self> {
        if !(share > 0. && share <= 1.) {
            let expected = "above 0 and at most 1".to_owned();
            return Err(Error::Option {
                option: "the share of the pictures",
                found: share.to_string(),
                expected,
            });
        }
        let mut by_class = vec![Vec::new(); source.class_names().len()];
        for index in 0..source.len() {
            by_class[source.label(index)?].push(index);
        }
        let mut indices = Vec::new();
        for (class, mut pictures) in by_class.into_iter().enumerate() {
            pictures.shuffle(&mut Key::new(seed, Purpose::Subset).sample(class).rng());
            let count = ((pictures.len() as f64 * share).round() as usize).max(1);
            indices.extend(pictures.into_iter().take(count));
        }
        indices.sort_unstable();
        Ok(Self { source, indices, classes: None })
    }

    /// The pictures of some classes, whose labels are then their places in `names`.
    ///
    /// # Errors
    /// When a name is not one of the source's classes or comes twice, or a label can't be read.
    pub fn classes(source: Arc<dyn Source>, names: &[String]) -> Result<Self> {
        let refuse = |found: &str, expected: String| {
            Err(Error::Option { option: "a class", found: format!("`{found}`"), expected })
        };
        let mut labels = vec![None; source.class_names().len()];
        for (place, name) in names.iter().enumerate() {
            match source.class_names().iter().position(|known| known == name) {
                None => {
                    return refuse(name, format!("one of the {} classes of {}", labels.len(), source.name()));
                }
                Some(label) if labels[label].is_some() => return refuse(name, "every class once".to_owned()),
                Some(label) => labels[label] = Some(place),
            }
        }
        let mut indices = Vec::new();
        for index in 0..source.len() {
            if labels[source.label(index)?].is_some() {
                indices.push(index);
            }
        }
        Ok(Self { source, indices, classes: Some(Classes { names: names.to_vec(), labels }) })
    }

    /// The position in the source of the picture at `index`.
    fn at(&self, index: usize) -> Result<usize> {
        let found = self.indices.get(index).copied();
        found.ok_or_else(|| Error::Index { name: self.name().to_owned(), index, len: self.len() })
    }

    /// A label of the source as it is here.
    fn relabel(&self, label: usize) -> usize {
        let here = self.classes.as_ref().and_then(|classes| classes.labels.get(label).copied().flatten());
        here.unwrap_or(label)
    }
}

impl Source for Subset {
    fn name(&self) -> &str {
        self.source.name()
    }

    fn len(&self) -> usize {
        self.indices.len()
    }

    fn class_names(&self) -> &[String] {
        self.classes.as_ref().map_or_else(|| self.source.class_names(), |classes| &classes.names)
    }

    fn size(&self) -> Option<[usize; 2]> {
        self.source.size()
    }

    fn label(&self, index: usize) -> Result<usize> {
        self.source.label(self.at(index)?).map(|label| self.relabel(label))
    }

    fn blocks(&self) -> Option<Vec<Range<usize>>> {
        let blocks = self.source.blocks().filter(|_| self.indices.is_sorted())?;
        let place = |end| self.indices.partition_point(|&index| index < end);
        let here = blocks.into_iter().map(|block| place(block.start)..place(block.end));
        Some(here.filter(|block| !block.is_empty()).collect())
    }

    fn region(&self, index: usize) -> Option<Region> {
        self.source.region(*self.indices.get(index)?)
    }

    fn read(&self, index: usize, picture: &mut Picture) -> Result<usize> {
        self.source.read(self.at(index)?, picture).map(|label| self.relabel(label))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Memory, Split, Synthetic};

    /// One pixel a picture, which is the picture's index; classes of 60, 30, 9 and 1 pictures.
    fn source() -> Arc<dyn Source> {
        let labels: Vec<u16> = (0..100)
            .map(|at| [0, 60, 90, 99].iter().filter(|&&from| at >= from).count() as u16 - 1)
            .collect();
        let pixels = (0..100).flat_map(|at| [at; 3]).collect();
        let names = ["a", "b", "c", "d"].map(str::to_owned).to_vec();
        Arc::new(Memory::new("set", names, [1, 1], labels, pixels).unwrap())
    }

    fn counts(subset: &Subset) -> Vec<usize> {
        let mut counts = vec![0; subset.class_names().len()];
        let mut picture = Picture::default();
        for index in 0..subset.len() {
            let label = subset.read(index, &mut picture).unwrap();
            assert_eq!(subset.label(index).unwrap(), label);
            counts[label] += 1;
        }
        counts
    }

    #[test]
    fn ends_where_it_should() {
        let source: Arc<dyn Source> = Arc::new(Synthetic::new(0, Split::Train, 5));
        let subset = Subset::first(source.clone(), 3);
        let mut picture = Picture::default();
        assert_eq!((subset.len(), subset.read(2, &mut picture).unwrap()), (3, 2));
        let error = subset.read(3, &mut picture).unwrap_err().to_string();
        assert_eq!(error, "synthetic has 3 pictures, there is none at index 3");
        assert_eq!(Subset::first(source.clone(), 9).len(), 5);
        assert!(Subset::of(source, vec![4, 5]).is_err());
    }

    #[test]
    fn a_share_is_that_of_every_class_and_follows_from_the_seed() {
        let tenth = Subset::share(source(), 0.1, 7).unwrap();
        assert_eq!(counts(&tenth), [6, 3, 1, 1]);
        assert!(tenth.indices.is_sorted());
        assert_eq!(tenth.indices, Subset::share(source(), 0.1, 7).unwrap().indices);
        assert_ne!(tenth.indices, Subset::share(source(), 0.1, 8).unwrap().indices);
        let half = Subset::share(source(), 0.5, 7).unwrap();
        assert!(tenth.indices.iter().all(|index| half.indices.contains(index)));
        assert_eq!(counts(&Subset::share(source(), 1., 7).unwrap()), [60, 30, 9, 1]);
        for share in [0., -0.1, 1.01, f64::NAN] {
            assert!(Subset::share(source(), share, 0).is_err());
        }
    }

    #[test]
    fn chosen_classes_are_numbered_as_they_are_listed() {
        let names = |names: &[&str]| names.iter().map(ToString::to_string).collect::<Vec<_>>();
        let subset = Subset::classes(source(), &names(&["c", "a"])).unwrap();
        assert_eq!((subset.class_names(), counts(&subset)), (&*names(&["c", "a"]), vec![9, 60]));
        let mut picture = Picture::default();
        assert_eq!((subset.read(60, &mut picture).unwrap(), picture.pixels[0]), (0, 90));
        let error = Subset::classes(source(), &names(&["a", "x"])).err().unwrap().to_string();
        assert_eq!(error, "a class is `x`, expected one of the 4 classes of set");
        assert!(Subset::classes(source(), &names(&["a", "a"])).is_err());
    }
}
