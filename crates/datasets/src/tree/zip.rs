//! The members of a zip archive.

use super::{Member, damaged, member_name};
use crate::Result;
use std::fs::File;
use std::io::BufReader;
use std::path::Path;
use zip::{CompressionMethod, ZipArchive};

/// The files of a zip archive: stored or deflated, not encrypted.
pub(super) fn members(path: &Path, file: &File) -> Result<Vec<Member>> {
    let broken = |cause: &dyn std::fmt::Display| damaged(path, &format!("cut short or damaged: {cause}"));
    let mut archive = ZipArchive::new(BufReader::new(file)).map_err(|cause| broken(&cause))?;
    let mut members = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|cause| broken(&cause))?;
        let raw = entry.name().map_err(|cause| broken(&cause))?.into_owned();
        let name = member_name(path, &raw)?;
        if entry.is_symlink() {
            return Err(damaged(path, &format!("member `{raw}` is a link, expected a file")));
        }
        if entry.is_dir() {
            continue;
        }
        let deflated = match entry.compression() {
            CompressionMethod::Stored => false,
            CompressionMethod::Deflated => true,
            other => {
                return Err(damaged(path, &format!("member `{raw}` is packed by {other}, expected deflate")));
            }
        };
        if entry.encrypted() {
            return Err(damaged(path, &format!("member `{raw}` is encrypted")));
        }
        let Some(start) = entry.data_start() else {
            return Err(damaged(path, &format!("member `{raw}` has no beginning")));
        };
        members.push(Member { name, start, stored: entry.compressed_size(), bytes: entry.size(), deflated });
    }
    Ok(members)
}
