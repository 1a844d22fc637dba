//! The original binary files of CIFAR, in their folder or in the archive as it was published.
//!
//! A record is one or two label bytes and then three planes, red, green and blue, each 32 rows of 32 bytes from the
//! top. Archives are read unopened, member by member; nothing in this crate ever unpacks one to disk.

use crate::cifar::{Layout, SIZE};
use crate::{CHANNELS, Error, Format, Location, Memory, Result, Split};
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Component, Path};

/// Pixels of a picture, and bytes of a channel.
const PLANE: usize = SIZE[0] * SIZE[1];

impl Layout {
    /// Reads a split of `count` pictures from the binary files at `location`.
    pub(crate) fn read_binary(
        &self,
        name: &str,
        location: &Location,
        split: Split,
        count: usize,
    ) -> Result<Memory> {
        let files = self.files(split);
        let rows = count / files.len();
        let mut records = Records::new(self, count);
        match location.format {
            Format::BinaryArchive => self.read_archive(&location.path, files, rows, &mut records)?,
            _ => {
                for (part, file) in files.iter().enumerate() {
                    let path = location.path.join(file);
                    let member = File::open(&path).map_err(|cause| Error::io(&path, cause))?;
                    let bytes = member.metadata().map_err(|cause| Error::io(&path, cause))?.len();
                    let content = self.read_member(&path, member, bytes, rows)?;
                    records.decode(&path, part * rows, &content)?;
                }
            }
        }
        Memory::new(name, self.class_names(), SIZE, records.labels, records.pixels)
    }

    /// Reads the members that hold `files`, in whatever order the archive has them.
    fn read_archive(&self, path: &Path, files: &[&str], rows: usize, records: &mut Records) -> Result<()> {
        let damaged = |cause: std::io::Error| Error::Archive {
            path: path.to_owned(),
            problem: format!("cut short or damaged: {cause}"),
        };
        let file = File::open(path).map_err(|cause| Error::io(path, cause))?;
        let mut archive = tar::Archive::new(GzDecoder::new(BufReader::new(file)));
        let mut missing: Vec<usize> = (0..files.len()).collect();
        for entry in archive.entries().map_err(damaged)? {
            let entry = entry.map_err(damaged)?;
            let member = entry.path().map_err(damaged)?.into_owned();
            check_member(path, &member, entry.header().entry_type())?;
            let found = missing.iter().position(|&part| member == Path::new(self.folder).join(files[part]));
            if let Some(position) = found {
                let part = missing.swap_remove(position);
                let (inside, bytes) = (path.join(&member), entry.size());
                let content = match self.read_member(&inside, entry, bytes, rows) {
                    Err(Error::Io { cause, .. }) => return Err(damaged(cause)),
                    other => other?,
                };
                records.decode(&inside, part * rows, &content)?;
            }
            if missing.is_empty() {
                return Ok(());
            }
        }
        missing.sort_unstable();
        let problem = format!("has no member {}/{}", self.folder, files[missing[0]]);
        Err(Error::Archive { path: path.to_owned(), problem })
    }

    /// The content of a binary file, which must have exactly `rows` records.
    fn read_member(&self, path: &Path, mut member: impl Read, bytes: u64, rows: usize) -> Result<Vec<u8>> {
        let expected = rows * (self.label_bytes + CHANNELS * PLANE);
        if bytes != expected as u64 {
            return Err(Error::FileSize { path: path.to_owned(), found: bytes, expected: expected as u64 });
        }
        let mut content = vec![0; expected];
        member.read_exact(&mut content).map_err(|cause| Error::io(path, cause))?;
        Ok(content)
    }
}

/// Refuses an archive with a link or with a member that would leave its folder, though nothing is written here.
fn check_member(archive: &Path, member: &Path, kind: tar::EntryType) -> Result<()> {
    let inside = member.components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
    let reason = if !inside {
        "lies outside the archive's folder"
    } else if kind.is_symlink() || kind.is_hard_link() {
        "is a link, expected a file"
    } else {
        return Ok(());
    };
    let problem = format!("member `{}` {reason}", member.display());
    Err(Error::Archive { path: archive.to_owned(), problem })
}

