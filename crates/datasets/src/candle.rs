//! Our sources for programs that take candle's own `vision::Dataset`.

use crate::{CHANNELS, Picture, Source};
use candle_core::{Device, Error, Result, Tensor};
use candle_datasets::vision::Dataset;

/// Both splits of a data set as tensors in memory, as the readers of candle-datasets give them, but upright.
///
/// Images are `[N, 3, H, W]`, f32 between 0 and 1; labels `[N]`, u8. Rows stay rows: pixel (y, x) of a picture is
/// element `[n, c, y, x]`.
///
/// ```no_run
/// use adautomix_datasets::{Split, open, vision_dataset};
///
/// # fn main() -> candle_core::Result<()> {
/// let source = |split| open("cifar10", "datasets".as_ref(), split).map_err(candle_core::Error::wrap);
/// let dataset = vision_dataset(&*source(Split::Train)?, &*source(Split::Test)?)?;
/// assert_eq!(dataset.train_images.dims(), [50_000, 3, 32, 32]);
/// # Ok(())
/// # }
/// ```
///
/// # Errors
/// When a picture cannot be read, pictures have different sizes, or there are more than 256 classes.
pub fn vision_dataset(train: &dyn Source, test: &dyn Source) -> Result<Dataset> {
    let (train_images, train_labels) = tensors(train)?;
    let (test_images, test_labels) = tensors(test)?;
    Ok(Dataset { train_images, train_labels, test_images, test_labels, labels: train.class_names().len() })
}

fn tensors(source: &dyn Source) -> Result<(Tensor, Tensor)> {
    let count = source.len();
    let Some([height, width]) = source.size() else {
        candle_core::bail!("{} has pictures of many sizes, expected one size", source.name())
    };
    let plane = height * width;
    let mut images = Vec::with_capacity(count * CHANNELS * plane);
    let mut labels = Vec::with_capacity(count);
    let mut picture = Picture::default();
    for index in 0..count {
        let label = source.read(index, &mut picture).map_err(Error::wrap)?;
        labels.push(u8::try_from(label).map_err(Error::wrap)?);
        for channel in 0..CHANNELS {
            let values = picture.pixels.iter().skip(channel).step_by(CHANNELS);
            images.extend(values.map(|&value| f32::from(value) / 255.));
        }
    }
    let images = Tensor::from_vec(images, (count, CHANNELS, height, width), &Device::Cpu)?;
    Ok((images, Tensor::from_vec(labels, count, &Device::Cpu)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Memory;

    #[test]
    fn pictures_stand_upright() {
        // One pixel in row 5, column 20 of the second picture, in green.
        let mut pixels = vec![0; 2 * 32 * 32 * 3];
        pixels[(32 * 32 + 5 * 32 + 20) * 3 + 1] = 255;
        let names = vec!["a".to_owned(), "b".to_owned()];
        let source = Memory::new("set", names, [32, 32], vec![0, 1], pixels).unwrap();
        let dataset = vision_dataset(&source, &source).unwrap();
        assert_eq!(dataset.labels, 2);
        assert_eq!(dataset.test_labels.to_vec1::<u8>().unwrap(), [0, 1]);
        let images = &dataset.train_images;
        assert_eq!(images.dims(), [2, 3, 32, 32]);
        assert_eq!(images.sum_all().unwrap().to_scalar::<f32>().unwrap(), 1.);
        let pixel = images.get(1).unwrap().get(1).unwrap().get(5).unwrap().get(20).unwrap();
        assert_eq!(pixel.to_scalar::<f32>().unwrap(), 1.);
    }
}
