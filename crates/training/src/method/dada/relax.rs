//! RELAX (Grathwohl et al., ICLR 2018): an unbiased gradient of the mean of a function of discrete choices.
//!
//! The choices are DADA's: one sub-policy of S, drawn with softmax weights, and for each of its operations, and those of
//! all others, whether it is applied. Their parameters stand in one list `θ`: the `2 S` probabilities of operations, then
//! the S weights of sub-policies. A small network, the control variate `c`, sees the choices relaxed: as they were drawn
//! (`z`), and drawn again knowing what was chosen (`z̃`). For the choices `b` and the function's value there, `f(b)`,
//!
//! ```text
//! g = (f(b) - c(z̃)) ∇ ln p(b) + ∇ c(z) - ∇ c(z̃)
//! ```
//!
//! has the mean `∇ E f(b)` for any `c`, and `c` descends its square, which is its variance but for a constant.

use rand::Rng;

/// Uniform numbers are kept this far from 0 and 1, whose logarithms they go through.
const EDGE: f64 = 1e-9;

/// The chance of one draw: for every choice, a number that decides it, and one that its relaxation is drawn again with.
pub(super) struct Noise {
    operations: Vec<[f64; 2]>,
    sub_policies: Vec<[f64; 2]>,
}

impl Noise {
    pub(super) fn draw(sub_policies: usize, rng: &mut impl Rng) -> Self {
        let mut pair = || [0; 2].map(|_| rng.random::<f64>().clamp(EDGE, 1.0 - EDGE));
        let operations = (0..2 * sub_policies).map(|_| pair()).collect();
        Self { operations, sub_policies: (0..sub_policies).map(|_| pair()).collect() }
    }
}

/// A drawn choice, its relaxations, and the gradient of its log-probability.
pub(super) struct Sample {
    /// The sub-policy.
    pub(super) chosen: usize,
    /// For the operations of every sub-policy, whether they are applied.
    pub(super) applied: Vec<bool>,
    relaxed: Relaxed,
    again: Relaxed,
    score: Vec<f64>,
}

impl Sample {
    /// What `noise` draws of `theta`.
    pub(super) fn of(theta: &[f64], temperature: f64, noise: &Noise) -> Self {
        let (probabilities, weights) = theta.split_at(noise.operations.len());
        let shares = softmax(weights);
        let gumbels =
            noise.sub_policies.iter().zip(&shares).map(|([u, _], share)| share.ln() - (-u.ln()).ln());
        let gumbels: Vec<f64> = gumbels.collect();
        let chosen = (0..gumbels.len()).max_by(|&a, &b| gumbels[a].total_cmp(&gumbels[b])).unwrap_or(0);
        let mut relaxed = Relaxed::new(temperature, &shares);
        let mut again = Relaxed::new(temperature, &shares);
        let (mut applied, mut score) = (Vec::new(), Vec::new());
        for (&p, [u, v]) in probabilities.iter().zip(&noise.operations) {
            let z = logit(p) + logit(*u);
            let on = z > 0.0;
            // The number that would have decided so, and its slope along p.
            let (decider, slope) = if on { (v * p + 1.0 - p, v - 1.0) } else { (v * (1.0 - p), -v) };
            let steep = |x: f64| 1.0 / (x * (1.0 - x));
            relaxed.operation(z, steep(p));
            again.operation(logit(p) + logit(decider), steep(p) + slope * steep(decider));
            applied.push(on);
            score.push(if on { 1.0 / p } else { -1.0 / (1.0 - p) });
        }
        relaxed.sub_policies(&gumbels, vec![1.0; shares.len()]);
        let least = -noise.sub_policies.get(chosen).map_or(0.5, |[_, v]| *v).ln();
        let exponential =
            |i: usize| if i == chosen { 0.0 } else { -noise.sub_policies[i][1].ln() / shares[i] };
        let others: Vec<f64> = (0..shares.len()).map(exponential).collect();
        let gumbels: Vec<f64> = others.iter().map(|other| -(other + least).ln()).collect();
        again.sub_policies(&gumbels, others.iter().map(|other| other / (other + least)).collect());
        score.extend(shares.iter().enumerate().map(|(i, share)| f64::from(u8::from(i == chosen)) - share));
        Self { chosen, applied, relaxed, again, score }
    }

