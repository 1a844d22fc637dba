//! Windows of pictures of bytes.

use adautomix_kernels::device::picture::{Normalisation, Order, Pictures};
use candle_core::{Result, Tensor};

use super::{Queue, fault};
use crate::pictures::Window;

/// `pictures` are `[N, H, W, 3]`, contiguous or a permutation of `[N, 3, H, W]`.
pub(crate) fn cut_pictures(
    pictures: &Tensor,
    windows: &[Window],
    size: [usize; 2],
    [mean, deviation]: [[f32; 3]; 2],
) -> Result<Tensor> {
    let queue = Queue::of(pictures)?;
    let (count, height, width, _) = pictures.dims4()?;
    let (bytes, order) = match pictures.is_contiguous() {
        true => (pictures.clone(), Order::Pixels),
        false => (pictures.permute((0, 3, 1, 2))?.contiguous()?, Order::Planes),
    };
    let words = |window: &Window| {
        [window.picture as u32, window.top as i32 as u32, window.left as i32 as u32, u32::from(window.flip)]
    };
    let words = queue.words(&windows.iter().flat_map(words).collect::<Vec<_>>())?;
    let (result, to) = queue.fresh_tensor((windows.len(), 3, size[0], size[1]))?;
    Pictures { count, size: [height, width], order }
        .cut(&queue, queue.span(&bytes)?, queue.span(&words)?, size, &Normalisation { mean, deviation }, to)
        .map_err(fault)?;
    Ok(result)
}
