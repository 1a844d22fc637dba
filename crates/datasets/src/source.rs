//! What a data set is to everybody else: pictures with labels, by index.

use crate::Result;

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

    /// Decodes the picture at `index` into `picture`, whose buffer is reused, and returns its label.
    ///
    /// # Errors
    /// When `index` is not below [`len`](Self::len), or the picture cannot be read.
    fn read(&self, index: usize, picture: &mut Picture) -> Result<usize>;
}
