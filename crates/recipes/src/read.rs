//! Values out of a TOML tree, with errors that know the whole key.
//!
//! The reader that comes with `toml` tells of an error in words; here it is told as data, so that the message can name
//! the file that the key came from.

use std::fmt::Display;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, IntoDeserializer, Unexpected, Visitor};
use toml::{Table, Value};

/// What is wrong, and at which key below the value that was read.
#[derive(Debug)]
pub(crate) struct ReadError {
    /// The key, outermost part first.
    pub(crate) path: Vec<String>,
    pub(crate) problem: Problem,
}

/// The ways of being wrong. Names of keys stand in the path.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Problem {
    Unknown { expected: Vec<String> },
    Missing,
    Value { found: String, expected: String },
}

/// Reads one value of a tree.
pub(crate) fn read<T: DeserializeOwned>(value: Value) -> Result<T, ReadError> {
    T::deserialize(Reader(value))
}

impl ReadError {
    pub(crate) fn at(key: &str, problem: Problem) -> Self {
        Self { path: vec![key.to_owned()], problem }
    }

    pub(crate) fn under(mut self, key: &str) -> Self {
        self.path.insert(0, key.to_owned());
        self
    }

    fn value(found: impl Into<String>, expected: impl Into<String>) -> Self {
        Self { path: Vec::new(), problem: Problem::Value { found: found.into(), expected: expected.into() } }
    }
}

impl Display for ReadError {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}: {:?}", self.path.join("."), self.problem)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: Display>(message: T) -> Self {
        Self::value("not right", message.to_string())
    }

    fn invalid_type(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::value(describe(found), plain(&expected.to_string()))
    }

    fn invalid_value(found: Unexpected<'_>, expected: &dyn de::Expected) -> Self {
        Self::invalid_type(found, expected)
    }

    fn invalid_length(length: usize, expected: &dyn de::Expected) -> Self {
        Self::value(format!("an array of length {length}"), expected.to_string())
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        let names: Vec<_> = expected.iter().map(|name| format!("{name:?}")).collect();
        let expected = if names.len() == 1 { names.concat() } else { format!("one of {}", names.join(", ")) };
        Self::value(format!("{variant:?}"), expected)
    }

    fn unknown_field(field: &str, expected: &'static [&'static str]) -> Self {
        let expected = expected.iter().map(|&name| name.to_owned()).collect();
        Self::at(field, Problem::Unknown { expected })
    }

    fn missing_field(field: &'static str) -> Self {
        Self::at(field, Problem::Missing)
    }
}

/// The value as it would stand in a file, or its kind where that would be long.
fn describe(found: Unexpected<'_>) -> String {
    match found {
        Unexpected::Str(text) => format!("{text:?}"),
        Unexpected::Bool(value) => value.to_string(),
        Unexpected::Signed(value) => value.to_string(),
        Unexpected::Float(value) => value.to_string(),
        Unexpected::Seq => "an array".to_owned(),
        Unexpected::Map => "a table".to_owned(),
        other => other.to_string(),
    }
}

/// Rust's name of a type in words that fit a recipe.
fn plain(expected: &str) -> String {
    match expected {
        "usize" | "u64" | "u32" => "a whole number, 0 or more".to_owned(),
        "f64" => "a number".to_owned(),
        "a boolean" => "true or false".to_owned(),
        _ if expected.starts_with("struct ") => "a table".to_owned(),
        _ if expected.starts_with("enum ") => "a string".to_owned(),
        _ => expected.to_owned(),
    }
}

struct Reader(Value);

