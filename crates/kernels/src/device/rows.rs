//! Rows of channels: residual branches ([`crate::residual`]), biases, and sums over rows.

use super::{BLOCK, Launch, Result, Span, arguments, blocks, each, slices, whole};

/// Rows of one width.
#[derive(Clone, Copy, Debug)]
pub struct Rows {
    /// How many.
    pub rows: usize,
    /// Elements of each.
    pub width: usize,
}

/// Adds to each element of `y` `[.., C, inner]` the `bias` `[C]` of its channel: in rows `inner` is 1, in maps the number of
/// pixels.
///
/// # Errors
/// If `y` isn't made of whole channels.
pub fn add_bias(queue: &impl Launch, y: Span<f32>, bias: Span<f32>, inner: usize) -> Result<()> {
    let outer = y.len() / (bias.len() * inner).max(1);
    whole("add_bias", y, &[outer, bias.len(), inner])?;
    each(queue, "add_bias", y.len(), arguments![y, bias, y.len(), bias.len(), inner])
}

/// What rows are multiplied by.
#[derive(Clone, Copy, Debug)]
pub struct Factors {
    /// For each element of a row.
    pub channels: Option<Span<f32>>,
    /// For each sample, which are as many rows each.
    pub samples: Option<Span<f32>>,
}

impl Rows {
    /// Elements of working memory that [`column_sums`](Self::column_sums) needs.
    pub fn workspace(&self) -> usize {
        slices(self.rows) * self.width
    }

    fn check(&self, spans: &[Span<f32>]) -> Result<()> {
        spans.iter().try_for_each(|&span| whole("rows", span, &[self.rows, self.width]))
    }

    /// Rows of a sample.
    fn per_sample(&self, samples: Option<Span<f32>>) -> Result<usize> {
        let Some(samples) = samples else { return Ok(self.rows) };
        let each = self.rows / samples.len().max(1);
        whole("rows", samples, &[self.rows / each.max(1)])?;
        Ok(each)
    }

    /// `y = x + channels · samples · branch`; without `x`, the gradient by the branch from that by `y`.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn residual(
        &self,
        queue: &impl Launch,
        x: Option<Span<f32>>,
        branch: Span<f32>,
        factors: Factors,
        y: Span<f32>,
    ) -> Result<()> {
        self.check(&[x.unwrap_or(branch), branch, y])?;
        factors.channels.map_or(Ok(()), |channels| whole("rows", channels, &[self.width]))?;
        let Factors { channels, samples } = factors;
        let per_sample = self.per_sample(samples)? * self.width;
        let arguments = arguments![x, branch, channels, samples, y, y.len(), self.width, per_sample];
        each(queue, "residual", y.len(), arguments)
    }

    /// The sums over all rows of `samples · x · dy`, `[width]`: the gradient by the factors of channels; without `x` and
    /// samples that by a bias.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn column_sums(
        &self,
        queue: &impl Launch,
        x: Option<Span<f32>>,
        samples: Option<Span<f32>>,
        dy: Span<f32>,
        sums: Span<f32>,
        workspace: Span<f32>,
    ) -> Result<()> {
        self.check(&[x.unwrap_or(dy), dy])?;
        whole("rows", sums, &[self.width])?;
        let (parts, slices) = (workspace.part(0, self.workspace())?, slices(self.rows));
        let (per_sample, per_slice) = (self.per_sample(samples)?, self.rows.div_ceil(slices));
        let arguments = arguments![x, samples, dy, parts, self.rows, self.width, per_sample, per_slice];
        let grid = [self.width.div_ceil(BLOCK as usize), slices];
        blocks(queue, "column_sums_partial", grid, BLOCK, arguments)?;
        each(queue, "column_sums_finish", self.width, arguments![parts, sums, self.width, slices])
    }
}
