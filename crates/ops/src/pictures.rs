//! Pictures of bytes on the device that computes: how they get there, and windows of them as numbers.

use candle_core::{DType, Device, Result, Storage, Tensor, bail};
#[cfg(feature = "cuda")]
use {
    candle_core::CudaStorage,
    candle_core::cuda_backend::{
        CudaStorageSlice, WrapErr,
        cudarc::driver::{CudaEvent, PinnedHostSlice},
    },
    candle_core::op::BackpropOp,
};

/// A part of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// Which picture.
    pub picture: usize,
    /// The row at which it begins; beyond its edges a picture is its reflection, which doesn't repeat the edge.
    pub top: isize,
    /// The column at which it begins, likewise.
    pub left: isize,
    /// Whether it is mirrored left to right after it is cut out.
    pub flip: bool,
}

/// Cuts windows of `size` out of `pictures`, bytes `[N, H, W, 3]`, and normalises them: `(byte / 255 - mean) / deviation` by
/// channel, `[windows, 3, rows, columns]`. A permuted `[N, 3, H, W]` isn't copied.
///
/// # Errors
/// If `pictures` are none, or a window reaches further than a picture's reflection.
pub fn cut_pictures(
    pictures: &Tensor,
    windows: &[Window],
    size: [usize; 2],
    normalisation: [[f32; 3]; 2],
) -> Result<Tensor> {
    let (count, height, width, channels) = pictures.dims4()?;
    if channels != 3 || pictures.dtype() != DType::U8 {
        bail!("cut_pictures: expected bytes [N, H, W, 3], got {:?} {:?}", pictures.dtype(), pictures.dims());
    }
    let reaches = |start: isize, length: usize, side: usize| {
        let (side, end) = (side as isize, start + length as isize);
        start > -side && end < 2 * side
    };
    let fits = |window: &Window| {
        window.picture < count && reaches(window.top, size[0], height) && reaches(window.left, size[1], width)
    };
    if let Some(window) = windows.iter().find(|window| !fits(window)) {
        bail!("cut_pictures: {window:?} of {size:?} doesn't lie in {count} pictures [{height}, {width}]");
    }
    #[cfg(any(feature = "cuda", test))]
    if crate::device::launches(pictures.device()) {
        return crate::device::pictures::cut_pictures(pictures, windows, size, normalisation);
    }
    on_processor(pictures, windows, size, normalisation)
}

fn on_processor(
    pictures: &Tensor,
    windows: &[Window],
    [rows, columns]: [usize; 2],
    [mean, deviation]: [[f32; 3]; 2],
) -> Result<Tensor> {
    let (_, height, width, _) = pictures.dims4()?;
    let (storage, layout) = pictures.storage_and_layout();
    let Storage::Cpu(storage) = &*storage else { bail!("cut_pictures: expected CUDA or the processor") };
    let (bytes, start, strides) = (storage.as_slice::<u8>()?, layout.start_offset(), layout.stride());
    let reflected = |index: isize, len: usize| {
        let last = len as isize - 1;
        (last - (last - index.abs()).abs()) as usize
    };
    let mut out = Vec::with_capacity(windows.len() * 3 * rows * columns);
    for window in windows {
        for channel in 0..3 {
            for row in 0..rows {
                let row = reflected(window.top + row as isize, height);
                for column in 0..columns {
                    let column = if window.flip { columns - 1 - column } else { column };
                    let column = reflected(window.left + column as isize, width);
                    let at = [window.picture, row, column, channel];
                    let at = start + at.iter().zip(strides).map(|(at, stride)| at * stride).sum::<usize>();
                    out.push((f32::from(bytes[at]) / 255.0 - mean[channel]) / deviation[channel]);
                }
            }
        }
    }
    Tensor::from_vec(out, (windows.len(), 3, rows, columns), &Device::Cpu)
}

/// Brings bytes to a device. On CUDA they go through memory that the device reads by itself, so that nobody waits for what
/// is computed there.
pub struct Upload {
    device: Device,
    /// One is filled while the device may still read the other.
    #[cfg(feature = "cuda")]
    staging: [Option<Staging>; 2],
}

/// Memory of the host that a device reads.
#[cfg(feature = "cuda")]
struct Staging {
    bytes: PinnedHostSlice<u8>,
    /// Lies behind the copy that reads them: cudarc, which would keep such an event itself, doesn't where its
    /// [events are off](crate::cuda::open).
    read: CudaEvent,
}

