//! Recipes by name: those built into the program, or those of a folder.

use std::path::{Path, PathBuf};

use toml::{Table, Value};

use crate::assemble::assemble;
use crate::error::Error;
use crate::files::{Files, read_file};
use crate::layers::Layers;
use crate::nearest::nearest;
use crate::overrides::Override;
use crate::recipe::Recipe;
use crate::validate::validate;

/// The key of a file that holds recipes: a table for each, by name.
const FAMILY: &str = "recipes";

/// A set of recipes with names, as `cifar100/resnet18/adautomix`. Parts of a name that begin with `_` mark bases, which
/// are no whole recipes.
///
/// A file is one recipe, or a family of recipes: what they share, and for each a table `[recipes.NAME]` that is laid over
/// it. As a base, the name of a family stands for what is shared.
#[derive(Debug, Clone)]
pub struct Library {
    files: Files,
}

/// Tables to lay over each other, lowest first, each with what messages call it.
type Stack = Vec<(String, Table)>;

impl Library {
    /// The recipes that are built in.
    #[must_use]
    pub fn embedded() -> Self {
        Self { files: Files::BuiltIn }
    }

    /// The recipes of a folder: the file `FOLDER/quick/mixup.toml` is the recipe `quick/mixup`, or it is the table
    /// `[recipes.mixup]` of the file `FOLDER/quick.toml`.
    #[must_use]
    pub fn folder(path: impl Into<PathBuf>) -> Self {
        Self { files: Files::Folder(path.into()) }
    }

    /// The names of all recipes, in order, without the bases.
    ///
    /// # Errors
    /// [`Error::File`] if the folder or a file in it cannot be read.
    pub fn names(&self) -> Result<Vec<String>, Error> {
        let mut names = Vec::new();
        for name in self.files.names()? {
            // A file that is no TOML is one recipe, whose loading tells what is wrong.
            match self.file(&name).map(|file| file.and_then(|file| members(&name, &file))) {
                Ok(Some(members)) => names.extend(members),
                Ok(None) | Err(Error::Syntax { .. }) => names.push(name),
                Err(error) => return Err(error),
            }
        }
        names.retain(|name| !name.split('/').any(|part| part.starts_with('_')));
        names.sort();
        names.dedup();
        Ok(names)
    }

    /// Loads a recipe by its name, or from a file where `name` ends in `.toml`, and lays the overrides over it. What
    /// the file `extends` is looked up by name in this library.
    ///
    /// # Errors
    /// An [`Error`] that names the file and the key, if anything is missing, unknown or out of range.
    pub fn load(&self, name: &str, overrides: &[Override]) -> Result<Recipe, Error> {
        let (called, stack) = if name.ends_with(".toml") {
            let path = Path::new(name);
            let table = parse(&read_file(path)?, name)?;
            let stem =
                path.file_stem().map_or_else(|| name.to_owned(), |stem| stem.to_string_lossy().into_owned());
            (stem, vec![(name.to_owned(), table)])
        } else {
            (name.to_owned(), self.find(name)?)
        };
        if let [(_, file)] = stack.as_slice()
            && let Some(recipes) = members(&called, file)
        {
            return Err(Error::Family { origin: name.to_owned(), recipes });
        }
        self.resolve(&called, name, stack, overrides)
    }

    fn resolve(
        &self,
        name: &str,
        origin: &str,
        mut stack: Stack,
        overrides: &[Override],
    ) -> Result<Recipe, Error> {
        let mut layers = Layers::default();
        let given = stack.iter_mut().filter_map(|(_, table)| table.remove("name")).last();
        self.lay(stack, &mut vec![origin.to_owned()], &mut layers)?;
        layers.lay(Table::from_iter([("name".to_owned(), given.unwrap_or_else(|| name.into()))]), origin);
        for change in overrides {
            layers.lay(change.layer(), &change.origin());
        }
        let (table, origins) = layers.finish(origin);
        let recipe = assemble(table).map_err(|error| origins.blame(error))?;
        validate(&recipe, &origins)?;
        Ok(recipe)
    }

