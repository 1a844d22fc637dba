//! MATLAB's files of version 5, as far as annotations need them: numbers, texts, cells and structs.
//!
//! The format: a header of 128 bytes, then elements of a type, a length and that many bytes, filled up to a multiple of
//! 8; elements of up to 4 bytes have type and length in 4 bytes. A matrix is an element that holds others: flags with its
//! class, dimensions, a name, and what is in it. MATLAB packs each variable with zlib. Complex and sparse matrices,
//! objects and functions are refused by name.

use flate2::read::ZlibDecoder;
use std::io::Read;

/// The longest variable that is unpacked, in bytes: the largest annotations of a data set have a few megabytes.
const LARGEST: u64 = 256 << 20;
/// How deep cells and structs may lie in one another.
const DEPTH: usize = 8;

/// A variable's content.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Value {
    /// A matrix of numbers of any type, column by column.
    Numbers(Vec<f64>),
    /// A line of characters.
    Text(String),
    /// A cell array, column by column.
    Cells(Vec<Value>),
    /// A struct array: the names of the fields, and the values of each element in their order.
    Structs {
        /// The fields' names.
        fields: Vec<String>,
        /// The elements, column by column.
        elements: Vec<Vec<Value>>,
    },
}

impl Value {
    /// The only number of a matrix.
    pub(crate) fn number(&self) -> Option<f64> {
        match self {
            Self::Numbers(numbers) => numbers.first().copied().filter(|_| numbers.len() == 1),
            _ => None,
        }
    }

    /// A text.
    pub(crate) fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }
}

/// The variables of a file, by name.
///
/// The error says what is wrong with the bytes.
pub(crate) fn read(bytes: &[u8]) -> Result<Vec<(String, Value)>, String> {
    let header = bytes.get(..128).ok_or("it is cut short in its header")?;
    // `IM` where the file was written with the low byte first, as everywhere today.
    if &header[126..] != b"IM" || header[125] != 1 {
        return Err("it is no MATLAB file of version 5 with the low byte first".to_owned());
    }
    let mut rest = Bytes(&bytes[128..]);
    let mut variables = Vec::new();
    while !rest.0.is_empty() {
        let (kind, data) = rest.element()?;
        match kind {
            MATRIX => variables.push(matrix(data, DEPTH)?),
            COMPRESSED => {
                let mut unpacked = Vec::new();
                ZlibDecoder::new(data)
                    .take(LARGEST)
                    .read_to_end(&mut unpacked)
                    .map_err(|cause| format!("a packed variable is damaged: {cause}"))?;
                let mut inner = Bytes(&unpacked);
                match inner.element()? {
                    (MATRIX, data) => variables.push(matrix(data, DEPTH)?),
                    (other, _) => {
                        return Err(format!("a packed element has the type {other}, expected a matrix"));
                    }
                }
            }
            other => return Err(format!("an element has the type {other}, expected a matrix")),
        }
    }
    Ok(variables)
}

/// Types of elements.
const INT8: u32 = 1;
const UINT8: u32 = 2;
const INT32: u32 = 5;
const UINT32: u32 = 6;
const MATRIX: u32 = 14;
const COMPRESSED: u32 = 15;

/// What is left of a file or element.
struct Bytes<'a>(&'a [u8]);

impl<'a> Bytes<'a> {
    fn take(&mut self, count: usize) -> Result<&'a [u8], String> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or("it is cut short")?;
        self.0 = rest;
        Ok(taken)
    }

    fn word(&mut self) -> Result<u32, String> {
        let word = self.take(4)?;
        Ok(u32::from_le_bytes([word[0], word[1], word[2], word[3]]))
    }

    /// The next element: its type and its bytes.
    fn element(&mut self) -> Result<(u32, &'a [u8]), String> {
        let tag = self.word()?;
        let small = (tag >> 16) as usize;
        if small > 0 {
            let data = self.take(4)?;
            return Ok((tag & 0xffff, data.get(..small).ok_or("a short element has more than 4 bytes")?));
        }
        let count = self.word()? as usize;
        let data = self.take(count)?;
        // Packed variables aren't filled up, and neither need the last element be.
        if tag != COMPRESSED {
            let fill = count.next_multiple_of(8) - count;
            self.take(fill.min(self.0.len()))?;
        }
        Ok((tag, data))
    }

    /// The next element, which must have this type.
    fn expect(&mut self, kind: u32, what: &str) -> Result<&'a [u8], String> {
        match self.element()? {
            (found, data) if found == kind => Ok(data),
            (found, _) => Err(format!("{what} has the type {found}, expected {kind}")),
        }
    }
}

