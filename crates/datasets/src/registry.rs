//! The data sets that there are, by name: what is known of each, where its files lie, and how it is opened.

use crate::cifar::{self, CIFAR10, CIFAR100, Layout};
use crate::hub::{self, Table};
use crate::{Archive, CHANNELS, Error, Result, Source, Split, Synthetic, synthetic};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is known of a data set without opening it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// Its name here.
    pub name: &'static str,
    /// One line on what it shows.
    pub title: &'static str,
    /// Training pictures.
    pub train: usize,
    /// Test pictures.
    pub test: usize,
    /// Classes.
    pub classes: usize,
    /// Height and width in pixels.
    pub size: [usize; 2],
    /// Mean by channel, for values between 0 and 1, as the recipes normalise with.
    pub mean: [f32; CHANNELS],
    /// Standard deviation by channel, likewise.
    pub std: [f32; CHANNELS],
    /// The archive to fetch; none where the pictures are drawn.
    pub archive: Option<Archive>,
}

impl Facts {
    /// How many pictures a split has.
    pub fn count(&self, split: Split) -> usize {
        match split {
            Split::Train => self.train,
            Split::Test => self.test,
        }
    }
}

/// How the pictures of a data set are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Format {
    /// Nowhere: they are drawn when they are read.
    Drawn,
    /// Parquet files as on the Hugging Face Hub.
    Parquet,
    /// The binary files of the original archive, unpacked.
    BinaryFolder,
    /// The original archive, unopened.
    BinaryArchive,
}

impl Format {
    /// The format in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drawn => "drawn by the program",
            Self::Parquet => "parquet",
            Self::BinaryFolder => "binary files",
            Self::BinaryArchive => "binary archive",
        }
    }
}

/// Where a split of a data set was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    /// The format that is there.
    pub format: Format,
    /// The archive, or the folder of the files; empty for [`Format::Drawn`].
    pub path: PathBuf,
}

/// A line of the registry.
pub(crate) struct Entry {
    pub(crate) facts: Facts,
    pub(crate) home: Home,
}

/// What kind of data set it is, with what only that kind needs.
pub(crate) enum Home {
    Drawn,
    Cifar(&'static Layout),
}

/// The mean and deviation by which the paper's recipes normalise both CIFAR sets.
const CIFAR_MEAN: [f32; CHANNELS] = [0.4914, 0.4822, 0.4465];
const CIFAR_STD: [f32; CHANNELS] = [0.2023, 0.1994, 0.2010];

static ENTRIES: [Entry; 3] = [
    Entry {
        facts: Facts {
            name: "cifar10",
            title: "CIFAR-10: photographs of animals and vehicles",
            train: 50_000,
            test: 10_000,
            classes: 10,
            size: cifar::SIZE,
            mean: CIFAR_MEAN,
            std: CIFAR_STD,
            archive: Some(CIFAR10.archive),
        },
        home: Home::Cifar(&CIFAR10),
    },
    Entry {
        facts: Facts {
            name: "cifar100",
            title: "CIFAR-100: photographs of a hundred things",
            train: 50_000,
            test: 10_000,
            classes: 100,
            size: cifar::SIZE,
            mean: CIFAR_MEAN,
            std: CIFAR_STD,
            archive: Some(CIFAR100.archive),
        },
        home: Home::Cifar(&CIFAR100),
    },
    Entry {
        facts: Facts {
            name: "synthetic",
            title: "Shapes with textures, drawn by the program",
            train: 10_000,
            test: 2_000,
            classes: synthetic::CLASSES,
            size: synthetic::SIZE,
            mean: synthetic::MEAN,
            std: synthetic::STD,
            archive: None,
        },
        home: Home::Drawn,
    },
];

/// The names of all data sets, in alphabetical order.
pub fn names() -> impl Iterator<Item = &'static str> {
    ENTRIES.iter().map(|entry| entry.facts.name)
}

pub(crate) fn entry(name: &str) -> Result<&'static Entry> {
    let unknown =
        || Error::UnknownDataset { name: name.to_owned(), known: names().collect::<Vec<_>>().join(", ") };
    ENTRIES.iter().find(|entry| entry.facts.name == name).ok_or_else(unknown)
}

