//! CUB-200-2011 by its lists: `images.txt`, `image_class_labels.txt`, `train_test_split.txt`, `classes.txt` and
//! `bounding_boxes.txt`, all of which count from 1.

use crate::files::{Listed, Listing};
use crate::layout::table::{Line, Table};
use crate::tree::Tree;
use crate::{Result, Split};

/// The folder inside the archive.
pub(crate) const FOLDER: &str = "CUB_200_2011";

/// Whether the tree is CUB's.
pub(crate) fn has(tree: &Tree, _: Split) -> bool {
    tree.has_file("images.txt") && tree.has_file("train_test_split.txt")
}

/// Lists a split.
pub(crate) fn list(tree: &Tree, split: Split) -> Result<Listing> {
    let table = |name| Table::read(tree, name);
    let class_names = table("classes.txt")?.numbered(|_, name| Ok(class_name(name)))?;
    let images = table("images.txt")?;
    let files = images.numbered(|_, file| Ok(format!("images/{file}")))?;
    let count = files.len();
    let labels =
        column(&table("image_class_labels.txt")?, count, |line, class| line.label(class, class_names.len()))?;
    let training = column(&table("train_test_split.txt")?, count, |line, flag| match flag {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(line.wrong(&format!("`{flag}`, expected 0 or 1"))),
    })?;
    let regions = match tree.has_file("bounding_boxes.txt") {
        true => column(&table("bounding_boxes.txt")?, count, |line, fields| region(line, fields).map(Some))?,
        false => vec![None; count],
    };
    let pictures = files.into_iter().zip(labels).zip(training).zip(regions);
    let pictures = pictures
        .filter(|&((_, training), _)| training == (split == Split::Train))
        .map(|(((file, label), _), region)| Listed { region, ..Listed::new(file, label) });
    Ok(Listing { class_names, pictures: pictures.collect() })
}

/// `001.Black_footed_Albatross` as people say it.
fn class_name(name: &str) -> String {
    let words = name.split_once('.').map_or(name, |(_, words)| words);
    words.replace('_', " ")
}

/// A list that must have a line for each of the pictures.
fn column<T>(
    table: &Table,
    count: usize,
    value: impl for<'a> FnMut(&Line<'a>, &'a str) -> Result<T>,
) -> Result<Vec<T>> {
    let values = table.numbered(value)?;
    if values.len() == count {
        return Ok(values);
    }
    Err(table.wrong(&format!("has {} lines, expected {count}, as images.txt has", values.len())))
}

/// A box of left, top, width and height.
fn region(line: &Line<'_>, fields: &str) -> Result<crate::Region> {
    let numbers = fields.split_whitespace().map(|field| line.number::<f32>(field));
    let [left, top, width, height] = numbers.collect::<Result<Vec<_>>>()?[..] else {
        return Err(line.wrong("expected left, top, width and height"));
    };
    let region = crate::Region { left, top, right: left + width, bottom: top + height };
    if region.is_sound() { Ok(region) } else { Err(line.wrong("the box has no inside")) }
}
