//! Layer normalisation of rows: see [`crate::layer_norm`].

use super::{BLOCK, Launch, Result, Span, arguments, blocks, each, each_by_warp, slices, whole};

/// Rows of one width.
#[derive(Clone, Copy, Debug)]
pub struct LayerNorm {
    /// How many.
    pub rows: usize,
    /// Elements of each.
    pub width: usize,
}

/// What [`LayerNorm::forward`] leaves for the gradients, `[rows]` each.
#[derive(Clone, Copy, Debug)]
pub struct Moments {
    /// Means.
    pub mean: Span<f32>,
    /// Inverse deviations.
    pub inverse: Span<f32>,
}

impl LayerNorm {
    /// Elements of working memory that [`backward_parameters`](Self::backward_parameters) needs.
    pub fn workspace(&self) -> usize {
        2 * slices(self.rows) * self.width
    }

    fn check(&self, rows: &[Span<f32>], columns: &[Span<f32>], moments: Moments) -> Result<()> {
        rows.iter().try_for_each(|&span| whole("layer_norm", span, &[self.rows, self.width]))?;
        columns.iter().try_for_each(|&span| whole("layer_norm", span, &[self.width]))?;
        whole("layer_norm", moments.mean, &[self.rows])?;
        whole("layer_norm", moments.inverse, &[self.rows])
    }

    /// `y = (x - mean) / sqrt(variance + eps) · weight + bias` for each row.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn forward(
        &self,
        queue: &impl Launch,
        x: Span<f32>,
        [weight, bias]: [Span<f32>; 2],
        eps: f32,
        y: Span<f32>,
        moments: Moments,
    ) -> Result<()> {
        self.check(&[x, y], &[weight, bias], moments)?;
        let (mean, inverse, rows, width) = (moments.mean, moments.inverse, self.rows, self.width);
        let arguments = arguments![x, weight, bias, y, mean, inverse, rows, width, eps];
        each_by_warp(queue, "layer_norm_forward", rows, arguments)
    }

    /// The gradient by the input.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn backward_input(
        &self,
        queue: &impl Launch,
        x: Span<f32>,
        weight: Span<f32>,
        moments: Moments,
        dy: Span<f32>,
        dx: Span<f32>,
    ) -> Result<()> {
        self.check(&[x, dy, dx], &[weight], moments)?;
        let (mean, inverse, rows, width) = (moments.mean, moments.inverse, self.rows, self.width);
        let arguments = arguments![x, weight, mean, inverse, dy, dx, rows, width];
        each_by_warp(queue, "layer_norm_backward_input", rows, arguments)
    }

    /// The gradients by weight and bias.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn backward_parameters(
        &self,
        queue: &impl Launch,
        x: Span<f32>,
        moments: Moments,
        dy: Span<f32>,
        [by_weight, by_bias]: [Span<f32>; 2],
        workspace: Span<f32>,
    ) -> Result<()> {
        self.check(&[x, dy], &[by_weight, by_bias], moments)?;
        let (mean, inverse, rows, width, slices) =
            (moments.mean, moments.inverse, self.rows, self.width, slices(self.rows));
        let parts = workspace.part(0, self.workspace())?;
        let per_slice = rows.div_ceil(slices);
        let arguments = arguments![x, mean, inverse, dy, parts, rows, width, per_slice, slices];
        let grid = [width.div_ceil(BLOCK as usize), slices];
        blocks(queue, "layer_norm_backward_partial", grid, BLOCK, arguments)?;
        each(queue, "layer_norm_backward_finish", width, arguments![parts, by_weight, by_bias, width, slices])
    }
}
