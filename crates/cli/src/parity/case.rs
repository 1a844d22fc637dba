//! Reading one golden case.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use candle_core::{DType, Device, Tensor, Var};
use candle_nn::VarBuilder;
use safetensors::SafeTensors;
use serde::de::DeserializeOwned;
use serde_json::Value;

use super::formula;

/// One golden case: scalar parameters and named tensors.
pub(super) struct Case {
    /// What is computed.
    pub(super) op: String,
    /// The tolerance, relative to the largest expected magnitude.
    pub(super) rtol: f64,
    /// The tolerance, absolute.
    pub(super) atol: f64,
    /// Where it is computed.
    pub(super) device: Device,
    /// What maps are computed in.
    pub(super) dtype: DType,
    params: Value,
    tensors: BTreeMap<String, Tensor>,
    variables: HashMap<String, Var>,
}

impl Case {
    /// Reads a case. Inputs and weights whose gradient is expected become variables.
    pub(super) fn read(path: &Path, device: &Device, dtype: DType) -> Result<Self> {
        let bytes = std::fs::read(path).context("it can't be read")?;
        let (_, header) = SafeTensors::read_metadata(&bytes).context("it is not a safetensors file")?;
        let metadata = header.metadata().as_ref().context("it has no metadata")?;
        let text = |key: &str| metadata.get(key).with_context(|| format!("its metadata has no `{key}`"));
        let number = |key: &str| -> Result<f64> {
            text(key)?.parse().with_context(|| format!("its `{key}` is not a decimal number"))
        };
        if text("format")? != "1" {
            bail!("its format is `{}`, expected `1`", text("format")?);
        }
        let mut case = Self {
            op: text("op")?.clone(),
            rtol: number("rtol")?,
            atol: number("atol")?,
            device: device.clone(),
            dtype,
            params: serde_json::from_str(text("params")?).context("its `params` are not JSON")?,
            tensors: candle_core::safetensors::load_buffer(&bytes, device)?.into_iter().collect(),
            variables: HashMap::new(),
        };
        case.add_formula_inputs()?;
        for name in case.names("grad/") {
            let value = case.tensors.get(&name).with_context(|| format!("`grad/{name}` has no `{name}`"))?;
            case.variables.insert(name, Var::from_tensor(value)?);
        }
        Ok(case)
    }

    fn formula_inputs(&self) -> Result<BTreeMap<String, Vec<usize>>> {
        Ok(self.optional("formula_inputs")?.unwrap_or_default())
    }

    fn add_formula_inputs(&mut self) -> Result<()> {
        for (name, shape) in self.formula_inputs()? {
            let value = formula::input(&name, &shape, &self.device)?;
            self.tensors.insert(format!("in/{name}"), value);
        }
        Ok(())
    }

    /// A scalar parameter.
    pub(super) fn param<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        self.optional(name)?.with_context(|| format!("its params have no `{name}`"))
    }

    /// A scalar parameter that may be missing or null.
    pub(super) fn optional<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        match self.params.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(value) => serde_json::from_value(value.clone())
                .map(Some)
                .with_context(|| format!("its parameter `{name}` is {value}, which is of another type")),
        }
    }

    /// All scalar parameters at once; those that `T` doesn't know are ignored.
    pub(super) fn all_params<T: DeserializeOwned>(&self) -> Result<T> {
        serde_json::from_value(self.params.clone()).context("its params don't fit")
    }

    /// A tensor by its full name, as a variable where its gradient is expected.
    pub(super) fn find(&self, name: &str) -> Option<Tensor> {
        let variable = self.variables.get(name).map(|variable| variable.as_tensor().clone());
        variable.or_else(|| self.tensors.get(name).cloned())
    }

    /// An input.
    pub(super) fn input(&self, name: &str) -> Result<Tensor> {
        self.find(&format!("in/{name}")).with_context(|| format!("it has no `in/{name}`"))
    }

    /// An input that is a map, as it is computed with.
    pub(super) fn map(&self, name: &str) -> Result<Tensor> {
        let map = self.input(name)?;
        Ok(if self.dtype == DType::BF16 { adautomix_ops::into_bf16(&map)? } else { map })
    }

    /// The input by formula of a case that has one, whose name is whatever the formula's is.
    pub(super) fn formula_input(&self) -> Result<Tensor> {
        let inputs = self.formula_inputs()?;
        self.input(inputs.keys().next().context("its params have no `formula_inputs`")?)
    }

    /// The inputs `prefix0`, `prefix1`, … as far as they go.
    pub(super) fn inputs(&self, prefix: &str) -> Result<Vec<Tensor>> {
        let inputs: Vec<Tensor> =
            (0..).map_while(|index| self.find(&format!("in/{prefix}{index}"))).collect();
        if inputs.is_empty() {
            bail!("it has no `in/{prefix}0`");
        }
        Ok(inputs)
    }

    /// An input of integers (labels, partners) as indices.
    pub(super) fn indices(&self, name: &str) -> Result<Vec<u32>> {
        indices(&self.input(name)?).with_context(|| format!("`in/{name}` does not hold indices"))
    }

    /// The inputs `prefix0`, `prefix1`, … as indices.
    pub(super) fn all_indices(&self, prefix: &str) -> Result<Vec<Vec<u32>>> {
        self.inputs(prefix)?.iter().map(indices).collect()
    }

    /// An input of one dimension.
    pub(super) fn numbers(&self, name: &str) -> Result<Vec<f32>> {
        Ok(self.input(name)?.to_vec1()?)
    }

    /// A weight.
    pub(super) fn weight(&self, name: &str) -> Result<Tensor> {
        self.find(&format!("w/{name}")).with_context(|| format!("it has no `w/{name}`"))
    }

    /// All weights, as layers ask for them.
    pub(super) fn weights(&self) -> VarBuilder<'static> {
        self.weights_and([])
    }

    /// All weights, and tensors that the case leaves out since its outputs don't depend on them.
    pub(super) fn weights_and<const N: usize>(&self, more: [(&str, Tensor); N]) -> VarBuilder<'static> {
        let weights = self.names("w/").into_iter().filter_map(|name| {
            let weight = self.find(&format!("w/{name}"))?;
            Some((name, weight))
        });
        let more = more.map(|(name, tensor)| (name.to_string(), tensor));
        VarBuilder::from_tensors(weights.chain(more).collect(), DType::F32, &self.device)
    }

    /// The names under a role such as `out/`, without it.
    pub(super) fn names(&self, role: &str) -> Vec<String> {
        self.tensors.keys().filter_map(|name| name.strip_prefix(role)).map(str::to_string).collect()
    }

    /// What is expected under `out/` or `grad/`.
    pub(super) fn expected(&self, name: &str) -> Result<&Tensor> {
        self.tensors.get(name).with_context(|| format!("it has no `{name}`"))
    }

    /// The variable whose gradient is `grad/NAME`.
    pub(super) fn variable(&self, name: &str) -> Result<&Var> {
        self.variables.get(name).ok_or_else(|| anyhow!("`{name}` is no variable"))
    }
}

fn indices(tensor: &Tensor) -> Result<Vec<u32>> {
    let values: Vec<i64> = tensor.to_vec1()?;
    values.into_iter().map(|value| Ok(u32::try_from(value)?)).collect()
}
