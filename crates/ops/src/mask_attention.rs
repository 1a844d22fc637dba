//! The cross attention of the mask generator (Eq. 5 of the paper).

use crate::blend::check_partners;
use crate::buffers::{computed, on_kernels, with_optional, with_slices};
use crate::node::{record, record1};
use adautomix_kernels::attention;
use candle_core::{Result, Tensor, bail};

/// Who attends to whom, and how.
#[derive(Clone, Debug)]
pub struct MaskAttention {
    /// `N` lists of one image for each sample: sample `b` mixes the images `partners[0][b] … partners[N-1][b]`.
    pub partners: Vec<Vec<u32>>,
    /// The mixing ratio of each of the `N` images.
    pub lambdas: Vec<f32>,
    /// What the products of queries and keys are divided by.
    pub scale: f64,
    /// Whether queries and keys go through a ReLU.
    pub relu: bool,
}

/// The low-resolution planes of every sample, `[B, N, P]`, before upsampling.
///
/// `base` `[images, 2d + 1, P]` has the queries, keys and values of every image, stacked; with `shift` `[2d + 1]`,
/// `lambda_i shift` is added to those of a sample's `i`-th image, at every position: what a plane of `lambda_i`,
/// concatenated to the features, adds to their projection. Then, with the ReLU where the specification says so,
/// `planes[b, i] = softmax over keys ( q_iᵀ sum_{j != i} k_j / scale ) v_i`.
///
/// # Errors
/// If the shapes don't fit, there are fewer than two images in a sample, or a partner is out of range.
pub fn mask_attention(base: &Tensor, shift: Option<&Tensor>, spec: MaskAttention) -> Result<Tensor> {
    let (images, channels, positions) = base.dims3()?;
    check_partners("mask_attention", &spec.partners, images)?;
    if spec.partners.len() < 2 || spec.lambdas.len() != spec.partners.len() {
        bail!("mask_attention: {} lambdas for {} images", spec.lambdas.len(), spec.partners.len());
    }
    if channels % 2 == 0 || channels < 3 || shift.is_some_and(|shift| shift.dims() != [channels]) {
        bail!("mask_attention: {channels} channels, shift {:?}", shift.map(Tensor::dims));
    }
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(base) {
        return crate::device::mask_attention::mask_attention(base, shift, spec);
    }
    if !on_kernels(base) {
        return composed::mask_attention(base, shift, &spec);
    }
    let (base, shift) = (base.contiguous()?, shift.map(Tensor::contiguous).transpose()?);
    let shape = (spec.partners[0].len(), spec.partners.len(), positions);
    let kernel = spec.kernel(channels, positions);
    let planes = with_optional(shift.as_ref(), |shift| {
        computed(shape, [&base], |[base], planes| kernel.forward(base, shift, planes))
    })?;
    let Some(shift) = shift else {
        let backward = move |base: &Tensor, _: &Tensor, dplanes: &Tensor| {
            let kernel = spec.kernel(channels, positions);
            let read = |[base, dplanes]: [&[f32]; 2]| Ok(kernel.backward(base, None, dplanes));
            let gradients = with_slices([base, dplanes], read)?;
            Tensor::from_vec(gradients.base, base.shape(), base.device()).map(Some)
        };
        return record1("mask-attention", planes, &base, backward);
    };
    let backward = move |[base, shift]: [&Tensor; 2], _: &Tensor, dplanes: &Tensor| {
        let kernel = spec.kernel(channels, positions);
        let gradients = with_slices([base, shift, dplanes], |[base, shift, dplanes]| {
            Ok(kernel.backward(base, Some(shift), dplanes))
        })?;
        let dbase = Tensor::from_vec(gradients.base, base.shape(), base.device())?;
        Ok([Some(dbase), Some(Tensor::from_vec(gradients.shift, shift.shape(), base.device())?)])
    };
    record("mask-attention", planes, [&base, &shift], backward)
}

impl MaskAttention {
    /// The kernel's view of this for a base of `channels` and `positions`.
    fn kernel(&self, channels: usize, positions: usize) -> attention::MaskAttention<'_> {
        attention::MaskAttention {
            partners: &self.partners,
            lambdas: &self.lambdas,
            depth: (channels - 1) / 2,
            positions,
            scale: self.scale as f32,
            relu: self.relu,
        }
    }
}

