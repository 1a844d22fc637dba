//! Tiny-ImageNet-200 as Stanford published it.
//!
//! `train/<wnid>/images/*.JPEG`, `val/images/*.JPEG` with the classes in `val/val_annotations.txt`, the wnids in
//! `wnids.txt` and words for them in `words.txt`. Labels follow the sorted wnids, as for everybody who reads the folders
//! with `ImageFolder` or takes the Hub's copies; `wnids.txt` itself isn't sorted. A `val` that was sorted into a folder a
//! class is read as well. The pictures of `test` have no labels.

use crate::files::{Listed, Listing};
use crate::layout::image_folder;
use crate::layout::imagenet::readable;
use crate::layout::table::{Table, positions};
use crate::tree::Tree;
use crate::{Result, Split};

/// The folder, and the archive without its ending.
pub(crate) const FOLDER: &str = "tiny-imagenet-200";
/// Height and width of every picture.
pub(crate) const SIZE: [usize; 2] = [64, 64];

/// The list of the validation pictures' classes.
const ANNOTATIONS: &str = "val/val_annotations.txt";

/// Whether the tree has pictures of a split.
pub(crate) fn has(tree: &Tree, split: Split) -> bool {
    tree.has_file("wnids.txt")
        && match split {
            Split::Train => tree.has_folder("train"),
            Split::Test => tree.has_folder("val"),
        }
}

/// Lists a split.
pub(crate) fn list(tree: &Tree, split: Split) -> Result<Listing> {
    let table = Table::read(tree, "wnids.txt")?;
    let mut wnids: Vec<String> = table.lines().map(|line| line.text.to_owned()).collect();
    wnids.sort_unstable();
    if let Some(twice) = wnids.windows(2).find(|pair| pair[0] == pair[1]) {
        return Err(table.wrong(&format!("has {} twice", twice[0])));
    }
    let mut listing = match split {
        Split::Train => image_folder::list_classes(tree, "train", &wnids)?,
        Split::Test if !tree.has_folder("val/images") => image_folder::list_classes(tree, "val", &wnids)?,
        Split::Test => annotated(tree, &wnids)?,
    };
    if tree.has_file("words.txt") {
        listing.class_names = readable(&wnids, &Table::read(tree, "words.txt")?)?;
    }
    Ok(listing)
}

/// The validation pictures, by their list: file, wnid and box, between tabs. Every picture must be there once.
fn annotated(tree: &Tree, wnids: &[String]) -> Result<Listing> {
    let labels = positions(wnids);
    let files = tree.files("val/images")?;
    let table = Table::read(tree, ANNOTATIONS)?;
    let mut pictures = Vec::with_capacity(files.len());
    for line in table.lines() {
        let mut fields = line.text.split('\t').map(str::trim);
        let (Some(file), Some(wnid)) = (fields.next(), fields.next()) else {
            return Err(line.wrong("has one field, expected a file and a wnid"));
        };
        let Some(&label) = labels.get(wnid) else {
            return Err(line.wrong(&format!("`{wnid}` isn't in wnids.txt")));
        };
        let mut listed = Listed::new(format!("val/images/{file}"), label);
        if let (Some(left), Some(top), Some(right), Some(bottom)) =
            (fields.next(), fields.next(), fields.next(), fields.next())
        {
            listed.region = Some(line.region([left, top, right, bottom])?);
        }
        pictures.push(listed);
    }
    check_all_listed(&table, &files, &mut pictures)?;
    Ok(Listing { class_names: wnids.to_vec(), pictures })
}

/// Refuses a list that lacks a picture of the folder, has one twice, or one that isn't there; sorts it by file.
pub(crate) fn check_all_listed(table: &Table, files: &[String], pictures: &mut [Listed]) -> Result<()> {
    pictures.sort_by(|a, b| a.name.cmp(&b.name));
    if let Some(twice) = pictures.windows(2).find(|pair| pair[0].name == pair[1].name) {
        return Err(table.wrong(&format!("has `{}` twice", twice[0].name)));
    }
    let mut files: Vec<&str> =
        files.iter().map(String::as_str).filter(|file| image_folder::is_picture(file)).collect();
    files.sort_unstable();
    let listed = |file: &str| pictures.binary_search_by(|listed| listed.name.as_ref().cmp(file)).is_ok();
    if let Some(missing) = files.iter().find(|file| !listed(file)) {
        return Err(table.wrong(&format!("has no line for the picture `{missing}`")));
    }
    if let Some(absent) = pictures.iter().find(|listed| files.binary_search(&&*listed.name).is_err()) {
        return Err(table.wrong(&format!("has a line for `{}`, which isn't there", absent.name)));
    }
    Ok(())
}