#[cfg(feature = "cuda")]
impl Drop for Staging {
    fn drop(&mut self) {
        // If nothing can be waited for, nothing reads.
        self.read.synchronize().ok();
    }
}

impl Upload {
    /// For a device.
    pub fn new(device: &Device) -> Self {
        Self {
            device: device.clone(),
            #[cfg(feature = "cuda")]
            staging: [None, None],
        }
    }

    /// A tensor of `shape` of these bytes.
    ///
    /// # Errors
    /// If they don't fit the shape, or memory can't be had.
    pub fn bytes(&mut self, bytes: &[u8], shape: &[usize]) -> Result<Tensor> {
        #[cfg(feature = "cuda")]
        if let (Device::Cuda(device), false) = (&self.device, bytes.is_empty()) {
            let stream = device.cuda_stream();
            self.staging.rotate_left(1);
            // What was read two batches before; memory of another size is given up when it was read.
            let mut staging =
                match self.staging[0].take().filter(|staging| staging.bytes.len() == bytes.len()) {
                    Some(staging) => staging,
                    None => Staging {
                        // SAFETY: every byte is written below, before anything reads it.
                        bytes: unsafe { stream.context().alloc_pinned::<u8>(bytes.len()) }.w()?,
                        read: stream.context().new_event(None).w()?,
                    },
                };
            staging.read.synchronize().w()?;
            staging.bytes.as_mut_slice().w()?.copy_from_slice(bytes);
            // SAFETY: the copy writes every byte before anything reads it.
            let mut slice = unsafe { device.alloc::<u8>(bytes.len()) }?;
            stream.memcpy_htod(&staging.bytes, &mut slice).w()?;
            staging.read.record(&stream).w()?;
            self.staging[0] = Some(staging);
            let storage = CudaStorage { slice: CudaStorageSlice::U8(slice), device: device.clone() };
            let tensor = Tensor::from_storage(Storage::Cuda(storage), bytes.len(), BackpropOp::none(), false);
            return tensor.reshape(shape);
        }
        Tensor::from_slice(bytes, shape, &self.device)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_reflected_at_the_edges_and_then_mirrored() -> Result<()> {
        // Rows 0 1 2 and 3 4 5 of the first channel; the others are 10 and 100 more.
        let bytes: Vec<u8> = (0..6).flat_map(|at| [at, at + 10, at + 100]).collect();
        let pixels = Upload::new(&Device::Cpu).bytes(&bytes, &[1, 2, 3, 3])?;
        let planes = pixels.permute((0, 3, 1, 2))?.contiguous()?.permute((0, 2, 3, 1))?;
        let scale = [[0.0, 10.0 / 255.0, 100.0 / 255.0], [1.0 / 255.0; 3]];
        for pictures in [pixels, planes] {
            let window = |top, left, flip| {
                let window = Window { picture: 0, top, left, flip };
                let cut = cut_pictures(&pictures, &[window], [2, 3], scale)?;
                let bytes: Vec<u8> =
                    cut.flatten_all()?.to_vec1::<f32>()?.iter().map(|x| x.round() as u8).collect();
                assert!(bytes[..6] == bytes[6..12] && bytes[..6] == bytes[12..]);
                Ok::<_, candle_core::Error>(bytes[..6].to_vec())
            };
            assert_eq!(window(0, 0, false)?, [0, 1, 2, 3, 4, 5]);
            assert_eq!(window(-1, -1, false)?, [4, 3, 4, 1, 0, 1]);
            assert_eq!(window(0, 2, false)?, [2, 1, 0, 5, 4, 3]);
            assert_eq!(window(-1, 1, true)?, [4, 5, 4, 1, 2, 1]);
        }
        Ok(())
    }

    #[test]
    fn what_lies_in_no_picture_is_refused() -> Result<()> {
        let pictures = Tensor::zeros((2, 4, 4, 3), DType::U8, &Device::Cpu)?;
        let normalisation = [[0.0; 3], [1.0; 3]];
        for (picture, top, fits) in [(1, 0, true), (2, 0, false), (0, -4, false), (0, 4, false), (0, 3, true)]
        {
            let window = Window { picture, top, left: 0, flip: false };
            assert_eq!(cut_pictures(&pictures, &[window], [4, 4], normalisation).is_ok(), fits, "{window:?}");
        }
        assert!(cut_pictures(&pictures.to_dtype(DType::F32)?, &[], [4, 4], normalisation).is_err());
        Ok(())
    }
}
