//! What a data set is to everybody else: pictures with labels, by index.

use crate::Result;
use std::ops::Range;

/// Channels of a picture: red, green, blue.
pub const CHANNELS: usize = 3;

/// The part of a data set.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    /// What a network learns from.
    Train,
    /// What it is judged by; the recipes call it validation.
    Test,
}

impl Split {
    /// `train` or `test`, as files and messages call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Test => "test",
        }
    }
}

/// One decoded picture, `[H, W, 3]` bytes, to be reused for the next one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Picture {
    /// Rows from the top.
    pub height: usize,
    /// Columns from the left.
    pub width: usize,
    /// Interleaved red, green and blue, row by row: `height * width * 3` bytes.
    pub pixels: Vec<u8>,
}

impl Picture {
    /// Sets the size; the bytes of a larger earlier picture are kept for reuse, and none are cleared.
    pub fn resize(&mut self, height: usize, width: usize) {
        self.height = height;
        self.width = width;
        self.pixels.resize(height * width * CHANNELS, 0);
    }
}

/// A box around what a picture shows, in pixels: left and top edges are inside, right and bottom edges are where it ends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Region {
    /// Columns from the left edge of the picture.
    pub left: f32,
    /// Rows from its top.
    pub top: f32,
    /// Columns from its left edge.
    pub right: f32,
    /// Rows from its top.
    pub bottom: f32,
}

impl Region {
    /// Whether the box has an inside, in finite numbers.
    pub(crate) fn is_sound(self) -> bool {
        let sides = [self.left, self.top, self.right, self.bottom];
        sides.iter().all(|side| side.is_finite()) && self.right > self.left && self.bottom > self.top
    }
}

/// A labelled set of pictures that many threads read at once.
pub trait Source: Send + Sync {
    /// The data set's name, as in the registry.
    fn name(&self) -> &str;

    /// How many pictures there are.
    fn len(&self) -> usize;

    /// Whether there is no picture at all.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The names of the classes; a label is an index into them.
    fn class_names(&self) -> &[String];

    /// Height and width of every picture, in pixels; none where pictures have sizes of their own.
    fn size(&self) -> Option<[usize; 2]>;

    /// The label of the picture at `index`; most sources know it without decoding the picture.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    fn label(&self, index: usize) -> Result<usize> {
        self.read(index, &mut Picture::default())
    }

    /// Runs of pictures that are cheap to read close together, in order and without gaps, as the row groups of a parquet
    /// file; none where any picture is as cheap as any other. A loader that shuffles stays among a few of them at a time.
    fn blocks(&self) -> Option<Vec<Range<usize>>> {
        None
    }

    /// The box around what the picture at `index` shows, where the data set says it.
    fn region(&self, _index: usize) -> Option<Region> {
        None
    }

    /// Decodes the picture at `index` into `picture`, whose buffer is reused, and returns its label.
    ///
    /// # Errors
    /// When `index` is not below [`len`](Self::len), or the picture cannot be read.
    fn read(&self, index: usize, picture: &mut Picture) -> Result<usize>;
}
