//! The named tensors of a network.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use adautomix_backbones::is_buffer;
use adautomix_random::{Key, Purpose};
use candle_core::{DType, Device, Result, Shape, Tensor, Var, bail};
use candle_nn::var_builder::SimpleBackend;
use candle_nn::{Init, VarBuilder};
use rand_distr::{Distribution, StandardNormal};

/// The tensors of a network by name, in the order in which the network asked for them.
///
/// A network is built from a [`VarBuilder`] over these ([`builder`](Self::builder)); what it asks for and isn't there yet
/// is drawn from the seed and its name, so initial weights depend on nothing else. Clones share their tensors.
#[derive(Clone)]
pub struct Parameters {
    tensors: Arc<Mutex<Tensors>>,
    trainable: bool,
    device: Device,
    seed: u64,
}

#[derive(Default)]
struct Tensors {
    entries: Vec<(String, Tensor)>,
    index: HashMap<String, usize>,
}

impl Parameters {
    /// An empty set whose weights will be variables.
    pub fn trainable(seed: u64, device: &Device) -> Self {
        Self { tensors: Arc::default(), trainable: true, device: device.clone(), seed }
    }

    /// A set of tensors of any type that no gradient trains: state that a method keeps in checkpoints.
    pub fn of(tensors: Vec<(&str, Tensor)>, device: &Device) -> Self {
        let set = Self { tensors: Arc::default(), trainable: false, device: device.clone(), seed: 0 };
        for (name, tensor) in tensors {
            set.lock().insert(name, tensor);
        }
        set
    }

    /// A copy whose weights are constants: an own memory, no gradients.
    ///
    /// # Errors
    /// If a tensor can't be copied.
    pub fn frozen_copy(&self) -> Result<Self> {
        let copy =
            Self { tensors: Arc::default(), trainable: false, device: self.device.clone(), seed: self.seed };
        for (name, tensor) in self.entries() {
            copy.lock().insert(&name, tensor.detach().copy()?);
        }
        Ok(copy)
    }

    /// A builder over these tensors; gradients flow to the weights if they are variables.
    pub fn builder(&self) -> VarBuilder<'static> {
        self.view(false)
    }

    /// A builder over the same memory that no gradient reaches, for evaluation and for networks that stay fixed.
    pub fn detached(&self) -> VarBuilder<'static> {
        self.view(true)
    }

    fn view(&self, detached: bool) -> VarBuilder<'static> {
        let backend = Box::new(View { parameters: self.clone(), detached });
        VarBuilder::from_backend(backend, DType::F32, self.device.clone())
    }

    /// All tensors with their names, in order.
    pub fn entries(&self) -> Vec<(String, Tensor)> {
        self.lock().entries.clone()
    }

    /// What an optimizer moves: all tensors but the running statistics.
    pub fn weights(&self) -> Vec<(String, Tensor)> {
        self.entries().into_iter().filter(|(name, _)| !is_buffer(name)).collect()
    }

    /// The tensor of a name.
    pub fn get(&self, name: &str) -> Option<Tensor> {
        let tensors = self.lock();
        tensors.index.get(name).map(|&index| tensors.entries[index].1.clone())
    }

    fn lock(&self) -> MutexGuard<'_, Tensors> {
        self.tensors.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The initial values of a tensor, from the seed and the name.
    fn draw(&self, shape: &Shape, name: &str, init: Init) -> Result<Tensor> {
        let count = shape.elem_count();
        let values: Vec<f32> = match init {
            Init::Const(value) => vec![value as f32; count],
            Init::Randn { mean, stdev } => {
                let mut rng = Key::new(self.seed, Purpose::Weights).sample(name_hash(name)).rng();
                let normal = |_| -> f64 { StandardNormal.sample(&mut rng) };
                (0..count).map(normal).map(|z| (mean + stdev * z) as f32).collect()
            }
            other => {
                bail!("`{name}`: no initialisation `{other:?}`; expected a constant or a normal distribution")
            }
        };
        Tensor::from_vec(values, shape, &self.device)
    }
}

impl Tensors {
    fn insert(&mut self, name: &str, tensor: Tensor) {
        self.index.insert(name.to_owned(), self.entries.len());
        self.entries.push((name.to_owned(), tensor));
    }
}

/// FNV-1a: a weight's draws follow from its name, not from when it was made.
fn name_hash(name: &str) -> usize {
    name.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3))
        as usize
}

/// [`Parameters`] as candle's builders see them.
struct View {
    parameters: Parameters,
    detached: bool,
}

impl SimpleBackend for View {
    fn get(&self, shape: Shape, name: &str, init: Init, _: DType, _: &Device) -> Result<Tensor> {
        if self.parameters.get(name).is_none() {
            let value = self.parameters.draw(&shape, name, init)?;
            let variable = self.parameters.trainable && !is_buffer(name);
            let tensor = if variable { Var::from_tensor(&value)?.into_inner() } else { value };
            self.parameters.lock().insert(name, tensor);
        }
        let tensor = self.get_unchecked(name, DType::F32, &self.parameters.device)?;
        if tensor.shape() != &shape {
            bail!("`{name}`: expected {shape:?}, got {:?}", tensor.shape());
        }
        Ok(tensor)
    }

    fn get_unchecked(&self, name: &str, _: DType, _: &Device) -> Result<Tensor> {
        match self.parameters.get(name) {
            Some(tensor) if self.detached => Ok(tensor.detach()),
            Some(tensor) => Ok(tensor),
            None => bail!("there is no tensor `{name}`"),
        }
    }

    fn contains_tensor(&self, name: &str) -> bool {
        self.parameters.get(name).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn weight(vb: &VarBuilder<'_>, name: &str) -> Tensor {
        vb.get_with_hints((2, 3), name, Init::Randn { mean: 0.0, stdev: 1.0 }).unwrap()
    }

    #[test]
    fn weights_follow_from_seed_and_name_alone() {
        let values = |seed, names: &[&str]| -> Vec<f32> {
            let parameters = Parameters::trainable(seed, &Device::Cpu);
            names.iter().for_each(|name| drop(weight(&parameters.builder(), name)));
            parameters.get("a").unwrap().flatten_all().unwrap().to_vec1().unwrap()
        };
        assert_eq!(values(1, &["a", "b"]), values(1, &["b", "a"]));
        assert_ne!(values(1, &["a"]), values(2, &["a"]));
    }

    #[test]
    fn a_frozen_copy_has_its_own_memory_and_no_variables() {
        let parameters = Parameters::trainable(1, &Device::Cpu);
        let weight = weight(&parameters.builder(), "a");
        let copy = parameters.frozen_copy().unwrap();
        adautomix_ops::scale(&[&weight], 0.0).unwrap();
        let kept = copy.get("a").unwrap();
        assert!(weight.is_variable() && !kept.is_variable());
        assert_ne!(kept.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
        let view = parameters.detached().get((2, 3), "a").unwrap();
        assert!(!view.is_variable());
        assert_eq!(view.abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap(), 0.0);
    }
}
