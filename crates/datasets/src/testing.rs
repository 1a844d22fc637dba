//! What tests of pictures share: a picture that a line of Python makes too, and a digest to compare whole pictures by.

use md5::{Digest, Md5};

use crate::{CHANNELS, Picture};

/// The bytes `(a i² + b i + c) mod d`.
pub(crate) fn picture(height: usize, width: usize, [a, b, c, d]: [usize; 4]) -> Picture {
    let pixels = (0..height * width * CHANNELS).map(|i| ((a * i * i + b * i + c) % d) as u8).collect();
    Picture { height, width, pixels }
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// The MD5 digest of bytes, in hexadecimal digits.
pub(crate) fn digest(bytes: &[u8]) -> String {
    hex(&Md5::digest(bytes))
}
