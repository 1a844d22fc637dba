//! What can go wrong with data: one line each, naming the file and what was expected of it.

use std::path::PathBuf;

/// The result of this crate's functions.
pub type Result<T> = std::result::Result<T, Error>;

/// A fault in a data set, in a download, or in how a loader was asked for.
///
/// Causes from below are part of the message, so that printing an error gives the whole line.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The name is not in the registry.
    #[error("unknown data set `{name}`, expected one of {known}")]
    UnknownDataset {
        /// What was asked for.
        name: String,
        /// The names that exist, separated by commas.
        known: String,
    },
    /// None of the formats of a data set is in the folder.
    #[error("no {split} pictures of {name} in `{}`, expected one of {expected}", folder.display())]
    NotFound {
        /// The data set.
        name: &'static str,
        /// `train` or `test`.
        split: &'static str,
        /// Where they were looked for.
        folder: PathBuf,
        /// The files and folders that would do.
        expected: String,
    },
    /// The system refused to read or write a file.
    #[error("`{}`: {cause}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the system said.
        cause: std::io::Error,
    },
    /// A file of fixed size has another size.
    #[error("`{}` has {found} bytes, expected {expected}", path.display())]
    FileSize {
        /// The file, or the archive and the member inside it.
        path: PathBuf,
        /// Its size in bytes.
        found: u64,
        /// The size it must have.
        expected: u64,
    },
    /// A split has another number of pictures than the data set.
    #[error("`{}` has {found} pictures, expected {expected}", path.display())]
    RowCount {
        /// The file, or the folder of the files.
        path: PathBuf,
        /// The pictures that are there.
        found: usize,
        /// The pictures that must be there.
        expected: usize,
    },
    /// An archive that is cut short, damaged, incomplete or unsafe.
    #[error("`{}`: {problem}", path.display())]
    Archive {
        /// The archive.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A parquet file that is cut short or damaged, or lacks what a data set needs.
    #[error("`{}` is not the parquet file that was expected: {problem}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: String,
    },
    /// A label that is not one of the classes.
    #[error("`{}` row {row}: label {label}, expected 0 to {}", path.display(), classes - 1)]
    Label {
        /// The file, or the archive and the member inside it.
        path: PathBuf,
        /// The row in that file, from 0.
        row: usize,
        /// The label that stands there.
        label: i64,
        /// How many classes there are.
        classes: usize,
    },
    /// A picture whose bytes are no picture.
    #[error("`{}` row {row}: the image doesn't decode: {problem}", path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// The row in that file, from 0.
        row: usize,
        /// What the decoder said.
        problem: String,
    },
    /// A picture of another size than the data set's.
    #[error("`{}` row {row}: an image of {found:?} (height, width), expected {expected:?}", path.display())]
    PictureSize {
        /// The file.
        path: PathBuf,
        /// The row in that file, from 0.
        row: usize,
        /// Its height and width in pixels.
        found: [usize; 2],
        /// The height and width it must have.
        expected: [usize; 2],
    },
    /// A picture too small for the window that is to be cut out of it.
    #[error("{name}: picture {index} is {found:?} (height, width), expected at least {least:?}")]
    SmallPicture {
        /// The source.
        name: String,
        /// Its index there.
        index: usize,
        /// Its height and width in pixels.
        found: [usize; 2],
        /// The height and width it must have.
        least: [usize; 2],
    },
    /// A file whose digest is not the published one.
    #[error("`{}` has the MD5 digest {found}, expected {expected}", path.display())]
    Digest {
        /// The file, or the address it was fetched from.
        path: PathBuf,
        /// The digest it has.
        found: String,
        /// The digest it must have.
        expected: &'static str,
    },
    /// An address that doesn't give a file, or not the whole of it.
    #[error("{url}: {problem}")]
    Mirror {
        /// The address.
        url: &'static str,
        /// What went wrong.
        problem: String,
    },
    /// No mirror gave the file.
    #[error("cannot download `{file}`: {problem}")]
    Download {
        /// The file.
        file: &'static str,
        /// What each mirror answered.
        problem: String,
    },
    /// An index beyond the end of a source.
    #[error("{name} has {len} pictures, there is none at index {index}")]
    Index {
        /// The source.
        name: String,
        /// What was asked for.
        index: usize,
        /// How many there are.
        len: usize,
    },
    /// An option of the loader that cannot be met.
    #[error("{option} is {found}, expected {expected}")]
    Option {
        /// The option.
        option: &'static str,
        /// Its value.
        found: String,
        /// The values that are possible.
        expected: String,
    },
    /// A thread of the loader ended without an answer: its source panicked.
    #[error("the loader's thread for batch {batch} stopped before the batch was done")]
    Worker {
        /// The batch it owed, from 0 in its epoch.
        batch: usize,
    },
}

impl Error {
    /// Whether the fault is one picture's: its bytes, or its size.
    pub fn is_of_a_picture(&self) -> bool {
        matches!(self, Self::Decode { .. } | Self::PictureSize { .. } | Self::SmallPicture { .. })
    }

    pub(crate) fn io(path: impl Into<PathBuf>, cause: std::io::Error) -> Self {
        Self::Io { path: path.into(), cause }
    }
}