    /// Lays tables over what is there, each over what it extends. `chain` holds the names on the way to them, their own
    /// last.
    fn lay(&self, stack: Stack, chain: &mut Vec<String>, layers: &mut Layers) -> Result<(), Error> {
        for (origin, mut table) in stack {
            for base in bases(table.remove("extends"), &origin)? {
                chain.push(base.clone());
                if chain[..chain.len() - 1].contains(&base) {
                    return Err(Error::Cycle { chain: chain.clone() });
                }
                let mut stack = self.find(&base)?;
                for (_, table) in &mut stack {
                    table.remove("name");
                    table.remove(FAMILY);
                }
                self.lay(stack, chain, layers)?;
                chain.pop();
            }
            layers.lay(table, &origin);
        }
        Ok(())
    }

    /// What a name stands for: a file, or a table of a family with what it shares.
    fn find(&self, name: &str) -> Result<Stack, Error> {
        if let Some(file) = self.file(name)? {
            return Ok(vec![(name.to_owned(), file)]);
        }
        if let Some((family, member)) = name.rsplit_once('/')
            && let Some(mut shared) = self.file(family)?
            && let Some(Value::Table(mut recipes)) = shared.remove(FAMILY)
            && let Some(recipe) = recipes.remove(member)
        {
            let origin = format!("{family} [{FAMILY}.{member}]");
            return match recipe {
                Value::Table(recipe) => Ok(vec![(family.to_owned(), shared), (origin, recipe)]),
                other => Err(not_a_table(family, &format!("{FAMILY}.{member}"), &other)),
            };
        }
        Err(Error::UnknownRecipe {
            name: name.to_owned(),
            place: self.files.place(),
            nearest: nearest(name, self.names()?),
        })
    }

    fn file(&self, name: &str) -> Result<Option<Table>, Error> {
        let table = self.files.text(name)?.map(|text| parse(&text, name)).transpose()?;
        match table.as_ref().and_then(|table| table.get(FAMILY)) {
            None | Some(Value::Table(_)) => Ok(table),
            Some(other) => Err(not_a_table(name, FAMILY, other)),
        }
    }
}

impl Recipe {
    /// Reads a whole recipe that extends nothing, such as the `recipe.toml` of a run. Messages call it `origin`.
    ///
    /// # Errors
    /// As [`Library::load`].
    pub fn from_toml(text: &str, origin: &str) -> Result<Self, Error> {
        let stack = vec![(origin.to_owned(), parse(text, origin)?)];
        Library::embedded().resolve(origin, origin, stack, &[])
    }

    /// The whole recipe as a file that extends nothing.
    #[must_use]
    pub fn to_toml(&self) -> String {
        toml::to_string(self).expect("every field of a recipe has a form in TOML")
    }
}

/// The names of a family's recipes; `None` where a file is one recipe.
fn members(name: &str, file: &Table) -> Option<Vec<String>> {
    let recipes = file.get(FAMILY)?.as_table()?;
    Some(recipes.keys().map(|member| format!("{name}/{member}")).collect())
}

