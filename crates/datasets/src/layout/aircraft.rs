//! FGVC-Aircraft (2013b) by its variants: `data/variants.txt` names the 100 classes, `data/images_variant_trainval.txt`
//! and `data/images_variant_test.txt` have a picture's number and its variant a line.
//!
//! The lower 20 rows of each picture are a banner of the owner of the copyright. As with torchvision, they stay.

use crate::files::{Listed, Listing};
use crate::layout::table::{Table, positions};
use crate::tree::Tree;
use crate::{Region, Result, Split};
use std::collections::HashMap;

/// The folder inside the archive.
pub(crate) const FOLDER: &str = "fgvc-aircraft-2013b";

fn list_name(split: Split) -> &'static str {
    match split {
        Split::Train => "data/images_variant_trainval.txt",
        Split::Test => "data/images_variant_test.txt",
    }
}

/// Whether the tree has the list of a split.
pub(crate) fn has(tree: &Tree, split: Split) -> bool {
    tree.has_file(list_name(split))
}

/// Lists a split.
pub(crate) fn list(tree: &Tree, split: Split) -> Result<Listing> {
    let variants = Table::read(tree, "data/variants.txt")?;
    let class_names: Vec<String> = variants.lines().map(|line| line.text.to_owned()).collect();
    let labels = positions(&class_names);
    let regions = match tree.has_file("data/images_box.txt") {
        true => regions(&Table::read(tree, "data/images_box.txt")?)?,
        false => HashMap::new(),
    };
    let table = Table::read(tree, list_name(split))?;
    let mut pictures = Vec::new();
    let mut seen = std::collections::HashSet::new();
    for line in table.lines() {
        let (number, variant) = line.cut(' ')?;
        let Some(&label) = labels.get(variant) else {
            return Err(line.wrong(&format!("`{variant}` isn't in variants.txt")));
        };
        if !seen.insert(number.to_owned()) {
            return Err(line.wrong(&format!("picture {number} comes twice")));
        }
        let file = format!("data/images/{number}.jpg");
        pictures.push(Listed { region: regions.get(number).copied(), ..Listed::new(file, label) });
    }
    Ok(Listing { class_names, pictures })
}

/// The boxes by the pictures' numbers: left, top, right and bottom, counted from 1.
fn regions(table: &Table) -> Result<HashMap<String, Region>> {
    let mut regions = HashMap::new();
    for line in table.lines() {
        let fields: Vec<&str> = line.text.split_whitespace().collect();
        let [number, left, top, right, bottom] = fields[..] else {
            return Err(line.wrong("expected a picture, left, top, right and bottom"));
        };
        let region = line.region([left, top, right, bottom])?;
        regions.insert(number.to_owned(), Region { left: region.left - 1., top: region.top - 1., ..region });
    }
    Ok(regions)
}
