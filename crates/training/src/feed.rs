//! Batches on their way to the device that computes.
//!
//! The processor gets numbers, which the loader's threads have normalised. A CUDA device normalises bytes itself: where
//! pictures are only cut and mirrored, all of them lie there, and a batch is where they are cut; otherwise the bytes of a
//! batch are sent.

use adautomix_datasets::{
    self as datasets, Batch, Batches, CHANNELS, Error, Loader, Picture, Transform, View,
};
use adautomix_ops::{Upload, Window, cut_pictures};
use candle_core::{Device, Tensor};
use rayon::prelude::*;

use crate::method::Inputs;
use crate::{Result, run};

/// The most bytes of pictures that are kept on a device.
const KEPT: usize = 1 << 30;

/// Brings the batches of a loader to a device.
pub(crate) struct Feed {
    loader: Loader,
    device: Device,
    /// Whether the device makes numbers of bytes.
    normalises: bool,
    /// All pictures, bytes `[N, H, W, 3]`, where a batch is cut out of them.
    kept: Option<Tensor>,
    upload: Upload,
}

/// The batches of (the rest of) an epoch, as the loader makes them.
pub(crate) enum Epoch {
    Numbers(Batches),
    Bytes(Batches<u8>),
    Views(Batches<View>, Tensor),
}

/// One of them, which [`Feed::inputs`] brings to the device.
pub(crate) enum Made {
    Numbers(Batch),
    Bytes(Batch<u8>),
    Views(Batch<View>, Tensor),
}

impl Iterator for Epoch {
    type Item = datasets::Result<Made>;

    fn next(&mut self) -> Option<Self::Item> {
        Some(match self {
            Self::Numbers(batches) => batches.next()?.map(Made::Numbers),
            Self::Bytes(batches) => batches.next()?.map(Made::Bytes),
            Self::Views(batches, kept) => batches.next()?.map(|batch| Made::Views(batch, kept.clone())),
        })
    }
}

impl Feed {
    /// Feeds `device` with the batches of `loader`. Pictures that are kept there are sent now.
    ///
    /// # Errors
    /// If a picture can't be read, or the device has no room.
    pub(crate) fn new(loader: Loader, device: &Device) -> Result<Self> {
        Self::by(loader, device, device.is_cuda())
    }

    fn by(loader: Loader, device: &Device, normalises: bool) -> Result<Self> {
        let kept = if normalises { keep(&loader, device)? } else { None };
        Ok(Self { loader, device: device.clone(), normalises, kept, upload: Upload::new(device) })
    }

    /// The loader.
    pub(crate) fn loader(&self) -> &Loader {
        &self.loader
    }

    /// The batches of an epoch from `first` on.
    pub(crate) fn epoch(&self, epoch: usize, first: usize) -> Epoch {
        if !self.normalises {
            return Epoch::Numbers(self.loader.epoch(epoch, first));
        }
        let views = self.loader.epoch_of_views(epoch, first);
        match (views, &self.kept) {
            (Some(views), Some(kept)) => Epoch::Views(views, kept.clone()),
            _ => Epoch::Bytes(self.loader.epoch_of_bytes(epoch, first)),
        }
    }

    /// A batch on the device.
    ///
    /// # Errors
    /// If it can't be brought there.
    pub(crate) fn inputs(&mut self, made: Made) -> Result<Inputs> {
        match made {
            Made::Numbers(batch) => run::inputs(batch, &self.device),
            Made::Views(batch, kept) => self.cut(&kept, &batch.indices, &batch.images, batch.labels),
            Made::Bytes(batch) => {
                let (count, size) = (batch.len(), [batch.height, batch.width]);
                let shape = [count, CHANNELS, size[0], size[1]];
                let pictures = self.upload.bytes(&batch.images, &shape)?.permute((0, 2, 3, 1))?;
                let own: Vec<usize> = (0..count).collect();
                self.cut(&pictures, &own, &vec![View::whole(size); count], batch.labels)
            }
        }
    }

    /// The views of pictures as normalised inputs.
    fn cut(&self, pictures: &Tensor, indices: &[usize], views: &[View], labels: Vec<u32>) -> Result<Inputs> {
        let &Transform { size, mean, std, .. } = self.loader.transform();
        let window = |(&picture, &View { top, left, flip, .. })| Window { picture, top, left, flip };
        let windows: Vec<Window> = indices.iter().zip(views).map(window).collect();
        Ok(Inputs { images: cut_pictures(pictures, &windows, size, [mean, std])?, labels })
    }
}

/// The bytes of all pictures, where batches are cut out of them and they aren't too many.
fn keep(loader: &Loader, device: &Device) -> Result<Option<Tensor>> {
    let (source, count) = (loader.source(), loader.source().len());
    let Some(size) = source.size().filter(|_| loader.transform().only_cuts()) else { return Ok(None) };
    let length = size[0] * size[1] * CHANNELS;
    if count.saturating_mul(length) > KEPT {
        return Ok(None);
    }
    let mut bytes = vec![0; count * length];
    let read = |picture: &mut Picture, (index, bytes): (usize, &mut [u8])| {
        source.read(index, picture)?;
        let found = [picture.height, picture.width];
        if found != size {
            let path = source.name().into();
            return Err(Error::PictureSize { path, row: Some(index), found, expected: size });
        }
        bytes.copy_from_slice(&picture.pixels);
        Ok(())
    };
    let pictures = bytes.par_chunks_exact_mut(length).enumerate();
    pictures.try_for_each_init(Picture::default, read)?;
    Ok(Some(Tensor::from_vec(bytes, (count, size[0], size[1], CHANNELS), device)?))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use adautomix_datasets::{LoaderOptions, RandAugment, Split, Synthetic};

    use super::*;

    #[test]
    fn bytes_and_views_become_the_same_numbers() -> Result<()> {
        let (mean, std) = ([0.4914, 0.4822, 0.4465], [0.2023, 0.1994, 0.2010]);
        let cut = Transform::training([32, 32], mean, std);
        let augment = RandAugment {
            operations: 2,
            magnitude: 9.0,
            deviation: 0.5,
            fill: [125, 123, 114],
            interpolation: adautomix_datasets::Interpolation::Bicubic,
        };
        for (transform, kept) in [(cut, true), (Transform { augment: Some(augment), ..cut }, false)] {
            let feed = |normalises| {
                let source = Arc::new(Synthetic::new(0, Split::Train, 30));
                let options = LoaderOptions { drop_last: false, ..LoaderOptions::training(8, 3) };
                Feed::by(Loader::new(source, transform, options)?, &Device::Cpu, normalises)
            };
            let (mut numbers, mut other) = (feed(false)?, feed(true)?);
            assert_eq!(other.kept.is_some(), kept);
            for (made, other_made) in numbers.epoch(1, 1).zip(other.epoch(1, 1)) {
                let (want, got) = (numbers.inputs(made?)?, other.inputs(other_made?)?);
                assert_eq!(want.labels, got.labels);
                let [want, got] = [want, got].map(|inputs| inputs.images.flatten_all()?.to_vec1::<f32>());
                assert!(want? == got?);
            }
        }
        Ok(())
    }
}
