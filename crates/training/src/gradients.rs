//! Gradients of several backward passes, summed.

use std::collections::{HashMap, HashSet};

use adautomix_ops::{Tape, accumulate, clip, copies, scale, squared_norms};
use candle_core::backprop::GradStore;
use candle_core::{Tensor, TensorId};

use crate::{Error, Result};

/// `weight · loss`, with gradients of 0 for a weight of 0.
pub(crate) fn weighted(loss: &Tensor, weight: f64) -> candle_core::Result<Tensor> {
    match weight {
        1.0 => Ok(loss.clone()),
        // A tensor, since candle leaves out what is multiplied by the number 0.
        0.0 => loss * loss.zeros_like()?,
        _ => loss * weight,
    }
}

/// The summed gradients of variables.
///
/// The loss of a step is a sum of terms over different pictures. Each is differentiated on its own, and its graph
/// dropped before the next is built, so memory holds the activations of one pass only.
#[derive(Default)]
pub struct Gradients {
    by_variable: HashMap<TensorId, Tensor>,
}

impl Gradients {
    /// Differentiates `weight · loss`, which was recorded on `tape`, and adds the gradients of `variables`, which are 0 for a
    /// weight of 0. What the pass gives is returned too, for gradients at the pictures.
    ///
    /// # Errors
    /// If the backward pass fails.
    pub fn backward(
        &mut self,
        tape: Tape,
        loss: &Tensor,
        weight: f64,
        variables: &[(String, Tensor)],
    ) -> Result<GradStore> {
        let store = tape.backward(&weighted(loss, weight)?)?;
        let gradients: Vec<_> = variables.iter().map(|(_, variable)| store.get(variable).cloned()).collect();
        self.add(variables, &gradients, true)?;
        Ok(store)
    }

    /// Adds a gradient for each of `variables`, where there is one. Sums are made in place: in these tensors, if they are
    /// given up.
    ///
    /// # Errors
    /// If a gradient can't be written.
    pub(crate) fn add(
        &mut self,
        variables: &[(String, Tensor)],
        gradients: &[Option<Tensor>],
        given_up: bool,
    ) -> Result<()> {
        let (mut known, mut new, mut copied, mut given) =
            (Vec::new(), Vec::new(), Vec::new(), HashSet::new());
        for ((_, variable), gradient) in variables.iter().zip(gradients) {
            let Some(gradient) = gradient else { continue };
            match self.by_variable.get(&variable.id()) {
                Some(sum) => known.push((sum, gradient)),
                // Two variables that are only added have one gradient.
                None if given_up && given.insert(gradient.id()) => {
                    new.push((variable.id(), gradient.detach().contiguous()?));
                }
                None => copied.push((variable.id(), gradient)),
            }
        }
        accumulate(&known)?;
        let copies = copies(&copied.iter().map(|(_, gradient)| *gradient).collect::<Vec<_>>())?;
        self.by_variable.extend(new.into_iter().chain(copied.iter().map(|(id, _)| *id).zip(copies)));
        Ok(())
    }

    /// The gradient of a variable, if any backward pass has reached it.
    pub fn get(&self, variable: &Tensor) -> Option<&Tensor> {
        self.by_variable.get(&variable.id())
    }

    /// The gradients of `variables`, as far as there are any.
    fn of(&self, variables: &[(String, Tensor)]) -> Vec<&Tensor> {
        variables.iter().filter_map(|(_, variable)| self.get(variable)).collect()
    }

    /// Fails for the first variable that has no finite gradient.
    ///
    /// # Errors
    /// [`Error::NoGradient`] with its name.
    pub fn check(&self, variables: &[(String, Tensor)]) -> Result<()> {
        let fault = |name: &str, found| Err(Error::NoGradient { variable: name.to_owned(), found });
        let mut gradients = Vec::new();
        for (name, variable) in variables {
            let Some(gradient) = self.get(variable) else { return fault(name, "no gradient") };
            gradients.push(gradient);
        }
        let norms = squared_norms(&gradients)?;
        match norms.iter().zip(variables).find(|(norm, _)| !norm.is_finite()) {
            Some((_, (name, _))) => fault(name, "a gradient that is not finite"),
            None => Ok(()),
        }
    }

    /// Multiplies the gradients of `variables`.
    ///
    /// # Errors
    /// If a gradient can't be written.
    pub fn scale(&self, variables: &[(String, Tensor)], factor: f64) -> Result<()> {
        Ok(scale(&self.of(variables), factor)?)
    }

    /// Scales the gradients of `variables` so that their common norm is at most `max_norm`: the factor is
    /// `min(1, max_norm / (norm + 1e-6))`, as in PyTorch. A device isn't waited for.
    ///
    /// # Errors
    /// If a gradient can't be read or written.
    pub fn clip(&self, variables: &[(String, Tensor)], max_norm: f64) -> Result<()> {
        Ok(clip(&self.of(variables), max_norm)?)
    }
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    #[test]
    fn passes_add_up_and_a_variable_without_gradient_is_named() -> Result<()> {
        let new = |values: &[f32]| Var::new(values, &Device::Cpu);
        let (a, b) = (new(&[1.0, 2.0])?, new(&[3.0])?);
        let variables =
            vec![("a".to_owned(), a.as_tensor().clone()), ("b".to_owned(), b.as_tensor().clone())];
        let mut gradients = Gradients::default();
        let add = |gradients: &mut Gradients, loss: &dyn Fn() -> Result<Tensor>, weight| -> Result<()> {
            let (tape, loss) = Tape::record(loss)?;
            gradients.backward(tape, &loss, weight, &variables).map(drop)
        };
        add(&mut gradients, &|| Ok(a.sqr()?.sum_all()?), 1.0)?;
        add(&mut gradients, &|| Ok(a.sum_all()?), 10.0)?;
        assert_eq!(gradients.get(&a).unwrap().to_vec1::<f32>()?, [12.0, 14.0]);
        let message = gradients.check(&variables).unwrap_err().to_string();
        assert!(message.starts_with("`b` has no gradient"), "{message}");
        add(&mut gradients, &|| Ok(b.sum_all()?), 0.0)?;
        gradients.check(&variables)?;
        assert_eq!(gradients.get(&b).unwrap().to_vec1::<f32>()?, [0.0]);
        gradients.clip(&variables, 20.0)?;
        assert_eq!(gradients.get(&a).unwrap().to_vec1::<f32>()?, [12.0, 14.0]);
        gradients.clip(&variables, 1.0)?;
        assert!((squared_norms(&[gradients.get(&a).unwrap()])?[0] - 1.0).abs() < 1e-5);
        Ok(())
    }
}
