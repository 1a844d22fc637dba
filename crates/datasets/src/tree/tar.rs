//! The members of an uncompressed tar archive, and of the archives inside it.
//!
//! ImageNet's training archive holds one archive a class: the members of `n01440764.tar` are given as those of a folder
//! `n01440764`.

use super::{Member, damaged, member_name};
use crate::Result;
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// The size of a tar archive's blocks, in bytes.
const BLOCK: u64 = 512;

/// The files of a tar archive.
pub(super) fn members(path: &Path, file: &File) -> Result<Vec<Member>> {
    let broken = |cause: std::io::Error| damaged(path, &format!("cut short or damaged: {cause}"));
    let bytes = file.metadata().map_err(broken)?.len();
    let (mut members, end) = section(path, file, 0, bytes)?;
    // A tar archive ends with two empty blocks. Without them it was cut off between two members, or while it was written.
    if end + 2 * BLOCK > bytes {
        return Err(damaged(path, "cut short: the two empty blocks at its end are missing"));
    }
    let (inner, outer): (Vec<_>, Vec<_>) =
        members.into_iter().partition(|member| member.name.ends_with(".tar"));
    members = outer;
    for archive in inner {
        let folder = archive.name.strip_suffix(".tar").unwrap_or_default();
        let (found, _) = section(path, file, archive.start, archive.bytes)?;
        members.extend(
            found.into_iter().map(|member| Member { name: format!("{folder}/{}", member.name), ..member }),
        );
    }
    Ok(members)
}

/// The files of the archive in a section of a file, and where the last one ends.
fn section(path: &Path, file: &File, start: u64, bytes: u64) -> Result<(Vec<Member>, u64)> {
    let broken = |cause: std::io::Error| damaged(path, &format!("cut short or damaged: {cause}"));
    let reader = Section { file: BufReader::new(file), start, bytes, position: 0 };
    let mut archive = ::tar::Archive::new(reader);
    let (mut members, mut end) = (Vec::new(), 0);
    for entry in archive.entries_with_seek().map_err(broken)? {
        let entry = entry.map_err(broken)?;
        let raw = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let name = member_name(path, &raw)?;
        let (kind, place, size) = (entry.header().entry_type(), entry.raw_file_position(), entry.size());
        if kind.is_symlink() || kind.is_hard_link() {
            return Err(damaged(path, &format!("member `{raw}` is a link, expected a file")));
        }
        end = place.saturating_add(size.next_multiple_of(BLOCK));
        if place.saturating_add(size) > bytes {
            return Err(damaged(path, &format!("cut short: member `{raw}` ends beyond it")));
        }
        if kind.is_file() {
            members.push(Member { name, start: start + place, stored: size, bytes: size, deflated: false });
        }
    }
    Ok((members, end))
}

/// A part of a file as a file of its own.
struct Section<'a> {
    file: BufReader<&'a File>,
    start: u64,
    bytes: u64,
    position: u64,
}

impl Read for Section<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let left = self.bytes.saturating_sub(self.position).min(buffer.len() as u64) as usize;
        let target = (self.start + self.position) as i64;
        // A relative seek keeps what is buffered.
        let now = self.file.stream_position()? as i64;
        self.file.seek_relative(target - now)?;
        let read = self.file.read(&mut buffer[..left])?;
        self.position += read as u64;
        Ok(read)
    }
}

impl Seek for Section<'_> {
    fn seek(&mut self, to: SeekFrom) -> std::io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::Current(by) => self.position.checked_add_signed(by),
            SeekFrom::End(by) => self.bytes.checked_add_signed(by),
        };
        self.position = position.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.position)
    }
}
