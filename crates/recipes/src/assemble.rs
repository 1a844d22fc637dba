//! A recipe out of a TOML tree, section by section, so that errors keep their keys.

use serde::de::DeserializeOwned;
use toml::Table;

use crate::method::Method;
use crate::read::{Problem, ReadError, read};
use crate::recipe::Recipe;

const SECTIONS: [&str; 11] = [
    "name",
    "data",
    "network",
    "training",
    "optimizer",
    "schedule",
    "teacher",
    "method",
    "loss",
    "observer",
    "claim",
];

/// Makes a recipe of a whole tree. Ranges are not looked at.
pub(crate) fn assemble(mut table: Table) -> Result<Recipe, ReadError> {
    if let Some(key) = table.keys().find(|key| !SECTIONS.contains(&key.as_str())) {
        let expected = SECTIONS.map(str::to_owned).to_vec();
        return Err(ReadError::at(key, Problem::Unknown { expected }));
    }
    Ok(Recipe {
        name: section(&mut table, "name")?,
        data: section(&mut table, "data")?,
        network: section(&mut table, "network")?,
        training: section(&mut table, "training")?,
        optimizer: section(&mut table, "optimizer")?,
        schedule: section(&mut table, "schedule")?,
        teacher: optional(&mut table, "teacher")?,
        method: Method::read(section(&mut table, "method")?).map_err(|error| error.under("method"))?,
        loss: optional(&mut table, "loss")?.unwrap_or_default(),
        observer: optional(&mut table, "observer")?,
        claim: optional(&mut table, "claim")?,
    })
}

fn section<T: DeserializeOwned>(table: &mut Table, key: &str) -> Result<T, ReadError> {
    optional(table, key)?.ok_or_else(|| ReadError::at(key, Problem::Missing))
}

fn optional<T: DeserializeOwned>(table: &mut Table, key: &str) -> Result<Option<T>, ReadError> {
    table.remove(key).map(|value| read(value).map_err(|error| error.under(key))).transpose()
}
