//! Blends of images that are gathered from a batch: by masks, by constant weights, by boxes and what is pasted there.
//!
//! `partners` are `N` lists of one image for each sample: sample `b` is made of the images `partners[0][b] …
//! partners[N-1][b]`. Nothing is copied to gather them.

use crate::buffers::{computed, gradient, on_kernels};
use crate::node::{record, record1};
use adautomix_kernels::blend::{self, Blend, Patches, Weights};
use candle_core::{Result, Tensor, bail};

/// `mixed[b] = sum_i mask[b, i] · images[partners[i][b]]` (Eq. 7 of the paper): `images` `[M, C, H, W]`, `mask`
/// `[B, N, H, W]`, the result `[B, C, H, W]`.
///
/// # Errors
/// If the shapes don't fit or a partner is out of range.
pub fn mix_images(images: &Tensor, partners: &[Vec<u32>], mask: &Tensor) -> Result<Tensor> {
    let (count, channels, height, width) = images.dims4()?;
    check_partners("mix_images", partners, count)?;
    let expected = [partners[0].len(), partners.len(), height, width];
    if mask.dims() != expected {
        bail!("mix_images: expected a mask {expected:?}, got {:?}", mask.dims());
    }
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(images) {
        return crate::device::blend::mix_images(images, partners, mask);
    }
    if !on_kernels(images) {
        return composed::mix_images(images, partners, mask);
    }
    let (images, mask, partners) = (images.contiguous()?, mask.contiguous()?, partners.to_vec());
    let shape = (partners[0].len(), channels, height, width);
    let area = height * width;
    let blend = Blend { partners: &partners, channels, area };
    let mixed = computed(shape, [&images, &mask], |[images, mask], mixed| {
        blend.forward(images, Weights::Mask(mask), mixed);
    })?;
    let backward = move |[images, mask]: [&Tensor; 2], _: &Tensor, dmixed: &Tensor| {
        let blend = Blend { partners: &partners, channels, area };
        let dimages = gradient(images, [mask, dmixed], |[mask, dmixed], dimages| {
            blend.backward_images(Weights::Mask(mask), dmixed, dimages);
        })?;
        let dmask = gradient(mask, [images, dmixed], |[images, dmixed], dmask| {
            blend.backward_mask(images, dmixed, dmask);
        })?;
        Ok([dimages, dmask])
    };
    record("mix-images", mixed, [&images, &mask], backward)
}

/// `mixed[b] = sum_i weights[b, i] · images[partners[i][b]]`: `images` `[M, C, H, W]`, the result `[B, C, H, W]`. The
/// weights are constants, `[N]` for the whole batch or `[B, N]` in row-major order.
///
/// # Errors
/// If the shapes don't fit or a partner is out of range.
pub fn linear_mix(images: &Tensor, partners: &[Vec<u32>], weights: &[f32]) -> Result<Tensor> {
    let (count, channels, height, width) = images.dims4()?;
    check_partners("linear_mix", partners, count)?;
    let (batch, n) = (partners[0].len(), partners.len());
    let weights = match weights.len() {
        len if len == n => weights.repeat(batch),
        len if len == batch * n => weights.to_vec(),
        len => bail!("linear_mix: expected {n} or {batch}x{n} weights, got {len}"),
    };
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(images) {
        return crate::device::blend::linear_mix(images, partners, &weights);
    }
    if !on_kernels(images) {
        return composed::linear_mix(images, partners, &weights);
    }
    let (images, partners) = (images.contiguous()?, partners.to_vec());
    let shape = (batch, channels, height, width);
    let area = height * width;
    let blend = Blend { partners: &partners, channels, area };
    let mixed = computed(shape, [&images], |[images], mixed| {
        blend.forward(images, Weights::Constant(&weights), mixed);
    })?;
    let backward = move |images: &Tensor, _: &Tensor, dmixed: &Tensor| {
        let blend = Blend { partners: &partners, channels, area };
        gradient(images, [dmixed], |[dmixed], dimages| {
            blend.backward_images(Weights::Constant(&weights), dmixed, dimages);
        })
    };
    record1("linear-mix", mixed, &images, backward)
}

/// `images` `[B, C, H, W]` with the pixels of `area` `[row1, column1, row2, column2]` (half open) taken from the image
/// `partner[b]`.
///
/// # Errors
/// If the area doesn't lie in the image or a partner is out of range.
pub fn paste_box(images: &Tensor, partner: &[u32], area: [usize; 4]) -> Result<Tensor> {
    let (batch, _, height, width) = images.dims4()?;
    check_partners("paste_box", &[partner.to_vec()], batch)?;
    let [row1, column1, row2, column2] = area;
    if partner.len() != batch || row1 > row2 || column1 > column2 || row2 > height || column2 > width {
        bail!("paste_box: box {area:?} with {} partners in {:?}", partner.len(), images.dims());
    }
    paste(images, images, partner, area, [row1, column1])
}

