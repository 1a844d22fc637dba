//! A cell: one run of one recipe with one seed, and what its folder tells of it.

use std::fs;
use std::path::{Path, PathBuf};

use adautomix_recipes::{Library, Override, Recipe, Summary};
use anyhow::{Context, Result};

use super::layout::Column;

/// One run of one recipe with one seed.
#[derive(Debug)]
pub(crate) struct Cell {
    /// The column.
    pub(crate) column: &'static Column,
    /// The heading of the row.
    pub(crate) method: String,
    /// The recipe with the cell's seed in it.
    pub(crate) recipe: Recipe,
    /// The seed.
    pub(crate) trial: u64,
    /// The run folder.
    pub(crate) folder: PathBuf,
    /// What the run printed.
    pub(crate) log: PathBuf,
}

/// What the run folder tells.
#[derive(Debug, PartialEq)]
pub(crate) enum State {
    /// The run has ended.
    Done(Box<Summary>),
    /// A checkpoint to go on from.
    Resumable,
    /// The run broke off before its first checkpoint.
    Abandoned,
    /// Something else: a run of another recipe, or no run at all.
    Foreign,
    /// Nothing.
    Empty,
}

impl Cell {
    /// The cell of a recipe and a seed, below `out`.
    pub(crate) fn new(
        column: &'static Column,
        method: &str,
        library: &Library,
        recipe: &str,
        trial: u64,
        out: &Path,
    ) -> Result<Self> {
        let seed = Override::new("training.seed", i64::try_from(trial)?)?;
        let name = format!("{}-seed{trial}", recipe.replace('/', "-"));
        Ok(Self {
            column,
            method: method.to_owned(),
            recipe: library.load(recipe, &[seed])?,
            trial,
            folder: out.join(&name),
            log: out.join("logs").join(format!("{name}.log")),
        })
    }

    /// How messages call it.
    pub(crate) fn title(&self) -> String {
        format!("{} on {}, seed {}", self.method, self.column.heading, self.trial)
    }

    /// Looks into the run folder.
    pub(crate) fn state(&self) -> State {
        let Ok(text) = fs::read_to_string(self.folder.join("recipe.toml")) else {
            let empty = fs::read_dir(&self.folder).map_or(true, |mut entries| entries.next().is_none());
            return if empty { State::Empty } else { State::Foreign };
        };
        match Recipe::from_toml(&text, "recipe.toml") {
            Ok(recipe) if recipe == self.recipe => {}
            _ => return State::Foreign,
        }
        if let Ok(summary) = Summary::read(&self.folder.join("summary.json")) {
            return State::Done(Box::new(summary));
        }
        let checkpoint = self.folder.join("checkpoints/last.safetensors");
        if checkpoint.exists() { State::Resumable } else { State::Abandoned }
    }

    /// The summary, if the run has ended.
    pub(crate) fn summary(&self) -> Option<Summary> {
        match self.state() {
            State::Done(summary) => Some(*summary),
            _ => None,
        }
    }

    /// Makes way for a run that starts anew: what is left of a broken one goes, what is another's is kept aside.
    /// Returns where that is.
    pub(crate) fn make_way(&self, state: &State) -> Result<Option<PathBuf>> {
        let failed = || format!("{}: cannot make way for a new run", self.folder.display());
        match state {
            State::Abandoned => fs::remove_dir_all(&self.folder).with_context(failed).map(|()| None),
            State::Foreign => {
                let aside = (1..)
                    .map(|number| PathBuf::from(format!("{}.old-{number}", self.folder.display())))
                    .find(|path| !path.exists())
                    .with_context(failed)?;
                fs::rename(&self.folder, &aside).with_context(failed)?;
                Ok(Some(aside))
            }
            State::Done(_) | State::Resumable | State::Empty => Ok(None),
        }
    }
}
