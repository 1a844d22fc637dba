//! ImageNet-1K (ILSVRC 2012): `train/<wnid>/*.JPEG`, and `val` with a folder a class or with a list.
//!
//! Labels follow the sorted wnids, as everywhere. The training folder gives them; without it, the class folders of `val`
//! or the wnids of its list. A flat `val` needs one of these lists, beside it or in it:
//!
//! - `val.txt` or `ILSVRC2012_val.txt`: a file and its label (from 0, by sorted wnids) or its wnid, as Caffe's users and
//!   OpenMixup have it;
//! - `LOC_val_solution.csv`, Kaggle's: a file without its ending, and wnids with boxes, of which the first counts.
//!
//! The owners' archives are read unopened as well: `ILSVRC2012_img_train.tar`, which holds an archive a class, and
//! `ILSVRC2012_img_val.tar` with a list beside it.

use crate::files::{Listed, Listing};
use crate::layout::image_folder;
use crate::layout::table::{Line, Table, positions};
use crate::layout::tiny_imagenet::check_all_listed;
use crate::tree::Tree;
use crate::{Error, Result, Split};
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// The lists that may say the classes of a flat `val`.
pub(crate) const LISTS: [&str; 4] = ["val.txt", "ILSVRC2012_val.txt", "val/val.txt", "LOC_val_solution.csv"];

/// Whether the tree has pictures of a split.
pub(crate) fn has(tree: &Tree, split: Split) -> bool {
    tree.has_folder(folder(split))
}

fn folder(split: Split) -> &'static str {
    match split {
        Split::Train => "train",
        Split::Test => "val",
    }
}

/// Lists a split.
pub(crate) fn list(tree: &Tree, split: Split) -> Result<Listing> {
    let folder = folder(split);
    let trained = if tree.has_folder("train") { tree.folders("train")? } else { Vec::new() };
    let sorted_by_class = !tree.folders(folder)?.is_empty();
    let wnids = if trained.is_empty() && sorted_by_class { tree.folders(folder)? } else { trained };
    let mut listing = if sorted_by_class {
        image_folder::list_classes(tree, folder, &wnids)?
    } else {
        let files = tree.files(folder)?;
        let Some(list) = LISTS.into_iter().find(|list| tree.has_file(list)) else {
            let problem = format!("is flat, and none of {} says its classes", LISTS.join(", "));
            return Err(Error::list(tree.path(folder), &problem));
        };
        listed(&Table::read(tree, list)?, &files, folder, &wnids)?
    };
    let words = ["words.txt", "LOC_synset_mapping.txt"].into_iter().find(|words| tree.has_file(words));
    if let Some(words) = words {
        listing.class_names = readable(&listing.class_names, &Table::read(tree, words)?)?;
    }
    Ok(listing)
}

/// What the owners call the archive of a split.
pub(crate) fn archive(split: Split) -> &'static str {
    match split {
        Split::Train => "ILSVRC2012_img_train.tar",
        Split::Test => "ILSVRC2012_img_val.tar",
    }
}

/// Opens the owners' archive of a split and lists its pictures.
pub(crate) fn open_archive(path: &Path, split: Split) -> Result<(Vec<Tree>, Listing)> {
    let tree = Tree::open(path)?;
    let listing = match split {
        Split::Train => image_folder::list_classes(&tree, "", &tree.folders("")?)?,
        Split::Test => {
            let beside = Tree::open(path.parent().unwrap_or(Path::new(".")))?;
            let Some(list) = LISTS.into_iter().find(|list| beside.has_file(list)) else {
                let problem = format!("needs one of {} beside it, which say its classes", LISTS.join(", "));
                return Err(Error::list(path, &problem));
            };
            listed(&Table::read(&beside, list)?, &tree.files("")?, "", &[])?
        }
    };
    Ok((vec![tree], listing))
}

/// The pictures of a flat folder, by a list.
pub(crate) fn listed(table: &Table, files: &[String], folder: &str, wnids: &[String]) -> Result<Listing> {
    let lines = table.lines().filter(|line| !line.text.starts_with("ImageId,"));
    let entries = lines
        .map(|line| entry(&line).map(|(file, class)| (line, file, class)))
        .collect::<Result<Vec<_>>>()?;
    let mut wnids = wnids.to_vec();
    if wnids.is_empty() {
        let named: BTreeSet<&str> =
            entries.iter().map(|entry| entry.2).filter(|class| is_wnid(class)).collect();
        wnids = named.into_iter().map(str::to_owned).collect();
    }
    if wnids.is_empty() {
        // Labels alone, and no folder that names them: the numbers are the names.
        let most = entries.iter().filter_map(|entry| entry.2.parse::<usize>().ok()).max().unwrap_or(0);
        wnids = (0..=most).map(|label| label.to_string()).collect();
    }
    let labels = positions(&wnids);
    let mut pictures = Vec::with_capacity(entries.len());
    for (line, file, class) in entries {
        let label = match class.parse::<usize>() {
            Ok(label) if label < wnids.len() => label,
            Ok(label) => {
                return Err(line.wrong(&format!("label {label}, expected 0 to {}", wnids.len() - 1)));
            }
            Err(_) => *labels
                .get(class)
                .ok_or_else(|| line.wrong(&format!("`{class}` is not one of the {} classes", wnids.len())))?,
        };
        let name = if folder.is_empty() { file.into_owned() } else { format!("{folder}/{file}") };
        pictures.push(Listed::new(name, label));
    }
    check_all_listed(table, files, &mut pictures)?;
    Ok(Listing { class_names: wnids, pictures })
}

/// The file and the class of a line, in either form.
fn entry<'a>(line: &Line<'a>) -> Result<(std::borrow::Cow<'a, str>, &'a str)> {
    if line.text.contains(',') {
        let (file, rest) = line.cut(',')?;
        let class = rest.split_whitespace().next().ok_or_else(|| line.wrong("has no class"))?;
        return Ok((format!("{file}.JPEG").into(), class));
    }
    let (file, class) = line.cut(' ')?;
    let file = file.strip_prefix("val/").unwrap_or(file);
    Ok((file.into(), class))
}

/// Whether a name is a WordNet number, as `n01440764`.
fn is_wnid(name: &str) -> bool {
    name.len() == 9 && name.starts_with('n') && name[1..].bytes().all(|byte| byte.is_ascii_digit())
}

/// The first word that a list of words (`n01440764 tench, Tinca tinca`) has for each wnid; where two classes would be
/// called alike, each also has its wnid.
pub(crate) fn readable(wnids: &[String], words: &Table) -> Result<Vec<String>> {
    let mut known: HashMap<&str, &str> = HashMap::new();
    for line in words.lines() {
        let (wnid, words) = line.cut(if line.text.contains('\t') { '\t' } else { ' ' })?;
        known.insert(wnid, words.split(',').next().unwrap_or(words).trim());
    }
    let mut uses: HashMap<&str, usize> = HashMap::new();
    for wnid in wnids {
        *uses.entry(known.get(wnid.as_str()).copied().unwrap_or(wnid)).or_default() += 1;
    }
    let names = wnids.iter().map(|wnid| match known.get(wnid.as_str()) {
        None => wnid.clone(),
        Some(word) if uses[word] > 1 => format!("{word} ({wnid})"),
        Some(word) => (*word).to_owned(),
    });
    Ok(names.collect())
}
