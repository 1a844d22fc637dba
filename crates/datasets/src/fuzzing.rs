//! Every parser of this crate as a function of bytes: for the fuzz targets in `fuzz/`, and for the test below.
//!
//! Whatever the bytes are, a parser gives values or an error. It must not panic, and not take memory that the bytes don't
//! bear out.

use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use crate::cifar::{CIFAR10, CIFAR100};
use crate::files::{Files, Listing};
use crate::layout::{aircraft, cars, cub, imagenet, tiny_imagenet, web};
use crate::tree::Tree;
use crate::{Format, Location, Picture, Result, Source, Split};

/// Pictures that are read of a set that was opened.
const MOST: usize = 64;

/// A MATLAB file.
pub fn mat(bytes: &[u8]) {
    drop(crate::mat::read(bytes));
}

/// A NumPy array, its header alone and as a file.
pub fn npy(bytes: &[u8]) {
    drop(crate::npy::header(bytes));
    with_file("a.npy", bytes, |home, _| {
        let tree = Tree::open(home)?;
        crate::npy::Array::open(&tree, "a.npy")?.integers(&tree)
    });
}

/// A tar archive, and all its members.
pub fn tar(bytes: &[u8]) {
    with_file("a.tar", bytes, |_, path| read_all(&Tree::open(path)?));
}

/// A zip archive, and all its members.
pub fn zip(bytes: &[u8]) {
    with_file("a.zip", bytes, |_, path| read_all(&Tree::open(path)?));
}

/// A tar shard as WebDataset writes it, and its pictures.
pub fn shard(bytes: &[u8]) {
    with_file("train-0.tar", bytes, |home, _| {
        let (trees, listing) = web::open(home, Split::Train)?;
        read_pictures(&Files::new("shards", trees, listing, None)?)
    });
}

/// A parquet file of the Hub, and its pictures.
pub fn parquet(bytes: &[u8]) {
    with_file("train-0.parquet", bytes, |home, path| {
        read_pictures(&crate::hub::Rows::open("rows", home, &[path.to_owned()], None, None)?)
    });
}

/// The archive of CIFAR's binary files, with the bytes as what was packed, and as the content of such a file.
pub fn cifar(bytes: &[u8]) {
    let mut packed = GzEncoder::new(Vec::new(), Compression::none());
    packed.write_all(bytes).expect("memory takes what is written");
    let packed = packed.finish().expect("memory takes what is written");
    for layout in [&CIFAR10, &CIFAR100] {
        let read = |format, path: &Path, rows| {
            let location = Location { format, path: path.to_owned() };
            layout.read_binary("cifar", &location, Split::Test, rows)
        };
        with_file("a.tar.gz", &packed, |_, path| read(Format::BinaryArchive, path, 1));
        let file = layout.files(Split::Test)[0];
        with_file(file, bytes, |home, _| read(Format::BinaryFolder, home, bytes.len() / 3073));
    }
}

/// The lists of each data set that has some, with one of them replaced by the bytes.
pub fn lists(bytes: &[u8]) {
    thread_local! {
        static COPIES: Vec<(TempDir, &'static Lists)> = LISTS.iter().map(|lists| (copy(lists.fixture), lists)).collect();
    }
    COPIES.with(|copies| {
        for (home, lists) in copies {
            for list in lists.files {
                let path = home.path().join(list);
                let before = std::fs::read(&path).expect("the copy has every list");
                std::fs::write(&path, bytes).expect("the copy can be written");
                let tree = Tree::open(home.path()).expect("the copy is a folder");
                for split in [Split::Train, Split::Test] {
                    drop((lists.list)(&tree, split));
                }
                std::fs::write(&path, before).expect("the copy can be written");
            }
        }
    });
}

/// An encoded picture.
pub fn picture(bytes: &[u8]) {
    drop(crate::decode::decode(bytes, &mut Picture::default()));
}

/// A data set with lists.
struct Lists {
    /// Its tiny copy among the tests' files.
    fixture: &'static str,
    files: &'static [&'static str],
    list: fn(&Tree, Split) -> Result<Listing>,
}

