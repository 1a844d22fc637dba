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
    pub clean: Tensor,
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

    /// What the classifier descends: `amce_bb + alpha mce + (1 - alpha) clean`; published, with two images,
    /// `amce_bb + clean`. `n` is the number of images in a mix.
    ///
    /// # Errors
    /// If `mce` is needed and absent.
    pub fn classifier(self, losses: &Components, n: usize, alpha: f64) -> Result<Tensor> {
        let [mixed, linear, clean] = self.classifier_weights(n, alpha);
        let total = ((&losses.amce_bb * mixed)? + (&losses.clean * clean)?)?;
        if linear == 0.0 {
            return Ok(total);
        }
        total + (needed(losses.mce.as_ref(), "mce")? * linear)?
    }

    /// What the generator descends (Eq. 11): in the paper `-(amce_mb_student - beta amce_mb_teacher + (1 - beta) cosine)`;
    /// published `-beta amce_mb_teacher + (1 - beta) cosine` on an adversarial iteration, else `amce_mb_teacher`.
    ///
    /// # Errors
    /// If `amce_mb_student` or `cosine` is needed and absent.
    pub fn generator(self, losses: &Components, beta: f64, adversarial: bool) -> Result<Tensor> {
        let teacher = &losses.amce_mb_teacher;
        match self {
            Self::Paper => {
                let student = needed(losses.amce_mb_student.as_ref(), "amce_mb_student")?;
                let cosine = needed(losses.cosine.as_ref(), "cosine")?;
                ((teacher * beta)? - student)? - (cosine * (1.0 - beta))?
            }
            Self::Published if adversarial => {
                let cosine = needed(losses.cosine.as_ref(), "cosine")?;
                (cosine * (1.0 - beta))? - (teacher * beta)?
            }
            Self::Published => Ok(teacher.clone()),
        }
    }

    /// Whether the student sees the linear mix of the `n` images.
    pub fn reads_linear_mix(self, n: usize) -> bool {
        self == Self::Paper || n > 2
    }
}

fn needed<'a>(loss: Option<&'a Tensor>, name: &str) -> Result<&'a Tensor> {
    match loss {
        Some(loss) => Ok(loss),
        None => bail!("the objective needs the component `{name}`"),
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
            clean: scalar(4.0)?,
            amce_mb_student: Some(scalar(8.0)?),
            amce_mb_teacher: scalar(16.0)?,
            cosine: Some(scalar(0.5)?),
        })
    }

    #[test]
    fn the_objectives_are_those_of_the_definitions() -> Result<()> {
        let losses = components()?;
        let value = |loss: Result<Tensor>| loss?.to_scalar::<f32>();
        assert_eq!(value(Objective::Paper.classifier(&losses, 2, 0.25))?, 4.5);
        assert_eq!(value(Objective::Published.classifier(&losses, 3, 0.25))?, 4.5);
        assert_eq!(value(Objective::Published.classifier(&losses, 2, 0.25))?, 5.0);
        assert_eq!(value(Objective::Paper.generator(&losses, 0.25, false))?, -4.375);
        assert_eq!(value(Objective::Published.generator(&losses, 0.25, true))?, -3.625);
        assert_eq!(value(Objective::Published.generator(&losses, 0.25, false))?, 16.0);
        Ok(())
    }

    #[test]
    fn a_missing_component_is_named() -> Result<()> {
        let losses = Components { mce: None, amce_mb_student: None, ..components()? };
        assert!(Objective::Published.classifier(&losses, 2, 0.5).is_ok());
        let error = Objective::Published.classifier(&losses, 3, 0.5).map_err(|e| e.to_string());
        assert!(error.is_err_and(|e| e.contains("`mce`")));
        let error = Objective::Paper.generator(&losses, 0.5, true).map_err(|e| e.to_string());
        assert!(error.is_err_and(|e| e.contains("`amce_mb_student`")));
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
