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
mod tests;
