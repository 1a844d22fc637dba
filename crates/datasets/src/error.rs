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
    /// A split has another number of pictures or classes than the data set.
    #[error("`{}` has {found} {what}, expected {expected}", path.display())]
    Count {
        /// The file, or the folder of the files.
        path: PathBuf,
        /// What was counted.
        what: &'static str,
        /// How many are there.
        found: usize,
        /// How many must be there.
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
    /// A list of a data set (classes, labels, splits, boxes) that doesn't say what it must, or a folder without what is
    /// expected there.
    #[error("`{}` {problem}", path.display())]
    List {
        /// The file or folder.
        path: PathBuf,
        /// What is wrong with it, with the line where there is one.
        problem: String,
    },
    /// A picture whose bytes are no picture.
    #[error("`{}`{}: the image doesn't decode: {problem}", path.display(), in_row(*row))]
    Decode {
        /// The file.
        path: PathBuf,
        /// The row in that file, from 0, where it holds many pictures.
        row: Option<usize>,
        /// What the decoder said.
        problem: String,
    },
    /// A picture of another size than the data set's.
    #[error("`{}`{}: an image of {found:?} (height, width), expected {expected:?}", path.display(), in_row(*row))]
    PictureSize {
        /// The file.
        path: PathBuf,
        /// The row in that file, from 0, where it holds many pictures.
        row: Option<usize>,
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
    #[error("`{}` has the {kind} digest {found}, expected {expected}", path.display())]
    Digest {
        /// The file, or the address it was fetched from.
        path: PathBuf,
        /// `MD5` or `SHA-256`.
        kind: &'static str,
        /// The digest it has.
        found: String,
        /// The digest it must have.
        expected: String,
    },
    /// An address that doesn't give a file, or not the whole of it.
    #[error("{url}: {problem}")]
    Mirror {
        /// The address.
        url: String,
        /// What went wrong.
        problem: String,
    },
    /// The disk has less room than a download needs.
    #[error("`{}` has {free} MB free, expected {needed} MB for {file}", folder.display())]
    Space {
        /// The folder.
        folder: PathBuf,
        /// What is to be fetched.
        file: String,
        /// What there is room for, in megabytes (10⁶ bytes).
        free: u64,
        /// What it takes.
        needed: u64,
    },
    /// A data set that its owners don't give to everybody, or that has no public address.
    #[error("{name} can't be fetched: {problem}")]
    Gate {
        /// The data set.
        name: &'static str,
        /// What to do about it.
        problem: String,
    },
    /// No mirror gave the file.
    #[error("cannot download `{file}`: {problem}")]
    Download {
        /// The file.
        file: String,
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

    pub(crate) fn list(path: impl Into<PathBuf>, problem: &str) -> Self {
        Self::List { path: path.into(), problem: problem.to_owned() }
    }

    pub(crate) fn io(path: impl Into<PathBuf>, cause: std::io::Error) -> Self {
        Self::Io { path: path.into(), cause }
    }
}

/// The row of a file that holds many pictures, as messages have it.
fn in_row(row: Option<usize>) -> String {
    row.map_or_else(String::new, |row| format!(" row {row}"))
}
