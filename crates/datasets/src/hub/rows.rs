//! Parquet files whose pictures are too many, or too different in size, to be decoded once and kept.
//!
//! The labels of all rows are read when the files are opened. Images come by row group: one is read when the first of
//! its rows is wanted, and the most recent ones are kept, encoded, up to a number of bytes. Rows that are read in an order
//! that stays among a few row groups at a time are therefore cheap; [`Source::blocks`] says where the groups are.

use super::shard::Shard;
use crate::decode::decode;
use crate::{Error, Picture, Result, Source};
use parquet::data_type::ByteArray;
use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Encoded bytes that are kept, and how many pictures they may at most be.
const KEPT_BYTES: usize = 512 << 20;

/// The rows of the parquet files of a split.
pub(crate) struct Rows {
    name: String,
    class_names: Vec<String>,
    size: Option<[usize; 2]>,
    labels: Vec<u16>,
    groups: Vec<Group>,
    shards: Vec<Open>,
    kept: Mutex<Kept>,
}

/// A file, which one thread at a time reads from, and its image column.
struct Open {
    path: PathBuf,
    shard: Mutex<Shard>,
    images: usize,
}

/// A row group of a file.
struct Group {
    shard: usize,
    /// Which of the file's row groups it is.
    index: usize,
    /// Its rows, counted through all files.
    rows: Range<usize>,
    /// The row of its file with which it begins.
    first: usize,
}

/// The row groups that were used last, the most recent at the end.
struct Kept {
    /// Bytes that they may have together; one row group is kept whatever it has.
    most: usize,
    groups: VecDeque<(usize, Arc<Vec<ByteArray>>, usize)>,
    bytes: usize,
}

impl Rows {
    /// Opens the files of a split.
    ///
    /// `class_names` are those of the data set, for files that don't name them; without either, classes are called by
    /// their numbers.
    ///
    /// # Errors
    /// When a file is missing in the middle, cut short or damaged, has no columns of images and labels, or a label is
    /// not one of the classes; when there are no rows.
    pub(crate) fn open(
        name: &str,
        folder: &Path,
        files: &[PathBuf],
        class_names: Option<Vec<String>>,
        size: Option<[usize; 2]>,
    ) -> Result<Self> {
        super::check_complete(folder, files)?;
        let (mut labels, mut groups, mut shards) = (Vec::new(), Vec::new(), Vec::new());
        let mut names = class_names;
        for (number, path) in files.iter().enumerate() {
            let shard = Shard::open(path)?;
            let (images, column) = (shard.image_column()?, shard.label_column()?);
            if number == 0 {
                names = shard.class_names(&shard.column_name(column)).or(names);
            }
            let mut first = 0;
            for (index, count) in shard.groups().into_iter().enumerate() {
                let classes = names.as_ref().map_or(usize::from(u16::MAX) + 1, Vec::len);
                let start = labels.len();
                for (row, label) in (first..).zip(shard.labels(index, column, first)?) {
                    let known = u16::try_from(label).ok().filter(|&label| usize::from(label) < classes);
                    labels.push(known.ok_or_else(|| Error::Label {
                        path: path.clone(),
                        row,
                        label,
                        classes,
                    })?);
                }
                groups.push(Group { shard: number, index, rows: start..labels.len(), first });
                first += count;
            }
            shards.push(Open { path: path.clone(), shard: Mutex::new(shard), images });
        }
        let Some(&most) = labels.iter().max() else {
            return Err(Error::list(folder, "has no pictures"));
        };
        let class_names = names.unwrap_or_else(|| (0..=most).map(|label| label.to_string()).collect());
        let kept = Mutex::new(Kept::of(KEPT_BYTES));
        Ok(Self { name: name.to_owned(), class_names, size, labels, groups, shards, kept })
    }

    /// The encoded images of a row group, from what is kept or from its file.
    fn images(&self, number: usize) -> Result<Arc<Vec<ByteArray>>> {
        if let Some(images) = lock(&self.kept).find(number) {
            return Ok(images);
        }
        let group = &self.groups[number];
        let open = &self.shards[group.shard];
        let shard = lock(&open.shard);
        // Another thread may have read it while this one waited.
        if let Some(images) = lock(&self.kept).find(number) {
            return Ok(images);
        }
        let images = shard.images(group.index, open.images, group.first)?;
        if images.len() != group.rows.len() {
            let problem = format!(
                "row group {} has {} images, expected {}",
                group.index,
                images.len(),
                group.rows.len()
            );
            return Err(shard.wrong(problem));
        }
        let images = Arc::new(images);
        lock(&self.kept).keep(number, images.clone());
        Ok(images)
    }
}

impl Kept {
    /// None yet, of at most so many bytes.
    fn of(most: usize) -> Self {
        Self { most, groups: VecDeque::new(), bytes: 0 }
    }

    fn find(&mut self, number: usize) -> Option<Arc<Vec<ByteArray>>> {
        let place = self.groups.iter().position(|group| group.0 == number)?;
        let found = self.groups.remove(place)?;
        let images = found.1.clone();
        self.groups.push_back(found);
        Some(images)
    }

    fn keep(&mut self, number: usize, images: Arc<Vec<ByteArray>>) {
        let bytes = images.iter().map(ByteArray::len).sum();
        self.bytes += bytes;
        self.groups.push_back((number, images, bytes));
        while self.bytes > self.most && self.groups.len() > 1 {
            if let Some((_, _, bytes)) = self.groups.pop_front() {
                self.bytes -= bytes;
            }
        }
    }
}

