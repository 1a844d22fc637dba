//! Blending images of a batch: by masks, by constant weights, and by boxes. Images are gathered where they are read.
//!
//! Sample `b` is made of the images `partners[0][b] … partners[N-1][b]`, each of `channels` maps of `area` pixels.

use crate::reduce::{add_scaled, vectorised};
use rayon::prelude::*;

/// Who is blended with whom, and how large an image is.
#[derive(Clone, Copy, Debug)]
pub struct Blend<'a> {
    /// `N` lists of one image for each sample.
    pub partners: &'a [Vec<u32>],
    /// Channels of an image.
    pub channels: usize,
    /// Pixels of a channel.
    pub area: usize,
}

/// What every image of a blend is multiplied with.
#[derive(Clone, Copy, Debug)]
pub enum Weights<'a> {
    /// One weight per sample, image and pixel, `[samples, N, area]`.
    Mask(&'a [f32]),
    /// One weight per sample and image, `[samples, N]`.
    Constant(&'a [f32]),
}

impl Blend<'_> {
    fn batch(&self) -> usize {
        self.partners[0].len()
    }

    fn count(&self) -> usize {
        self.partners.len()
    }

    fn size(&self) -> usize {
        self.channels * self.area
    }

    /// The `image`-th image of `sample`.
    fn image<'a>(&self, images: &'a [f32], sample: usize, image: usize) -> &'a [f32] {
        &images[self.partners[image][sample] as usize * self.size()..][..self.size()]
    }

    /// `y += weight · x` for one image of one sample.
    fn add(&self, y: &mut [f32], weights: Weights<'_>, part: usize, x: &[f32]) {
        vectorised(
            #[inline(always)]
            || match weights {
                Weights::Constant(weights) => add_scaled(y, weights[part], x),
                Weights::Mask(mask) => {
                    let mask = &mask[part * self.area..(part + 1) * self.area];
                    for (y, x) in y.chunks_mut(self.area).zip(x.chunks(self.area)) {
                        y.iter_mut().zip(x).zip(mask).for_each(|((y, x), mask)| *y += mask * x);
                    }
                }
            },
        );
    }

    /// `mixed[b] = sum_i weight[b, i] · images[partners[i][b]]`, `[samples, channels, area]` (Eq. 7 for masks).
    pub fn forward(&self, images: &[f32], weights: Weights<'_>, mixed: &mut [f32]) {
        debug_assert_eq!(mixed.len(), self.batch() * self.size());
        mixed.par_chunks_mut(self.size()).enumerate().for_each(|(sample, mixed)| {
            mixed.fill(0.0);
            for image in 0..self.count() {
                self.add(mixed, weights, sample * self.count() + image, self.image(images, sample, image));
            }
        });
    }

    /// The gradient of [`Blend::forward`] for the images; `dimages` is overwritten.
    pub fn backward_images(&self, weights: Weights<'_>, dmixed: &[f32], dimages: &mut [f32]) {
        let mut uses: Vec<Vec<(usize, usize)>> = vec![Vec::new(); dimages.len() / self.size()];
        for (image, partners) in self.partners.iter().enumerate() {
            for (sample, &partner) in partners.iter().enumerate() {
                uses[partner as usize].push((sample, image));
            }
        }
        dimages.par_chunks_mut(self.size()).zip(&uses).for_each(|(dimage, uses)| {
            dimage.fill(0.0);
            for &(sample, image) in uses {
                let dmixed = &dmixed[sample * self.size()..(sample + 1) * self.size()];
                self.add(dimage, weights, sample * self.count() + image, dmixed);
            }
        });
    }

    /// The gradient of [`Blend::forward`] for a mask; `dmask` is overwritten.
    pub fn backward_mask(&self, images: &[f32], dmixed: &[f32], dmask: &mut [f32]) {
        dmask.par_chunks_mut(self.area).enumerate().for_each(|(part, dmask)| {
            let (sample, image) = (part / self.count(), part % self.count());
            let image = self.image(images, sample, image);
            let dmixed = &dmixed[sample * self.size()..(sample + 1) * self.size()];
            dmask.fill(0.0);
            vectorised(
                #[inline(always)]
                || {
                    for (x, dy) in image.chunks(self.area).zip(dmixed.chunks(self.area)) {
                        dmask.iter_mut().zip(x).zip(dy).for_each(|((dmask, x), dy)| *dmask += x * dy);
                    }
                },
            );
        });
    }
}

/// A rectangle of pixels `[row1, column1, row2, column2]`, half open.
pub type Area = [usize; 4];

/// Where pasted pixels come from: `[M, channels, height, width]`, read from `corner` on.
#[derive(Clone, Copy, Debug)]
pub struct Patches<'a> {
    /// All values.
    pub pixels: &'a [f32],
    /// Rows and columns of a patch.
    pub size: [usize; 2],
    /// The row and the column that go to the upper left pixel of the box.
    pub corner: [usize; 2],
}