/// A matrix and its name.
fn matrix(data: &[u8], depth: usize) -> Result<(String, Value), String> {
    if depth == 0 {
        return Err(format!("it has cells more than {DEPTH} deep"));
    }
    // An empty element stands for an empty matrix.
    if data.is_empty() {
        return Ok((String::new(), Value::Numbers(Vec::new())));
    }
    let mut rest = Bytes(data);
    let flags = rest.expect(UINT32, "a matrix's flags")?;
    let [class, flags, ..] = *flags else { return Err("a matrix has no flags".to_owned()) };
    let dimensions = rest.expect(INT32, "a matrix's dimensions")?;
    let mut count = 1usize;
    for size in dimensions.chunks_exact(4) {
        let size = i32::from_le_bytes([size[0], size[1], size[2], size[3]]);
        let size = usize::try_from(size).map_err(|_| "a matrix has a negative dimension")?;
        count = count.checked_mul(size).ok_or("a matrix is too large")?;
    }
    let name = latin(rest.expect(INT8, "a matrix's name")?);
    let value = match class {
        1 => Value::Cells(cells(&mut rest, count, depth)?),
        2 => structs(&mut rest, count, depth)?,
        4 => Value::Text(text(&mut rest)?),
        6..=15 if flags & 8 != 0 => return Err(format!("`{name}` is complex, expected plain numbers")),
        6..=15 => {
            let numbers = numbers(&mut rest)?;
            if numbers.len() != count {
                return Err(format!("`{name}` has {} numbers, expected {count}", numbers.len()));
            }
            Value::Numbers(numbers)
        }
        3 => return Err(format!("`{name}` is an object, expected numbers, text, cells or structs")),
        5 => return Err(format!("`{name}` is sparse, expected a full matrix")),
        other => return Err(format!("`{name}` has the class {other}, which is not known here")),
    };
    Ok((name, value))
}

fn cells(rest: &mut Bytes<'_>, count: usize, depth: usize) -> Result<Vec<Value>, String> {
    // No memory is set aside for a count that the bytes don't bear out.
    let mut cells = Vec::with_capacity(count.min(rest.0.len() / 8));
    for _ in 0..count {
        cells.push(matrix(rest.expect(MATRIX, "a cell")?, depth - 1)?.1);
    }
    Ok(cells)
}

fn structs(rest: &mut Bytes<'_>, count: usize, depth: usize) -> Result<Value, String> {
    let length = rest.expect(INT32, "the length of field names")?;
    let length = length.first_chunk().map_or(0, |&bytes| i32::from_le_bytes(bytes));
    let length =
        usize::try_from(length).ok().filter(|&length| length > 0).ok_or("field names have no length")?;
    let names = rest.expect(INT8, "the field names")?;
    let fields: Vec<String> = names.chunks_exact(length).map(latin).collect();
    if fields.is_empty() && count > 0 {
        return Err("a struct has no fields".to_owned());
    }
    let mut elements = Vec::with_capacity(count.min(rest.0.len() / 8));
    for _ in 0..count {
        elements.push(cells(rest, fields.len(), depth)?);
    }
    Ok(Value::Structs { fields, elements })
}