const LISTS: [Lists; 5] = [
    Lists {
        fixture: "CUB_200_2011",
        files: &[
            "classes.txt",
            "images.txt",
            "image_class_labels.txt",
            "train_test_split.txt",
            "bounding_boxes.txt",
        ],
        list: cub::list,
    },
    Lists {
        fixture: "fgvc-aircraft-2013b",
        files: &["data/variants.txt", "data/images_variant_test.txt", "data/images_box.txt"],
        list: aircraft::list,
    },
    Lists { fixture: "cars_csv", files: &["names.csv", "anno_train.csv", "anno_test.csv"], list: cars::list },
    Lists {
        fixture: "imagenet",
        files: &["LOC_synset_mapping.txt", "LOC_val_solution.csv"],
        list: imagenet::list,
    },
    Lists {
        fixture: "tiny-imagenet-200.zip",
        files: &["wnids.txt", "words.txt", "val/val_annotations.txt"],
        list: tiny_imagenet::list,
    },
];

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// A copy of a tiny data set, unpacked, that may be written to.
fn copy(name: &str) -> TempDir {
    let home = tempfile::tempdir().expect("there is a folder for temporary files");
    let mut tree = Tree::open(&fixture(name)).expect("the tests' files are there");
    if let Some(folder) = name.strip_suffix(".zip") {
        tree = tree.below(folder);
    }
    let mut content = Vec::new();
    for file in tree.files("").expect("the tests' files are there") {
        let path = home.path().join(&file);
        tree.read(&file, &mut content).expect("the tests' files can be read");
        let folder = path.parent().expect("a file is in a folder");
        std::fs::create_dir_all(folder).expect("the copy can be written");
        std::fs::write(path, &content).expect("the copy can be written");
    }
    home
}

/// Gives a file of these bytes, in a folder of its own, to a reader, and throws away what it returns.
fn with_file<T>(name: &str, bytes: &[u8], read: impl FnOnce(&Path, &Path) -> Result<T>) {
    thread_local! {
        static HOME: TempDir = tempfile::tempdir().expect("there is a folder for temporary files");
    }
    HOME.with(|home| {
        let path = home.path().join(name);
        std::fs::write(&path, bytes).expect("the file can be written");
        drop(read(home.path(), &path));
        std::fs::remove_file(&path).expect("the file is still there");
    });
}

fn read_all(tree: &Tree) -> Result<()> {
    let mut content = Vec::new();
    for name in tree.files("")? {
        // One member's fault is no reason not to look at the next.
        drop(tree.read(&name, &mut content));
    }
    Ok(())
}

fn read_pictures(source: &dyn Source) -> Result<()> {
    let mut picture = Picture::default();
    for index in 0..source.len().min(MOST) {
        drop(source.read(index, &mut picture));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use adautomix_random::{Key, Purpose};
    use rand::Rng;

    use super::*;

    type Parser = fn(&[u8]);

    /// The parsers, called as their fuzz targets are.
    const PARSERS: [(&str, Parser); 9] = [
        ("mat", mat),
        ("npy", npy),
        ("tar", tar),
        ("zip", zip),
        ("shard", shard),
        ("parquet", parquet),
        ("cifar", cifar),
        ("lists", lists),
        ("picture", picture),
    ];

    /// The tests' files, below a folder and with an ending.
    fn files(folder: &str, endings: &[&str]) -> Vec<Vec<u8>> {
        let tree = Tree::open(&fixture(folder)).unwrap();
        let names = tree.files("").unwrap();
        let wanted = names.iter().filter(|name| endings.iter().any(|ending| name.ends_with(ending)));
        let files: Vec<_> = wanted.map(|name| std::fs::read(tree.path(name)).unwrap()).collect();
        assert!(!files.is_empty(), "{folder}");
        files
    }

    /// Some bytes changed, cut out, doubled or overwritten by numbers that are likely to be a length.
    fn damaged(seed: &[u8], rng: &mut impl Rng) -> Vec<u8> {
        let mut bytes = seed.to_vec();
        for _ in 0..rng.random_range(1..4) {
            if bytes.is_empty() {
                break;
            }
            let at = rng.random_range(0..bytes.len());
            let end = (at + rng.random_range(1..9)).min(bytes.len());
            match rng.random_range(0..5) {
                0 => bytes[at] ^= 1 << rng.random_range(0..8),
                1 => bytes[at..end].fill([0x00, 0xff, 0x7f, 0x80][rng.random_range(0..4)]),
                2 => drop(bytes.drain(at..end)),
                3 => bytes.truncate(at),
                _ => bytes.splice(at..at, seed[at.min(seed.len())..].iter().copied().take(16)).for_each(drop),
            }
        }
        bytes
    }

    /// `fuzz/` looks for longer and with an eye on the branches; this keeps its functions whole.
    #[test]
    fn damaged_files_are_errors_or_other_values() {
        for (name, parser) in PARSERS {
            let seeds = match name {
                "mat" => files("", &[".mat"]),
                "npy" => files("", &[".npy"]),
                "tar" | "cifar" => files("", &["2011.tar", "train.tar"]),
                "zip" => files("", &[".zip"]),
                "shard" => files("web", &[".tar"]),
                "parquet" => files("parquet", &[".parquet"]),
                "lists" => files("", &[".txt", ".csv"]),
                _ => files("pictures", &[".png", ".jpg"]),
            };
            for (number, seed) in seeds.iter().enumerate() {
                parser(seed);
                let mut rng = Key::new(0, Purpose::Test).sample(number).rng();
                for _ in 0..if name == "lists" { 10 } else { 100 } {
                    parser(&damaged(seed, &mut rng));
                }
            }
        }
    }
}
