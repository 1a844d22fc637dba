//! Labels for the blocks of a small grid: minimum cuts (Dinic 1970), and the alpha-beta swaps (Boykov, Veksler and Zabih,
//! PAMI 2001) that reduce more than two labels to them.

use crate::{Error, Result};

/// A cost beyond this, in either direction, counts as this: sums of scaled costs then stay within 64 bits.
const LIMIT: f64 = 1e9;

/// A cost as an integer, truncated towards zero; not a number is 0.
pub fn integer(cost: f64) -> i64 {
    cost.clamp(-LIMIT, LIMIT) as i64
}

/// What a labelling of a grid of blocks costs: `sum unary[block, label] + sum over edges weight · table[label, label']`.
#[derive(Clone, Copy, Debug)]
pub struct Problem<'a> {
    size: [usize; 2],
    labels: usize,
    unary: &'a [i64],
    down: &'a [i64],
    right: &'a [i64],
    table: &'a [i64],
}

impl<'a> Problem<'a> {
    /// The problem on a grid of `size` (rows, columns) with `labels` labels: `unary` `[rows, columns, labels]`; the weight
    /// of the edge between each block and the one below, `down` `[rows - 1, columns]`, and the one to its right, `right`
    /// `[rows, columns - 1]`; `table` `[labels, labels]`, symmetric with a diagonal of 0.
    ///
    /// # Errors
    /// If a length doesn't fit, or an edge or an entry of the table is negative.
    pub fn new(
        size: [usize; 2],
        labels: usize,
        unary: &'a [i64],
        [down, right]: [&'a [i64]; 2],
        table: &'a [i64],
    ) -> Result<Self> {
        let [rows, columns] = size;
        let lengths = [
            ("costs of labels", unary.len(), rows * columns * labels),
            ("edges downwards", down.len(), rows.saturating_sub(1) * columns),
            ("edges to the right", right.len(), rows * columns.saturating_sub(1)),
            ("table of labels", table.len(), labels * labels),
        ];
        for (what, got, expected) in lengths {
            if got != expected {
                return Err(Error::Shape { what, got: vec![got], expected: format!("[{expected}]") });
            }
        }
        match [down, right, table].into_iter().flatten().find(|&&weight| weight < 0) {
            Some(&weight) => Err(Error::Parameter {
                name: "weight of an edge",
                value: weight as f64,
                expected: "a number that is not negative",
            }),
            None => Ok(Self { size, labels, unary, down, right, table }),
        }
    }

    /// What a labelling `[rows, columns]` costs.
    pub fn energy(&self, labels: &[usize]) -> i64 {
        let [rows, columns] = self.size;
        let between = |first: usize, second: usize| self.table[labels[first] * self.labels + labels[second]];
        let mut energy = 0;
        for row in 0..rows {
            for column in 0..columns {
                let block = row * columns + column;
                energy += self.unary[block * self.labels + labels[block]];
                if row + 1 < rows {
                    energy += self.down[block] * between(block, block + columns);
                }
                if column + 1 < columns {
                    energy += self.right[row * (columns - 1) + column] * between(block, block + 1);
                }
            }
        }
        energy
    }

    /// The weights of a block's edges, upwards, downwards, to the left and to the right; 0 where the grid ends.
    fn edges(&self, row: usize, column: usize) -> [i64; 4] {
        let [rows, columns] = self.size;
        [
            if row > 0 { self.down[(row - 1) * columns + column] } else { 0 },
            if row + 1 < rows { self.down[row * columns + column] } else { 0 },
            if column > 0 { self.right[row * (columns - 1) + column - 1] } else { 0 },
            if column + 1 < columns { self.right[row * (columns - 1) + column] } else { 0 },
        ]
    }
}

/// The distance of a block that takes no part in a cut.
const OUTSIDE: u32 = u32::MAX;

/// The memory of a solver, for one problem after another. Blocks are kept with a ring around the grid, so that each has
/// four neighbours.
#[derive(Debug, Default)]
pub struct Solver {
    /// Where the neighbours are: above, below, left, right. The direction back is the index with its last bit turned.
    offsets: [isize; 4],
    /// Each block's place in the arrays with a ring.
    places: Vec<usize>,
    edges: Vec<[i64; 4]>,
    labels: Vec<usize>,
    /// How many blocks have each label.
    counts: Vec<usize>,
    cut: Cut,
}

impl Solver {
    /// Swaps, pair by pair `(0, L - 1), (0, L - 2), …, (L - 2, L - 1)`, from label 0 everywhere, until a round of all pairs
    /// lowers the energy no more. Gives the labels `[rows, columns]` and their energy.
    pub fn solve(&mut self, problem: &Problem<'_>) -> (Vec<usize>, i64) {
        self.start(problem);
        let mut labels = self.labelling();
        let mut energy = problem.energy(&labels);
        loop {
            for first in 0..problem.labels {
                for second in (first + 1..problem.labels).rev() {
                    self.swap(problem, first, second);
                }
            }
            labels = self.labelling();
            let before = std::mem::replace(&mut energy, problem.energy(&labels));
            if energy >= before {
                return (labels, energy);
            }
        }
    }

    fn labelling(&self) -> Vec<usize> {
        self.places.iter().map(|&place| self.labels[place]).collect()
    }

