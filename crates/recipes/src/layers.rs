//! Trees laid over each other, remembering where each key came from.

use std::collections::BTreeMap;

use toml::{Table, Value};

use crate::error::Error;
use crate::read::{Problem, ReadError};

/// A tree made of layers. Where two have the same key, the later one counts; tables are joined key by key. `false` over
/// anything but `true` and `false` takes the key away.
#[derive(Debug, Default)]
pub(crate) struct Layers {
    table: Table,
    origins: Origins,
}

impl Layers {
    /// Lays a table over what is there.
    pub(crate) fn lay(&mut self, layer: Table, origin: &str) {
        join(&mut self.table, layer, "", origin, &mut self.origins.by_key);
    }

    /// The tree, and where its keys came from. Keys that are missing are laid to `recipe`.
    pub(crate) fn finish(self, recipe: &str) -> (Table, Origins) {
        let mut origins = self.origins;
        recipe.clone_into(&mut origins.recipe);
        (self.table, origins)
    }
}

fn join(base: &mut Table, layer: Table, prefix: &str, origin: &str, origins: &mut BTreeMap<String, String>) {
    for (name, value) in layer {
        let key = if prefix.is_empty() { name.clone() } else { format!("{prefix}.{name}") };
        match (base.get_mut(&name), value) {
            (Some(Value::Table(below)), Value::Table(above)) => join(below, above, &key, origin, origins),
            (_, Value::Table(above)) => {
                origins.insert(key.clone(), origin.to_owned());
                let mut below = Table::new();
                join(&mut below, above, &key, origin, origins);
                base.insert(name, Value::Table(below));
            }
            (Some(below), Value::Boolean(false)) if !below.is_bool() => {
                base.remove(&name);
            }
            (_, value) => {
                origins.insert(key, origin.to_owned());
                base.insert(name, value);
            }
        }
    }
}

/// The file, recipe or override that each key came from.
#[derive(Debug, Default)]
pub(crate) struct Origins {
    by_key: BTreeMap<String, String>,
    recipe: String,
}

impl Origins {
    /// Where a key came from: its own origin, else that of the nearest table around it, else the recipe.
    pub(crate) fn of(&self, key: &str) -> String {
        let mut key = key;
        loop {
            if let Some(origin) = self.by_key.get(key) {
                return origin.clone();
            }
            match key.rsplit_once('.') {
                Some((outer, _)) => key = outer,
                None => return self.recipe.clone(),
            }
        }
    }

    /// The error of a reader, with the file that is to blame.
    pub(crate) fn blame(&self, error: ReadError) -> Error {
        let key = error.path.join(".");
        match error.problem {
            Problem::Unknown { expected } => Error::UnknownKey { origin: self.of(&key), key, expected },
            Problem::Missing => Error::MissingKey { origin: self.recipe.clone(), key },
            Problem::Value { found, expected } => {
                Error::Value { origin: self.of(&key), key, found, expected }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_later_layer_counts_and_is_to_blame() {
        let mut layers = Layers::default();
        layers.lay("[a]\nx = 1\ny = 2\n[b]\nz = 3".parse().unwrap(), "low");
        layers.lay("[a]\ny = 5\n[c.d]\ne = 6".parse().unwrap(), "high");
        let (table, origins) = layers.finish("top");
        assert_eq!(table, "[a]\nx = 1\ny = 5\n[b]\nz = 3\n[c.d]\ne = 6".parse().unwrap());
        for (key, origin) in [
            ("a.x", "low"),
            ("a.y", "high"),
            ("c", "high"),
            ("c.d.e", "high"),
            ("c.d.new", "high"),
            ("q.r", "top"),
        ] {
            assert_eq!(origins.of(key), origin, "{key}");
        }
    }
}
