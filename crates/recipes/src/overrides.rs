//! Single keys set from the command line.

use std::str::FromStr;

use toml::{Table, Value};

use crate::error::Error;

/// One key with a new value, laid over a recipe: `training.epochs=10`.
#[derive(Debug, Clone, PartialEq)]
pub struct Override {
    key: String,
    value: Value,
}

impl Override {
    /// Sets `key`, as `training.epochs`, to a value.
    ///
    /// # Errors
    /// [`Error::Override`] if a part of the key is empty.
    ///
    /// ```
    /// # use adautomix_recipes::Override;
    /// let seed = Override::new("training.seed", 7)?;
    /// assert_eq!(seed, "training.seed=7".parse()?);
    /// # Ok::<(), adautomix_recipes::Error>(())
    /// ```
    pub fn new(key: &str, value: impl Into<Value>) -> Result<Self, Error> {
        if key.split('.').any(|part| part.trim().is_empty()) {
            return Err(Error::Override { argument: key.to_owned() });
        }
        let key = key.split('.').map(str::trim).collect::<Vec<_>>().join(".");
        Ok(Self { key, value: value.into() })
    }

    /// The override as a tree that holds nothing else.
    pub(crate) fn layer(&self) -> Table {
        let mut parts = self.key.rsplit('.');
        let last = parts.next().unwrap_or_default();
        let innermost = Table::from_iter([(last.to_owned(), self.value.clone())]);
        parts.fold(innermost, |table, part| Table::from_iter([(part.to_owned(), Value::Table(table))]))
    }

    /// What error messages call it.
    pub(crate) fn origin(&self) -> String {
        format!("override `{}={}`", self.key, self.value)
    }
}

impl FromStr for Override {
    type Err = Error;

    /// Reads `key.path=value`; a value that is not TOML is taken as a string.
    fn from_str(argument: &str) -> Result<Self, Error> {
        let malformed = || Error::Override { argument: argument.to_owned() };
        let (key, text) = argument.split_once('=').ok_or_else(malformed)?;
        let text = text.trim();
        let parsed = format!("value = {text}").parse::<Table>().ok().filter(|table| table.len() == 1);
        let value = parsed.and_then(|mut table| table.remove("value"));
        Self::new(key, value.unwrap_or_else(|| Value::String(text.to_owned()))).map_err(|_| malformed())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_toml_or_else_strings() {
        let value = |argument: &str| argument.parse::<Override>().unwrap().value;
        assert_eq!(value("training.epochs=10"), Value::Integer(10));
        assert_eq!(value("optimizer.lr = 1e-3"), Value::Float(1e-3));
        assert_eq!(value("data.flip=false"), Value::Boolean(false));
        assert_eq!(value("network.name=resnet18-cifar"), Value::String("resnet18-cifar".into()));
        assert_eq!(value("teacher.scope=[0.0, 1.0]"), Value::Array(vec![0.0.into(), 1.0.into()]));
        assert_eq!(value("a=1\nb = 2"), Value::String("1\nb = 2".into()));
    }

    #[test]
    fn what_is_no_assignment_is_refused() {
        for argument in ["training.epochs", "=3", "training..epochs=3", ".epochs=3"] {
            let message = argument.parse::<Override>().unwrap_err().to_string();
            assert!(message.contains(argument) && message.contains("key.path=value"), "{message}");
        }
    }
}