/// `images` `[B, C, H, W]` with the patch `partner[b]` of `patches` `[M, C, h, w]` in `area` `[row1, column1, row2, column2]`
/// (half open), which is of its size.
///
/// # Errors
/// If the area doesn't lie in the image or isn't as large as a patch, or a partner is out of range.
pub fn paste_patches(images: &Tensor, patches: &Tensor, partner: &[u32], area: [usize; 4]) -> Result<Tensor> {
    let (batch, channels, height, width) = images.dims4()?;
    let (count, depth, rows, columns) = patches.dims4()?;
    check_partners("paste_patches", &[partner.to_vec()], count)?;
    let [row1, column1, row2, column2] = area;
    let fits = row1 + rows == row2 && column1 + columns == column2 && depth == channels;
    if partner.len() != batch || !fits || row2 > height || column2 > width {
        bail!(
            "paste_patches: patches {:?} in box {area:?} of {:?}, {} partners",
            patches.dims(),
            images.dims(),
            partner.len()
        );
    }
    paste(images, patches, partner, area, [0, 0])
}

/// What both kinds of pasting share: the pixels of `patches` from `corner` on go to `area`.
fn paste(
    images: &Tensor,
    patches: &Tensor,
    partner: &[u32],
    area: [usize; 4],
    corner: [usize; 2],
) -> Result<Tensor> {
    if !on_kernels(images) || images.track_op() || patches.track_op() {
        return composed::paste(images, patches, partner, area, corner);
    }
    let (_, channels, height, width) = images.dims4()?;
    let (_, _, rows, columns) = patches.dims4()?;
    let (images, patches) = (images.contiguous()?, patches.contiguous()?);
    let mixed = computed(images.shape(), [&images, &patches], |[images, pixels], mixed| {
        let patches = Patches { pixels, size: [rows, columns], corner };
        blend::paste(images, patches, partner, channels, [height, width], area, mixed);
    })?;
    Ok(mixed.tensor())
}

/// `mask · images[b] + (1 - mask) · images[partner[b]]` for `images` `[B, C, H, W]` and one mask for the whole batch: `H · W`
/// constants, row by row.
///
/// # Errors
/// If the mask isn't as large as an image or a partner is out of range.
pub fn mask_mix(images: &Tensor, partner: &[u32], mask: &[f32]) -> Result<Tensor> {
    let (batch, channels, height, width) = images.dims4()?;
    check_partners("mask_mix", &[partner.to_vec()], batch)?;
    if partner.len() != batch || mask.len() != height * width {
        bail!("mask_mix: {} weights and {} partners for {:?}", mask.len(), partner.len(), images.dims());
    }
    if !on_kernels(images) || images.track_op() {
        return composed::mask_mix(images, partner, mask);
    }
    let images = images.contiguous()?;
    let mixed = computed(images.shape(), [&images], |[images], mixed| {
        blend::mask(images, partner, channels, mask, mixed);
    })?;
    Ok(mixed.tensor())
}

/// Checks that there are lists of partners, all of one length, that name one of `images`.
pub(crate) fn check_partners(op: &str, partners: &[Vec<u32>], images: usize) -> Result<()> {
    let Some(first) = partners.first() else { bail!("{op}: no lists of partners") };
    if let Some(other) = partners.iter().find(|list| list.len() != first.len()) {
        bail!("{op}: lists of {} and {} partners", first.len(), other.len());
    }
    match partners.iter().flatten().find(|&&partner| partner as usize >= images) {
        Some(partner) => bail!("{op}: partner {partner} is out of range, there are {images} images"),
        None => Ok(()),
    }
}

mod composed {
    use super::*;

    /// `images[partners]`. candle's kernel for CUDA wants what it picks from in one piece.
    fn picked(images: &Tensor, partners: &[u32]) -> Result<Tensor> {
        images.contiguous()?.index_select(&Tensor::new(partners, images.device())?, 0)
    }

    /// `sum_i weight(i) · images[partners[i]]`
    fn sum(
        images: &Tensor,
        partners: &[Vec<u32>],
        weight: impl Fn(usize) -> Result<Tensor>,
    ) -> Result<Tensor> {
        let mut mixed: Option<Tensor> = None;
        for (i, partners) in partners.iter().enumerate() {
            let part = picked(images, partners)?.broadcast_mul(&weight(i)?)?;
            mixed = Some(match mixed {
                Some(mixed) => (mixed + part)?,
                None => part,
            });
        }
        mixed.map_or_else(|| bail!("no images to mix"), Ok)
    }

    pub(super) fn mix_images(images: &Tensor, partners: &[Vec<u32>], mask: &Tensor) -> Result<Tensor> {
        sum(images, partners, |i| mask.narrow(1, i, 1))
    }

    pub(super) fn linear_mix(images: &Tensor, partners: &[Vec<u32>], weights: &[f32]) -> Result<Tensor> {
        let n = partners.len();
        sum(images, partners, |i| {
            let column: Vec<f32> = weights.iter().skip(i).step_by(n).copied().collect();
            Tensor::new(column, images.device())?.to_dtype(images.dtype())?.reshape(((), 1, 1, 1))
        })
    }

