//! Tar shards as WebDataset writes them: the files of a sample stand together and differ in their ending.
//!
//! `000123.jpg` with `000123.cls`, which has the label as digits, or with `000123.json`, whose `label` it is. Shards are
//! the `.tar` files whose name or folder begins with the split (`train-000000.tar`, `imagenet-train-0000.tar`,
//! `train/0000.tar`), in the order of their names. Class names are the lines of `classnames.txt` or `classes.txt` beside
//! them; without these a class is called by its number.

use crate::files::{Listed, Listing};
use crate::layout::image_folder::{TEST_FOLDERS, is_picture};
use crate::layout::table::Table;
use crate::tree::Tree;
use crate::{Error, Result, Split};
use std::path::{Path, PathBuf};

/// The shards of a split in a folder, in order.
pub(crate) fn shards(folder: &Path, split: Split) -> Vec<PathBuf> {
    let words: &[&str] = match split {
        Split::Train => &["train"],
        Split::Test => &TEST_FOLDERS,
    };
    for word in words {
        let below = folder.join(word);
        let mut found = tars(folder);
        found.retain(|path| named(path, word));
        if found.is_empty() {
            found = tars(&below);
        }
        if !found.is_empty() {
            found.sort_unstable();
            return found;
        }
    }
    Vec::new()
}

fn tars(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.filter(|path| path.extension().is_some_and(|ending| ending == "tar")).collect()
}

/// Whether one of the words of a file's name is `word`.
fn named(path: &Path, word: &str) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str()).unwrap_or_default();
    stem.split(['-', '_', '.']).any(|part| part == word)
}

/// Opens the shards of a folder and lists their samples.
pub(crate) fn open(folder: &Path, split: Split) -> Result<(Vec<Tree>, Listing)> {
    let mut trees = Vec::new();
    let mut pictures = Vec::new();
    for path in shards(folder, split) {
        let tree = Tree::open(&path)?;
        let before = pictures.len();
        samples(&tree, trees.len() as u32, &mut pictures)?;
        if pictures.len() == before {
            return Err(Error::list(path, "has no pictures"));
        }
        trees.push(tree);
    }
    let most = pictures.iter().map(|listed| listed.label as usize).max();
    let classes = most.map_or(0, |most| most + 1);
    let home = Tree::open(folder)?;
    let class_names = match ["classnames.txt", "classes.txt"].into_iter().find(|list| home.has_file(list)) {
        None => (0..classes).map(|label| label.to_string()).collect(),
        Some(list) => {
            let table = Table::read(&home, list)?;
            let names: Vec<String> = table.lines().map(|line| line.text.to_owned()).collect();
            if names.len() < classes {
                let problem =
                    format!("names {} classes, but there is the label {}", names.len(), classes - 1);
                return Err(table.wrong(&problem));
            }
            names
        }
    };
    Ok((trees, Listing { class_names, pictures }))
}

/// The samples of a shard, in the order of their names.
fn samples(tree: &Tree, number: u32, pictures: &mut Vec<Listed>) -> Result<()> {
    let mut files = tree.files("")?;
    files.sort_unstable_by(|a, b| key(a).cmp(key(b)));
    let mut buffer = Vec::new();
    for sample in files.chunk_by(|a, b| key(a) == key(b)) {
        let ending =
            |wanted: &str| sample.iter().find(|file| file[key(file).len()..].eq_ignore_ascii_case(wanted));
        let Some(picture) = sample.iter().find(|file| is_picture(file)) else {
            return Err(Error::list(tree.path(&sample[0]), "is in a sample without a picture"));
        };
        let label = if let Some(file) = ending(".cls") {
            tree.read(file, &mut buffer)?;
            std::str::from_utf8(&buffer).ok().and_then(|text| text.trim().parse::<u16>().ok())
        } else if let Some(file) = ending(".json") {
            tree.read(file, &mut buffer)?;
            let json = serde_json::from_slice::<serde_json::Value>(&buffer).unwrap_or_default();
            json.get("label").and_then(serde_json::Value::as_u64).and_then(|label| u16::try_from(label).ok())
        } else {
            return Err(Error::list(tree.path(picture), "is in a sample without .cls or .json"));
        };
        let Some(label) = label else {
            return Err(Error::list(tree.path(picture), "has a label that isn't a number from 0 to 65535"));
        };
        pictures.push(Listed { tree: number, ..Listed::new(picture.as_str(), label.into()) });
    }
    Ok(())
}

/// A file's name up to the first dot after its folder: what a sample's files have in common.
fn key(file: &str) -> &str {
    let name = file.rfind('/').map_or(0, |slash| slash + 1);
    file[name..].find('.').map_or(file, |dot| &file[..name + dot])
}
