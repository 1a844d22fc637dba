//! Whether a network is right as often as it says: expected calibration error (Guo et al., ICML 2017) and the reliability
//! diagram.

use serde::Serialize;

use crate::Predictions;

/// How accuracies and confidences of bins become one number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ece {
    /// `sum_m count_m |accuracy_m - confidence_m| / N`
    Standard,
    /// What the tool published with AdAutoMix computes: accuracies and confidences are each sorted ascending, with the
    /// zeros of empty bins, before they are weighted by the counts, which are not.
    Sorted,
}

/// One bin of a reliability diagram.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Bin {
    /// Pictures whose confidence falls into it.
    pub count: usize,
    /// The share of them that is right; 0 if there is none.
    pub accuracy: f64,
    /// Their mean confidence; 0 if there is none.
    pub confidence: f64,
}

/// A reliability diagram: bin m of M holds confidences in `(m / M, (m + 1) / M]`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(transparent)]
pub struct Reliability {
    /// From the lowest confidence to the highest.
    pub bins: Vec<Bin>,
}

impl Reliability {
    /// The diagram of some predictions, with at least one bin.
    pub fn new(predictions: &Predictions, bins: usize) -> Self {
        let mut sums = vec![Bin::default(); bins.max(1)];
        for (&confidence, &is_right) in predictions.confidences.iter().zip(&predictions.correct) {
            // A confidence of 0 or that is no number falls into the first.
            let bin = ((confidence * sums.len() as f64).ceil() as usize).clamp(1, sums.len()) - 1;
            let sum = &mut sums[bin];
            sum.count += 1;
            sum.accuracy += f64::from(u8::from(is_right));
            sum.confidence += confidence;
        }
        for bin in &mut sums {
            let count = bin.count.max(1) as f64;
            bin.accuracy /= count;
            bin.confidence /= count;
        }
        Self { bins: sums }
    }

    /// The expected calibration error, as a fraction; 0 without pictures.
    pub fn ece(&self, ece: Ece) -> f64 {
        let mut accuracies: Vec<f64> = self.bins.iter().map(|bin| bin.accuracy).collect();
        let mut confidences: Vec<f64> = self.bins.iter().map(|bin| bin.confidence).collect();
        if ece == Ece::Sorted {
            accuracies.sort_by(f64::total_cmp);
            confidences.sort_by(f64::total_cmp);
        }
        let pictures: usize = self.bins.iter().map(|bin| bin.count).sum();
        let gaps = accuracies.iter().zip(&confidences).map(|(accuracy, confidence)| accuracy - confidence);
        let sum: f64 = self.bins.iter().zip(gaps).map(|(bin, gap)| bin.count as f64 * gap.abs()).sum();
        sum / pictures.max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn diagram(said: &[(f64, bool)]) -> Reliability {
        let (confidences, correct) = said.iter().copied().unzip();
        Reliability::new(&Predictions { hits: [0; 2], confidences, correct }, 4)
    }

    #[test]
    fn a_bin_holds_its_upper_end() {
        let counts =
            |confidence| diagram(&[(confidence, true)]).bins.iter().map(|bin| bin.count).collect::<Vec<_>>();
        assert_eq!(counts(0.25), [1, 0, 0, 0]);
        assert_eq!(counts(0.2501), [0, 1, 0, 0]);
        assert_eq!(counts(1.0), [0, 0, 0, 1]);
        assert_eq!(counts(0.0), [1, 0, 0, 0]);
    }

    #[test]
    fn sorting_hides_what_it_is_meant_to_show() {
        // Twice as sure as right in one bin, the other way round in another: sorted, the two meet.
        let said = [(0.9, false), (0.9, false), (0.4, true), (0.4, true)];
        let diagram = diagram(&said);
        assert!((diagram.ece(Ece::Standard) - (0.9 + 0.6) / 2.0).abs() < 1e-12);
        // Accuracies 0 0 0 1 and confidences 0 0 0.4 0.9 against counts 0 2 0 2.
        assert!((diagram.ece(Ece::Sorted) - 0.1 / 2.0).abs() < 1e-12);
        assert_eq!(Reliability::new(&Predictions::default(), 10).ece(Ece::Standard), 0.0);
    }
}
