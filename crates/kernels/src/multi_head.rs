//! Multi-head self-attention over short sequences: the windows of Swin, the tokens of a vision transformer.
//!
//! A sequence of `T` tokens is `[T, 3 C]`: queries, keys and values, each of `heads` heads of `width` channels. One head's
//! scores fit the cache, so they are never written out; the backward pass computes them again.

use crate::gemm::{Outer, PANEL, Rows, padded};
use crate::reduce::{add_scaled, dot, exp, max, sum, vectorised};
use crate::scratch::{self, Scratch};
use rayon::prelude::*;

/// The shape of an attention.
#[derive(Clone, Copy, Debug)]
pub struct MultiHead<'a> {
    /// Heads.
    pub heads: usize,
    /// Tokens of a sequence.
    pub tokens: usize,
    /// Channels of a head.
    pub width: usize,
    /// Added to the scores of every head, `[W, T, T]`; sequence `b` takes the one at `b % W`.
    pub mask: Option<&'a [f32]>,
}

/// Tasks that a batch is split into at most; also how the sums over sequences are grouped.
const TASKS: usize = 32;

impl MultiHead<'_> {
    fn channels(&self) -> usize {
        self.heads * self.width
    }

    fn scale(&self) -> f32 {
        (self.width as f32).sqrt().recip()
    }

    /// Sequences of one task.
    fn share(&self, sequences: usize) -> usize {
        sequences.div_ceil(TASKS).max(1)
    }

    /// The mask of a sequence.
    fn mask_of(&self, sequence: usize) -> Option<&[f32]> {
        let size = self.tokens * self.tokens;
        self.mask.map(|mask| &mask[sequence % (mask.len() / size) * size..][..size])
    }

    /// `y` `[B, T, C]` of `qkv` `[B, T, 3 C]`; `bias` `[heads, T, T]` is added to the scaled scores.
    pub fn forward(&self, qkv: &[f32], bias: Option<&[f32]>, y: &mut [f32]) {
        let (channels, tokens) = (self.channels(), self.tokens);
        let size = tokens * channels;
        let share = self.share(y.len() / size);
        y.par_chunks_mut(share * size).enumerate().for_each(|(task, y)| {
            let mut work = Head::new(self);
            for (i, y) in y.chunks_mut(size).enumerate() {
                let sequence = task * share + i;
                let qkv = &qkv[sequence * 3 * size..][..3 * size];
                for head in 0..self.heads {
                    work.attend(self, qkv, head, bias, self.mask_of(sequence));
                    gather(&mut work.values, qkv, 2 * channels + head * self.width, self);
                    let starts: Vec<usize> = (0..tokens).map(|t| t * channels + head * self.width).collect();
                    work.product(&work.scores, &work.rows, tokens, &work.values, self.width, &starts, y);
                }
            }
        });
    }

    /// The gradients `dqkv`, which is overwritten, and `dbias`, if there is a bias, from `dy`.
    pub fn backward(
        &self,
        qkv: &[f32],
        bias: Option<&[f32]>,
        dy: &[f32],
        dqkv: &mut [f32],
    ) -> Option<Vec<f32>> {
        let size = self.tokens * self.channels();
        let share = self.share(dy.len() / size);
        let parts: Vec<Option<Vec<f32>>> = dqkv
            .par_chunks_mut(share * 3 * size)
            .enumerate()
            .map(|(task, dqkv)| {
                let mut work = Head::new(self);
                let mut dbias = bias.map(|bias| vec![0.0; bias.len()]);
                for (i, dqkv) in dqkv.chunks_mut(3 * size).enumerate() {
                    let sequence = task * share + i;
                    let (qkv, dy) = (&qkv[sequence * 3 * size..][..3 * size], &dy[sequence * size..][..size]);
                    for head in 0..self.heads {
                        work.attend(self, qkv, head, bias, self.mask_of(sequence));
                        work.backward(self, qkv, head, dy, dqkv, dbias.as_deref_mut());
                    }
                }
                dbias
            })
            .collect();
        let mut parts = parts.into_iter().flatten();
        let mut total = parts.next()?;
        parts.for_each(|part| add_scaled(&mut total, 1.0, &part));
        Some(total)
    }
}

