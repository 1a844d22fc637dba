//! Pictures of bytes: windows of them as normalised numbers.

use super::{Argument, Fault, Launch, Result, Span, arguments, each, whole};

/// What is subtracted from the channels of pictures between 0 and 1, and what the rest is divided by.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Normalisation {
    /// Mean by channel.
    pub mean: [f32; 3],
    /// Standard deviation by channel.
    pub deviation: [f32; 3],
}

/// How pictures of bytes lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// `[N, H, W, 3]`
    Pixels,
    /// `[N, 3, H, W]`
    Planes,
}

/// Pictures of bytes, three channels each.
#[derive(Clone, Copy, Debug)]
pub struct Pictures {
    /// How many.
    pub count: usize,
    /// Rows and columns of each.
    pub size: [usize; 2],
    /// Their order.
    pub order: Order,
}

impl Pictures {
    /// Writes windows of the pictures `bytes` to `out` `[windows, 3, rows, columns]`. Each window is four words: the picture,
    /// which must be one of them, the top row and the left column, which may be negative, and 1 if it is mirrored left to right
    /// after it is cut out. Beyond its edges a picture is its reflection, once.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn cut(
        &self,
        queue: &impl Launch,
        bytes: Span<u8>,
        windows: Span<u32>,
        [rows, columns]: [usize; 2],
        by: &Normalisation,
        out: Span<f32>,
    ) -> Result<()> {
        let [height, width] = self.size;
        let count = windows.len() / 4;
        whole("cut_pictures", bytes, &[self.count, height, width, 3])?;
        whole("cut_pictures", windows, &[count, 4])?;
        whole("cut_pictures", out, &[count, 3, rows, columns])?;
        if out.is_empty() != (count == 0) || (bytes.is_empty() && count > 0) {
            return Err(Fault::new(format!("cut_pictures: {rows} x {columns} of {height} x {width} pixels")));
        }
        let (step, plane) = match self.order {
            Order::Pixels => (3, 1),
            Order::Planes => (1, height * width),
        };
        let by = Argument::structure(by);
        let arguments = arguments![bytes, windows, out, by, count, height, width, step, plane, rows, columns];
        each(queue, "cut_pictures", count * rows * columns, arguments)
    }
}
