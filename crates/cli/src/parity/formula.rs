//! Weights and inputs that are computed from their name, on both sides, instead of being stored.

use std::sync::{Arc, Mutex};

use candle_core::{DType, Device, Result, Shape, Tensor, Var, bail};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};

/// The numbers `u` in [-1, 1) that belong to a name: FNV-1a of the name, then SplitMix64 of the element's index.
pub(super) fn units(name: &str) -> impl Iterator<Item = f64> {
    let hash = name
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    (1u64..).map(move |index| {
        let mut z = hash.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^= z >> 31;
        (z >> 40) as f64 / (1u64 << 23) as f64 - 1.0
    })
}

/// An input by formula: `u` itself.
pub(super) fn input(name: &str, shape: &[usize], device: &Device) -> Result<Tensor> {
    let values: Vec<f32> = units(name).map(|u| u as f32).take(shape.iter().product()).collect();
    Tensor::from_vec(values, shape, device)
}

/// A weight by formula; `scale` multiplies those with two dimensions or more.
fn weight(name: &str, shape: &[usize], scale: f64) -> Vec<f32> {
    let count = shape.iter().product();
    let flat = shape.len() == 1;
    let value = |u: f64| {
        if name.ends_with("running_mean") {
            0.1 * u
        } else if name.ends_with("running_var") {
            1.0 + 0.5 * u.abs()
        } else if name.ends_with("relative_position_bias_table") {
            0.1 * u
        } else if flat && name.ends_with("gamma") {
            0.5 + 0.1 * u
        } else if flat && name.ends_with("weight") {
            1.0 + 0.1 * u
        } else if name.ends_with("bias") {
            0.1 * u
        } else {
            scale * (6.0 / shape.iter().skip(1).product::<usize>() as f64).sqrt() * u
        }
    };
    units(name).map(|u| value(u) as f32).take(count).collect()
}

/// Gives tensors that exist the values that their names stand for, in place.
pub(super) fn fill(tensors: &[(String, Tensor)]) -> Result<()> {
    for (name, tensor) in tensors {
        let values = weight(name, tensor.dims(), 1.0);
        adautomix_ops::overwrite(tensor, &Tensor::from_vec(values, tensor.shape(), tensor.device())?)?;
    }
    Ok(())
}

/// The variables that a network asked for, by name, in the order of its state dict.
#[derive(Clone)]
pub(super) struct FormulaWeights {
    scale: f64,
    variables: Arc<Mutex<Vec<(String, Var)>>>,
}

impl FormulaWeights {
    /// Weights by formula, those with two dimensions or more multiplied by `scale`.
    pub(super) fn new(scale: f64) -> Self {
        Self { scale, variables: Arc::default() }
    }

    /// What networks are built with.
    pub(super) fn builder(&self, device: &Device) -> VarBuilder<'static> {
        VarBuilder::from_backend(Box::new(self.clone()), DType::F32, device.clone())
    }

    /// All variables so far.
    pub(super) fn variables(&self) -> Vec<(String, Var)> {
        self.variables.lock().expect("no holder panics").clone()
    }
}

impl SimpleBackend for FormulaWeights {
    fn get(&self, shape: Shape, name: &str, _: Init, _: DType, device: &Device) -> Result<Tensor> {
        let var = Var::from_vec(weight(name, shape.dims(), self.scale), shape, device)?;
        let tensor = var.as_tensor().clone();
        self.variables.lock().expect("no holder panics").push((name.to_string(), var));
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        bail!("`{name}` needs a shape to be computed by formula")
    }

    fn contains_tensor(&self, _: &str) -> bool {
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_follow_the_published_constants() {
        // Computed by an independent implementation in Python's integers.
        let first: Vec<f64> = units("conv1.weight").take(3).collect();
        assert_eq!(first, [0.0901498794555664, 0.49032342433929443, -0.9541566371917725]);
    }

    #[test]
    fn the_first_rule_that_fits_gives_the_value() {
        let u: f64 = units("bn1.running_var").next().unwrap();
        assert_eq!(weight("bn1.running_var", &[1], 3.0), [(1.0 + 0.5 * u.abs()) as f32]);
        let u: f64 = units("bn1.weight").next().unwrap();
        assert_eq!(weight("bn1.weight", &[1], 3.0), [(1.0 + 0.1 * u) as f32]);
        let u: f64 = units("fc.weight").next().unwrap();
        assert_eq!(weight("fc.weight", &[1, 6], 3.0)[0], (3.0 * u) as f32);
    }
}