/// The characters of a text, which may be stored as 8 or 16 bits.
fn text(rest: &mut Bytes<'_>) -> Result<String, String> {
    let (kind, data) = rest.element()?;
    let wide = || data.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    match kind {
        // 16: UTF-8.
        INT8 | UINT8 | 16 => Ok(std::str::from_utf8(data).map_or_else(|_| latin(data), str::to_owned)),
        // 4: uint16, 17: UTF-16.
        4 | 17 => Ok(char::decode_utf16(wide()).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()),
        other => Err(format!("a text has the type {other}, expected characters")),
    }
}

/// Numbers as they are stored, which may be a smaller type than that of their matrix.
fn numbers(rest: &mut Bytes<'_>) -> Result<Vec<f64>, String> {
    /// The numbers of one type.
    macro_rules! of {
        ($data:expr, $kind:ty) => {
            $data
                .as_chunks::<{ size_of::<$kind>() }>()
                .0
                .iter()
                .map(|&bytes| <$kind>::from_le_bytes(bytes) as f64)
                .collect()
        };
    }
    let (kind, data) = rest.element()?;
    Ok(match kind {
        INT8 => of!(data, i8),
        UINT8 => of!(data, u8),
        3 => of!(data, i16),
        4 => of!(data, u16),
        INT32 => of!(data, i32),
        UINT32 => of!(data, u32),
        7 => of!(data, f32),
        9 => of!(data, f64),
        12 => of!(data, i64),
        13 => of!(data, u64),
        other => return Err(format!("numbers have the type {other}, which is not known here")),
    })
}

/// A name up to its first zero.
fn latin(bytes: &[u8]) -> String {
    bytes.iter().take_while(|&&byte| byte != 0).map(|&byte| char::from(byte)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Written by SciPy: an annotation file with every field's type of Stanford Cars, packed and not.
    const PACKED: &[u8] = include_bytes!("../tests/fixtures/cars/devkit/cars_train_annos.mat");
    const PLAIN: &[u8] = include_bytes!("../tests/fixtures/plain.mat");

    #[test]
    fn structs_and_cells_are_read_packed_and_plain() {
        let variables = read(PACKED).unwrap();
        let [(name, Value::Structs { fields, elements })] = &variables[..] else { panic!("{variables:?}") };
        assert_eq!(name, "annotations");
        assert_eq!(fields, &["bbox_x1", "bbox_y1", "bbox_x2", "bbox_y2", "class", "fname"]);
        assert_eq!(elements[1][5], Value::Text("00002.jpg".to_owned()));
        assert_eq!(elements[1][2].number(), Some(300.));

        let variables = read(PLAIN).unwrap();
        let value = |name: &str| variables.iter().find(|variable| variable.0 == name).unwrap().1.clone();
        assert_eq!(value("small"), Value::Numbers(vec![3.]));
        assert_eq!(value("columns"), Value::Numbers(vec![1., 4., 2., 5., 3., 6.5]));
        assert_eq!(value("text"), Value::Text("Größe".to_owned()));
        let cells = Value::Cells(vec![
            Value::Text("a".to_owned()),
            Value::Numbers(vec![-1.]),
            Value::Numbers(vec![]),
        ]);
        assert_eq!(value("cells"), cells);
    }

    #[test]
    fn complex_and_sparse_matrices_are_refused_by_name() {
        for (bytes, message) in [
            (&include_bytes!("../tests/fixtures/complex.mat")[..], "`z` is complex, expected plain numbers"),
            (&include_bytes!("../tests/fixtures/sparse.mat")[..], "`s` is sparse, expected a full matrix"),
        ] {
            assert_eq!(read(bytes).unwrap_err(), message);
        }
    }

    /// Each byte changed and each length cut: an error or other values, never a panic.
    #[test]
    fn damage_anywhere_is_an_error_or_another_value() {
        for bytes in [PACKED, PLAIN] {
            for cut in 0..bytes.len() {
                let _ = read(&bytes[..cut]);
            }
            for at in 0..bytes.len() {
                for change in [1, 0x80, 0xff] {
                    let mut changed = bytes.to_vec();
                    changed[at] ^= change;
                    let _ = read(&changed);
                }
            }
        }
        assert!(read(&PLAIN[..PLAIN.len() - 9]).is_err());
    }
}