/// Copies one head's channels at `offset` of every token to panels, `[panels of channels, T, PANEL]`, padded with zeros.
fn gather(panels: &mut [f32], tokens: &[f32], offset: usize, spec: &MultiHead<'_>) {
    let stride = tokens.len() / spec.tokens;
    for (panel, rows) in panels.chunks_mut(spec.tokens * PANEL).enumerate() {
        let from = offset + panel * PANEL;
        let count = PANEL.min(spec.width - panel * PANEL);
        for (row, token) in rows.chunks_mut(PANEL).zip(tokens.chunks(stride)) {
            row[..count].copy_from_slice(&token[from..from + count]);
            row[count..].fill(0.0);
        }
    }
}

/// The same transposed: `[panels of tokens, channels, PANEL]`.
fn gather_transposed(panels: &mut [f32], tokens: &[f32], offset: usize, spec: &MultiHead<'_>) {
    let stride = tokens.len() / spec.tokens;
    for (panel, block) in panels.chunks_mut(spec.width * PANEL).enumerate() {
        for lane in 0..PANEL {
            let token = panel * PANEL + lane;
            for channel in 0..spec.width {
                block[channel * PANEL + lane] =
                    if token < spec.tokens { tokens[token * stride + offset + channel] } else { 0.0 };
            }
        }
    }
}

/// The working memory of one head of one sequence.
struct Head {
    /// Attention, `[T, padded T]`.
    scores: Scratch,
    /// Gradient of the scores, alike.
    dscores: Scratch,
    /// Keys or values, transposed.
    transposed: Scratch,
    /// Values, or keys, as panels.
    values: Scratch,
    /// Queries, or gradients of the result, as panels.
    queries: Scratch,
    /// Sums of outer products, `[T, PANEL]`.
    outer: Scratch,
    /// Where the rows of the scores start.
    rows: Vec<usize>,
}

impl Head {
    fn new(spec: &MultiHead<'_>) -> Self {
        let (tokens, columns) = (spec.tokens, padded(spec.tokens));
        let panels = padded(spec.width) * tokens;
        Self {
            scores: scratch::take(tokens * columns),
            dscores: scratch::take(tokens * columns),
            transposed: scratch::take(columns * spec.width),
            values: scratch::take(panels),
            queries: scratch::take(panels),
            outer: scratch::take(tokens * PANEL),
            rows: (0..tokens).map(|row| row * columns).collect(),
        }
    }

    /// `out[to[i] + j] = Σ_p a[from[i] + p] · panels[p][j]`
    fn product(
        &self,
        a: &[f32],
        from: &[usize],
        depth: usize,
        panels: &[f32],
        columns: usize,
        to: &[usize],
        out: &mut [f32],
    ) {
        Rows { a, a_offsets: from, taps: &[0], depth, panels, columns, c_offsets: to }.multiply_into(out);
    }

    /// Where a head's channels at `offset` start in each token of `stride` elements.
    fn starts(tokens: usize, stride: usize, offset: usize) -> Vec<usize> {
        (0..tokens).map(|token| token * stride + offset).collect()
    }

    /// The attention of one head.
    fn attend(
        &mut self,
        spec: &MultiHead<'_>,
        qkv: &[f32],
        head: usize,
        bias: Option<&[f32]>,
        mask: Option<&[f32]>,
    ) {
        let (tokens, channels) = (spec.tokens, spec.channels());
        gather_transposed(&mut self.transposed, qkv, channels + head * spec.width, spec);
        let queries = Self::starts(tokens, 3 * channels, head * spec.width);
        let mut scores = std::mem::replace(&mut self.scores, scratch::take(0));
        self.product(qkv, &queries, spec.width, &self.transposed, tokens, &self.rows, &mut scores);
        let (scale, columns) = (spec.scale(), padded(tokens));
        vectorised(
            #[inline(always)]
            || {
                for (i, row) in scores.chunks_mut(columns).enumerate() {
                    let row = &mut row[..tokens];
                    row.iter_mut().for_each(|x| *x *= scale);
                    if let Some(bias) = bias {
                        add_scaled(row, 1.0, &bias[(head * tokens + i) * tokens..][..tokens]);
                    }
                    if let Some(mask) = mask {
                        add_scaled(row, 1.0, &mask[i * tokens..][..tokens]);
                    }
                    let top = max(row);
                    row.iter_mut().for_each(|x| *x = exp(*x - top));
                    let inverse = sum(row).recip();
                    row.iter_mut().for_each(|x| *x *= inverse);
                }
            },
        );
        self.scores = scores;
    }

