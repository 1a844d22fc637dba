//! Recipes by name: those built into the program, or those of a folder.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::assemble::assemble;
use crate::embedded::FILES;
use crate::error::Error;
use crate::layers::Layers;
use crate::nearest::nearest;
use crate::overrides::Override;
use crate::recipe::Recipe;
use crate::validate::validate;

/// A set of recipes with names, as `cifar100/resnet18/adautomix`. Parts of a name that begin with `_` mark bases, which
/// are no whole recipes.
#[derive(Debug, Clone)]
pub struct Library {
    /// `None` for the recipes that are built in.
    folder: Option<PathBuf>,
}

impl Library {
    /// The recipes that are built in.
    #[must_use]
    pub fn embedded() -> Self {
        Self { folder: None }
    }

    /// The recipes of a folder: the file `FOLDER/quick/mixup.toml` is the recipe `quick/mixup`.
    #[must_use]
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self { folder: Some(path.into()) }
    }

    /// The names of all recipes, in order, without the bases.
    ///
    /// # Errors
    /// [`Error::File`] if the folder cannot be listed.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let mut names = match &self.folder {
            None => FILES.iter().map(|(name, _)| (*name).to_owned()).collect(),
            Some(folder) => {
                let mut names = Vec::new();
                list(folder, "", &mut names)?;
                names
            }
        };
        names.retain(|name| !name.split('/').any(|part| part.starts_with('_')));
        names.sort();
        Ok(names)
    }

    /// Loads a recipe by its name, or from a file where `name` ends in `.toml`, and lays the overrides over it. What
    /// the file `extends` is looked up by name in this library.
    ///
    /// # Errors
    /// An [`Error`] that names the file and the key, if anything is missing, unknown or out of range.
    pub fn load(&self, name: &str, overrides: &[Override]) -> Result<Recipe, Error> {
        if !name.ends_with(".toml") {
            return self.resolve(name, name, &self.text(name)?, overrides);
        }
        let path = Path::new(name);
        let text = read_file(path)?;
        let stem =
            path.file_stem().map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned());
        self.resolve(&stem, name, &text, overrides)
    }

    fn resolve(&self, name: &str, origin: &str, text: &str, overrides: &[Override]) -> Result<Recipe, Error> {
        let mut layers = Layers::default();
        let mut top = parse(text, origin)?;
        let given = top.remove("name");
        self.lay(top, origin, &mut vec![origin.to_owned()], &mut layers)?;
        layers.lay(Table::from_iter([("name".to_owned(), given.unwrap_or_else(|| name.into()))]), origin);
        for change in overrides {
            layers.lay(change.layer(), &change.origin());
        }
        let (table, origins) = layers.finish(origin);
        let recipe = assemble(table).map_err(|error| origins.blame(error))?;
        validate(&recipe, &origins)?;
        Ok(recipe)
    }

    /// Lays a file over what it extends. `chain` holds the files on the way to it, itself last.
    fn lay(
        &self,
        mut file: Table,
        origin: &str,
        chain: &mut Vec<String>,
        layers: &mut Layers,
    ) -> Result<(), Error> {
        for base in bases(file.remove("extends"), origin)? {
            chain.push(base.clone());
            if chain[..chain.len() - 1].contains(&base) {
                return Err(Error::Cycle { chain: chain.clone() });
            }
            let mut table = parse(&self.text(&base)?, &base)?;
            table.remove("name");
            self.lay(table, &base, chain, layers)?;
            chain.pop();
        }
        layers.lay(file, origin);
        Ok(())
    }

    fn text(&self, name: &str) -> Result<String, Error> {
        let found = match &self.folder {
            None => FILES.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned()),
            Some(folder) => {
                let path = folder.join(format!("{name}.toml"));
                if path.exists() { Some(read_file(&path)?) } else { None }
            }
        };
        match found {
            Some(text) => Ok(text),
            None => Err(Error::UnknownRecipe {
                name: name.to_owned(),
                place: self
                    .folder
                    .as_ref()
                    .map_or_else(|| "the recipes built in".to_owned(), |folder| folder.display().to_string()),
                nearest: nearest(name, self.names()?),
            }),
        }
    }
}

impl Recipe {
    /// Reads a whole recipe that extends nothing, such as the `recipe.toml` of a run. Messages call it `origin`.
    ///
    /// # Errors
    /// As [`Library::load`].
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, Error> {
        Library::embedded().resolve(origin, origin, text, &[])
    }

    /// The whole recipe as a file that extends nothing.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every field of a recipe has a form in TOML")
    }
}

fn bases(extends: Option<Value>, origin: &str) -> Result<Vec<String>, Error> {
    let Some(value) = extends else {
        return Ok(Vec::new());
    };
    let values = match value {
        Value::Array(values) => values,
        single => vec![single],
    };
    values
        .into_iter()
        .map(|value| match value {
            Value::String(name) => Ok(name),
            other => Err(Error::Value {
                origin: origin.to_owned(),
                key: "extends".to_owned(),
                found: other.to_string(),
                expected: "the name of a recipe, or an array of names".to_owned(),
            }),
        })
        .collect()
}

