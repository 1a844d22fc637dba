//! Moving elements without computing: rows in another order, matrices transposed.

use rayon::prelude::*;

/// Elements that one task writes, roughly.
const TASK: usize = 1 << 14;
/// Side of the squares in which a matrix is transposed: both sides of a square stay in the first-level cache.
const TILE: usize = 32;

/// Of each sequence `[source.len(), width]` of `x`, row `i` of `y` is row `source[i]`.
///
/// # Panics
/// If a row isn't there, or the buffers aren't whole sequences of equal number.
pub fn reorder(x: &[f32], source: &[u32], width: usize, y: &mut [f32]) {
    let rows = source.len();
    assert!(x.len() == y.len() && x.len().is_multiple_of(rows * width));
    let share = (TASK / width).max(1);
    y.par_chunks_mut(share * width).enumerate().for_each(|(task, y)| {
        for (row, y) in (task * share..).zip(y.chunks_exact_mut(width)) {
            let from = row / rows * rows + source[row % rows] as usize;
            y.copy_from_slice(&x[from * width..][..width]);
        }
    });
}

/// Transposes each matrix `[rows, columns]` of `x`.
///
/// # Panics
/// If the buffers aren't whole matrices of equal number.
pub fn transpose(x: &[f32], rows: usize, columns: usize, y: &mut [f32]) {
    assert!(x.len() == y.len() && x.len().is_multiple_of(rows * columns));
    // A task is a stripe of a result: as many of its rows as a tile has.
    let stripes = columns.div_ceil(TILE);
    let results = y.par_chunks_mut(rows * columns).zip(x.par_chunks(rows * columns));
    results.for_each(|(y, x)| {
        y.par_chunks_mut(TILE * rows)
            .enumerate()
            .with_min_len((TASK / (TILE * rows)).clamp(1, stripes))
            .for_each(|(stripe, y)| {
                for first in (0..rows).step_by(TILE) {
                    let here = TILE.min(rows - first);
                    for (column, y) in (stripe * TILE..).zip(y.chunks_exact_mut(rows)) {
                        let x = x[first * columns + column..].iter().step_by(columns);
                        y[first..first + here].iter_mut().zip(x).for_each(|(y, x)| *y = *x);
                    }
                }
            });
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposing_twice_changes_nothing() {
        for (rows, columns) in [(1, 7), (33, 65), (96, 49)] {
            let x: Vec<f32> = (0..3 * rows * columns).map(|i| i as f32).collect();
            let (mut y, mut back) = (vec![0.0; x.len()], vec![0.0; x.len()]);
            transpose(&x, rows, columns, &mut y);
            let (matrix, row, column) = (2, rows - 1, columns / 2);
            let at = matrix * rows * columns;
            assert_eq!(y[at + column * rows + row], x[at + row * columns + column]);
            transpose(&y, columns, rows, &mut back);
            assert_eq!(back, x);
        }
    }

    #[test]
    fn every_sequence_is_reordered() {
        let x: Vec<f32> = (0..12).map(|i| i as f32).collect();
        let mut y = vec![0.0; 12];
        reorder(&x, &[2, 0, 1], 2, &mut y);
        assert_eq!(y, [4., 5., 0., 1., 2., 3., 10., 11., 6., 7., 8., 9.]);
    }
}
