//! The policy of DADA: its parameters, how they are drawn from, and how they are moved.

use adautomix_datasets::{Change, Operation};
use adautomix_ops::overwrite;
use adautomix_random::{Key, Purpose};
use candle_core::{DType, Device, Tensor};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};

use super::relax::{Control, softmax};
use crate::{Parameters, Result};

/// Two operations, one after the other.
pub(super) type SubPolicy = [Operation; 2];

/// Every pair of two different operations, 105 of them.
pub(super) fn sub_policies() -> Vec<SubPolicy> {
    let after = |(at, first): (usize, &Operation)| {
        let first = *first;
        Operation::ALL[at + 1..].iter().map(move |second| [first, *second])
    };
    Operation::ALL.iter().enumerate().flat_map(after).collect()
}

/// Probabilities are kept this far from 0 and 1, where they would no longer be learned.
const LEAST: f64 = 1e-3;

/// The parameters of S sub-policies in one list: `2 S` probabilities of operations, S weights of sub-policies, `2 S`
/// magnitudes of operations, and those of the control variate.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Values {
    list: Vec<f64>,
    sub_policies: usize,
    hidden: usize,
}

impl Values {
    /// Probabilities and weights: what choices are drawn from.
    pub(super) fn theta(&self) -> &[f64] {
        &self.list[..3 * self.sub_policies]
    }

    /// The probabilities of a sub-policy's operations.
    pub(super) fn probabilities(&self, sub_policy: usize) -> &[f64] {
        &self.list[2 * sub_policy..][..2]
    }

    /// The weights of sub-policies, before softmax.
    pub(super) fn weights(&self) -> &[f64] {
        &self.list[2 * self.sub_policies..][..self.sub_policies]
    }

    /// The magnitudes of a sub-policy's operations, levels from 0 to 1.
    pub(super) fn magnitudes(&self, sub_policy: usize) -> &[f64] {
        &self.list[3 * self.sub_policies + 2 * sub_policy..][..2]
    }

    /// The control variate.
    pub(super) fn control(&self) -> Control<'_> {
        let (parameters, inputs) = (&self.list[5 * self.sub_policies..], 3 * self.sub_policies);
        Control { parameters, inputs, hidden: self.hidden }
    }

    /// The entropy of the choice of a sub-policy, in nats: how undecided the search still is.
    pub(super) fn entropy(&self) -> f64 {
        let surprise = |share: &f64| if *share > 0.0 { -share * share.ln() } else { 0.0 };
        softmax(self.weights()).iter().map(surprise).sum()
    }

    /// The `count` sub-policies of the highest weight; of equal ones those that come first.
    pub(super) fn best(&self, count: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.sub_policies).collect();
        order.sort_by(|&a, &b| self.weights()[b].total_cmp(&self.weights()[a]));
        order.truncate(count);
        order
    }

    /// The changes of a picture by a sub-policy, of whose operations `applied` says which.
    pub(super) fn changes(
        &self,
        operations: SubPolicy,
        sub_policy: usize,
        applied: [bool; 2],
        rng: &mut impl Rng,
    ) -> Vec<Change> {
        let magnitudes = self.magnitudes(sub_policy);
        // All draws are made, so that they don't depend on what is applied.
        let drawn = [0, 1].map(|at| operations[at].draw(magnitudes[at], rng));
        drawn.into_iter().zip(applied).filter_map(|(change, applied)| applied.then_some(change)).collect()
    }
}

/// A policy that is learned by Adam: values and moments in double precision on the host, part of every checkpoint.
pub(super) struct Policy {
    /// `values`, `first` and `second`, one number a parameter, and `updates` `[1]`.
    pub(super) tensors: Parameters,
    values: Tensor,
    first: Tensor,
    second: Tensor,
    updates: Tensor,
    sub_policies: usize,
    hidden: usize,
}

