//! How learning rate and teacher momentum change during a run. Steps and epochs are counted from 0.

use std::f64::consts::PI;

use adautomix_recipes::Annealing;

/// The multiplier that raises a learning rate at the start of a run.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Warmup {
    /// Steps that it lasts.
    pub steps: usize,
    /// Its value at step 0; it grows linearly to 1.
    pub ratio: f64,
}

/// A learning rate that falls along half a cosine to a floor.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct LearningRate {
    /// The rate at the start.
    pub base: f64,
    /// The floor.
    pub min: f64,
    /// Whether the rate changes at the start of each epoch only; the last epoch is then still above the floor.
    pub by_epoch: bool,
    /// Epochs of the run.
    pub epochs: usize,
    /// Steps of an epoch.
    pub steps_per_epoch: usize,
    /// The warm-up, if any.
    pub warmup: Option<Warmup>,
}

impl LearningRate {
    /// The rate at a step: `min + (base - min) (1 + cos πx) / 2`, times the warm-up.
    pub fn at(&self, step: usize) -> f64 {
        let x = if self.by_epoch {
            (step / self.steps_per_epoch) as f64 / self.epochs as f64
        } else {
            step as f64 / (self.epochs * self.steps_per_epoch) as f64
        };
        let rate = self.min + 0.5 * (self.base - self.min) * (1.0 + (PI * x).cos());
        match self.warmup {
            Some(warmup) if step < warmup.steps => {
                rate * (1.0 - (1.0 - step as f64 / warmup.steps as f64) * (1.0 - warmup.ratio))
            }
            _ => rate,
        }
    }
}

/// What the momentum is before the cosine begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BeforeScope {
    /// The base.
    Constant,
    /// It grows linearly, to the end value where the cosine begins.
    Linear,
}

/// The momentum of an EMA teacher: it rises from `base` to `end` along half a cosine.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Momentum {
    /// The momentum at the start.
    pub base: f64,
    /// The momentum at the end.
    pub end: f64,
    /// Where the cosine begins and ends, as fractions of the run.
    pub scope: [f64; 2],
    /// What comes before it.
    pub before: BeforeScope,
    /// Steps of the run.
    pub steps: usize,
}

impl Momentum {
    /// The momentum at a step. The cosine counts from the start of the run, not from that of its scope: there it has
    /// already risen a little, as in the published code. A cosine that begins with the run starts at 0, so that the
    /// first teacher is a copy.
    pub fn at(&self, step: usize) -> f64 {
        let [low, high] = self.scope.map(|fraction| (self.steps as f64 * fraction) as usize);
        let high = if self.scope[1] >= 1.0 { self.steps } else { high };
        if step < low {
            return match self.before {
                BeforeScope::Constant => self.base,
                BeforeScope::Linear => self.end - (self.end - self.base) * (low - step) as f64 / low as f64,
            };
        }
        if step == 0 {
            return 0.0;
        }
        let x = step.min(high) as f64 / high as f64;
        self.end - (self.end - self.base) * ((PI * x).cos() + 1.0) / 2.0
    }
}

/// What the loss of generated masks weighs.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct MaskWeight {
    /// The weight at the start.
    pub base: f64,
    /// How it falls.
    pub annealing: Annealing,
    /// Steps of the run.
    pub steps: usize,
}

impl MaskWeight {
    /// A weight that stays.
    pub fn constant(base: f64) -> Self {
        Self { base, annealing: Annealing::None, steps: 1 }
    }

    /// The weight at a step. With the reference's annealing, whose factors multiply up, it is gone after a few hundredths
    /// of a long run.
    pub fn at(&self, step: usize) -> f64 {
        let factor = |step: usize| ((PI * step as f64 / self.steps as f64).cos() + 1.0) / 2.0;
        match self.annealing {
            Annealing::None => self.base,
            Annealing::Cosine => self.base * factor(step),
            Annealing::Reference => {
                let mut weight = self.base;
                for step in 0..=step {
                    weight *= factor(step);
                    // What is that small stays nothing, and need not be multiplied on.
                    if weight < f64::MIN_POSITIVE {
                        return 0.0;
                    }
                }
                weight
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rate_falls_by_epochs_or_steps() {
        let mut rate = LearningRate {
            base: 0.1,
            min: 0.0,
            by_epoch: true,
            epochs: 4,
            steps_per_epoch: 10,
            warmup: None,
        };
        assert_eq!(rate.at(0), 0.1);
        assert_eq!(rate.at(9), 0.1);
        assert!((rate.at(20) - 0.05).abs() < 1e-12 && rate.at(39) > 0.01);
        rate.by_epoch = false;
        assert!((rate.at(20) - 0.05).abs() < 1e-12 && rate.at(39) < 0.001);
        rate.warmup = Some(Warmup { steps: 5, ratio: 0.2 });
        assert!((rate.at(0) - 0.02).abs() < 1e-12);
    }

    #[test]
    fn the_momentum_steps_up_where_the_cosine_begins() {
        let momentum =
            Momentum { base: 0.9, end: 1.0, scope: [0.1, 1.0], before: BeforeScope::Constant, steps: 100 };
        assert_eq!(momentum.at(9), 0.9);
        assert!(momentum.at(10) > 0.902);
        assert!((momentum.at(100) - 1.0).abs() < 1e-12);
        assert_eq!(Momentum { scope: [0.0, 1.0], ..momentum }.at(0), 0.0);
    }

    #[test]
    fn the_weight_of_masks_falls_as_meant_or_as_published() {
        let cosine = MaskWeight { base: 0.1, annealing: Annealing::Cosine, steps: 75_000 };
        assert_eq!((cosine.at(0), cosine.at(75_000)), (0.1, 0.0));
        assert!((cosine.at(37_500) - 0.05).abs() < 1e-12);
        let reference = MaskWeight { annealing: Annealing::Reference, ..cosine };
        assert_eq!(reference.at(0), 0.1);
        // 200 epochs of 375 steps: after one it is nearly whole, after ten it is gone.
        assert!(reference.at(375) > 0.099 && reference.at(3750) < 0.001, "{}", reference.at(3750));
        assert_eq!(reference.at(75_000), 0.0);
        assert_eq!(MaskWeight::constant(0.1).at(75_000), 0.1);
    }
}
