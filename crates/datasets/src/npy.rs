//! NumPy's `.npy` files: a header that describes an array, then its numbers.

use crate::tree::Tree;
use crate::{Error, Result};
use std::path::PathBuf;

/// The longest header that is read, in bytes.
const HEADER: usize = 1 << 16;

/// An array in a file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    path: PathBuf,
    name: String,
    /// The type of the numbers as NumPy writes it, as `|u1`.
    pub(crate) kind: String,
    pub(crate) shape: Vec<usize>,
    /// Where the numbers begin in the file.
    pub(crate) start: u64,
}

impl Array {
    /// Reads the header of a file.
    ///
    /// # Errors
    /// When the file is no array in the order of C, or is shorter or longer than its array.
    pub(crate) fn open(tree: &Tree, name: &str) -> Result<Self> {
        let path = tree.path(name);
        let file_bytes = tree.bytes(name)?;
        let mut head = vec![0; file_bytes.min(HEADER as u64) as usize];
        tree.read_part(name, 0, &mut head)?;
        let (kind, shape, start) = header(&head).map_err(|problem| {
            Error::list(&path, &format!("is no .npy file that was expected: {problem}"))
        })?;
        let array = Self { path, name: name.to_owned(), kind, shape, start: start as u64 };
        let numbers = array.shape.iter().try_fold(1u64, |product, &size| product.checked_mul(size as u64));
        let expected = numbers
            .and_then(|numbers| numbers.checked_mul(array.number_bytes()?))
            .and_then(|bytes| bytes.checked_add(array.start));
        match expected {
            Some(expected) if expected == file_bytes => Ok(array),
            Some(expected) => Err(Error::FileSize { path: array.path, found: file_bytes, expected }),
            None => Err(array.wrong(&format!("has numbers of the type {}", array.kind))),
        }
    }

    /// A fault of the array.
    pub(crate) fn wrong(&self, problem: &str) -> Error {
        Error::list(&self.path, problem)
    }

    /// Bytes of a number: the digit that the type ends with.
    fn number_bytes(&self) -> Option<u64> {
        let digits = self.kind.get(2..)?;
        digits.parse().ok().filter(|bytes| [1, 2, 4, 8].contains(bytes))
    }

    /// All numbers of an array of whole numbers.
    ///
    /// # Errors
    /// When they aren't whole numbers with the low byte first, or can't be read.
    pub(crate) fn integers(&self, tree: &Tree) -> Result<Vec<i64>> {
        let bytes = self.number_bytes().unwrap_or(1) as usize;
        let signed = match self.kind.as_bytes() {
            [b'<' | b'|', b'i', _] => true,
            [b'<' | b'|', b'u', _] => false,
            _ => return Err(self.wrong(&format!("has numbers of the type {}, expected integers", self.kind))),
        };
        let mut content = vec![0; self.shape.iter().product::<usize>() * bytes];
        tree.read_part(&self.name, self.start, &mut content)?;
        let number = |number: &[u8]| {
            let mut wide = [0; 8];
            wide[..bytes].copy_from_slice(number);
            // Shifted up and down again, which spreads the sign.
            let unused = 64 - 8 * bytes as u32;
            let wide = i64::from_le_bytes(wide) << unused;
            if signed { wide >> unused } else { ((wide as u64) >> unused) as i64 }
        };
        Ok(content.chunks_exact(bytes).map(number).collect())
    }
}

/// Type, shape and length of a header.
pub(crate) fn header(bytes: &[u8]) -> std::result::Result<(String, Vec<usize>, usize), String> {
    let rest = bytes.strip_prefix(b"\x93NUMPY").ok_or("it doesn't begin as one")?;
    let (length, text) = match *rest {
        [1, _, a, b, ref text @ ..] => (usize::from(u16::from_le_bytes([a, b])), text),
        [2 | 3, _, a, b, c, d, ref text @ ..] => (u32::from_le_bytes([a, b, c, d]) as usize, text),
        _ => return Err("its version is not known here".to_owned()),
    };
    let start = bytes.len() - text.len() + length;
    let text = text
        .get(..length)
        .and_then(|text| std::str::from_utf8(text).ok())
        .ok_or("its header is cut short")?;
    let after = |key: &str| {
        let (_, value) = text.split_once(&format!("'{key}':")).ok_or(format!("it doesn't say `{key}`"))?;
        Ok::<&str, String>(value.trim_start())
    };
    let kind = after("descr")?.strip_prefix('\'').and_then(|kind| kind.split_once('\''));
    let kind = kind.ok_or("its numbers have no simple type")?.0.to_owned();
    if !after("fortran_order")?.starts_with("False") {
        return Err("it is in Fortran's order".to_owned());
    }
    let shape = after("shape")?.strip_prefix('(').and_then(|shape| shape.split_once(')'));
    let sizes =
        shape.ok_or("its shape is missing")?.0.split(',').map(str::trim).filter(|size| !size.is_empty());
    let shape = sizes.map(str::parse).collect::<std::result::Result<_, _>>();
    Ok((kind, shape.map_err(|_| "its shape has other than numbers")?, start))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    fn tree() -> Tree {
        Tree::open(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")).unwrap()
    }

    #[test]
    fn numbers_of_every_width_are_read() {
        for kind in ["u1", "i1", "i4", "i8", "u2"] {
            let array = Array::open(&tree(), &format!("npy_{kind}.npy")).unwrap();
            assert_eq!(
                (&array.shape[..], array.integers(&tree()).unwrap()),
                (&[4][..], vec![0, 1, 99, 100]),
                "{kind}"
            );
        }
        assert_eq!(Array::open(&tree(), "npy_v2.npy").unwrap().shape, [2, 3]);
    }

    #[test]
    fn other_arrays_and_cut_files_are_refused() {
        let error = Array::open(&tree(), "npy_fortran.npy").unwrap_err().to_string();
        assert!(error.ends_with("is no .npy file that was expected: it is in Fortran's order"), "{error}");
        let home = tempfile::tempdir().unwrap();
        let whole = std::fs::read(tree().path("npy_i8.npy")).unwrap();
        for cut in [0, 5, 9, 60, whole.len() - 1] {
            std::fs::write(home.path().join("a.npy"), &whole[..cut]).unwrap();
            assert!(Array::open(&Tree::open(home.path()).unwrap(), "a.npy").is_err(), "{cut}");
        }
        for at in 0..whole.len() {
            let mut changed = whole.clone();
            changed[at] ^= 0x41;
            let _ = header(&changed);
        }
    }
}
