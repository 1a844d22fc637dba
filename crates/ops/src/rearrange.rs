//! Tokens in another order, and matrices transposed.

use std::sync::Arc;

use crate::custom::{detached, on_kernels, output, slice};
use adautomix_kernels::rearrange;
use candle_core::{CpuStorage, CustomOp1, Device, Layout, Result, Shape, Tensor, bail};

/// An order in which to read the tokens of a sequence.
#[derive(Clone, Debug)]
pub struct Order {
    /// Where each token comes from, and where each goes.
    maps: [Arc<[u32]>; 2],
    /// The same on the device.
    on_device: [Tensor; 2],
}

impl Order {
    /// Token `i` is to be that at `source[i]`.
    ///
    /// # Errors
    /// If a token is named twice or left out.
    pub fn new(source: &[u32], device: &Device) -> Result<Self> {
        let mut target = vec![u32::MAX; source.len()];
        for (to, &from) in source.iter().enumerate() {
            match target.get_mut(from as usize) {
                Some(place) if *place == u32::MAX => *place = to as u32,
                _ => bail!("an order of {} tokens: {from} is named twice or isn't there", source.len()),
            }
        }
        let on_device = [Tensor::new(source, device)?, Tensor::new(&*target, device)?];
        Ok(Self { maps: [source.into(), target.into()], on_device })
    }

    /// The order that undoes this one.
    ///
    /// # Errors
    /// Those of the device.
    pub fn inverse(&self) -> Result<Self> {
        Self::new(&self.maps[1], self.on_device[0].device())
    }
}

/// The tokens of `x` `[B, T, C]` in another order.
///
/// # Errors
/// If the order is of another number of tokens.
pub fn reorder(x: &Tensor, order: &Order) -> Result<Tensor> {
    let (_, tokens, _) = x.dims3()?;
    if tokens != order.maps[0].len() {
        bail!("reorder: {:?} and an order of {} tokens", x.dims(), order.maps[0].len());
    }
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(x) {
        return crate::device::rearrange::reorder(x, order.on_device.each_ref());
    }
    match on_kernels(x) {
        true => x.contiguous()?.apply_op1(Reorder(order.maps.clone())),
        false => x.index_select(&order.on_device[0], 1),
    }
}

/// `x` `[.., R, C]` with its last two dimensions swapped, in memory too: `[.., C, R]`.
///
/// # Errors
/// If `x` has fewer than two dimensions.
pub fn transpose(x: &Tensor) -> Result<Tensor> {
    match on_kernels(x) && x.rank() >= 2 {
        true => x.contiguous()?.apply_op1(Transpose),
        false => x.t()?.contiguous(),
    }
}

struct Reorder([Arc<[u32]>; 2]);

impl CustomOp1 for Reorder {
    fn name(&self) -> &'static str {
        "reorder"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let x = slice(x, layout)?;
        let mut y = vec![0.0; x.len()];
        rearrange::reorder(x, &self.0[0], layout.shape().dims3()?.2, &mut y);
        output(y, layout.shape())
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        let [source, target] = self.0.clone();
        detached(dy)?.apply_op1_no_bwd(&Self([target, source])).map(Some)
    }
}

struct Transpose;

impl CustomOp1 for Transpose {
    fn name(&self) -> &'static str {
        "transpose"
    }

    fn cpu_fwd(&self, x: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        let (x, mut dims) = (slice(x, layout)?, layout.dims().to_vec());
        let [.., rows, columns] = &mut dims[..] else { bail!("transpose: {:?}", layout.dims()) };
        let mut y = vec![0.0; x.len()];
        rearrange::transpose(x, *rows, *columns, &mut y);
        std::mem::swap(rows, columns);
        output(y, dims)
    }

    fn bwd(&self, _: &Tensor, _: &Tensor, dy: &Tensor) -> Result<Option<Tensor>> {
        detached(dy)?.apply_op1_no_bwd(&Self).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{agrees, values};

    #[test]
    fn both_agree_with_candles_own() -> Result<()> {
        let order = Order::new(&[3, 0, 4, 1, 2], &Device::Cpu)?;
        agrees(&[&[3, 5, 4]], |x| reorder(&x[0], &order))?;
        agrees(&[&[2, 3, 40, 33]], |x| transpose(&x[0]))?;
        agrees(&[&[40, 33]], |x| transpose(&x[0].t()?))
    }

    #[test]
    fn an_order_and_its_inverse_change_nothing() -> Result<()> {
        let order = Order::new(&[3, 0, 4, 1, 2], &Device::Cpu)?;
        let x = values(&[2, 5, 3], 1)?;
        let back = reorder(&reorder(&x, &order)?, &order.inverse()?)?;
        assert_eq!(back.flatten_all()?.to_vec1::<f32>()?, x.flatten_all()?.to_vec1::<f32>()?);
        assert!(Order::new(&[0, 0], &Device::Cpu).is_err() && Order::new(&[2, 0], &Device::Cpu).is_err());
        assert!(reorder(&values(&[2, 4, 3], 1)?, &order).is_err());
        Ok(())
    }
}
