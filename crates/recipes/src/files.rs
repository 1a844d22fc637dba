//! Where the files that recipes are made of come from: the program itself, or a folder.

use std::path::{Path, PathBuf};

use crate::error::Error;

/// Name and text of every file in `data/recipes`, by name; the build script lists them.
const BUILT_IN: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// A set of files by name: `quick/_base` for `quick/_base.toml`.
#[derive(Debug, Clone)]
pub(crate) enum Files {
    /// Those that are built in, so that the program works from anywhere.
    BuiltIn,
    /// Those of a folder.
    Folder(PathBuf),
}

impl Files {
    /// The names of all files.
    pub(crate) fn names(&self) -> Result<Vec<String>, Error> {
        match self {
            Self::BuiltIn => Ok(BUILT_IN.iter().map(|(name, _)| (*name).to_owned()).collect()),
            Self::Folder(folder) => {
                let mut names = Vec::new();
                list(folder, "", &mut names)?;
                Ok(names)
            }
        }
    }

    /// The text of a file, or `None` where there is no such file.
    pub(crate) fn text(&self, name: &str) -> Result<Option<String>, Error> {
        match self {
            Self::BuiltIn => {
                let found = BUILT_IN.iter().find(|(known, _)| *known == name);
                Ok(found.map(|(_, text)| (*text).to_owned()))
            }
            Self::Folder(folder) => {
                let path = folder.join(format!("{name}.toml"));
                if path.exists() { read_file(&path).map(Some) } else { Ok(None) }
            }
        }
    }

    /// What messages call the set.
    pub(crate) fn place(&self) -> String {
        match self {
            Self::BuiltIn => "the recipes built in".to_owned(),
            Self::Folder(folder) => folder.display().to_string(),
        }
    }
}

/// The text of a file.
pub(crate) fn read_file(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|reason| Error::File { path: path.to_owned(), reason })
}

fn list(folder: &Path, prefix: &str, names: &mut Vec<String>) -> Result<(), Error> {
    let failed = |reason| Error::File { path: folder.to_owned(), reason };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else {
            continue;
        };
        if path.is_dir() {
            list(&path, &format!("{prefix}{stem}/"), names)?;
        } else if path.extension().is_some_and(|extension| extension == "toml") {
            names.push(format!("{prefix}{stem}"));
        }
    }
    Ok(())
}
