//! Batches as pictures of bytes, and back: what operations on pictures need, and what takes a quarter of the memory.

use adautomix_datasets::{CHANNELS, Normalize, Picture, View};
use adautomix_recipes::Recipe;
use candle_core::{Device, Tensor};
use rayon::prelude::*;

use crate::Result;

/// The normalisation of a recipe.
pub(super) fn normalize(recipe: &Recipe) -> Normalize {
    let [mean, std] = [recipe.data.mean, recipe.data.std].map(|values| values.map(|value| value as f32));
    Normalize::new(mean, std)
}

/// The pictures of normalised `images` `[B, 3, H, W]`, copied to the host.
pub(super) fn pictures(images: &Tensor, normalize: &Normalize) -> Result<Vec<Picture>> {
    let (_, _, height, width) = images.dims4()?;
    let numbers: Vec<f32> = images.detach().flatten_all()?.to_vec1()?;
    let each = numbers.par_chunks_exact((CHANNELS * height * width).max(1));
    Ok(each.map(|numbers| normalize.restore(numbers, [height, width])).collect())
}

/// The pictures as normalised images `[B, 3, H, W]`, each through its view; all views have one size.
pub(super) fn images(
    pictures: &[Picture],
    views: &[View],
    normalize: &Normalize,
    device: &Device,
) -> Result<Tensor> {
    let [height, width] = views.first().map_or([0; 2], View::size);
    let length = CHANNELS * height * width;
    let mut numbers = vec![0f32; pictures.len() * length];
    numbers
        .par_chunks_exact_mut(length.max(1))
        .zip(pictures)
        .zip(views)
        .for_each(|((numbers, picture), view)| normalize.apply(picture, *view, numbers));
    Ok(Tensor::from_vec(numbers, (pictures.len(), CHANNELS, height, width), device)?)
}