    /// Label 0 everywhere.
    fn start(&mut self, problem: &Problem<'_>) {
        let [rows, columns] = problem.size;
        let width = columns + 2;
        let nodes = (rows + 2) * width;
        self.offsets = [-(width as isize), width as isize, -1, 1];
        self.places.clear();
        self.edges.clear();
        self.edges.resize(nodes, [0; 4]);
        for row in 0..rows {
            for column in 0..columns {
                let place = (row + 1) * width + column + 1;
                self.places.push(place);
                self.edges[place] = problem.edges(row, column);
            }
        }
        self.labels.clear();
        self.labels.resize(nodes, 0);
        self.counts.clear();
        self.counts.resize(problem.labels, 0);
        if let Some(zero) = self.counts.first_mut() {
            *zero = rows * columns;
        }
        self.cut.start(nodes);
    }

    /// Relabels the blocks that have `first` or `second` with these two labels, as cheaply as is possible.
    fn swap(&mut self, problem: &Problem<'_>, first: usize, second: usize) {
        if self.counts[first] + self.counts[second] == 0 {
            return;
        }
        let of_first = &problem.table[first * problem.labels..][..problem.labels];
        let of_second = &problem.table[second * problem.labels..][..problem.labels];
        self.cut.active.clear();
        for (block, &place) in self.places.iter().enumerate() {
            let label = self.labels[place];
            if label != first && label != second {
                continue;
            }
            // What the other labels around it make each of the two cost goes into the block's own costs.
            let unary = &problem.unary[block * problem.labels..][..problem.labels];
            let mut more = unary[second] - unary[first];
            let mut capacities = self.edges[place];
            for (capacity, offset) in capacities.iter_mut().zip(self.offsets) {
                let neighbour = self.labels[place.wrapping_add_signed(offset)];
                if neighbour == first || neighbour == second {
                    *capacity *= of_first[second];
                } else {
                    more += *capacity * (of_second[neighbour] - of_first[neighbour]);
                    *capacity = 0;
                }
            }
            self.cut.add(place, more, capacities);
        }
        self.cut.solve(self.offsets);
        self.counts[first] = 0;
        self.counts[second] = 0;
        for &place in &self.cut.active {
            let label = if self.cut.distance[place] > 0 { second } else { first };
            self.labels[place] = label;
            self.counts[label] += 1;
        }
        self.cut.clear();
    }
}

/// A network whose nodes are the blocks of a grid. The source feeds a block with what `second` costs it, it drains to the
/// sink with what `first` costs; what the two have in common flows through at once, and only the rest is kept.
#[derive(Debug, Default)]
struct Cut {
    active: Vec<usize>,
    /// What the source still can feed.
    excess: Vec<i64>,
    /// What the sink still can take.
    drain: Vec<i64>,
    /// What each block still can pass on in each direction.
    residual: Vec<[i64; 4]>,
    /// Steps to the sink, from 1; 0: it can't be reached.
    distance: Vec<u32>,
    /// The first direction that isn't exhausted.
    next: Vec<u8>,
    queue: Vec<usize>,
}

impl Cut {
    fn start(&mut self, nodes: usize) {
        self.excess.resize(nodes, 0);
        self.drain.resize(nodes, 0);
        self.residual.resize(nodes, [0; 4]);
        self.next.resize(nodes, 0);
        self.distance.clear();
        self.distance.resize(nodes, OUTSIDE);
    }

    fn add(&mut self, place: usize, more: i64, capacities: [i64; 4]) {
        self.active.push(place);
        self.excess[place] = more.max(0);
        self.drain[place] = (-more).max(0);
        self.residual[place] = capacities;
    }

    fn clear(&mut self) {
        for &place in &self.active {
            self.distance[place] = OUTSIDE;
        }
    }

    /// A maximum flow. Afterwards a block has a distance above 0 exactly when it can still reach the sink; that set is the
    /// same for every maximum flow, and so are the labels.
    fn solve(&mut self, offsets: [isize; 4]) {
        while self.measure(offsets) {
            for index in 0..self.active.len() {
                let place = self.active[index];
                if self.excess[place] > 0 && self.distance[place] > 0 {
                    self.excess[place] -= self.push(place, self.excess[place], offsets);
                }
            }
        }
    }

    /// Measures the distances to the sink; whether a block with excess can reach it.
    fn measure(&mut self, offsets: [isize; 4]) -> bool {
        self.queue.clear();
        for &place in &self.active {
            self.next[place] = 0;
            self.distance[place] = 0;
            if self.drain[place] > 0 {
                self.distance[place] = 1;
                self.queue.push(place);
            }
        }
        let (mut head, mut reached) = (0, false);
        while let Some(&place) = self.queue.get(head) {
            head += 1;
            reached |= self.excess[place] > 0;
            for direction in 0..4 {
                let neighbour = place.wrapping_add_signed(offsets[direction]);
                if self.distance[neighbour] == 0 && self.residual[neighbour][direction ^ 1] > 0 {
                    self.distance[neighbour] = self.distance[place] + 1;
                    self.queue.push(neighbour);
                }
            }
        }
        reached
    }

    /// Moves up to `amount` from a block towards the sink, along shortest ways, and says how much got there.
    fn push(&mut self, place: usize, amount: i64, offsets: [isize; 4]) -> i64 {
        let direct = amount.min(self.drain[place]);
        self.drain[place] -= direct;
        let mut left = amount - direct;
        while left > 0 && self.next[place] < 4 {
            let direction = usize::from(self.next[place]);
            let neighbour = place.wrapping_add_signed(offsets[direction]);
            let capacity = self.residual[place][direction];
            if capacity > 0
                && self.distance[neighbour] + 1 == self.distance[place]
                && self.distance[neighbour] > 0
            {
                let pushed = self.push(neighbour, left.min(capacity), offsets);
                self.residual[place][direction] -= pushed;
                self.residual[neighbour][direction ^ 1] += pushed;
                left -= pushed;
            }
            if left > 0 {
                self.next[place] += 1;
            }
        }
        amount - left
    }
}

#[cfg(test)]
mod tests;
