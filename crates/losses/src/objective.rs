//! The min-max game: what the classifier and the generator descend, made of the component losses.

use candle_core::{Result, Tensor, bail};
use std::fmt;
use std::str::FromStr;

/// The component losses of one step, scalars. What an objective doesn't read may be absent.
#[derive(Clone, Debug)]
pub struct Components {
    /// Eq. 3 of the student on the classifier's mix.
    pub amce_bb: Tensor,
    /// Eq. 4 of the student on the linear mix.
    pub mce: Option<Tensor>,
    /// Eq. 2 of the student on the images.
    pub clean: Option<Tensor>,
    /// Eq. 3 of the student on the generator's mix.
    pub amce_mb_student: Option<Tensor>,
    /// Eq. 3 of the teacher on the generator's mix.
    pub amce_mb_teacher: Tensor,
    /// The similarity of Eq. 11, of the teacher's logits.
    pub cosine: Option<Tensor>,
}

/// The two forms of the objective, Eq. 11 and the authors' code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Objective {
    /// As the equations say: the generator ascends the student's loss and the similarity, and descends the teacher's loss.
    Paper,
    /// As the published code does: the generator never sees the student, descends the teacher's loss on plain
    /// iterations, and ascends it and descends the similarity on adversarial ones; two images go without linear mix.
    Published,
}

impl Objective {
    /// The weights of `amce_bb`, `mce` and `clean` in what the classifier descends; `n` is the number of images in a mix.
    ///
    /// The total is linear in its components, so each may be differentiated, and its graph dropped, on its own.
    pub fn classifier_weights(self, n: usize, alpha: f64) -> [f64; 3] {
        if self.reads_linear_mix(n) { [1.0, alpha, 1.0 - alpha] } else { [1.0, 0.0, 1.0] }
    }

    /// The weights of `amce_mb_student`, `amce_mb_teacher` and `cosine` in what the generator descends (Eq. 11): in the
    /// paper `-(amce_mb_student - beta amce_mb_teacher + (1 - beta) cosine)`; published
    /// `-beta amce_mb_teacher + (1 - beta) cosine` on an adversarial iteration, else `amce_mb_teacher`.
    pub fn generator_weights(self, beta: f64, adversarial: bool) -> [f64; 3] {
        match self {
            Self::Paper => [-1.0, beta, beta - 1.0],
            Self::Published if adversarial => [0.0, -beta, 1.0 - beta],
            Self::Published => [0.0, 1.0, 0.0],
        }
    }

    /// Whether the student sees the linear mix of the `n` images.
    pub fn reads_linear_mix(self, n: usize) -> bool {
        self == Self::Paper || n > 2
    }
}

impl Components {
    /// What the classifier descends, by the weights of `amce_bb`, `mce` and `clean`.
    ///
    /// # Errors
    /// If a component has a weight and is absent.
    pub fn classifier(&self, [mixed, linear, clean]: [f64; 3]) -> Result<Tensor> {
        weighted(&[
            ("amce_bb", Some(&self.amce_bb), mixed),
            ("clean", self.clean.as_ref(), clean),
            ("mce", self.mce.as_ref(), linear),
        ])
    }

    /// What the generator descends, by the weights of `amce_mb_student`, `amce_mb_teacher` and `cosine`.
    ///
    /// # Errors
    /// If a component has a weight and is absent, or none has a weight.
    pub fn generator(&self, [student, teacher, cosine]: [f64; 3]) -> Result<Tensor> {
        weighted(&[
            ("amce_mb_teacher", Some(&self.amce_mb_teacher), teacher),
            ("amce_mb_student", self.amce_mb_student.as_ref(), student),
            ("cosine", self.cosine.as_ref(), cosine),
        ])
    }
}

/// The sum of named losses by their weights; those of no weight aren't read.
fn weighted(losses: &[(&str, Option<&Tensor>, f64)]) -> Result<Tensor> {
    let mut total: Option<Tensor> = None;
    for &(name, loss, weight) in losses.iter().filter(|(.., weight)| *weight != 0.0) {
        let Some(loss) = loss else { bail!("the objective needs the component `{name}`") };
        let term = (loss * weight)?;
        total = Some(total.map_or(Ok(term.clone()), |total| total + term)?);
    }
    match total {
        Some(total) => Ok(total),
        None => bail!("the objective has no term left"),
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Paper => "paper",
            Self::Published => "published",
        })
    }
}

impl FromStr for Objective {
    type Err = candle_core::Error;

    fn from_str(name: &str) -> Result<Self> {
        match name {
            "paper" => Ok(Self::Paper),
            "published" => Ok(Self::Published),
            _ => bail!("objective `{name}`: expected `paper` or `published`"),
        }
    }
}

/// Whether an iteration of the published alternation, counted from 0, is adversarial: the first is, then every
/// `interval`-th.
pub fn adversarial(iteration: usize, interval: usize) -> bool {
    iteration.is_multiple_of(interval)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn components() -> Result<Components> {
        let scalar = |x: f32| Tensor::new(x, &Device::Cpu);
        Ok(Components {
            amce_bb: scalar(1.0)?,
            mce: Some(scalar(2.0)?),
            clean: Some(scalar(4.0)?),
            amce_mb_student: Some(scalar(8.0)?),
            amce_mb_teacher: scalar(16.0)?,
            cosine: Some(scalar(0.5)?),
        })
    }

    #[test]
    fn the_objectives_are_those_of_the_definitions() -> Result<()> {
        let losses = components()?;
        let value = |loss: Result<Tensor>| loss?.to_scalar::<f32>();
        let (paper, published) = (Objective::Paper, Objective::Published);
        assert_eq!(value(losses.classifier(paper.classifier_weights(2, 0.25)))?, 4.5);
        assert_eq!(value(losses.classifier(published.classifier_weights(3, 0.25)))?, 4.5);
        assert_eq!(value(losses.classifier(published.classifier_weights(2, 0.25)))?, 5.0);
        assert_eq!(value(losses.generator(paper.generator_weights(0.25, false)))?, -4.375);
        assert_eq!(value(losses.generator(published.generator_weights(0.25, true)))?, -3.625);
        assert_eq!(value(losses.generator(published.generator_weights(0.25, false)))?, 16.0);
        Ok(())
    }

    #[test]
    fn a_missing_component_is_named() -> Result<()> {
        let losses = Components { mce: None, amce_mb_student: None, ..components()? };
        assert!(losses.classifier([1.0, 0.0, 0.5]).is_ok());
        let message = |loss: Result<Tensor>| loss.err().map(|error| error.to_string()).unwrap_or_default();
        assert!(message(losses.classifier([1.0, 0.5, 0.5])).contains("`mce`"));
        assert!(message(losses.generator([-1.0, 0.5, 0.0])).contains("`amce_mb_student`"));
        assert!(message(losses.generator([0.0; 3])).contains("no term left"));
        Ok(())
    }

    #[test]
    fn names_round_trip_and_the_first_iteration_is_adversarial() -> Result<()> {
        for objective in [Objective::Paper, Objective::Published] {
            assert_eq!(objective.to_string().parse::<Objective>()?, objective);
        }
        assert!("Paper".parse::<Objective>().is_err());
        let iterations: Vec<bool> = (0..5).map(|i| adversarial(i, 2)).collect();
        assert_eq!(iterations, [true, false, true, false, true]);
        Ok(())
    }
}