    /// The gradient along `theta` of the mean of a function whose value at this sample is `value`, and the gradient along
    /// the control variate's parameters of the mean square of the former.
    pub(super) fn relax(&self, value: f64, control: &Control<'_>) -> (Vec<f64>, Vec<f64>) {
        let (_, slope) = control.at(&self.relaxed.values);
        let (guess, slope_again) = control.at(&self.again.values);
        let (pulled, pulled_again) = (self.relaxed.pull(&slope), self.again.pull(&slope_again));
        let gradient: Vec<f64> = (0..self.score.len())
            .map(|i| (value - guess) * self.score[i] + pulled[i] - pulled_again[i])
            .collect();
        let outer: Vec<f64> = gradient.iter().map(|g| 2.0 * g / gradient.len() as f64).collect();
        let along_score = outer.iter().zip(&self.score).map(|(o, s)| o * s).sum::<f64>();
        let mut learned = vec![0.0; control.parameters.len()];
        control.learn(&self.relaxed.values, 0.0, &self.relaxed.push(&outer), &mut learned);
        let back: Vec<f64> = self.again.push(&outer).iter().map(|r| -r).collect();
        control.learn(&self.again.values, -along_score, &back, &mut learned);
        (gradient, learned)
    }
}

/// Choices between 0 and 1, and how they change along `theta`.
struct Relaxed {
    temperature: f64,
    /// The weights of sub-policies after softmax.
    shares: Vec<f64>,
    /// Operations, then sub-policies.
    values: Vec<f64>,
    /// Of each operation's value along its probability.
    slopes: Vec<f64>,
    /// Of each sub-policy's Gumbel number along the logarithm of its share.
    steepness: Vec<f64>,
}

impl Relaxed {
    fn new(temperature: f64, shares: &[f64]) -> Self {
        let (values, slopes) = (Vec::new(), Vec::new());
        Self { temperature, shares: shares.to_vec(), values, slopes, steepness: Vec::new() }
    }

    fn operation(&mut self, z: f64, slope: f64) {
        let value = 1.0 / (1.0 + (-z / self.temperature).exp());
        self.values.push(value);
        self.slopes.push(slope * value * (1.0 - value) / self.temperature);
    }

    fn sub_policies(&mut self, gumbels: &[f64], steepness: Vec<f64>) {
        let scaled: Vec<f64> = gumbels.iter().map(|gumbel| gumbel / self.temperature).collect();
        self.values.extend(softmax(&scaled));
        self.steepness = steepness;
    }

    /// A gradient along the values, as one along `theta`.
    fn pull(&self, gradient: &[f64]) -> Vec<f64> {
        let (values, along) = (&self.values[self.slopes.len()..], &gradient[self.slopes.len()..]);
        let mut pulled: Vec<f64> = self.slopes.iter().zip(gradient).map(|(s, g)| s * g).collect();
        let mean = dot(values, along);
        let logs: Vec<f64> = (0..values.len())
            .map(|i| self.steepness[i] * values[i] * (along[i] - mean) / self.temperature)
            .collect();
        let total: f64 = logs.iter().sum();
        pulled.extend(logs.iter().zip(&self.shares).map(|(log, share)| log - share * total));
        pulled
    }

    /// A direction along `theta`, as one along the values: the transpose of [`pull`](Self::pull).
    fn push(&self, direction: &[f64]) -> Vec<f64> {
        let (values, along) = (&self.values[self.slopes.len()..], &direction[self.slopes.len()..]);
        let mut pushed: Vec<f64> = self.slopes.iter().zip(direction).map(|(s, d)| s * d).collect();
        let level = dot(&self.shares, along);
        let gumbels: Vec<f64> = (0..values.len()).map(|i| self.steepness[i] * (along[i] - level)).collect();
        let mean = dot(values, &gumbels);
        pushed.extend(values.iter().zip(&gumbels).map(|(v, g)| v * (g - mean) / self.temperature));
        pushed
    }
}

