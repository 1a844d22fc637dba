//! A cell: one run of one recipe with one seed, what is measured of it afterwards, and what its folder tells.

use std::fs;
use std::path::{Path, PathBuf};

use adautomix_recipes::{Error, Library, Override, Recipe, Summary};
use anyhow::{Context, Result};

use super::invocation::{Invocation, Launch};

/// One run of one recipe with one seed, and what is measured of it.
#[derive(Debug)]
pub(crate) struct Cell {
    /// The name of its folder and its log: recipe, what is set over it, seed.
    pub(crate) name: String,
    /// The recipe with all that is set over it.
    pub(crate) recipe: Recipe,
    /// The keys that are set, but for the seed.
    set: Vec<String>,
    /// The seed.
    pub(crate) trial: u64,
    /// The folder of the run that it begins with.
    pub(crate) from: Option<PathBuf>,
    /// The run folder.
    pub(crate) folder: PathBuf,
    /// What run and measurements printed.
    pub(crate) log: PathBuf,
    /// What comes after the run.
    pub(crate) steps: Vec<Step>,
}

/// The key of the run that a cell begins with.
pub(crate) const FROM: &str = "network.pretrained=run:";

/// Epochs of which the networks of a learned mixer are kept.
const KEPT: usize = 5;

/// What is made of a run that has ended, by a command of its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Step {
    /// A metric of `adautomix evaluate`, on the first so many test pictures or on all.
    Evaluate { metric: &'static str, pictures: Option<usize> },
    /// How far blends differ between the networks of the epochs that were kept, as figures and as a picture.
    Diversity,
    /// A picture, by a command with `{run}` in the place of the run, that takes `--out`.
    Draw { name: String, command: Vec<String> },
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

impl Step {
    /// The file that it leaves, from the run folder.
    pub(crate) fn file(&self) -> PathBuf {
        match self {
            Self::Evaluate { metric, pictures: None } => format!("evaluation/{metric}.json").into(),
            Self::Evaluate { metric, pictures: Some(count) } => {
                format!("evaluation/{metric}-{count}.json").into()
            }
            Self::Diversity => "evaluation/diversity.json".into(),
            Self::Draw { name, .. } => format!("pictures/{name}.png").into(),
        }
    }

    /// The picture that it leaves, from the run folder.
    pub(crate) fn picture(&self) -> PathBuf {
        self.file().with_extension("png")
    }

    /// How messages call it.
    pub(crate) fn title(&self) -> String {
        match self {
            Self::Evaluate { metric, .. } => (*metric).to_owned(),
            Self::Diversity => "diversity".to_owned(),
            Self::Draw { name, .. } => format!("picture {name}"),
        }
    }
}

impl Cell {
    /// The cell of a recipe, keys that are set over it, and a seed, below `out`. Keys that change nothing are left
    /// out, so that cells that are the same have the same name.
    ///
    /// # Errors
    /// If there is no such recipe, or it doesn't take the keys.
    pub(crate) fn new(
        library: &Library,
        recipe: &str,
        set: &[String],
        trial: u64,
        out: &Path,
    ) -> Result<Self, Error> {
        let load = |set: &[&String]| -> Result<Recipe, Error> {
            let mut overrides = set.iter().map(|text| text.parse()).collect::<Result<Vec<Override>, _>>()?;
            overrides.push(Override::new("training.seed", i64::try_from(trial).unwrap_or(i64::MAX))?);
            library.load(recipe, &overrides)
        };
        let mut kept: Vec<&String> = set.iter().collect();
        let whole = load(&kept)?;
        for text in set {
            let others: Vec<_> = kept.iter().copied().filter(|other| *other != text).collect();
            if load(&others).is_ok_and(|other| other == whole) {
                kept = others;
            }
        }
        let changes: String = kept.iter().map(|text| format!("-{}", legible(text))).collect();
        let name = format!("{}{changes}-seed{trial}", recipe.replace('/', "-"));
        Ok(Self {
            recipe: whole,
            from: kept.iter().find_map(|text| text.strip_prefix(FROM)).map(PathBuf::from),
            set: kept.into_iter().cloned().collect(),
            trial,
            folder: out.join(&name),
            log: out.join("logs").join(format!("{name}.log")),
            name,
            steps: Vec::new(),
        })
    }

    /// How messages call it.
    pub(crate) fn title(&self) -> String {
        let changes: String = self.set.iter().map(|text| format!(", {}", short(text))).collect();
        format!("{}{changes}, seed {}", self.recipe.name, self.trial)
    }

    /// Adds what is to be measured, if it isn't there yet; returns its place.
    pub(crate) fn want(&mut self, step: Step) -> usize {
        self.steps.iter().position(|known| *known == step).unwrap_or_else(|| {
            self.steps.push(step);
            self.steps.len() - 1
        })
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

    /// The file of a step, if it is there.
    pub(crate) fn result(&self, step: usize) -> Option<PathBuf> {
        let path = self.folder.join(self.steps.get(step)?.file());
        path.exists().then_some(path)
    }

    /// Whether the run has ended and all is measured.
    pub(crate) fn is_complete(&self) -> bool {
        (0..self.steps.len()).all(|step| self.result(step).is_some()) && self.summary().is_some()
    }

    /// The command that trains. On an empty folder `resume` begins a run.
    pub(crate) fn train(&self, launch: &Launch, resume: bool) -> Invocation {
        let mut arguments = vec!["train".to_owned(), self.recipe.name.clone()];
        arguments.extend(["--seed".to_owned(), self.trial.to_string()]);
        arguments.extend(launch.device());
        arguments.extend(["--out".to_owned(), self.folder.display().to_string()]);
        arguments.extend(self.set.iter().flat_map(|text| ["--set".to_owned(), text.clone()]));
        arguments.extend(launch.data_dir());
        if self.recipe.method.has_generator() {
            // Figure 14 looks at them; they cost little, and every run may be the one that it takes.
            let every = (self.recipe.training.epochs / KEPT).max(1);
            arguments.extend(["--keep-every".to_owned(), every.to_string()]);
        }
        if resume {
            arguments.push("--resume".to_owned());
        }
        Invocation::new(arguments)
    }

    /// The command of a step.
    pub(crate) fn measure(&self, step: &Step, launch: &Launch) -> Invocation {
        let run = self.folder.display().to_string();
        let file = self.folder.join(step.file());
        match step {
            Step::Evaluate { metric, pictures } => {
                let mut arguments =
                    ["evaluate", &run, "--metrics", metric, "--json"].map(str::to_owned).to_vec();
                if let Some(count) = pictures {
                    arguments.extend(["--pictures".to_owned(), count.to_string()]);
                }
                arguments.extend(launch.device());
                arguments.extend(launch.data_dir());
                Invocation::printing(arguments, file)
            }
            Step::Diversity => {
                let picture = self.folder.join(step.picture()).display().to_string();
                let mut arguments =
                    ["diversity", &run, "--json", "--out", &picture].map(str::to_owned).to_vec();
                arguments.extend(launch.data_dir());
                Invocation::printing(arguments, file)
            }
            Step::Draw { command, .. } => {
                let mut arguments: Vec<_> = command.iter().map(|word| word.replace("{run}", &run)).collect();
                arguments.extend(launch.data_dir());
                Invocation::writing(arguments, "--out", file)
            }
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

/// A key with its value, without the table that most keys are in, and of a folder only its name.
fn short(text: &str) -> String {
    if let Some(folder) = text.strip_prefix(FROM) {
        let name = Path::new(folder).file_name().unwrap_or_default();
        return format!("from={}", name.to_string_lossy());
    }
    text.strip_prefix("method.").or_else(|| text.strip_prefix("training.")).unwrap_or(text).to_owned()
}

/// The same for the name of a folder.
fn legible(text: &str) -> String {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || "._=-".contains(letter);
    short(text).chars().map(|letter| if allowed(letter) { letter } else { '_' }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cell(set: &[&str]) -> Result<Cell, Error> {
        let set: Vec<_> = set.iter().map(|&text| text.to_owned()).collect();
        Cell::new(&Library::embedded(), "quick/adautomix", &set, 1, Path::new("out"))
    }

    #[test]
    fn the_name_says_what_is_set_and_nothing_else() {
        let plain = cell(&["method.images=3", "method.linear_weight=0.5"]).unwrap();
        assert_eq!(plain.name, "quick-adautomix-seed1");
        let pairs = cell(&["method.images=2", "method.margin_rule=pair", "training.epochs=2"]).unwrap();
        assert_eq!(pairs.name, "quick-adautomix-images=2-margin_rule=pair-epochs=2-seed1");
        assert_eq!(pairs.title(), "quick/adautomix, images=2, margin_rule=pair, epochs=2, seed 1");
        let arguments = pairs.train(&Launch::default(), false).arguments.join(" ");
        assert!(arguments.contains("--set method.images=2 --set method.margin_rule=pair"), "{arguments}");
        assert_eq!(legible("teacher.scope=[0.0, 1.0]"), "teacher.scope=_0.0__1.0_");
        let transfer = cell(&["network.pretrained=run:/a/quick-mixup-seed1"]).unwrap();
        assert_eq!(transfer.name, "quick-adautomix-from=quick-mixup-seed1-seed1");
        assert_eq!(transfer.from.as_deref(), Some(Path::new("/a/quick-mixup-seed1")));
        assert!(cell(&["method.pictures=3"]).is_err());
    }
}
