//! The data sets that there are, by name: what is known of each, where its files lie, and how it is opened.

use crate::catalogue::ENTRIES;
use crate::cifar::Layout as Cifar;
use crate::cifar100c::{self, Cifar100C};
use crate::files::{Files, Listing};
use crate::hub::{self, Rows, Table};
use crate::layout::{imagenet, web};
use crate::tree::Tree;
use crate::{Archive, CHANNELS, Error, Repository, Result, Source, Split, Synthetic};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is known of a data set without opening it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Facts {
    /// Its name here.
    pub name: &'static str,
    /// One line on what it shows.
    pub title: &'static str,
    /// Training pictures; 0 where it depends on the files, or there are none.
    pub train: usize,
    /// Test pictures; likewise.
    pub test: usize,
    /// Classes; 0 where it depends on the files.
    pub classes: usize,
    /// Height and width in pixels; none where pictures have sizes of their own.
    pub size: Option<[usize; 2]>,
    /// Mean by channel, for values between 0 and 1, as the recipes normalise with.
    pub mean: [f32; CHANNELS],
    /// Standard deviation by channel, likewise.
    pub std: [f32; CHANNELS],
    /// What one may do with the pictures, in a few words; the owners' own words are on `page`.
    pub licence: &'static str,
    /// The owners' page; empty where there is none.
    pub page: &'static str,
    /// What one must do to get it, where an address alone isn't enough.
    pub gate: Option<&'static str>,
    /// The archives to fetch; none where the pictures are drawn, or come from a repository.
    pub archives: &'static [Archive],
    /// The repository of the Hub to fetch from, where that is the usual way.
    pub repository: Option<Repository>,
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
    /// A file a picture, in folders.
    Folder,
    /// A file a picture, in an unopened zip or tar archive.
    Packed,
    /// Tar shards as WebDataset writes them.
    Shards,
    /// NumPy arrays, in a folder or an unopened tar archive.
    Arrays,
}

impl Format {
    /// The format in words.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drawn => "drawn by the program",
            Self::Parquet => "parquet",
            Self::BinaryFolder => "binary files",
            Self::BinaryArchive => "binary archive",
            Self::Folder => "picture files",
            Self::Packed => "archive of pictures",
            Self::Shards => "tar shards",
            Self::Arrays => "arrays",
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
    Cifar(&'static Cifar),
    Cifar100C,
    Files(Layout),
}

/// A data set of picture files: where they are and how its lists are read.
pub(crate) struct Layout {
    /// What its own folder may be called.
    pub(crate) folders: &'static [&'static str],
    /// Archives that are read unopened; what is in them may lie in a folder called as the archive is.
    pub(crate) archives: &'static [&'static str],
    /// Whether files are those of a split.
    pub(crate) has: fn(&Tree, Split) -> bool,
    /// Lists a split.
    pub(crate) list: fn(&Tree, Split) -> Result<Listing>,
    /// What messages say is looked for.
    pub(crate) expected: &'static str,
}

impl Layout {
    /// Finds a split under `folder`, or in its subfolder `name`.
    fn locate(&self, name: &str, folder: &Path, split: Split) -> Option<Location> {
        [folder.to_owned(), folder.join(name)].iter().find_map(|home| self.locate_in(name, home, split))
    }

    fn locate_in(&self, name: &str, home: &Path, split: Split) -> Option<Location> {
        let found = |format, path: &Path| Some(Location { format, path: path.to_owned() });
        for folder in self.folders.iter().map(|folder| home.join(folder)).chain([home.to_owned()]) {
            if folder.is_dir() && Tree::open(&folder).is_ok_and(|tree| (self.has)(&tree, split)) {
                return found(Format::Folder, &folder);
            }
        }
        for path in [home.to_owned(), home.join("data")] {
            if !hub::shards(&path, split).is_empty() {
                return found(Format::Parquet, &path);
            }
        }
        if !web::shards(home, split).is_empty() {
            return found(Format::Shards, home);
        }
        let owners = (name == "imagenet").then(|| imagenet::archive(split));
        let archives = self.archives.iter().copied().chain(owners).map(|archive| home.join(archive));
        archives.into_iter().find(|path| path.is_file()).and_then(|path| found(Format::Packed, &path))
    }