/// The control variate: `c(x) = a · tanh(W (2 x - 1) + b) + e`, whose parameters stand in one list, `W` `[H, I]` first.
pub(super) struct Control<'a> {
    pub(super) parameters: &'a [f64],
    pub(super) inputs: usize,
    pub(super) hidden: usize,
}

impl Control<'_> {
    /// How many parameters there are.
    #[cfg(test)]
    pub(super) fn count(inputs: usize, hidden: usize) -> usize {
        hidden * (inputs + 2) + 1
    }

    fn row(&self, neuron: usize) -> &[f64] {
        &self.parameters[neuron * self.inputs..][..self.inputs]
    }

    /// `b` and `a` of a neuron.
    fn bias_and_weight(&self, neuron: usize) -> (f64, f64) {
        let at = self.hidden * self.inputs + neuron;
        (self.parameters[at], self.parameters[at + self.hidden])
    }

    fn neuron(&self, neuron: usize, x: &[f64]) -> f64 {
        let sum: f64 = self.row(neuron).iter().zip(x).map(|(w, x)| w * (2.0 * x - 1.0)).sum();
        (sum + self.bias_and_weight(neuron).0).tanh()
    }

    /// The value, and its gradient along `x`.
    fn at(&self, x: &[f64]) -> (f64, Vec<f64>) {
        let mut value = self.parameters[self.parameters.len() - 1];
        let mut gradient = vec![0.0; x.len()];
        for neuron in 0..self.hidden {
            let (y, (_, weight)) = (self.neuron(neuron, x), self.bias_and_weight(neuron));
            value += weight * y;
            let slope = 2.0 * weight * (1.0 - y * y);
            gradient.iter_mut().zip(self.row(neuron)).for_each(|(g, w)| *g += slope * w);
        }
        (value, gradient)
    }

    /// Adds to `sum` the gradient along the parameters of `share · c(x) + direction · ∇c(x)`.
    fn learn(&self, x: &[f64], share: f64, direction: &[f64], sum: &mut [f64]) {
        let biases = self.hidden * self.inputs;
        for neuron in 0..self.hidden {
            let (y, (_, weight)) = (self.neuron(neuron, x), self.bias_and_weight(neuron));
            let slope = 1.0 - y * y;
            let along = 2.0 * dot(self.row(neuron), direction);
            // Of what comes in before the tanh.
            let before = weight * slope * (share - 2.0 * y * along);
            for i in 0..self.inputs {
                sum[neuron * self.inputs + i] +=
                    before * (2.0 * x[i] - 1.0) + 2.0 * weight * slope * direction[i];
            }
            sum[biases + neuron] += before;
            sum[biases + self.hidden + neuron] += share * y + slope * along;
        }
        sum[biases + 2 * self.hidden] += share;
    }
}

/// The shares that weights stand for.
pub(super) fn softmax(weights: &[f64]) -> Vec<f64> {
    let most = weights.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    let exponentials: Vec<f64> = weights.iter().map(|weight| (weight - most).exp()).collect();
    let sum: f64 = exponentials.iter().sum();
    exponentials.iter().map(|exponential| exponential / sum).collect()
}