/// A lock whose last holder may have panicked: what it guards is whole at any time.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Source for Rows {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> usize {
        self.labels.len()
    }

    fn class_names(&self) -> &[String] {
        &self.class_names
    }

    fn size(&self) -> Option<[usize; 2]> {
        self.size
    }

    fn blocks(&self) -> Option<Vec<Range<usize>>> {
        Some(self.groups.iter().map(|group| group.rows.clone()).collect())
    }

    fn label(&self, index: usize) -> Result<usize> {
        let found = self.labels.get(index).map(|&label| usize::from(label));
        found.ok_or_else(|| Error::Index { name: self.name.clone(), index, len: self.labels.len() })
    }

    fn read(&self, index: usize, picture: &mut Picture) -> Result<usize> {
        let label = self.label(index)?;
        let number = self.groups.partition_point(|group| group.rows.end <= index);
        let group = &self.groups[number];
        let images = self.images(number)?;
        let at = index - group.rows.start;
        let (path, row) = (|| self.shards[group.shard].path.clone(), Some(group.first + at));
        decode(images[at].data(), picture).map_err(|problem| Error::Decode { path: path(), row, problem })?;
        let found = [picture.height, picture.width];
        match self.size {
            Some(expected) if expected != found => {
                Err(Error::PictureSize { path: path(), row, found, expected })
            }
            _ => Ok(label),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hub::shards;
    use crate::{Batch, Loader, LoaderOptions, Split, Transform};

    fn fixtures() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/parquet")
    }

    fn open(folder: &Path, split: Split) -> Result<Rows> {
        Rows::open("set", folder, &shards(folder, split), None, None)
    }

    /// Files by pyarrow: two shards of three rows in groups of two and one, pictures 10, 11 … 15 pixels high.
    #[test]
    fn rows_of_all_shards_are_read_in_any_order_by_many_threads() {
        let rows = open(&fixtures(), Split::Train).unwrap();
        assert_eq!(
            (rows.len(), rows.class_names()),
            (6, &["tench", "goldfish", "cat"].map(str::to_owned)[..])
        );
        assert_eq!(rows.blocks().unwrap(), [0..2, 2..3, 3..5, 5..6]);
        std::thread::scope(|scope| {
            for start in 0..3 {
                let rows = &rows;
                scope.spawn(move || {
                    let mut picture = Picture::default();
                    for index in (0..6).map(|at| (5 * at + start) % 6) {
                        assert_eq!(rows.read(index, &mut picture).unwrap(), index % 3);
                        assert_eq!([picture.height, picture.width], [10 + index, 12]);
                    }
                });
            }
        });
        assert!(rows.read(6, &mut Picture::default()).is_err());
    }

    #[test]
    fn other_columns_and_narrow_labels_are_found() {
        let rows = open(&fixtures(), Split::Test).unwrap();
        let mut picture = Picture::default();
        assert_eq!((rows.read(0, &mut picture).unwrap(), picture.height), (1, 9));
        assert_eq!(rows.class_names(), ["0", "1"]);
    }

    #[test]
    fn a_shard_that_is_missing_or_cut_short_is_named() {
        let home = tempfile::tempdir().unwrap();
        let name = |shard| format!("train-{shard:05}-of-00002.parquet");
        std::fs::copy(fixtures().join(name(0)), home.path().join(name(0))).unwrap();
        let error = open(home.path(), Split::Train).err().unwrap().to_string();
        assert_eq!(error, format!("`{}` has 1 parquet files of a split, expected 2", home.path().display()));
        let whole = std::fs::read(fixtures().join(name(1))).unwrap();
        let path = home.path().join(name(1));
        for cut in [0, 7, whole.len() / 2, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let error = open(home.path(), Split::Train).err().unwrap().to_string();
            let start = format!("`{}` is not the parquet file that was expected: ", path.display());
            assert!(error.starts_with(&start), "{error}");
        }
    }

    #[test]
    fn what_is_kept_stays_within_its_bytes() {
        let mut kept = Kept::of(100);
        let half = || Arc::new(vec![ByteArray::from(vec![0; 50])]);
        kept.keep(0, half());
        kept.keep(1, half());
        assert!(kept.find(0).is_some() && kept.find(1).is_some());
        assert!(kept.find(0).is_some());
        kept.keep(2, half());
        assert!(kept.find(1).is_none() && kept.find(0).is_some() && kept.find(2).is_some());
    }

    /// Ten epochs of a set whose row groups never fit together, and its rest from the middle of an epoch.
    #[test]
    fn a_loader_goes_through_more_than_is_kept_and_resumes_anywhere() {
        let mut rows = open(&fixtures(), Split::Train).unwrap();
        rows.kept = Mutex::new(Kept::of(1));
        let rows = Arc::new(rows);
        let transform = Transform::training([8, 8], [0.5; 3], [0.5; 3]);
        let loader = |threads| {
            let options = LoaderOptions { threads, ..LoaderOptions::training(2, 4) };
            Loader::new(rows.clone(), transform, options).unwrap()
        };
        for epoch in 0..10 {
            let whole: Vec<Batch> = loader(1).epoch(epoch, 0).collect::<Result<_>>().unwrap();
            for first in 0..3 {
                let rest: Vec<Batch> = loader(2).epoch(epoch, first).collect::<Result<_>>().unwrap();
                assert_eq!(rest, whole[first..]);
            }
            assert_eq!(lock(&rows.kept).groups.len(), 1);
        }
    }
}
