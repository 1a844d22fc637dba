//! How maps lie. Those of `f32` are planes, `[B, C, H, W]`. Those of `bf16` have the channels of a pixel side by side,
//! `[B, H, W, C]`, as tensor cores read them.

use candle_core::{DType, Result, Tensor};

use crate::{channels_first, channels_last};

/// The sizes `[B, C, H, W]` of a map, however it lies.
pub(crate) fn dims(map: &Tensor) -> Result<[usize; 4]> {
    let (batch, first, second, third) = map.dims4()?;
    Ok(match map.dtype() {
        DType::BF16 => [batch, third, first, second],
        _ => [batch, first, second, third],
    })
}

/// A map of planes `[B, C, H, W]` as one of `bf16`, `[B, H, W, C]`, which convolutions, batch norms and pools take too; one of
/// `bf16` is itself. Values are rounded to the nearest, ties to even, and so is the gradient at what was rounded.
///
/// # Errors
/// If it hasn't four dimensions.
pub fn into_bf16(map: &Tensor) -> Result<Tensor> {
    if map.dtype() == DType::BF16 {
        return Ok(map.clone());
    }
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes(map) {
        let [batch, channels, height, width] = dims(map)?;
        let shape = (batch, height, width, channels).into();
        return crate::device::rearrange::transpose_into(map, [channels, height * width], DType::BF16, shape);
    }
    channels_last(map)?.to_dtype(DType::BF16)
}

/// A map of `bf16`, `[B, H, W, C]`, as planes of `f32`, `[B, C, H, W]`; any other is itself.
///
/// # Errors
/// If it hasn't four dimensions.
pub fn into_planes(map: &Tensor) -> Result<Tensor> {
    if map.dtype() != DType::BF16 {
        return Ok(map.clone());
    }
    #[cfg(any(feature = "cuda", test))]
    if crate::device::takes_map(map) {
        let [batch, channels, height, width] = dims(map)?;
        let shape = (batch, channels, height, width).into();
        return crate::device::rearrange::transpose_into(map, [height * width, channels], DType::F32, shape);
    }
    channels_first(&map.to_dtype(DType::F32)?)
}

/// What `f` makes of a map of `bf16` as planes, as such a map: where there is no kernel for it.
pub(crate) fn by_planes(map: &Tensor, f: impl FnOnce(&Tensor) -> Result<Tensor>) -> Result<Tensor> {
    into_bf16(&f(&into_planes(map)?)?)
}
