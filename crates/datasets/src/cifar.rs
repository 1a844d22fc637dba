//! CIFAR-10 and CIFAR-100: what is where in each format, and the records of the original binary files.
//!
//! A record is one or two label bytes and then three planes, red, green and blue, each 32 rows of 32 bytes from the
//! top. Archives are read unopened, member by member; nothing in this crate ever unpacks one to disk.

use crate::{Archive, CHANNELS, Error, Format, Location, Memory, Result, Split};
use flate2::read::GzDecoder;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Component, Path};

/// Height and width of every CIFAR picture.
pub(crate) const SIZE: [usize; 2] = [32, 32];
const PLANE: usize = SIZE[0] * SIZE[1];

/// Names and numbers of one CIFAR data set.
pub(crate) struct Layout {
    /// The folder of the Hub's repository that holds the parquet files.
    pub(crate) hub_folder: &'static str,
    /// The parquet column of the label that is learnt.
    pub(crate) label_column: &'static str,
    /// The original archive.
    pub(crate) archive: Archive,
    /// The folder inside it.
    pub(crate) folder: &'static str,
    /// The binary files of the training pictures, in order.
    pub(crate) train: &'static [&'static str],
    /// The binary file of the test pictures.
    pub(crate) test: &'static [&'static str],
    /// Labels before each picture; the last one is the class.
    pub(crate) label_bytes: usize,
    /// The classes, in the order of their labels.
    pub(crate) class_names: &'static [&'static str],
}

/// CIFAR-10.
pub(crate) static CIFAR10: Layout = Layout {
    hub_folder: "plain_text",
    label_column: "label",
    archive: Archive {
        file: "cifar-10-binary.tar.gz",
        md5: "c32a1d4ab5d03f1284b67883e8d87530",
        mirrors: &[
            "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
            "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
        ],
    },
    folder: "cifar-10-batches-bin",
    train: &[
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
    ],
    test: &["test_batch.bin"],
    label_bytes: 1,
    class_names: &["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"],
};

/// CIFAR-100, by its 100 fine labels.
pub(crate) static CIFAR100: Layout = Layout {
    hub_folder: "cifar100",
    label_column: "fine_label",
    archive: Archive {
        file: "cifar-100-binary.tar.gz",
        md5: "03b5dce01913d631647c71ecec9e9cb8",
        mirrors: &[
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/cifar-100-binary.tar.gz",
        ],
    },
    folder: "cifar-100-binary",
    train: &["train.bin"],
    test: &["test.bin"],
    label_bytes: 2,
    class_names: &[
        "apple",
        "aquarium_fish",
        "baby",
        "bear",
        "beaver",
        "bed",
        "bee",
        "beetle",
        "bicycle",
        "bottle",
        "bowl",
        "boy",
        "bridge",
        "bus",
        "butterfly",
        "camel",
        "can",
        "castle",
        "caterpillar",
        "cattle",
        "chair",
        "chimpanzee",
        "clock",
        "cloud",
        "cockroach",
        "couch",
        "crab",
        "crocodile",
        "cup",
        "dinosaur",
        "dolphin",
        "elephant",
        "flatfish",
        "forest",
        "fox",
        "girl",
        "hamster",
        "house",
        "kangaroo",
        "keyboard",
        "lamp",
        "lawn_mower",
        "leopard",
        "lion",
        "lizard",
        "lobster",
        "man",
        "maple_tree",
        "motorcycle",
        "mountain",
        "mouse",
        "mushroom",
        "oak_tree",
        "orange",
        "orchid",
        "otter",
        "palm_tree",
        "pear",
        "pickup_truck",
        "pine_tree",
        "plain",
        "plate",
        "poppy",
        "porcupine",
        "possum",
        "rabbit",
        "raccoon",
        "ray",
        "road",
        "rocket",
        "rose",
        "sea",
        "seal",
        "shark",
        "shrew",
        "skunk",
        "skyscraper",
        "snail",
        "snake",
        "spider",
        "squirrel",
        "streetcar",
        "sunflower",
        "sweet_pepper",
        "table",
        "tank",
        "telephone",
        "television",
        "tiger",
        "tractor",
        "train",
        "trout",
        "tulip",
        "turtle",
        "wardrobe",
        "whale",
        "willow_tree",
        "wolf",
        "woman",
        "worm",
    ],
};

