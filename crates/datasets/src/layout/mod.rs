//! How each data set says which file is which class: its folders and lists, as they were published.
//!
//! Each module turns the files of a [`Tree`](crate::tree::Tree) into a [`Listing`](crate::files::Listing), and names the
//! list and the line that is wrong.

pub(crate) mod aircraft;
pub(crate) mod cars;
pub(crate) mod cub;
pub(crate) mod image_folder;
pub(crate) mod imagenet;
pub(crate) mod table;
pub(crate) mod tiny_imagenet;
pub(crate) mod web;

#[cfg(test)]
mod tests;
