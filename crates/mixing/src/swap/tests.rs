//! Against brute force.

use super::*;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// A random problem. Costs are small, so that ties are common.
struct Random {
    size: [usize; 2],
    labels: usize,
    unary: Vec<i64>,
    down: Vec<i64>,
    right: Vec<i64>,
    table: Vec<i64>,
}

impl Random {
    fn new(size: [usize; 2], labels: usize, rng: &mut ChaCha8Rng) -> Self {
        let [rows, columns] = size;
        let mut numbers = |count: usize, range: std::ops::Range<i64>| -> Vec<i64> {
            (0..count).map(|_| rng.random_range(range.clone())).collect()
        };
        let distances = numbers(labels * labels, 1..5);
        let entry = |a: usize, b: usize| if a == b { 0 } else { distances[a.min(b) * labels + a.max(b)] };
        Self {
            size,
            labels,
            unary: numbers(rows * columns * labels, -9..10),
            down: numbers((rows - 1) * columns, 0..4),
            right: numbers(rows * (columns - 1), 0..4),
            table: (0..labels * labels).map(|i| entry(i / labels, i % labels)).collect(),
        }
    }

    fn problem(&self) -> Problem<'_> {
        Problem::new(self.size, self.labels, &self.unary, [&self.down, &self.right], &self.table).unwrap()
    }
}

/// All labellings with `choices` for each block.
fn all(choices: &[Vec<usize>]) -> Vec<Vec<usize>> {
    choices.iter().fold(vec![vec![]], |found, labels| {
        let longer = |start: &Vec<usize>, &label: &usize| [start.as_slice(), &[label]].concat();
        found.iter().flat_map(|start| labels.iter().map(move |label| longer(start, label))).collect()
    })
}

#[test]
fn two_labels_are_optimal_and_ties_keep_the_first() {
    let rng = &mut ChaCha8Rng::seed_from_u64(1);
    let mut solver = Solver::default();
    for case in 0..200 {
        let random = Random::new([1 + case % 3, 1 + case % 4], 2, rng);
        let problem = random.problem();
        let labellings = all(&vec![vec![0, 1]; random.size[0] * random.size[1]]);
        let least = labellings.iter().map(|labels| problem.energy(labels)).min().unwrap();
        let best = labellings.iter().filter(|labels| problem.energy(labels) == least);
        // Of all optimal sets of blocks with the second label, the smallest is the one that reaches the sink.
        let fewest = best.min_by_key(|labels| labels.iter().sum::<usize>()).unwrap();
        assert_eq!(solver.solve(&problem), (fewest.clone(), least), "case {case}");
    }
}

#[test]
fn a_swap_is_the_best_there_is_and_never_raises_the_energy() {
    let rng = &mut ChaCha8Rng::seed_from_u64(2);
    let mut solver = Solver::default();
    for _ in 0..60 {
        let labels = rng.random_range(3..6);
        let random = Random::new([rng.random_range(1..4), rng.random_range(1..4)], labels, rng);
        let problem = random.problem();
        solver.start(&problem);
        for _ in 0..12 {
            let first = rng.random_range(0..labels - 1);
            let second = rng.random_range(first + 1..labels);
            let before = solver.labelling();
            solver.swap(&problem, first, second);
            let choices = before.iter().map(|&label| {
                if [first, second].contains(&label) { vec![first, second] } else { vec![label] }
            });
            let least = all(&choices.collect::<Vec<_>>()).iter().map(|labels| problem.energy(labels)).min();
            assert_eq!(problem.energy(&solver.labelling()), least.unwrap());
            assert!(least.unwrap() <= problem.energy(&before));
        }
    }
}

#[test]
fn a_solution_admits_no_better_swap_on_large_grids() {
    let rng = &mut ChaCha8Rng::seed_from_u64(3);
    let mut solver = Solver::default();
    for labels in [2, 3, 12] {
        let random = Random::new([16, 16], labels, rng);
        let problem = random.problem();
        let (_, energy) = solver.solve(&problem);
        for first in 0..labels {
            for second in first + 1..labels {
                solver.swap(&problem, first, second);
                assert_eq!(problem.energy(&solver.labelling()), energy);
            }
        }
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let wrong = Problem::new([1, 2], 2, &[0; 4], [&[], &[]], &[0; 4]).unwrap_err();
    assert_eq!(wrong.to_string(), "edges to the right [0], expected [1]");
    assert!(Problem::new([1, 2], 2, &[0; 4], [&[], &[-1]], &[0; 4]).is_err());
}
