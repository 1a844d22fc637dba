//! What is known of each data set: counts, normalisation, licence, and where its files are published.
//!
//! Digests are those that publishers or the common readers of a data set give; where nobody gives one, none stands here.

use crate::cifar::{self, CIFAR10, CIFAR100};
use crate::layout::{aircraft, cars, cub, image_folder, imagenet, tiny_imagenet};
use crate::registry::{Entry, Home, Layout};
use crate::{Archive, CHANNELS, Digest, Facts, Repository, synthetic};

/// The mean and deviation by which the paper's recipes normalise both CIFAR sets.
const CIFAR_MEAN: [f32; CHANNELS] = [0.4914, 0.4822, 0.4465];
const CIFAR_STD: [f32; CHANNELS] = [0.2023, 0.1994, 0.2010];
/// ImageNet's, by which all sets of larger photographs are normalised.
const IMAGENET_MEAN: [f32; CHANNELS] = [0.485, 0.456, 0.406];
const IMAGENET_STD: [f32; CHANNELS] = [0.229, 0.224, 0.225];

/// What a data set is before anything is said of it: pictures of many sizes, normalised as ImageNet's.
const BLANK: Facts = Facts {
    name: "",
    title: "",
    train: 0,
    test: 0,
    classes: 0,
    size: None,
    mean: IMAGENET_MEAN,
    std: IMAGENET_STD,
    licence: "",
    page: "",
    gate: None,
    archives: &[],
    repository: None,
};