mod composed {
    use super::*;

    pub(super) fn mask_attention(
        base: &Tensor,
        shift: Option<&Tensor>,
        spec: &MaskAttention,
    ) -> Result<Tensor> {
        let depth = (base.dim(1)? - 1) / 2;
        let (mut queries, mut keys, mut values) = (Vec::new(), Vec::new(), Vec::new());
        for (partners, &lambda) in spec.partners.iter().zip(&spec.lambdas) {
            let mut image = base.index_select(&Tensor::new(partners.as_slice(), base.device())?, 0)?;
            if let Some(shift) = shift {
                image = image.broadcast_add(&(shift * f64::from(lambda))?.reshape(((), 1))?)?;
            }
            let activate = |x: Tensor| if spec.relu { crate::relu(&x) } else { Ok(x) };
            queries.push(activate(image.narrow(1, 0, depth)?)?);
            keys.push(activate(image.narrow(1, depth, depth)?)?);
            values.push(image.narrow(1, 2 * depth, 1)?.transpose(1, 2)?);
        }
        let mut planes = Vec::new();
        for (i, query) in queries.iter().enumerate() {
            let mut others = keys.iter().enumerate().filter(|(j, _)| *j != i).map(|(_, key)| key.clone());
            let Some(first) = others.next() else { bail!("mask_attention: a single image") };
            let others = others.try_fold(first, |sum, key| sum + key)?;
            let products =
                (query.transpose(1, 2)?.contiguous()?.matmul(&others.contiguous()?)? / spec.scale)?;
            let attention = candle_nn::ops::softmax(&products, 2)?;
            planes.push(attention.matmul(&values[i].contiguous()?)?.transpose(1, 2)?);
        }
        Tensor::cat(&planes, 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{agrees, values};
    use candle_core::DType;

    fn spec(partners: &[&[u32]], relu: bool) -> MaskAttention {
        let lambdas = [0.5, 0.3, 0.15, 0.05][..partners.len()].to_vec();
        MaskAttention { partners: partners.iter().map(|p| p.to_vec()).collect(), lambdas, scale: 1.7, relu }
    }

    #[test]
    fn attention_agrees_with_its_composition() -> Result<()> {
        // Positions under, at and over a panel; three and two images; a partner that is used twice.
        let three: &[&[u32]] = &[&[0, 1, 2, 3], &[3, 2, 1, 0], &[1, 1, 0, 2]];
        agrees(&[&[4, 13, 49]], |x| mask_attention(&(&x[0] * 2.0)?, None, spec(three, true)))?;
        agrees(&[&[4, 17, 64], &[17]], |x| mask_attention(&x[0], Some(&x[1]), spec(three, true)))?;
        let two: &[&[u32]] = &[&[0, 1, 2], &[2, 0, 1]];
        agrees(&[&[3, 5, 9], &[5]], |x| mask_attention(&(&x[0] * 3.0)?, Some(&x[1]), spec(two, false)))
    }

    #[test]
    fn more_samples_than_are_held_at_once() -> Result<()> {
        let partners: Vec<Vec<u32>> = vec![(0..70).collect(), (0..70).map(|b| b * 3 % 70).collect()];
        let spec = MaskAttention { partners, lambdas: vec![0.4, 0.6], scale: 1.0, relu: true };
        agrees(&[&[70, 3, 4]], |x| mask_attention(&(&x[0] * 2.0)?, None, spec.clone()))
    }

    #[test]
    fn what_does_not_fit_is_an_error() -> Result<()> {
        let base = values(&[2, 5, 4], 1)?;
        assert!(mask_attention(&base, None, spec(&[&[0, 1]], true)).is_err());
        assert!(mask_attention(&base, None, spec(&[&[0, 1], &[1, 2]], true)).is_err());
        assert!(mask_attention(&base, None, spec(&[&[0, 1], &[1]], true)).is_err());
        assert!(mask_attention(&base, Some(&values(&[4], 1)?), spec(&[&[0, 1], &[1, 0]], true)).is_err());
        assert!(mask_attention(&values(&[2, 4, 4], 1)?, None, spec(&[&[0, 1], &[1, 0]], true)).is_err());
        assert_eq!(mask_attention(&base, None, spec(&[&[0], &[1]], true))?.dtype(), DType::F32);
        Ok(())
    }
}
