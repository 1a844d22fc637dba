//! Which block of which output shows which inputs: every output in turn is cut, given the others (the iterative submodular
//! minimisation of Co-Mixup).

use super::{CoMixup, Threshold};
use crate::Result;
use crate::swap::{Problem, Solver, integer};

/// What a block shows: an input twice, or half of each of two.
pub type Shown = [usize; 2];

/// The inputs that the blocks of all outputs show.
#[derive(Clone, Debug)]
pub struct Labelling {
    /// `[o, b, b]`, in row-major order.
    pub shown: Vec<Shown>,
    /// How many rounds it took.
    pub iterations: usize,
}

/// Labels for outputs of `b²` blocks of `n` inputs.
///
/// `cost` `[n, b, b]` is what an input costs where it is shown, `compatibility` `[n, n]` what it costs to show two in
/// different outputs, `alpha` `[n]` how much of each input is wanted, `start` `[o, b, b]` the labels to begin with.
///
/// # Errors
/// If the lengths don't fit.
pub fn label(
    mixer: &CoMixup,
    cost: &[f32],
    compatibility: &[f32],
    alpha: &[f32],
    start: &[u32],
) -> Result<Labelling> {
    let mut search = Search::new(mixer, cost, compatibility, alpha, start);
    let outputs = search.extra.len() / search.inputs.max(1);
    let mut objective = f64::INFINITY;
    for round in 0..mixer.iterations {
        for output in 0..outputs {
            search.relabel(output, round > 0)?;
        }
        if mixer.resolve && round + 2 == mixer.iterations {
            search.tell_apart();
        }
        let before = std::mem::replace(&mut objective, search.objective());
        if (before - objective).abs() < 1e-6 * objective.abs() {
            return Ok(Labelling { shown: search.shown, iterations: round + 1 });
        }
    }
    Ok(Labelling { shown: search.shown, iterations: mixer.iterations })
}

/// The state between two cuts.
struct Search<'a> {
    mixer: &'a CoMixup,
    inputs: usize,
    /// `b²`.
    blocks: usize,
    /// With the wish for each input counted in, `[n, b²]`.
    cost: Vec<f32>,
    compatibility: &'a [f32],
    shown: Vec<Shown>,
    /// In how many blocks of all outputs each input is shown.
    totals: Vec<f32>,
    /// What using an input costs an output more, `[o, n]`.
    extra: Vec<f32>,
    solver: Solver,
    edges: Vec<i64>,
}

impl<'a> Search<'a> {
    fn new(mixer: &'a CoMixup, cost: &[f32], compatibility: &'a [f32], alpha: &[f32], start: &[u32]) -> Self {
        let blocks = mixer.blocks * mixer.blocks;
        let inputs = alpha.len();
        let eta = mixer.eta / blocks as f64;
        let wish = alpha.iter().map(|&alpha| eta as f32 * (alpha + 1e-8).ln());
        let cost =
            cost.chunks_exact(blocks).zip(wish).flat_map(|(cost, wish)| cost.iter().map(move |c| c - wish));
        // The product is one of 32 bits in published code, and so decides what is truncated.
        let edge = integer(f64::from(1000.0 * (mixer.beta / blocks as f64) as f32));
        let mut search = Self {
            mixer,
            inputs,
            blocks,
            cost: cost.collect(),
            compatibility,
            shown: start.iter().map(|&input| [input as usize; 2]).collect(),
            totals: vec![0.0; inputs],
            extra: vec![0.0; start.len() / blocks * inputs],
            solver: Solver::default(),
            edges: vec![edge; mixer.blocks * (mixer.blocks - 1)],
        };
        search.totals = counts(&search.shown, inputs);
        search
    }

    /// A parameter that is given for the whole picture, for one block.
    fn by_block(&self, parameter: f64) -> f32 {
        (parameter / self.blocks as f64) as f32
    }

    fn output(&self, output: usize) -> &[Shown] {
        &self.shown[output * self.blocks..][..self.blocks]
    }

    /// Cuts one output, given the others. With `halves`, its blocks may also show halves of the inputs that it uses most.
    fn relabel(&mut self, output: usize, halves: bool) -> Result<()> {
        let used = counts(self.output(output), self.inputs);
        self.totals.iter_mut().zip(&used).for_each(|(total, used)| *total -= used);
        let mut labels: Vec<Shown> = (0..self.inputs).map(|input| [input; 2]).collect();
        if halves {
            labels.extend(pairs_of_most_used(&used));
        }
        let crowding = self.crowding();
        let extra = &self.extra[output * self.inputs..][..self.inputs];
        let gamma = self.by_block(self.mixer.gamma);
        let single = |input: usize, block: usize| {
            self.cost[input * self.blocks + block] + crowding[input] + gamma * extra[input]
        };
        let unary: Vec<i64> = (0..self.blocks * labels.len())
            .map(|index| {
                let (block, [first, second]) = (index / labels.len(), labels[index % labels.len()]);
                let cost = match first == second {
                    true => single(first, block),
                    false => (single(first, block) + single(second, block)) / 2.0 - 5e-4,
                };
                integer(f64::from(100_000.0 * cost))
            })
            .collect();
        let table: Vec<i64> = labels.iter().flat_map(|&a| labels.iter().map(move |&b| apart(a, b))).collect();
        let size = [self.mixer.blocks; 2];
        let problem = Problem::new(size, labels.len(), &unary, [&self.edges, &self.edges], &table)?;
        let (found, _) = self.solver.solve(&problem);
        let shown = &mut self.shown[output * self.blocks..][..self.blocks];
        shown.iter_mut().zip(found).for_each(|(shown, label)| *shown = labels[label]);
        let used = counts(shown, self.inputs);
        self.totals.iter_mut().zip(used).for_each(|(total, used)| *total += used);
        Ok(())
    }