/// All data sets, by name.
pub(crate) static ENTRIES: [Entry; 10] = [
    Entry {
        facts: Facts {
            name: "aircraft",
            title: "FGVC-Aircraft: a hundred variants of aircraft",
            train: 6667,
            test: 3333,
            classes: 100,
            licence: "for non-commercial research only",
            page: "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft",
            archives: &[Archive {
                file: "fgvc-aircraft-2013b.tar.gz",
                digest: Some(Digest::Sha256(
                    "e4e323d410e29f0370c81eabdcbb0e2b813acea1de22891b70b58ff41bfc9834",
                )),
                bytes: Some(2_753_340_328),
                mirrors: &[
                    "https://www.robots.ox.ac.uk/~vgg/data/fgvc-aircraft/archives/fgvc-aircraft-2013b.tar.gz",
                ],
            }],
            ..BLANK
        },
        home: Home::Files(Layout {
            folders: &[aircraft::FOLDER],
            archives: &[],
            has: aircraft::has,
            list: aircraft::list,
            expected: "fgvc-aircraft-2013b/data/images_variant_*.txt",
        }),
    },
    Entry {
        facts: Facts {
            name: "cars",
            title: "Stanford Cars: makes, models and years of cars",
            train: 8144,
            test: 8041,
            classes: 196,
            licence: "for non-commercial research only; pictures belong to their photographers",
            page: "https://ai.stanford.edu/~jkrause/cars/car_dataset.html",
            gate: Some(
                "Stanford's addresses don't answer any more: put its archives, from wherever you have them, into the \
                 folder, and this command compares their digests and unpacks them",
            ),
            archives: &CARS,
            ..BLANK
        },
        home: Home::Files(Layout {
            folders: &["stanford_cars"],
            archives: &[],
            has: cars::has,
            list: cars::list,
            expected: "devkit/cars_*_annos*.mat with cars_train and cars_test, cars_annos.mat, anno_*.csv",
        }),
    },
    Entry {
        facts: Facts {
            name: "cifar10",
            title: "CIFAR-10: photographs of animals and vehicles",
            train: 50_000,
            test: 10_000,
            classes: 10,
            size: Some(cifar::SIZE),
            mean: CIFAR_MEAN,
            std: CIFAR_STD,
            licence: "none is stated",
            page: "https://www.cs.toronto.edu/~kriz/cifar.html",
            archives: &[CIFAR10.archive],
            ..BLANK
        },
        home: Home::Cifar(&CIFAR10),
    },
    Entry {
        facts: Facts {
            name: "cifar100",
            title: "CIFAR-100: photographs of a hundred things",
            train: 50_000,
            test: 10_000,
            classes: 100,
            size: Some(cifar::SIZE),
            mean: CIFAR_MEAN,
            std: CIFAR_STD,
            licence: "none is stated",
            page: "https://www.cs.toronto.edu/~kriz/cifar.html",
            archives: &[CIFAR100.archive],
            ..BLANK
        },
        home: Home::Cifar(&CIFAR100),
    },
    Entry {
        facts: Facts {
            name: "cifar100c",
            title: "CIFAR-100-C: the test pictures with 19 corruptions, 5 severities each",
            test: 950_000,
            classes: 100,
            size: Some(cifar::SIZE),
            mean: CIFAR_MEAN,
            std: CIFAR_STD,
            licence: "CC BY 4.0",
            page: "https://zenodo.org/records/3555552",
            archives: &[Archive {
                file: "CIFAR-100-C.tar",
                digest: Some(Digest::Md5("11f0ed0f1191edbf9fa23466ae6021d3")),
                bytes: Some(2_918_473_216),
                mirrors: &["https://zenodo.org/records/3555552/files/CIFAR-100-C.tar?download=1"],
            }],
            ..BLANK
        },
        home: Home::Cifar100C,
    },
    Entry {
        facts: Facts {
            name: "cub200",
            title: "CUB-200-2011: two hundred species of birds",
            train: 5994,
            test: 5794,
            classes: 200,
            licence: "for non-commercial research and education only",
            page: "https://data.caltech.edu/records/65de6-vp158",
            archives: &[Archive {
                file: "CUB_200_2011.tgz",
                digest: Some(Digest::Md5("97eceeb196236b17998738112f37df78")),
                bytes: Some(1_150_585_339),
                mirrors: &["https://data.caltech.edu/records/65de6-vp158/files/CUB_200_2011.tgz?download=1"],
            }],
            ..BLANK
        },
        home: Home::Files(Layout {
            folders: &[cub::FOLDER],
            archives: &["CUB_200_2011.tar"],
            has: cub::has,
            list: cub::list,
            expected: "CUB_200_2011/images.txt",
        }),
    },
    Entry {
        facts: Facts {
            name: "folder",
            title: "Pictures of your own: a folder a class, tar shards or parquet",
            licence: "yours",
            ..BLANK
        },
        home: Home::Files(Layout {
            folders: &[],
            archives: &[],
            has: image_folder::has,
            list: image_folder::list,
            expected: "train/<class>/*.jpg, val/<class>/*.jpg",
        }),
    },
    Entry {
        facts: Facts {
            name: "imagenet",
            title: "ImageNet-1K (ILSVRC 2012): photographs of a thousand things",
            train: 1_281_167,
            test: 50_000,
            classes: 1000,
            licence: "for non-commercial research and education only, by the terms of image-net.org",
            page: "https://image-net.org/challenges/LSVRC/2012",
            gate: Some(
                "its owners give it to people who have agreed to their terms: agree at \
                 https://huggingface.co/datasets/ILSVRC/imagenet-1k and put a token of your account into HF_TOKEN, or \
                 put ILSVRC2012_img_train.tar and ILSVRC2012_img_val.tar into the folder",
            ),
            archives: &[],
            repository: Some(Repository {
                id: "ILSVRC/imagenet-1k",
                shards: &[("data/train", 294), ("data/validation", 14)],
                bytes: 150_000_000_000,
            }),
            ..BLANK
        },
        home: Home::Files(Layout {
            folders: &["ILSVRC/Data/CLS-LOC", "ILSVRC2012", "ILSVRC"],
            archives: &[],
            has: imagenet::has,
            list: imagenet::list,
            expected: "train/<wnid>/*.JPEG, val/<wnid>/*.JPEG or val with val.txt or LOC_val_solution.csv",
        }),
    },
    Entry {
        facts: Facts {
            name: "synthetic",
            title: "Shapes with textures, drawn by the program",
            train: 10_000,
            test: 2_000,
            classes: synthetic::CLASSES,
            size: Some(synthetic::SIZE),
            mean: synthetic::MEAN,
            std: synthetic::STD,
            licence: "that of the program",
            ..BLANK
        },
        home: Home::Drawn,
    },
    Entry {
        facts: Facts {
            name: "tinyimagenet",
            title: "Tiny-ImageNet-200: ImageNet's photographs of 200 things, made small",
            train: 100_000,
            test: 10_000,
            classes: 200,
            size: Some(tiny_imagenet::SIZE),
            licence: "for non-commercial research and education only, by the terms of image-net.org",
            page: "http://cs231n.stanford.edu",
            archives: &[Archive {
                file: "tiny-imagenet-200.zip",
                digest: Some(Digest::Md5("90528d7ca1a48142e341f4ef8d21d0de")),
                bytes: Some(248_100_043),
                mirrors: &["http://cs231n.stanford.edu/tiny-imagenet-200.zip"],
            }],
            ..BLANK
        },
        home: Home::Files(Layout {
            folders: &[tiny_imagenet::FOLDER],
            archives: &["tiny-imagenet-200.zip", "tiny-imagenet-200.tar"],
            has: tiny_imagenet::has,
            list: tiny_imagenet::list,
            expected: "tiny-imagenet-200.zip, tiny-imagenet-200/wnids.txt",
        }),
    },
];

/// The four files of Stanford Cars, with the digests by which torchvision checks them.
static CARS: [Archive; 4] = [
    Archive {
        file: "cars_train.tgz",
        digest: Some(Digest::Md5("065e5b463ae28d29e77c1b4b166cfe61")),
        bytes: None,
        mirrors: &["https://ai.stanford.edu/~jkrause/car196/cars_train.tgz"],
    },
    Archive {
        file: "cars_test.tgz",
        digest: Some(Digest::Md5("4ce7ebf6a94d07f1952d94dd34c4d501")),
        bytes: None,
        mirrors: &["https://ai.stanford.edu/~jkrause/car196/cars_test.tgz"],
    },
    Archive {
        file: "car_devkit.tgz",
        digest: Some(Digest::Md5("c3b158d763b6e2245038c8ad08e45376")),
        bytes: None,
        mirrors: &["https://ai.stanford.edu/~jkrause/cars/car_devkit.tgz"],
    },
    Archive {
        file: "cars_test_annos_withlabels.mat",
        digest: Some(Digest::Md5("b0a2b23655a3edd16d84508592a98d10")),
        bytes: None,
        mirrors: &["https://ai.stanford.edu/~jkrause/car196/cars_test_annos_withlabels.mat"],
    },
];
