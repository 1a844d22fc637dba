//! Interpolation, average pooling and the softmax over maps: see [`crate::resize`].

use super::{Launch, Result, Span, arguments, each, whole};
use crate::resize::{Resize, Taps};

/// The tables of a map, to be copied to the device, and what a kernel has to know of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Starts, indices and weights (their bits) of the rows, then of the columns.
    pub words: Vec<u32>,
    input: [usize; 2],
    output: [usize; 2],
    entries: [usize; 2],
}

/// Which input counts how much for each output of an axis.
type Entries = Vec<Vec<(u32, f32)>>;

fn forward_entries(taps: &Taps) -> Entries {
    let of =
        |i| taps.of(i).filter(|(_, weight)| *weight != 0.0).map(|(j, weight)| (j as u32, weight)).collect();
    (0..taps.output()).map(of).collect()
}

fn adjoint_entries(taps: &Taps) -> Entries {
    let mut entries = vec![Vec::new(); taps.input()];
    for i in 0..taps.output() {
        taps.of(i)
            .filter(|(_, weight)| *weight != 0.0)
            .for_each(|(j, weight)| entries[j].push((i as u32, weight)));
    }
    entries
}

impl Table {
    /// The table of a map.
    pub fn forward(resize: &Resize) -> Self {
        let entries = [forward_entries(&resize.rows), forward_entries(&resize.columns)];
        Self::new([resize.rows.input(), resize.columns.input()], &entries)
    }

    /// The table of its adjoint, which is its gradient.
    pub fn adjoint(resize: &Resize) -> Self {
        let entries = [adjoint_entries(&resize.rows), adjoint_entries(&resize.columns)];
        Self::new([resize.rows.output(), resize.columns.output()], &entries)
    }

    fn new(input: [usize; 2], axes: &[Entries; 2]) -> Self {
        let mut words = Vec::new();
        for axis in axes {
            let mut start = 0;
            words.push(0);
            for entries in axis {
                start += entries.len() as u32;
                words.push(start);
            }
            words.extend(axis.iter().flatten().map(|(index, _)| index));
            words.extend(axis.iter().flatten().map(|(_, weight)| weight.to_bits()));
        }
        let of = |f: fn(&Entries) -> usize| [f(&axes[0]), f(&axes[1])];
        Self { words, input, output: of(Vec::len), entries: of(|axis| axis.iter().map(Vec::len).sum()) }
    }

    /// Resizes `maps` maps `[height, width]` of `x` to those of `y`; `table` has this table's words.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn apply(
        &self,
        queue: &impl Launch,
        table: Span<u32>,
        maps: usize,
        x: Span<f32>,
        y: Span<f32>,
    ) -> Result<()> {
        let ([height, width], [rows, columns]) = (self.input, self.output);
        whole("resize", table, &[self.words.len()])?;
        whole("resize", x, &[maps, height, width])?;
        whole("resize", y, &[maps, rows, columns])?;
        let [row_entries, column_entries] = self.entries;
        let arguments =
            arguments![x, y, table, maps, height, width, rows, columns, row_entries, column_entries];
        each(queue, "resize", y.len(), arguments)
    }

    /// As [`apply`](Self::apply), then the softmax over the `count` maps of each sample.
    ///
    /// # Errors
    /// If a buffer has the wrong length.
    pub fn apply_softmax(
        &self,
        queue: &impl Launch,
        table: Span<u32>,
        [samples, count]: [usize; 2],
        x: Span<f32>,
        y: Span<f32>,
    ) -> Result<()> {
        let ([height, width], [rows, columns]) = (self.input, self.output);
        whole("resize_softmax", table, &[self.words.len()])?;
        whole("resize_softmax", x, &[samples, count, height, width])?;
        whole("resize_softmax", y, &[samples, count, rows, columns])?;
        let [row_entries, column_entries] = self.entries;
        let arguments = arguments![
            x,
            y,
            table,
            samples,
            count,
            height,
            width,
            rows,
            columns,
            row_entries,
            column_entries
        ];
        each(queue, "resize_softmax", samples * rows * columns, arguments)
    }
}

/// The gradient of a softmax over the `count` maps of `area` pixels of each sample, from its result `y`.
///
/// # Errors
/// If a buffer has the wrong length.
pub fn map_softmax_backward(
    queue: &impl Launch,
    [samples, count, area]: [usize; 3],
    y: Span<f32>,
    dy: Span<f32>,
    dx: Span<f32>,
) -> Result<()> {
    for map in [y, dy, dx] {
        whole("map_softmax", map, &[samples, count, area])?;
    }
    each(queue, "map_softmax_backward", samples * area, arguments![y, dy, dx, samples, count, area])
}
