//! Which cells were asked for under a folder of results, so that `cargo xtask status` knows of those that haven't begun.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::cell::Cell;

/// A cell, as `status` needs it; paths are from the folder of results.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Entry {
    /// The run folder.
    pub(crate) name: String,
    pub(crate) title: String,
    /// Files that are made of the run afterwards.
    pub(crate) files: Vec<PathBuf>,
}

fn folder(out: &Path) -> PathBuf {
    out.join("grids")
}

/// Notes what was asked for under an id.
pub(crate) fn write(out: &Path, id: &str, cells: &[&Cell]) -> Result<()> {
    let entry = |cell: &&Cell| Entry {
        name: cell.name.clone(),
        title: cell.title(),
        files: cell.steps.iter().map(|step| Path::new(&cell.name).join(step.file())).collect(),
    };
    let entries: Vec<Entry> = cells.iter().map(entry).collect();
    let text = serde_json::to_string_pretty(&entries).expect("entries have only string keys");
    super::write(&folder(out).join(format!("{id}.json")), &format!("{text}\n"))
}

/// Everything that was asked for, once; only under one id if one is given.
pub(crate) fn read(out: &Path, id: Option<&str>) -> Vec<Entry> {
    let mut entries: BTreeMap<String, Entry> = BTreeMap::new();
    for file in fs::read_dir(folder(out)).into_iter().flatten().flatten() {
        let path = file.path();
        let is_asked = id.is_none_or(|id| path.file_stem().is_some_and(|stem| stem == id));
        if !is_asked || path.extension().is_none_or(|ending| ending != "json") {
            continue;
        }
        let text = fs::read_to_string(&path).unwrap_or_default();
        for entry in serde_json::from_str::<Vec<Entry>>(&text).unwrap_or_default() {
            let known = entries.entry(entry.name.clone()).or_insert_with(|| entry.clone());
            for file in entry.files {
                if !known.files.contains(&file) {
                    known.files.push(file);
                }
            }
        }
    }
    entries.into_values().collect()
}
