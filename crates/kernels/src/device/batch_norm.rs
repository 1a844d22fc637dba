//! Batch normalisation with what follows it: see [`crate::batch_norm`].

use super::{BLOCK, Launch, Result, Span, arguments, blocks, each, whole};
use crate::batch_norm::BatchNorm;

/// Blocks that sum over a batch, about: enough for a large device.
const SUMMING: usize = 512;

/// What is known of each channel, `[channels]` each.
#[derive(Clone, Copy, Debug)]
pub struct Statistics {
    /// The mean.
    pub mean: Span<f32>,
    /// `1 / sqrt(variance + eps)`
    pub inverse: Span<f32>,
}

/// The gradients that [`BatchNorm::device_backward`] writes; what is `None` is not computed.
#[derive(Clone, Copy, Debug)]
pub struct Gradients {
    /// By the scale, `[channels]`.
    pub weight: Span<f32>,
    /// By the shift, `[channels]`.
    pub bias: Span<f32>,
    /// By the input.
    pub input: Option<Span<f32>>,
    /// By the residual, shaped like the input.
    pub residual: Option<Span<f32>>,
}

impl BatchNorm {
    /// Pictures of a slice that one block sums over.
    fn pictures(&self) -> usize {
        let slices = (SUMMING / self.channels.max(1)).clamp(1, self.batch.max(1));
        self.batch.div_ceil(slices)
    }

    fn slices(&self) -> usize {
        self.batch.div_ceil(self.pictures().max(1))
    }

    /// Elements of working memory that the sums over a batch need.
    pub fn workspace(&self) -> usize {
        2 * self.slices() * self.channels + 2 * self.channels
    }

    fn picture(&self) -> [usize; 3] {
        [self.batch, self.channels, self.pixels]
    }

    /// Whether threads take four neighbours at once.
    fn wide(&self, buffers: &[Option<Span<f32>>]) -> bool {
        self.pixels.is_multiple_of(4) && buffers.iter().flatten().all(Span::aligned)
    }

    /// Mean, inverse deviation and unbiased variance of each channel of `x`.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn device_moments(
        &self,
        queue: &impl Launch,
        x: Span<f32>,
        eps: f32,
        by: Statistics,
        unbiased: Span<f32>,
        workspace: Span<f32>,
    ) -> Result<()> {
        whole("batch_norm", x, &self.picture())?;
        for channel in [by.mean, by.inverse, unbiased] {
            whole("batch_norm", channel, &[self.channels])?;
        }
        let parts = self.slices() * self.channels;
        let (means, squares) = (workspace.part(0, parts)?, workspace.part(parts, parts)?);
        let (batch, channels, pixels, pictures) = (self.batch, self.channels, self.pixels, self.pictures());
        let sums = arguments![x, means, squares, batch, channels, pixels, pictures, self.wide(&[Some(x)])];
        blocks(queue, "batch_norm_partial", [channels, self.slices()], BLOCK, sums)?;
        let finish = arguments![
            means,
            squares,
            by.mean,
            by.inverse,
            unbiased,
            batch,
            channels,
            pixels,
            pictures,
            self.slices(),
            eps
        ];
        each(queue, "batch_norm_finish", channels, finish)
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
    pub fn device_forward(
        &self,
        queue: &impl Launch,
        x: Span<f32>,
        by: Statistics,
        [weight, bias]: [Span<f32>; 2],
        residual: Option<Span<f32>>,
        relu: bool,
        y: Span<f32>,
    ) -> Result<()> {
        for picture in [Some(x), residual, Some(y)].into_iter().flatten() {
            whole("batch_norm", picture, &self.picture())?;
        }
        for channel in [by.mean, by.inverse, weight, bias] {
            whole("batch_norm", channel, &[self.channels])?;
        }
        let wide = self.wide(&[Some(x), residual, Some(y)]);
        let (channels, pixels, count) = (self.channels, self.pixels, self.len());
        let arguments = arguments![
            x, by.mean, by.inverse, weight, bias, residual, y, channels, pixels, count, relu, wide
        ];
        each(queue, "batch_norm_apply", count.div_ceil(if wide { 4 } else { 1 }), arguments)
    }

    /// The gradients, from that of the result; `y` is the result where a ReLU followed, `training` says whether the
    /// statistics are those of `x`.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn device_backward(
        &self,
        queue: &impl Launch,
        [grad, x]: [Span<f32>; 2],
        y: Option<Span<f32>>,
        by: Statistics,
        weight: Span<f32>,
        training: bool,
        gradients: Gradients,
        workspace: Span<f32>,
    ) -> Result<()> {
        let pictures = [Some(grad), Some(x), y, gradients.input, gradients.residual];
        for picture in pictures.into_iter().flatten() {
            whole("batch_norm", picture, &self.picture())?;
        }
        for channel in [by.mean, by.inverse, weight, gradients.weight, gradients.bias] {
            whole("batch_norm", channel, &[self.channels])?;
        }
        let (parts, channels) = (self.slices() * self.channels, self.channels);
        let (totals, aligned) = (workspace.part(0, parts)?, workspace.part(parts, parts)?);
        let shift = workspace.part(2 * parts, channels)?;
        let tilt = workspace.part(2 * parts + channels, channels)?;
        let (batch, pixels, wide) = (self.batch, self.pixels, self.wide(&pictures));
        let sums =
            arguments![grad, x, y, by.mean, totals, aligned, batch, channels, pixels, self.pictures(), wide];
        blocks(queue, "batch_norm_sums", [channels, self.slices()], BLOCK, sums)?;
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
            self.slices(),
            training
        ];
        each(queue, "batch_norm_sums_finish", channels, finish)?;
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
            shift,
            tilt,
            gradients.input,
            gradients.residual,
            channels,
            pixels,
            count,
            wide
        ];
        each(queue, "batch_norm_gradient", count.div_ceil(if wide { 4 } else { 1 }), gradient)
    }
}
