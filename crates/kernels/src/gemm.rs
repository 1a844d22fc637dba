//! The two matrix products behind every convolution, for operands that are gathered rather than copied.
//!
//! Both run over tiles of a few rows by half a panel, kept in vector registers; a panel is [`PANEL`] columns. Every
//! output element is one sum in the order of its terms, so neither the tile nor the vector width changes a result.

use pulp::{Arch, Simd, WithSimd};

/// Columns of a panel: the right-hand operand is stored panel by panel, each `[depth, PANEL]`.
pub const PANEL: usize = 32;

/// Rows of a tile at most; [`Outer`] reads as many elements of a left-hand row at once.
pub const STEP: usize = 8;

/// Elements that fill half of a core's second-level cache: what is read again and again should be no more.
pub const CACHED: usize = 1 << 17;

/// `n` rounded up to whole panels.
pub fn padded(n: usize) -> usize {
    n.next_multiple_of(PANEL)
}

/// Rows of the left-hand operand that a product reads, and where its results go.
pub struct Rows<'a> {
    /// The left-hand buffer.
    pub a: &'a [f32],
    /// Where row `i` of the left-hand operand starts in `a`.
    pub a_offsets: &'a [usize],
    /// Added to a row's start, in order: the row is the concatenation of `depth` elements at each tap.
    pub taps: &'a [usize],
    /// Elements at each tap.
    pub depth: usize,
    /// The right-hand operand, `[ceil(columns / PANEL)][taps * depth][PANEL]`.
    pub panels: &'a [f32],
    /// Columns of the result.
    pub columns: usize,
    /// Where row `i` of the result starts in the output.
    pub c_offsets: &'a [usize],
}

impl Rows<'_> {
    /// `out[c_offsets[i] + j] = Σ_t Σ_p a[a_offsets[i] + taps[t] + p] · panels[j / PANEL][t · depth + p][j % PANEL]`
    ///
    /// # Panics
    /// If an operand is shorter than its offsets say.
    pub fn multiply_into(&self, out: &mut [f32]) {
        if self.a_offsets.is_empty() {
            return;
        }
        let last = |offsets: &[usize]| offsets.iter().copied().max().unwrap_or(0);
        assert_eq!(self.a_offsets.len(), self.c_offsets.len());
        assert!(last(self.a_offsets) + last(self.taps) + self.depth <= self.a.len());
        assert!(last(self.c_offsets) + self.columns <= out.len());
        assert!(self.panels.len() >= padded(self.columns) * self.taps.len() * self.depth);
        Arch::new().dispatch(RowProduct { rows: self, out });
    }
}

struct RowProduct<'a, 'b> {
    rows: &'b Rows<'a>,
    out: &'b mut [f32],
}

impl WithSimd for RowProduct<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        // 8 x 2 sums, 2 columns and a broadcast fit 32 registers; 6 x 2 fit 16.
        if S::REGISTER_COUNT >= 32 {
            multiply_rows::<S, 8>(simd, self.rows, self.out);
        } else {
            multiply_rows::<S, 6>(simd, self.rows, self.out);
        }
    }
}

/// Rows of a panel that are used before the next pixels are visited: they stay in the first-level cache.
const BLOCK: usize = 128;

#[inline(always)]
fn multiply_rows<S: Simd, const MR: usize>(simd: S, rows: &Rows<'_>, out: &mut [f32]) {
    let depth = rows.taps.len() * rows.depth;
    for (panel, columns) in (0..rows.columns).step_by(PANEL).enumerate() {
        let panel = &rows.panels[panel * depth * PANEL..(panel + 1) * depth * PANEL];
        let valid = PANEL.min(rows.columns - columns);
        let mut done = 0;
        for block in blocks(rows) {
            let length: usize = block.iter().map(|&(_, length)| length).sum();
            let panel = &panel[done * PANEL..(done + length) * PANEL];
            let columns = columns..columns + valid;
            // Half of a tile would be thrown away where one vector holds all columns.
            if valid <= S::F32_LANES {
                multiply_block::<S, MR, 1>(simd, rows, &block, panel, columns, done > 0, out);
            } else {
                multiply_block::<S, MR, 2>(simd, rows, &block, panel, columns, done > 0, out);
            }
            done += length;
        }
    }
}

