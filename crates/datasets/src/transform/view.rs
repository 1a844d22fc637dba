//! A window of a picture, mirrored or not.

use super::Rectangle;
use crate::{CHANNELS, Picture};

/// The part of a picture that a batch gets, as large as it is here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    /// Row of the picture at which the window begins; negative rows are reflections of those below the first.
    pub top: isize,
    /// Column at which it begins, likewise.
    pub left: isize,
    /// Rows of the window.
    pub height: usize,
    /// Columns of the window.
    pub width: usize,
    /// Whether the window is mirrored left to right after it is cut out.
    pub flip: bool,
}

impl View {
    /// The whole of a picture of a height and width, as it is.
    pub fn whole([height, width]: [usize; 2]) -> Self {
        Self { top: 0, left: 0, height, width, flip: false }
    }

    /// The window's rows and columns.
    pub fn size(&self) -> [usize; 2] {
        [self.height, self.width]
    }

    /// The window, where all of it lies in the picture.
    pub(super) fn rectangle(&self) -> Rectangle {
        let Self { top, left, height, width, .. } = *self;
        Rectangle { top: top as usize, left: left as usize, height, width }
    }

    /// Makes `target` the window.
    ///
    /// # Panics
    /// When the window reaches further than the picture's reflection.
    pub(super) fn cut(&self, picture: &Picture, target: &mut Picture) {
        target.resize(self.height, self.width);
        for (y, line) in target.pixels.chunks_exact_mut(self.width * CHANNELS).enumerate() {
            let row = reflect(y as isize + self.top, picture.height) * picture.width * CHANNELS;
            let row = &picture.pixels[row..][..picture.width * CHANNELS];
            for (x, pixel) in line.chunks_exact_mut(CHANNELS).enumerate() {
                let x = if self.flip { self.width - 1 - x } else { x };
                let column = reflect(x as isize + self.left, picture.width);
                pixel.copy_from_slice(&row[column * CHANNELS..][..CHANNELS]);
            }
        }
    }
}

/// The index in `0..len` that `index` falls on when the range is mirrored at its first and last element.
pub(super) fn reflect(index: isize, len: usize) -> usize {
    let last = len as isize - 1;
    (last - (last - index.abs()).abs()) as usize
}
