//! The small text tables of data sets: one entry a line, fields between blanks or commas.

use crate::tree::Tree;
use crate::{Error, Region, Result};
use std::collections::HashMap;
use std::path::PathBuf;
use std::str::FromStr;

/// A text file of a data set, by lines.
pub(crate) struct Table {
    path: PathBuf,
    text: String,
}

impl Table {
    /// Reads a text file.
    pub(crate) fn read(tree: &Tree, name: &str) -> Result<Self> {
        let mut text = tree.text(name)?;
        if text.starts_with('\u{feff}') {
            text.remove(0);
        }
        Ok(Self { path: tree.path(name), text })
    }

    /// The lines that aren't empty.
    pub(crate) fn lines(&self) -> impl Iterator<Item = Line<'_>> {
        let numbered = self.text.lines().enumerate();
        numbered.filter(|(_, text)| !text.trim().is_empty()).map(|(at, text)| Line {
            table: self,
            number: at + 1,
            text: text.trim(),
        })
    }

    /// The values of lines such as `17 value`, in the order of their numbers, which must be 1, 2, 3 and so on: in files
    /// that count their pictures or classes, a number that is missing or comes twice is a fault.
    pub(crate) fn numbered<'a, T>(
        &'a self,
        mut value: impl FnMut(&Line<'a>, &'a str) -> Result<T>,
    ) -> Result<Vec<T>> {
        let mut found = Vec::new();
        for line in self.lines() {
            let (number, rest) = line.cut(' ')?;
            let number: usize = line.number(number)?;
            if number != found.len() + 1 {
                return Err(line.wrong(&format!("has the number {number}, expected {}", found.len() + 1)));
            }
            found.push(value(&line, rest)?);
        }
        Ok(found)
    }

    /// A fault of the whole file.
    pub(crate) fn wrong(&self, problem: &str) -> Error {
        Error::list(&self.path, problem)
    }
}

/// A line of a table.
pub(crate) struct Line<'a> {
    table: &'a Table,
    /// From 1.
    pub(crate) number: usize,
    pub(crate) text: &'a str,
}

impl<'a> Line<'a> {
    /// A fault of this line.
    pub(crate) fn wrong(&self, problem: &str) -> Error {
        self.table.wrong(&format!("line {}: {problem}", self.number))
    }

    /// What stands before the first separator and after it.
    pub(crate) fn cut(&self, separator: char) -> Result<(&'a str, &'a str)> {
        let parts = self.text.split_once(separator).map(|(first, rest)| (first.trim(), rest.trim()));
        parts.ok_or_else(|| self.wrong(&format!("`{}` has one field, expected at least two", self.text)))
    }

    /// A field as a number.
    pub(crate) fn number<T: FromStr>(&self, field: &str) -> Result<T> {
        field.parse().map_err(|_| self.wrong(&format!("`{field}` is no number that was expected there")))
    }

    /// A class number as files count, from 1, as a label.
    pub(crate) fn label(&self, field: &str, classes: usize) -> Result<usize> {
        let number: usize = self.number(field)?;
        if (1..=classes).contains(&number) {
            return Ok(number - 1);
        }
        Err(self.wrong(&format!("class {number}, expected 1 to {classes}")))
    }

    /// A box from its fields: left, top, right and bottom in pixels.
    pub(crate) fn region(&self, fields: [&str; 4]) -> Result<Region> {
        let [left, top, right, bottom] = fields.map(|field| self.number::<f32>(field));
        let region = Region { left: left?, top: top?, right: right?, bottom: bottom? };
        if region.is_sound() { Ok(region) } else { Err(self.wrong("the box has no inside")) }
    }
}

/// Positions of names, to look labels up by name.
pub(crate) fn positions(names: &[String]) -> HashMap<&str, usize> {
    names.iter().enumerate().map(|(at, name)| (name.as_str(), at)).collect()
}
