//! The oracle of the tests: the same function in double precision, which is composed of candle's own operations.

use candle_core::{DType, Device, Result, Tensor, Var};

use crate::Tape;

/// Reproducible values in `[-1, 1)`, without ties.
pub(crate) fn values(shape: &[usize], seed: u64) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    let value = |i: usize| {
        let mut z = (seed << 32).wrapping_add(i as u64 + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z >> 40) as f64 / f64::from(1 << 23) - 1.0) as f32
    };
    Tensor::from_vec((0..count).map(value).collect(), shape, &Device::Cpu)
}

/// Who differentiates.
#[derive(Clone, Copy, Debug)]
enum By {
    Graph,
    Tape,
}

/// The result of `f` and its gradients for the inputs that are tracked, weighed by a fixed cotangent.
fn run(
    inputs: &[Tensor],
    tracked: &[bool],
    dtype: DType,
    by: By,
    f: &impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<Vec<Option<Tensor>>> {
    let variables =
        inputs.iter().map(|x| Var::from_tensor(&x.to_dtype(dtype)?)).collect::<Result<Vec<_>>>()?;
    let operand = |(x, &tracked): (&Var, &bool)| if tracked { x.as_tensor().clone() } else { x.detach() };
    let operands: Vec<Tensor> = variables.iter().zip(tracked).map(operand).collect();
    let weighed = |y: &Tensor| (y * values(y.dims(), 99)?.to_dtype(dtype)?)?.sum_all();
    let (y, gradients) = match by {
        By::Graph => {
            let y = f(&operands)?;
            let gradients = weighed(&y)?.backward()?;
            (y, gradients)
        }
        By::Tape => {
            let (tape, y) = Tape::record(|| f(&operands))?;
            let gradients = tape.backward(&weighed(&y)?)?;
            (y, gradients)
        }
    };
    let mut results = vec![Some(y.detach())];
    results.extend(variables.iter().map(|x| gradients.get(x).cloned()));
    Ok(results)
}

/// What `f` gives, and its gradients, for values of these shapes in a type, by candle's graph.
///
/// # Errors
/// Those of `f`.
pub(crate) fn expected(
    shapes: &[&[usize]],
    dtype: DType,
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<Vec<Option<Tensor>>> {
    run(&inputs(shapes)?, &vec![true; shapes.len()], dtype, By::Graph, &f)
}

fn inputs(shapes: &[&[usize]]) -> Result<Vec<Tensor>> {
    shapes.iter().enumerate().map(|(i, shape)| values(shape, i as u64 + 1)).collect()
}

/// Checks `f` on `f32` inputs of these shapes, and its gradients, against `f` on the same numbers in `f64`: with every
/// input tracked, and with each of them alone, by candle's graph and by a tape.
///
/// # Errors
/// Those of `f`.
///
/// # Panics
/// If a result differs.
pub(crate) fn agrees(shapes: &[&[usize]], f: impl Fn(&[Tensor]) -> Result<Tensor>) -> Result<()> {
    let want = expected(shapes, DType::F64, &f)?;
    agrees_with(&want, 2e-5, shapes, f)
}

/// As [`agrees`], against what is `expected`, to a share of each tensor's largest value.
///
/// # Errors
/// Those of `f`.
///
/// # Panics
/// If a result differs.
pub(crate) fn agrees_with(
    want: &[Option<Tensor>],
    share: f64,
    shapes: &[&[usize]],
    f: impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Result<()> {
    let inputs = inputs(shapes)?;
    for alone in 0..=inputs.len() {
        let tracked: Vec<bool> = (0..inputs.len()).map(|i| alone == inputs.len() || i == alone).collect();
        let mut results = Vec::new();
        for by in [By::Graph, By::Tape] {
            results.extend(run(&inputs, &tracked, DType::F32, by, &f)?.into_iter().zip(want).enumerate());
        }
        for (i, (got, want)) in &results {
            let (Some(got), Some(want)) = (got, want) else {
                assert!(*i > 0 && !tracked[i - 1], "input {} has no gradient", i - 1);
                continue;
            };
            assert_eq!(got.dims(), want.dims());
            let [got, want] = [got, want].map(|tensor| tensor.to_dtype(DType::F64));
            let (got, want) = (got?, want?);
            let largest = want.abs()?.flatten_all()?.max(0)?.to_scalar::<f64>()?;
            let error = (got - want)?.abs()?.flatten_all()?.max(0)?.to_scalar::<f64>()?;
            assert!(error <= 1e-6 + share * largest, "result {i}: off by {error:e} of {largest:e}");
        }
    }
    Ok(())
}
