//! Tokens in another order, and matrices transposed.

use std::sync::Arc;

use crate::buffers::{computed, gradient, on_kernels};
use crate::node::record1;
use adautomix_kernels::rearrange;
use candle_core::{D, Device, Result, Shape, Tensor, bail};

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

/// The tokens of `x` `[.., C]`, in sequences as long as the order, in another order. The result is seen as `shape`.
///
/// # Errors
/// If there are no whole sequences, or the shape is of another size.
pub fn reorder(x: &Tensor, order: &Order, shape: impl Into<Shape>) -> Result<Tensor> {
    let (tokens, shape) = (order.maps[0].len(), shape.into());
    let width = x.dim(D::Minus1)?;
    let count = x.elem_count();
    if shape.elem_count() != count || !count.is_multiple_of((tokens * width).max(1)) {
        bail!("reorder: {:?} as {shape:?}, and an order of {tokens} tokens", x.dims());
    }
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(x) {
        return crate::device::rearrange::reorder(x, order.on_device.each_ref(), shape);
    }
    if !on_kernels(x) {
        return x.reshape(((), tokens, width))?.index_select(&order.on_device[0], 1)?.reshape(shape);
    }
    let (x, [source, target]) = (x.contiguous()?, order.maps.clone());
    let y = computed(shape, [&x], |[x], y| rearrange::reorder(x, &source, width, y))?;
    let backward = move |x: &Tensor, _: &Tensor, dy: &Tensor| {
        gradient(x, [dy], |[dy], dx| rearrange::reorder(dy, &target, width, dx))
    };
    record1("reorder", y, &x, backward)
}

/// `[B, C, H, W]` as `[B, H, W, C]`, in memory too.
///
/// # Errors
/// If `x` hasn't four dimensions.
pub fn channels_last(x: &Tensor) -> Result<Tensor> {
    let (batch, channels, height, width) = x.dims4()?;
    transpose(x, [channels, height * width], (batch, height, width, channels))
}

/// `[B, H, W, C]` as `[B, C, H, W]`, in memory too.
///
/// # Errors
/// If `x` hasn't four dimensions.
pub fn channels_first(x: &Tensor) -> Result<Tensor> {
    let (batch, height, width, channels) = x.dims4()?;
    transpose(x, [height * width, channels], (batch, channels, height, width))
}

/// The matrices `[rows, columns]` of `x` transposed, seen as `shape`.
fn transpose(x: &Tensor, [rows, columns]: [usize; 2], shape: impl Into<Shape>) -> Result<Tensor> {
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(x) {
        return crate::device::rearrange::transpose(x, [rows, columns], shape.into());
    }
    if !on_kernels(x) {
        return x.reshape(((), rows, columns))?.t()?.contiguous()?.reshape(shape.into());
    }
    let x = x.contiguous()?;
    let y = computed(shape, [&x], |[x], y| rearrange::transpose(x, rows, columns, y))?;
    let backward = move |x: &Tensor, _: &Tensor, dy: &Tensor| {
        gradient(x, [dy], |[dy], dx| rearrange::transpose(dy, columns, rows, dx))
    };
    record1("transpose", y, &x, backward)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::{agrees, values};

    #[test]
    fn moves_agree_with_candles_own() -> Result<()> {
        let order = Order::new(&[3, 0, 4, 1, 2], &Device::Cpu)?;
        agrees(&[&[3, 5, 4]], |x| reorder(&x[0], &order, (5, 3, 4)))?;
        agrees(&[&[4, 5, 3]], |x| reorder(&x[0], &order, (4, 1, 15)))?;
        agrees(&[&[2, 40, 11, 3]], |x| channels_last(&x[0]))?;
        agrees(&[&[2, 11, 3, 40]], |x| channels_first(&x[0]))?;
        agrees(&[&[2, 3, 4, 5]], |x| channels_last(&x[0].transpose(1, 3)?))
    }

    #[test]
    fn an_order_and_its_inverse_change_nothing() -> Result<()> {
        let order = Order::new(&[3, 0, 4, 1, 2], &Device::Cpu)?;
        let x = values(&[2, 5, 3], 1)?;
        let back = reorder(&reorder(&x, &order, (5, 2, 3))?, &order.inverse()?, (2, 5, 3))?;
        assert_eq!(back.flatten_all()?.to_vec1::<f32>()?, x.flatten_all()?.to_vec1::<f32>()?);
        assert!(Order::new(&[0, 0], &Device::Cpu).is_err() && Order::new(&[2, 0], &Device::Cpu).is_err());
        assert!(reorder(&values(&[2, 4, 3], 1)?, &order, (2, 4, 3)).is_err());
        assert!(reorder(&x, &order, (2, 4, 3)).is_err());
        Ok(())
    }
}