    pub(super) fn paste(
        images: &Tensor,
        patches: &Tensor,
        partner: &[u32],
        area: [usize; 4],
        corner: [usize; 2],
    ) -> Result<Tensor> {
        let (_, _, height, width) = images.dims4()?;
        let [row1, column1, row2, column2] = area;
        let inside =
            |i: usize| (row1..row2).contains(&(i / width)) && (column1..column2).contains(&(i % width));
        let inside: Vec<u8> = (0..height * width).map(|i| u8::from(inside(i))).collect();
        let inside = Tensor::from_vec(inside, (1, 1, height, width), images.device())?;
        let other = picked(patches, partner)?
            .narrow(2, corner[0], row2 - row1)?
            .narrow(3, corner[1], column2 - column1)?
            .pad_with_zeros(2, row1, height - row2)?
            .pad_with_zeros(3, column1, width - column2)?;
        inside.broadcast_as(images.shape())?.where_cond(&other, images)
    }

    pub(super) fn mask_mix(images: &Tensor, partner: &[u32], mask: &[f32]) -> Result<Tensor> {
        let (_, _, height, width) = images.dims4()?;
        let mask = Tensor::new(mask, images.device())?.to_dtype(images.dtype())?;
        let mask = mask.reshape((1, 1, height, width))?;
        let other = picked(images, partner)?;
        images.broadcast_mul(&mask)? + other.broadcast_mul(&mask.affine(-1.0, 1.0)?)?
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{agrees, values};

    #[test]
    fn blends_agree_with_their_composition() -> Result<()> {
        let partners = [vec![0, 1, 2], vec![2, 2, 0]];
        agrees(&[&[4, 3, 5, 6], &[3, 2, 5, 6]], |x| mix_images(&x[0], &partners, &x[1]))?;
        agrees(&[&[3, 2, 4, 4]], |x| linear_mix(&x[0], &partners, &[0.25, 0.75]))?;
        let each = [0.25, 0.75, 1.0, 0.0, 0.5, 0.25];
        agrees(&[&[3, 2, 4, 4]], |x| linear_mix(&x[0], &partners, &each))
    }

    #[test]
    fn pasting_agrees_with_its_composition() -> Result<()> {
        let (images, patches) = (values(&[3, 2, 5, 4], 1)?, values(&[4, 2, 3, 2], 2)?);
        let flat = |tensor: Tensor| tensor.flatten_all()?.to_vec1::<f32>();
        for area in [[1, 0, 4, 3], [0, 0, 5, 4], [2, 2, 2, 4]] {
            let composed = composed::paste(&images, &images, &[2, 0, 0], area, [area[0], area[1]])?;
            assert_eq!(flat(paste_box(&images, &[2, 0, 0], area)?)?, flat(composed)?);
        }
        let area = [2, 1, 5, 3];
        let composed = composed::paste(&images, &patches, &[3, 0, 0], area, [0, 0])?;
        assert_eq!(flat(paste_patches(&images, &patches, &[3, 0, 0], area)?)?, flat(composed)?);
        agrees(&[&[3, 2, 5, 4]], |x| paste_box(&x[0], &[2, 0, 0], [1, 0, 4, 3]))?;
        agrees(&[&[3, 2, 5, 4], &[4, 2, 3, 2]], |x| paste_patches(&x[0], &x[1], &[3, 0, 0], area))
    }

    #[test]
    fn a_shared_mask_agrees_with_its_composition() -> Result<()> {
        let images = values(&[3, 2, 3, 3], 1)?;
        let mask: Vec<f32> = (0..9).map(|i| i as f32 / 8.0).collect();
        let close =
            (mask_mix(&images, &[2, 0, 0], &mask)? - composed::mask_mix(&images, &[2, 0, 0], &mask)?)?;
        assert!(close.abs()?.flatten_all()?.max(0)?.to_scalar::<f32>()? < 1e-6);
        agrees(&[&[3, 2, 3, 3]], |x| mask_mix(&x[0], &[2, 0, 0], &mask))
    }

    #[test]
    fn what_does_not_fit_is_an_error() -> Result<()> {
        let (images, mask) = (values(&[2, 1, 2, 2], 1)?, values(&[2, 2, 2, 2], 2)?);
        assert!(mix_images(&images, &[vec![0, 1], vec![1, 2]], &mask).is_err());
        assert!(mix_images(&images, &[vec![0, 1]], &mask).is_err());
        assert!(mix_images(&images, &[], &mask).is_err());
        assert!(linear_mix(&images, &[vec![0, 1], vec![1]], &[0.5, 0.5]).is_err());
        assert!(linear_mix(&images, &[vec![0, 1], vec![1, 0]], &[0.5; 3]).is_err());
        assert!(paste_box(&images, &[1, 0], [0, 0, 3, 1]).is_err());
        assert!(paste_box(&images, &[1], [0, 0, 1, 1]).is_err());
        assert!(paste_patches(&images, &images, &[1, 0], [0, 0, 1, 2]).is_err());
        assert!(paste_patches(&images, &images, &[1, 0], [1, 0, 3, 2]).is_err());
        assert!(mask_mix(&images, &[1, 0], &[1.0; 3]).is_err());
        assert!(mask_mix(&images, &[1, 2], &[1.0; 4]).is_err());
        Ok(())
    }
}
