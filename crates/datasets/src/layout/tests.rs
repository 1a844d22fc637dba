//! Every layout against a tiny copy of the data set, which Python's writers made (`tests/fixtures/make.py`).

use super::*;
use crate::files::{Files, Listing};
use crate::tree::Tree;
use crate::{Picture, Region, Result, Source, Split};
use std::path::{Path, PathBuf};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

/// Labels of a list, by file name without its folders.
fn labels(listing: &Listing) -> Vec<(&str, u32)> {
    listing
        .pictures
        .iter()
        .map(|listed| (listed.name.rsplit('/').next().unwrap_or_default(), listed.label))
        .collect()
}

/// Decodes every picture of a list and returns their heights.
fn heights(trees: Vec<Tree>, listing: Listing) -> Vec<usize> {
    let source = Files::new("set", trees, listing, None).unwrap();
    let mut picture = Picture::default();
    let read = |index| {
        assert_eq!(source.read(index, &mut picture).unwrap(), source.label(index).unwrap());
        picture.height
    };
    (0..source.len()).map(read).collect()
}

/// Copies a fixture so that a test may damage it, and lists it.
fn damaged(
    name: &str,
    split: Split,
    list: fn(&Tree, Split) -> Result<Listing>,
    changes: &[(&str, Option<&str>)],
) -> String {
    let home = tempfile::tempdir().unwrap();
    copy(&fixture(name), home.path());
    for (file, content) in changes {
        match content {
            Some(content) => std::fs::write(home.path().join(file), content).unwrap(),
            None => std::fs::remove_file(home.path().join(file)).unwrap(),
        }
    }
    let error = list(&Tree::open(home.path()).unwrap(), split).unwrap_err().to_string();
    assert!(error.starts_with(&format!("`{}", home.path().display())) && !error.contains('\n'), "{error}");
    error.replace(&format!("{}/", home.path().display()), "")
}

