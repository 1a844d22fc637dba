//! Blending images of a batch: see [`crate::blend`].

use super::{Fault, Launch, Result, Span, arguments, each, whole};

/// Which parts use an image: the inverse of the lists of partners, for gradients. Part `(b, n)` has the number
/// `b · N + n`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Uses {
    /// Where the parts of each image begin, `[images + 1]`, then the parts; to be copied to the device.
    pub words: Vec<u32>,
    images: usize,
}

impl Uses {
    /// The uses of `images` images by `N` lists of one image for each sample.
    ///
    /// # Errors
    /// If the lists differ in length or a partner isn't one of the images.
    pub fn of(partners: &[Vec<u32>], images: usize) -> Result<Self> {
        let mut by_image: Vec<Vec<u32>> = vec![Vec::new(); images];
        let batch = partners.first().map_or(0, Vec::len);
        for sample in 0..batch {
            for (n, list) in partners.iter().enumerate() {
                let image = list.get(sample).map_or(usize::MAX, |&image| image as usize);
                let Some(uses) = by_image.get_mut(image) else {
                    return Err(Fault::new(format!("sample {sample}: image {n} is not one of {images}")));
                };
                uses.push((sample * partners.len() + n) as u32);
            }
        }
        let mut words = vec![0];
        for uses in &by_image {
            words.push(words[words.len() - 1] + uses.len() as u32);
        }
        words.extend(by_image.iter().flatten());
        Ok(Self { words, images })
    }

    /// The starts and the parts in `table`, which has these words.
    ///
    /// # Errors
    /// If it has another length.
    pub(super) fn split(&self, table: Span<u32>) -> Result<[Span<u32>; 2]> {
        whole("uses", table, &[self.words.len()])?;
        let starts = self.images + 1;
        Ok([table.part(0, starts)?, table.part(starts, self.words.len() - starts)?])
    }

    /// How many images there are.
    pub(super) fn images(&self) -> usize {
        self.images
    }
}

/// Sizes of a blend.
#[derive(Clone, Copy, Debug)]
pub struct Blend {
    /// Samples that are made.
    pub batch: usize,
    /// Images of each.
    pub count: usize,
    /// Channels of an image.
    pub channels: usize,
    /// Pixels of a channel.
    pub area: usize,
}

/// What every image of a blend is multiplied with.
#[derive(Clone, Copy, Debug)]
pub enum Weights {
    /// One weight per sample, image and pixel, `[batch, count, area]`.
    Mask(Span<f32>),
    /// One weight per sample and image, `[batch, count]`.
    Constant(Span<f32>),
}

impl Blend {
    fn weights(&self, weights: Weights) -> Result<(Span<f32>, bool)> {
        match weights {
            Weights::Mask(mask) => {
                whole("blend", mask, &[self.batch, self.count, self.area]).map(|()| (mask, true))
            }
            Weights::Constant(weights) => {
                whole("blend", weights, &[self.batch, self.count]).map(|()| (weights, false))
            }
        }
    }

    /// `mixed[b] = sum_n weight[b, n] · images[partners[n, b]]`; `partners` is `[count, batch]` and within the images.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn forward(
        &self,
        queue: &impl Launch,
        images: Span<f32>,
        partners: Span<u32>,
        weights: Weights,
        mixed: Span<f32>,
    ) -> Result<()> {
        let Self { batch, count, channels, area } = *self;
        whole("blend", images, &[images.len() / (channels * area).max(1), channels, area])?;
        whole("blend", mixed, &[batch, channels, area])?;
        whole("blend", partners, &[count, batch])?;
        let (weights, per_pixel) = self.weights(weights)?;
        let arguments = arguments![images, partners, weights, mixed, batch, count, channels, area, per_pixel];
        each(queue, "blend_forward", mixed.len(), arguments)
    }

    /// The gradient of [`forward`](Self::forward) by the images; `table` has the words of `uses`.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn backward_images(
        &self,
        queue: &impl Launch,
        (uses, table): (&Uses, Span<u32>),
        weights: Weights,
        dmixed: Span<f32>,
        dimages: Span<f32>,
    ) -> Result<()> {
        let Self { batch, count, channels, area } = *self;
        whole("blend", dmixed, &[batch, channels, area])?;
        whole("blend", dimages, &[uses.images(), channels, area])?;
        let (weights, per_pixel) = self.weights(weights)?;
        let [start, parts] = uses.split(table)?;
        whole("blend", parts, &[batch, count])?;
        let images = uses.images();
        let arguments =
            arguments![weights, dmixed, dimages, start, parts, images, count, channels, area, per_pixel];
        each(queue, "blend_backward_images", dimages.len(), arguments)
    }

    /// The gradient of [`forward`](Self::forward) by a mask.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn backward_mask(
        &self,
        queue: &impl Launch,
        images: Span<f32>,
        partners: Span<u32>,
        dmixed: Span<f32>,
        dmask: Span<f32>,
    ) -> Result<()> {
        let Self { batch, count, channels, area } = *self;
        whole("blend", dmixed, &[batch, channels, area])?;
        whole("blend", dmask, &[batch, count, area])?;
        whole("blend", partners, &[count, batch])?;
        let arguments = arguments![images, partners, dmixed, dmask, batch, count, channels, area];
        each(queue, "blend_backward_mask", dmask.len(), arguments)
    }
}