/// Copies `images` `[B, channels, height, width]`, with the pixels of `area` taken from the patch `partner[b]`.
pub fn paste(
    images: &[f32],
    patches: Patches<'_>,
    partner: &[u32],
    channels: usize,
    size: [usize; 2],
    area: Area,
    mixed: &mut [f32],
) {
    let [height, width] = size;
    let [row1, column1, row2, column2] = area;
    let image = channels * height * width;
    let patch = channels * patches.size[0] * patches.size[1];
    mixed.par_chunks_mut(image).zip(images.par_chunks(image)).zip(partner).for_each(
        |((mixed, own), &partner)| {
            mixed.copy_from_slice(own);
            let other = &patches.pixels[partner as usize * patch..][..patch];
            for channel in 0..channels {
                for row in row1..row2 {
                    let to = (channel * height + row) * width;
                    let source = channel * patches.size[0] + patches.corner[0] + row - row1;
                    let from = source * patches.size[1] + patches.corner[1];
                    mixed[to + column1..to + column2].copy_from_slice(&other[from..from + column2 - column1]);
                }
            }
        },
    );
}

/// `mixed[b] = mask · images[b] + (1 - mask) · images[partner[b]]`, where all images `[channels, pixels]` share the mask
/// `[pixels]`.
pub fn mask(images: &[f32], partner: &[u32], channels: usize, mask: &[f32], mixed: &mut [f32]) {
    let image = channels * mask.len();
    mixed.par_chunks_mut(image).zip(images.par_chunks(image)).zip(partner).for_each(
        |((mixed, own), &partner)| {
            let other = &images[partner as usize * image..][..image];
            vectorised(
                #[inline(always)]
                || {
                    let maps = mixed.chunks_mut(mask.len()).zip(own.chunks(mask.len()));
                    for ((mixed, own), other) in maps.zip(other.chunks(mask.len())) {
                        for (((mixed, own), other), mask) in mixed.iter_mut().zip(own).zip(other).zip(mask) {
                            *mixed = mask * own + (1.0 - mask) * other;
                        }
                    }
                },
            );
        },
    );
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_used_twice_gets_both_gradients() {
        let partners = [vec![0, 1], vec![1, 1]];
        let blend = Blend { partners: &partners, channels: 1, area: 2 };
        let (images, mask) = ([1.0, 2.0, 10.0, 20.0], [0.5, 1.0, 0.5, 0.0, 0.25, 0.5, 0.75, 0.5]);
        let (mut mixed, mut dimages, mut dmask) = ([0.0; 4], [0.0; 4], [0.0; 8]);
        blend.forward(&images, Weights::Mask(&mask), &mut mixed);
        assert_eq!(mixed, [5.5, 2.0, 10.0, 20.0]);
        blend.backward_images(Weights::Mask(&mask), &[1.0, 1.0, 2.0, 2.0], &mut dimages);
        assert_eq!(dimages, [0.5, 1.0, 2.5, 2.0]);
        blend.backward_mask(&images, &[1.0, 1.0, 2.0, 2.0], &mut dmask);
        assert_eq!(dmask, [1.0, 2.0, 10.0, 20.0, 20.0, 40.0, 20.0, 40.0]);
        blend.forward(&images, Weights::Constant(&[0.5, 0.5, 1.0, 0.0]), &mut mixed);
        assert_eq!(mixed, [5.5, 11.0, 10.0, 20.0]);
    }

    #[test]
    fn only_the_box_comes_from_the_partner() {
        let images: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let mut mixed = [0.0; 12];
        let whole = Patches { pixels: &images, size: [2, 3], corner: [1, 0] };
        paste(&images, whole, &[1, 0], 1, [2, 3], [1, 0, 2, 2], &mut mixed);
        assert_eq!(mixed, [0.0, 1.0, 2.0, 9.0, 10.0, 5.0, 6.0, 7.0, 8.0, 3.0, 4.0, 11.0]);
        let patches = Patches { pixels: &[-1.0, -2.0, -3.0, -4.0], size: [2, 1], corner: [0, 0] };
        paste(&images, patches, &[1, 1], 1, [2, 3], [0, 2, 2, 3], &mut mixed);
        assert_eq!(mixed, [0.0, 1.0, -3.0, 3.0, 4.0, -4.0, 6.0, 7.0, -3.0, 9.0, 10.0, -4.0]);
    }

    #[test]
    fn a_mask_weighs_the_sample_and_what_it_leaves_the_partner() {
        let (images, mut mixed) = ([1.0, 2.0, 3.0, 4.0, 50.0, 60.0, 70.0, 80.0], [0.0; 8]);
        mask(&images, &[1, 1], 2, &[1.0, 0.5], &mut mixed);
        assert_eq!(mixed, [1.0, 31.0, 3.0, 42.0, 50.0, 60.0, 70.0, 80.0]);
    }
}