fn copy(from: &Path, to: &Path) {
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            std::fs::create_dir(&target).unwrap();
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn cub_from_its_folder_and_its_unopened_archive() {
    for tree in [
        || Tree::open(&fixture("CUB_200_2011")).unwrap(),
        || Tree::open(&fixture("CUB_200_2011.tar")).unwrap().below("CUB_200_2011"),
    ] {
        let train = cub::list(&tree(), Split::Train).unwrap();
        assert_eq!(train.class_names, ["Black footed Albatross", "Laysan Albatross"]);
        assert_eq!(labels(&train), [("Laysan_0002.jpg", 1), ("Black_0009.jpg", 0)]);
        assert_eq!(train.pictures[0].region, Some(Region { left: 1., top: 1., right: 21., bottom: 10.5 }));
        assert_eq!(heights(vec![tree()], train), [21, 22]);
        let test = cub::list(&tree(), Split::Test).unwrap();
        assert_eq!(labels(&test), [("Black_0046.jpg", 0)]);
        assert_eq!(heights(vec![tree()], test), [20]);
    }
}

#[test]
fn cub_names_the_list_and_the_line_that_is_wrong() {
    let refusal = |changes| damaged("CUB_200_2011", Split::Train, cub::list, changes);
    let gap = "`image_class_labels.txt` line 2: has the number 3, expected 2";
    assert_eq!(refusal(&[("image_class_labels.txt", Some("1 1\n3 1\n"))]), gap);
    let short = "`image_class_labels.txt` has 2 lines, expected 3, as images.txt has";
    assert_eq!(refusal(&[("image_class_labels.txt", Some("1 1\n2 2\n"))]), short);
    let class = "`image_class_labels.txt` line 3: class 3, expected 1 to 2";
    assert_eq!(refusal(&[("image_class_labels.txt", Some("1 1\n2 2\n3 3\n"))]), class);
    let flag = "`train_test_split.txt` line 1: `2`, expected 0 or 1";
    assert_eq!(refusal(&[("train_test_split.txt", Some("1 2\n2 1\n3 1\n"))]), flag);
    let inside = "`bounding_boxes.txt` line 1: the box has no inside";
    assert_eq!(refusal(&[("bounding_boxes.txt", Some("1 6 2 0 12\n"))]), inside);
    assert!(refusal(&[("classes.txt", None)]).starts_with("`classes.txt`: "));
}

#[test]
fn aircraft_by_variants() {
    let tree = || Tree::open(&fixture("fgvc-aircraft-2013b")).unwrap();
    let train = aircraft::list(&tree(), Split::Train).unwrap();
    assert_eq!(train.class_names, ["707-320", "A300B4"]);
    assert_eq!(labels(&train), [("1025794.jpg", 0), ("0034309.jpg", 1)]);
    assert_eq!(train.pictures[0].region, Some(Region { left: 2., top: 3., right: 20., bottom: 16. }));
    assert_eq!(heights(vec![tree()], train).len(), 2);
    let list = "data/images_variant_test.txt";
    let refusal =
        |text: &str| damaged("fgvc-aircraft-2013b", Split::Test, aircraft::list, &[(list, Some(text))]);
    assert_eq!(
        refusal("1 A300B4\n2 Concorde\n"),
        format!("`{list}` line 2: `Concorde` isn't in variants.txt")
    );
    assert_eq!(refusal("1 A300B4\n1 A300B4\n"), format!("`{list}` line 2: picture 1 comes twice"));
}

#[test]
fn cars_from_the_kit_from_one_file_and_from_csv() {
    let names = ["Acura TL Sedan 2012", "Ram C/V Cargo Van Minivan 2012"];
    for folder in ["cars", "cars_csv"] {
        let tree = || Tree::open(&fixture(folder)).unwrap();
        let train = cars::list(&tree(), Split::Train).unwrap();
        assert_eq!(train.class_names, names);
        assert_eq!(labels(&train), [("00001.jpg", 1), ("00002.jpg", 0)]);
        assert_eq!(train.pictures[1].region, Some(Region { left: 2., top: 5., right: 300., bottom: 37. }));
        assert_eq!(heights(vec![tree()], train), [20, 21]);
        let test = cars::list(&tree(), Split::Test).unwrap();
        assert_eq!((labels(&test), heights(vec![tree()], test.clone())), (vec![("00001.jpg", 0)], vec![22]));
    }
    let tree = Tree::open(&fixture("cars_in_one")).unwrap();
    let train = cars::list(&tree, Split::Train).unwrap();
    assert_eq!(
        (&train.class_names[..], labels(&train)),
        (&names.map(str::to_owned)[..], vec![("000001.jpg", 1), ("000002.jpg", 0)])
    );
    assert_eq!(labels(&cars::list(&tree, Split::Test).unwrap()), [("000003.jpg", 0)]);
}

#[test]
fn cars_names_the_file_and_the_row_that_is_wrong() {
    let refusal = |folder, changes| damaged(folder, Split::Train, cars::list, changes);
    let message = refusal("cars", &[("devkit/cars_train_annos.mat", Some("no annotations"))]);
    assert_eq!(message, "`devkit/cars_train_annos.mat` can't be read: it is cut short in its header");
    let message = refusal("cars_csv", &[("anno_train.csv", Some("00001.jpg,39,16,69,37,3\n"))]);
    assert_eq!(message, "`anno_train.csv` line 1: class 3, expected 1 to 2");
    let message = refusal("cars_csv", &[("anno_train.csv", Some("00009.jpg,39,16,69,37,1\n"))]);
    assert!(message.starts_with("`anno_train.csv` line 1: `00009.jpg` is in none of "), "{message}");
}

#[test]
fn tiny_imagenet_from_its_unopened_archive() {
    let tree = || Tree::open(&fixture("tiny-imagenet-200.zip")).unwrap().below(tiny_imagenet::FOLDER);
    let train = tiny_imagenet::list(&tree(), Split::Train).unwrap();
    // Sorted wnids, though the list has them the other way round.
    assert_eq!(train.class_names, ["goldfish", "Egyptian cat"]);
    let expected =
        [("n01443537_0.JPEG", 0), ("n01443537_1.JPEG", 0), ("n02124075_0.JPEG", 1), ("n02124075_1.JPEG", 1)];
    assert_eq!(labels(&train), expected);
    assert_eq!(heights(vec![tree()], train), [64; 4]);
    let test = tiny_imagenet::list(&tree(), Split::Test).unwrap();
    assert_eq!(labels(&test), [("val_0.JPEG", 1), ("val_1.JPEG", 0), ("val_2.JPEG", 1)]);
    assert_eq!(heights(vec![tree()], test), [64; 3]);
}

#[test]
fn imagenet_with_a_flat_val_and_each_list() {
    let tree = || Tree::open(&fixture("imagenet")).unwrap();
    let train = imagenet::list(&tree(), Split::Train).unwrap();
    assert_eq!(train.class_names, ["tench", "goldfish"]);
    assert_eq!(heights(vec![tree()], train), [16, 17, 16, 17]);
    let test = imagenet::list(&tree(), Split::Test).unwrap();
    let names = [1, 2, 3].map(|number| format!("ILSVRC2012_val_0000000{number}.JPEG"));
    let expected: Vec<(&str, u32)> = names.iter().map(String::as_str).zip([1, 0, 0]).collect();
    assert_eq!(labels(&test), expected);
    assert_eq!(heights(vec![tree()], test.clone()), [15; 3]);
    // The other lists say the same.
    let lists = [
        ("val.txt", format!("{} 1\n{} 0\n{} 0\n", names[0], names[1], names[2])),
        (
            "ILSVRC2012_val.txt",
            format!("val/{} n01443537\n{} n01440764\n{} n01440764\n", names[0], names[1], names[2]),
        ),
    ];
    for (list, text) in lists {
        let home = tempfile::tempdir().unwrap();
        copy(&fixture("imagenet"), home.path());
        std::fs::write(home.path().join(list), text).unwrap();
        std::fs::remove_file(home.path().join("LOC_val_solution.csv")).unwrap();
        assert_eq!(imagenet::list(&Tree::open(home.path()).unwrap(), Split::Test).unwrap(), test);
    }
}

#[test]
fn imagenet_names_a_list_with_a_gap() {
    let refusal = |text: &str| damaged("imagenet", Split::Test, imagenet::list, &[("val.txt", Some(text))]);
    let name = |number| format!("ILSVRC2012_val_0000000{number}.JPEG");
    let gap = format!("{} 0\n{} 1\n", name(1), name(3));
    assert_eq!(refusal(&gap), format!("`val.txt` has no line for the picture `val/{}`", name(2)));
    let twice = format!("{} 0\n{} 1\n{} 1\n", name(1), name(2), name(2));
    assert_eq!(refusal(&twice), format!("`val.txt` has `val/{}` twice", name(2)));
    assert_eq!(refusal(&format!("{} 2\n", name(1))), "`val.txt` line 1: label 2, expected 0 to 1");
    let more = format!("{} 0\n{} 1\n{} 0\n{} 0\n", name(1), name(2), name(3), name(4));
    assert_eq!(refusal(&more), format!("`val.txt` has a line for `val/{}`, which isn't there", name(4)));
    let none = damaged("imagenet", Split::Test, imagenet::list, &[("LOC_val_solution.csv", None)]);
    assert!(none.starts_with("`val` is flat, and none of val.txt"), "{none}");
}

#[test]
fn imagenet_from_the_owners_archive_of_archives() {
    let (trees, listing) =
        imagenet::open_archive(&fixture("ILSVRC2012_img_train.tar"), Split::Train).unwrap();
    assert_eq!(listing.class_names, ["n01440764", "n01443537"]);
    assert_eq!(heights(trees, listing), [16, 17, 16, 17]);
}

#[test]
fn tar_shards_with_labels_in_either_form() {
    let (trees, listing) = web::open(&fixture("web"), Split::Train).unwrap();
    assert_eq!(
        (trees.len(), &listing.class_names[..]),
        (2, &["tench".to_owned(), "goldfish".to_owned()][..])
    );
    assert_eq!(
        labels(&listing),
        [("000000.jpg", 0), ("000001.jpg", 1), ("001000.jpg", 0), ("001001.jpg", 1)]
    );
    assert_eq!(heights(trees, listing), [14; 4]);
    assert!(web::shards(&fixture("web"), Split::Test).is_empty());
}

#[test]
fn a_truncated_shard_is_named() {
    let home = tempfile::tempdir().unwrap();
    copy(&fixture("web"), home.path());
    let path = home.path().join("set-train-000001.tar");
    let whole = std::fs::read(&path).unwrap();
    std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
    let error = web::open(home.path(), Split::Train).unwrap_err().to_string();
    assert!(error.starts_with(&format!("`{}`: cut short", path.display())), "{error}");
    std::fs::write(&path, [0; 1024]).unwrap();
    let error = web::open(home.path(), Split::Train).unwrap_err().to_string();
    assert_eq!(error, format!("`{}` has no pictures", path.display()));
}

#[test]
fn folders_of_classes_nested_and_flat() {
    let home = tempfile::tempdir().unwrap();
    let picture = std::fs::read(fixture("pictures/rgb.png")).unwrap();
    let files = [
        "train/b/2.PNG",
        "train/b/deep/1.png",
        "train/b/notes.txt",
        "train/a/3.png",
        "train/C/4.png",
        "val/b/5.png",
    ];
    for file in files {
        let path = home.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, &picture).unwrap();
    }
    let tree = || Tree::open(home.path()).unwrap();
    let train = image_folder::list(&tree(), Split::Train).unwrap();
    assert_eq!(train.class_names, ["C", "a", "b"]);
    assert_eq!(labels(&train), [("4.png", 0), ("3.png", 1), ("2.PNG", 2), ("1.png", 2)]);
    assert_eq!(heights(vec![tree()], train), [24; 4]);
    // `val` lacks classes, and the label is still that of the training pictures.
    assert_eq!(labels(&image_folder::list(&tree(), Split::Test).unwrap()), [("5.png", 2)]);
    std::fs::create_dir(home.path().join("val/a")).unwrap();
    let error = image_folder::list(&tree(), Split::Test).unwrap_err().to_string();
    assert_eq!(error, format!("`{}` has no pictures", home.path().join("val/a").display()));
    std::fs::create_dir(home.path().join("val/Z")).unwrap();
    assert!(image_folder::list(&tree(), Split::Test).unwrap_err().to_string().contains("is no class"));

    let flat = Tree::open(&home.path().join("train")).unwrap();
    assert!(image_folder::has(&flat, Split::Train) && !image_folder::has(&flat, Split::Test));
    assert_eq!(image_folder::list(&flat, Split::Train).unwrap().pictures.len(), 4);
    let empty = tempfile::tempdir().unwrap();
    assert!(!image_folder::has(&Tree::open(empty.path()).unwrap(), Split::Train));
    let none =
        Files::new("set", vec![Tree::open(empty.path()).unwrap()], Listing::default(), None).unwrap_err();
    assert!(none.to_string().ends_with("has no pictures"), "{none}");
}