/// The elements of a left-hand row as stretches `(offset, length)`, in blocks of at most [`BLOCK`] elements.
fn blocks(rows: &Rows<'_>) -> Vec<Vec<(usize, usize)>> {
    let (mut blocks, mut block, mut room) = (Vec::new(), Vec::new(), BLOCK);
    for &tap in rows.taps {
        let mut from = 0;
        while from < rows.depth {
            let length = room.min(rows.depth - from);
            block.push((tap + from, length));
            from += length;
            room -= length;
            if room == 0 {
                blocks.push(std::mem::take(&mut block));
                room = BLOCK;
            }
        }
    }
    if !block.is_empty() {
        blocks.push(block);
    }
    blocks
}

#[inline(always)]
fn multiply_block<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    rows: &Rows<'_>,
    block: &[(usize, usize)],
    panel: &[f32],
    columns: std::ops::Range<usize>,
    add: bool,
    out: &mut [f32],
) {
    let (count, width) = (rows.a_offsets.len(), NV * S::F32_LANES);
    for first in (0..count).step_by(MR) {
        let here = MR.min(count - first);
        let mut a = [rows.a.as_ptr(); MR];
        for i in 0..MR {
            // Past the end the last row is computed again, and not stored.
            a[i] = rows.a[rows.a_offsets[first + i.min(here - 1)]..].as_ptr();
        }
        for column in columns.clone().step_by(width) {
            let stored = width.min(columns.end - column);
            let mut sums = [[simd.splat_f32s(0.0); NV]; MR];
            if add {
                for i in 0..here {
                    sums[i] = load(simd, &out[rows.c_offsets[first + i] + column..][..stored]);
                }
            }
            // SAFETY: `multiply_into` has checked that every row, tap and panel lies in its buffer.
            unsafe {
                row_tile::<S, MR, NV>(simd, &a, block, panel[column - columns.start..].as_ptr(), &mut sums);
            };
            for i in 0..here {
                store(simd, &sums[i], &mut out[rows.c_offsets[first + i] + column..][..stored]);
            }
        }
    }
}

/// Adds the products of a block to a tile; `b` points at the first column of the tile in its panel.
#[inline(always)]
unsafe fn row_tile<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    a: &[*const f32; MR],
    block: &[(usize, usize)],
    mut b: *const f32,
    sums: &mut [[S::f32s; NV]; MR],
) {
    let mut tile = *sums;
    for &(from, length) in block {
        for p in from..from + length {
            // SAFETY: the caller vouches for rows, taps and panel.
            unsafe {
                let mut columns = [simd.splat_f32s(0.0); NV];
                for j in 0..NV {
                    columns[j] = b.add(j * S::F32_LANES).cast::<S::f32s>().read_unaligned();
                }
                for i in 0..MR {
                    let x = simd.splat_f32s(*a[i].add(p));
                    for j in 0..NV {
                        tile[i][j] = simd.mul_add_f32s(x, columns[j], tile[i][j]);
                    }
                }
                b = b.add(PANEL);
            }
        }
    }
    *sums = tile;
}

/// Pairs of pixels (or tiles) over which an outer product is summed.
pub struct Outer<'a> {
    /// The left-hand buffer; its columns become the rows of the result.
    pub a: &'a [f32],
    /// The right-hand buffer; its columns become the columns of the result.
    pub b: &'a [f32],
    /// Where a run of pairs starts in `a` and in `b`.
    pub runs: &'a [(usize, usize)],
    /// Pairs of a run.
    pub count: usize,
    /// Distance between the pairs of a run in `a` and in `b`.
    pub strides: (usize, usize),
    /// Rows of the result.
    pub rows: usize,
    /// Columns of the result that count, at most [`PANEL`]; what stands beyond them is arbitrary.
    pub columns: usize,
}

impl Outer<'_> {
    /// `out[i][j] += Σ_run Σ_p a[run.0 + p · strides.0 + i] · b[run.1 + p · strides.1 + j]`, with `out` `[rows, PANEL]`.
    ///
    /// Reads up to 8 elements of `a` and [`PANEL`] of `b` at each pair, however many rows and columns count.
    ///
    /// # Panics
    /// If a buffer is shorter than the runs say.
    pub fn accumulate_into(&self, out: &mut [f32]) {
        if self.count == 0 || self.runs.is_empty() {
            return;
        }
        let far = |pick: fn(&(usize, usize)) -> usize| self.runs.iter().map(pick).max().unwrap_or(0);
        let reach = self.rows.next_multiple_of(8);
        assert!(far(|r| r.0) + (self.count - 1) * self.strides.0 + reach <= self.a.len());
        assert!(far(|r| r.1) + (self.count - 1) * self.strides.1 + PANEL <= self.b.len());
        assert_eq!(out.len(), self.rows * PANEL);
        Arch::new().dispatch(OuterProduct { outer: self, out });
    }
}

