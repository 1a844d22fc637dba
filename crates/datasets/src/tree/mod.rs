//! Files by name, wherever they are: in a folder, or in a zip or tar archive that stays unopened.
//!
//! An archive is gone through once, and after that a file is one read at its place, by any number of threads at once.
//! Nothing is ever unpacked to disk, and links and names that lead outside are refused all the same. In a folder links
//! are followed: there they are the user's own.

mod tar;
mod zip;

use crate::{Error, Result};
use flate2::read::DeflateDecoder;
use std::borrow::Cow;
use std::fs::File;
use std::io::Read;
use std::path::{Component, Path, PathBuf};

/// How deep folders may lie in one another: a link to a folder above ends here.
const DEPTH: usize = 16;
/// The largest file that is read whole, in bytes: no picture or list of a data set comes near.
const LARGEST: u64 = 1 << 30;

/// Files below a folder or in an archive. Names are relative, with `/`, whatever the system.
#[derive(Debug)]
pub(crate) struct Tree {
    root: PathBuf,
    /// What stands before every name: empty, or a folder with its `/`.
    prefix: String,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Folder,
    Archive(Archive),
}

/// An open archive and its members, sorted by name.
#[derive(Debug)]
struct Archive {
    file: File,
    members: Vec<Member>,
}

/// A file inside an archive.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Member {
    name: String,
    /// Where its bytes begin in the archive.
    start: u64,
    /// How many bytes it takes there.
    stored: u64,
    /// How many bytes it has; other than `stored` only where it is deflated.
    bytes: u64,
    deflated: bool,
}

impl Tree {
    /// The files of a folder, or of a `.zip` or `.tar` archive.
    ///
    /// # Errors
    /// When it can't be read, or the archive is damaged, cut short, or has a link or a name that leads outside.
    pub(crate) fn open(path: &Path) -> Result<Self> {
        let kind = if path.is_dir() {
            Kind::Folder
        } else {
            let file = File::open(path).map_err(|cause| Error::io(path, cause))?;
            let mut members = match path.extension().and_then(|extension| extension.to_str()) {
                Some("zip") => zip::members(path, &file)?,
                Some("tar") => tar::members(path, &file)?,
                _ => return Err(damaged(path, "is neither a folder nor a .zip or .tar archive")),
            };
            members.sort_by(|a, b| a.name.cmp(&b.name));
            Kind::Archive(Archive { file, members })
        };
        Ok(Self { root: path.to_owned(), prefix: String::new(), kind })
    }

    /// The same files seen from a folder inside.
    pub(crate) fn below(mut self, folder: &str) -> Self {
        self.prefix = format!("{}{folder}/", self.prefix);
        self
    }