fn logit(p: f64) -> f64 {
    p.ln() - (-p).ln_1p()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

#[cfg(test)]
mod tests {
    use adautomix_random::{Key, Purpose};

    use super::*;

    const SUB_POLICIES: usize = 3;
    const THETA: [f64; 9] = [0.3, 0.8, 0.5, 0.1, 0.6, 0.45, 0.2, -0.4, 0.7];
    const HIDDEN: usize = 4;

    fn control(parameters: &[f64]) -> Control<'_> {
        Control { parameters, inputs: 9, hidden: HIDDEN }
    }

    fn parameters() -> Vec<f64> {
        (0..Control::count(9, HIDDEN)).map(|i| 0.9 * (1.7 * i as f64).sin()).collect()
    }

    /// Any function of the choices will do.
    fn function(chosen: usize, applied: &[bool]) -> f64 {
        let sum: f64 =
            applied.iter().enumerate().map(|(i, on)| f64::from(u8::from(*on)) * (1.3 + i as f64)).sum();
        2.0 * (sum * 0.9 + 1.7 * chosen as f64).sin() + chosen as f64
    }

    /// The mean of the function over all choices, one by one.
    fn mean(theta: &[f64]) -> f64 {
        let shares = softmax(&theta[6..]);
        let mut sum = 0.0;
        for chosen in 0..SUB_POLICIES {
            for bits in 0..64 {
                let applied: Vec<bool> = (0..6).map(|i| bits >> i & 1 == 1).collect();
                let chance = |i: usize| if applied[i] { theta[i] } else { 1.0 - theta[i] };
                sum += shares[chosen] * (0..6).map(chance).product::<f64>() * function(chosen, &applied);
            }
        }
        sum
    }

    /// The slope of `function` along the `i`-th number of `point`.
    fn slope(point: &[f64], i: usize, function: impl Fn(&[f64]) -> f64) -> f64 {
        let step = 1e-6;
        let at = |moved: f64| {
            let mut point = point.to_vec();
            point[i] += moved;
            function(&point)
        };
        (at(step) - at(-step)) / (2.0 * step)
    }

    #[test]
    fn the_estimate_is_unbiased_for_a_control_variate_that_knows_nothing() {
        let (parameters, rng) = (parameters(), &mut Key::new(1, Purpose::Test).rng());
        let (mut sums, mut squares, draws) = ([0.0; 9], [0.0; 9], 60_000);
        for _ in 0..draws {
            let sample = Sample::of(&THETA, 0.5, &Noise::draw(SUB_POLICIES, rng));
            let (gradient, _) = sample.relax(function(sample.chosen, &sample.applied), &control(&parameters));
            for i in 0..9 {
                sums[i] += gradient[i];
                squares[i] += gradient[i] * gradient[i];
            }
        }
        for i in 0..9 {
            let (average, exact) = (sums[i] / f64::from(draws), slope(&THETA, i, mean));
            let deviation = ((squares[i] / f64::from(draws) - average * average) / f64::from(draws)).sqrt();
            assert!((average - exact).abs() < 4.0 * deviation, "{i}: {average}, {exact} ± {deviation}");
            // The bound means something.
            assert!(deviation < 0.05, "{i}: {deviation}");
        }
    }

    #[test]
    fn relaxations_and_their_variance_have_the_slopes_of_finite_differences() {
        let rng = &mut Key::new(2, Purpose::Test).rng();
        let parameters = parameters();
        for _ in 0..5 {
            let noise = Noise::draw(SUB_POLICIES, rng);
            let sample = Sample::of(&THETA, 0.5, &noise);
            let direction: Vec<f64> = (0..9).map(|i| (i as f64).cos()).collect();
            let each: [fn(&Sample) -> &Relaxed; 2] = [|sample| &sample.relaxed, |sample| &sample.again];
            for relaxed in each {
                let pulled = relaxed(&sample).pull(&direction);
                for i in 0..9 {
                    let along =
                        |theta: &[f64]| dot(&relaxed(&Sample::of(theta, 0.5, &noise)).values, &direction);
                    let exact = slope(&THETA, i, along);
                    assert!(
                        (pulled[i] - exact).abs() < 1e-5 * (1.0 + exact.abs()),
                        "{i}: {pulled:?} {exact}"
                    );
                }
                let other: Vec<f64> = (0..9).map(|i| (2.0 * i as f64).sin()).collect();
                let transposed = dot(&relaxed(&sample).push(&other), &direction);
                assert!((transposed - dot(&pulled, &other)).abs() < 1e-9);
            }
            let (_, learned) = sample.relax(1.5, &control(&parameters));
            for i in 0..parameters.len() {
                let square = |parameters: &[f64]| {
                    let (gradient, _) = sample.relax(1.5, &control(parameters));
                    dot(&gradient, &gradient) / 9.0
                };
                let exact = slope(&parameters, i, square);
                assert!(
                    (learned[i] - exact).abs() < 1e-5 * (1.0 + exact.abs()),
                    "{i}: {} {exact}",
                    learned[i]
                );
            }
        }
    }
}
