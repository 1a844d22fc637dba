//! Tokens in another order, and matrices transposed.

use std::sync::Arc;

use crate::buffers::{computed, gradient, on_kernels};
use crate::node::Node;
use adautomix_kernels::rearrange;
use candle_core::{Device, Result, Tensor, bail};

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
    let (_, tokens, width) = x.dims3()?;
    if tokens != order.maps[0].len() {
        bail!("reorder: {:?} and an order of {} tokens", x.dims(), order.maps[0].len());
    }
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(x) {
        return crate::device::rearrange::reorder(x, order.on_device.each_ref());
    }
    if !on_kernels(x) {
        return x.index_select(&order.on_device[0], 1);
    }
    let (x, [source, target]) = (x.contiguous()?, order.maps.clone());
    let y = computed(x.shape(), [&x], |[x], y| rearrange::reorder(x, &source, width, y))?;
    let backward = move |x: &Tensor, _: &Tensor, dy: &Tensor| {
        gradient(x, [dy], |[dy], dx| rearrange::reorder(dy, &target, width, dx))
    };
    x.apply_op1(Node::of1("reorder", y, backward))
}

/// `x` `[.., R, C]` with its last two dimensions swapped, in memory too: `[.., C, R]`.
///
/// # Errors
/// If `x` has fewer than two dimensions.
pub fn transpose(x: &Tensor) -> Result<Tensor> {
    let mut dims = x.dims().to_vec();
    let (true, [.., rows, columns]) = (on_kernels(x), &mut dims[..]) else { return x.t()?.contiguous() };
    let (tall, wide) = (*rows, *columns);
    (*rows, *columns) = (wide, tall);
    let x = x.contiguous()?;
    let y = computed(dims, [&x], |[x], y| rearrange::transpose(x, tall, wide, y))?;
    let backward = move |x: &Tensor, _: &Tensor, dy: &Tensor| {
        gradient(x, [dy], |[dy], dx| rearrange::transpose(dy, wide, tall, dx))
    };
    x.apply_op1(Node::of1("transpose", y, backward))
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
