//! Image data sets, the transforms of the recipes, and a loader whose batches depend on nothing but the seed.
//!
//! A [`Source`] gives decoded pictures by index: the data sets of the paper in the formats in which people have them
//! (folders, archives, parquet, tar shards), folders of one's own, and [`Synthetic`], which draws its own and needs no
//! file. A [`Transform`] says what a recipe does to a picture, and a
//! [`Loader`] turns both into [`Batch`]es on worker threads. The order of the pictures and every crop and flip follow
//! from (seed, epoch, index): the same on any number of threads, and again after a resume in the middle of an epoch.
//! [`corruptions`] makes CIFAR-100-C, and the like of any source.
//!
//! ```
//! use adautomix_datasets::{Loader, LoaderOptions, Split, Transform, facts, open};
//!
//! # fn main() -> Result<(), adautomix_datasets::Error> {
//! let facts = facts("synthetic")?;
//! let source = open("synthetic", "datasets".as_ref(), Split::Train)?;
//! let transform = Transform::training([32, 32], facts.mean, facts.std);
//! let loader = Loader::new(source, transform, LoaderOptions::training(64, 7))?;
//! for batch in loader.epoch(0, 0).take(2) {
//!     let batch = batch?;
//!     assert_eq!((batch.len(), batch.images.len()), (64, 64 * 3 * 32 * 32));
//! }
//! # Ok(())
//! # }
//! ```
//!
//! Pictures may have any size, and a transform brings them to one: see [`Transform`] for all that it can do.
//!
//! There are no tensors here: a batch is a `Vec<f32>` in the order `[B, 3, H, W]`, or one of bytes for a device that
//! normalises them itself, and whoever trains puts it where it is needed. The feature `candle` offers any source as
//! candle's own `vision::Dataset`; the feature `download`, on by default, is the only part that opens a socket.

mod archive;
mod binary;
#[cfg(feature = "candle")]
mod candle;
mod catalogue;
mod cifar;
mod cifar100c;
pub mod corruptions;
mod decode;
#[cfg(feature = "download")]
mod download;
mod error;
mod files;
#[cfg(any(test, fuzzing))]
pub mod fuzzing;
mod hub;
mod layout;
mod loader;
mod mat;
mod memory;
mod npy;
mod operations;
mod registry;
mod source;
mod subset;
mod synthetic;
#[cfg(test)]
mod testing;
mod transform;
mod tree;
mod unpack;

pub use archive::{Archive, Digest, Repository};
#[cfg(feature = "candle")]
pub use candle::vision_dataset;
pub use cifar100c::Cifar100C;
#[cfg(feature = "download")]
pub use download::Progress;
pub use error::{Error, Result};
pub use loader::{Batch, Batches, Loader, LoaderOptions, WINDOW};
pub use memory::Memory;
pub use operations::{Change, Operation};
pub use registry::{Facts, Format, Location, facts, locate, names, open};
pub use source::{CHANNELS, Picture, Region, Source, Split};
pub use subset::Subset;
pub use synthetic::Synthetic;
pub use transform::{
    ColorJitter, Crop, Draw, Interpolation, Normalize, RandAugment, RandomErasing, Rectangle, Resampler,
    Resize, ResizedCrop, Scratch, Side, Transform, View,
};
pub use unpack::unpack;