impl Policy {
    /// All sub-policies alike, all probabilities and magnitudes a half.
    ///
    /// # Errors
    /// If memory can't be had.
    pub(super) fn new(sub_policies: usize, hidden: usize, seed: u64) -> Result<Self> {
        let inputs = 3 * sub_policies;
        let (halves, weights) = (vec![0.5; 2 * sub_policies], vec![0.0; sub_policies]);
        let mut rng = Key::new(seed, Purpose::Weights).sample(usize::MAX).rng();
        let mut normal = |deviation: f64| deviation * Distribution::<f64>::sample(&StandardNormal, &mut rng);
        // A third of a uniform distribution's square reach, 1 over the inputs: PyTorch's linear layers.
        let rows = (0..hidden * inputs).map(|_| normal((3.0 * inputs as f64).sqrt().recip())).collect();
        let output = (0..hidden).map(|_| normal((3.0 * hidden as f64).sqrt().recip())).collect();
        let control = [rows, vec![0.0; hidden], output, vec![0.0]].concat();
        let list = [halves.clone(), weights, halves, control].concat();
        let (count, host) = (list.len(), &Device::Cpu);
        let zeros = |count: usize| Tensor::zeros(count, DType::F64, host);
        let (values, first, second) = (Tensor::from_vec(list, count, host)?, zeros(count)?, zeros(count)?);
        let updates = zeros(1)?;
        let named = vec![
            ("values", values.clone()),
            ("first", first.clone()),
            ("second", second.clone()),
            ("updates", updates.clone()),
        ];
        let tensors = Parameters::of(named, host);
        Ok(Self { tensors, values, first, second, updates, sub_policies, hidden })
    }

    /// The parameters as they are.
    ///
    /// # Errors
    /// If they can't be read.
    pub(super) fn values(&self) -> Result<Values> {
        Ok(Values { list: self.values.to_vec1()?, sub_policies: self.sub_policies, hidden: self.hidden })
    }

    /// One step of Adam (decay 0.5 and 0.999, as the authors') against `gradient`, which is in the order of [`Values`].
    /// Probabilities and magnitudes that leave their range are brought back.
    ///
    /// # Errors
    /// If a tensor can't be read or written.
    pub(super) fn descend(&self, gradient: &[f64], lr: f64) -> Result<()> {
        let read = |tensor: &Tensor| tensor.to_vec1::<f64>();
        let (mut values, mut first, mut second) =
            (read(&self.values)?, read(&self.first)?, read(&self.second)?);
        let updates = read(&self.updates)?[0] + 1.0;
        let (keep, keep_second) = (0.5, 0.999);
        let (share, share_second) = (1.0 - f64::powf(keep, updates), 1.0 - f64::powf(keep_second, updates));
        for (i, g) in gradient.iter().enumerate() {
            first[i] = keep * first[i] + (1.0 - keep) * g;
            second[i] = keep_second * second[i] + (1.0 - keep_second) * g * g;
            values[i] -= lr * (first[i] / share) / ((second[i] / share_second).sqrt() + 1e-8);
        }
        let (weights, magnitudes) = (2 * self.sub_policies, 3 * self.sub_policies);
        values[..weights].iter_mut().for_each(|value| *value = value.clamp(LEAST, 1.0 - LEAST));
        let levels = &mut values[magnitudes..magnitudes + weights];
        levels.iter_mut().for_each(|value| *value = value.clamp(0.0, 1.0));
        let write = |tensor: &Tensor, list: &[f64]| overwrite(tensor, &Tensor::new(list, &Device::Cpu)?);
        write(&self.values, &values)?;
        write(&self.first, &first)?;
        write(&self.second, &second)?;
        Ok(write(&self.updates, &[updates])?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_are_all_and_different() {
        let pairs = sub_policies();
        assert_eq!((pairs.len(), pairs[0]), (105, [Operation::ShearX, Operation::ShearY]));
        assert!(pairs.iter().all(|[first, second]| first != second));
    }

    #[test]
    fn adam_moves_by_the_rate_and_stays_in_range() {
        let policy = Policy::new(3, 2, 0).unwrap();
        let before = policy.values().unwrap();
        let mut gradient = vec![0.0; before.list.len()];
        (gradient[0], gradient[7], gradient[9], gradient[14]) = (4.0, -0.3, 1e3, -1e3);
        policy.descend(&gradient, 0.1).unwrap();
        // The first step of Adam is as long as its rate, however steep it is.
        let after = policy.values().unwrap();
        assert!((after.probabilities(0)[0] - 0.4).abs() < 1e-6 && after.probabilities(1) == [0.5, 0.5]);
        assert!((after.weights()[1] - 0.1).abs() < 1e-6 && after.best(1) == [1]);
        assert!((after.magnitudes(0)[0] - 0.4).abs() < 1e-6 && (after.magnitudes(2)[1] - 0.6).abs() < 1e-6);
        assert!(after.entropy() < before.entropy() && (before.entropy() - 3f64.ln()).abs() < 1e-12);
        // Then its moments: 0.75 of the gradient over 1 - 0.25, and the same root.
        for _ in 0..20 {
            policy.descend(&gradient, 0.1).unwrap();
        }
        let end = policy.values().unwrap();
        assert_eq!((end.probabilities(0)[0], end.magnitudes(0)[0], end.magnitudes(2)[1]), (LEAST, 0.0, 1.0));
    }
}
