//! Batch normalisation with what follows it: see [`crate::batch_norm`].
//!
//! Maps are planes, or have the channels of a pixel side by side ([`Map::ROWS`]); of those `batch` counts the pixels of all
//! pictures, and `pixels` is 1.

use super::{BLOCK, Launch, Map, Result, Span, arguments, blocks, each, whole};
use crate::batch_norm::BatchNorm;

/// Blocks that sum over a batch, about: enough for a large device.
const SUMMING: usize = 512;

/// Threads that merge the slices of a channel.
const MERGING: u32 = 128;

/// Threads of a tile that go across at most, so that its rows are read in long runs.
const ACROSS: usize = 32;

/// What is known of each channel, `[channels]` each.
#[derive(Clone, Copy, Debug)]
pub struct Statistics {
    /// The mean.
    pub mean: Span<f32>,
    /// `1 / sqrt(variance + eps)`
    pub inverse: Span<f32>,
}

/// What was done to the normalised value, as the gradient has to know it.
#[derive(Clone, Copy, Debug)]
pub enum Followed<T> {
    /// Nothing.
    Alone,
    /// A ReLU.
    Relu,
    /// A residual was added, then a ReLU; with the result.
    AddRelu(Span<T>),
}

/// The gradients that [`BatchNorm::device_backward`] writes; what is `None` is not computed.
#[derive(Clone, Copy, Debug)]
pub struct Gradients<T> {
    /// By the scale, `[channels]`.
    pub weight: Span<f32>,
    /// By the shift, `[channels]`.
    pub bias: Span<f32>,
    /// By the input.
    pub input: Option<Span<T>>,
    /// By the residual, shaped like the input.
    pub residual: Option<Span<T>>,
}

/// How sums over a batch are cut.
struct Cut {
    /// Blocks side by side: channels, or tiles of them.
    columns: usize,
    /// What the kernel is told of them: the pixels of a plane, or how many threads of a tile go across.
    inner: usize,
    /// Pictures or rows of a slice.
    pictures: usize,
    /// Slices.
    slices: usize,
    /// Whether threads take several neighbours at once.
    wide: bool,
}

impl BatchNorm {
    fn cut<T: Map>(&self, wide: bool) -> Cut {
        let (columns, inner, fewest) = if T::ROWS {
            let width = if wide { T::WIDTH } else { 1 };
            let across = self.channels.div_ceil(width).next_power_of_two().min(ACROSS);
            (self.channels.div_ceil(width * across), across, BLOCK as usize / across)
        } else {
            (self.channels, self.pixels, 1)
        };
        let most = self.batch.div_ceil(fewest).max(1);
        let pictures = self.batch.div_ceil((SUMMING / columns.max(1)).clamp(1, most));
        Cut { columns, inner, pictures, slices: self.batch.div_ceil(pictures.max(1)), wide }
    }

    /// Elements of working memory that the sums over a batch need.
    pub fn workspace<T: Map>(&self) -> usize {
        let slices = [false, true].map(|wide| self.cut::<T>(wide).slices);
        2 * slices[0].max(slices[1]) * self.channels + 2 * self.channels
    }

    fn picture(&self) -> [usize; 3] {
        [self.batch, self.channels, self.pixels]
    }

    /// Whether threads take several neighbours at once: of maps, and where they have as many channels, of what is known of those.
    fn wide<T: Map>(&self, maps: &[Option<Span<T>>], channels: &[Span<f32>]) -> bool {
        let inner = if T::ROWS { self.channels } else { self.pixels };
        let aligned = maps.iter().flatten().all(Span::aligned);
        inner.is_multiple_of(T::WIDTH) && aligned && (!T::ROWS || channels.iter().all(Span::aligned))
    }

    /// Elements of the input by those that a thread takes at once.
    fn threads<T: Map>(&self, wide: bool) -> usize {
        self.len().div_ceil(if wide { T::WIDTH } else { 1 })
    }