fn not_a_table(origin: &str, key: &str, found: &Value) -> Error {
    Error::Value {
        origin: origin.to_owned(),
        key: key.to_owned(),
        found: found.to_string(),
        expected: "a table".to_owned(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Method, Objective};

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
    fn every_recipe_of_the_folder_is_built_in_and_whole() {
        let folder = Library::folder(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/recipes"));
        let names = Library::embedded().names().unwrap();
        assert_eq!(names, folder.names().unwrap());
        for name in names {
            let recipe = Library::embedded().load(&name, &[]).unwrap();
            assert_eq!(recipe, folder.load(&name, &[]).unwrap());
            assert_eq!(recipe, Recipe::from_toml(&recipe.to_toml(), "recipe.toml").unwrap(), "{name}");
            assert_eq!(recipe.name, name);
        }
    }

    #[test]
    fn published_and_papers_settings_stand_side_by_side() {
        let load = |name: &str| Library::embedded().load(name, &[]).unwrap();
        let (published, paper) =
            (load("imagenet/resnet50/adautomix"), load("imagenet/resnet50/adautomix-paper"));
        let (Method::AdAutoMix(ours), Method::AdAutoMix(theirs)) = (&published.method, &paper.method) else {
            panic!("both are AdAutoMix");
        };
        assert_eq!((ours.images, theirs.images), (2, 3));
        assert_eq!((ours.objective, theirs.objective), (Objective::Published, Objective::Paper));
        let ends = [&published, &paper].map(|recipe| recipe.teacher.as_ref().unwrap().end_momentum);
        assert_eq!(ends, [0.99999, 1.0]);
        assert_eq!(published.data, paper.data);
        assert_eq!(published.claim.unwrap().value, paper.claim.unwrap().value);
    }

    #[test]
    fn a_family_is_what_it_shares_and_a_table_for_each_recipe() {
        let folder = Folder::new(
            "family",
            &[
                (
                    "set/net.toml",
                    "extends = \"quick\"\ntraining.epochs = 3\n\
                     [recipes.a]\nextends = \"_base/mixers/mixup\"\ntraining.seed = 7\n\
                     [recipes.b]\nextends = \"set/net/a\"\ntraining.epochs = 4\n\
                     [recipes.c]\nextends = \"_base/mixers/cutmix\"\noptimizer.lr = \"fast\"\n\
                     [recipes._d]\n[recipes]\ne = 3\n",
                ),
                ("set/other.toml", "extends = [\"set/net\", \"_base/mixers/cutmix\"]\n"),
                ("circle.toml", "extends = \"circle/a\"\n[recipes.a]\n"),
                ("list.toml", "recipes = [1]\n"),
            ],
        );
        // What they extend is in the same folder.
        let built_in = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../data/recipes");
        for file in ["quick.toml", "_base/cifar.toml", "_base/sgd.toml", "_base/mixers.toml"] {
            std::fs::create_dir_all(folder.0.join("_base")).unwrap();
            std::fs::copy(built_in.join(file), folder.0.join(file)).unwrap();
        }
        let settings = |name: &str| {
            let training = folder.load(name, &[]).unwrap().training;
            (training.epochs, training.seed, training.batch_size)
        };
        assert_eq!(settings("set/net/a"), (3, 7, 25));
        assert_eq!(settings("set/net/b"), (4, 7, 25));
        assert_eq!(settings("set/other"), (3, 0, 25));
        let message = |name: &str| folder.load(name, &[]).unwrap_err().to_string();
        assert_eq!(
            message("set/net/c"),
            "set/net [recipes.c]: `optimizer.lr` is \"fast\"; expected a number"
        );
        assert_eq!(message("set/net/e"), "set/net: `recipes.e` is 3; expected a table");
        let families = message("set/net");
        assert!(
            families.starts_with("set/net: a family of recipes; expected one of `set/net/_d`"),
            "{families}"
        );
        assert_eq!(message("circle/a"), "`extends` goes in a circle: circle/a -> circle/a");
        assert_eq!(message("list/a"), "list: `recipes` is [1]; expected a table");
        std::fs::remove_file(folder.0.join("list.toml")).unwrap();
        let names = Library::folder(&folder.0).names().unwrap();
        let own: Vec<_> = names.iter().filter(|name| !name.starts_with("quick/")).collect();
        assert_eq!(own, ["circle/a", "set/net/a", "set/net/b", "set/net/c", "set/net/e", "set/other"]);
    }

    #[test]
    fn false_takes_an_optional_key_away() {
        let load = |overrides: &[&str]| {
            let overrides: Vec<Override> = overrides.iter().map(|text| text.parse().unwrap()).collect();
            Library::embedded().load("cifar100/resnet18/attentivemix", &overrides)
        };
        assert!(load(&[]).unwrap().observer.is_some());
        let recipe = load(&["observer=false", "claim=false", "data.flip=false"]).unwrap();
        assert_eq!((recipe.observer, recipe.claim, recipe.data.flip), (None, None, false));
        let message = load(&["optimizer.lr=false"]).unwrap_err().to_string();
        assert_eq!(message, "cifar100/resnet18/attentivemix: missing key `optimizer.lr`");
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