    /// What messages call a file.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.root.join(&self.prefix).join(name)
    }

    /// Whether there is such a file.
    pub(crate) fn has_file(&self, name: &str) -> bool {
        match &self.kind {
            Kind::Folder => self.path(name).is_file(),
            Kind::Archive(archive) => archive.find(&self.inner(name)).is_some(),
        }
    }

    /// Whether there is such a folder; in an archive, whether it has a file.
    pub(crate) fn has_folder(&self, name: &str) -> bool {
        match &self.kind {
            Kind::Folder => self.path(name).is_dir(),
            Kind::Archive(archive) => !archive.below(&self.inside(name)).is_empty(),
        }
    }

    /// The names of the folders in a folder (`""`: the top), sorted.
    pub(crate) fn folders(&self, folder: &str) -> Result<Vec<String>> {
        let mut names = match &self.kind {
            Kind::Folder => {
                let entries = entries(&self.path(folder))?;
                entries.into_iter().filter(|(path, _)| path.is_dir()).map(|(_, name)| name).collect()
            }
            Kind::Archive(archive) => {
                let prefix = self.inside(folder);
                let members = archive.below(&prefix).iter();
                let mut names: Vec<String> = members
                    .filter_map(|member| Some(member.name[prefix.len()..].split_once('/')?.0.to_owned()))
                    .collect();
                names.dedup();
                names
            }
        };
        names.sort_unstable();
        Ok(names)
    }

    /// The names of all files in a folder (`""`: the top) and the folders below it, from the top on, in the order in which
    /// torchvision's `ImageFolder` comes to them: folder by folder, each folder's own files before those deeper down.
    pub(crate) fn files(&self, folder: &str) -> Result<Vec<String>> {
        let mut names = match &self.kind {
            Kind::Folder => {
                let mut names = Vec::new();
                walk(&self.path(folder), folder, DEPTH, &mut names)?;
                names
            }
            Kind::Archive(archive) => {
                let members = archive.below(&self.inside(folder)).iter();
                members.map(|member| member.name[self.prefix.len()..].to_owned()).collect()
            }
        };
        names.sort_unstable_by(|a, b| split(a).cmp(&split(b)));
        Ok(names)
    }

    /// The names of the files in a folder itself, without their folder.
    pub(crate) fn own_files(&self, folder: &str) -> Result<Vec<String>> {
        match &self.kind {
            Kind::Folder => {
                let entries = entries(&self.path(folder))?;
                Ok(entries.into_iter().filter(|(path, _)| path.is_file()).map(|(_, name)| name).collect())
            }
            Kind::Archive(archive) => {
                let prefix = self.inside(folder);
                let names = archive.below(&prefix).iter().map(|member| &member.name[prefix.len()..]);
                Ok(names.filter(|name| !name.contains('/')).map(str::to_owned).collect())
            }
        }
    }

    /// Reads a file into a buffer, whose content is replaced.
    ///
    /// # Errors
    /// When there is no such file, or it can't be read whole.
    pub(crate) fn read(&self, name: &str, buffer: &mut Vec<u8>) -> Result<()> {
        buffer.clear();
        let failed = |cause| Error::io(self.path(name), cause);
        match &self.kind {
            Kind::Folder => {
                let file = File::open(self.path(name)).map_err(failed)?;
                file.take(LARGEST).read_to_end(buffer).map_err(failed)?;
                Ok(())
            }
            Kind::Archive(archive) => {
                let found = archive.find(&self.inner(name));
                let member = found.ok_or_else(|| damaged(&self.root, &format!("has no member {name}")))?;
                archive.read(member, buffer).map_err(failed)
            }
        }
    }

    /// Reads `bytes` bytes of a file from `start` on.
    ///
    /// # Errors
    /// When there is no such file, it ends before, or it is compressed.
    pub(crate) fn read_part(&self, name: &str, start: u64, part: &mut [u8]) -> Result<()> {
        let failed = |cause| Error::io(self.path(name), cause);
        match &self.kind {
            Kind::Folder => {
                let file = File::open(self.path(name)).map_err(failed)?;
                read_at(&file, start, part).map_err(failed)
            }
            Kind::Archive(archive) => {
                let found = archive.find(&self.inner(name));
                let member = found.ok_or_else(|| damaged(&self.root, &format!("has no member {name}")))?;
                if member.deflated || start + part.len() as u64 > member.stored {
                    return Err(damaged(&self.path(name), "is compressed or ends too early"));
                }
                read_at(&archive.file, member.start + start, part).map_err(failed)
            }
        }
    }

    /// How many bytes a file has.
    pub(crate) fn bytes(&self, name: &str) -> Result<u64> {
        match &self.kind {
            Kind::Folder => {
                let path = self.path(name);
                std::fs::metadata(&path).map(|data| data.len()).map_err(|cause| Error::io(path, cause))
            }
            Kind::Archive(archive) => {
                let found = archive.find(&self.inner(name));
                found.map(|member| member.bytes).ok_or_else(|| damaged(&self.root, "has no such member"))
            }
        }
    }

    /// Reads a text file.
    ///
    /// # Errors
    /// When there is no such file, or it isn't UTF-8.
    pub(crate) fn text(&self, name: &str) -> Result<String> {
        let mut bytes = Vec::new();
        self.read(name, &mut bytes)?;
        String::from_utf8(bytes).map_err(|_| Error::list(self.path(name), "is no UTF-8 text"))
    }

    /// The whole name of a file in an archive.
    fn inner<'a>(&self, name: &'a str) -> Cow<'a, str> {
        if self.prefix.is_empty() { name.into() } else { format!("{}{name}", self.prefix).into() }
    }

    /// The prefix of the members of a folder.
    fn inside(&self, folder: &str) -> String {
        if folder.is_empty() { self.prefix.clone() } else { format!("{}{folder}/", self.prefix) }
    }
}