struct OuterProduct<'a, 'b> {
    outer: &'b Outer<'a>,
    out: &'b mut [f32],
}

impl WithSimd for OuterProduct<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if S::REGISTER_COUNT >= 32 {
            accumulate_outer::<S, 8>(simd, self.outer, self.out);
        } else {
            accumulate_outer::<S, 4>(simd, self.outer, self.out);
        }
    }
}

#[inline(always)]
fn accumulate_outer<S: Simd, const MR: usize>(simd: S, outer: &Outer<'_>, out: &mut [f32]) {
    // As many pairs as keep their right-hand sides in the first-level cache are used by all rows in turn.
    let runs = (BLOCK / outer.count).max(1);
    for runs in outer.runs.chunks(runs) {
        for start in (0..outer.count).step_by(BLOCK) {
            let count = BLOCK.min(outer.count - start);
            let shift = (start * outer.strides.0, start * outer.strides.1);
            for row in (0..outer.rows).step_by(MR) {
                if outer.columns <= S::F32_LANES {
                    accumulate_rows::<S, MR, 1>(simd, outer, runs, shift, count, row, out);
                } else {
                    accumulate_rows::<S, MR, 2>(simd, outer, runs, shift, count, row, out);
                }
            }
        }
    }
}

#[inline(always)]
fn accumulate_rows<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    outer: &Outer<'_>,
    runs: &[(usize, usize)],
    shift: (usize, usize),
    count: usize,
    row: usize,
    out: &mut [f32],
) {
    let (here, width) = (MR.min(outer.rows - row), NV * S::F32_LANES);
    for column in (0..outer.columns.min(PANEL)).step_by(width) {
        let mut sums = [[simd.splat_f32s(0.0); NV]; MR];
        for i in 0..here {
            sums[i] = load(simd, &out[(row + i) * PANEL + column..][..width]);
        }
        for &(a, b) in runs {
            // SAFETY: `accumulate_into` has checked that all pairs of all runs lie in the buffers.
            unsafe {
                let (a, b) =
                    (outer.a.as_ptr().add(a + shift.0 + row), outer.b.as_ptr().add(b + shift.1 + column));
                outer_run::<S, MR, NV>(simd, &mut sums, a, b, count, outer.strides);
            }
        }
        for i in 0..here {
            store(simd, &sums[i], &mut out[(row + i) * PANEL + column..][..width]);
        }
    }
}

#[inline(always)]
unsafe fn outer_run<S: Simd, const MR: usize, const NV: usize>(
    simd: S,
    sums: &mut [[S::f32s; NV]; MR],
    mut a: *const f32,
    mut b: *const f32,
    count: usize,
    strides: (usize, usize),
) {
    let mut tile = *sums;
    for p in 0..count {
        // SAFETY: the caller vouches for `count` pairs; the pointers advance only between them.
        unsafe {
            let mut columns = [simd.splat_f32s(0.0); NV];
            for j in 0..NV {
                columns[j] = b.add(j * S::F32_LANES).cast::<S::f32s>().read_unaligned();
            }
            for i in 0..MR {
                let x = simd.splat_f32s(*a.add(i));
                for j in 0..NV {
                    tile[i][j] = simd.mul_add_f32s(x, columns[j], tile[i][j]);
                }
            }
            if p + 1 < count {
                a = a.add(strides.0);
                b = b.add(strides.1);
            }
        }
    }
    *sums = tile;
}

#[inline(always)]
fn load<S: Simd, const NV: usize>(simd: S, from: &[f32]) -> [S::f32s; NV] {
    let mut tile = [simd.splat_f32s(0.0); NV];
    // Whole tiles are the rule, and masked loads are calls.
    if from.len() == NV * S::F32_LANES {
        tile.copy_from_slice(S::as_simd_f32s(from).0);
        return tile;
    }
    for j in 0..NV {
        let from = &from[(j * S::F32_LANES).min(from.len())..];
        tile[j] = simd.partial_load_f32s(&from[..S::F32_LANES.min(from.len())]);
    }
    tile
}

#[inline(always)]
fn store<S: Simd, const NV: usize>(simd: S, tile: &[S::f32s; NV], to: &mut [f32]) {
    let length = to.len();
    if length == NV * S::F32_LANES {
        S::as_mut_simd_f32s(to).0.copy_from_slice(tile);
        return;
    }
    for j in 0..NV {
        let to = &mut to[(j * S::F32_LANES).min(length)..((j + 1) * S::F32_LANES).min(length)];
        simd.partial_store_f32s(to, tile[j]);
    }
}