/// The pictures of a split as they are filled in, file by file.
struct Records {
    label_bytes: usize,
    classes: usize,
    labels: Vec<u16>,
    pixels: Vec<u8>,
}

impl Records {
    fn new(layout: &Layout, count: usize) -> Self {
        Self {
            label_bytes: layout.label_bytes,
            classes: layout.class_names.len(),
            labels: vec![0; count],
            pixels: vec![0; count * CHANNELS * PLANE],
        }
    }

    /// Decodes the records of a file; the first one becomes picture `first`.
    fn decode(&mut self, path: &Path, first: usize, content: &[u8]) -> Result<()> {
        let record_bytes = self.label_bytes + CHANNELS * PLANE;
        let pictures = self.pixels[first * CHANNELS * PLANE..].chunks_exact_mut(CHANNELS * PLANE);
        for (row, (record, picture)) in content.chunks_exact(record_bytes).zip(pictures).enumerate() {
            let (labels, planes) = record.split_at(self.label_bytes);
            let label = labels[self.label_bytes - 1];
            if usize::from(label) >= self.classes {
                let (path, classes) = (path.to_owned(), self.classes);
                return Err(Error::Label { path, row, label: label.into(), classes });
            }
            self.labels[first + row] = label.into();
            for (at, pixel) in picture.chunks_exact_mut(CHANNELS).enumerate() {
                for (channel, value) in pixel.iter_mut().enumerate() {
                    *value = planes[channel * PLANE + at];
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cifar::{CIFAR10, CIFAR100};
    use crate::{Picture, Source, testing};
    use std::path::PathBuf;

    /// Three records whose red is the row, green the column, and blue the record's number.
    fn records(layout: &Layout, labels: [u8; 3]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (number, label) in labels.into_iter().enumerate() {
            // The coarse label that stands before a fine one must not be taken for it.
            bytes.extend(vec![19; layout.label_bytes - 1]);
            bytes.push(label);
            bytes.extend((0..PLANE).map(|at| (at / 32) as u8));
            bytes.extend((0..PLANE).map(|at| (at % 32) as u8));
            bytes.extend([number as u8; PLANE]);
        }
        bytes
    }

    fn write_archive(path: &Path, members: &[(&str, tar::EntryType, &[u8])]) {
        std::fs::write(path, testing::gzip(&testing::tar(members))).unwrap();
    }

    fn archive_of(path: &Path, members: &[(&str, &[u8])]) {
        let members: Vec<_> =
            members.iter().map(|&(name, content)| (name, tar::EntryType::Regular, content)).collect();
        write_archive(path, &members);
    }

    fn read(layout: &Layout, format: Format, path: PathBuf, split: Split, count: usize) -> Result<Memory> {
        layout.read_binary("set", &Location { format, path }, split, count)
    }

    fn check(source: &Memory, labels: &[usize]) {
        let mut picture = Picture::default();
        assert_eq!(source.len(), labels.len());
        for (index, &label) in labels.iter().enumerate() {
            assert_eq!(source.read(index, &mut picture).unwrap(), label);
            let pixel = |y: usize, x: usize| &picture.pixels[(y * 32 + x) * 3..][..3];
            assert_eq!(pixel(5, 20), [5, 20, (index % 3) as u8]);
            assert_eq!(pixel(31, 0), [31, 0, (index % 3) as u8]);
        }
    }

    #[test]
    fn folders_and_archives_give_the_same_upright_pictures() {
        let home = tempfile::tempdir().unwrap();
        for (layout, labels) in [(&CIFAR10, [9, 0, 3]), (&CIFAR100, [99, 0, 42])] {
            let folder = home.path().join(layout.folder);
            std::fs::create_dir(&folder).unwrap();
            let content = records(layout, labels);
            let names: Vec<String> =
                layout.train.iter().map(|file| format!("{}/{file}", layout.folder)).collect();
            for file in layout.train {
                std::fs::write(folder.join(file), &content).unwrap();
            }
            // Backwards, and among others: the order of the members says nothing.
            let mut members: Vec<(&str, &[u8])> =
                names.iter().rev().map(|name| (&**name, &*content)).collect();
            members.insert(0, ("readme.html", b"<p>"));
            let archive = home.path().join(layout.archive.file);
            archive_of(&archive, &members);

            let count = 3 * layout.train.len();
            let labels = labels.map(usize::from).repeat(layout.train.len());
            check(&read(layout, Format::BinaryFolder, folder, Split::Train, count).unwrap(), &labels);
            check(&read(layout, Format::BinaryArchive, archive, Split::Train, count).unwrap(), &labels);
        }
    }

    #[test]
    fn bad_files_and_members_are_named() {
        let home = tempfile::tempdir().unwrap();
        let (file, archive) = (home.path().join("test_batch.bin"), home.path().join("a.tar.gz"));
        let folder = || read(&CIFAR10, Format::BinaryFolder, home.path().to_owned(), Split::Test, 3);
        let member = "cifar-10-batches-bin/test_batch.bin";
        let packed = || read(&CIFAR10, Format::BinaryArchive, archive.clone(), Split::Test, 3);
        let cases = [
            (records(&CIFAR10, [0; 3])[1..].to_vec(), " has 9218 bytes, expected 9219"),
            (Vec::new(), " has 0 bytes, expected 9219"),
            (records(&CIFAR10, [1, 10, 0]), " row 1: label 10, expected 0 to 9"),
        ];
        for (content, expected) in cases {
            std::fs::write(&file, &content).unwrap();
            archive_of(&archive, &[(member, &content)]);
            assert_eq!(folder().unwrap_err().to_string(), format!("`{}`{expected}", file.display()));
            let inside = archive.join(member);
            assert_eq!(packed().unwrap_err().to_string(), format!("`{}`{expected}", inside.display()));
        }
        std::fs::remove_file(&file).unwrap();
        assert!(folder().unwrap_err().to_string().starts_with(&format!("`{}`: ", file.display())));
    }

    #[test]
    fn an_archive_cut_short_anywhere_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.tar.gz");
        let content = records(&CIFAR10, [0, 1, 2]);
        archive_of(&path, &[("cifar-10-batches-bin/test_batch.bin", &content)]);
        let whole = std::fs::read(&path).unwrap();
        for bytes in [0, 5, 40, whole.len() / 2] {
            std::fs::write(&path, &whole[..bytes]).unwrap();
            let error = read(&CIFAR10, Format::BinaryArchive, path.clone(), Split::Test, 3).unwrap_err();
            assert!(matches!(&error, Error::Archive { .. }), "{error}");
        }
        std::fs::write(&path, &whole).unwrap();
        let error =
            read(&CIFAR100, Format::BinaryArchive, path.clone(), Split::Test, 3).unwrap_err().to_string();
        assert_eq!(error, format!("`{}`: has no member cifar-100-binary/test.bin", path.display()));
    }

    #[test]
    fn an_archive_that_reaches_outside_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("a.tar.gz");
        let content = records(&CIFAR10, [0, 1, 2]);
        let outside = "lies outside the archive's folder";
        for (name, kind, problem) in [
            ("../evil", tar::EntryType::Regular, outside),
            ("cifar-10-batches-bin/../../evil", tar::EntryType::Regular, outside),
            ("/etc/evil", tar::EntryType::Regular, outside),
            ("link", tar::EntryType::Symlink, "is a link, expected a file"),
            ("link", tar::EntryType::Link, "is a link, expected a file"),
        ] {
            let good = ("cifar-10-batches-bin/test_batch.bin", tar::EntryType::Regular, &*content);
            write_archive(&path, &[(name, kind, b""), good]);
            let error =
                read(&CIFAR10, Format::BinaryArchive, path.clone(), Split::Test, 3).unwrap_err().to_string();
            assert_eq!(error, format!("`{}`: member `{name}` {problem}", path.display()));
        }
    }
}
