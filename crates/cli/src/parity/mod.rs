//! Golden cases: what an independent PyTorch implementation computed, against what this workspace computes.

mod case;
mod compare;
mod core;
mod evaluation;
mod formula;
mod mixers;
mod nets;
mod step;
mod training;

use std::path::{Path, PathBuf};

use adautomix_ops::Tape;
use anyhow::{Context, Result, bail};
use candle_core::{DType, Device, Tensor};

use case::Case;
pub(crate) use compare::Worst;
pub(crate) use nets::BF16_TOLERANCES;

/// What an operation computed, by the names of the case's `out/` tensors. More than a case asks for is fine.
type Outputs = Vec<(String, Tensor)>;

/// An operation of the golden cases, computed by the crates that training itself uses.
type Op = fn(&Case) -> Result<Outputs>;

/// How one case went.
pub(crate) struct Outcome {
    /// What the case computes; empty if the file could not be read so far.
    pub(crate) op: String,
    /// The tensor that came closest to its tolerance, or past it; or why there is nothing to compare.
    pub(crate) result: Result<Worst>,
}

/// The cases among `paths`, in order of name; folders are searched.
pub(crate) fn find(paths: &[PathBuf]) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for path in paths {
        if path.is_dir() {
            search(path, &mut found)?;
        } else if path.exists() {
            found.push(path.clone());
        } else {
            bail!("`{}` does not exist, expected a case or a folder of cases", path.display());
        }
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn search(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries =
        std::fs::read_dir(folder).with_context(|| format!("`{}` can't be read", folder.display()))?;
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            search(&path, found)?;
        } else if path.extension().is_some_and(|extension| extension == "safetensors") {
            found.push(path);
        }
    }
    Ok(())
}

/// Runs one case in maps of a type, or gives nothing if its operation isn't among `only` (all are, if that is empty) or doesn't
/// compute in it.
pub(crate) fn check(path: &Path, only: &[String], device: &Device, dtype: DType) -> Option<Outcome> {
    let mut case = match Case::read(path, device, dtype) {
        Ok(case) => case,
        Err(error) => return Some(Outcome { op: String::new(), result: Err(error) }),
    };
    if !only.is_empty() && !only.contains(&case.op) {
        return None;
    }
    if dtype == DType::BF16 {
        match nets::bf16_tolerance(&case) {
            Ok(Some(tolerance)) => (case.rtol, case.atol) = (tolerance, 0.0),
            Ok(None) => return None,
            Err(error) => return Some(Outcome { op: case.op, result: Err(error) }),
        }
    }
    Some(Outcome { result: run(&case), op: case.op })
}

fn run(case: &Case) -> Result<Worst> {
    let Some(op) = op(&case.op) else {
        bail!("unknown op `{}`", case.op);
    };
    let (tape, outputs) = Tape::record(|| op(case))?;
    compare::judge(case, tape, &outputs)
}

fn op(name: &str) -> Option<Op> {
    let tables = [core::OPS, evaluation::OPS, nets::OPS, step::OPS, training::OPS];
    let mut ops = tables.into_iter().flatten().chain(mixers::ops());
    ops.find(|(op, _)| *op == name).map(|(_, run)| *run)
}
