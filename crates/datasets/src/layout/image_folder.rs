//! A folder a class, as torchvision's `ImageFolder` has it.
//!
//! `train` has the training pictures; of `val`, `validation`, `valid` and `test` the first that is there has the test
//! pictures. Classes are the folders in it, sorted by code point; a class's pictures may lie in further folders. The
//! numbers of the classes are those of the training folder in both splits, so that a class that one of them lacks doesn't
//! shift the others. Without any of these folders, the folders of the top are the classes, and all are for training.

use crate::files::{Listed, Listing};
use crate::layout::table::positions;
use crate::tree::Tree;
use crate::{Error, Result, Split};

/// The folders of the test pictures, in the order in which they are looked for.
pub(crate) const TEST_FOLDERS: [&str; 4] = ["val", "validation", "valid", "test"];

/// Whether a file is a picture by its name, as torchvision decides it.
pub(crate) fn is_picture(name: &str) -> bool {
    const ENDINGS: [&str; 9] = ["jpg", "jpeg", "png", "ppm", "bmp", "pgm", "tif", "tiff", "webp"];
    name.rsplit_once('.')
        .is_some_and(|(_, ending)| ENDINGS.iter().any(|known| ending.eq_ignore_ascii_case(known)))
}

/// The folder of a split; none where there is no folder of either.
pub(crate) fn split_folder(tree: &Tree, split: Split) -> Option<&'static str> {
    match split {
        Split::Train => tree.has_folder("train").then_some("train"),
        Split::Test => TEST_FOLDERS.into_iter().find(|folder| tree.has_folder(folder)),
    }
}

/// Whether the tree has pictures of a split.
pub(crate) fn has(tree: &Tree, split: Split) -> bool {
    if split_folder(tree, split).is_some() {
        return true;
    }
    let other = match split {
        Split::Train => Split::Test,
        Split::Test => Split::Train,
    };
    split == Split::Train
        && split_folder(tree, other).is_none()
        && tree.folders("").is_ok_and(|folders| folders.iter().any(|folder| has_picture(tree, folder)))
}

/// Whether a picture lies in a folder itself: what keeps a folder of data sets from being taken for one of classes.
fn has_picture(tree: &Tree, folder: &str) -> bool {
    tree.own_files(folder).is_ok_and(|files| files.iter().any(|file| is_picture(file)))
}

/// Lists a split.
pub(crate) fn list(tree: &Tree, split: Split) -> Result<Listing> {
    let folder = split_folder(tree, split).unwrap_or("");
    let classes = tree.folders(split_folder(tree, Split::Train).unwrap_or(folder))?;
    list_classes(tree, folder, &classes)
}

/// Lists the pictures of the class folders in a folder; each must be one of the classes, and have a picture.
pub(crate) fn list_classes(tree: &Tree, folder: &str, classes: &[String]) -> Result<Listing> {
    let labels = positions(classes);
    let mut pictures = Vec::new();
    for class in tree.folders(folder)? {
        let below = if folder.is_empty() { class.clone() } else { format!("{folder}/{class}") };
        let Some(&label) = labels.get(class.as_str()) else {
            let problem =
                format!("is no class: the training pictures have none of that name among {}", classes.len());
            return Err(Error::list(tree.path(&below), &problem));
        };
        let before = pictures.len();
        let files = tree.files(&below)?.into_iter();
        pictures.extend(files.filter(|file| is_picture(file)).map(|file| Listed::new(file, label)));
        if pictures.len() == before {
            return Err(Error::list(tree.path(&below), "has no pictures"));
        }
    }
    Ok(Listing { class_names: classes.to_vec(), pictures })
}
