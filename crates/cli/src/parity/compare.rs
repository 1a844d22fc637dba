//! The pass rule: `max|got - want| <= atol + rtol max|want|`, the same shape, the same dtype, no NaN.

use adautomix_ops::Tape;
use anyhow::{Context, Result, bail};
use candle_core::{DType, Tensor};

use super::Outputs;
use super::case::Case;

/// The tensor of a case that came closest to its tolerance, or past it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Worst {
    /// Its full name.
    pub(crate) tensor: String,
    /// Its largest error in tolerances; the case passes up to 1. Infinite if there was a NaN.
    pub(crate) error: f64,
}

/// Compares all outputs and gradients that a case expects; what gave the outputs is on the tape.
pub(super) fn judge(case: &Case, tape: Tape, outputs: &Outputs) -> Result<Worst> {
    let mut worst = Worst { tensor: String::new(), error: 0.0 };
    let mut compare = |name: String, got: &Tensor| -> Result<()> {
        let want = case.expected(&name)?;
        let error = relative_error(got, want, case.rtol, case.atol).with_context(|| format!("`{name}`"))?;
        if error >= worst.error {
            worst = Worst { tensor: name, error };
        }
        Ok(())
    };
    for name in case.names("out/") {
        compare(format!("out/{name}"), output(outputs, &name)?)?;
    }
    let gradients = case.names("grad/");
    if !gradients.is_empty() {
        let store = tape.backward(&scalar(case, outputs)?)?;
        for name in gradients {
            let gradient = store.get(case.variable(&name)?);
            compare(format!("grad/{name}"), gradient.with_context(|| format!("`{name}` got no gradient"))?)?;
        }
    }
    if worst.tensor.is_empty() {
        bail!("it expects nothing");
    }
    Ok(worst)
}

fn output<'a>(outputs: &'a Outputs, name: &str) -> Result<&'a Tensor> {
    let found = outputs.iter().find(|(output, _)| output == name);
    found.map(|(_, tensor)| tensor).with_context(|| format!("`out/{name}` was not computed"))
}

/// What is differentiated: the outputs times their cotangents.
fn scalar(case: &Case, outputs: &Outputs) -> Result<Tensor> {
    let mut terms = Vec::new();
    for name in case.names("cot/") {
        let output = output(outputs, &name)?;
        let cotangent = case.expected(&format!("cot/{name}"))?;
        terms.push(
            (output * cotangent)
                .and_then(|product| product.sum_all())
                .with_context(|| format!("`cot/{name}`"))?,
        );
    }
    if terms.is_empty() {
        bail!("it expects gradients and has no cotangent");
    }
    Ok(Tensor::stack(&terms, 0)?.sum_all()?)
}

/// The largest error in units of the tolerance; infinite where a NaN is.
fn relative_error(got: &Tensor, want: &Tensor, rtol: f64, atol: f64) -> Result<f64> {
    if got.dims() != want.dims() {
        bail!("shape {:?}, expected {:?}", got.dims(), want.dims());
    }
    if got.dtype() != want.dtype() {
        bail!("dtype {:?}, expected {:?}", got.dtype(), want.dtype());
    }
    let values =
        |tensor: &Tensor| -> Result<Vec<f64>> { Ok(tensor.flatten_all()?.to_dtype(DType::F64)?.to_vec1()?) };
    let (got, want) = (values(got)?, values(want)?);
    let largest = want.iter().fold(0.0f64, |largest, value| largest.max(value.abs()));
    let tolerance = atol + rtol * largest;
    let mut worst = 0.0f64;
    for (got, want) in got.iter().zip(&want) {
        let error = (got - want).abs();
        if !error.is_finite() {
            return Ok(f64::INFINITY);
        }
        worst = worst.max(error);
    }
    // An exact case has tolerance 0.
    Ok(if worst == 0.0 { 0.0 } else { worst / tolerance })
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;

    fn error(got: &[f32], want: &[f32]) -> f64 {
        let tensor = |values: &[f32]| Tensor::new(values, &Device::Cpu).unwrap();
        relative_error(&tensor(got), &tensor(want), 0.01, 0.1).unwrap()
    }

    #[test]
    fn the_tolerance_is_relative_to_the_largest_magnitude() {
        assert_eq!(error(&[1.0, -90.0], &[0.0, -90.0]), 1.0);
        assert!(error(&[1.1, -90.0], &[0.0, -90.0]) > 1.0);
        assert_eq!(error(&[], &[]), 0.0);
    }

    #[test]
    fn a_nan_or_an_infinity_never_passes() {
        assert_eq!(error(&[f32::NAN], &[0.0]), f64::INFINITY);
        assert_eq!(error(&[0.0], &[f32::NAN]), f64::INFINITY);
        assert_eq!(error(&[f32::NAN], &[f32::NAN]), f64::INFINITY);
        assert_eq!(error(&[f32::INFINITY], &[f32::INFINITY]), f64::INFINITY);
        assert_eq!(error(&[f32::INFINITY, 0.0], &[1.0, 0.0]), f64::INFINITY);
    }

    #[test]
    fn shape_and_dtype_count() {
        let (vector, scalar) =
            (Tensor::new(&[1f32], &Device::Cpu).unwrap(), Tensor::new(1f32, &Device::Cpu).unwrap());
        assert!(relative_error(&vector, &scalar, 1.0, 1.0).is_err());
        let double = scalar.to_dtype(DType::F64).unwrap();
        assert!(relative_error(&double, &scalar, 1.0, 1.0).is_err());
        assert_eq!(relative_error(&scalar, &scalar, 0.0, 0.0).unwrap(), 0.0);
    }
}
