//! A data set that is decoded once and kept in memory, a byte a channel.

use crate::{CHANNELS, Error, Picture, Result, Source};

/// Decoded pictures of one size, with their labels.
///
/// CIFAR-10 takes 154 MB this way, and a read is a copy of 3 KB.
#[derive(Clone, Debug)]
pub struct Memory {
    name: String,
    class_names: Vec<String>,
    size: [usize; 2],
    labels: Vec<u16>,
    pixels: Vec<u8>,
}

impl Memory {
    /// A source of `labels.len()` pictures of `size` (height, width), whose `pixels` are `[N, H, W, 3]`.
    ///
    /// # Errors
    /// When the pixels don't fill the pictures exactly, or a label is not one of the classes.
    pub fn new(
        name: &str,
        class_names: Vec<String>,
        size: [usize; 2],
        labels: Vec<u16>,
        pixels: Vec<u8>,
    ) -> Result<Self> {
        let expected = labels.len() * size[0] * size[1] * CHANNELS;
        if pixels.len() != expected {
            return Err(Error::FileSize {
                path: name.into(),
                found: pixels.len() as u64,
                expected: expected as u64,
            });
        }
        let classes = class_names.len();
        if let Some(row) = labels.iter().position(|&label| usize::from(label) >= classes) {
            return Err(Error::Label { path: name.into(), row, label: labels[row].into(), classes });
        }
        Ok(Self { name: name.to_owned(), class_names, size, labels, pixels })
    }
}

impl Source for Memory {
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
        Some(self.size)
    }

    fn label(&self, index: usize) -> Result<usize> {
        let found = self.labels.get(index).map(|&label| usize::from(label));
        found.ok_or_else(|| Error::Index { name: self.name.clone(), index, len: self.labels.len() })
    }

    fn read(&self, index: usize, picture: &mut Picture) -> Result<usize> {
        let label = self.label(index)?;
        let [height, width] = self.size;
        let bytes = height * width * CHANNELS;
        picture.resize(height, width);
        picture.pixels.copy_from_slice(&self.pixels[index * bytes..][..bytes]);
        Ok(label)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(count: usize) -> Vec<String> {
        (0..count).map(|i| format!("class {i}")).collect()
    }

    #[test]
    fn reads_the_picture_at_an_index_into_a_reused_buffer() {
        let source = Memory::new("set", names(3), [1, 2], vec![2, 0], (0..12).collect()).unwrap();
        let mut picture = Picture::default();
        assert_eq!(source.read(1, &mut picture).unwrap(), 0);
        assert_eq!(picture, Picture { height: 1, width: 2, pixels: vec![6, 7, 8, 9, 10, 11] });
        assert_eq!(source.read(0, &mut picture).unwrap(), 2);
        assert_eq!(picture.pixels, [0, 1, 2, 3, 4, 5]);
        let error = source.read(2, &mut picture).unwrap_err().to_string();
        assert_eq!(error, "set has 2 pictures, there is none at index 2");
    }

    #[test]
    fn refuses_pixels_and_labels_that_do_not_fit() {
        let error = Memory::new("set", names(3), [1, 2], vec![0], vec![0; 5]).unwrap_err().to_string();
        assert_eq!(error, "`set` has 5 bytes, expected 6");
        let error = Memory::new("set", names(3), [1, 1], vec![0, 3], vec![0; 6]).unwrap_err().to_string();
        assert_eq!(error, "`set` row 1: label 3, expected 0 to 2");
    }
}
