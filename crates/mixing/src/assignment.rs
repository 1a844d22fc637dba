//! The best assignment of rows to columns.

/// The column of each row, no column twice, whose `gains` sum to the most: the Hungarian method with potentials, of order
/// rows² · columns. Rows have one length, no less than there are rows.
pub(crate) fn maximal(gains: &[Vec<f64>]) -> Vec<usize> {
    let columns = gains.first().map_or(0, Vec::len);
    debug_assert!(gains.len() <= columns || gains.is_empty());
    let mut row_price = vec![0.0; gains.len()];
    let mut column_price = vec![0.0; columns];
    let mut owner: Vec<Option<usize>> = vec![None; columns];
    for row in 0..gains.len() {
        let search = Search::of(gains, row, &row_price, &column_price, &owner);
        search.reprice(row, &owner, &mut row_price, &mut column_price);
        search.hand_over(row, &mut owner);
    }
    let mut assigned = vec![0; gains.len()];
    for (column, row) in owner.into_iter().enumerate() {
        if let Some(row) = row {
            assigned[row] = column;
        }
    }
    assigned
}

/// The shortest path from a row to a column without an owner, along columns and the rows that own them. A step from a row
/// to a column is as long as its cost, `-gain`, is above the prices of the two.
struct Search {
    /// Length of the path to each column.
    length: Vec<f64>,
    /// The column before it, if there is one.
    before: Vec<Option<usize>>,
    /// Columns whose path is known to be the shortest.
    settled: Vec<bool>,
    /// The column without an owner.
    end: usize,
}

impl Search {
    fn of(
        gains: &[Vec<f64>],
        row: usize,
        row_price: &[f64],
        column_price: &[f64],
        owner: &[Option<usize>],
    ) -> Self {
        let columns = column_price.len();
        let mut search = Self {
            length: vec![f64::INFINITY; columns],
            before: vec![None; columns],
            settled: vec![false; columns],
            end: 0,
        };
        let (mut from, mut at, mut so_far) = (row, None, 0.0);
        loop {
            let mut nearest: Option<usize> = None;
            for column in (0..columns).filter(|&column| !search.settled[column]) {
                let length = so_far - gains[from][column] - row_price[from] - column_price[column];
                if length < search.length[column] {
                    search.length[column] = length;
                    search.before[column] = at;
                }
                // The first of equals, so that ties don't depend on anything else.
                if nearest.is_none_or(|nearest| search.length[column] < search.length[nearest]) {
                    nearest = Some(column);
                }
            }
            let nearest = nearest.expect("there are at least as many columns as rows");
            search.settled[nearest] = true;
            so_far = search.length[nearest];
            match owner[nearest] {
                Some(next) => (from, at) = (next, Some(nearest)),
                None => {
                    search.end = nearest;
                    return search;
                }
            }
        }
    }

    /// Moves prices so that no step is shorter than 0, and those of the path are 0.
    fn reprice(&self, row: usize, owner: &[Option<usize>], row_price: &mut [f64], column_price: &mut [f64]) {
        let whole = self.length[self.end];
        row_price[row] += whole;
        for column in (0..owner.len()).filter(|&column| self.settled[column]) {
            let left = whole - self.length[column];
            column_price[column] -= left;
            if let Some(row) = owner[column] {
                row_price[row] += left;
            }
        }
    }

    /// Gives each column of the path to the row of the one before.
    fn hand_over(&self, row: usize, owner: &mut [Option<usize>]) {
        let mut column = self.end;
        while let Some(before) = self.before[column] {
            owner[column] = owner[before];
            column = before;
        }
        owner[column] = Some(row);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{Rng, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    fn sum(gains: &[Vec<f64>], columns: &[usize]) -> f64 {
        gains.iter().zip(columns).map(|(row, &column)| row[column]).sum()
    }

    /// The best sum over all ways, one row after the other.
    fn brute_force(gains: &[Vec<f64>], used: &mut Vec<bool>) -> f64 {
        let Some((row, rest)) = gains.split_first() else { return 0.0 };
        let mut best = f64::NEG_INFINITY;
        for column in 0..row.len() {
            if !std::mem::replace(&mut used[column], true) {
                best = best.max(row[column] + brute_force(rest, used));
                used[column] = false;
            }
        }
        best
    }

    #[test]
    fn it_is_as_good_as_the_best_of_all() {
        let rng = &mut ChaCha8Rng::seed_from_u64(3);
        for (rows, columns) in [(1, 1), (1, 5), (4, 4), (3, 6), (6, 6)] {
            for round in 0..20 {
                // Every other round has many ties.
                let gain = |rng: &mut ChaCha8Rng| {
                    let gain: f64 = rng.random_range(-1.0..1.0);
                    if round % 2 == 0 { gain } else { (3.0 * gain).round() }
                };
                let gains: Vec<Vec<f64>> =
                    (0..rows).map(|_| (0..columns).map(|_| gain(rng)).collect()).collect();
                let found = maximal(&gains);
                let mut distinct = found.clone();
                distinct.sort_unstable();
                distinct.dedup();
                assert_eq!(distinct.len(), rows);
                let best = brute_force(&gains, &mut vec![false; columns]);
                assert!((sum(&gains, &found) - best).abs() < 1e-9, "{gains:?} {found:?}");
            }
        }
        assert!(maximal(&[]).is_empty());
    }
}
