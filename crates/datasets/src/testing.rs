//! What tests share: a picture that a line of Python makes too, a digest to compare whole pictures by, and archives.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use md5::{Digest, Md5};
use tar::{EntryType, Header};

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

/// A tar archive of members whose names are not checked.
pub(crate) fn tar(members: &[(&str, EntryType, &[u8])]) -> Vec<u8> {
    let mut archive = tar::Builder::new(Vec::new());
    for &(name, kind, content) in members {
        let mut header = Header::new_gnu();
        header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(kind);
        header.set_size(content.len() as u64);
        header.set_cksum();
        archive.append(&header, content).unwrap();
    }
    archive.into_inner().unwrap()
}

/// Bytes, compressed.
pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}
