//! The name of a model on the Hub.

use std::fmt;
use std::str::FromStr;

use crate::Error;

/// The branch that counts where none is named.
const MAIN: &str = "main";

/// A model on the Hub at a revision: `OWNER/NAME`, or `OWNER/NAME@REVISION` as in timm.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repository {
    owner: String,
    name: String,
    revision: String,
}

impl Repository {
    /// The same model at another revision: a branch, a tag or a commit.
    ///
    /// # Errors
    /// If that is no revision's name.
    pub fn at(mut self, revision: &str) -> Result<Self, Error> {
        let fits = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
        let letters = |byte: u8| byte.is_ascii_graphic() && !b"\\~^:?*[@".contains(&byte);
        if !revision.split('/').all(fits) || revision.contains("..") || !revision.bytes().all(letters) {
            let name = revision.to_owned();
            return Err(Error::Name { name, expected: "a branch, a tag or a commit" });
        }
        revision.clone_into(&mut self.revision);
        Ok(self)
    }

    /// Who it belongs to.
    pub fn owner(&self) -> &str {
        &self.owner
    }

    /// What its owner calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// `OWNER/NAME`
    pub fn id(&self) -> String {
        format!("{}/{}", self.owner, self.name)
    }

    /// The branch, tag or commit; `main` where none was named.
    pub fn revision(&self) -> &str {
        &self.revision
    }
}

impl FromStr for Repository {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let wrong = || Error::Name { name: text.to_owned(), expected: "OWNER/NAME or OWNER/NAME@REVISION" };
        let (id, revision) = text.split_once('@').unwrap_or((text, MAIN));
        let (owner, name) = id.split_once('/').ok_or_else(wrong)?;
        // The Hub's own rules. They also keep the name inside the cache's folder.
        let fits = |part: &str| {
            (1..=96).contains(&part.len())
                && part.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
                && !part.starts_with(['-', '.'])
                && !part.ends_with(['-', '.'])
                && !part.contains("--")
                && !part.contains("..")
        };
        if !fits(owner) || !fits(name) {
            return Err(wrong());
        }
        Self { owner: owner.to_owned(), name: name.to_owned(), revision: MAIN.to_owned() }.at(revision)
    }
}

impl fmt::Display for Repository {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.owner, self.name)?;
        if self.revision == MAIN { Ok(()) } else { write!(f, "@{}", self.revision) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_shown() {
        let repository: Repository = "timm/resnet18.tv_in1k".parse().unwrap();
        assert_eq!((repository.owner(), repository.name()), ("timm", "resnet18.tv_in1k"));
        assert_eq!(repository.revision(), "main");
        assert_eq!(repository.to_string(), "timm/resnet18.tv_in1k");
        let pinned: Repository = "timm/resnet18@refs/pr/1".parse().unwrap();
        assert_eq!((pinned.id().as_str(), pinned.revision()), ("timm/resnet18", "refs/pr/1"));
        assert_eq!(pinned.to_string(), "timm/resnet18@refs/pr/1");
    }

    #[test]
    fn what_would_leave_the_cache_is_no_name() {
        for name in ["resnet18", "a/b/c", "../b", "a/..", "a/b--c", "a/", "/b", "a b/c", "a/b@", "a/b@.."] {
            let message = name.parse::<Repository>().unwrap_err().to_string();
            assert!(message.contains("expected"), "{message}");
        }
        let repository: Repository = "a/b".parse().unwrap();
        for revision in ["../x", "x/../../y", "/x", "x/", ".git", "x y", "x@y", "a\\b", "x.lock"] {
            assert!(repository.clone().at(revision).is_err(), "{revision}");
        }
    }
}
