//! Pictures that are files: one each, in a folder or an archive, with a list of their labels.

use crate::decode::decode;
use crate::tree::Tree;
use crate::{Error, Picture, Region, Result, Source};
use std::cell::RefCell;

/// What a data set's own lists say of a split.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Listing {
    /// The classes; a label is an index into them.
    pub(crate) class_names: Vec<String>,
    /// The pictures, in the order of the data set.
    pub(crate) pictures: Vec<Listed>,
}

/// A picture of a list.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Listed {
    /// Its file, as its [`Tree`] calls it.
    pub(crate) name: Box<str>,
    /// Which of the trees it is in.
    pub(crate) tree: u32,
    pub(crate) label: u32,
    /// The box around what is shown, where the data set says it.
    pub(crate) region: Option<Region>,
}

impl Listed {
    /// A picture of the only tree, without a box.
    pub(crate) fn new(name: impl Into<Box<str>>, label: usize) -> Self {
        Self { name: name.into(), tree: 0, label: label as u32, region: None }
    }
}

/// A split of a data set whose pictures are files.
#[derive(Debug)]
pub(crate) struct Files {
    name: String,
    trees: Vec<Tree>,
    listing: Listing,
    size: Option<[usize; 2]>,
}

thread_local! {
    /// The encoded bytes of the picture that a thread is reading.
    static ENCODED: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

impl Files {
    /// A source of the pictures of a list; `size` is that of every picture, where they are all alike.
    ///
    /// # Errors
    /// When there is no picture at all.
    pub(crate) fn new(
        name: &str,
        trees: Vec<Tree>,
        listing: Listing,
        size: Option<[usize; 2]>,
    ) -> Result<Self> {
        if listing.pictures.is_empty() {
            let path = trees.first().map(|tree| tree.path("")).unwrap_or_default();
            return Err(Error::list(path, "has no pictures"));
        }
        Ok(Self { name: name.to_owned(), trees, listing, size })
    }

    fn listed(&self, index: usize) -> Result<&Listed> {
        self.listing.pictures.get(index).ok_or_else(|| Error::Index {
            name: self.name.clone(),
            index,
            len: self.listing.pictures.len(),
        })
    }
}

impl Source for Files {
    fn name(&self) -> &str {
        &self.name
    }

    fn len(&self) -> usize {
        self.listing.pictures.len()
    }

    fn class_names(&self) -> &[String] {
        &self.listing.class_names
    }

    fn size(&self) -> Option<[usize; 2]> {
        self.size
    }

    fn label(&self, index: usize) -> Result<usize> {
        Ok(self.listed(index)?.label as usize)
    }

    fn region(&self, index: usize) -> Option<Region> {
        self.listing.pictures.get(index)?.region
    }

    fn read(&self, index: usize, picture: &mut Picture) -> Result<usize> {
        let listed = self.listed(index)?;
        let tree = &self.trees[listed.tree as usize];
        ENCODED.with_borrow_mut(|encoded| {
            tree.read(&listed.name, encoded)?;
            decode(encoded, picture).map_err(|problem| Error::Decode {
                path: tree.path(&listed.name),
                row: None,
                problem,
            })
        })?;
        let found = [picture.height, picture.width];
        match self.size {
            Some(expected) if expected != found => {
                Err(Error::PictureSize { path: tree.path(&listed.name), row: None, found, expected })
            }
            _ => Ok(listed.label as usize),
        }
    }
}