    /// Opens what [`locate`](Self::locate) found.
    fn open(&self, facts: &Facts, location: &Location, split: Split) -> Result<Arc<dyn Source>> {
        let Location { format, path } = location;
        let (trees, listing) = match format {
            Format::Parquet => {
                let files = hub::shards(path, split);
                return Ok(Arc::new(Rows::open(facts.name, path, &files, None, facts.size)?));
            }
            Format::Shards => web::open(path, split)?,
            Format::Packed if path.ends_with(imagenet::archive(split)) => {
                imagenet::open_archive(path, split)?
            }
            _ => {
                let mut tree = Tree::open(path)?;
                let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
                if *format == Format::Packed && tree.has_folder(stem) {
                    tree = tree.below(stem);
                }
                let listing = (self.list)(&tree, split)?;
                (vec![tree], listing)
            }
        };
        Ok(Arc::new(Files::new(facts.name, trees, listing, facts.size)?))
    }
}

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
    let missing = |expected: String| Error::NotFound {
        name: facts.name,
        split: split.name(),
        folder: folder.to_owned(),
        expected,
    };
    match home {
        Home::Drawn => Ok(Location { format: Format::Drawn, path: PathBuf::new() }),
        Home::Cifar(layout) => layout.locate(facts.name, folder, split).map_err(missing),
        Home::Cifar100C => {
            let homes = [folder.to_owned(), folder.join(facts.name)];
            let names = ["CIFAR-100-C.tar", cifar100c::FOLDER, "."];
            let mut paths = homes.iter().flat_map(|home| names.iter().map(|name| home.join(name)));
            let here = |path: &PathBuf| path.is_file() || path.join("labels.npy").is_file();
            let found = paths.find(here).filter(|_| split == Split::Test);
            let path = found.ok_or_else(|| missing("CIFAR-100-C.tar, CIFAR-100-C (test only)".to_owned()))?;
            Ok(Location { format: Format::Arrays, path })
        }
        Home::Files(layout) => layout.locate(facts.name, folder, split).ok_or_else(|| {
            let name = facts.name;
            missing(format!(
                "{}, {name}/data/{}-*.parquet, {name}/*{}*.tar",
                layout.expected,
                split.name(),
                split.name()
            ))
        }),
    }
}

/// Opens a split of the data set `name` in whatever format [`locate`] finds.
///
/// The drawn set has the seed 0 and the counts of its [`Facts`]; [`Synthetic::new`] draws others.
///
/// # Errors
/// When there is no such data set, it isn't there, its files are damaged, cut short or not what they should be, or their
/// number isn't the data set's.
pub fn open(name: &str, folder: &Path, split: Split) -> Result<Arc<dyn Source>> {
    let Entry { facts, home } = entry(name)?;
    if let Home::Drawn = home {
        return Ok(Arc::new(Synthetic::new(0, split, facts.count(split))));
    }
    let location = locate(name, folder, split)?;
    tracing::info!(name, split = split.name(), format = location.format.name(), path = %location.path.display(), "open");
    let source: Arc<dyn Source> = match home {
        Home::Drawn => return Ok(Arc::new(Synthetic::new(0, split, facts.count(split)))),
        Home::Cifar(layout) => open_cifar(layout, facts, &location, split)?,
        Home::Cifar100C => Arc::new(Cifar100C::open(&location.path)?),
        Home::Files(layout) => layout.open(facts, &location, split)?,
    };
    // Data sets of one's own have no number of pictures that could be wrong.
    if facts.classes > 0 {
        let checks = [(source.len(), facts.count(split)), (source.class_names().len(), facts.classes)];
        for ((found, expected), what) in checks.into_iter().zip(["pictures", "classes"]) {
            if found != expected {
                return Err(Error::Count { path: location.path, what, found, expected });
            }
        }
    }
    Ok(source)
}

fn open_cifar(layout: &Cifar, facts: &Facts, location: &Location, split: Split) -> Result<Arc<dyn Source>> {
    let count = facts.count(split);
    let source = match location.format {
        Format::Parquet => Table {
            image: "img",
            label: layout.label_column,
            class_names: layout.class_names(),
            size: crate::cifar::SIZE,
            rows: count,
        }
        .read(facts.name, &location.path, &hub::shards(&location.path, split))?,
        _ => layout.read_binary(facts.name, location, split, count)?,
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
        assert_eq!(
            error,
            "unknown data set `cifar`, expected one of aircraft, cars, cifar10, cifar100, cifar100c, cub200, folder, imagenet, synthetic, tinyimagenet"
        );
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
                Home::Cifar100C | Home::Files(_) => (),
                Home::Drawn => {
                    let source = open(facts.name, Path::new("nowhere"), Split::Test).unwrap();
                    assert_eq!(source.name(), facts.name);
                    assert_eq!((source.len(), source.size()), (facts.test, facts.size));
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
