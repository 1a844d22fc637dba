//! What can be wrong with a recipe: one line each, with the file, the key and what was expected.

use std::path::PathBuf;

/// Why a recipe, an override or a summary was refused.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A file that could not be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What the system said.
        reason: std::io::Error,
    },
    /// A file that is not TOML.
    #[error("{origin}: line {line}: not TOML: {reason}")]
    Syntax {
        /// The file or recipe.
        origin: String,
        /// The line, counted from 1.
        line: usize,
        /// What the parser said.
        reason: String,
    },
    /// A name that no recipe has.
    #[error("no recipe `{name}` in {place}; the nearest names are {}", list(nearest))]
    UnknownRecipe {
        /// The name that was asked for.
        name: String,
        /// Where it was looked for.
        place: String,
        /// The names most like it.
        nearest: Vec<String>,
    },
    /// The name of several recipes where one is asked for.
    #[error("{origin}: a family of recipes; expected one of {}", list(recipes))]
    Family {
        /// The name or file.
        origin: String,
        /// The recipes in it.
        recipes: Vec<String>,
    },
    /// A recipe that extends itself, perhaps by way of others.
    #[error("`extends` goes in a circle: {}", chain.join(" -> "))]
    Cycle {
        /// The recipes on the way, the first and the last being the same.
        chain: Vec<String>,
    },
    /// A key that means nothing here.
    #[error("{origin}: unknown key `{key}`; expected {}", one_of(expected))]
    UnknownKey {
        /// The file or the override that has the key.
        origin: String,
        /// The whole key, as `training.epochs`.
        key: String,
        /// The keys that may stand there.
        expected: Vec<String>,
    },
    /// A key that must be there.
    #[error("{origin}: missing key `{key}`")]
    MissingKey {
        /// The recipe.
        origin: String,
        /// The whole key, as `training.epochs`.
        key: String,
    },
    /// A value of the wrong type or out of its range.
    #[error("{origin}: `{key}` is {found}; expected {expected}")]
    Value {
        /// The file or the override that has the value.
        origin: String,
        /// The whole key, as `training.epochs`.
        key: String,
        /// The value that was found.
        found: String,
        /// What may stand there.
        expected: String,
    },
    /// An override that is not of the form `key.path=value`.
    #[error("override `{argument}`: expected key.path=value, as in training.epochs=10")]
    Override {
        /// What was given.
        argument: String,
    },
    /// A summary that is broken, or cut short.
    #[error("{}: not a whole summary: {reason}", path.display())]
    Summary {
        /// The file.
        path: PathBuf,
        /// What the parser said.
        reason: String,
    },
}

fn list(names: &[String]) -> String {
    names.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")
}

fn one_of(keys: &[String]) -> String {
    match keys {
        [] => "no key here".to_owned(),
        [key] => format!("`{key}`"),
        _ => format!("one of {}", list(keys)),
    }
}