impl Archive {
    fn find(&self, name: &str) -> Option<&Member> {
        let position = self.members.binary_search_by(|member| member.name.as_str().cmp(name));
        position.ok().map(|position| &self.members[position])
    }

    /// The members whose names begin with a prefix: they stand together.
    fn below(&self, prefix: &str) -> &[Member] {
        let start = self.members.partition_point(|member| member.name.as_str() < prefix);
        let rest = &self.members[start..];
        &rest[..rest.partition_point(|member| member.name.starts_with(prefix))]
    }

    fn read(&self, member: &Member, buffer: &mut Vec<u8>) -> std::io::Result<()> {
        if member.stored > LARGEST || member.bytes > LARGEST {
            return Err(std::io::Error::other(format!("it has more than {LARGEST} bytes")));
        }
        buffer.resize(member.stored as usize, 0);
        read_at(&self.file, member.start, buffer)?;
        if member.deflated {
            let packed = std::mem::take(buffer);
            buffer.reserve(member.bytes as usize);
            DeflateDecoder::new(&*packed).take(member.bytes + 1).read_to_end(buffer)?;
        }
        if buffer.len() as u64 == member.bytes {
            return Ok(());
        }
        Err(std::io::Error::other(format!("it has {} bytes, expected {}", buffer.len(), member.bytes)))
    }
}

/// Reads without moving the file's own position, which its readers would otherwise share.
#[cfg(unix)]
fn read_at(file: &File, start: u64, buffer: &mut [u8]) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, buffer, start)
}

/// Reads at a place of a file.
#[cfg(windows)]
fn read_at(file: &File, start: u64, buffer: &mut [u8]) -> std::io::Result<()> {
    let mut read = 0;
    while read < buffer.len() {
        match std::os::windows::fs::FileExt::seek_read(file, &mut buffer[read..], start + read as u64)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            bytes => read += bytes,
        }
    }
    Ok(())
}

/// A name as its folder and what stands in it, so that a folder's own files come before those of folders in it.
fn split(name: &str) -> (&str, &str) {
    name.rsplit_once('/').unwrap_or(("", name))
}

/// What stands in a folder of the disk, with its name.
fn entries(folder: &Path) -> Result<Vec<(PathBuf, String)>> {
    let failed = |cause| Error::io(folder, cause);
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let Ok(name) = entry.file_name().into_string() else {
            return Err(Error::list(entry.path(), "has a name that isn't UTF-8"));
        };
        // What begins with a dot is the system's, or an editor's: `.DS_Store`, `._picture.jpg`.
        if !name.starts_with('.') {
            found.push((entry.path(), name));
        }
    }
    Ok(found)
}

fn walk(path: &Path, folder: &str, depth: usize, names: &mut Vec<String>) -> Result<()> {
    if depth == 0 {
        return Err(Error::list(path, &format!("lies more than {DEPTH} folders deep: a link in a circle?")));
    }
    for (path, name) in entries(path)? {
        let name = if folder.is_empty() { name } else { format!("{folder}/{name}") };
        if path.is_dir() {
            walk(&path, &name, depth - 1, names)?;
        } else {
            names.push(name);
        }
    }
    Ok(())
}

/// A fault of an archive.
fn damaged(path: &Path, problem: &str) -> Error {
    Error::Archive { path: path.to_owned(), problem: problem.to_owned() }
}

/// The name of an archive's member with `/` and without a `.` in front; refuses one that would leave the archive's folder.
pub(crate) fn member_name(archive: &Path, name: &str) -> Result<String> {
    let outside = || damaged(archive, &format!("member `{name}` lies outside the archive's folder"));
    // On other systems a backslash is a letter of a name; no data set has one, and on Windows it would lead elsewhere.
    if name.contains(['\\', '\0']) {
        return Err(outside());
    }
    let mut parts = Vec::new();
    for part in Path::new(name).components() {
        match part {
            Component::Normal(part) => parts.push(part.to_str().ok_or_else(outside)?),
            Component::CurDir => (),
            _ => return Err(outside()),
        }
    }
    Ok(parts.join("/"))
}

#[cfg(test)]
mod tests;