impl Layout {
    fn files(&self, split: Split) -> &'static [&'static str] {
        match split {
            Split::Train => self.train,
            Split::Test => self.test,
        }
    }

    /// The class names as a source has them.
    pub(crate) fn class_names(&self) -> Vec<String> {
        self.class_names.iter().map(ToString::to_string).collect()
    }

    /// Finds a split under `folder`, or in its subfolder `name`; what was looked for when it isn't there.
    pub(crate) fn locate(
        &self,
        name: &str,
        folder: &Path,
        split: Split,
    ) -> std::result::Result<Location, String> {
        let homes = [folder.to_owned(), folder.join(name)];
        for home in &homes {
            for path in [home.clone(), home.join(self.hub_folder)] {
                if !crate::hub::shards(&path, split).is_empty() {
                    return Ok(Location { format: Format::Parquet, path });
                }
            }
            for path in [home.clone(), home.join(self.folder)] {
                if path.join(self.files(split)[0]).is_file() {
                    return Ok(Location { format: Format::BinaryFolder, path });
                }
            }
            let path = home.join(self.archive.file);
            if path.is_file() {
                return Ok(Location { format: Format::BinaryArchive, path });
            }
        }
        let split = split.name();
        let (hub_folder, archive, folder) = (self.hub_folder, self.archive.file, self.folder);
        Err(format!("{name}/{hub_folder}/{split}-*.parquet, {archive}, {folder}"))
    }

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
    use crate::{Picture, Source};
    use flate2::Compression;
    use flate2::write::GzEncoder;
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

    /// Writes an archive of members whose names are not checked.
    fn write_archive(path: &Path, members: &[(&str, tar::EntryType, &[u8])]) {
        let mut archive = tar::Builder::new(GzEncoder::new(File::create(path).unwrap(), Compression::fast()));
        for &(name, kind, content) in members {
            let mut header = tar::Header::new_gnu();
            header.as_gnu_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
            header.set_entry_type(kind);
            header.set_size(content.len() as u64);
            header.set_cksum();
            archive.append(&header, content).unwrap();
        }
        archive.into_inner().unwrap().finish().unwrap();
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

    #[test]
    fn every_form_of_a_folder_is_found() {
        let home = tempfile::tempdir().unwrap();
        let root = home.path();
        let find = |folder: &Path| CIFAR10.locate("cifar10", folder, Split::Test);
        let expected = "cifar10/plain_text/test-*.parquet, cifar-10-binary.tar.gz, cifar-10-batches-bin";
        assert_eq!(find(root).unwrap_err(), expected);

        std::fs::write(root.join("cifar-10-binary.tar.gz"), "").unwrap();
        let archive = Location { format: Format::BinaryArchive, path: root.join("cifar-10-binary.tar.gz") };
        assert_eq!(find(root).unwrap(), archive);

        let folder = root.join("cifar-10-batches-bin");
        std::fs::create_dir(&folder).unwrap();
        assert_eq!(find(root).unwrap(), archive, "an empty folder is no data set");
        std::fs::write(folder.join("test_batch.bin"), "").unwrap();
        let unpacked = Location { format: Format::BinaryFolder, path: folder.clone() };
        assert_eq!(find(root).unwrap(), unpacked);
        assert_eq!(find(&folder).unwrap(), unpacked);

        let shards = root.join("cifar10/plain_text");
        std::fs::create_dir_all(&shards).unwrap();
        std::fs::write(shards.join("test-00000-of-00001.parquet"), "").unwrap();
        for from in ["cifar10", "cifar10/plain_text"] {
            let found = find(&root.join(from)).unwrap();
            assert_eq!(found, Location { format: Format::Parquet, path: shards.clone() });
        }
        assert_eq!(CIFAR10.locate("cifar10", &root.join("cifar10"), Split::Train).ok(), None);
    }

    #[test]
    fn classes_are_all_there_in_the_order_of_their_labels() {
        for (layout, count) in [(&CIFAR10, 10), (&CIFAR100, 100)] {
            assert_eq!(layout.class_names.len(), count);
            assert!(layout.class_names.is_sorted());
        }
    }
}