    /// What each input costs more because of what the other outputs show, `[n]`.
    fn crowding(&self) -> Vec<f32> {
        let times = |weights: &dyn Fn(usize) -> f32| -> Vec<f32> {
            let rows = self.compatibility.chunks_exact(self.inputs);
            rows.map(|row| row.iter().enumerate().map(|(input, value)| value * weights(input)).sum())
                .collect()
        };
        let threshold = (self.mixer.threshold * self.blocks as f64) as f32;
        let gamma = 2.0 * self.by_block(self.mixer.gamma);
        let penalty = times(&|input| self.totals[input]);
        match self.mixer.threshold_type {
            Threshold::Soft => penalty.iter().map(|penalty| gamma * (penalty - threshold).max(0.0)).collect(),
            Threshold::Hard => {
                let on = |input: usize| if penalty[input] > threshold { self.totals[input] } else { 0.0 };
                times(&on).into_iter().map(|penalty| gamma * penalty).collect()
            }
        }
    }

    /// Makes outputs that use the same inputs, two or more, avoid different ones of them.
    fn tell_apart(&mut self) {
        let outputs: Vec<Vec<usize>> = self
            .shown
            .chunks_exact(self.blocks)
            .map(|shown| {
                let used = counts(shown, self.inputs).into_iter().enumerate();
                used.filter(|&(_, count)| count > 0.0).map(|(input, _)| input).collect()
            })
            .collect();
        for (i, first) in outputs.iter().enumerate() {
            for j in i + 1..outputs.len() {
                if first.len() >= 2 && *first == outputs[j] {
                    self.extra[i * self.inputs + first[0]] = 1.0;
                    self.extra[j * self.inputs + first[1]] = 1.0;
                }
            }
        }
    }

    /// What the whole labelling costs; it says when to stop.
    fn objective(&self) -> f64 {
        let side = self.mixer.blocks;
        let (mut cost, mut seams, mut within) = (0.0, 0.0, 0.0);
        for shown in self.shown.chunks_exact(self.blocks) {
            for (block, &here) in shown.iter().enumerate() {
                cost += here
                    .iter()
                    .map(|input| f64::from(self.cost[input * self.blocks + block]) / 2.0)
                    .sum::<f64>();
                seams += if block % side + 1 < side { difference(here, shown[block + 1]) } else { 0.0 };
                seams += if block + side < self.blocks { difference(here, shown[block + side]) } else { 0.0 };
            }
            within += squares(&counts(shown, self.inputs));
        }
        let [beta, gamma] = [self.mixer.beta, self.mixer.gamma].map(|value| value / self.blocks as f64);
        cost + beta / 2.0 * seams + gamma * (squares(&self.totals) - within)
    }
}

fn squares(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum()
}

/// The squared difference of the masks of two blocks.
fn difference(a: Shown, b: Shown) -> f64 {
    let product = |a: Shown, b: Shown| {
        let same = a.iter().flat_map(|i| b.iter().filter(move |j| i == *j)).count();
        same as f64 / 4.0
    };
    product(a, a) + product(b, b) - 2.0 * product(a, b)
}

/// What neighbours with two labels cost: less if one is half of the other.
fn apart(a: Shown, b: Shown) -> i64 {
    let half = |whole: Shown, pair: Shown| whole[0] == whole[1] && pair.contains(&whole[0]);
    match (a == b, half(a, b) || half(b, a)) {
        (true, _) => 0,
        (false, true) => 25,
        (false, false) => 100,
    }
}

/// How many blocks show each of `inputs` inputs; halves count as that.
pub fn counts(shown: &[Shown], inputs: usize) -> Vec<f32> {
    let mut counts = vec![0.0; inputs];
    for &input in shown.as_flattened() {
        counts[input] += 0.5;
    }
    counts
}

/// The pairs of the three inputs that are used most, in order, or of two if there are no more.
fn pairs_of_most_used(used: &[f32]) -> Vec<Shown> {
    let mut most: Vec<usize> = (0..used.len()).filter(|&input| used[input] > 0.0).collect();
    most.sort_by(|&a, &b| used[b].total_cmp(&used[a]));
    most.truncate(3);
    most.sort_unstable();
    match most[..] {
        [p, q] => vec![[p, q]],
        [p, q, r] => vec![[p, q], [p, r], [q, r]],
        _ => Vec::new(),
    }
}