fn parse(text: &str, origin: &str) -> Result<Table, Error> {
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().map_or(0, |span| span.start).min(text.len());
        Error::Syntax {
            origin: origin.to_owned(),
            line: text.as_bytes()[..before].iter().filter(|&&byte| byte == b'\n').count() + 1,
            reason: error.message().replace('\n', ", "),
        }
    })
}

fn read_file(path: &Path) -> Result<String, Error> {
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder of recipes that is removed again.
    struct Folder(PathBuf);

    impl Folder {
        fn new(name: &str, files: &[(&str, &str)]) -> Self {
            let path = std::env::temp_dir().join(format!("adautomix-recipes-{name}-{}", std::process::id()));
            for (file, text) in files {
                let file = path.join(file);
                std::fs::create_dir_all(file.parent().unwrap()).unwrap();
                std::fs::write(file, text).unwrap();
            }
            Self(path)
        }

        fn load(&self, name: &str, overrides: &[&str]) -> Result<Recipe, Error> {
            let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
            Library::folder(&self.0).load(name, &overrides)
        }
    }

    impl Drop for Folder {
        fn drop(&mut self) {
            let _ = std::fs::remove_dir_all(&self.0);
        }
    }

    #[test]
    fn every_file_of_the_folder_is_built_in_and_every_recipe_is_whole() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/recipes");
        let mut on_disk = Vec::new();
        list(&folder, "", &mut on_disk).unwrap();
        on_disk.sort();
        let built_in: Vec<_> = FILES.iter().map(|(name, _)| (*name).to_owned()).collect();
        assert_eq!(built_in, on_disk);
        for name in Library::embedded().names().unwrap() {
            let recipe = Library::embedded().load(&name, &[]).unwrap();
            assert_eq!(recipe, Library::folder(&folder).load(&name, &[]).unwrap());
            assert_eq!(recipe, Recipe::from_toml(&recipe.to_toml(), "recipe.toml").unwrap(), "{name}");
            assert_eq!(recipe.name, name);
        }
    }

    #[test]
    fn the_published_settings_of_the_flagship() {
        let recipe = Library::embedded().load("cifar100/resnet18/adautomix", &[]).unwrap();
        assert_eq!((recipe.training.epochs, recipe.training.batch_size), (800, 100));
        assert_eq!((recipe.optimizer.lr, recipe.schedule.min_lr), (0.1, 0.05));
        assert_eq!(recipe.total_steps(50_000), 400_000);
        assert_eq!(recipe.claim.unwrap().value, 82.32);
    }

    #[test]
    fn overrides_count_last_and_a_run_keeps_them() {
        let seed = Override::new("training.seed", 7).unwrap();
        let steps = "training.steps=12".parse().unwrap();
        let recipe = Library::embedded().load("quick/mixup", &[seed, steps]).unwrap();
        assert_eq!((recipe.training.seed, recipe.total_steps(2_000)), (7, 12));
        let again = Recipe::from_toml(&recipe.to_toml(), "recipe.toml").unwrap();
        assert_eq!(again.training.steps, Some(12));
    }

    #[test]
    fn an_unknown_name_brings_near_ones() {
        let message = Library::embedded().load("quick/mixpu", &[]).unwrap_err().to_string();
        assert!(message.contains("no recipe `quick/mixpu` in the recipes built in"), "{message}");
        assert!(message.contains("`quick/mixup`"), "{message}");
    }

    #[test]
    fn refusals_name_the_file_among_the_bases() {
        let folder = Folder::new(
            "bases",
            &[
                ("a.toml", "extends = \"b\"\n"),
                ("b.toml", "extends = [\"a\"]\n"),
                ("broken.toml", "[data]\nname = \n"),
                ("three.toml", "extends = 3\n"),
                ("_low.toml", "[data]\nname = \"cifar10\"\ninput_sise = 32\n"),
                ("high.toml", "extends = \"_low\"\nname = \"mine\"\n[data]\npad = 4\n"),
            ],
        );
        let message = |name: &str| folder.load(name, &[]).unwrap_err().to_string();
        assert_eq!(message("a"), "`extends` goes in a circle: a -> b -> a");
        assert!(message("broken").starts_with("broken: line 2: not TOML:"), "{}", message("broken"));
        assert!(message("three").contains("`extends` is 3; expected the name of a recipe"));
        assert!(message("high").starts_with("_low: unknown key `data.input_sise`"), "{}", message("high"));
        let path = folder.0.join("high.toml").display().to_string();
        assert!(message(&path).starts_with("_low: unknown key"), "{}", message(&path));
        assert!(message("none.toml").starts_with("none.toml: cannot be read:"), "{}", message("none.toml"));
        assert_eq!(Library::folder(&folder.0).names().unwrap(), ["a", "b", "broken", "high", "three"]);
    }

    #[test]
    fn a_file_of_ones_own_extends_a_recipe_by_name() {
        let folder =
            Folder::new("own", &[("mine.toml", "extends = \"quick/cutmix\"\ntraining.epochs = 3\n")]);
        let recipe =
            Library::embedded().load(&folder.0.join("mine.toml").display().to_string(), &[]).unwrap();
        assert_eq!((recipe.name.as_str(), recipe.training.epochs), ("mine", 3));
    }
}