impl<'de> de::Deserializer<'de> for Reader {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.0 {
            Value::String(text) => visitor.visit_string(text),
            Value::Integer(number) => visitor.visit_i64(number),
            Value::Float(number) => visitor.visit_f64(number),
            Value::Boolean(value) => visitor.visit_bool(value),
            Value::Datetime(_) => Err(de::Error::invalid_type(Unexpected::Other("a date"), &visitor)),
            Value::Array(values) => {
                let length = values.len();
                let mut items = Items { values: values.into_iter(), index: 0 };
                let result = visitor.visit_seq(&mut items)?;
                match items.values.len() {
                    0 => Ok(result),
                    left => {
                        let expected = format!("an array of length {}", length - left);
                        Err(ReadError::value(format!("an array of length {length}"), expected))
                    }
                }
            }
            Value::Table(table) => visitor.visit_map(Entries { entries: table.into_iter(), next: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        match self.0 {
            Value::String(name) => visitor.visit_enum(name.into_deserializer()),
            other => Reader(other).deserialize_any(visitor),
        }
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Items {
    values: std::vec::IntoIter<Value>,
    index: usize,
}

impl<'de> de::SeqAccess<'de> for Items {
    type Error = ReadError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, ReadError> {
        let Some(value) = self.values.next() else {
            return Ok(None);
        };
        let index = self.index;
        self.index += 1;
        seed.deserialize(Reader(value)).map(Some).map_err(|error| error.under(&index.to_string()))
    }
}

struct Entries {
    entries: <Table as IntoIterator>::IntoIter,
    next: Option<(String, Value)>,
}

impl<'de> de::MapAccess<'de> for Entries {
    type Error = ReadError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, ReadError> {
        self.next = self.entries.next();
        let Some((key, _)) = &self.next else {
            return Ok(None);
        };
        seed.deserialize(StrDeserializer::new(key)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, ReadError> {
        let (key, value) = self.next.take().expect("serde asks for a value after its key");
        seed.deserialize(Reader(value)).map_err(|error| error.under(&key))
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the errors are looked at")]
    struct Outer {
        inner: Inner,
        kind: Option<Kind>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    #[expect(dead_code, reason = "only the errors are looked at")]
    struct Inner {
        count: usize,
        rate: f64,
        pair: [f64; 2],
    }

    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Kind {
        Left,
        Right,
    }

    fn error(text: &str) -> (String, Problem) {
        let table: Table = text.parse().unwrap();
        let error = read::<Outer>(Value::Table(table)).unwrap_err();
        (error.path.join("."), error.problem)
    }

    fn wrong(found: &str, expected: &str) -> Problem {
        Problem::Value { found: found.to_owned(), expected: expected.to_owned() }
    }

    #[test]
    fn errors_know_the_whole_key() {
        let whole = "inner = { count = 1, rate = 2, pair = [0, 1.5] }\nkind = \"left\"";
        let table: Table = whole.parse().unwrap();
        assert!(read::<Outer>(Value::Table(table)).is_ok());

        let cases = [
            (
                whole.replace("count = 1", "count = \"ten\""),
                "inner.count",
                wrong("\"ten\"", "a whole number, 0 or more"),
            ),
            (
                whole.replace("count = 1", "count = -1"),
                "inner.count",
                wrong("-1", "a whole number, 0 or more"),
            ),
            (whole.replace("rate = 2", "rate = true"), "inner.rate", wrong("true", "a number")),
            (whole.replace("1.5]", "\"x\"]"), "inner.pair.1", wrong("\"x\"", "a number")),
            (
                whole.replace("[0, 1.5]", "[0]"),
                "inner.pair",
                wrong("an array of length 1", "an array of length 2"),
            ),
            (
                whole.replace("1.5]", "1, 2]"),
                "inner.pair",
                wrong("an array of length 3", "an array of length 2"),
            ),
            (whole.replace("\"left\"", "\"up\""), "kind", wrong("\"up\"", "one of \"left\", \"right\"")),
            (whole.replace("\"left\"", "3"), "kind", wrong("3", "a string")),
            (whole.replace("rate = 2, ", ""), "inner.rate", Problem::Missing),
            ("inner = 3".to_owned(), "inner", wrong("3", "a table")),
            (
                whole.replace("rate", "ratio"),
                "inner.ratio",
                Problem::Unknown { expected: ["count", "rate", "pair"].map(str::to_owned).to_vec() },
            ),
        ];
        for (text, key, problem) in cases {
            assert_eq!(error(&text), (key.to_owned(), problem), "{text}");
        }
    }
}
