//! What one head of a network said of some pictures.

use adautomix_training::top_1_and_5;
use candle_core::Tensor;

use crate::Result;

/// Hits and confidences, picture by picture.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Predictions {
    /// Pictures whose label was the first guess, and among the first five.
    pub hits: [usize; 2],
    /// The largest softmax probability of each picture.
    pub confidences: Vec<f64>,
    /// Whether the class that it stands for is the label.
    pub correct: Vec<bool>,
}

impl Predictions {
    /// Adds `logits` `[B, K]` of pictures with these labels.
    ///
    /// # Errors
    /// If the shapes don't fit.
    pub fn add(&mut self, logits: &Tensor, labels: &[u32]) -> Result<()> {
        let [top1, top5] = top_1_and_5(logits, labels)?;
        self.hits = [self.hits[0] + top1, self.hits[1] + top5];
        for (row, &label) in logits.detach().to_vec2::<f32>()?.iter().zip(labels) {
            let first = row.iter().enumerate().reduce(|best, next| if next.1 > best.1 { next } else { best });
            let (guess, largest) = first.map_or((0, 0.0), |(guess, largest)| (guess, f64::from(*largest)));
            let sum: f64 = row.iter().map(|logit| (f64::from(*logit) - largest).exp()).sum();
            self.confidences.push(1.0 / sum);
            self.correct.push(guess == label as usize);
        }
        Ok(())
    }

    /// How many pictures there are.
    pub fn len(&self) -> usize {
        self.correct.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.correct.is_empty()
    }

    /// Top-1 accuracy in percent.
    pub fn top1(&self) -> f64 {
        self.percent(self.hits[0])
    }

    /// Top-5 accuracy in percent.
    pub fn top5(&self) -> f64 {
        self.percent(self.hits[1])
    }

    fn percent(&self, hits: usize) -> f64 {
        100.0 * hits as f64 / self.len().max(1) as f64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    #[test]
    fn confidence_is_the_largest_probability() {
        let logits = Tensor::new(&[[0f32, 0.0], [1000.0, 1000.0 + 3f32.ln()]], &Device::Cpu).unwrap();
        let mut predictions = Predictions::default();
        predictions.add(&logits, &[1, 1]).unwrap();
        assert_eq!(predictions.correct, [false, true]);
        assert_eq!(predictions.confidences[0], 0.5);
        assert!((predictions.confidences[1] - 0.75).abs() < 1e-5);
        assert_eq!((predictions.top1(), predictions.top5()), (50.0, 100.0));
        assert_eq!(Predictions::default().top1(), 0.0);
    }
}
