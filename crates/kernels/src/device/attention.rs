//! Multi-head attention between its matrix products: see [`crate::multi_head`].

use super::{BLOCK, BLOCKS, Fault, Launch, Result, Span, arguments, blocks, each, each_by_warp, whole};

/// Blocks that sum over a batch, about.
const SUMMING: usize = 512;

/// Sizes of an attention.
#[derive(Clone, Copy, Debug)]
pub struct Attention {
    /// Sequences.
    pub batch: usize,
    /// Tokens of each.
    pub tokens: usize,
    /// Heads.
    pub heads: usize,
    /// Channels of a head.
    pub width: usize,
}

/// Which way [`Attention::heads`] copies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From together to apart.
    Apart,
    /// From apart to together.
    Together,
}

impl Attention {
    fn scale(&self) -> f32 {
        (self.width as f32).sqrt().recip()
    }

    fn rows(&self) -> usize {
        self.batch * self.heads * self.tokens
    }

    fn scores(&self) -> [usize; 4] {
        [self.batch, self.heads, self.tokens, self.tokens]
    }

    /// Copies values that lie together, `[batch, tokens, parts, heads, width]`, such as queries, keys and values, from or to
    /// where the heads are apart, `[n, batch, heads, tokens, width]`: the `n` parts from `first` on.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn heads(
        &self,
        queue: &impl Launch,
        direction: Direction,
        (together, parts): (Span<f32>, usize),
        (apart, first): (Span<f32>, usize),
    ) -> Result<()> {
        let Self { batch, tokens, heads, width } = *self;
        let size = batch * tokens * heads * width;
        let count = apart.len() / size.max(1);
        whole("heads", together, &[batch, tokens, parts, heads, width])?;
        whole("heads", apart, &[count, batch, heads, tokens, width])?;
        if first + count > parts {
            return Err(Fault::new(format!("heads: parts {first} to {} of {parts}", first + count)));
        }
        let (from, to) = match direction {
            Direction::Apart => (together, apart),
            Direction::Together => (apart, together),
        };
        let to_apart = direction == Direction::Apart;
        let grid = [size.div_ceil(BLOCK as usize).min(BLOCKS), count];
        let arguments = arguments![from, to, batch, tokens, parts, first, heads, width, to_apart];
        blocks(queue, "heads_copy", grid, BLOCK, arguments)
    }

    /// `weights = softmax(scores / sqrt(width) + bias + mask)` over the last of `[batch, heads, tokens, tokens]`; `bias` is
    /// `[heads, tokens, tokens]`, `mask` `[windows, tokens, tokens]`, of which sequence `b` has number `b % windows`.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn softmax(
        &self,
        queue: &impl Launch,
        scores: Span<f32>,
        bias: Option<Span<f32>>,
        mask: Option<Span<f32>>,
        weights: Span<f32>,
    ) -> Result<()> {
        let Self { tokens, heads, .. } = *self;
        [scores, weights].into_iter().try_for_each(|span| whole("attention", span, &self.scores()))?;
        bias.map_or(Ok(()), |bias| whole("attention", bias, &[heads, tokens, tokens]))?;
        let windows = mask.map_or(1, |mask| mask.len() / (tokens * tokens).max(1));
        mask.map_or(Ok(()), |mask| whole("attention", mask, &[windows, tokens, tokens]))?;
        if windows == 0 {
            return Err(Fault::new("attention: a mask of no window"));
        }
        let rows = self.rows();
        let arguments = arguments![scores, bias, mask, weights, rows, tokens, heads, windows, self.scale()];
        each_by_warp(queue, "attention_softmax", rows, arguments)
    }

    /// The gradient of [`softmax`](Self::softmax) by the scores.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn softmax_backward(
        &self,
        queue: &impl Launch,
        weights: Span<f32>,
        dweights: Span<f32>,
        slopes: Span<f32>,
    ) -> Result<()> {
        for span in [weights, dweights, slopes] {
            whole("attention", span, &self.scores())?;
        }
        let arguments = arguments![weights, dweights, slopes, self.rows(), self.tokens, self.scale()];
        each_by_warp(queue, "attention_softmax_backward", self.rows(), arguments)
    }

    /// Elements of a bias.
    fn biases(&self) -> usize {
        self.heads * self.tokens * self.tokens
    }

    /// Sequences of a slice that one block sums over.
    fn per_slice(&self) -> usize {
        let slices = SUMMING / self.biases().div_ceil(BLOCK as usize).max(1);
        self.batch.div_ceil(slices.clamp(1, self.batch.max(1))).max(1)
    }

    fn slices(&self) -> usize {
        self.batch.div_ceil(self.per_slice())
    }

    /// Elements of working memory that [`bias`](Self::bias) needs.
    pub fn bias_workspace(&self) -> usize {
        self.slices() * self.biases()
    }

    /// The gradient of [`softmax`](Self::softmax) by the bias, from that by the scores.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn bias(
        &self,
        queue: &impl Launch,
        slopes: Span<f32>,
        dbias: Span<f32>,
        workspace: Span<f32>,
    ) -> Result<()> {
        whole("attention", slopes, &self.scores())?;
        whole("attention", dbias, &[self.heads, self.tokens, self.tokens])?;
        whole("attention", workspace, &[self.bias_workspace()])?;
        let (batch, count, slices) = (self.batch, self.biases(), self.slices());
        let grid = [count.div_ceil(BLOCK as usize), slices];
        let arguments = arguments![slopes, workspace, batch, count, self.per_slice()];
        blocks(queue, "attention_bias_partial", grid, BLOCK, arguments)?;
        let finish = arguments![workspace, dbias, count, slices, self.scale().recip()];
        each(queue, "attention_bias_finish", count, finish)
    }
}