    /// Mean, inverse deviation and unbiased variance of each channel of `x`.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn device_moments<T: Map>(
        &self,
        queue: &impl Launch,
        x: Span<T>,
        eps: f32,
        by: Statistics,
        unbiased: Span<f32>,
        workspace: Span<f32>,
    ) -> Result<()> {
        whole("batch_norm", x, &self.picture())?;
        for channel in [by.mean, by.inverse, unbiased] {
            whole("batch_norm", channel, &[self.channels])?;
        }
        let Cut { columns, inner, pictures, slices, wide } = self.cut::<T>(self.wide(&[Some(x)], &[]));
        let parts = slices * self.channels;
        let (means, squares) = (workspace.part(0, parts)?, workspace.part(parts, parts)?);
        let (batch, channels, pixels) = (self.batch, self.channels, self.pixels);
        let sums = arguments![x, means, squares, batch, channels, inner, pictures, wide];
        let kernel = T::kernel("batch_norm_partial", "batch_norm_partial_bf16");
        blocks(queue, kernel, [columns, slices], BLOCK, sums)?;
        let finish = arguments![
            means, squares, by.mean, by.inverse, unbiased, batch, channels, pixels, pictures, slices, eps
        ];
        blocks(queue, "batch_norm_finish", [channels, 1], MERGING, finish)
    }

    /// `inverse = 1 / sqrt(variance + eps)` of each channel.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn device_inverse(
        &self,
        queue: &impl Launch,
        variance: Span<f32>,
        eps: f32,
        inverse: Span<f32>,
    ) -> Result<()> {
        whole("batch_norm", variance, &[self.channels])?;
        whole("batch_norm", inverse, &[self.channels])?;
        each(queue, "batch_norm_inverse", self.channels, arguments![variance, inverse, self.channels, eps])
    }

    /// `y = (x - mean) inverse weight + bias`, plus the residual if there is one, through a ReLU if `relu`.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn device_forward<T: Map>(
        &self,
        queue: &impl Launch,
        x: Span<T>,
        by: Statistics,
        [weight, bias]: [Span<f32>; 2],
        residual: Option<Span<T>>,
        relu: bool,
        y: Span<T>,
    ) -> Result<()> {
        for picture in [Some(x), residual, Some(y)].into_iter().flatten() {
            whole("batch_norm", picture, &self.picture())?;
        }
        for channel in [by.mean, by.inverse, weight, bias] {
            whole("batch_norm", channel, &[self.channels])?;
        }
        let wide = self.wide(&[Some(x), residual, Some(y)], &[by.mean, by.inverse, weight, bias]);
        let (channels, pixels, count) = (self.channels, self.pixels, self.len());
        let arguments = arguments![
            x, by.mean, by.inverse, weight, bias, residual, y, channels, pixels, count, relu, wide
        ];
        let kernel = T::kernel("batch_norm_apply", "batch_norm_apply_bf16");
        each(queue, kernel, self.threads::<T>(wide), arguments)
    }

    /// The gradients, from that of the result; `training` says whether the statistics are those of `x`.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn device_backward<T: Map>(
        &self,
        queue: &impl Launch,
        [grad, x]: [Span<T>; 2],
        followed: Followed<T>,
        by: Statistics,
        [weight, bias]: [Span<f32>; 2],
        training: bool,
        gradients: Gradients<T>,
        workspace: Span<f32>,
    ) -> Result<()> {
        let (y, relu) = match followed {
            Followed::Alone => (None, false),
            Followed::Relu => (None, true),
            Followed::AddRelu(y) => (Some(y), true),
        };
        let pictures = [Some(grad), Some(x), y, gradients.input, gradients.residual];
        for picture in pictures.into_iter().flatten() {
            whole("batch_norm", picture, &self.picture())?;
        }
        for channel in [by.mean, by.inverse, weight, bias, gradients.weight, gradients.bias] {
            whole("batch_norm", channel, &[self.channels])?;
        }
        // Wide sums have whole groups of channels, so that what follows them in working memory is aligned as it is.
        let wide = self.wide(&pictures, &[by.mean, by.inverse, weight, bias, workspace]);
        let Cut { columns, inner, pictures: per_slice, slices, wide } = self.cut::<T>(wide);
        let (parts, channels) = (slices * self.channels, self.channels);
        let (totals, aligned) = (workspace.part(0, parts)?, workspace.part(parts, parts)?);
        let shift = workspace.part(2 * parts, channels)?;
        let tilt = workspace.part(2 * parts + channels, channels)?;
        let (batch, pixels) = (self.batch, self.pixels);
        let sums = arguments![
            grad, x, y, by.mean, by.inverse, weight, bias, totals, aligned, batch, channels, inner,
            per_slice, relu, wide
        ];
        let kernel = T::kernel("batch_norm_sums", "batch_norm_sums_bf16");
        blocks(queue, kernel, [columns, slices], BLOCK, sums)?;
        let finish = arguments![
            totals,
            aligned,
            by.inverse,
            gradients.weight,
            gradients.bias,
            shift,
            tilt,
            batch,
            channels,
            pixels,
            slices,
            training
        ];
        blocks(queue, "batch_norm_sums_finish", [channels, 1], MERGING, finish)?;
        if gradients.input.is_none() && gradients.residual.is_none() {
            return Ok(());
        }
        let count = self.len();
        let gradient = arguments![
            grad,
            x,
            y,
            by.mean,
            by.inverse,
            weight,
            bias,
            shift,
            tilt,
            gradients.input,
            gradients.residual,
            channels,
            pixels,
            count,
            relu,
            wide
        ];
        let kernel = T::kernel("batch_norm_gradient", "batch_norm_gradient_bf16");
        each(queue, kernel, self.threads::<T>(wide), gradient)
    }
}