/// What is known of the data set `name`.
///
/// # Errors
/// When there is no such data set; the message lists those that there are.
pub fn facts(name: &str) -> Result<&'static Facts> {
    Ok(&entry(name)?.facts)
}

/// Finds a split of the data set `name` in `folder`, or in the folders below it that are called as the data set is.
///
/// # Errors
/// When there is no such data set, or none of its formats is there.
pub fn locate(name: &str, folder: &Path, split: Split) -> Result<Location> {
    let Entry { facts, home } = entry(name)?;
    match home {
        Home::Drawn => Ok(Location { format: Format::Drawn, path: PathBuf::new() }),
        Home::Cifar(layout) => layout.locate(facts.name, folder, split).map_err(|expected| Error::NotFound {
            name: facts.name,
            split: split.name(),
            folder: folder.to_owned(),
            expected,
        }),
    }
}

/// Opens a split of the data set `name` in whatever format [`locate`] finds.
///
/// The drawn set has the seed 0 and the counts of its [`Facts`]; [`Synthetic::new`] draws others.
///
/// # Errors
/// When there is no such data set, it isn't there, or its files are damaged, cut short or not what they should be.
pub fn open(name: &str, folder: &Path, split: Split) -> Result<Arc<dyn Source>> {
    let Entry { facts, home } = entry(name)?;
    let count = facts.count(split);
    let layout = match home {
        Home::Drawn => return Ok(Arc::new(Synthetic::new(0, split, count))),
        Home::Cifar(layout) => layout,
    };
    let location = locate(name, folder, split)?;
    tracing::info!(name, split = split.name(), format = location.format.name(), path = %location.path.display(), "open");
    let source = match location.format {
        Format::Parquet => Table {
            image: "img",
            label: layout.label_column,
            class_names: layout.class_names(),
            size: facts.size,
            rows: count,
        }
        .read(name, &location.path, &hub::shards(&location.path, split))?,
        _ => layout.read_binary(name, &location, split, count)?,
    };
    Ok(Arc::new(source))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Picture;

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let error = facts("cifar").unwrap_err().to_string();
        assert_eq!(error, "unknown data set `cifar`, expected one of cifar10, cifar100, synthetic");
    }

    #[test]
    fn a_data_set_that_is_not_there_says_what_would_do() {
        let folder = tempfile::tempdir().unwrap();
        let error = open("cifar100", folder.path(), Split::Train).err().unwrap().to_string();
        let expected = "cifar100/cifar100/train-*.parquet, cifar-100-binary.tar.gz, cifar-100-binary";
        let folder = folder.path().display();
        assert_eq!(error, format!("no train pictures of cifar100 in `{folder}`, expected one of {expected}"));
    }

    #[test]
    fn facts_agree_with_what_is_opened() {
        for Entry { facts, home } in &ENTRIES {
            match home {
                Home::Cifar(layout) => assert_eq!(layout.class_names.len(), facts.classes),
                Home::Drawn => {
                    let source = open(facts.name, Path::new("nowhere"), Split::Test).unwrap();
                    assert_eq!(source.name(), facts.name);
                    assert_eq!((source.len(), source.size()), (facts.test, Some(facts.size)));
                    assert_eq!(source.class_names().len(), facts.classes);
                }
            }
        }
    }

    #[test]
    fn the_real_cifar10_is_whole() {
        let Some(folder) = std::env::var_os("ADAUTOMIX_DATA") else {
            eprintln!("skipped: ADAUTOMIX_DATA doesn't name a folder that has CIFAR-10");
            return;
        };
        let source = open("cifar10", Path::new(&folder), Split::Test).unwrap();
        assert_eq!((source.len(), source.size()), (10_000, Some([32, 32])));
        assert_eq!(source.class_names()[6], "frog");
        let mut counts = [0; 10];
        let mut picture = Picture::default();
        for index in 0..source.len() {
            counts[source.read(index, &mut picture).unwrap()] += 1;
        }
        assert_eq!(counts, [1000; 10]);
    }
}