    /// The gradients of one head, whose attention is in `scores`.
    fn backward(
        &mut self,
        spec: &MultiHead<'_>,
        qkv: &[f32],
        head: usize,
        dy: &[f32],
        dqkv: &mut [f32],
        dbias: Option<&mut [f32]>,
    ) {
        let (tokens, channels, offset) = (spec.tokens, spec.channels(), head * spec.width);
        // Of the attention: dP = dO Vᵀ.
        gather_transposed(&mut self.transposed, qkv, 2 * channels + offset, spec);
        let mut dscores = std::mem::replace(&mut self.dscores, scratch::take(0));
        let results = Self::starts(tokens, channels, offset);
        self.product(dy, &results, spec.width, &self.transposed, tokens, &self.rows, &mut dscores);
        // Of the values: dV = Pᵀ dO.
        gather(&mut self.queries, dy, offset, spec);
        self.transposed_product(spec, false, &dscores, 2 * channels + offset, dqkv);
        self.softmax_backward(spec, head, &mut dscores, dbias);
        // Of queries and keys: dQ = dS K, dK = dSᵀ Q.
        gather(&mut self.values, qkv, channels + offset, spec);
        let queries = Self::starts(tokens, 3 * channels, offset);
        self.product(&dscores, &self.rows, tokens, &self.values, spec.width, &queries, dqkv);
        gather(&mut self.queries, qkv, offset, spec);
        self.transposed_product(spec, true, &dscores, channels + offset, dqkv);
        self.dscores = dscores;
    }

    /// Turns the gradient of the attention into that of the products of queries and keys, and notes that of the bias.
    fn softmax_backward(
        &self,
        spec: &MultiHead<'_>,
        head: usize,
        dscores: &mut [f32],
        mut dbias: Option<&mut [f32]>,
    ) {
        let (tokens, columns, scale) = (spec.tokens, padded(spec.tokens), spec.scale());
        vectorised(
            #[inline(always)]
            || {
                let rows = dscores.chunks_mut(columns).zip(self.scores.chunks(columns)).enumerate();
                for (i, (drow, row)) in rows {
                    let (drow, row) = (&mut drow[..tokens], &row[..tokens]);
                    let along = dot(drow, row);
                    drow.iter_mut().zip(row).for_each(|(d, p)| *d = p * (*d - along));
                    if let Some(dbias) = dbias.as_deref_mut() {
                        add_scaled(&mut dbias[(head * tokens + i) * tokens..][..tokens], 1.0, drow);
                    }
                    drow.iter_mut().for_each(|d| *d *= scale);
                }
            },
        );
    }

    /// `Sᵀ · queries` to the channels at `offset` of every token of `dqkv`, for the scores or their gradient.
    fn transposed_product(
        &mut self,
        spec: &MultiHead<'_>,
        of_gradient: bool,
        dscores: &[f32],
        offset: usize,
        dqkv: &mut [f32],
    ) {
        let (tokens, stride) = (spec.tokens, 3 * spec.channels());
        for panel in 0..spec.width.div_ceil(PANEL) {
            let columns = PANEL.min(spec.width - panel * PANEL);
            self.outer.fill(0.0);
            Outer {
                a: if of_gradient { dscores } else { &self.scores },
                b: &self.queries,
                runs: &[(0, panel * tokens * PANEL)],
                count: tokens,
                strides: (padded(tokens), PANEL),
                rows: tokens,
                columns,
            }
            .accumulate_into(&mut self.outer);
            for (token, row) in self.outer.chunks(PANEL).enumerate() {
                dqkv[token * stride + offset + panel * PANEL..][..columns].copy_from_slice(&row[..columns]);
            }
        }
    }
}
