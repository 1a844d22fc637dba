//! CIFAR-10 and CIFAR-100: what they are made of, and where it is in each format.

use crate::{Archive, Digest, Format, Location, Split};
use std::path::Path;

/// Height and width of every CIFAR picture.
pub(crate) const SIZE: [usize; 2] = [32, 32];

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
        digest: Some(Digest::Md5("c32a1d4ab5d03f1284b67883e8d87530")),
        bytes: None,
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
        digest: Some(Digest::Md5("03b5dce01913d631647c71ecec9e9cb8")),
        bytes: None,
        mirrors: &[
            "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
            "https://mindspore-website.obs.cn-north-4.myhuaweicloud.com/notebook/datasets/cifar-100-binary.tar.gz",
        ],
    },
    folder: "cifar-100-binary",
    train: &["train.bin"],
    test: &["test.bin"],
    label_bytes: 2,
    class_names: &CIFAR100_CLASSES,
};

/// The fine labels, which are in alphabetical order.
#[rustfmt::skip]
const CIFAR100_CLASSES: [&str; 100] = [
    "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle", "bottle", "bowl",
    "boy", "bridge", "bus", "butterfly", "camel", "can", "castle", "caterpillar", "cattle", "chair",
    "chimpanzee", "clock", "cloud", "cockroach", "couch", "crab", "crocodile", "cup", "dinosaur", "dolphin",
    "elephant", "flatfish", "forest", "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp",
    "lawn_mower", "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
    "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear", "pickup_truck",
    "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit", "raccoon", "ray", "road",
    "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk", "skyscraper", "snail", "snake", "spider",
    "squirrel", "streetcar", "sunflower", "sweet_pepper", "table", "tank", "telephone", "television", "tiger",
    "tractor", "train", "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman",
    "worm",
];

impl Layout {
    /// The binary files of a split, in order.
    pub(crate) fn files(&self, split: Split) -> &'static [&'static str] {
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
}

#[cfg(test)]
mod tests {
    use super::*;

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
